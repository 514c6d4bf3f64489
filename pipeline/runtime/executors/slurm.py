"""A cluster of SLURM jobs, through dask-jobqueue: as many as there is work for; one that ends is replaced."""

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

MAXIMUM_JOBS = 10
"""Where nothing is said: an allocation that nobody asked for should stay small."""

LOST_SECONDS = 15
"""A job whose workers have all gone for so long has ended: of its walltime, or of its node."""

SLURM = "compute.cluster.slurm"

JOB_SIZE = {"cores": "cores: 8", "memory": "memory: 24 GiB"}

PROLOGUE = (
    # A pipeline.py in the folder that the job was submitted from must not shadow the package.
    "export PYTHONSAFEPATH=1",
    # Each task is one thread; and all threads take memory from one heap, see `share_heap`.
    "export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MALLOC_ARENA_MAX=1",
)


@dataclass
class Jobs:
    """The jobs of a run: at least `minimum` while it is on, and at most `maximum`."""

    cluster: Any
    """A `dask_jobqueue.SLURMCluster`."""
    minimum: int
    maximum: int
    wanted: Callable[[], int] = lambda: 1
    """Gives the number of workers that there is work for now."""
    _seen: set[str] = field(default_factory=set)
    _gone: dict[str, float] = field(default_factory=dict)

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
                "correct the keywords (queue, account, walltime, memory, …) or jobqueue.yaml", SLURM,
            ) from None  # fmt: skip
        self.cluster.adapt(Adaptive=Wanted, minimum_jobs=self.minimum, maximum_jobs=self.maximum)

    def replace_lost(self, names: Iterable[str], now: float | None = None) -> None:
        """Let jobs be replaced none of whose workers is there any more, given the names of those that are.

        dask-jobqueue does that only where a job is a single process.
        """
        now = time.monotonic() if now is None else now
        alive = set(names)
        for job in list(self.cluster.worker_spec):
            # A job of several processes has a worker for each, and numbers them.
            if any(name == job or name.startswith(f"{job}-") for name in alive):
                self._seen.add(job)
                self._gone.pop(job, None)
            elif job in self._seen and now - self._gone.setdefault(job, now) >= LOST_SECONDS:
                # Dropped from what should be, it is one too few, and the next look submits another.
                self._seen.discard(job)
                self._gone.pop(job)
                self.cluster.worker_spec.pop(job, None)
                self.cluster.scale(jobs=len(self.cluster.worker_spec))

    @property
    def waiting(self) -> str:
        """Which jobs have been submitted, for the reader."""
        numbers = [str(job.job_id) for job in self.cluster.workers.values() if getattr(job, "job_id", None)]
        return f"SLURM job{'s' * (len(numbers) > 1)} {', '.join(numbers[:5])}" if numbers else "a SLURM job"


async def _submitted(cluster: Any) -> None:
    """Wait until all jobs are submitted; raise what the first of them met with."""
    while set(cluster.worker_spec) - set(cluster.workers):
        await asyncio.sleep(0.02)
    for job in list(cluster.workers.values()):
        await job  # submitted once more where it was refused: the cluster keeps to itself why


def _reason(error: BaseException) -> str:
    """Return what sbatch said, out of dask-jobqueue's account of it."""
    text = str(error)
    lines = (text.partition("stderr:")[2] or text).split("\n")
    return next((line.strip() for line in lines if line.strip()), type(error).__name__)


