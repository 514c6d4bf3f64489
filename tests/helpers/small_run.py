"""A minimal run on top of `pipeline.write`, for tests that interrupt it."""

import hashlib
import os

import numpy as np

from pipeline.model.image import ImageSpec
from pipeline.runtime.executors.remote_write import RemoteWrite, sync_shared
from pipeline.runtime.store import BlockResult
from pipeline.write import (
    Contents,
    DamagedChunksError,
    build_level,
    check_target,
    level_windows,
    make_layout,
    publish,
    seal,
    state,
    sync,
    with_background,
    write_region,
)
from pipeline.write.journal import begin
from pipeline.write.offsets import WindowKey
from pipeline.write.work import fingerprint

SPEC = ImageSpec("tyx", (3, 520, 40), np.dtype("uint16"))


def pixels_of(fill=0):
    """Return pixels that encode their position; one window of them is 0."""
    pixels = np.arange(np.prod(SPEC.shape), dtype=np.int64).reshape(SPEC.shape) % 50021 + fill
    pixels[1] = 0
    return pixels.astype(SPEC.dtype)


def inputs_of(fill=0):
    """Return the inputs that the fingerprint covers."""
    return {"config": {"steps": [{"add": fill}]}, "input": {"size": 7, "mtime_ns": 1}, "versions": {}}


def background_path(output):
    """Return the path of the background of an output."""
    return f"{os.path.dirname(output)}/background.zarr"


def layout_of(output, fill=0, *, background=False, **keywords):
    """Return the layout of a run."""
    layout = make_layout(SPEC, str(output), chunks={"t": 1, "y": 260, "x": 40}, **keywords)
    if background:
        layout = with_background(layout, background_path(output), np.dtype("int32"))
    return layout.at(fingerprint(inputs_of(fill)))


def small_run(output, fill=0, *, overwrite=False, step=1, content=False, computed=None, hosts=1, **keywords):
    """Start or continue a run; return the windows that were computed now.

    With two `hosts`, windows are written as by workers of a cluster, which sync their own files.
    """
    layout = layout_of(output, fill, **keywords)
    computed = [] if computed is None else computed
    if state(layout) == "published" and not (overwrite and not os.path.isdir(layout.work)):
        publish(layout)
        return computed
    for target in layout.outputs if state(layout) != "sealed" else ():
        check_target(target.path, overwrite=overwrite)
    with begin(layout, inputs_of(fill), lambda: {"step": step}, overwrite=overwrite) as journal:
        if journal.state == "unfinished":
            journal.check(content=content)
            _compute(layout, journal, fill, computed, hosts)
            second = layout.background and Contents(journal.records(background=True), {"note": "behind"})
            seal(layout, journal.records(), {"note": "small"}, background=second)
        publish(layout, overwrite=overwrite)
    return computed


def _compute(layout, journal, fill, computed, hosts):
    pixels, step = pixels_of(fill), journal.windows["step"]
    for level in range(len(layout.levels)):
        regions = list(level_windows(layout, level, 1)) if level else _cut(step)
        for number, region in enumerate(regions):
            key = WindowKey(level, number)
            if key in journal.done:
                continue
            try:
                records = _write_window(layout, journal, level, region, pixels, hosts)
            except DamagedChunksError as error:
                journal.forget_files(error.keys)
                return _compute(layout, journal, fill, computed, hosts)
            for target, files in zip(layout.outputs, records, strict=True):
                (sync if hosts == 1 else sync_shared)(target, files)
            journal.append(key, *records, clipped=number)
            computed.append(key)
    return None


def _write_window(layout, journal, level, region, pixels, hosts):
    """Write one window of all outputs, and return the records of each."""

    def call():
        first, *rest = [_write(target, journal, level, region, pixels) for target in layout.outputs]
        return BlockResult(tuple(first), 0, background=tuple(*rest))

    result = (call if hosts == 1 else RemoteWrite(lambda: None, layout, call))()
    return [result.records, result.background][: len(layout.outputs)]


def _write(layout, journal, level, region, pixels):
    """Write one window of one output, and return its records."""
    second = bool(layout.holder)
    if level:
        records = journal.records(background=second)
        return build_level(
            layout, level, region, [record for record in records if record.key.startswith(f"{level - 1}/")]
        )
    return write_region(layout, 0, region, -pixels[region].astype(np.int32) if second else pixels[region])


def _cut(step):
    count, *rest = SPEC.shape
    for start in range(0, count, step):
        yield (slice(start, min(start + step, count)), *(slice(0, size) for size in rest))


def digest(output):
    """Return a digest of the paths and contents of an output, without its `bgone` group."""
    hashed = hashlib.sha256()
    for folder, folders, files in os.walk(output):
        folders.sort()
        if os.path.basename(folder) == "bgone":
            continue
        for name in sorted(files):
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                hashed.update(os.path.relpath(path, output).encode() + b"\0" + file.read())
    return hashed.hexdigest()
