"""Executors of the windows of a run: the base class, and the threads of this process."""

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

Say = Callable[[str], None]  # shows the user a message
Outcome = tuple[Hashable, "np.ndarray | BaseException"]  # a window's key, and its results or its error


class Elsewhere(NamedTuple):
    """Workers that do not share this process's disk and memory."""

    guard: Guard
    smallest: Worker


class Executor(ABC):
    """Something that computes windows."""

    where: str  # for the reader

    @property
    def trouble(self) -> str:
        """What keeps it from going on, in words, or an empty string."""
        return ""

    @property
    @abstractmethod
    def in_flight(self) -> int:
        """Windows that keep it busy."""

    @abstractmethod
    def submit(self, window: Hashable, tasks: da.Array) -> None:
        """Start computing a window."""

    @abstractmethod
    def next(self, timeout: float | None = None) -> Outcome | None:
        """Wait for any window to end and return it, or None after `timeout` seconds."""

    @abstractmethod
    def begun(self) -> Mapping[Hashable, float]:
        """Return the computed share of each window under way, 0 to 1."""

    def prepare(self, make: Callable[[], WorkerCheck]) -> Elsewhere | None:
        """Let workers on other machines pass a check, made by `make`, before their first task.

        Raises
        ------
        RequestError
            No worker passes, and why.
        """
        return None

    def expect(self, blocks: int) -> None:
        """Note how many blocks are to come."""
        return

    def batch(self, seconds: float) -> int:
        """Return how many blocks of so many seconds one task should do."""
        return 1


class Threads(Executor):
    """Threads of this process; filters, codecs and files release the GIL."""

    in_flight = IN_FLIGHT

    def __init__(self, workers: int) -> None:
        self.where = number_of(workers, "thread")
        self._blocks = ThreadPoolExecutor(workers, thread_name_prefix="bgone-block")
        self._windows = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="bgone-window")
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._workers = workers
        self._ending = threading.Event()  # the last window submitted leaves a thread idle
        self._ending.set()
        self._shares: dict[Hashable, float] = {}

    def submit(self, window: Hashable, tasks: da.Array) -> None:
        """Start computing a window."""
        before, self._ending = self._ending, threading.Event()
        # Only the loop's thread adds and removes keys, so that it may iterate over them.
        self._shares[window] = 0.0
        self._windows.submit(self._compute, window, tasks, before, self._ending)

    def _compute(
        self, window: Hashable, tasks: da.Array, before: threading.Event, ending: threading.Event
    ) -> None:
        try:
            # As `dask.compute`, which also looks for a cluster and keeps notes of every task.
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

            # Two windows that took turns would both hold what their blocks share.
            before.wait()
            # In Dask's order: start, start_state, pretask, posttask, finish.
            callbacks = (None, lambda _, state: look(state), None, task_ended, None)
            blocks = dask.threaded.get(graph, keys, pool=self._blocks, callbacks=[callbacks])
            results = np.concatenate([block.reshape(-1) for block in flatten(blocks, (list, tuple))])
        except BaseException as error:  # the loop raises it
            self._outcomes.put((window, error))
        else:
            self._outcomes.put((window, results))
        finally:
            ending.set()

    def next(self, timeout: float | None = None) -> Outcome | None:
        """Wait for any window to end."""
        try:
            outcome = self._outcomes.get(timeout=timeout)
        except queue.Empty:
            return None
        self._shares.pop(outcome[0], None)
        return outcome

    def begun(self) -> Mapping[Hashable, float]:
        """Return the share of each window's tasks that have ended."""
        return self._shares

    def cancel(self, *, wait: bool = True) -> None:
        """Drop windows that have not begun, and optionally wait for the blocks under way."""
        self._windows.shutdown(wait=False, cancel_futures=True)
        self._blocks.shutdown(wait=wait, cancel_futures=True)
        self._windows.shutdown(wait=wait)


def run_error(error: BaseException) -> BaseException:
    """Explain a full memory, a missing module or a lost worker; return other errors as they are."""
    if isinstance(error, MemoryError):
        return StoppedError(
            "a worker ran out of memory", "set compute.memory or compute.workers lower, and run again"
        )
    if isinstance(error, ModuleNotFoundError):
        return StoppedError(
            f"a worker has no module {error.name}, which a step of this run is from",
            "install the package that brings it where the workers run, then run the same command again",
        )
    # Not imported for it: distributed takes a second, and runs on threads do without.
    if not isinstance(error, PipelineError) and "distributed" in sys.modules:
        from distributed.client import FutureCancelledError
        from distributed.comm import CommClosedError
        from distributed.scheduler import KilledWorker

        if isinstance(error, KilledWorker | CommClosedError | FutureCancelledError):
            return StoppedError(
                f"workers were lost ({type(error).__name__})", "the same command goes on; their logs say why"
            )
    return error
