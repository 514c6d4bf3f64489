"""Windows on worker processes of this machine or on a cluster; and which executor a run gets."""

from __future__ import annotations

import contextlib
import queue
import time
from asyncio import CancelledError
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask.core import flatten
from dask.graph_manipulation import clone

from pipeline.model.errors import RequestError, StoppedError
from pipeline.model.machine import share_heap
from pipeline.planning.memory import IN_FLIGHT
from pipeline.planning.workload import Resources
from pipeline.runtime.executors.connect import all_dead, connect
from pipeline.runtime.executors.executor import Elsewhere, Executor, Outcome, Say, Threads, run_error
from pipeline.runtime.executors.slurm import Jobs
from pipeline.runtime.executors.worker_check import Guard, WorkerCheck
from pipeline.runtime.executors.workers import CLUSTER, Workers

TASKS_A_THREAD = 2  # under way: while one ends, the next is there
# Allowed for a task in the scheduler: several times what it takes, so that it is never what all wait for.
SCHEDULING_SECONDS = 0.002
ASKED_SECONDS = 1.0  # between two questions to the scheduler which blocks are done
ANSWER_SECONDS = 1.0  # that it may take to answer
MOST_ASKED = 2000  # tasks under way; where there are more, windows end often enough to show progress
RESTART_SECONDS = 60  # without a worker process, after which none is expected to be started again
FETCH_SECONDS = 5  # for the results of a window, before the loop looks after other things


@dataclass(frozen=True)
class _Sent:
    """A window under way."""

    tasks: da.Array
    future: Any  # None while no worker may compute it
    allowed: frozenset[str] | None  # addresses of the workers that may compute it; None: all
    left_out: frozenset[str]  # workers that were known to be unfit by then


