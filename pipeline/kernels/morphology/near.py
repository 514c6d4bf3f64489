"""Compiled passes of morphology with small footprints, row by row.

Ring buffers hold the last input rows of each pass and their runs (see `chords`). A result row is the minimum
over the runs that its footprint covers, so it is made at once, with a single store. That takes two loads for
each chord, which is less work than storing chords and partial results as long as there are few.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.jit import jit
from pipeline.kernels.morphology.chord_strips import FOLD_BYTES, fold, make_chords
from pipeline.kernels.morphology.passes import (
    RowBuffer,
    Tile,
    columns_read,
    plane_of,
    read_image,
    write_result,
)
from pipeline.kernels.morphology.rows import fill
from pipeline.kernels.vectors import block_length


class NearPlan(NamedTuple):
    """A footprint of two axes for the kernel, as the runs that cover it.

    Each slot of the ring buffer has an input row and then its levels of runs.
    """

    reach_y: int  # reach along the two axes
    reach_x: int
    rows: int  # input rows taken at a time
    slot_rows: int  # rows in a slot
    steps: NDArray[np.int64]  # (levels, 6): as in `ChordPlan`, all positions relative to the input row
    dy: NDArray[np.int64]  # for each run, its input row, counted from the first that the footprint reaches
    offset: NDArray[np.int64]  # for each run, its position relative to the result's column in that row
    numbers: NDArray[np.int64]  # 0, 1, …
    end: int  # of the scratch beside rows and buffers


def buffer_rows(half: NDArray[np.int64]) -> int:
    """Return the rows of the ring buffer of a footprint with these half-widths."""
    return len(half) * (2 * int(half.max()) + 1).bit_length()


def plan_near(
    half: NDArray[np.int64], reach: tuple[int, ...], count: int, pitch: int, dtype: np.dtype
) -> NearPlan:
    """Plan a footprint of two axes.

    Parameters
    ----------
    half, reach, dtype
        As in `plan_chords`.
    count : int
        Columns to filter at once.
    pitch : int
        From an input row to its first level, and from level to level.
    """
    level = np.floor(np.log2(2 * np.maximum(half, 0) + 1)).astype(np.int64)
    blocks = -(-(count + 2 * reach[1]) // block_length(dtype))
    steps = [((k + 1) * pitch, k * pitch, k * pitch + 2**k, blocks, 1, 1) for k in range(level.max())]
    runs = {
        (dy, k * pitch + start)
        for dy, (w, k) in enumerate(zip(half.tolist(), level.tolist(), strict=True))
        for start in (-w, w + 1 - 2**k)
        if w >= 0
    }
    dys, offsets = np.array(sorted(runs), dtype=np.int64).T
    return NearPlan(
        reach_y=reach[0],
        reach_x=reach[1],
        rows=1,
        slot_rows=1 + len(steps),
        steps=np.array(steps, dtype=np.int64).reshape(-1, 6),
        dy=np.ascontiguousarray(dys),
        offset=np.ascontiguousarray(offsets),
        numbers=np.arange(len(dys)),
        end=0,
    )


class NearPass(NamedTuple):
    """An erosion or a dilation, as `Pass`."""

    plan: NearPlan
    buffer: RowBuffer
    lower: bool
    outside: np.generic


@jit
def _slot(this: NearPass, slot: int) -> int:
    """Return the position of a slot of the ring buffer."""
    return this.buffer.start + slot * (this.buffer.pitch * this.plan.slot_rows)


@jit
def _after(this: NearPass, slot: int) -> int:
    """Return the slot of the next row."""
    return slot + 1 if slot + 1 < this.buffer.depth else 0


@jit
def _make_runs(array: NDArray, this: NearPass, at: int) -> None:
    """Compute the runs of an input row of which column 0 is at `at`."""
    start = at - this.plan.reach_x
    make_chords(array, this.plan.steps, this.plan.steps.shape[0], start, start, this.lower)


@jit
def _result(
    array: NDArray,
    this: NearPass,
    height: int,
    positions: NDArray[np.int64],
    y: int,
    slot: int,
    column: int,
    at: int,
    count: int,
) -> None:
    """Compute `count` pixels of result row `y` at `at`; the first is in position `column` of each row.

    `slot` is that of the last input row that the footprint reaches.
    """
    dys, offsets = this.plan.dy, this.plan.offset
    depth, start, size = this.buffer.depth, this.buffer.start, this.buffer.pitch * this.plan.slot_rows
    top = y - this.plan.reach_y
    first = _after(this, slot)
    found = 0
    for i in range(dys.size):
        if 0 <= top + dys[i] < height:
            k = first + dys[i]
            k = k - depth if k >= depth else k
            positions[found] = start + k * size + column + offsets[i]
            found += 1
    groups = (count * array.itemsize + FOLD_BYTES - 1) // FOLD_BYTES
    fold(array, at, positions[0], positions, this.plan.numbers, 1, found, groups, this.lower)


@jit
def filter_near(array: NDArray, tile: Tile, one: NearPass, two: NearPass) -> None:
    """Filter columns `tile.first` … `tile.last` − 1, in one pass or two; see `filter_tile`."""
    fill(array, 0, array.size, one.outside)
    positions = np.empty(max(one.plan.dy.size, two.plan.dy.size), np.int64)
    inner = tile.margin + tile.first - tile.left
    delay = one.plan.reach_y + (two.plan.reach_y if tile.passes == 2 else 0)
    result, count = tile.inputs + tile.margin, tile.last - tile.first
    image, out = plane_of(tile.image, tile.plane_shape, 0), plane_of(tile.out, tile.plane_shape, 0)
    begin, end = columns_read(tile, one.plan.reach_x)
    slot_one, slot_two = 0, -one.plan.reach_y % two.buffer.depth
    for y in range(tile.height + delay):
        if y < tile.height:
            at = _slot(one, slot_one) + tile.margin
            read_image(array, image, y, begin, end, at + begin - tile.left, one.outside)
            _make_runs(array, one, at)
        done = y - one.plan.reach_y
        if tile.passes == 2:
            if 0 <= done < tile.height:
                at, width = _slot(two, slot_two) + tile.margin, tile.right - tile.left
                _result(array, one, tile.height, positions, done, slot_one, tile.margin, at, width)
                fill(array, at - two.plan.reach_x, at, two.outside)
                fill(array, at + width, at + width + two.plan.reach_x, two.outside)
                _make_runs(array, two, at + tile.first - tile.left)
            done -= two.plan.reach_y
        if 0 <= done < tile.height:
            if tile.passes == 2:
                _result(array, two, tile.height, positions, done, slot_two, inner, result, count)
            else:
                _result(array, one, tile.height, positions, done, slot_one, tile.margin, result, count)
            write_result(array, result, tile.spare, image, out, done, tile.first, count, tile.minus)
        slot_one, slot_two = _after(one, slot_one), _after(two, slot_two)
