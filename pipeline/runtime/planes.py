"""Statistics of each plane, gathered while its blocks are in memory: for the report's curves over time.

They come from every third pixel of every 31st row of the image, which costs a task a hundredth of
its time and does not depend on the blocks. Sums over parts of a plane add up.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.model.image import Region

# Odd, so that the samples hit even and odd rows and columns, which cameras may read out in turn.
EVERY_ROW, EVERY_COLUMN = 31, 3


class PlaneSums(NamedTuple):
    """Sums over the sampled pixels of a plane, or of a part of it."""

    plane: tuple[int, ...]  # index along the image's axes before y and x
    pixels: int
    before: float | None  # sum of the chain's input; None where it is not known
    after: float  # sum of the chain's result
    squares: float  # sum of its squares
    least: float
    most: float
    clipped: int | None  # of all pixels, not samples; None where a block of several planes has some


def plane_sums(region: Region, before: NDArray | None, after: NDArray, clipped: int) -> tuple[PlaneSums, ...]:
    """Return the sums of each plane of a block, given its pixels before and after the chain.

    The last two axes are y and x. `clipped` are pixels that the output's dtype cannot hold.
    """
    first = -region[-2].start % EVERY_ROW, -region[-1].start % EVERY_COLUMN
    values = _samples(after, first)
    if values.size == 0:
        return ()
    planes = itertools.product(*(range(side.start, side.stop) for side in region[:-2]))
    with np.errstate(over="ignore", invalid="ignore"):  # ∞ − ∞, and sums of the largest floats
        before_sums = None if before is None else _samples(before, first).sum(axis=1).tolist()
        squares = np.einsum("ij,ij->i", values, values)
        sums = [values.sum(axis=1), squares, values.min(axis=1), values.max(axis=1)]
    count, pixels = values.shape
    columns = zip(planes, before_sums or [None] * count, *(column.tolist() for column in sums), strict=True)
    plane_clipped = clipped if count == 1 or not clipped else None
    return tuple(
        PlaneSums(plane, pixels, before_sum, after_sum, square, least, most, plane_clipped)
        for plane, before_sum, after_sum, square, least, most in columns
    )


def _samples(block: NDArray, first: tuple[int, int]) -> NDArray:
    """Return the samples of a block as float64, a row a plane."""
    rows = block[..., first[0] :: EVERY_ROW, first[1] :: EVERY_COLUMN]
    return rows.reshape(math.prod(rows.shape[:-2]), math.prod(rows.shape[-2:])).astype(np.float64)


def merge(sums: Iterable[PlaneSums]) -> list[PlaneSums]:
    """Add up the parts of each plane, in the order of the planes.

    >>> a, b = PlaneSums((0,), 2, 3.0, 1.0, 1.0, 0.0, 1.0, 0), PlaneSums((0,), 1, 5.0, 4.0, 16.0, 4.0, 4.0, 2)
    >>> merge([a, b])[0][1:]
    (3, 8.0, 5.0, 17.0, 0.0, 4.0, 2)
    """
    merged: dict[tuple[int, ...], PlaneSums] = {}
    for part in sums:
        merged[part.plane] = _add(merged[part.plane], part) if part.plane in merged else part
    return [merged[plane] for plane in sorted(merged)]


def _add(a: PlaneSums, b: PlaneSums) -> PlaneSums:
    return PlaneSums(
        a.plane,
        a.pixels + b.pixels,
        None if a.before is None or b.before is None else a.before + b.before,
        a.after + b.after,
        a.squares + b.squares,
        min(a.least, b.least),
        max(a.most, b.most),
        None if a.clipped is None or b.clipped is None else a.clipped + b.clipped,
    )
