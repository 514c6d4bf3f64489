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

NAME_BYTES, PATH_BYTES = 255, 4095
"""What most file systems take, where they do not say it."""


def check_layout(layout: Layout) -> None:
    """Refuse an output whose files could not be named, or whose metadata could not be written.

    Raises
    ------
    RequestError
        A name is too long or no text, or NGFF cannot say what the image is.
    """
    field = "output.background" if layout.holder else "output.path"
    _check_name(layout.path, field)
    if layout.work_root:
        _check_name(layout.work_root, "output.work")
    longest = max(_longest(layout), key=lambda path: len(os.fsencode(path)))
    most, found = _limit(layout.path, "PC_PATH_MAX", PATH_BYTES + 1) - 1, len(os.fsencode(longest))
    if found > most:
        raise RequestError(
            f"{layout.path} is too deep: paths of its files have {found} bytes, and the disk takes {most}",
            "choose another output, nearer to the root",
            field,
        )
    with durable.before_start():
        group_files(layout, "", image_attributes(layout))
        for level in range(len(layout.levels)):
            array_metadata(layout, level)


def _check_name(path: str, field: str) -> None:
    check_name(path, field)
    most = _limit(path, "PC_NAME_MAX", NAME_BYTES)
    for name in path.split("/"):
        if len(name.encode()) > most:
            raise RequestError(
                f"the name {name[:40]}… has {len(name.encode())} bytes, and the disk takes {most}",
                "give it a shorter name",
                field,
            )


def _longest(layout: Layout) -> Iterator[str]:
    """Yield the longest paths that come to be written, and what they are before they have their names."""
    yield f"{layout.work}/drafts/{32 * '0'}"
    for level, array in enumerate(layout.levels):
        key = layout.chunk_key(level, tuple(size - 1 for size in array.grid))
        yield f"{layout.image}/{key}"
        yield f"{layout.path}/{key}"


def _limit(path: str, name: str, usual: int) -> int:
    """Return what the file system at a path says about names there."""
    folder = path
    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    try:
        return os.pathconf(folder, name)
    except (AttributeError, OSError, ValueError):
        return usual
