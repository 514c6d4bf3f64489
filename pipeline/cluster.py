"""Where a run's windows are computed: threads, worker processes of this machine, or a cluster."""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
from collections.abc import Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, Protocol

import dask
import dask.array as da
import numpy as np

from pipeline.blocks import Resources
from pipeline.budget import IN_FLIGHT
from pipeline.errors import PipelineError, RequestError, StoppedError

CONNECT_SECONDS = 10

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
        self.where = where

    @property
    def in_flight(self) -> int:
        """Two, and more where there are many workers: none should wait for a window's last block."""
        threads = sum(
            worker["nthreads"] for worker in self._client.scheduler_info(n_workers=-1)["workers"].values()
        )
        return max(IN_FLIGHT, min(32, threads // 8))

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
            return None
        self._futures.pop(window, None)
        try:
            return window, future.result()
        except BaseException as error:  # handed to the loop, which raises it
            return window, error

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
    with _client(resources, cluster) as client:
        executor = Cluster(client, _describe(client, resources))
        try:
            yield executor
        finally:
            executor.cancel()


def _describe(client: Any, resources: Resources) -> str:
    if resources.cluster == "local":
        return f"{resources.workers} worker process{'es' * (resources.workers > 1)}"
    return f"the cluster at {client.scheduler.address}"


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep new worker processes from importing the script that called.

    Processes are spawned, and each would first run that script again, down to the call that
    starts them, unless the user knows to guard it. No task needs it.
    """
    main = sys.modules["__main__"]
    hidden = {name: vars(main)[name] for name in ("__file__", "__spec__") if name in vars(main)}
    try:
        for name in hidden:
            setattr(main, name, None)
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Hold Ctrl-C back from all threads and processes that are started here; this one gets it afterwards.

    A terminal sends it to every process of the run. The driver lets what is under way end and
    records it; a worker that stopped by itself would lose that.
    """
    # Started later, by the first process that is spawned, it would let them through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _client(resources: Resources, cluster: str | dict[str, Any]) -> Iterator[Any]:
    import distributed

    _hush()
    # Workers start in this folder: a pipeline.py of the user's in it must not shadow the package.
    with dask.config.set(_worker_settings()), _without_main():
        if resources.cluster == "local":
            with _interrupts_held_back():
                owner: Any = distributed.LocalCluster(
                    n_workers=resources.workers,
                    threads_per_worker=1,
                    memory_limit=0,
                    dashboard_address="127.0.0.1:0",
                    host="127.0.0.1",
                    silence_logs=50,
                )
            target: Any = owner
        elif isinstance(cluster, dict):
            owner = target = _slurm(cluster, resources)
        else:
            owner, target = None, _address(cluster)
        try:
            client = distributed.Client(target, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise RequestError(
                f"no scheduler answers at {target} ({type(error).__name__})",
                "start dask scheduler there, or correct the address", "compute.cluster",
            ) from None  # fmt: skip
        try:
            yield client
        finally:
            client.close()
            if owner is not None:
                owner.close()


def _hush() -> None:
    """Keep the cluster's own log, with its tracebacks, from the user, who is told what it means."""
    for name in ("distributed", "distributed.client", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _worker_settings() -> dict[str, Any]:
    return {
        "distributed.worker.daemon": True,
        "distributed.scheduler.allowed-failures": 10,
        "distributed.comm.timeouts.connect": CONNECT_SECONDS,
        "distributed.nanny.pre-spawn-environ": {
            "OMP_NUM_THREADS": 1,
            "MKL_NUM_THREADS": 1,
            "OPENBLAS_NUM_THREADS": 1,
        },
    }


def _address(cluster: str) -> str:
    if "://" in cluster:
        return cluster
    if not os.path.isfile(cluster):
        raise RequestError(
            f"{cluster} is neither an address nor a scheduler file",
            "say auto, local, threads, tcp://HOST:PORT, or the file that dask scheduler wrote",
            "compute.cluster",
        )  # fmt: skip
    import json

    with open(cluster) as file:
        try:
            return str(json.load(file)["address"])
        except (ValueError, KeyError, TypeError):
            raise RequestError(
                f"{cluster} is not a scheduler file",
                "give the file that dask scheduler wrote",
                "compute.cluster",
            ) from None


def _slurm(cluster: dict[str, Any], resources: Resources) -> Any:
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise RequestError(
            "a slurm cluster needs dask-jobqueue", "pip install 'bgone[slurm]'", "compute.cluster"
        ) from None
    keywords = dict(cluster["slurm"] or {})
    jobs = keywords.pop("jobs", None)
    try:
        owner = SLURMCluster(**keywords)
    except (TypeError, ValueError) as error:
        raise RequestError(
            f"dask-jobqueue refuses the keywords: {error}", "see its SLURMCluster", "compute.cluster.slurm"
        ) from None
    if jobs is not None:
        owner.scale(jobs=int(jobs))
    else:
        owner.adapt(minimum=1, maximum=max(1, resources.workers))
    return owner


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
