"""SLURM jobs as workers: how they are asked for, what each mistake is told as, who can use them."""

import io
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import dask
import psutil
import pytest
from fleets import need_jobqueue, request_for, run, slurm_in
from processes import assert_same, movie, wait_until

import pipeline
from pipeline.config.sections import ComputeConfig
from pipeline.model.errors import RequestError
from pipeline.model.messages import validate
from pipeline.runtime.executors.slurm import Jobs
from pipeline.runtime.progress import Lines


@pytest.fixture
def slurm(folder, monkeypatch):
    """A stand-in for SLURM on the PATH, and a configuration of dask of its own."""
    need_jobqueue()
    stand_in = slurm_in(folder)
    monkeypatch.setenv("PATH", f"{stand_in.folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setattr("pipeline.runtime.executors.workers.ASK_SECONDS", 0.2)
    return stand_in


def keywords(**more):
    return {"slurm": {"cores": 1, "memory": "2 GiB", "interface": "lo", **more}}


def files_at_home(folder):
    """Return the files in the user's home, but for compiled kernels."""
    home = folder / "home"
    return [path for path in home.rglob("*") if path.is_file() and home / ".cache" not in path.parents]


def test_slurm_jobs_do_a_run_and_are_cancelled(folder, slurm):
    movie(folder)
    given = keywords(
        jobs=1, queue="short", account="lab", walltime="01:00:00", job_extra_directives=["--qos=high"]
    )
    summary, told = run(folder, given)
    assert summary.where == "1 SLURM job"
    assert "waiting for SLURM job" in told
    (script,) = slurm.scripts
    for line in ("#SBATCH -p short", "#SBATCH -A lab", "#SBATCH -t 01:00:00", "#SBATCH --qos=high"):
        assert line in script
    assert slurm.cancelled == slurm.submitted
    wait_until(lambda: not slurm.running())
    run(folder, "threads", "threads/out.ome.zarr")
    assert_same(summary.output, folder / "threads/out.ome.zarr")


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_slurm_job_that_ends_is_replaced(folder, slurm, monkeypatch, processes):
    monkeypatch.setattr("pipeline.runtime.executors.slurm.LOST_SECONDS", 0.5)
    movie(folder, (40, 64, 64))
    told = io.StringIO()

    class Walltime(Lines):
        def advance(self, nbytes):
            super().advance(nbytes)
            if len(slurm.submitted) == 1:
                os.killpg(slurm.submitted[0], 9)

    summary = pipeline.run(
        request_for(folder, keywords(jobs=1, cores=2, processes=processes), window={"t": 2}),
        progress=Walltime(told),
    )
    assert len(slurm.submitted) == 2
    assert "the cluster has no worker: waiting for SLURM job" in told.getvalue()
    run(folder, "threads", "threads/out.ome.zarr", window={"t": 2})
    assert_same(summary.output, folder / "threads/out.ome.zarr")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            keywords(queue="nosuchqueue"),
            "SLURM refuses the job: sbatch: error: invalid partition: nosuchqueue",
        ),
        (keywords(colour="red"), "dask-jobqueue refuses the keywords: .*colour"),
        (
            {"slurm": {"cores": 1}},
            r"does not say the memory of a job, nor does jobqueue.yaml; write \{slurm: \{memory: 24 GiB\}\}",
        ),
        ({"slurm": {}}, "compute.cluster.slurm: does not say the cores and memory of a job"),
        (keywords(processes=2), r"slurm.processes: 2 processes are more than the 1 cores of a job; lower it"),
        (keywords(interface="nosuch0"), "dask-jobqueue refuses the keywords: .*nosuch0"),
        (keywords(scheduler_options={"colour": 1}), "dask-jobqueue refuses the keywords: .*colour"),
    ],
    ids=["sbatch", "keyword", "no memory", "no size", "processes", "interface", "scheduler"],
)
def test_what_slurm_or_dask_jobqueue_refuses_is_one_clear_line(folder, slurm, given, said):
    movie(folder)
    with pytest.raises(RequestError, match=said) as caught:
        run(folder, given)
    assert "\n" not in str(caught.value)
    assert set(os.listdir(folder)) - {"home"} == {"bin", "movie.tif"}


IMPORTED = """
import signal
from pipeline.runtime.executors.slurm import slurm_cluster_class
before = signal.getsignal(signal.SIGINT)
slurm_cluster_class()
assert signal.getsignal(signal.SIGINT) is before
"""


def test_dask_jobqueue_does_not_take_ctrl_c_away_from_the_run():
    need_jobqueue()
    # In a process of its own: a second import of it changes nothing any more.
    subprocess.run([sys.executable, "-c", IMPORTED], check=True)


def test_without_dask_jobqueue_the_extra_is_named(tmp_path, monkeypatch):
    movie(tmp_path)
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(RequestError, match=r"needs dask-jobqueue; pip install 'bgone\[slurm\]'"):
        run(tmp_path, {"slurm": {}})


def test_without_sbatch_that_is_said(tmp_path, monkeypatch):
    need_jobqueue()
    movie(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        RequestError, match="there is no sbatch on the PATH; start the run where jobs are submitted"
    ):
        run(tmp_path, keywords())


