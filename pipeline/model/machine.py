"""Cores, memory and open files that this process may use, and the memory that its tree of processes holds."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path

import psutil

MIB = 2**20
SHARE = 0.6  # of the free memory, if the config sets no budget
_M_ARENA_MAX = -8  # of glibc's malloc.h


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_files_limit() -> int:
    """Return the number of files that this process may have open at once."""
    try:
        import resource
    except ImportError:  # not on Windows, whose C runtime allows 8192
        return 8192
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 20 if limit == resource.RLIM_INFINITY else limit


def is_too_many_files(error: OSError) -> bool:
    """Return whether an error says that too many files are open."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


def open_files_hint() -> str:
    """Return the hint how to raise the limit of open files."""
    return f"raise the limit, which is {open_files_limit()}: ulimit -n 1024"


def free_memory() -> int:
    """Return the free memory in bytes: of the machine, the cgroup or the SLURM job, the least of them."""
    return min([psutil.virtual_memory().available, *_cgroup_free(), *_slurm_memory()])


def default_budget() -> int:
    """Return the memory in bytes that a run takes if the config does not say."""
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
        if controllers == "":  # cgroup v2
            root, limit_name, used_name = Path("/sys/fs/cgroup"), "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            root, limit_name = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
            used_name = "memory.usage_in_bytes"
        else:
            continue
        # Any level above may set a limit; in a container the group's own path is the root.
        path = root / group.lstrip("/")
        for level in (path, *path.parents[: -len(root.parents)]):
            limit, used = _read_number(level / limit_name), _read_number(level / used_name)
            if limit is not None and used is not None and limit < 2**60:  # v1 writes 2^63 for no limit
                yield max(0, limit - used)


def _slurm_memory() -> Iterable[int]:
    # sbatch takes memory per node, CPU or GPU, and sets the variable of that one, in MiB; 0 is all.
    for memory_name, count_name in (
        ("SLURM_MEM_PER_NODE", ""),
        ("SLURM_MEM_PER_CPU", "SLURM_CPUS_ON_NODE"),
        ("SLURM_MEM_PER_GPU", "SLURM_GPUS_ON_NODE"),
    ):
        memory = os.environ.get(memory_name, "")
        count = os.environ.get(count_name, "") if count_name else "1"
        if memory.isdigit() and count.isdigit() and int(memory) * int(count) > 0:
            yield int(memory) * int(count) * MIB


def share_heap() -> None:
    """Make glibc serve all threads of this process from one heap; do nothing with other C libraries."""
    # With a heap for each thread, freed memory of one thread is not reused by the next: blocks of some
    # MiB take 20 to 40 % more memory, for the same speed.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def tree_memory() -> int:
    """Return the resident memory of this process and its descendants, in bytes."""
    # The sum counts shared libraries once for each process, as ps and SLURM do, and a cgroup does not.
    total = 0
    for pid in _tree():
        with contextlib.suppress(psutil.Error):  # the process has ended meanwhile
            total += psutil.Process(pid).memory_info().rss
    return total


def process_peak() -> int:
    """Return the peak memory of this process in bytes since `forget_peak`; 0 if the system does not tell."""
    with contextlib.suppress(OSError):
        if peak := re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text()):
            return 1024 * int(peak[1])
    return 0


def forget_peak() -> bool:
    """Reset `process_peak`, and return whether the system supports that."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _tree() -> list[int]:
    """Return the PIDs of this process and its descendants."""
    own = os.getpid()
    if not os.path.exists(f"/proc/{own}/task/{own}/children"):
        return [own, *(child.pid for child in psutil.Process(own).children(recursive=True))]
    # psutil looks at all processes of the machine, which takes long on a busy host.
    tree = [own]
    for pid in tree:
        for thread in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # the process or thread has ended meanwhile
                tree += map(int, thread.read_text().split())
    return tree
