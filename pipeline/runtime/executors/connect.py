"""Connecting to a Dask cluster: worker processes of the run's own, a scheduler's address, or SLURM jobs."""

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

CLOSE_SECONDS = 60
"""Time for a cluster of the run's own to end by itself."""

FILES = 40
"""Files and connections that a client, or a scheduler with what belongs to it, opens; 22 were counted."""

FILES_A_WORKER = 12
"""And those for each worker process that it starts; 11 were counted."""

ALLOWED_FAILURES = 5
"""Workers that may die over one block before it is what kills them, and the run stops."""


@contextmanager
def connect(
    resources: Resources, cluster: str | dict[str, Any], say: Say
) -> Iterator[tuple[Any, Jobs | None]]:
    """Start or reach a cluster, and leave it afterwards.

    Parameters
    ----------
    resources : Resources
        Workers, and where they are.
    cluster : str or dict
        The config's `compute.cluster`.
    say : callable
        Told what is waited for.

    Yields
    ------
    distributed.Client, Jobs or None
        Connected; and the run's own SLURM jobs, of which there are none yet.

    Raises
    ------
    RequestError
        The cluster cannot be reached.
    StoppedError
        Worker processes of the run's own could not be started.
    """
    import distributed

    # The cluster's own log, with its tracebacks, is not for the user, who is told what it means.
    for name in ("distributed", "distributed.client", "tornado", "tornado.application", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    jobs = None
    # Workers start in this folder: a pipeline.py of the user's in it must not shadow the package.
    with (
        dask.config.set(_settings(local=resources.cluster == "local")),
        _without_main(),
        ExitStack() as stack,
    ):
        if resources.cluster == "local":
            target: Any = _local(resources.workers)
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
                "see that it runs, then run the same command again", CLUSTER,
            ) from None  # fmt: skip
        stack.callback(client.close)
        yield client, jobs


def _local(workers: int) -> Any:
    """Start worker processes of the run's own."""
    from distributed import LocalCluster

    require_files(FILES + FILES_A_WORKER * workers)
    require_temporary_folder()
    try:
        with _interrupts_held_back():
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
    """See to it that this process may open so many more files and connections, or raise RequestError.

    Without them a scheduler goes on without an answer to whoever connects.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = psutil.Process().num_fds() + more
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise RequestError(
            f"{needed} files and connections would be open at a time, and this process may have {hard}",
            "allow more (ulimit -n), lower compute.workers, or say cluster: threads", CLUSTER,
        )  # fmt: skip
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def require_temporary_folder() -> None:
    """Refuse to have workers keep temporary files in the current folder, among the user's own."""
    if dask.config.get("temporary-directory", None):
        return
    asked = [os.environ.get(name, "") for name in ("TMPDIR", "TEMP", "TMP")]
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:
        folder = ""
    # Python takes the current folder where it can write into no other.
    if folder and (folder != os.getcwd() or folder in (*asked, "/tmp", "/var/tmp", "/usr/tmp")):
        return
    raise RequestError(
        "no folder for temporary files can be written to",
        "set TMPDIR to one, or say cluster: threads",
        CLUSTER,
    )


def _close(cluster: Any) -> None:
    """End a cluster of the run's own, its processes by force if need be: the run does not wait for ever."""
    try:
        cluster.close(timeout=CLOSE_SECONDS)
    except TimeoutError:
        for worker in list(cluster.workers.values()):
            if getattr(worker, "pid", None):
                os.kill(worker.pid, signal.SIGKILL)


def all_dead(client: Any) -> bool:
    """Return whether no worker process of the run's own lives; those of other clusters are not known of."""
    from distributed import LocalCluster

    cluster = client.cluster
    return isinstance(cluster, LocalCluster) and not any(
        worker.is_alive() for worker in list(cluster.workers.values())
    )


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
    # A worker that is killed leaves a semaphore behind, which it clears away: no news for the user.
    warnings = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore:resource_tracker:UserWarning"
    try:
        resource_tracker.ensure_running()
    finally:
        del os.environ["PYTHONWARNINGS"]
        if warnings is not None:
            os.environ["PYTHONWARNINGS"] = warnings
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
        # dask opens a port for pages beside each scheduler and worker; of a run's own there is none to see.
        settings |= {f"distributed.{role}.http.routes": [] for role in ("scheduler", "worker")}
    return settings
