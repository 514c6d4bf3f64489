"""Stacks in several files that continue each other, such as a camera's movie in parts, as one image."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import numpy as np

from pipeline.model.errors import RequestError
from pipeline.read.files import input_error, listed
from pipeline.read.opened import Opened, layout_text
from pipeline.read.sequence.numbering import Numbering
from pipeline.read.tiff.file import open_tiff_file
from pipeline.read.tiff.store import TiffStore

# Over a network, opening a file is mostly waiting.
_THREADS = 8
_T = TypeVar("_T")


def map_files(function: Callable[[str], _T], files: Sequence[str]) -> list[_T]:
    """Call a function for each file, several at once; the first error ends it."""
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            return list(pool.map(function, files))
        finally:
            pool.shutdown(cancel_futures=True)


def tiff_store(opened: Opened) -> TiffStore:
    """Return the store of an opened TIFF."""
    assert isinstance(opened.store, TiffStore)
    return opened.store


def open_chain(path: str, numbering: Numbering, axes: str) -> Opened:
    """Open stacks that continue each other along one axis as one image.

    Parameters
    ----------
    path : str
        The folder or glob.
    numbering : Numbering
        The files, in their order.
    axes : str
        The user's letters for the axes of each file. They continue each other along t, or else the first.

    Raises
    ------
    RequestError
        Their names say that they are something else, or they differ in dtype, in the order of their axes or
        in the length of another axis.
    """
    along = "t" if "t" in axes else axes[0]
    if numbering.positions or (numbering.word and numbering.axis != along):
        message = f"the files of {path!r} are several by their names ({numbering.word!r})"
        raise input_error(
            f"{message}, so they do not continue each other along {along}",
            f"give one of them, such as {numbering.files[0]!r}",
        )
    parts = map_files(_open_part, numbering.files)
    # The last part may be a single frame, without an axis to continue.
    model = max(parts, key=lambda part: tiff_store(part).planes.size)
    leads = [_lead(part, model) for part in parts]
    used = [
        number
        for number, letter in enumerate(model.axes[:-2])
        if letter not in model.optional or any(lead[number] > 1 for lead in leads)
    ]
    shapes = [tuple(lead[number] for number in used) for lead in leads]
    axis = axes.index(along)
    if len(axes) != len(used) + 2 or axis >= len(used):
        message = f"{axes!r} does not fit the files of {path!r}, which have {_layout(model)}"
        raise RequestError(message, "name one letter for each axis, y and x last", "input.axes")
    kinds = [_kind(part, shape, axis) for part, shape in zip(parts, shapes, strict=True)]
    expected = kinds[parts.index(model)]
    for part, kind in zip(parts, kinds, strict=True):
        if kind != expected:
            raise input_error(
                f"{part.path!r} is {_layout(part)} {part.store.dtype}, and {model.path!r} is "
                f"{_layout(model)} {model.store.dtype}",
                "take it away, or convert it",
            )
    stacks = []
    for number, (part, shape) in enumerate(zip(parts, shapes, strict=True)):
        stack = tiff_store(part).planes.reshape(shape)
        stack["file"] = number
        stacks.append(stack)
    planes = np.concatenate(stacks, axis)
    first = tiff_store(parts[0])
    store = replace(
        first,
        paths=tuple(os.path.abspath(part.path) for part in parts),
        planes=planes,
        shape=planes.shape + first.shape[-2:],
        chunks=(1,) * planes.ndim + first.chunks[-2:],
        note="chain",
        segment=max(tiff_store(part).segment for part in parts),
        compression=next((name for part in parts if (name := tiff_store(part).compression)), ""),
    )
    letters = "".join(model.axes[number] for number in used) + model.axes[-2:]
    lengths = listed(str(shape[axis]) for shape in shapes)
    note = f"{len(parts)} files continue each other along {along}: {lengths}"
    notes = (*parts[0].notes, note)
    return replace(parts[0], store=store, axes=letters, path=path, optional="", notes=notes)


def _open_part(path: str) -> Opened:
    opened = open_tiff_file(path, None, 0)
    if len(opened.store.files()) > 1:
        raise input_error(f"{path!r} is one of an OME-TIFF of several files", "give it alone")
    return opened


def _lead(part: Opened, model: Opened) -> tuple[int, ...]:
    """Return the lengths of a part's leading axes, in the axes of the model."""
    lead = part.store.shape[:-2]
    if part.axes == model.axes:
        return lead
    if math.prod(lead) == 1:
        return (1,) * (len(model.axes) - 2)
    message = f"{part.path!r} has the axes {_layout(part)}, and {model.path!r} has {_layout(model)}"
    raise input_error(message, "take it away, or export it again")


def _layout(part: Opened) -> str:
    return layout_text(part.axes, part.store.shape)


def _kind(part: Opened, lead: tuple[int, ...], axis: int) -> tuple[object, ...]:
    """Return what must be the same for all parts."""
    return part.store.shape[-2:], part.store.dtype, lead[:axis] + lead[axis + 1 :]
