"""A folder or glob of TIFF files, one a frame, as one stack."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import tifffile

from pipeline.errors import RequestError
from pipeline.read.files import FIELD
from pipeline.read.numbering import check_numbering
from pipeline.read.opened import UNKNOWN, Opened
from pipeline.read.single import open_file
from pipeline.read.tiff import open_tiff
from pipeline.read.tiff_page import PageKind, kind_text, page_kind
from pipeline.read.tiff_pages import evenly_raw, locate, raw_planes
from pipeline.read.tiff_store import Planes, Raw, TiffStore

# Headers looked at together: over a network each costs some waiting.
_AT_ONCE = 8


def open_folder(path: str, files: Sequence[str], axes: str | None, series: int | None, level: int) -> Opened:
    """Open files as one stack: their own axis first, time unless the user says otherwise.

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
    check_numbering(files)
    first = open_file(files[0], None, 0)
    store = first.store
    assert isinstance(store, TiffStore)
    if len(store.paths) > 1:
        raise RequestError(
            f"{path!r} holds one OME-TIFF of {len(store.paths)} files",
            f"give one of them: {files[0]!r}",
            FIELD,
        )
    kept = [
        (axis, size)
        for axis, size in zip(first.axes, store.shape, strict=True)
        if size > 1 or axis in "yx" or axis not in first.optional + "t"
    ]
    letters = "".join(axis for axis, _ in kept)
    if len(files) == 1 and len(kept) > 2 and (axes is None or len(axes) == len(kept)):
        return first
    if axes is None and "t" in letters:
        raise RequestError(
            f"each file of {path!r} holds several frames ({dict(kept)['t']} in the first)",
            "give one file, or say in input.axes what the files are, then what is in them",
            "input.axes",
        )
    planes = _planes(files, store)
    stack = replace(
        store,
        paths=tuple(map(os.path.abspath, files)),
        planes=planes,
        shape=(len(files), *(size for _, size in kept)),
        chunks=(1,) * (len(kept) - 1) + store.chunks[-2:],
        note="files",
    )
    outer = "t" if "t" not in letters else UNKNOWN
    return replace(first, store=stack, axes=outer + letters, path=path, optional="")


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
        raise RequestError(
            f"{name!r} has {pages} pages, and {other!r} has {expected}",
            "take it away, or export it again",
            FIELD,
        )