class Submitted:
    """What of dask-jobqueue's cluster is asked for by the upkeep."""

    def __init__(self, *names):
        self.worker_spec = {name: {} for name in names}
        self.workers = {}

    def scale(self, jobs):
        while len(self.worker_spec) < jobs:
            self.worker_spec[f"new-{len(self.worker_spec)}"] = {}


def test_jobs_are_given_up_only_once_they_were_there_and_all_their_workers_are_gone():
    jobs = Jobs(Submitted("a-1", "a-10", "b"), 3, 3)
    jobs.replace_lost(["a-1-0", "a-1-1", "b"], now=0)
    for now in (1, 100):
        jobs.replace_lost(["a-1-1", "b"], now)
    assert list(jobs.cluster.worker_spec) == ["a-1", "a-10", "b"]
    for now in (101, 110):
        jobs.replace_lost(["b"], now)
    assert list(jobs.cluster.worker_spec) == ["a-1", "a-10", "b"]
    jobs.replace_lost(["b"], now=117)
    assert list(jobs.cluster.worker_spec) == ["a-10", "b"]


@pytest.mark.parametrize(
    ("said", "field", "wanted"),
    [
        ({"cores": "8"}, "cores", "a whole number of 1 or more"),
        ({"cores": 0}, "cores", "a whole number of 1 or more"),
        ({"processes": True}, "processes", "a whole number of 1 or more"),
        ({"memory": "lots"}, "memory", "a size with a unit"),
        ({"memory": 24}, "memory", "a size with a unit"),
        ({"walltime": True}, "walltime", "a text"),
        ({"queue": ["short"]}, "queue", "a text"),
        ({"account": " "}, "account", "a text"),
        ({"job-script-prologue": "module load python"}, "job_script_prologue", "a list of texts"),
        ({"job_extra_directives": [1]}, "job_extra_directives", "a list of texts"),
        ({"nanny": "no"}, "nanny", "true or false"),
        ({"security": "yes"}, "security", "true or false"),
        ({"scheduler_options": [8786]}, "scheduler_options", "a mapping"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_a_keyword_of_another_kind_is_refused_with_the_config(said, field, wanted):
    section, problems = validate(ComputeConfig, {"cluster": {"slurm": said}}, "compute")
    assert section is None
    (problem,) = problems
    assert problem.field == f"compute.cluster.slurm.{field}"
    assert problem.hint.startswith(f"give {wanted}")


def test_keywords_of_the_right_kind_are_taken():
    given = {
        "cores": 8, "memory": "24 GiB", "walltime": 30, "account": 1234, "queue": "short", "processes": None,
        "job_extra_directives": ["--qos=high"], "nanny": False, "scheduler_options": {"port": 8786},
    }  # fmt: skip
    section, problems = validate(ComputeConfig, {"cluster": {"slurm": given}}, "compute")
    assert not problems
    assert section.cluster == {"slurm": given}


# What a run's own scheduler is like.


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Looking(Lines):
    """Looks at the files that a job's script names, when the first window is done."""

    def __init__(self, slurm):
        super().__init__(io.StringIO(), every=0)
        self.slurm = slurm
        self.modes = {}
        self.pages = []

    def advance(self, nbytes):
        super().advance(nbytes)
        for path in map(Path, re.findall(r"--tls-\S+ (\S+)", self.slurm.scripts[0])):
            text = path.read_text()
            self.pages = listening("0.0.0.0")
            self.modes[path] = path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777, text


def listening(address):
    """Return the ports of this process that are open at an address."""
    each = psutil.Process().net_connections(kind="tcp")
    return [one.laddr for one in each if one.status == psutil.CONN_LISTEN and one.laddr.ip == address]


def test_jobs_and_their_scheduler_have_credentials_that_their_user_alone_can_read(folder, slurm):
    movie(folder)
    looking, port = Looking(slurm), free_port()
    given = keywords(jobs=1, scheduler_options={"port": port})
    pipeline.run(request_for(folder, given), progress=looking)
    (script,) = slurm.scripts
    assert f"tls://127.0.0.1:{port} " in script
    assert "PRIVATE KEY" not in script
    assert len(looking.modes) == 2
    assert {(file, parent) for file, parent, _ in looking.modes.values()} == {(0o600, 0o700)}
    assert any("PRIVATE KEY" in text for *_, text in looking.modes.values())
    assert all(path.is_relative_to(folder / "home") for path in looking.modes)
    assert files_at_home(folder) == []
    assert looking.pages == []


def test_where_no_credentials_are_wanted_none_are_made_and_jobqueue_yaml_has_its_effect(folder, slurm):
    movie(folder)
    port = free_port()
    with dask.config.set({"jobqueue.slurm.scheduler-options": {"port": port}}):
        run(folder, keywords(jobs=1, security=False))
    (script,) = slurm.scripts
    assert f"tcp://127.0.0.1:{port} " in script
    assert "--tls" not in script
    assert files_at_home(folder) == []
