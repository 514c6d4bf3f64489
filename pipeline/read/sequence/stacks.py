"""Stacks in several files that continue each other: a camera's movie in parts, as one."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.model.errors import RequestError
from pipeline.read.files import input_error, listed
from pipeline.read.opened import Opened, layout_text
from pipeline.read.sequence.numbering import Numbering
from pipeline.read.tiff.file import open_tiff_file
from pipeline.read.tiff.handles import open_tiff
from pipeline.read.tiff.store import Planes, Raw, TiffStore

# Files looked at together: over a network each costs some waiting.
_FILES_AT_ONCE = 8
_T = TypeVar("_T")


def at_once(look: Callable[[str], _T], files: Sequence[str]) -> list[_T]:
    """Look at files, some at a time; the first error ends it."""
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        try:
            return list(pool.map(look, files))
        finally:
            pool.shutdown(cancel_futures=True)


def store_of_part(part: Opened) -> TiffStore:
    """Return the store of a TIFF."""
    assert isinstance(part.store, TiffStore)
    return part.store


def joined_raw(raws: Sequence[Raw | None]) -> Raw | None:
    """Return how the planes of several files lie where all are raw, and spaced alike."""
    whole = [raw for raw in raws if raw is not None]
    # A file of one plane has no stride of its own.
    strides = {raw.stride for raw in whole if raw.stride}
    orders = {raw.byteorder for raw in whole}
    if len(whole) < len(raws) or len(strides) > 1 or len(orders) > 1:
        return None
    return Raw(np.concatenate([raw.starts for raw in whole]), max(strides, default=0), orders.pop())


def open_chain(path: str, numbering: Numbering, axes: str) -> Opened:
    """Open stacks that continue each other along one axis as one stack.

    Parameters
    ----------
    path : str
        The folder or glob.
    numbering : Numbering
        The files, in their order.
    axes : str
        What the user calls the axes of each; they go on along t, or, where there is none, the first.

    Raises
    ------
    RequestError
        Their names say that they are something else, or they differ along another axis, in dtype or in
        the order of their axes.
    """
    along = "t" if "t" in axes else axes[0]
    if numbering.places or (numbering.word and numbering.axis != along):
        what = f"the files of {path!r} are several by their names ({numbering.word!r})"
        raise input_error(
            f"{what}, so they do not continue each other along {along}",
            f"give one of them, such as {numbering.files[0]!r}",
        )
    parts = at_once(_open_part, numbering.files)
    model = max(parts, key=lambda part: len(store_of_part(part).planes.page))
    leads = [_lead(part, model) for part in parts]
    kept = [
        at
        for at, letter in enumerate(model.axes[:-2])
        if letter not in model.optional or any(lead[at] > 1 for lead in leads)
    ]
    shapes = [tuple(lead[at] for at in kept) for lead in leads]
    at = axes.index(along)
    if len(axes) != len(kept) + 2 or at >= len(kept):
        what = f"{axes!r} does not fit the files of {path!r}, which have {_layout(model)}"
        raise RequestError(what, "name one letter for each axis, y and x last", "input.axes")
    for part, shape in zip(parts, shapes, strict=True):
        _check_alike(part, shape, model, shapes[parts.index(model)], at)
    lengths = [shape[at] for shape in shapes]
    total = (*shapes[0][:at], sum(lengths), *shapes[0][at + 1 :])
    first = store_of_part(parts[0])
    store = TiffStore(
        tuple(os.path.abspath(part.path) for part in parts),
        _joined(parts, shapes, at),
        (*total, *first.shape[-2:]),
        first.dtype,
        (1,) * len(total) + first.chunks[-2:],
        "chain",
        max(store_of_part(part).segment for part in parts),
    )
    letters = "".join(model.axes[number] for number in kept) + model.axes[-2:]
    note = f"{len(parts)} files continue each other along {along}: {listed(map(str, lengths))}"
    opened = replace(parts[0], store=store, axes=letters, path=path, optional="")
    return replace(opened, notes=(*opened.notes, note))


def _open_part(path: str) -> Opened:
    opened = open_tiff_file(path, None, 0)
    if len(opened.store.files()) > 1:
        raise input_error(f"{path!r} is one of an OME-TIFF of several files", "give it alone")
    return opened


def _lead(part: Opened, model: Opened) -> tuple[int, ...]:
    """Return the lengths of a part's leading axes, as the model has them."""
    lead = part.store.shape[:-2]
    if part.axes == model.axes:
        return lead
    if math.prod(lead) == 1:
        return (1,) * (len(model.axes) - 2)
    what = f"{part.path!r} has the axes {_layout(part)}, and {model.path!r} has {_layout(model)}"
    raise input_error(what, "take it away, or export it again")


def _layout(part: Opened) -> str:
    return layout_text(part.axes, part.store.shape)


def _check_alike(
    part: Opened, shape: tuple[int, ...], model: Opened, model_shape: tuple[int, ...], at: int
) -> None:
    kind, expected = (
        (store.shape[-2:], store.dtype, lead[:at] + lead[at + 1 :])
        for store, lead in ((part.store, shape), (model.store, model_shape))
    )
    if kind != expected:
        raise input_error(
            f"{part.path!r} is {_layout(part)} {part.store.dtype}, and {model.path!r} is {_layout(model)} "
            f"{model.store.dtype}",
            "take it away, or convert it",
        )


def _joined(parts: Sequence[Opened], shapes: Sequence[tuple[int, ...]], at: int) -> Planes:
    """Return where the planes of all parts are, in C order of the joined axes."""
    counts = [math.prod(shape) for shape in shapes]
    numbers = [np.full(shape, number, np.int32) for number, shape in enumerate(shapes)]
    indices = [
        np.arange(count, dtype=np.int32).reshape(shape) for count, shape in zip(counts, shapes, strict=True)
    ]
    file, own = (np.concatenate(arrays, axis=at).ravel() for arrays in (numbers, indices))
    raw = joined_raw([store_of_part(part).planes.raw for part in parts])
    if raw is not None:
        return Planes(file, own, -1, raw)
    begins = np.cumsum([0, *counts[:-1]])
    pages = np.concatenate([_page_numbers(part) for part in parts])
    return Planes(file, pages[begins[file] + own].astype(np.int32))


def _page_numbers(part: Opened) -> NDArray:
    """Return for each plane of a part which page of the file it is."""
    store = store_of_part(part)
    raw = store.planes.raw
    if raw is None:
        return store.planes.page
    with open_tiff(part.path) as tiff:
        tiff.pages.useframes = True
        number = {page.dataoffsets[0]: index for index, page in enumerate(tiff.pages)}
    starts = (raw.starts[0] + raw.stride * np.arange(len(store.planes.page))).tolist()
    if not number.keys() >= set(starts):
        raise input_error(
            f"{part.path!r} has planes without a header each, and the others do not", "convert it"
        )
    return np.array([number[start] for start in starts], np.int32)
