"""What may befall a run where a disk changes: for processes that tests start, never for the package.

A rule is plain data: `point` ("before append", or the end of one: "append") and `path` (a part of it) say
where, `nth` at which of those places, `then` what happens, `times` in how many processes.
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
    """The module `os` on a disk without any space left."""

    def __getattr__(self, name):
        if name in ("write", "pwrite", "fsync", "mkdir", "replace", "rename", "ftruncate"):
            return no_space
        return getattr(os, name)


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def open_on_full_disk(path, mode="r", **keywords):
    return no_space() if "w" in mode else open(path, mode, **keywords)


def fill_disk():
    """Leave no space, for this process, on any disk."""
    durable.os = FullDisk("os")
    durable.open = open_on_full_disk


def hold(folder):
    """Tell the test that the point is reached, and wait for its word."""
    with open(f"{folder}/reached", "a") as file:
        file.write(f"{os.getpid()}\n")
    end = time.monotonic() + PATIENCE
    while not os.path.exists(f"{folder}/go"):
        assert time.monotonic() < end, "the test never said go"
        time.sleep(0.01)


def happen(then, folder):
    """Let it happen."""
    if then in SIGNALS:
        os.kill(os.getpid(), SIGNALS[then])
    elif then == "twice":
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
    elif then == "segfault":
        ctypes.string_at(0)
    elif then == "memory":
        raise MemoryError
    elif then == "full":
        fill_disk()
    elif then == "hold":
        hold(folder)
    elif then == "kill other":
        with open(f"{folder}/other") as file:
            os.kill(int(file.read()), signal.SIGKILL)
    else:
        raise AssertionError(then)


def first(name, times):
    """Return whether this process is among the first to get here, and count it."""
    for number in range(times):
        try:
            os.close(os.open(f"{name}.{number}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        return True
    return False


def hook_of(rules, folder):
    """Return a hook for `durable` that does what rules say.

    Parameters
    ----------
    rules : list of dict
        See above.
    folder : str
        Where processes leave notes for one another and for the test.
    """
    counted = [itertools.count() for _ in rules]

    def hook(what, path):
        for index, (rule, count) in enumerate(zip(rules, counted, strict=True)):
            here = what.endswith(rule.get("point", "")) and rule.get("path", "") in path
            if not here or next(count) != rule.get("nth", 0):
                continue
            if "times" not in rule or first(f"{folder}/harmed.{index}", rule["times"]):
                happen(rule["then"], folder)

    return hook
