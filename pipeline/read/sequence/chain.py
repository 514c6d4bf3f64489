"""Stacks in several files that continue each other: a camera's movie in parts, as one."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.model.errors import RequestError
from pipeline.read.files import FIELD, listed
from pipeline.read.opened import Opened, shape_text
from pipeline.read.sequence.order import Numbering
from pipeline.read.single import open_file
from pipeline.read.tiff.file import open_tiff
from pipeline.read.tiff.store import Planes, Raw, TiffStore

# Files opened together: over a network each costs some waiting.
_AT_ONCE = 8


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
    along = "t" if "t" in axes.lower() else axes[0].lower()
    if numbering.places or (numbering.word and numbering.axis != along):
        raise RequestError(
            f"the files of {path!r} are several by their names ({numbering.word!r}), so they do not continue "
            f"each other along {along}",
            f"give one of them, such as {numbering.files[0]!r}",
            FIELD,
        )
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            parts = list(pool.map(_open_part, numbering.files))
        finally:
            pool.shutdown(cancel_futures=True)
    model = max(parts, key=lambda part: len(_store(part).planes.page))
    leads = [_lead(part, model) for part in parts]
    kept = [
        at
        for at, letter in enumerate(model.axes[:-2])
        if letter not in model.optional or any(lead[at] > 1 for lead in leads)
    ]
    shapes = [tuple(lead[at] for at in kept) for lead in leads]
    at = axes.lower().index(along)
    if len(axes) != len(kept) + 2 or at >= len(kept):
        raise RequestError(
            f"{axes!r} does not fit the files of {path!r}, which have {_shown(model)}",
            "name one letter for each axis, y and x last",
            "input.axes",
        )
    _check_alike(parts, model, shapes, at)
    lengths = [shape[at] for shape in shapes]
    total = (*shapes[0][:at], sum(lengths), *shapes[0][at + 1 :])
    first = _store(parts[0])
    store = TiffStore(
        tuple(os.path.abspath(part.path) for part in parts),
        _joined(parts, shapes, at),
        (*total, *first.shape[-2:]),
        first.dtype,
        (1,) * len(total) + first.chunks[-2:],
        "chain",
    )
    letters = "".join(model.axes[number] for number in kept) + model.axes[-2:]
    note = f"{len(parts)} files continue each other along {along}: {listed(map(str, lengths))}"
    opened = replace(parts[0], store=store, axes=letters, path=path, optional="")
    return replace(opened, notes=(*opened.notes, note))


def _open_part(path: str) -> Opened:
    opened = open_file(path, None, 0)
    if len(opened.store.files()) > 1:
        raise RequestError(f"{path!r} is one of an OME-TIFF of several files", "give it alone", FIELD)
    return opened


def _store(part: Opened) -> TiffStore:
    assert isinstance(part.store, TiffStore)
    return part.store


def _lead(part: Opened, model: Opened) -> tuple[int, ...]:
    """Return the lengths of a part's leading axes, as the model has them."""
    lead = part.store.shape[:-2]
    if part.axes == model.axes:
        return lead
    if math.prod(lead) == 1:
        return (1,) * (len(model.axes) - 2)
    raise RequestError(
        f"{part.path!r} has the axes {_shown(part)}, and {model.path!r} has {_shown(model)}",
        "take it away, or export it again",
        FIELD,
    )


def _shown(part: Opened) -> str:
    return shape_text(part.axes, part.store.shape)


def _check_alike(parts: Sequence[Opened], model: Opened, shapes: Sequence[tuple[int, ...]], at: int) -> None:
    expected = shapes[parts.index(model)]
    for part, shape in zip(parts, shapes, strict=True):
        others = [
            (kind.shape[-2:], kind.dtype, lead[:at] + lead[at + 1 :])
            for kind, lead in ((part.store, shape), (model.store, expected))
        ]
        if others[0] != others[1]:
            raise RequestError(
                f"{part.path!r} is {_shown(part)} {part.store.dtype}, and {model.path!r} is {_shown(model)} "
                f"{model.store.dtype}",
                "take it away, or convert it",
                FIELD,
            )


def _joined(parts: Sequence[Opened], shapes: Sequence[tuple[int, ...]], at: int) -> Planes:
    """Return where the planes of all parts are, in C order of the joined axes."""
    counts = [math.prod(shape) for shape in shapes]
    file = np.concatenate(
        [np.full(shape, number, np.int32) for number, shape in enumerate(shapes)], axis=at
    ).ravel()
    own = np.concatenate(
        [np.arange(math.prod(shape), dtype=np.int32).reshape(shape) for shape in shapes], axis=at
    ).ravel()
    raws = [_store(part).planes.raw for part in parts]
    strides = {raw.stride for raw, count in zip(raws, counts, strict=True) if raw and count > 1}
    orders = {raw.byteorder if raw else "" for raw in raws}
    if all(raws) and len(strides) <= 1 and len(orders) == 1:
        starts = np.concatenate([raw.starts for raw in raws if raw])
        return Planes(file, own, -1, Raw(starts, next(iter(strides), 0), orders.pop()))
    begins = np.cumsum([0, *counts[:-1]])
    pages = np.concatenate([_page_numbers(part) for part in parts])
    return Planes(file, pages[begins[file] + own].astype(np.int32))


def _page_numbers(part: Opened) -> NDArray:
    """Return for each plane of a part which page of the file it is."""
    store = _store(part)
    raw = store.planes.raw
    if raw is None:
        return store.planes.page
    with open_tiff(part.path) as tiff:
        tiff.pages.useframes = True
        number = {page.dataoffsets[0]: index for index, page in enumerate(tiff.pages)}
    starts = raw.starts[0] + raw.stride * np.arange(len(store.planes.page))
    if any(int(start) not in number for start in starts):
        raise RequestError(
            f"{part.path!r} has planes without a header each, and the others do not", "convert it", FIELD
        )
    return np.array([number[int(start)] for start in starts], np.int32)
