"""Dask clusters of real processes, over loopback or in network namespaces, and a stand-in for SLURM."""

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from processes import wait_until

import pipeline
from pipeline.runtime.progress import Lines

HERE = Path(__file__).parent


def need_jobqueue():
    """Skip the test if dask-jobqueue is not installed."""
    # Not imported: that would take Ctrl-C from the tests.
    if importlib.util.find_spec("dask_jobqueue") is None:
        pytest.skip("needs the extra slurm")


@dataclass
class Fleet:
    """A scheduler and its workers, which end with the test."""

    folder: Path
    processes: list[subprocess.Popen] = field(default_factory=list)

    @property
    def file(self):
        """The scheduler file."""
        return self.folder / "scheduler.json"

    @property
    def address(self):
        """The scheduler's address."""
        return json.loads(self.file.read_text())["address"]

    @property
    def log(self):
        """Output of all processes."""
        return (self.folder / "cluster.log").read_text()

    def scheduler(self, *arguments, host="127.0.0.1", environ=None, within=()):
        """Start the scheduler."""
        command = ["distributed.cli.dask_scheduler", "--host", host, "--port", "0", "--no-dashboard"]
        started = self._launch([*command, "--scheduler-file", self.file, *arguments], environ, within)
        # dask does not write the file in one step.
        wait_until(lambda: self.file.exists() and self.file.read_text().rstrip().endswith("}"))
        return started

    def worker(self, *arguments, environ=None, within=(), threads=1):
        """Start a worker, without waiting for it."""
        command = ["distributed.cli.dask_worker", self.address, "--no-nanny", "--no-dashboard"]
        command += ["--nthreads", threads, "--death-timeout", "60", "--local-directory", self.folder]
        return self._launch([*command, *arguments], environ, within)

    def start(self, workers=1, **keywords):
        """Start a scheduler and workers, and wait for them."""
        self.scheduler()
        for _ in range(workers):
            self.worker(**keywords)
        self.wait(workers)
        return self

    def wait(self, workers):
        """Wait until this number of workers has registered in all."""
        wait_until(lambda: self.log.count("Registered to:") >= workers)

    def _launch(self, command, environ=None, within=()):
        arguments = [*within, sys.executable, "-m", *map(str, command)]
        with open(self.folder / "cluster.log", "a") as log:
            process = subprocess.Popen(
                arguments, stdout=log, stderr=log, env={**os.environ, **(environ or {})}, cwd=self.folder
            )
        self.processes.append(process)
        return process

    def end(self):
        """Kill all processes."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


@contextlib.contextmanager
def fleet_in(folder):
    """Yield a fleet with its files in a folder."""
    path = Path(folder) / "fleet"
    path.mkdir()
    fleet = Fleet(path)
    try:
        yield fleet
    finally:
        fleet.end()


def another_version(folder, version="9.9.9", name="bgone"):
    """Return the environment variables with which a process finds another version of a package."""
    path = Path(folder) / f"{name}-{version}.dist-info"
    path.mkdir(parents=True)
    (path / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


SBATCH = """\
#!/bin/sh
# Runs the job at once, in its own process group; the group's number is that of the job.
here=$(dirname "$0")
if grep -q nosuchqueue "$1"; then echo "sbatch: error: invalid partition: nosuchqueue" >&2; exit 1; fi
script=$(mktemp "$here/jobs/XXXXXX.sh"); cp "$1" "$script"
setsid sh "$script" > "$script.log" 2>&1 < /dev/null &
echo $! >> "$here/jobs/submitted"
echo "Submitted batch job $!"
"""
SCANCEL = """\
#!/bin/sh
echo "$1" >> "$(dirname "$0")/jobs/cancelled"
kill -TERM -- "-$1" 2> /dev/null
"""


@dataclass
class Slurm:
    """A stand-in for SLURM: a folder with `sbatch` and `scancel`, for the PATH."""

    folder: Path

    @property
    def submitted(self):
        """Numbers of the submitted jobs, in order."""
        return self._numbers("submitted")

    @property
    def cancelled(self):
        """Numbers of the cancelled jobs."""
        return self._numbers("cancelled")

    @property
    def scripts(self):
        """Scripts of all jobs."""
        return [path.read_text() for path in sorted((self.folder / "jobs").glob("*.sh"))]

    def running(self):
        """Return the jobs that have a living process."""
        numbers = []
        for number in self.submitted:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(number, 0)
                numbers.append(number)
        return numbers

    def _numbers(self, name):
        path = self.folder / "jobs" / name
        return [int(line) for line in path.read_text().split()] if path.exists() else []


def slurm_in(folder):
    """Set up the stand-in for SLURM below a folder."""
    path = Path(folder) / "bin"
    (path / "jobs").mkdir(parents=True)
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (path / name).write_text(text)
        (path / name).chmod(0o755)
    return Slurm(path)


def request_for(folder, cluster, output="out.ome.zarr", **compute):
    """Return the config of a run as plain data."""
    return {
        "input": {"path": str(folder / "movie.tif")},
        "steps": [{"white_tophat": {"radius": 3}}],
        "output": {"path": str(folder / output), "chunks": {"t": 1, "y": 32, "x": 64}},
        "compute": {"cluster": cluster, "workers": 2, "window": {"t": 4}, "block": {"t": 1}, **compute},
    }


def run(folder, cluster, output="out.ome.zarr", **compute):
    """Run `request_for` these arguments; return the summary and the printed progress."""
    printed = io.StringIO()
    summary = pipeline.run(request_for(folder, cluster, output, **compute), progress=Lines(printed))
    return summary, printed.getvalue()
