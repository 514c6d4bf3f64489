"""Runs whose power is cut at each point where a disk changes, each in its own process; prints what was wrong.

As `crash_farm`, on a disk that forgets what was not synced.
"""

import importlib
import itertools
import json
import os
import shutil
import sys
import types
from pathlib import Path

from crash_farm import in_child
from volatile_disk import VolatileDisk, come_back, cut_at
from small_run import background_path, digest, small_run

from pipeline.storage import durable
from pipeline.write import verify

AFTER = ".after"
RENAME = durable._renameat2
publish = importlib.import_module("pipeline.write.publish")


def until_cut(roots, point, survives, log, run):
    """Run until the power is cut, at the end at the latest."""
    computed = []

    def note():
        with open(log, "w") as file:
            json.dump(computed, file)

    disk = VolatileDisk(roots)
    disk.install()
    durable.hook, cut = cut_at(disk, point, survives, AFTER, note)
    run(computed)
    durable.hook = None
    Path(f"{log}.ended").touch()
    cut()


def after(outputs, expected, ended, journalled, run):
    """Return what is wrong after a power cut, and after the resume."""
    wrong = []
    for output in outputs:
        if os.path.lexists(output):
            wrong += [f"{output} was seen damaged: {damage}" for damage in verify(output)]
        elif ended:
            wrong.append(f"{output} was lost after the run had ended")
    os.fsync = lambda descriptor: None
    again = []
    run(again)
    if lost := set(again) & set(journalled):
        wrong.append(f"what was journalled is computed again: {sorted(lost)}")
    if [digest(output) for output in outputs] != expected:
        wrong.append("what is resumed differs")
    left = sorted(set(os.listdir(os.path.dirname(outputs[0]))) - set(map(os.path.basename, outputs)))
    return [*wrong, *[f"left behind: {name}" for name in left]]


def farm(folder, keywords, old, survives, points):
    """Cut the power of a run at each of some points, resume it, and collect what is wrong."""
    keywords = dict(keywords)
    durable._renameat2 = without_help if keywords.pop("without_kernel", False) else RENAME
    publish.os = OtherDisk("os") if keywords.pop("other_disk", False) else os
    problems, expected = [], None
    for point in itertools.chain([None], points):
        place = f"{folder}/{point}"
        os.mkdir(place)
        output, given, roots = f"{place}/out.zarr", dict(keywords), [place]
        if given.pop("elsewhere", False):
            roots.append(f"{folder}/{point}-work")
            os.mkdir(roots[1])
            given["work_root"] = f"{roots[1]}/deep"
        outputs = [output, background_path(output)] if given.get("background") else [output]

        def run(computed, output=output, given=given):
            small_run(output, computed=computed, **given)

        if point is None:
            expected = in_child(
                lambda run=run, outputs=outputs: [run([]), [digest(each) for each in outputs]][1]
            )
            continue
        if old is not None:
            in_child(lambda output=output: small_run(output, **old))
        log = f"{place}.log"
        said = in_child(
            lambda roots=roots, point=point, log=log, run=run: until_cut(roots, point, survives, log, run)
        )
        if said is not None:
            return [f"the run failed by itself: {said}"], point
        before = come_back(roots, AFTER)
        with open(log) as file:
            journalled = [tuple(key) for key in json.load(file)]
        ended = os.path.exists(f"{log}.ended")
        # Told to overwrite a complete output, this would write it again.
        given["overwrite"] = given.get("overwrite", False) and not ended
        # As the first start cut it, whatever would be chosen now.
        given["step"] = 3
        arguments = (outputs, expected, ended, journalled, run)
        found = in_child(lambda arguments=arguments: after(*arguments))
        problems += [f"cut at {point}{' (the end)' if ended else ''}: {wrong}" for wrong in found]
        for path in (*before, *roots):
            shutil.rmtree(path)
        if ended:
            return problems, point
    raise AssertionError("the points did not end")


class OtherDisk(types.ModuleType):
    """The module `os` where work folders of runs lie on another disk."""

    def __getattr__(self, name):
        return getattr(os, name)

    def stat(self, path):
        return os.stat("/proc" if f"-work{os.sep}" in path else path)


def without_help():
    """Return what a system without renameat2 has of it."""
    return


if __name__ == "__main__":
    # A list of cases, so that all of them start once: keywords, old, survives, first point, stride.
    for number, (*case, first, stride) in enumerate(json.loads(sys.argv[2])):
        place = f"{sys.argv[1]}/{number}"
        os.mkdir(place)
        problems, points = farm(place, *case, itertools.count(first, stride))
        print(json.dumps({"problems": problems, "points": points}), flush=True)
