"""A folder or glob of TIFF files as one stack: one a frame, or stacks that continue each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import tifffile

from pipeline.model.errors import RequestError
from pipeline.read.files import FIELD
from pipeline.read.opened import UNKNOWN, Opened
from pipeline.read.sequence.chain import open_chain
from pipeline.read.sequence.numbering import Numbering, read_numbering
from pipeline.read.single import open_file
from pipeline.read.tiff.file import open_tiff
from pipeline.read.tiff.page import PageKind, kind_text, page_kind
from pipeline.read.tiff.pages import evenly_raw, locate, raw_planes
from pipeline.read.tiff.store import Planes, Raw, TiffStore

# Headers looked at together: over a network each costs some waiting.
_AT_ONCE = 8


class _UnevenError(RequestError):
    """A file holds another number of planes than the first."""


def open_folder(path: str, files: Sequence[str], axes: str | None, series: int | None, level: int) -> Opened:
    """Open files as one stack.

    Their own axis comes first: what their names say, time unless the user says otherwise. Where the user
    names no more axes than each file has, they continue each other along t, or the first of them.

    Parameters
    ----------
    path : str
        The folder or glob.
    files : sequence of str
        In natural order.
    axes : str, optional
        The user's, whose first letter is the axis that the files make.
    series, level : int
        Not of files in a folder.

    Raises
    ------
    RequestError
        A frame is missing, of another size or dtype, damaged, or all of them are one OME-TIFF.
    """
    if series is not None or level:
        what = "series" if series is not None else "level"
        raise RequestError(f"a folder of files has no {what}", "leave it out", f"input.{what}")
    numbering = _numbering(path, files, axes)
    files = numbering.files
    first = _first(path, files[0])
    store = first.store
    assert isinstance(store, TiffStore)
    kept = [
        (axis, size)
        for axis, size in zip(first.axes, store.shape, strict=True)
        if size > 1 or axis in "yx" or axis not in first.optional + "t"
    ]
    letters = "".join(axis for axis, _ in kept)
    if len(files) == 1 and len(kept) > 2 and (axes is None or len(axes) == len(kept)):
        return first
    if axes is not None and len(files) > 1 and len(axes) == len(kept) > 2:
        return open_chain(path, numbering, axes)
    if axes is None and "t" in letters:
        raise RequestError(
            f"each file of {path!r} holds several frames ({dict(kept)['t']} in the first)",
            f"give one file, such as {files[0]!r}, or say in input.axes {' or '.join(_ways(letters))}",
            "input.axes",
        )
    try:
        planes = _planes(files, store)
    except _UnevenError:
        # The first of a chain may be a single plane.
        if axes is not None and len(axes) == 3 and len(files) > 1:
            return open_chain(path, numbering, axes)
        raise
    stack = replace(
        store,
        paths=tuple(map(os.path.abspath, files)),
        planes=planes,
        shape=(len(files), *(size for _, size in kept)),
        chunks=(1,) * (len(kept) - 1) + store.chunks[-2:],
        note="files",
    )
    outer = numbering.axis if numbering.axis not in letters else UNKNOWN
    opened = replace(first, store=stack, axes=outer + letters, path=path, optional="")
    return numbering.apply(opened, axes[0].lower() if axes else None)


def _numbering(path: str, files: Sequence[str], axes: str | None) -> Numbering:
    try:
        return read_numbering(files, axes)
    except RequestError:
        # Files of one OME-TIFF may be numbered by all its axes: then any of them stands for all.
        try:
            first = open_file(files[0], None, 0)
        except RequestError:
            first = None
        if first is not None:
            _check_one_image(path, files[0], first)
        raise


def _first(path: str, file: str) -> Opened:
    """Return the first of the files, opened.

    Raises
    ------
    RequestError
        It is one of an OME-TIFF's, or holds several images.
    """
    try:
        first = open_file(file, None, 0)
    except RequestError as error:
        if error.problems[0].field == "input.series":
            raise RequestError(
                error.problems[0].what, f"give one file with input.series: {file!r}", FIELD
            ) from None
        raise
    _check_one_image(path, file, first)
    return first


def _check_one_image(path: str, file: str, first: Opened) -> None:
    files = first.store.files()
    if len(files) > 1:
        raise RequestError(
            f"{path!r} holds one OME-TIFF of {len(files)} files", f"give one of them: {file!r}", FIELD
        )


def _ways(letters: str) -> list[str]:
    """Return what may be said of files that hold movies: that they go on, or are another axis."""
    other = {"c": "channels", "z": "planes"}
    return [
        f"{letters} (they continue each other)",
        *(f"{axis}{letters} (they are {what})" for axis, what in other.items() if axis not in letters),
    ]


def _planes(files: Sequence[str], first: TiffStore) -> Planes:
    """Return where the planes of all files are, having looked at the header of each.

    Raises
    ------
    RequestError
        One is not like the first.
    """
    count = len(first.planes.page)
    with open_tiff(files[0]) as tiff:
        pages, kind = len(tiff.pages), page_kind(tiff.pages.first)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            raws = list(pool.map(lambda path: _check_member(path, files[0], kind, pages, count), files))
        finally:
            pool.shutdown(cancel_futures=True)
    file = np.repeat(np.arange(len(files), dtype=np.int32), count)
    if first.planes.raw is not None and all(raw is not None for raw in raws):
        strides = {(raw.stride, raw.byteorder) for raw in raws if raw is not None}
        if len(strides) == 1:
            starts = np.concatenate([raw.starts for raw in raws if raw is not None])
            page = np.tile(np.arange(count, dtype=np.int32), len(files))
            stride, byteorder = strides.pop()
            return Planes(file, page, -1, Raw(starts, stride, byteorder))
    if count > 1 and pages == 1:
        raise RequestError(
            f"the stacks in {os.path.dirname(files[0])!r} are stored in different ways", "convert them", FIELD
        )
    return Planes(file, np.tile(first.planes.page, len(files)))


def _check_member(path: str, first: str, kind: PageKind, pages: int, planes: int) -> Raw | None:
    """Return how the planes of a file lie where they are raw and evenly spaced."""
    with open_tiff(path) as tiff:
        page = tiff.pages.first
        _check_like(path, first, page, kind, len(tiff.pages), pages)
        size = tiff.filehandle.size
        if pages == 1 and planes > 1:
            return raw_planes(page, page.dataoffsets[0], planes, path, size).raw if page.is_final else None
        tiff.pages.useframes = True
        located = [locate(page if index == 0 else tiff.pages[index], size, path) for index in range(planes)]
        return evenly_raw(located, page)


def _check_like(
    path: str, first: str, page: tifffile.TiffPage, kind: PageKind, pages: int, expected: int
) -> None:
    name, other = os.path.basename(path), os.path.basename(first)
    if page_kind(page) != kind:
        raise RequestError(
            f"{name!r} is {kind_text(page_kind(page))}, and {other!r} is {kind_text(kind)}",
            "take it away, or convert it",
            FIELD,
        )
    if pages != expected:
        raise _UnevenError(
            f"{name!r} has {pages} pages, and {other!r} has {expected}",
            "take it away, or say input.axes: tyx if the files continue each other along t",
            FIELD,
        )
