"""Cut the power of runs at each point where they change a disk, and print what is wrong after the resume.

Like `crash_farm`, on a simulated disk that loses what was not synced.
"""

import importlib
import itertools
import json
import os
import re
import shutil
import sys
import types
from pathlib import Path

from crash_farm import in_child
from small_run import background_path, digest, small_run
from volatile_disk import VolatileDisk, come_back, cut_at

from pipeline.storage import durable
from pipeline.write import verify

AFTER = ".after"
WORK = re.compile(r".*\.work-[0-9a-f]{16}")
RENAME = durable._renameat2
publish = importlib.import_module("pipeline.write.publish")


def until_cut(roots, point, survives, log, run):
    """Run until the power is cut, at the latest when the run has ended."""
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
    """Resume a run after a power cut, and return what was wrong before and after that."""
    faults = []
    for output in outputs:
        if os.path.lexists(output):
            faults += [f"{output} was seen damaged: {damage}" for damage in verify(output)]
        elif ended:
            faults.append(f"{output} was lost after the run had ended")
    os.fsync = lambda descriptor: None
    recomputed = []
    run(recomputed)
    if lost := set(recomputed) & set(journalled):
        faults.append(f"windows in the journal are computed again: {sorted(lost)}")
    if [digest(output) for output in outputs] != expected:
        faults.append("what is resumed differs")
    left = sorted(set(os.listdir(os.path.dirname(outputs[0]))) - set(map(os.path.basename, outputs)))
    return [*faults, *[f"left behind: {name}" for name in left]]


def farm(folder, keywords, old, survives, points):
    """Cut the power of a run at each of the points, resume it, and collect what is wrong."""
    keywords = dict(keywords)
    durable._renameat2 = without_help if keywords.pop("without_kernel", False) else RENAME
    publish.os = OtherDisk("os") if keywords.pop("other_disk", False) else os
    problems, expected = [], None
    for point in itertools.chain([None], points):
        root = f"{folder}/{point}"
        os.mkdir(root)
        output, options, roots = f"{root}/out.zarr", dict(keywords), [root]
        if options.pop("elsewhere", False):
            roots.append(f"{folder}/{point}-work")
            os.mkdir(roots[1])
            options["work_root"] = f"{roots[1]}/deep"
        outputs = [output, background_path(output)] if options.get("background") else [output]

        def run(computed, output=output, options=options):
            small_run(output, computed=computed, **options)

        if point is None:
            expected = in_child(
                lambda run=run, outputs=outputs: [run([]), [digest(path) for path in outputs]][1]
            )
            continue
        if old is not None:
            in_child(lambda output=output: small_run(output, **old))
        log = f"{root}.log"
        result = in_child(
            lambda roots=roots, point=point, log=log, run=run: until_cut(roots, point, survives, log, run)
        )
        if result is not None:
            return [f"the run failed by itself: {result}"], point
        before = come_back(roots, AFTER)
        with open(log) as file:
            journalled = [tuple(key) for key in json.load(file)]
        ended = os.path.exists(f"{log}.ended")
        # With `overwrite` a complete output would be written again. It is complete from the moment that
        # its work folder has another name.
        complete = ended or (journalled and not work_folders(roots))
        options["overwrite"] = options.get("overwrite", False) and not complete
        # The windows of the first start must be kept, whatever the step is now.
        options["step"] = 3
        arguments = (outputs, expected, ended, journalled, run)
        faults = in_child(lambda arguments=arguments: after(*arguments))
        problems += [f"cut at {point}{' (the end)' if ended else ''}: {fault}" for fault in faults]
        for path in (*before, *roots):
            shutil.rmtree(path)
        if ended:
            return problems, point
    raise AssertionError("the points did not end")


def work_folders(roots):
    return [path for root in roots for path in Path(root).rglob("*") if WORK.fullmatch(path.name)]


class OtherDisk(types.ModuleType):
    """The module `os`, with the work folders of runs on another disk."""

    def __getattr__(self, name):
        return getattr(os, name)

    def stat(self, path):
        return os.stat("/proc" if f"-work{os.sep}" in path else path)


def without_help():
    """Return None, as `_renameat2` does on a system without that call."""


if __name__ == "__main__":
    # Several cases, to import only once: keywords, old, survives, first point, stride.
    for number, (*case, first, stride) in enumerate(json.loads(sys.argv[2])):
        root = f"{sys.argv[1]}/{number}"
        os.mkdir(root)
        problems, points = farm(root, *case, itertools.count(first, stride))
        print(json.dumps({"problems": problems, "points": points}), flush=True)
