"""Morphology with any footprint: the choice of row and column axes, tile widths and scratch."""

import functools
import itertools
import math
import operator
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.dtypes import highest_value, lowest_value
from pipeline.kernels.morphology.chord_strips import INPUT_ROWS
from pipeline.kernels.morphology.chords import ChordPlan, plan_chords, strip_length
from pipeline.kernels.morphology.footprint import Footprint
from pipeline.kernels.morphology.near import NearPass, NearPlan, buffer_rows, filter_near, plan_near
from pipeline.kernels.morphology.passes import Pass, Raster, RowBuffer, Tile, filter_tile
from pipeline.kernels.vectors import aligned, block_length

BUFFER_BYTES = 1 << 22  # of a tile's ring buffers, to stay in a cache of several MB
# Footprints are small if they have as few rows, and ring buffers for their runs as few bytes. Beyond that,
# chords are faster.
NEAR_ROWS = 13
NEAR_BYTES = 160 << 10


class Arrangement(NamedTuple):
    """The plan of a filter on an image of batch axes × plane axes × rows × columns.

    Footprints do not extend along batch axes, so images along these are filtered one by one.
    """

    order: tuple[int, ...]  # the array's axes in that order
    batch: int  # number of batch axes
    inner: tuple[int, ...]  # lengths of the other axes
    plane_shape: NDArray[np.int64]  # the same without rows and columns
    near: bool  # small footprints, which are filtered row by row
    columns: int  # of a tile
    plans: tuple[ChordPlan | NearPlan, ...]
    buffers: tuple[RowBuffer, ...]
    margin: int  # this and the next three as in `Tile`
    inputs: int
    input_pitch: int
    spare: int
    size: int  # of the scratch array, in elements

    def passes(self, dtype: np.dtype, flip: bool) -> tuple[Any, Any]:
        """Return the two passes, which are of one plan if there is only one."""
        outside = highest_value(dtype), lowest_value(dtype)
        kind: Any = NearPass if self.near else Pass
        return (
            kind(self.plans[0], self.buffers[0], not flip, outside[flip]),
            kind(self.plans[-1], self.buffers[-1], flip, outside[not flip]),
        )