class Cluster(Executor):
    """The workers of a `dask.distributed` cluster."""

    def __init__(
        self,
        client: Any,
        where: str,
        say: Say,
        jobs: Jobs | None = None,  # the run's own SLURM jobs, whose workers these are
        *,
        own: bool = False,  # processes of this machine: they see the same files, and share its memory
    ) -> None:
        self.where = where
        self._client = client
        self._jobs = jobs
        self._own = own
        self._workers = Workers(client, self._waited_for, say)
        self._done: queue.SimpleQueue[tuple[Hashable, Any]] = queue.SimpleQueue()
        self._sent: dict[Hashable, _Sent] = {}
        self._shares: dict[Hashable, float] = {}  # of windows under way, as last asked
        self._asked = 0.0
        self._to_come = 0
        self._dead_since: float | None = None
        if jobs is not None:
            jobs.wanted = self._workers_wanted

    @property
    def in_flight(self) -> int:
        """As many windows as give each thread a task, and one to go on with; two at the least."""
        busy = self._tasks() >= TASKS_A_THREAD * self._threads()
        return max(IN_FLIGHT, len(self._sent) + (not busy))

    @property
    def trouble(self) -> str:
        """What keeps the cluster from going on, in words."""
        if self._threads():
            return ""
        return f"the cluster has no worker: waiting for {self._waited_for()} (Ctrl-C stops)"

    def _waited_for(self) -> str:
        return "one" if self._jobs is None else self._jobs.waiting

    def _tasks(self) -> int:
        return sum(sent.tasks.npartitions for sent in self._sent.values())

    def _threads(self) -> int:
        workers = self._workers.fit()
        if self._jobs is not None:
            # Here, as the loop asks again and again, and as these names are as new as any.
            self._jobs.replace_lost([worker.name for worker in workers])
        return sum(worker.threads for worker in workers)

    def _workers_wanted(self) -> int:
        """Return how many workers have something to do."""
        threads = max(1, min((worker.threads for worker in self._workers.known), default=1))
        return max(1, -(-(self._to_come + self._tasks()) // threads))

    def expect(self, blocks: int) -> None:
        """Note how many blocks are to come."""
        self._to_come = blocks

    def batch(self, seconds: float) -> int:
        """Return as many blocks as let the scheduler keep up with all threads."""
        if self._own:
            return 1
        return max(1, round(self._threads() * SCHEDULING_SECONDS / max(seconds, 1e-4)))

    def prepare(self, make: Callable[[], WorkerCheck]) -> Elsewhere | None:
        """Let each worker elsewhere be checked before it gets its first task."""
        if self._own:
            return None
        check = make()
        try:
            self._workers.admit(check)
            return Elsewhere(Guard(check.token), self._workers.smallest())
        except (OSError, TimeoutError) as error:
            raise RequestError(
                f"the scheduler does not answer any more ({type(error).__name__})",
                "see that it runs, then run the same command again",
                CLUSTER,
            ) from error

    def submit(self, window: Hashable, tasks: da.Array) -> None:
        """Start computing a window."""
        self._send(window, tasks)
        self._to_come -= tasks.size

    def _send(self, window: Hashable, tasks: da.Array) -> None:
        fit = frozenset(worker.address for worker in self._workers.fit())
        left_out = frozenset(self._workers.unfit)
        # Only where some are left out: a list of workers costs the scheduler time for each task.
        allowed = fit if left_out else None
        if allowed is not None and not allowed:
            self._sent[window] = _Sent(tasks, None, allowed, left_out)
            return
        future = self._client.compute(tasks, workers=None if allowed is None else sorted(allowed))
        self._sent[window] = _Sent(tasks, future, allowed, left_out)
        future.add_done_callback(lambda future: self._done.put((window, future)))

    def _send_again(self, window: Hashable) -> None:
        # Under the old names the scheduler still has what the tasks failed with.
        self._send(window, clone(self._sent[window].tasks))

    def next(self, timeout: float | None = None) -> Outcome | None:
        """Wait for any window to end."""
        try:
            window, future = self._done.get(timeout=timeout)
        except queue.Empty:
            self._refuse_dead()
            self._workers.hear()
            self._send_stranded()
            return None
        self._dead_since = None  # a worker was alive to end it
        if self._sent[window].future is not future:
            return None  # cancelled: the window was sent again
        result: np.ndarray | BaseException
        try:
            result = future.result(timeout=FETCH_SECONDS)
        except (Exception, CancelledError) as error:  # the loop raises it
            if isinstance(error, TimeoutError) and future.status not in ("error", "cancelled"):
                # The worker that had the result was lost, and it is computed again.
                self._done.put((window, future))
                return None
            self._workers.hear()
            if self._workers.unfit.keys() - self._sent[window].left_out:
                # It may have met with a worker that had joined unchecked; that worker's report came before.
                self._send_again(window)
                return None
            result = error
        del self._sent[window]
        return window, result

    def _refuse_dead(self) -> None:
        """Stop the run if all of its own worker processes have been dead for too long."""
        now = time.monotonic()
        self._dead_since = (self._dead_since or now) if all_dead(self._client) else None
        if self._dead_since is not None and now - self._dead_since > RESTART_SECONDS:
            raise StoppedError(
                "the worker processes have ended and cannot be started again",
                "see that there is memory for them, or say cluster: threads; the same command goes on",
            )

    def _send_stranded(self) -> None:
        """Send windows again all of whose workers have gone, once others have come."""
        stranded = [window for window, sent in self._sent.items() if sent.allowed is not None]
        fit = {worker.address for worker in self._workers.fit()} if stranded else set()
        for window in stranded if fit else ():
            sent = self._sent[window]
            if not fit & (sent.allowed or set()):
                self._send_again(window)
                if sent.future is not None:
                    sent.future.cancel(force=True)

    def begun(self) -> Mapping[Hashable, float]:
        """Ask the scheduler now and then which blocks it holds the results of."""
        now = time.monotonic()
        if now - self._asked >= ASKED_SECONDS and 0 < self._tasks() <= MOST_ASKED:
            self._asked = now
            blocks = {
                window: list(flatten(sent.tasks.__dask_keys__())) for window, sent in self._sent.items()
            }
            # Without an answer in time the last one stands; a lost scheduler the loop hears of by itself.
            with contextlib.suppress(OSError, TimeoutError):
                holders = self._client.sync(
                    self._client.scheduler.who_has,
                    keys=[key for keys in blocks.values() for key in keys],
                    callback_timeout=ANSWER_SECONDS,
                )
                self._shares = {
                    window: sum(bool(holders.get(key)) for key in keys) / len(keys)
                    for window, keys in blocks.items()
                }
        return {window: share for window, share in self._shares.items() if window in self._sent}

    def close(self) -> None:
        """Stop what is under way, and leave the cluster as it was."""
        futures = [sent.future for sent in self._sent.values() if sent.future is not None]
        self._sent.clear()
        if self._client.status == "running":  # else distributed raises, over what has ended the run
            self._client.cancel(futures, force=True)
            self._workers.dismiss()


@contextmanager
def open_executor(resources: Resources, cluster: str | dict[str, Any], say: Say) -> Iterator[Executor]:
    """Start or reach the executor of a config, and end it afterwards.

    Raises
    ------
    RequestError
        The cluster cannot be reached.
    """
    if resources.cluster == "threads":
        share_heap()
        threads = Threads(resources.workers)
        try:
            yield threads
        except BaseException as error:
            # After a second Ctrl-C, which is no Exception, nobody waits for the blocks under way.
            threads.cancel(wait=isinstance(error, Exception))
            raise
        threads.cancel()
        return
    with connect(resources, cluster, say) as (client, jobs):
        where = _describe(client, resources, jobs)
        executor = Cluster(client, where, say, jobs, own=resources.cluster == "local")
        try:
            if jobs is not None:
                jobs.begin()
            yield executor
        except Exception as error:
            explained = run_error(error)
            if explained is error:
                raise
            raise explained from error
        finally:
            executor.close()


def _describe(client: Any, resources: Resources, jobs: Jobs | None) -> str:
    if jobs is not None:
        most = f"{jobs.minimum} to {jobs.maximum}" if jobs.minimum < jobs.maximum else str(jobs.maximum)
        return f"{most} SLURM job{'s' * (jobs.maximum > 1)}"
    if resources.cluster == "local":
        return f"{resources.workers} worker process{'es' * (resources.workers > 1)}"
    return f"the cluster at {client.scheduler.address}"
