"""Where a run's windows are computed: threads, worker processes of this machine, or a cluster."""

from __future__ import annotations

import math
import queue
import sys
import time
from collections.abc import Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol

import dask
import dask.array as da
import numpy as np

from pipeline.blocks import Resources
from pipeline.budget import IN_FLIGHT
from pipeline.connect import connect, refuse_dead
from pipeline.errors import PipelineError, StoppedError
from pipeline.machine import share_heap
from pipeline.stopping import Terminated

ASK_SECONDS = 5
"""A scheduler is not asked more often which workers it has."""

FETCH_SECONDS = 5
"""How long the receipts of a finished window may take, before the loop looks after other things."""

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

    def submit(self, window: Key, tasks: da.Array) -> None:
        """Start computing a window."""

    def next(self, timeout: float | None = None) -> Outcome | None:
        """Wait for any window to end and return it; None when `timeout` seconds passed."""

    def cancel(self) -> None:
        """Stop what is under way."""


class Threads:
    """Windows computed by threads of this process; filters, codecs and files release the GIL."""

    def __init__(self, workers: int) -> None:
        self.where = f"{workers} thread{'s' * (workers > 1)}"
        self._blocks = ThreadPoolExecutor(workers, thread_name_prefix="bgone-block")
        self._windows = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="bgone-window")
        self._done: queue.SimpleQueue[Outcome] = queue.SimpleQueue()

    @property
    def in_flight(self) -> int:
        """Two: while one ends, the next keeps the threads busy."""
        return IN_FLIGHT

    @property
    def trouble(self) -> str:
        """Nothing."""
        return ""

    def submit(self, window: Key, tasks: da.Array) -> None:
        """Start computing a window."""
        self._windows.submit(self._compute, window, tasks)

    def _compute(self, window: Key, tasks: da.Array) -> None:
        try:
            (receipts,) = dask.compute(tasks, scheduler="threads", pool=self._blocks)
        except BaseException as error:  # handed to the loop, which raises it
            self._done.put((window, error))
        else:
            self._done.put((window, receipts))

    def next(self, timeout: float | None = None) -> Outcome | None:
        """Wait for any window to end."""
        try:
            return self._done.get(timeout=timeout)
        except queue.Empty:
            return None

    def cancel(self, *, wait: bool = True) -> None:
        """Drop windows that have not begun; a block under way ends by itself, waited for or not."""
        self._windows.shutdown(wait=False, cancel_futures=True)
        self._blocks.shutdown(wait=wait, cancel_futures=True)
        self._windows.shutdown(wait=wait)


class Cluster:
    """Windows computed by the workers of a `dask.distributed` cluster."""

    def __init__(self, client: Any, where: str) -> None:
        self._client = client
        self._done: queue.SimpleQueue[tuple[Key, Any]] = queue.SimpleQueue()
        self._futures: dict[Key, Any] = {}
        self._known, self._asked = 0, -math.inf
        self.where = where

    @property
    def in_flight(self) -> int:
        """Two, and more where there are many workers: none should wait for a window's last block."""
        return max(IN_FLIGHT, min(32, self._threads() // 8))

    @property
    def trouble(self) -> str:
        """What keeps it from going on, in words, or nothing."""
        return "" if self._threads() else "the cluster has no worker: waiting for one (Ctrl-C stops)"

    def _threads(self) -> int:
        """Return the threads of all workers, asked for anew every few seconds."""
        now = time.monotonic()
        if now - self._asked > ASK_SECONDS:
            workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
            self._known, self._asked = sum(worker["nthreads"] for worker in workers), now
        return self._known

    def submit(self, window: Key, tasks: da.Array) -> None:
        """Start computing a window."""
        future = self._client.compute(tasks)
        self._futures[window] = future
        future.add_done_callback(lambda done: self._done.put((window, done)))

    def next(self, timeout: float | None = None) -> Outcome | None:
        """Wait for any window to end."""
        try:
            window, future = self._done.get(timeout=timeout)
        except queue.Empty:
            refuse_dead(self._client)
            return None
        result: np.ndarray | BaseException
        try:
            result = future.result(timeout=FETCH_SECONDS)
        except (KeyboardInterrupt, Terminated):
            raise
        except BaseException as error:  # handed to the loop, which raises it
            if isinstance(error, TimeoutError) and future.status not in ("error", "cancelled", "lost"):
                # The worker that had it was lost, and it is computed again.
                self._done.put((window, future))
                return None
            result = error
        self._futures.pop(window, None)
        return window, result

    def cancel(self) -> None:
        """Stop what is under way."""
        self._client.cancel(list(self._futures.values()), force=True)
        self._futures.clear()


@contextmanager
def open_executor(resources: Resources, cluster: str | dict[str, Any]) -> Iterator[Executor]:
    """Start or reach what computes the windows, and end it afterwards.

    Parameters
    ----------
    resources : Resources
        Workers and memory.
    cluster : str or dict
        The config's `compute.cluster`.

    Raises
    ------
    RequestError
        The cluster cannot be reached.
    """
    if resources.cluster == "threads":
        share_heap()
        threads = Threads(resources.workers)
        wait = False
        try:
            yield threads
            wait = True
        except Exception:
            wait = True
            raise
        finally:
            # A second Ctrl-C is no Exception: then nobody waits for the blocks under way.
            threads.cancel(wait=wait)
        return
    with connect(resources, cluster) as client:
        executor = Cluster(client, _describe(client, resources))
        try:
            yield executor
        finally:
            executor.cancel()


def _describe(client: Any, resources: Resources) -> str:
    if resources.cluster == "local":
        return f"{resources.workers} worker process{'es' * (resources.workers > 1)}"
    return f"the cluster at {client.scheduler.address}"


def explain(error: BaseException) -> PipelineError | BaseException:
    """Return a lost worker or a full memory as what it means for the run; other errors as they are."""
    if isinstance(error, PipelineError):
        return error
    if isinstance(error, MemoryError):
        return StoppedError(
            "a worker ran out of memory", "set compute.memory or compute.workers lower, and run again"
        )
    if "distributed" in sys.modules:
        from distributed.client import FutureCancelledError
        from distributed.comm import CommClosedError
        from distributed.scheduler import KilledWorker

        if isinstance(error, KilledWorker | CommClosedError | FutureCancelledError):
            return StoppedError(
                f"workers were lost ({type(error).__name__})", "the same command goes on; their logs say why"
            )
    return error
