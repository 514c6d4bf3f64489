"""Schedulers and workers as processes of their own, over loopback or in network namespaces, for tests."""

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
    """Skip a test where dask-jobqueue is not installed; an import here would take Ctrl-C from the tests."""
    if importlib.util.find_spec("dask_jobqueue") is None:
        pytest.skip("needs the extra slurm")


@dataclass
class Fleet:
    """A scheduler and its workers; they end with the test."""

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
        """What all of them said."""
        return (self.folder / "cluster.log").read_text()

    def scheduler(self, *arguments, host="127.0.0.1", environ=None, within=()):
        """Start the scheduler."""
        command = ["distributed.cli.dask_scheduler", "--host", host, "--port", "0", "--no-dashboard"]
        started = self._launch([*command, "--scheduler-file", self.file, *arguments], environ, within)
        # It is not written in one step.
        wait_until(lambda: self.file.exists() and self.file.read_text().rstrip().endswith("}"))
        return started

    def worker(self, *arguments, environ=None, within=(), threads=1):
        """Start a worker; it comes when it comes."""
        command = ["distributed.cli.dask_worker", self.address, "--no-nanny", "--no-dashboard"]
        told = ["--nthreads", threads, "--death-timeout", "60", "--local-directory", self.folder, *arguments]
        return self._launch([*command, *told], environ, within)

    def start(self, workers=1, **keywords):
        """Start a scheduler and workers, and wait for them."""
        self.scheduler()
        for _ in range(workers):
            self.worker(**keywords)
        self.wait(workers)
        return self

    def wait(self, workers):
        """Wait for so many workers to have come, in all."""
        wait_until(lambda: self.log.count("Registered to:") >= workers)

    def _launch(self, command, environ=None, within=()):
        texts = [*within, sys.executable, "-m", *map(str, command)]
        with open(self.folder / "cluster.log", "a") as log:
            process = subprocess.Popen(
                texts, stdout=log, stderr=log, env={**os.environ, **(environ or {})}, cwd=self.folder
            )
        self.processes.append(process)
        return process

    def end(self):
        """End them all."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


@contextlib.contextmanager
def fleet_in(folder):
    """Give a fleet that keeps its files in a folder."""
    place = Path(folder) / "fleet"
    place.mkdir()
    fleet = Fleet(place)
    try:
        yield fleet
    finally:
        fleet.end()


def another_version(folder, version="9.9.9", name="bgone"):
    """Return the environment of a process that finds another version of bgone installed."""
    place = Path(folder) / f"{name}-{version}.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


SBATCH = """\
#!/bin/sh
# Runs the job at once, as a process group of its own whose number is the job's.
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
    """A stand-in for SLURM: `sbatch` and `scancel` in a folder for the PATH."""

    folder: Path

    @property
    def submitted(self):
        """The numbers of the jobs, in their order."""
        return self._numbers("submitted")

    @property
    def cancelled(self):
        """Those that were cancelled."""
        return self._numbers("cancelled")

    @property
    def scripts(self):
        """The scripts of all jobs."""
        return [path.read_text() for path in sorted((self.folder / "jobs").glob("*.sh"))]

    def running(self):
        """Return the jobs of which a process is there."""
        found = []
        for number in self.submitted:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(number, 0)
                found.append(number)
        return found

    def _numbers(self, name):
        path = self.folder / "jobs" / name
        return [int(line) for line in path.read_text().split()] if path.exists() else []


def slurm_in(folder):
    """Set up the stand-in."""
    place = Path(folder) / "bin"
    (place / "jobs").mkdir(parents=True)
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    return Slurm(place)


def request_for(folder, cluster, output="out.ome.zarr", **compute):
    """Return a run's config as plain data."""
    return {
        "input": {"path": str(folder / "movie.tif")},
        "steps": [{"white_tophat": {"radius": 3}}],
        "output": {"path": str(folder / output), "chunks": {"t": 1, "y": 32, "x": 64}},
        "compute": {"cluster": cluster, "workers": 2, "window": {"t": 4}, "block": {"t": 1}, **compute},
    }


def run(folder, cluster, output="out.ome.zarr", **compute):
    """Run it, and return the summary and what was told."""
    told = io.StringIO()
    summary = pipeline.run(request_for(folder, cluster, output, **compute), progress=Lines(told))
    return summary, told.getvalue()
