"""Runs of bgone in processes that start fast and can be interrupted at chosen points."""

import contextlib
import json
import os
import signal
import subprocess
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile

from pipeline.write import verify

# A folder in memory if there is one, so that runs do not wait for a disk.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


# Seconds after which a waiting test fails; only a stuck machine reaches them.
PATIENCE = 240


@dataclass
class Ended:
    """Exit code of a process (negative for a signal), its output, and its peak memory in bytes."""

    code: int
    out: str
    err: str
    notes: Path
    most: int = 0


@dataclass
class Zygote:
    """The process that forks the runs."""

    process: subprocess.Popen
    folder: Path
    notes: dict[int, Path] = field(default_factory=dict)
    codes: dict[int, int] = field(default_factory=dict)
    most: dict[int, int] = field(default_factory=dict)

    def start(self, *arguments, **request):
        """Start `bgone` with arguments, and return the PID."""
        notes = Path(request.pop("notes", self.folder / uuid.uuid4().hex))
        notes.mkdir(exist_ok=True)
        notes.chmod(0o777)
        command = [str(argument) for argument in arguments]
        pid = self._ask({"do": "start", "arguments": command, "notes": str(notes), **request})
        self.notes[pid] = notes
        self.codes.pop(pid, None)  # of an earlier process with this PID
        return pid

    def wait(self, pid):
        """Wait for the end of a process."""
        notes, end = self.notes[pid], time.monotonic() + PATIENCE
        while (code := self.code(pid)) is None:
            time.sleep(0.005)
            if time.monotonic() > end:
                os.killpg(pid, signal.SIGKILL)
                raise AssertionError(f"it did not end: {(notes / 'stderr').read_text()}")
        outputs = [path.read_text() if path.exists() else "" for path in (notes / "stdout", notes / "stderr")]
        return Ended(code, *outputs, notes, self.most[pid])

    def code(self, pid):
        """Return the exit code of a process, or None while it runs."""
        if pid not in self.codes:
            ended = self._ask({"do": "look", "pid": pid})
            if ended is None:
                return None
            self.codes[pid], self.most[pid] = ended
        return self.codes[pid]

    def reached(self, pid, count=1):
        """Wait until a process, or `count` of its workers, hold at a point; return their PIDs."""
        notes = self.notes[pid]
        path = notes / "reached"

        def holding():
            assert self.code(pid) is None, f"it ended before that: {(notes / 'stderr').read_text()}"
            return path.exists() and len(path.read_text().split()) >= count

        wait_until(holding)
        return [int(line) for line in path.read_text().split()]

    def kill(self, pid):
        """Kill a process if it still runs, and wait for its end."""
        if self.code(pid) is None:
            os.kill(pid, signal.SIGKILL)
            self.wait(pid)

    def end_group(self, pid):
        """Kill the descendants of a process that has ended."""
        # Forked workers can keep each other alive.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)

    def run(self, *arguments, **request):
        """Start `bgone` with arguments and wait for its end."""
        return self.wait(self.start(*arguments, **request))

    def _ask(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the zygote has died"
        return json.loads(answer)


def wait_until(condition):
    """Wait until a condition is true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def go(notes):
    """Let the processes that hold at a point continue."""
    (notes / "go").touch()


FRAMES = (4, 40, 48)


def movie(folder, frames=FRAMES, name="movie.tif", seed=3):
    """Write a small time-lapse, and return its path."""
    pixels = np.random.default_rng(seed).integers(100, 60000, frames, np.uint16)
    pixels[frames[0] // 2] = 777  # flat: a top-hat gives 0, and no file is written
    tifffile.imwrite(folder / name, pixels, imagej=True, metadata={"axes": "TYX"})
    return folder / name


CONFIG = """\
input: {path: movie.tif}
steps:
  - white_tophat: {radius: 3}
output:
  path: out.ome.zarr
  chunks: {t: 1, y: 24, x: 48}
compute:
  cluster: threads
  workers: 1
  window: {t: 1}
"""


def config(folder, text=CONFIG, name="run.yaml", **changes):
    """Write a config, with some of its text replaced, and return its path."""
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (folder / name).write_text(text)
    return folder / name


# Files of an output that depend on the time: provenance and report.
TIMED = ("bgone/zarr.json", "bgone/.zattrs", "bgone/report.html")


def files_of(output):
    """Return the content of an output by path, without the files that depend on the time."""
    content = {}
    for path in sorted(Path(output).rglob("*")):
        name = path.relative_to(output).as_posix()
        if path.is_file() and name not in TIMED:
            content[name] = path.read_bytes()
    return content


def assert_same(output, expected):
    """Require that two outputs have the same bytes, and agree with their manifest."""
    actual, right = files_of(output), files_of(expected)
    assert sorted(actual) == sorted(right)
    assert [name for name in actual if actual[name] != right[name]] == []
    assert list(verify(str(output))) == []