def slurm_cluster_class() -> Any:
    """Return dask-jobqueue's SLURMCluster, or raise RequestError where that is not there."""
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise RequestError(
            "a slurm cluster needs dask-jobqueue", "pip install 'bgone[slurm]'", "compute.cluster"
        ) from None
    finally:
        # Its import makes Ctrl-C end the process at once, whoever had asked to be told of it.
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
        dask-jobqueue or SLURM is not there, or the keywords do not do.
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
    least, most = own.pop("minimum_jobs", None), own.pop("maximum_jobs", None)
    with _telling(), ExitStack() as stack:
        options = _keyword("scheduler_options", own, {})
        if not {"dashboard", "dashboard_address"} & set(options):
            # Nobody asked for dask's pages, which all who reach this host could read.
            stack.enter_context(dask.config.set({"distributed.scheduler.http.routes": []}))
            options = {"dashboard": False, "dashboard_address": "127.0.0.1:0", **options}
        own["scheduler_options"] = options
        own["job_script_prologue"] = [*PROLOGUE, *_keyword("job_script_prologue", own, ())]
        # dask-jobqueue would have as many, and counts the workers of a job only where they are said.
        own["processes"] = _keyword("processes", own, nprocesses_nthreads(int(_keyword("cores", own, 1)))[0])
        own.setdefault("silence_logs", "critical")
        stack.enter_context(_credentials(own))
        cluster = SLURMCluster(**own)
        opened = stack.pop_all()
    with opened:
        if workers:
            cluster.scale(int(workers))
            jobs = len(cluster.worker_spec)
        least = int(least or jobs or 1)
        yield Jobs(cluster, least, int(most or jobs or max(least, MAXIMUM_JOBS)))


@contextmanager
def _telling() -> Iterator[None]:
    """Tell in one line what dask-jobqueue, or the scheduler that it starts, refuses."""
    try:
        yield
    except (TypeError, ValueError, KeyError, RuntimeError, OSError) as error:
        text = str(error).split(" Very likely")[0].strip() or type(error).__name__
        raise RequestError(
            f"dask-jobqueue refuses the keywords: {text.splitlines()[0]}",
            "see the keywords of its SLURMCluster", SLURM,
        ) from None  # fmt: skip


def _require_size(keywords: Mapping[str, Any]) -> None:
    """Refuse jobs of which nobody says how large they are, or that have more workers than cores."""
    cores, processes = (_keyword(name, keywords, None) for name in ("cores", "processes"))
    missing = [name for name in ("cores", "memory") if not _keyword(name, keywords, None)]
    if missing:
        raise RequestError(
            f"does not say the {' and '.join(missing)} of a job, nor does jobqueue.yaml",
            f"write {{slurm: {{{', '.join(JOB_SIZE[name] for name in missing)}}}}}, or so", SLURM,
        )  # fmt: skip
    if processes and processes > cores:
        raise RequestError(
            f"{processes} processes are more than the {cores} cores of a job", "lower it, or raise cores",
            f"{SLURM}.processes",
        )  # fmt: skip


@contextmanager
def _credentials(keywords: dict[str, Any]) -> Iterator[None]:
    """Have scheduler and workers use credentials of this run alone, unless others are said, or none.

    The scheduler is in this process: on a login node, whose ports all users of the cluster reach. Jobs find
    the credentials in files that their user alone can read, in the home folder, which is on every node;
    dask-jobqueue would leave them there for as long as this process lives.
    """
    from distributed.security import Security

    security, protocol = keywords.pop("security", None), keywords.get("protocol") or "tls"
    # Those of dask's configuration are used wherever dask is: nothing has to be handed on.
    has_own = security is None and dask.config.get("distributed.comm.tls.ca-file", None)
    if security is False or has_own or not protocol.startswith("tls"):
        yield
        return
    made = temporary_security()
    shared = os.path.expanduser(_keyword("shared_temp_directory", keywords, "~/.cache/bgone"))
    os.makedirs(shared, mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="credentials-", dir=shared) as folder:
        certificate, key = f"{folder}/certificate.pem", f"{folder}/key.pem"
        for path, text in ((certificate, made.tls_worker_cert), (key, made.tls_worker_key)):
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
        files = {f"tls_{role}_{kind}": path for role in ("client", "scheduler", "worker")
                for kind, path in (("cert", certificate), ("key", key))}  # fmt: skip
        keywords["security"] = Security(require_encryption=True, tls_ca_file=certificate, **files)
        yield


def _keyword(name: str, keywords: Mapping[str, Any], otherwise: Any) -> Any:
    """Return a keyword, or what the user's jobqueue.yaml says of it."""
    if keywords.get(name) is not None:
        return keywords[name]
    section = keywords.get("config_name") or "slurm"
    return dask.config.get(f"jobqueue.{section}.{name.replace('_', '-')}", None) or otherwise
