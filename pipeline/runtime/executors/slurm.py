"""A cluster of SLURM jobs, through dask-jobqueue: as many as there is work for, replaced when they end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import dask

from pipeline.model.errors import RequestError
from pipeline.runtime.executors.reach import temporary_security

MAXIMUM_JOBS = 10  # by default: an allocation that nobody asked for should stay small
LOST_SECONDS = 15  # without any of its workers, after which a job has ended: of its walltime, or of its node
SLURM = "compute.cluster.slurm"  # the field of the config
JOB_SIZE = {"cores": "cores: 8", "memory": "memory: 24 GiB"}
PROLOGUE = (
    # A pipeline.py in the folder that the job was submitted from must not shadow the package.
    "export PYTHONSAFEPATH=1",
    # Each task is one thread; and all threads take memory from one heap, see `share_heap`.
    "export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MALLOC_ARENA_MAX=1",
)


@dataclass
class Jobs:
    """The jobs of a run."""

    cluster: Any  # a `dask_jobqueue.SLURMCluster`
    minimum: int
    maximum: int
    wanted: Callable[[], int] = lambda: 1  # gives the number of workers that there is work for
    _seen: set[str] = field(default_factory=set)  # jobs of which a worker has come
    _gone: dict[str, float] = field(default_factory=dict)  # job → when its last worker had gone

    def begin(self) -> None:
        """Submit the first jobs, and from then on as many as are wanted.

        Raises
        ------
        RequestError
            SLURM refuses them.
        """
        from distributed import Status
        from distributed.deploy import Adaptive

        jobs = self

        class Wanted(Adaptive):
            # Dask's own target follows the work that its scheduler knows of, which is one window or two.
            async def target(self) -> int:
                return jobs.wanted()

        try:
            self.cluster.scale(jobs=self.minimum)
            self.cluster.sync(_submitted, self.cluster)
        except (RuntimeError, OSError, ValueError) as error:
            for job in self.cluster.workers.values():
                if job.status == Status.created:
                    job.status = Status.failed  # else the cluster does not close
            raise RequestError(
                f"SLURM refuses the job: {_reason(error)}",
                "correct the keywords (queue, account, walltime, memory, …) or jobqueue.yaml",
                SLURM,
            ) from None
        self.cluster.adapt(Adaptive=Wanted, minimum_jobs=self.minimum, maximum_jobs=self.maximum)

    def replace_lost(self, workers: Iterable[str], now: float | None = None) -> None:
        """Replace jobs none of whose workers is left, given the names of those that are."""
        # dask-jobqueue does that only where a job is a single process.
        now = time.monotonic() if now is None else now
        alive = set(workers)
        for job in list(self.cluster.worker_spec):
            # A job of several processes has a worker for each, and numbers them.
            if any(name == job or name.startswith(f"{job}-") for name in alive):
                self._seen.add(job)
                self._gone.pop(job, None)
            elif job in self._seen and now - self._gone.setdefault(job, now) >= LOST_SECONDS:
                # Without it the cluster has one job too few, and submits another.
                self._seen.discard(job)
                self._gone.pop(job)
                self.cluster.worker_spec.pop(job, None)
                self.cluster.scale(jobs=len(self.cluster.worker_spec))

    @property
    def waiting(self) -> str:
        """The jobs that have been submitted, for the reader."""
        numbers = [str(job.job_id) for job in self.cluster.workers.values() if getattr(job, "job_id", None)]
        return f"SLURM job{'s' * (len(numbers) > 1)} {', '.join(numbers[:5])}" if numbers else "a SLURM job"


async def _submitted(cluster: Any) -> None:
    """Wait until all jobs are submitted, and raise the error of the first that is refused."""
    while set(cluster.worker_spec) - set(cluster.workers):
        await asyncio.sleep(0.02)
    for job in list(cluster.workers.values()):
        await job  # submits a refused job once more: the cluster has kept its first error to itself


def _reason(error: BaseException) -> str:
    """Return what sbatch said, out of dask-jobqueue's account of it."""
    text = str(error)
    lines = (text.partition("stderr:")[2] or text).split("\n")
    return next((line.strip() for line in lines if line.strip()), type(error).__name__)


def slurm_cluster_class() -> Any:
    """Import dask-jobqueue's SLURMCluster, or raise RequestError where it is not installed."""
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise RequestError(
            "a slurm cluster needs dask-jobqueue", "pip install 'bgone[slurm]'", "compute.cluster"
        ) from None
    finally:
        # Its import replaces any handler of Ctrl-C by one that ends the process at once.
        if signal.getsignal(signal.SIGINT) is not on_ctrl_c:
            signal.signal(signal.SIGINT, on_ctrl_c)
    return SLURMCluster


