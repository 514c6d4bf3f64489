"""A hard memory limit on a process tree, set by the operating system."""

import contextlib
import os
import resource
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Cgroup:
    """A cgroup below that of the test; `folder` is None if none can be made."""

    folder: Path | None

    def read(self, name):
        """Return a number from one of its files, or 0."""
        return 0 if self.folder is None else int((self.folder / name).read_text())

    @property
    def most(self):
        """Peak memory, with the file cache."""
        return self.read("memory.max_usage_in_bytes")


@contextlib.contextmanager
def cgroup(limit):
    """Make a cgroup (v1) whose processes may hold `limit` bytes together, without swap."""
    try:
        folder = _own() / f"bgone-test-{uuid.uuid4().hex[:8]}"
        folder.mkdir()
    except (OSError, StopIteration):
        yield Cgroup(None)
        return
    try:
        (folder / "memory.limit_in_bytes").write_text(str(limit))
        (folder / "memory.swappiness").write_text("0")
        yield Cgroup(folder)
    finally:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with contextlib.suppress(OSError):  # until its last process has ended
                folder.rmdir()
                break
            time.sleep(0.05)


def _own():
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    group = next(line.split(":", 2)[2] for line in lines if "memory" in line.split(":")[1].split(","))
    return Path("/sys/fs/cgroup/memory", group.lstrip("/"))


def start(arguments, group, limit, **options):
    """Start a process in a cgroup, or with `RLIMIT_DATA` if there is none."""

    def enter():
        if group.folder is not None:
            (group.folder / "cgroup.procs").write_text(str(os.getpid()))
        else:
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    return subprocess.Popen(arguments, preexec_fn=enter, **options)
