"""A run in miniature over what `pipeline.write` and `pipeline.journal` give: for tests that break it."""

import hashlib
import os

import numpy as np

from pipeline.image import ImageSpec
from pipeline.journal import begin, fingerprint
from pipeline.write import (
    DamagedChunksError,
    build_level,
    check_target,
    level_windows,
    make_layout,
    publish,
    seal,
    state,
    sync,
    write_region,
)

SPEC = ImageSpec("tyx", (3, 520, 40), np.dtype("uint16"))


def pixels_of(fill=0):
    """Return pixels that say where they are; one window of them is 0 throughout."""
    pixels = np.arange(np.prod(SPEC.shape), dtype=np.int64).reshape(SPEC.shape) % 50021 + fill
    pixels[1] = 0
    return pixels.astype(SPEC.dtype)


def inputs_of(fill=0):
    """Return what decides those pixels."""
    return {"config": {"steps": [{"add": fill}]}, "input": {"size": 7, "mtime_ns": 1}, "versions": {}}


def layout_of(output, fill=0, **keywords):
    """Return the run's layout."""
    layout = make_layout(SPEC, str(output), chunks={"t": 1, "y": 260, "x": 40}, **keywords)
    return layout.at(fingerprint(inputs_of(fill)))


def small_run(output, fill=0, *, overwrite=False, step=1, content=False, computed=None, **keywords):
    """Run, or go on; return the windows that were computed now."""
    layout = layout_of(output, fill, **keywords)
    computed = [] if computed is None else computed
    if state(layout) == "published" and not (overwrite and not os.path.isdir(layout.work)):
        publish(layout)
        return computed
    check_target(layout.path, overwrite=overwrite or state(layout) == "sealed")
    with begin(layout, inputs_of(fill), lambda: {"step": step}, overwrite=overwrite) as journal:
        if journal.state == "unfinished":
            journal.check(content=content)
            _compute(layout, journal, fill, computed)
            seal(layout, journal.records(), {"note": "small"})
        publish(layout, overwrite=overwrite)
    return computed


def _compute(layout, journal, fill, computed):
    pixels, step = pixels_of(fill), journal.windows["step"]
    for level in range(len(layout.levels)):
        regions = list(level_windows(layout, level, 1)) if level else _cut(step)
        for number, region in enumerate(regions):
            name = f"{level}/{number}"
            if name in journal.done:
                continue
            try:
                if level:
                    source = [r for r in journal.records() if r.key.startswith(f"{level - 1}/")]
                    records = build_level(layout, level, region, source)
                else:
                    records = write_region(layout, 0, region, pixels[region])
            except DamagedChunksError as error:
                journal.forget_files(error.keys)
                return _compute(layout, journal, fill, computed)
            sync(layout, records)
            journal.append(name, records, clipped=number)
            computed.append(name)
    return None


def _cut(step):
    count, *rest = SPEC.shape
    for start in range(0, count, step):
        yield (slice(start, min(start + step, count)), *(slice(0, size) for size in rest))


def digest(output):
    """Return a digest of the pixels' files and where they lie."""
    found = hashlib.sha256()
    for folder, folders, files in os.walk(output):
        folders.sort()
        if os.path.basename(folder) == "bgone":
            continue
        for name in sorted(files):
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found.update(os.path.relpath(path, output).encode() + b"\0" + file.read())
    return found.hexdigest()