def _round_up(count: int, step: int) -> int:
    return -(-count // step) * step


def _order(ndim: int, footprints: tuple[Footprint, ...]) -> tuple[tuple[int, ...], int]:
    """Return the axes in the order batch, plane, row, column, and the number of batch axes."""
    active = [axis for axis in range(ndim - 1) if any(f.reach[axis] for f in footprints)]
    batch = [axis for axis in range(ndim - 1) if axis not in active]
    row = active.pop() if active else batch.pop()
    return (*batch, *active, row, ndim - 1), len(batch)


@functools.lru_cache(maxsize=64)
def arrange(shape: tuple[int, ...], dtype: np.dtype, footprints: tuple[Footprint, ...]) -> Arrangement:
    """Plan the filter of an array of two axes or more with one footprint, or two in turn."""
    order, batch = _order(len(shape), footprints)
    inner = tuple(shape[axis] for axis in order[batch:])
    planes = math.prod(inner[:-2])
    block = block_length(dtype)
    reaches = [tuple(min(f.reach[axis], shape[axis] - 1) for axis in order[batch:]) for f in footprints]
    halves = [_permuted(f, order[batch:]).half_widths(r) for f, r in zip(footprints, reaches, strict=True)]
    near = len(inner) == 2 and _is_near(halves, inner[-1] * dtype.itemsize)
    depths = [2 * reach[-2] + (1 if near else INPUT_ROWS) for reach in reaches]
    widest = max(reach[-1] for reach in reaches)
    halo = reaches[1][-1] if len(reaches) == 2 else 0

    # A tile is no narrower than twice its halo, or the halo would cost more than the tile.
    affordable = BUFFER_BYTES // (planes * sum(depths) * dtype.itemsize)
    tiles = math.ceil(inner[-1] / max(affordable, 4 * widest, 2 * block))
    columns = math.ceil(inner[-1] / tiles)
    counts = [min(inner[-1], columns + 2 * halo), columns][-len(reaches) :]
    strips = [strip_length(count, dtype) for count in counts]
    margin = _round_up(widest, block)
    pitches = [
        _pitch(margin + _round_up(count, strip) + widest, block)
        for count, strip in zip(counts, strips, strict=True)
    ]
    if near:  # the rows of the second buffer are the results of the first pass
        pitches = [pitches[0]] * len(pitches)
    plans = tuple(
        plan_near(half, reach, count, pitch, dtype) if near else plan_chords(half, reach, strip, dtype)
        for half, reach, count, pitch, strip in zip(halves, reaches, counts, pitches, strips, strict=True)
    )
    inputs = _round_up(max(plan.end for plan in plans), block)
    spare = inputs + plans[0].rows * pitches[0]
    at = spare + pitches[0]
    buffers = []
    for depth, pitch, plan in zip(depths, pitches, plans, strict=True):
        buffers.append(RowBuffer(at, pitch, depth))
        at += planes * depth * pitch * plan.slot_rows
    return Arrangement(
        order=order,
        batch=batch,
        inner=inner,
        plane_shape=np.array(inner[:-2], dtype=np.int64),
        near=near,
        columns=columns,
        plans=plans,
        buffers=tuple(buffers),
        margin=margin,
        inputs=inputs,
        input_pitch=pitches[0],
        spare=spare,
        size=at + 2 * max(strips) + widest + 4 * block,
    )


def _is_near(halves: list[NDArray[np.int64]], row_bytes: int) -> bool:
    """Return whether footprints with these half-widths are small, for rows of that many bytes."""
    rows = sum(map(buffer_rows, halves))
    return max(map(len, halves)) <= NEAR_ROWS and rows * row_bytes <= NEAR_BYTES


def _pitch(length: int, block: int) -> int:
    """Return the distance from row to row, with two blocks to spare."""
    # An odd number of blocks: rows a power of two apart would share the same few lines of the cache.
    return (-(-(length + 2 * block) // block) | 1) * block


def _permuted(footprint: Footprint, order: tuple[int, ...]) -> Footprint:
    return Footprint(footprint.shape, tuple(footprint.radii[axis] for axis in order))


def _rasters(array: NDArray, batch: int) -> Iterator[Raster]:
    strides = np.array(array.strides[batch:-2], dtype=np.int64)
    start, steps = array.ctypes.data, array.strides[:batch]
    for index in itertools.product(*map(range, array.shape[:batch])):
        offset = sum(map(operator.mul, index, steps))
        yield Raster(start + offset, strides, *array.strides[-2:])


def filter_flat(
    image: NDArray, out: NDArray, footprints: tuple[Footprint, ...], *, flip: bool = False, minus: int = 0
) -> None:
    """Erode an image by one footprint, or open it by two, reading it once.

    Parameters
    ----------
    image : ndarray
        Two axes or more, none empty; any strides.
    out : ndarray
        Same shape and dtype as the image, without overlap; any strides.
    footprints : tuple of Footprint
        One for each pass.
    flip : bool
        Dilate, or close.
    minus : int
        0 writes the result, 1 the image minus the result, 2 the reverse; integers wrap round.
    """
    plan = arrange(image.shape, image.dtype, footprints)
    *_, height, width = plan.inner
    halo = plan.plans[-1].reach_x if len(footprints) == 2 else 0
    array = aligned((plan.size,), image.dtype)
    one, two = plan.passes(image.dtype, flip)
    views = (_rasters(a.transpose(plan.order), plan.batch) for a in (image, out))
    for source, target in zip(*views, strict=True):
        for first in range(0, width, plan.columns):
            last = min(width, first + plan.columns)
            tile = Tile(
                image=source,
                out=target,
                plane_shape=plan.plane_shape,
                planes=math.prod(plan.inner[:-2]),
                height=height,
                width=width,
                first=first,
                last=last,
                left=max(0, first - halo),
                right=min(width, last + halo),
                passes=len(footprints),
                minus=minus,
                margin=plan.margin,
                inputs=plan.inputs,
                input_pitch=plan.input_pitch,
                spare=plan.spare,
            )
            (filter_near if plan.near else filter_tile)(array, tile, one, two)
