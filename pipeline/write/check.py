"""Checks of an output before anything is written: its names, and what NGFF can say."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pipeline.model.errors import RequestError
from pipeline.model.paths import check_name
from pipeline.storage import durable
from pipeline.write.create import array_metadata
from pipeline.write.layout import Layout
from pipeline.write.metadata import group_files, image_attributes

# What most file systems take; some cannot be asked.
_NAME_BYTES, _PATH_BYTES = 255, 4095


def check_layout(layout: Layout) -> None:
    """Raise RequestError if files of an output cannot be named, or its metadata not be written."""
    field = "output.background" if layout.holder else "output.path"
    _check_names(layout.path, field)
    if layout.work_root:
        _check_names(layout.work_root, "output.work")
    longest = max(len(os.fsencode(path)) for path in _longest_paths(layout))
    # PC_PATH_MAX counts the NUL at the end.
    most = _limit(layout.path, "PC_PATH_MAX", _PATH_BYTES + 1) - 1
    if longest > most:
        raise RequestError(
            f"{layout.path} is too deep: paths of its files have {longest} bytes, and the disk takes {most}",
            "choose another output, nearer to the root",
            field,
        )
    with durable.before_start():
        group_files(layout, "", image_attributes(layout))
        for level in range(len(layout.levels)):
            array_metadata(layout, level)


def _check_names(path: str, field: str) -> None:
    check_name(path, field)
    most = _limit(path, "PC_NAME_MAX", _NAME_BYTES)
    for name in path.split("/"):
        if len(name.encode()) > most:
            raise RequestError(
                f"the name {name[:40]}… has {len(name.encode())} bytes, and the disk takes {most}",
                "give it a shorter name",
                field,
            )


def _longest_paths(layout: Layout) -> Iterator[str]:
    yield f"{layout.drafts}/{32 * '0'}"
    for level, array in enumerate(layout.levels):
        key = layout.chunk_key(level, tuple(count - 1 for count in array.grid))
        yield f"{layout.image}/{key}"
        yield f"{layout.path}/{key}"


def _limit(path: str, name: str, usual: int) -> int:
    """Ask the file system that `path` will be on for one of its limits."""
    folder = path
    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    try:
        return os.pathconf(folder, name)
    except (AttributeError, OSError, ValueError):
        return usual
