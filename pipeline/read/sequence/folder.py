"""A folder or glob of TIFF files as one image: a frame a file, or stacks that continue each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.model.errors import RequestError
from pipeline.read.files import input_error
from pipeline.read.opened import UNKNOWN, Opened
from pipeline.read.sequence.names import duration_text
from pipeline.read.sequence.numbering import Numbering, read_numbering
from pipeline.read.sequence.stacks import map_files, open_chain, tiff_store
from pipeline.read.tiff.file import open_tiff_file
from pipeline.read.tiff.handles import open_tiff
from pipeline.read.tiff.page import PageKind, kind_text, page_kind
from pipeline.read.tiff.pages import contiguous_planes, locate
from pipeline.read.tiff.store import PLANE_DTYPE, TiffStore


class _PageCountError(RequestError):
    """A file has another number of pages than the first."""


def open_folder(path: str, files: Sequence[str], axes: str | None, series: int | None, level: int) -> Opened:
    """Open files as one image.

    The files make the first axis: what their names say, or else time. If the user names only as many axes
    as each file has, the files continue each other along t, or else along the first axis.

    Parameters
    ----------
    path : str
        The folder or glob.
    files : sequence of str
        Paths in natural order.
    axes : str, optional
        The user's letters for the axes.
    series, level : int
        As the user gave them; no folder has any.

    Raises
    ------
    RequestError
        A frame is missing, damaged, or of another size or dtype, or all files are one OME-TIFF.
    """
    if series is not None or level:
        field = "series" if series is not None else "level"
        raise RequestError(f"a folder of files has no {field}", "leave it out", f"input.{field}")
    numbering = _numbering(path, files, axes)
    files = numbering.files
    first = _open_first(path, files[0])
    store = tiff_store(first)
    sizes = {
        axis: size
        for axis, size in zip(first.axes, store.shape, strict=True)
        if size > 1 or axis in "yx" or axis not in first.optional + "t"
    }
    letters = "".join(sizes)
    if len(files) == 1 and len(sizes) > 2 and (axes is None or len(axes) == len(sizes)):
        return first
    if axes is not None and len(files) > 1 and len(axes) == len(sizes) > 2:
        return open_chain(path, numbering, axes)
    if axes is None and "t" in sizes:
        raise RequestError(
            f"each file of {path!r} holds several frames ({sizes['t']} in the first)",
            f"give one file, such as {files[0]!r}, or say in input.axes {_possible_axes(letters)}",
            "input.axes",
        )
    try:
        planes = _planes(files, store)
    except _PageCountError:
        # The first part of a chain may be a single frame.
        if axes is not None and len(axes) == 3 and len(files) > 1:
            return open_chain(path, numbering, axes)
        raise
    shape = (len(files), *sizes.values())
    stack = replace(
        store,
        paths=tuple(map(os.path.abspath, files)),
        planes=planes.reshape(shape[:-2]),
        shape=shape,
        chunks=(1,) * (len(shape) - 2) + store.chunks[-2:],
        note="files",
    )
    outer = numbering.axis if numbering.axis not in sizes else UNKNOWN
    opened = replace(first, store=stack, axes=outer + letters, path=path, optional="")
    return _with_names(opened, numbering, axes[0] if axes else None)


def _numbering(path: str, files: Sequence[str], axes: str | None) -> Numbering:
    try:
        return read_numbering(files, axes)
    except RequestError:
        # The files of one OME-TIFF may be numbered along all its axes: then any one opens the whole.
        try:
            first = open_tiff_file(files[0], None, 0)
        except RequestError:
            first = None
        if first is not None:
            _check_one_file(path, files[0], first)
        raise


def _open_first(path: str, file: str) -> Opened:
    try:
        first = open_tiff_file(file, None, 0)
    except RequestError as error:
        if error.problems[0].field == "input.series":
            raise input_error(
                error.problems[0].message, f"give one file with input.series: {file!r}"
            ) from None
        raise
    _check_one_file(path, file, first)
    return first


def _check_one_file(path: str, file: str, opened: Opened) -> None:
    count = len(opened.store.files())
    if count > 1:
        raise input_error(f"{path!r} holds one OME-TIFF of {count} files", f"give one of them: {file!r}")


def _possible_axes(letters: str) -> str:
    """Return the axes that a user may give to files that hold movies, in words."""
    outer = {"c": "channels", "z": "planes"}
    texts = [f"{axis}{letters} (they are {name})" for axis, name in outer.items() if axis not in letters]
    return " or ".join([f"{letters} (they continue each other)", *texts])


def _planes(files: Sequence[str], first: TiffStore) -> NDArray:
    """Return the planes of all files, having checked that each file is like the first."""
    indices = first.planes["page"].ravel().tolist()
    with open_tiff(files[0]) as tiff:
        count, kind = len(tiff.pages), page_kind(tiff.pages.first)
    stacks = map_files(lambda path: _file_planes(path, files[0], kind, count, indices), files)
    planes = np.stack(stacks)
    planes["file"] = np.arange(len(files))[:, None]
    return planes


def _file_planes(path: str, first: str, kind: PageKind, count: int, indices: Sequence[int]) -> NDArray:
    """Return the planes on the pages with some indices, of a file that must have `count` pages."""
    name, other = os.path.basename(path), os.path.basename(first)
    with open_tiff(path) as tiff:
        page = tiff.pages.first
        if page_kind(page) != kind:
            message = f"{name!r} is {kind_text(page_kind(page))}, and {other!r} is {kind_text(kind)}"
            raise input_error(message, "take it away, or convert it")
        if len(tiff.pages) != count:
            raise _PageCountError(
                f"{name!r} has {len(tiff.pages)} pages, and {other!r} has {count}",
                "take it away, or say input.axes: tyx if the files continue each other along t",
                "input.path",
            )
        size = tiff.filehandle.size
        # ImageJ and tifffile may write a whole stack behind one page.
        if count == 1 < len(indices):
            if not page.is_final:
                folder = os.path.dirname(first)
                raise input_error(f"the stacks in {folder!r} are stored in different ways", "convert them")
            return contiguous_planes(page, page.dataoffsets[0], len(indices), path, size)
        tiff.pages.useframes = True
        pages = (page if index == 0 else tiff.pages[index] for index in indices)
        return np.array([locate(page, path, size) for page in pages], PLANE_DTYPE)


def _with_names(opened: Opened, numbering: Numbering, axis: str | None) -> Opened:
    """Add the interval and notes that file names give; `axis` is the user's letter for the files."""
    interval = numbering.interval
    timed = interval > 0 and (axis or numbering.axis) == "t" and "t" not in opened.scale
    if timed:
        scale, units = {**opened.scale, "t": interval}, {**opened.units, "t": "second"}
        opened = replace(opened, scale=scale, units=units)
    files, word, notes = numbering.files, numbering.word, []
    if len(files) > 1:
        folder = os.path.commonpath(files)
        first, last = (os.path.relpath(files[index], folder) for index in (0, -1))
        taken = f"the {len(files)} files ({first} to {last}) are taken as"
        if axis is None:
            why = f"their names say so ({word!r})" if word else numbering.ordered_by
            notes.append(f"{taken} {numbering.axis}, {why}; input.axes says what else they are")
        elif numbering.positions or (word and axis != numbering.axis):
            notes.append(f"{taken} {axis}, as input.axes says, though their names say {word!r}")
        if timed:
            text = duration_text(interval)
            notes.append(f"the scale along t, {text}, is taken from the times in the names")
        if numbering.uneven:
            uneven = numbering.uneven
            notes.append(f"the times in the names are not evenly spaced ({uneven}), so t has no scale")
    return replace(opened, notes=(*opened.notes, *notes))
