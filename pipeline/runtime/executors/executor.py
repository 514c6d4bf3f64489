"""Executors of the windows of a run: their contract, and the threads of this process."""

from __future__ import annotations

import queue
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sized
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import dask.array as da
import dask.threaded
import numpy as np
from dask.core import flatten

from pipeline.model.errors import PipelineError, StoppedError
from pipeline.model.text import number_of
from pipeline.planning.memory import IN_FLIGHT

if TYPE_CHECKING:
    from pipeline.runtime.executors.worker_check import Guard, WorkerCheck
    from pipeline.runtime.executors.workers import Worker

Say = Callable[[str], None]
"""Tells the user something."""

Outcome = tuple[Hashable, "np.ndarray | BaseException"]
"""A window's key, and its results or what went wrong."""


class Elsewhere(NamedTuple):
    """Workers that do not share this process's disk and memory: see `RemoteWrite`."""

    guard: Guard
    smallest: Worker


class Executor(ABC):
    """Something that computes windows."""

    where: str
    """For the reader."""

    trouble: str = ""
    """What keeps it from going on, in words, or nothing."""

    @property
    @abstractmethod
    def in_flight(self) -> int:
        """Windows that keep it busy."""

    @abstractmethod
    def submit(self, window: Hashable, tasks: da.Array) -> None:
        """Start computing a window."""

    @abstractmethod
    def next(self, timeout: float | None = None) -> Outcome | None:
        """Wait for any window to end and return it; None when `timeout` seconds passed."""

    @abstractmethod
    def begun(self) -> float:
        """Return how much of the windows under way is computed, as a number of windows."""

    def prepare(self, make: Callable[[], WorkerCheck]) -> Elsewhere | None:
        """Let those who compute be looked at before they get their first task.

        Parameters
        ----------
        make : callable
            Makes the check; called where there are workers elsewhere.

        Returns
        -------
        Elsewhere or None
            None where all computes on this machine.

        Raises
        ------
        RequestError
            None can take part, and why.
        """
        return None

    def expect(self, blocks: int) -> None:
        """Note how many blocks are to come."""
        return

    def batch(self, seconds: float) -> int:
        """Return how many blocks one task should do, each of which takes so many seconds."""
        return 1


class Threads(Executor):
    """Windows computed by threads of this process; filters, codecs and files release the GIL."""

    in_flight = IN_FLIGHT

    def __init__(self, workers: int) -> None:
        self.where = number_of(workers, "thread")
        self._blocks = ThreadPoolExecutor(workers, thread_name_prefix="bgone-block")
        self._windows = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="bgone-window")
        self._done: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._workers = workers
        self._ending = threading.Event()
        self._ending.set()
        self._shares: dict[Hashable, float] = {}

    def submit(self, window: Hashable, tasks: da.Array) -> None:
        """Start computing a window."""
        before, self._ending = self._ending, threading.Event()
        # Keys come and go in the loop's thread alone, which adds up the shares.
        self._shares[window] = 0.0
        self._windows.submit(self._compute, window, tasks, before, self._ending)

    def _compute(
        self, window: Hashable, tasks: da.Array, before: threading.Event, ending: threading.Event
    ) -> None:
        try:
            # What `dask.compute` does, less the looking for a cluster and the notes it keeps of every task.
            keys = tasks.__dask_keys__()
            graph = tasks.__dask_optimize__(tasks.__dask_graph__(), keys)
            share = 1 / max(len(graph), 1)

            def look(state: Mapping[str, Sized]) -> None:
                if sum(len(state[kind]) for kind in ("waiting", "ready", "running")) < self._workers:
                    ending.set()

            def task_ended(
                key: Any, result: Any, graph: Any, state: Mapping[str, Sized], thread: Any
            ) -> None:
                self._shares[window] += share
                look(state)

            # It begins when the one before leaves a thread idle: two that take turns would both hold what
            # their blocks share.
            before.wait()
            # By position: at the start, of Dask's state, before a task, after one, at the end.
            callbacks = (None, lambda _, state: look(state), None, task_ended, None)
            blocks = dask.threaded.get(graph, keys, pool=self._blocks, callbacks=[callbacks])
            results = np.concatenate([block.reshape(-1) for block in flatten(blocks, (list, tuple))])
        except BaseException as error:  # handed to the loop, which raises it
            self._done.put((window, error))
        else:
            self._done.put((window, results))
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


def run_error(error: BaseException) -> BaseException:
    """Return what a full memory or a lost worker means for the run; other errors as they are."""
    if isinstance(error, MemoryError):
        return StoppedError(
            "a worker ran out of memory", "set compute.memory or compute.workers lower, and run again"
        )
    if isinstance(error, ModuleNotFoundError):
        return StoppedError(
            f"a worker has no module {error.name}, which a step of this run is from",
            "install the package that brings it where the workers run, then run the same command again",
        )
    if not isinstance(error, PipelineError) and "distributed" in sys.modules:
        from distributed.client import FutureCancelledError
        from distributed.comm import CommClosedError
        from distributed.scheduler import KilledWorker

        if isinstance(error, KilledWorker | CommClosedError | FutureCancelledError):
            return StoppedError(
                f"workers were lost ({type(error).__name__})", "the same command goes on; their logs say why"
            )
    return error
