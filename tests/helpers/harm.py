"""Faults injected where a run changes a disk, in processes that tests start.

A rule is plain data: `point` ("before append", or the end of it: "append") and `path` (a part of it) select
the calls, `nth` one of them, `then` names the fault, `times` limits it to so many processes.
"""

import ctypes
import errno
import itertools
import os
import signal
import time
import types

from pipeline.storage import durable

SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}
PATIENCE = 120


class FullDisk(types.ModuleType):
    """The module `os` on a full disk."""

    def __getattr__(self, name):
        if name in ("write", "pwrite", "fsync", "mkdir", "replace", "rename", "ftruncate"):
            return no_space
        return getattr(os, name)


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def open_on_full_disk(path, mode="r", **keywords):
    return no_space() if "w" in mode else open(path, mode, **keywords)


def fill_disk():
    """Make all disks full for this process."""
    durable.os = FullDisk("os")
    durable.open = open_on_full_disk


def hold(folder):
    """Tell the test that the point is reached, and wait until it says go."""
    with open(f"{folder}/reached", "a") as file:
        file.write(f"{os.getpid()}\n")
    end = time.monotonic() + PATIENCE
    while not os.path.exists(f"{folder}/go"):
        assert time.monotonic() < end, "the test never said go"
        time.sleep(0.01)


def cause(fault, folder):
    """Cause a fault."""
    if fault in SIGNALS:
        os.kill(os.getpid(), SIGNALS[fault])
    elif fault == "twice":
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
    elif fault == "segfault":
        ctypes.string_at(0)
    elif fault == "memory":
        raise MemoryError
    elif fault == "full":
        fill_disk()
    elif fault == "hold":
        hold(folder)
    elif fault == "kill other":
        with open(f"{folder}/other") as file:
            os.kill(int(file.read()), signal.SIGKILL)
    else:
        raise AssertionError(fault)


def first(name, times):
    """Count this process, and return whether it is among the first `times`."""
    for number in range(times):
        try:
            os.close(os.open(f"{name}.{number}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        return True
    return False


def hook_of(rules, folder):
    """Return a hook for `durable` that applies rules; processes leave notes in `folder` for the test."""
    counters = [itertools.count() for _ in rules]

    def hook(event, path):
        for index, (rule, count) in enumerate(zip(rules, counters, strict=True)):
            matches = event.endswith(rule.get("point", "")) and rule.get("path", "") in path
            if not matches or next(count) != rule.get("nth", 0):
                continue
            if "times" not in rule or first(f"{folder}/harmed.{index}", rule["times"]):
                cause(rule["then"], folder)

    return hook
