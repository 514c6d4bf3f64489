"""Windows on worker processes of this machine or on a cluster; and which executor a run gets."""

from __future__ import annotations

import contextlib
import queue
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dask.array as da
import numpy as np
from dask.core import flatten
from dask.graph_manipulation import clone

from pipeline.model.errors import DataError, PipelineError, RequestError, StoppedError
from pipeline.model.machine import share_heap
from pipeline.planning.blocks import Resources
from pipeline.planning.memory import IN_FLIGHT
from pipeline.planning.warmup import WarmUp
from pipeline.runtime.executors.connect import connect, is_alive, refuse_dead
from pipeline.runtime.executors.executor import Executor, Key, Outcome, Threads
from pipeline.runtime.executors.slurm import Jobs
from pipeline.runtime.executors.worker_check import Guard, Probe
from pipeline.runtime.executors.workers import Fleet, Say, Worker
from pipeline.runtime.signals import Terminated
from pipeline.write import DamagedChunksError

TASKS_A_THREAD = 2
"""Tasks under way for each thread of a cluster: while one ends, the next is there."""

SCHEDULING_SECONDS = 0.002
"""What a task may cost the scheduler, twice over, so that it is never what all wait for."""

ASKED_SECONDS = 1.0
"""Between two questions to the scheduler after blocks that are done."""

MOST_ASKED = 2000
"""Blocks under way of which it is asked; where there are more, windows end often enough."""

FETCH_SECONDS = 5
"""How long the receipts of a finished window may take, before the loop looks after other things."""


