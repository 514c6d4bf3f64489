"""Fork runs for tests from a process that has imported everything.

A Python process takes seconds to start, a fork some hundredths. Nothing here starts a thread, so forking is
safe. Reads one request per line and answers with one line, both in JSON.
"""

import contextlib
import ctypes
import importlib
import itertools
import json
import os
import pkgutil
import resource
import sys
import traceback

import dask
import dask.array
import distributed
import numpy as np
import tifffile
import yaozarrs.v04
import yaozarrs.v05
import zarr
from distributed.cli import dask_scheduler, dask_worker
from harm import hook_of
from volatile_disk import VolatileDisk, cut_at

import pipeline
from pipeline import cli
from pipeline.kernels import cast, halve
from pipeline.planning import start as beginning
from pipeline.runtime import compute
from pipeline.runtime import run as runner
from pipeline.runtime.executors import cluster
from pipeline.storage import durable
from pipeline.write import work

# Imported here, so that not every child has to import them.
LOADED = (dask.array, distributed, tifffile, yaozarrs.v04, yaozarrs.v05, zarr, compute, cluster, runner, cast)

# Also imported before a fork: a child that gives up root may not be able to read them.
LATE = ("encodings.utf_8_sig", "multiprocessing.synchronize", "imagecodecs._zstd")


# What a child can run.
PROGRAMS = {
    "bgone": cli.main,
    "scheduler": lambda arguments: dask_scheduler.main(arguments, standalone_mode=False),
    "worker": lambda arguments: dask_worker.main(arguments, standalone_mode=False),
}


def warm_up():
    """Compile or load the filters that most tests use."""
    own = [module.name for module in pkgutil.walk_packages(pipeline.__path__, "pipeline.")]
    for name in (*LATE, *(name for name in own if not name.endswith("__main__"))):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    pipeline.WhiteTophat(radius=3)(np.zeros((2, 16, 16), np.uint16), axes="tyx")
    halve.halve(np.zeros((1, 4, 4), np.uint16))


def start(request):
    """Fork a process for a request, and return its PID."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    end = os._exit
    try:
        settle(request)
        if request.get("power"):
            end = cut_power(**request["power"])
        code = PROGRAMS[request.get("program", "bgone")](request["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        end(code)


def settle(request):
    """Apply the settings of a request to this process."""
    os.setpgid(0, 0)
    if request.get("like_started"):
        touch_libraries()
    for number, name in ((1, "stdout"), (2, "stderr")):
        descriptor = os.open(f"{request['notes']}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(descriptor, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(request.get("cwd", request["notes"]))
    if request.get("environ"):
        os.environ.update(request["environ"])
        dask.config.refresh()
    for name, limit in request.get("limits", {}).items():
        resource.setrlimit(getattr(resource, name), (limit, limit))
    for name, value in request.get("patch", {}).items():
        owner, _, attribute = name.rpartition(".")
        setattr(pkgutil.resolve_name(owner), attribute, value)
    if "versions" in request:
        known = work.versions()
        beginning.versions = lambda packages=(): {**known, **request["versions"]}
    if request.get("harm"):
        durable.hook = hook_of(request["harm"], request["notes"])
    if request.get("points"):
        count_points(request["points"])
    if "user" in request:
        os.setgroups([])
        os.setgid(request["user"])
        os.setuid(request["user"])


def cut_power(roots, nth, survives):
    """Cut the power at the n-th change of a disk, or at the end; record the number of journal lines."""
    disk, lines = VolatileDisk(roots), itertools.count()
    disk.install()
    written = 0

    def note():
        with open(f"{roots[0]}.lines", "w") as file:
            file.write(str(written))

    inner, end = cut_at(disk, nth, survives, ".after", note)

    def hook(event, path):
        nonlocal written
        if event == "after append" and path.endswith("/journal"):
            written = next(lines)  # the first one is empty
        inner(event, path)

    durable.hook = hook
    return end


# Bit of an entry of /proc/PID/pagemap: the page is in memory.
PRESENT = 1 << 63


def touch_libraries():
    """Load the library pages that the parent has in memory, as a process started anew would."""
    # A fork does not count them until they are used: 140 MiB instead of 230.
    page = os.sysconf("SC_PAGE_SIZE")
    with open("/proc/self/maps") as maps, open(f"/proc/{os.getppid()}/pagemap", "rb") as pages:
        for line in maps:
            span, rights, _, _, inode, *_ = line.split()
            begin, end = (int(edge, 16) for edge in span.split("-"))
            if inode == "0" or "r" not in rights:
                continue
            pages.seek(begin // page * 8)
            entries = np.frombuffer(pages.read((end - begin) // page * 8), np.uint64)
            for number in np.flatnonzero(entries & np.uint64(PRESENT)):
                ctypes.string_at(begin + int(number) * page, 1)


def count_points(path):
    """Write the number and name of each point where a disk changes to a file."""
    inner = durable.hook or (lambda event, path: None)
    number = 0

    def hook(event, where):
        nonlocal number
        with open(path, "w") as file:
            file.write(f"{number} {event} {where}")
        number += 1
        inner(event, where)

    durable.hook = hook


def main():
    warm_up()
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "start":
            answer = start(request)
        else:
            pid, status, usage = os.wait4(request["pid"], os.WNOHANG)
            # The peak as the kernel records it, which polling would miss.
            answer = [os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024] if pid else None
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
