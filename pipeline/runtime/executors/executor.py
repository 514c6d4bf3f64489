"""What computes a run's windows, and the threads of this process that do where nothing else is said."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Hashable, Mapping, Sized
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import dask.array as da
import dask.threaded
import numpy as np
from dask.core import flatten

from pipeline.model.text import number_of
from pipeline.planning.memory import IN_FLIGHT
from pipeline.planning.warmup import WarmUp
from pipeline.runtime.executors.worker_check import Guard, Probe
from pipeline.runtime.executors.workers import Say, Worker

Key = Hashable
"""What a window is called while it is under way."""

Outcome = tuple[Key, np.ndarray | BaseException]
"""A window's name, and its receipts or what went wrong."""


class Executor(Protocol):
    """Something that computes windows."""

    where: str
    """For the reader."""

    @property
    def in_flight(self) -> int:
        """Windows that keep it busy."""

    @property
    def trouble(self) -> str:
        """What keeps it from going on, in words, or nothing."""

    @property
    def smallest(self) -> Worker | None:
        """The worker with the least memory a thread, where they do not share this machine's."""

    def prepare(self, make: Callable[[], Probe], warm: WarmUp, say: Say) -> Guard | None:
        """Look at what computes before it gets its first task.

        Parameters
        ----------
        make : callable
            Makes the probe; called where there are workers elsewhere.
        warm : WarmUp
            Run once in each of them.
        say : callable
            Tells the user something.

        Returns
        -------
        Guard or None
            What each task must call that writes.

        Raises
        ------
        RequestError
            Some cannot take part, and why.
        """

    def expect(self, blocks: int) -> None:
        """Note how many blocks are to come."""

    def batch(self, seconds: float) -> int:
        """Return how many blocks one task should do, each of which takes so many seconds."""

    def submit(self, window: Key, tasks: da.Array) -> None:
        """Start computing a window."""

    def next(self, timeout: float | None = None) -> Outcome | None:
        """Wait for any window to end and return it; None when `timeout` seconds passed."""

    def begun(self) -> float:
        """Return how much of the windows under way is computed, as a number of windows."""

    def excuses(self, window: Key, error: BaseException, say: Say) -> bool:
        """Return whether a window failed for a worker that gets no more of them: it may be tried again."""

    def cancel(self) -> None:
        """Stop what is under way."""


def told_at_the_end(threads: int, ending: threading.Event) -> tuple[Any, ...]:
    """Return what Dask calls while it computes a graph, to tell when fewer tasks are left than threads."""

    def look(state: Mapping[str, Sized]) -> None:
        if sum(len(state[kind]) for kind in ("waiting", "ready", "running")) < threads:
            ending.set()

    # In the order of Dask's callbacks: at the start, of its state, before a task, after one, at the end.
    return None, lambda _, state: look(state), None, lambda *told: look(told[3]), None


class Threads:
    """Windows computed by threads of this process; filters, codecs and files release the GIL."""

    def __init__(self, workers: int) -> None:
        self.where = number_of(workers, "thread")
        self._blocks = ThreadPoolExecutor(workers, thread_name_prefix="bgone-block")
        self._windows = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="bgone-window")
        self._done: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._workers = workers
        self._ending = threading.Event()
        self._ending.set()
        self._shares: dict[Key, float] = {}

    @property
    def in_flight(self) -> int:
        """Two: while one ends, the next keeps the threads busy."""
        return IN_FLIGHT

    @property
    def trouble(self) -> str:
        """Nothing."""
        return ""

    @property
    def smallest(self) -> Worker | None:
        """None: threads share the memory of the run."""
        return None

    def prepare(self, make: Callable[[], Probe], warm: WarmUp, say: Say) -> Guard | None:
        """Do nothing: threads see what the run sees."""
        return None

    def expect(self, blocks: int) -> None:
        """Do nothing: the number of threads is fixed."""

    def batch(self, seconds: float) -> int:
        """One: a task costs threads next to nothing."""
        return 1

    def excuses(self, window: Key, error: BaseException, say: Say) -> bool:
        """No."""
        return False

    def submit(self, window: Key, tasks: da.Array) -> None:
        """Start computing a window."""
        before, self._ending = self._ending, threading.Event()
        # Names come and go in the loop's thread alone, which adds up the shares.
        self._shares[window] = 0.0
        self._windows.submit(self._compute, window, tasks, before, self._ending)

    def _compute(
        self, window: Key, tasks: da.Array, before: threading.Event, ending: threading.Event
    ) -> None:
        try:
            # What `dask.compute` does, less the looking for a cluster and the notes it keeps of every task.
            keys = tasks.__dask_keys__()
            graph = tasks.__dask_optimize__(tasks.__dask_graph__(), keys)
            share = 1 / max(len(graph), 1)

            def one_more(*_: object) -> None:
                self._shares[window] += share

            # It begins when the one before leaves a thread idle: two that take turns would both hold what
            # their blocks share.
            before.wait()
            # By position, as above: each task that has ended is counted.
            counted = (None, None, None, one_more, None)
            told = told_at_the_end(self._workers, ending)
            found = dask.threaded.get(graph, keys, pool=self._blocks, callbacks=[told, counted])
            receipts = np.concatenate([block.reshape(-1) for block in flatten(found, (list, tuple))])
        except BaseException as error:  # handed to the loop, which raises it
            self._done.put((window, error))
        else:
            self._done.put((window, receipts))
        finally:
            ending.set()

    def next(self, timeout: float | None = None) -> Outcome | None:
        """Wait for any window to end."""
        try:
            outcome = self._done.get(timeout=timeout)
        except queue.Empty:
            return None
        self._shares.pop(outcome[0], None)
        return outcome

    def begun(self) -> float:
        """Count the tasks that have ended."""
        return sum(self._shares.values())

    def cancel(self, *, wait: bool = True) -> None:
        """Drop windows that have not begun; a block under way ends by itself, waited for or not."""
        self._windows.shutdown(wait=False, cancel_futures=True)
        self._blocks.shutdown(wait=wait, cancel_futures=True)
        self._windows.shutdown(wait=wait)