@contextmanager
def slurm_jobs(keywords: Mapping[str, Any]) -> Iterator[Jobs]:
    """Make a cluster that has no job yet.

    Parameters
    ----------
    keywords : mapping
        dask-jobqueue's own, over the user's jobqueue.yaml, with hyphens or underscores; beside
        them `jobs`, or `minimum_jobs` and `maximum_jobs`.

    Raises
    ------
    RequestError
        dask-jobqueue or SLURM is not installed, or a keyword is refused.
    """
    from distributed.deploy.local import nprocesses_nthreads

    SLURMCluster = slurm_cluster_class()
    if shutil.which("sbatch") is None:
        raise RequestError(
            "there is no sbatch on the PATH", "start the run where jobs are submitted, on a login node", SLURM
        )
    own = {name.replace("-", "_"): value for name, value in keywords.items()}
    _require_size(own)
    jobs, workers = own.pop("jobs", None), own.pop("n_workers", None)
    minimum, maximum = own.pop("minimum_jobs", None), own.pop("maximum_jobs", None)
    own["job_script_prologue"] = [*PROLOGUE, *_keyword("job_script_prologue", own, ())]
    own.setdefault("silence_logs", "critical")
    own["scheduler_options"] = options = dict(_keyword("scheduler_options", own, {}))
    with ExitStack() as stack:
        if not {"dashboard", "dashboard_address"} & set(options):
            # Nobody asked for dask's pages, which all who reach this host could read.
            stack.enter_context(dask.config.set({"distributed.scheduler.http.routes": []}))
            options |= {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
        try:
            # As dask-jobqueue chooses: it knows the names of a job's workers only by this keyword.
            processes, _ = nprocesses_nthreads(int(_keyword("cores", own, 1)))
            own["processes"] = int(_keyword("processes", own, processes))
            stack.enter_context(_credentials(own))
            cluster = SLURMCluster(**own)
        except (TypeError, ValueError, KeyError, RuntimeError, OSError) as error:
            text = str(error).split(" Very likely")[0].strip() or type(error).__name__
            message = f"dask-jobqueue refuses the keywords: {text.splitlines()[0]}"
            raise RequestError(message, "see the keywords of its SLURMCluster", SLURM) from None
        if workers:
            jobs = -(-int(workers) // own["processes"])
        minimum = int(minimum or jobs or 1)
        yield Jobs(cluster, minimum, int(maximum or jobs or max(minimum, MAXIMUM_JOBS)))


def _require_size(keywords: Mapping[str, Any]) -> None:
    """Refuse jobs without a size, or with more workers than cores."""
    cores, processes = (_keyword(name, keywords, None) for name in ("cores", "processes"))
    missing = [name for name in JOB_SIZE if not _keyword(name, keywords, None)]
    if missing:
        raise RequestError(
            f"does not say the {' and '.join(missing)} of a job, nor does jobqueue.yaml",
            f"write {{slurm: {{{', '.join(JOB_SIZE[name] for name in missing)}}}}}, or so",
            SLURM,
        )
    if processes and processes > cores:
        message = f"{processes} processes are more than the {cores} cores of a job"
        raise RequestError(message, "lower it, or raise cores", f"{SLURM}.processes")


@contextmanager
def _credentials(keywords: dict[str, Any]) -> Iterator[None]:
    """Give scheduler and workers TLS credentials of this run alone, unless the user says others, or none."""
    from distributed.security import Security

    # The scheduler is in this process: on a login node, whose ports all users of the cluster reach.
    security, protocol = keywords.pop("security", None), keywords.get("protocol") or "tls"
    # Dask uses those of its configuration by itself.
    has_own = security is None and dask.config.get("distributed.comm.tls.ca-file", None)
    if security is False or has_own or not protocol.startswith("tls"):
        yield
        return
    temporary = temporary_security()
    # In the home folder, which every node has, and readable by the user alone. dask-jobqueue's own way
    # leaves the files there for as long as this process lives.
    shared = os.path.expanduser(_keyword("shared_temp_directory", keywords, "~/.cache/bgone"))
    os.makedirs(shared, mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="credentials-", dir=shared) as folder:
        certificate, key = f"{folder}/certificate.pem", f"{folder}/key.pem"
        for path, text in ((certificate, temporary.tls_worker_cert), (key, temporary.tls_worker_key)):
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
        files: dict[str, str] = {}
        for role in ("client", "scheduler", "worker"):
            files |= {f"tls_{role}_cert": certificate, f"tls_{role}_key": key}
        keywords["security"] = Security(require_encryption=True, tls_ca_file=certificate, **files)
        yield


def _keyword(name: str, keywords: Mapping[str, Any], default: Any) -> Any:
    """Return a keyword, or its value in the user's jobqueue.yaml."""
    if keywords.get(name) is not None:
        return keywords[name]
    section = keywords.get("config_name") or "slurm"
    return dask.config.get(f"jobqueue.{section}.{name.replace('_', '-')}", None) or default
