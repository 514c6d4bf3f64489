"""Kill runs at each point where they change a disk, and print what is wrong after the resume.

Each run is forked from a process that has imported everything and started no thread, so hundreds of them
take seconds.
"""

import itertools
import json
import os
import sys
import traceback

import yaozarrs.v04
import yaozarrs.v05
import zarr
from small_run import background_path, digest, small_run

from pipeline.storage import durable
from pipeline.write import verify

# Imported here, so that not every child has to import them.
LOADED = (zarr, yaozarrs.v04, yaozarrs.v05)


def in_child(function):
    """Call a function in a forked process, and return its result as JSON; None if the process died."""
    pipe_out, pipe_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            result = function()
        except BaseException:
            result = [traceback.format_exc()[-3000:]]
        os.write(pipe_in, json.dumps(result).encode())
        os._exit(0)
    os.close(pipe_in)
    with os.fdopen(pipe_out, "rb") as pipe:
        result = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(result) if result else None


def die_at(point, log, run):
    """End this process at the n-th change of a disk; return "ended" if there are fewer."""
    calls = itertools.count()

    def hook(event, path):
        if next(calls) == point:
            with open(log, "w") as file:
                file.write(f"{event} {path}")
            os._exit(9)

    durable.hook = hook
    run()
    return "ended"


def after(outputs, expected, had_old, kernel_helps, run):
    """Resume a killed run, and return what was wrong before and after that."""
    faults = []
    for output in outputs:
        if os.path.lexists(output):
            faults += [f"{output} was seen damaged: {damage}" for damage in verify(output)]
        elif had_old and kernel_helps:
            faults.append(f"the old {output} had gone before the new one was there")
        elif os.path.lexists(outputs[0]) and kernel_helps:
            faults.append(f"the output was seen without {output}")
    run()
    if [digest(output) for output in outputs] != expected:
        faults.append("what is resumed differs")
    left = sorted(set(os.listdir(os.path.dirname(outputs[0]))) - set(map(os.path.basename, outputs)))
    return [*faults, *[f"left behind: {name}" for name in left]]


def farm(folder, keywords, old, kernel_helps, points):
    """Kill a run at each of the points, resume it, and collect differences to an undisturbed run."""

    def fresh(name):
        os.mkdir(f"{folder}/{name}")
        return f"{folder}/{name}/out.zarr"

    def outputs_at(output):
        return [output, background_path(output)] if keywords.get("background") else [output]

    def undisturbed(output):
        small_run(output, **{**keywords, "overwrite": False})
        return [digest(path) for path in outputs_at(output)]

    output = fresh("expected")
    expected = in_child(lambda: undisturbed(output))
    problems = []
    for point in points:
        output = fresh(point)
        if old is not None:
            in_child(lambda output=output: small_run(output, **old))

        def run(output=output):
            small_run(output, **keywords)

        log = f"{folder}/{point}.log"
        result = in_child(lambda run=run, point=point, log=log: die_at(point, log, run))
        if result == "ended":
            return problems, point
        if result is not None:
            return [f"the run failed by itself: {result}"], point
        with open(log) as file:
            where = file.read()
        for fault in in_child(
            lambda output=output, run=run: after(
                outputs_at(output), expected, old is not None, kernel_helps, run
            )
        ):
            problems.append(f"killed at {point} ({where}): {fault}")
    raise AssertionError("the points did not end")


if __name__ == "__main__":
    # A kill loses nothing that the process has written, only a power cut does.
    os.fsync = lambda descriptor: None
    folder, keywords, old = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
    kernel_helps, first, stride = json.loads(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6])
    if not kernel_helps:
        durable._renameat2 = lambda: None
    problems, points = farm(folder, keywords, old, kernel_helps, itertools.count(first, stride))
    print(json.dumps({"problems": problems, "points": points}))
