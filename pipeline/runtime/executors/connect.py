"""Connections to a Dask cluster: worker processes of the run's own, SLURM jobs, or a scheduler's address."""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from typing import Any

import dask
import psutil

from pipeline.model.errors import RequestError, StoppedError
from pipeline.planning.workload import Resources
from pipeline.runtime.executors.executor import Say
from pipeline.runtime.executors.reach import (
    CONNECT_SECONDS,
    look_at_scheduler,
    scheduler_address,
    temporary_security,
)
from pipeline.runtime.executors.slurm import Jobs, slurm_jobs
from pipeline.runtime.executors.workers import CLUSTER

CLOSE_SECONDS = 60  # for a cluster of the run's own to end by itself
FILES = 40  # files and connections of a client, or a scheduler with its nannies; 22 were counted
FILES_A_WORKER = 12  # and of each worker process; 11 were counted
ALLOWED_FAILURES = 5  # workers that may die over one block before the block is blamed, and the run stops


@contextmanager
def connect(
    resources: Resources, cluster: str | dict[str, Any], say: Say
) -> Iterator[tuple[Any, Jobs | None]]:
    """Start or reach the cluster of a config, and leave it afterwards.

    Yields the distributed.Client, and the run's own SLURM jobs, of which none is submitted yet.

    Raises
    ------
    RequestError
        The cluster cannot be reached.
    StoppedError
        Worker processes of the run's own could not be started.
    """
    import distributed

    # Dask logs tracebacks of what the run explains, or mends, by itself.
    for name in ("distributed", "distributed.client", "tornado", "tornado.application", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    jobs = None
    with (
        dask.config.set(_settings(local=resources.cluster == "local")),
        _hidden_main(),
        ExitStack() as stack,
    ):
        if resources.cluster == "local":
            target: Any = _local_cluster(resources.workers)
            stack.callback(_close, target)
        elif isinstance(cluster, dict):
            jobs = stack.enter_context(slurm_jobs(cluster["slurm"] or {}))
            target = jobs.cluster
            stack.callback(_close, target)
        else:
            require_files(FILES)
            target = scheduler_address(cluster)
            look_at_scheduler(target, cluster, say)
        try:
            client = distributed.Client(target, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, TimeoutError, ValueError, ImportError) as error:
            raise RequestError(
                f"the scheduler at {getattr(target, 'scheduler_address', target)} does not take this client"
                f" ({type(error).__name__})",
                "see that it runs, then run the same command again",
                CLUSTER,
            ) from None
        stack.callback(client.close)
        yield client, jobs


def _local_cluster(workers: int) -> Any:
    from distributed import LocalCluster

    require_files(FILES + FILES_A_WORKER * workers)
    require_temporary_folder()
    try:
        with _interrupts_blocked():
            return LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                memory_limit=0,
                security=temporary_security(),
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                host="127.0.0.1",
                silence_logs=50,
            )
    except (RuntimeError, OSError) as error:
        raise StoppedError(
            f"a worker process could not be started ({error.__cause__ or error})",
            "see that there is memory for them, or say cluster: threads; the same command goes on",
        ) from error


def require_files(more: int) -> None:
    """Raise this process's limit of open files and connections by need, or refuse the run.

    Raises
    ------
    RequestError
        The system does not allow so many more.
    """
    # A scheduler that has no more goes on, and leaves every new connection without an answer.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = psutil.Process().num_fds() + more
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise RequestError(
            f"{needed} files and connections would be open at a time, and this process may have {hard}",
            "allow more (ulimit -n), lower compute.workers, or say cluster: threads",
            CLUSTER,
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def require_temporary_folder() -> None:
    """Refuse to let workers keep temporary files in the current folder, among the user's own."""
    if dask.config.get("temporary-directory", None):
        return
    named = [os.environ.get(name, "") for name in ("TMPDIR", "TEMP", "TMP")]
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:
        folder = ""
    # Python falls back to the current folder where it can write into no other.
    if folder and (folder != os.getcwd() or folder in (*named, "/tmp", "/var/tmp", "/usr/tmp")):
        return
    raise RequestError(
        "no folder for temporary files can be written to",
        "set TMPDIR to one, or say cluster: threads",
        CLUSTER,
    )


def _close(cluster: Any) -> None:
    """End a cluster of the run's own, its processes by force where they do not end in time."""
    try:
        cluster.close(timeout=CLOSE_SECONDS)
    except TimeoutError:
        for worker in list(cluster.workers.values()):
            if getattr(worker, "pid", None):
                os.kill(worker.pid, signal.SIGKILL)


def all_dead(client: Any) -> bool:
    """Return whether all worker processes of the run's own are dead; False for other clusters."""
    from distributed import LocalCluster

    cluster = client.cluster
    return isinstance(cluster, LocalCluster) and not any(
        worker.is_alive() for worker in list(cluster.workers.values())
    )


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Keep spawned processes from running the caller's script again."""
    # They would run it down to the call that starts them, unless the user guards it. No task needs it.
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
def _interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C in threads and processes that are started inside; this thread gets it afterwards."""
    # A terminal sends it to every process of the run. The driver lets what is under way end and records
    # it; a worker that stopped by itself would lose that.
    warnings = os.environ.get("PYTHONWARNINGS")
    # The tracker clears away the semaphore of a worker that is killed, which is no news for the user.
    os.environ["PYTHONWARNINGS"] = "ignore:resource_tracker:UserWarning"
    try:
        # Now, as the first spawn starts it otherwise, and it unblocks the signal for what comes after.
        resource_tracker.ensure_running()
    finally:
        del os.environ["PYTHONWARNINGS"]
        if warnings is not None:
            os.environ["PYTHONWARNINGS"] = warnings
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _settings(*, local: bool) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "distributed.worker.daemon": True,
        "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
        "distributed.comm.timeouts.connect": CONNECT_SECONDS,
        "distributed.nanny.pre-spawn-environ": {
            "OMP_NUM_THREADS": 1,
            "MKL_NUM_THREADS": 1,
            "OPENBLAS_NUM_THREADS": 1,
            # As `share_heap`; dask's own setting, to give all back at once, costs a third of the speed.
            "MALLOC_ARENA_MAX": 1,
        },
    }
    if local:
        # A worker process that has died is started again, which on a busy machine takes longer than dask
        # waits before it gives the worker up, and then nothing ever starts it.
        settings["distributed.deploy.lost-worker-timeout"] = "1000 days"
        # Dask serves pages beside each scheduler and worker, which every user of the machine could read.
        settings |= {f"distributed.{role}.http.routes": [] for role in ("scheduler", "worker")}
    return settings
