"""What this machine gives a run: cores and memory, and what the run's processes use of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import psutil

SHARE = 0.6
"""Of what is free, the part that a run takes where nothing is said."""

MIB = 2**20


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    per_node = os.environ.get("SLURM_MEM_PER_NODE", "")
    per_cpu, cpus = os.environ.get("SLURM_MEM_PER_CPU", ""), os.environ.get("SLURM_CPUS_ON_NODE", "")
    if per_node.isdigit() and int(per_node) > 0:
        yield int(per_node) * MIB
    elif per_cpu.isdigit() and cpus.isdigit():
        yield int(per_cpu) * int(cpus) * MIB


def tree_memory() -> int:
    """Return the bytes of memory that this process and its descendants hold now.

    Pages shared between the processes are counted once where the system says so (PSS).
    """
    total = 0
    own = psutil.Process()
    for process in (own, *own.children(recursive=True)):
        try:
            total += _pss(process.pid) or process.memory_info().rss
        except psutil.Error:
            continue  # it ended in between
    return total


def _pss(pid: int) -> int | None:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return None
    return None
