"""Cores and memory of this machine that a run may use, and what its processes use of them."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path

import psutil

SHARE = 0.6
"""Of what is free, the part that a run takes where nothing is said."""

MIB = 2**20

_M_ARENA_MAX = -8


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_files_limit() -> int:
    """Return how many files this process may have open at once."""
    try:
        import resource
    except ImportError:  # where there is no such limit
        return 8192
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 20 if limit == resource.RLIM_INFINITY else limit


def too_many_open(error: OSError) -> bool:
    """Return whether a file could not be opened since too many are."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


def more_files() -> str:
    """Say how more files may be open at once."""
    return f"raise the limit, which is {open_files_limit()}: ulimit -n 1024"


def free_memory() -> int:
    """Return the bytes that are free to this process: in its cgroup, its SLURM job, or the machine."""
    limits = [psutil.virtual_memory().available, *_cgroup_free(), *_slurm_memory()]
    return min(limits)


def default_budget() -> int:
    """Return the memory that a run takes where the config says nothing."""
    return int(SHARE * free_memory())


def _read_number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _cgroup_free() -> Iterable[int]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            root, limit_name, used_name = Path("/sys/fs/cgroup"), "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            root, limit_name = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
            used_name = "memory.usage_in_bytes"
        else:
            continue
        # A limit may stand at any level above; in a container the group's own path is the root.
        own = Path(group.lstrip("/"))
        for level in (root / own, *(root / part for part in own.parents)):
            limit, used = _read_number(level / limit_name), _read_number(level / used_name)
            if limit is not None and used is not None and limit < 2**60:
                yield max(0, limit - used)


def _slurm_memory() -> Iterable[int]:
    """Yield what a SLURM job may take of this node: one of three ways of asking, in MiB; 0 is all of it."""
    for per, count in (
        ("SLURM_MEM_PER_NODE", None),
        ("SLURM_MEM_PER_CPU", "SLURM_CPUS_ON_NODE"),
        ("SLURM_MEM_PER_GPU", "SLURM_GPUS_ON_NODE"),
    ):
        said, times = os.environ.get(per, ""), "1" if count is None else os.environ.get(count, "")
        if said.isdigit() and times.isdigit() and int(said) * int(times) > 0:
            yield int(said) * int(times) * MIB


def share_heap() -> None:
    """Let all threads of this process take memory from one heap, where the system's C library is glibc.

    With a heap for each thread, what one thread has freed lies idle while the next asks for more: of
    blocks of some MiB 20 to 40 % more memory for the same speed.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def tree_memory() -> int:
    """Return the bytes of memory that this process and its descendants hold now, each by itself.

    As `ps` and SLURM count. A cgroup counts libraries once, which all of them map from the same files,
    so it finds less.
    """
    total = 0
    for pid in _tree():
        with contextlib.suppress(psutil.Error):  # it ended in between
            total += psutil.Process(pid).memory_info().rss
    return total


def process_peak() -> int:
    """Return the most bytes that this process has held since `forget_peak`, or 0 where it is not known."""
    with contextlib.suppress(OSError):
        if peak := re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text()):
            return 1024 * int(peak[1])
    return 0


def forget_peak() -> bool:
    """Let `process_peak` begin anew, and return whether the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _tree() -> list[int]:
    """Return the numbers of this process and of its descendants."""
    me = os.getpid()
    if not os.path.exists(f"/proc/{me}/task/{me}/children"):
        return [me, *(child.pid for child in psutil.Process(me).children(recursive=True))]
    # psutil looks at all processes of the machine, which takes long on a busy host.
    tree = [me]
    for pid in tree:
        for thread in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # it, or one of its threads, ended in between
                tree += map(int, thread.read_text().split())
    return tree
