"""Figures of each plane, gathered while its blocks are in memory: for the report's curves over time.

They come from every third pixel of every 31st row of the image, which costs a task a hundredth of
its time and is the same whatever the blocks are. Sums of parts of a plane add up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.model.image import Region

EVERY_ROW, EVERY_COLUMN = 31, 3
"""Odd, so that rows and columns which a camera reads out in turn all take part."""


class PlaneSums(NamedTuple):
    """Sums over the sampled pixels of a plane, or of a part of it.

    `plane` is its index along the image's axes before y and x; `before` sums the chain's input
    (None where it is not known), `after` and `squares` what the chain gives, `least` and `most`
    are its extremes there. `clipped` counts all pixels, not samples; None where a block of
    several planes does not say which.
    """

    plane: tuple[int, ...]
    pixels: int
    before: float | None
    after: float
    squares: float
    least: float
    most: float
    clipped: int | None


def plane_sums(region: Region, before: NDArray | None, after: NDArray, clipped: int) -> tuple[PlaneSums, ...]:
    """Return the figures of each plane of a block.

    Parameters
    ----------
    region : tuple of slice
        Where the block lies in the image, whose last two axes are y and x.
    before, after : ndarray
        Its pixels, as read and as the chain gives them.
    clipped : int
        How many of them the output's dtype cannot hold.
    """
    first = -region[-2].start % EVERY_ROW, -region[-1].start % EVERY_COLUMN
    planes = [tuple(index) for index in np.ndindex(*(side.stop - side.start for side in region[:-2]))]
    values = _samples(after, first)
    if values.size == 0:
        return ()
    with np.errstate(over="ignore", invalid="ignore"):  # ∞ − ∞, and sums of the largest floats
        totals = None if before is None else _samples(before, first).sum(axis=1)
        squares = np.einsum("ij,ij->i", values, values)
        sums = values.sum(axis=1)
    alone = clipped if len(planes) == 1 or not clipped else None
    return tuple(
        PlaneSums(
            tuple(side.start + at for side, at in zip(region, plane, strict=False)),
            values.shape[1],
            None if totals is None else float(totals[number]),
            float(sums[number]),
            float(squares[number]),
            float(values[number].min()),
            float(values[number].max()),
            alone,
        )
        for number, plane in enumerate(planes)
    )


def _samples(block: NDArray, first: tuple[int, int]) -> NDArray:
    rows = block[..., first[0] :: EVERY_ROW, first[1] :: EVERY_COLUMN]
    return rows.reshape(math.prod(rows.shape[:-2]), math.prod(rows.shape[-2:])).astype(np.float64)


def merge(sums: Iterable[PlaneSums]) -> list[PlaneSums]:
    """Return one entry a plane, in the order of the planes.

    >>> a, b = PlaneSums((0,), 2, 3.0, 1.0, 1.0, 0.0, 1.0, 0), PlaneSums((0,), 1, 5.0, 4.0, 16.0, 4.0, 4.0, 2)
    >>> merge([a, b])[0][1:]
    (3, 8.0, 5.0, 17.0, 0.0, 4.0, 2)
    """
    merged: dict[tuple[int, ...], PlaneSums] = {}
    for one in sums:
        merged[one.plane] = _both(merged[one.plane], one) if one.plane in merged else one
    return [merged[plane] for plane in sorted(merged)]


def _both(one: PlaneSums, other: PlaneSums) -> PlaneSums:
    return PlaneSums(
        one.plane,
        one.pixels + other.pixels,
        None if one.before is None or other.before is None else one.before + other.before,
        one.after + other.after,
        one.squares + other.squares,
        min(one.least, other.least),
        max(one.most, other.most),
        None if one.clipped is None or other.clipped is None else one.clipped + other.clipped,
    )