class Cluster:
    """Windows computed by the workers of a `dask.distributed` cluster.

    Parameters
    ----------
    client : distributed.Client
        Connected.
    where : str
        For the reader.
    jobs : Jobs, optional
        What starts its workers, where those are the run's own SLURM jobs.
    own : bool
        Whether its workers are processes that the run has started on this machine: such see
        what it sees, and share its memory.
    """

    def __init__(self, client: Any, where: str, jobs: Jobs | None = None, *, own: bool = False) -> None:
        self._client = client
        self._jobs = jobs
        self._own = own
        self._fleet = Fleet(client, self._waited_for)
        self._done: queue.SimpleQueue[tuple[Key, Any]] = queue.SimpleQueue()
        self._futures: dict[Key, Any] = {}
        self._tasks: dict[Key, int] = {}
        self._allowed: dict[Key, frozenset[str]] = {}
        self._blocks: dict[Key, list[Any]] = {}
        self._held: set[Any] = set()
        self._asked = 0.0
        self._to_come = 0
        self._dead_since: float | None = None
        self._probe: Probe | None = None
        self.where = where

    @property
    def in_flight(self) -> int:
        """As many windows as give each thread a task, and one to go on with; two at the least."""
        busy = sum(self._tasks.values()) >= TASKS_A_THREAD * self._threads
        return max(IN_FLIGHT, len(self._futures) + (not busy))

    @property
    def trouble(self) -> str:
        """What keeps it from going on, in words, or nothing."""
        if self._threads:
            return ""
        return f"the cluster has no worker: waiting for {self._waited_for()} (Ctrl-C stops)"

    def _waited_for(self) -> str:
        return "one" if self._jobs is None else self._jobs.waiting

    @property
    def _threads(self) -> int:
        workers = self._fleet.workers()
        if self._jobs is not None:
            self._jobs.keep_up([worker.name for worker in workers])
        return sum(worker.threads for worker in workers)

    def _workers_wanted(self) -> int:
        """Return how many workers have something to do."""
        workers = self._fleet.known
        each = max(1, min((worker.threads for worker in workers), default=1))
        return max(1, -(-(self._to_come + sum(self._tasks.values())) // each))

    def expect(self, blocks: int) -> None:
        """Note how many blocks are to come."""
        self._to_come = blocks

    def batch(self, seconds: float) -> int:
        """Return as many as let the scheduler keep up with all threads."""
        if self._own:
            return 1
        return max(1, round(self._threads * SCHEDULING_SECONDS / max(seconds, 1e-4)))

    def prepare(self, make: Callable[[], Probe], warm: WarmUp, say: Say) -> Guard | None:
        """Look at each worker before it gets its first task."""
        if self._own:
            return None
        if self._jobs is not None:
            self._jobs.begin()
            self._jobs.wanted = self._workers_wanted
        probe = make()
        try:
            self._fleet.wait_for_first(say)
            self._fleet.admit(probe, say)
            self._fleet.warm_up(warm, say)
        except (OSError, TimeoutError) as error:
            raise RequestError(
                f"the scheduler does not answer any more ({type(error).__name__})",
                "see that it runs, then run the same command again", "compute.cluster",
            ) from error  # fmt: skip
        self._probe = probe
        return Guard(probe.work, probe.token)

    @property
    def smallest(self) -> Worker | None:
        """The worker with the least memory a thread, where they do not share this machine's."""
        return None if self._own else self._fleet.smallest()

    def submit(self, window: Key, tasks: da.Array) -> None:
        """Start computing a window."""
        workers = [worker.address for worker in self._fleet.workers()]
        if window in self._allowed:
            tasks = clone(tasks)  # under their names the scheduler still has what they failed with
        # Only where some are left out: it is work for the scheduler to keep tasks to a list.
        future = self._client.compute(tasks, workers=workers if self._fleet.unfit else None)
        self._futures[window], self._tasks[window] = future, tasks.npartitions
        self._blocks[window] = list(flatten(tasks.__dask_keys__()))
        self._allowed[window] = frozenset(workers if self._fleet.unfit else ())
        self._to_come -= tasks.size
        future.add_done_callback(lambda done: self._done.put((window, done)))

    def next(self, timeout: float | None = None) -> Outcome | None:
        """Wait for any window to end."""
        try:
            window, future = self._done.get(timeout=timeout)
        except queue.Empty:
            if is_alive(self._client):
                self._dead_since = None
            else:
                self._dead_since = self._dead_since or time.monotonic()
                refuse_dead(time.monotonic() - self._dead_since)
            self._revive()
            return None
        self._dead_since = None  # what has ended was alive
        result: np.ndarray | BaseException
        try:
            result = future.result(timeout=FETCH_SECONDS)
        except (KeyboardInterrupt, Terminated):
            raise
        except BaseException as error:  # handed to the loop, which raises it
            if isinstance(error, TimeoutError) and future.status not in ("error", "cancelled"):
                # The worker that had it was lost, and it is computed again.
                self._done.put((window, future))
                return None
            result = error
        self._futures.pop(window, None)
        self._tasks.pop(window, None)
        self._blocks.pop(window, None)
        return window, result

    def begun(self) -> float:
        """Ask the scheduler now and then which blocks it holds the receipts of."""
        blocks = dict(self._blocks)
        now = time.monotonic()
        if now - self._asked >= ASKED_SECONDS and 0 < sum(map(len, blocks.values())) <= MOST_ASKED:
            self._asked = now
            held: Mapping[Key, Any] = {}
            with contextlib.suppress(OSError, TimeoutError):  # of which the loop hears by itself
                keys = [key for each in blocks.values() for key in each]
                held = self._client.sync(
                    self._client.scheduler.who_has, keys=keys, callback_timeout=ASKED_SECONDS
                )
            self._held = {key for key, workers in held.items() if workers}
        return sum(sum(key in self._held for key in each) / len(each) for each in blocks.values())

    def _revive(self) -> None:
        """Give up windows all of whose workers have gone, while others came."""
        there = {worker.address for worker in self._fleet.workers()} if self._fleet.unfit else None
        for window, future in self._futures.items():
            if there and self._allowed[window] and not self._allowed[window] & there:
                self._allowed[window] = frozenset()
                future.cancel(force=True)

    def excuses(self, window: Key, error: BaseException, say: Say) -> bool:
        """Return whether a window met with a worker that is not fit, and that is left out from now on."""
        if self._probe is None or isinstance(error, DataError | DamagedChunksError | MemoryError):
            return False
        before = self._allowed[window]
        lost = isinstance(explain(error), StoppedError) and not isinstance(error, StoppedError)
        if not lost:
            with contextlib.suppress(OSError, TimeoutError):  # of which the loop hears by itself
                self._fleet.exclude(self._probe, say)
        now = frozenset(worker.address for worker in self._fleet.workers()) if self._fleet.unfit else before
        return now != before

    def cancel(self) -> None:
        """Stop what is under way."""
        self._client.cancel(list(self._futures.values()), force=True)
        self._blocks.clear()
        self._futures.clear()
        self._tasks.clear()


@contextmanager
def open_executor(resources: Resources, cluster: str | dict[str, Any], say: Say) -> Iterator[Executor]:
    """Start or reach what computes the windows, and end it afterwards.

    Parameters
    ----------
    resources : Resources
        Workers and memory.
    cluster : str or dict
        The config's `compute.cluster`.
    say : callable
        Told what is waited for.

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
    with connect(resources, cluster, say) as (client, jobs):
        own = resources.cluster == "local"
        executor = Cluster(client, _describe(client, resources, jobs), jobs, own=own)
        try:
            yield executor
        except Exception as error:
            known = explain(error)
            if known is error:
                raise
            raise known from error
        finally:
            executor.cancel()


def _describe(client: Any, resources: Resources, jobs: Jobs | None) -> str:
    if jobs is not None:
        most = f"{jobs.minimum} to {jobs.maximum}" if jobs.minimum < jobs.maximum else str(jobs.maximum)
        return f"{most} SLURM job{'s' * (jobs.maximum > 1)}"
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
