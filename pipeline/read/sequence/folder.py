"""A folder or glob of TIFF files as one stack: one a frame, or stacks that continue each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.model.errors import RequestError
from pipeline.read.files import input_error
from pipeline.read.opened import UNKNOWN, Opened
from pipeline.read.sequence.numbering import Numbering, duration_text, read_numbering
from pipeline.read.sequence.stacks import at_once, joined_raw, open_chain, store_of_part
from pipeline.read.tiff.file import open_tiff_file
from pipeline.read.tiff.handles import open_tiff
from pipeline.read.tiff.page import PageKind, kind_text, page_kind
from pipeline.read.tiff.pages import evenly_raw, locate, raw_planes
from pipeline.read.tiff.store import Planes, Raw, TiffStore


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
        field = "series" if series is not None else "level"
        raise RequestError(f"a folder of files has no {field}", "leave it out", f"input.{field}")
    numbering = _numbering(path, files, axes)
    files = numbering.files
    first = _open_first(path, files[0])
    store = store_of_part(first)
    kept = {
        axis: size
        for axis, size in zip(first.axes, store.shape, strict=True)
        if size > 1 or axis in "yx" or axis not in first.optional + "t"
    }
    letters = "".join(kept)
    if len(files) == 1 and len(kept) > 2 and (axes is None or len(axes) == len(kept)):
        return first
    if axes is not None and len(files) > 1 and len(axes) == len(kept) > 2:
        return open_chain(path, numbering, axes)
    if axes is None and "t" in kept:
        raise RequestError(
            f"each file of {path!r} holds several frames ({kept['t']} in the first)",
            f"give one file, such as {files[0]!r}, or say in input.axes {_ways(letters)}",
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
        shape=(len(files), *kept.values()),
        chunks=(1,) * (len(kept) - 1) + store.chunks[-2:],
        note="files",
    )
    outer = numbering.axis if numbering.axis not in kept else UNKNOWN
    opened = replace(first, store=stack, axes=outer + letters, path=path, optional="")
    return _with_names(opened, numbering, axes[0] if axes else None)


def _numbering(path: str, files: Sequence[str], axes: str | None) -> Numbering:
    try:
        return read_numbering(files, axes)
    except RequestError:
        # Files of one OME-TIFF may be numbered by all its axes: then any of them stands for all.
        try:
            first = open_tiff_file(files[0], None, 0)
        except RequestError:
            first = None
        if first is not None:
            _check_one_image(path, files[0], first)
        raise


def _open_first(path: str, file: str) -> Opened:
    try:
        first = open_tiff_file(file, None, 0)
    except RequestError as error:
        if error.problems[0].field == "input.series":
            raise input_error(error.problems[0].what, f"give one file with input.series: {file!r}") from None
        raise
    _check_one_image(path, file, first)
    return first


def _check_one_image(path: str, file: str, first: Opened) -> None:
    count = len(first.store.files())
    if count > 1:
        raise input_error(f"{path!r} holds one OME-TIFF of {count} files", f"give one of them: {file!r}")


def _ways(letters: str) -> str:
    """Return what may be said of files that hold movies: that they go on, or are another axis."""
    others = {"c": "channels", "z": "planes"}
    ways = [f"{axis}{letters} (they are {what})" for axis, what in others.items() if axis not in letters]
    return " or ".join([f"{letters} (they continue each other)", *ways])


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
    raws = at_once(lambda path: _check_member(path, files[0], kind, pages, count), files)
    file = np.repeat(np.arange(len(files), dtype=np.int32), count)
    raw = joined_raw(raws) if first.planes.raw is not None else None
    if raw is not None:
        return Planes(file, np.tile(np.arange(count, dtype=np.int32), len(files)), -1, raw)
    if count > 1 and pages == 1:
        folder = os.path.dirname(files[0])
        raise input_error(f"the stacks in {folder!r} are stored in different ways", "convert them")
    return Planes(file, np.tile(first.planes.page, len(files)))


def _check_member(path: str, first: str, kind: PageKind, pages: int, planes: int) -> Raw | None:
    """Return how the planes of a file lie where they are raw and evenly spaced."""
    name, other = os.path.basename(path), os.path.basename(first)
    with open_tiff(path) as tiff:
        page = tiff.pages.first
        if page_kind(page) != kind:
            what = f"{name!r} is {kind_text(page_kind(page))}, and {other!r} is {kind_text(kind)}"
            raise input_error(what, "take it away, or convert it")
        if len(tiff.pages) != pages:
            raise _UnevenError(
                f"{name!r} has {len(tiff.pages)} pages, and {other!r} has {pages}",
                "take it away, or say input.axes: tyx if the files continue each other along t",
                "input.path",
            )
        size = tiff.filehandle.size
        if pages == 1 and planes > 1:
            return raw_planes(page, page.dataoffsets[0], planes, path, size).raw if page.is_final else None
        tiff.pages.useframes = True
        located = [locate(page if index == 0 else tiff.pages[index], size, path) for index in range(planes)]
        return evenly_raw(located, page)


def _with_names(opened: Opened, numbering: Numbering, said: str | None) -> Opened:
    """Return an image made of files, with what their names say of it; `said` is the user's axis for them."""
    interval = numbering.interval
    timed = interval > 0 and (said or numbering.axis) == "t" and "t" not in opened.scale
    if timed:
        scale, units = {**opened.scale, "t": interval}, {**opened.units, "t": "second"}
        opened = replace(opened, scale=scale, units=units)
    files, word, notes = numbering.files, numbering.word, []
    if len(files) > 1:
        folder = os.path.commonpath(files)
        first, last = (os.path.relpath(files[index], folder) for index in (0, -1))
        taken = f"the {len(files)} files ({first} to {last}) are taken as"
        if said is None:
            why = f"their names say so ({word!r})" if word else numbering.ordered_by
            notes.append(f"{taken} {numbering.axis}, {why}; input.axes says what else they are")
        elif numbering.places or (word and said != numbering.axis):
            notes.append(f"{taken} {said}, as input.axes says, though their names say {word!r}")
        if timed:
            notes.append(
                f"the scale along t, {duration_text(interval)}, is taken from the times in the names"
            )
        if numbering.uneven:
            odd = numbering.uneven
            notes.append(f"the times in the names are not evenly spaced ({odd}), so t has no scale")
    return replace(opened, notes=(*opened.notes, *notes))
