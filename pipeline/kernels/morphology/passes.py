"""Erosion, dilation, opening, closing and top-hats with any flat symmetric footprint, reading once.

The image is read `INPUT_ROWS` rows at a time. Their chords are folded into result rows that are still open,
which a ring buffer holds; a row that no later input reaches is complete. For a second pass (the dilation of
an opening) complete rows are the input of a second buffer at once, while in cache, and the subtraction
happens as rows leave that one. There is no array of the image's size in between.

Everything is an erosion: a dilation is the erosion of the complement, complemented.

References
----------
.. [1] E. R. Urbach and M. H. F. Wilkinson, "Efficient 2-D grayscale morphological transformations with
       arbitrary flat structuring elements", IEEE Transactions on Image Processing 17(1), 2008.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.jit import jit
from pipeline.kernels.morphology.chords import INPUT_ROWS, ChordPlan
from pipeline.kernels.morphology.rows import (
    blocks_of,
    complement,
    fill,
    minimum,
    read_pixels,
    read_row,
    subtract,
    write_row,
)

HALF = INPUT_ROWS // 2


class Raster(NamedTuple):
    """An array of any strides, without its dtype and layout, so that one compiled kernel serves all."""

    address: int
    lead_strides: NDArray[np.int64]
    row_stride: int
    step: int


class Tile(NamedTuple):
    """What to compute: some columns of an image of lead positions × rows × columns.

    The scratch array holds in this order, in elements: what a `ChordPlan` lays out, `INPUT_ROWS` rows of
    input, and the buffer of each pass.
    """

    image: Raster
    out: Raster
    shape: NDArray[np.int64]  # the lead axes
    leads: int  # positions on them
    height: int
    width: int
    first: int  # columns first … last − 1 are the output
    last: int
    left: int  # columns left … right − 1 are what the first pass computes
    right: int
    passes: int
    flip: bool  # complement the input: dilation, closing
    minus: int  # 0: give the result, 1: the image minus it, 2: it minus the image
    margin: int  # columns before the first in each row of the input and the buffers
    inputs: int
    input_pitch: int
    highest: np.generic  # what counts outside


class RowBuffer(NamedTuple):
    """The result rows that are still open: `depth` for each lead position, row y at slot y mod depth."""

    start: int
    pitch: int
    depth: int


@jit
def _row(buffer: RowBuffer, lead: int, y: int) -> int:
    return buffer.start + (lead * buffer.depth + y % buffer.depth) * buffer.pitch


@jit
def _make_chords(array: NDArray, plan: ChordPlan, row: int, target: int) -> None:
    """Make the chords of the input row that begins `reach_x` columns before the strip, at `row`."""
    below, step = row, 1
    for level in range(plan.blocks.size):
        at = plan.levels + level * plan.pitch
        minimum(array, at, (below, below + step), plan.blocks[level])
        below, step = at, 2 * step
    if plan.single:
        minimum(array, target, (row + plan.reach_x,), plan.strip_blocks)
    for i in range(plan.single, plan.left.size):
        minimum(array, target + i * plan.strip, (plan.left[i], plan.right[i]), plan.strip_blocks)


@jit
def _neighbour(lead: int, offsets: NDArray[np.int64], shape: NDArray[np.int64]) -> int:
    """Return the lead position at `offsets` from `lead`, or −1 outside."""
    result, scale = 0, 1
    for axis in range(shape.size - 1, -1, -1):
        place = lead % shape[axis] + offsets[axis]
        if place < 0 or place >= shape[axis]:
            return -1
        lead //= shape[axis]
        result += place * scale
        scale *= shape[axis]
    return result


@jit
def _fold_chords(
    array: NDArray, plan: ChordPlan, buffer: RowBuffer, tile: Tile, before: int, y: int, lead: int
) -> None:
    """Take the chords of input rows y … y + INPUT_ROWS − 1 into every result row that they touch."""
    for k in range(plan.reach.size):
        to = _neighbour(lead, plan.leads[k], tile.shape)
        if to < 0:
            continue
        top, bottom = y - plan.reach[k], y + INPUT_ROWS + plan.reach[k]
        first = max(top, 0)
        slot = first % buffer.depth
        column = buffer.start + to * buffer.depth * buffer.pitch + before
        for a in range(first, min(bottom, tile.height)):
            at = column + slot * buffer.pitch
            slot = slot + 1 if slot + 1 < buffer.depth else 0
            t = plan.table[plan.start[k] + a - top]
            if a < top + HALF:  # only the first input rows reach so far up
                minimum(array, at, (at, t[0], t[1], t[2], t[3]), plan.strip_blocks)
            elif a >= bottom - HALF:  # and only the last ones so far down
                minimum(array, at, (at, t[4], t[5], t[6], t[7]), plan.strip_blocks)
            else:
                sources = (at, t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7])
                minimum(array, at, sources, plan.strip_blocks)


@jit
def _erode(
    array: NDArray,
    plan: ChordPlan,
    buffer: RowBuffer,
    tile: Tile,
    rows: NDArray[np.int64],
    columns: int,
    y: int,
    lead: int,
) -> None:
    """Fold input rows from `y` on, that stand at `rows`, −1 for one outside the image, into the buffer."""
    size = plan.left.size * plan.strip
    for x in range(0, columns, plan.strip):
        for j in range(INPUT_ROWS):
            if rows[j] < 0:
                fill(array, plan.chords + j * size, plan.chords + (j + 1) * size, tile.highest)
            else:
                _make_chords(array, plan, rows[j] - plan.reach_x + x, plan.chords + j * size)
        _fold_chords(array, plan, buffer, tile, tile.margin + x, y, lead)


@jit
def _address(raster: Raster, shape: NDArray[np.int64], lead: int, y: int, x: int) -> int:
    address = raster.address + y * raster.row_stride + x * raster.step
    for axis in range(shape.size - 1, -1, -1):
        address += lead % shape[axis] * raster.lead_strides[axis]
        lead //= shape[axis]
    return address


@jit
def _read(array: NDArray, tile: Tile, reach: int, lead: int, y: int, j: int) -> int:
    """Read row y of the image as input row j; return where its column `tile.left` stands there."""
    row = tile.inputs + j * tile.input_pitch
    begin, end = max(0, tile.left - reach), min(tile.width, tile.right + reach)
    at = row + tile.margin + begin - tile.left
    address = _address(tile.image, tile.shape, lead, y, begin)
    read_pixels(array, at, address, tile.image.step, end - begin, tile.flip, tile.highest)
    fill(array, row, at, tile.highest)
    fill(array, at + end - begin, row + tile.input_pitch, tile.highest)
    return row + tile.margin


@jit
def _hand_on(array: NDArray, tile: Tile, buffer: RowBuffer, lead: int, y: int) -> int:
    """Make a complete row of the first pass the input of the second; return where `tile.first` stands."""
    row = _row(buffer, lead, y)
    at, count = row + tile.margin, tile.right - tile.left
    complement(array, at, blocks_of(array, count))
    fill(array, at + count, row + buffer.pitch, tile.highest)
    return at + tile.first - tile.left


@jit
def _write(array: NDArray, tile: Tile, buffer: RowBuffer, y: int, flipped: bool) -> None:
    """Write the result rows from `y` on that lie in the image, and open their slots again."""
    count = tile.last - tile.first
    for lead in range(tile.leads):
        for a in range(max(y, 0), min(y + INPUT_ROWS, tile.height)):
            row = _row(buffer, lead, a)
            at = row + tile.margin
            if flipped:
                complement(array, at, blocks_of(array, count))
            if tile.minus:
                address = _address(tile.image, tile.shape, lead, a, tile.first)
                read_row(array, tile.inputs, address, tile.image.step, count)
                subtract(array[at : at + count], array[tile.inputs : tile.inputs + count], tile.minus)
            write_row(array, at, _address(tile.out, tile.shape, lead, a, tile.first), tile.out.step, count)
            fill(array, row, row + buffer.pitch, tile.highest)


@jit
def filter_tile(
    array: NDArray, tile: Tile, one: ChordPlan, two: ChordPlan, first: RowBuffer, second: RowBuffer
) -> None:
    """Filter columns `tile.first` … `tile.last` − 1, with a footprint and a buffer for each pass.

    The second's are not looked at where `tile.passes` is 1. The scratch array is of the image's dtype.
    """
    fill(array, 0, array.size, tile.highest)
    rows = np.empty(INPUT_ROWS, np.int64)
    last_buffer, delay = first, one.reach_y
    if tile.passes == 2:
        last_buffer, delay = second, one.reach_y + two.reach_y
    for y in range(0, tile.height + delay, INPUT_ROWS):
        if y < tile.height:
            for lead in range(tile.leads):
                for j in range(INPUT_ROWS):
                    rows[j] = _read(array, tile, one.reach_x, lead, y + j, j) if y + j < tile.height else -1
                _erode(array, one, first, tile, rows, tile.right - tile.left, y, lead)
        done = y - one.reach_y
        if tile.passes == 2 and done + INPUT_ROWS > 0 and done < tile.height:
            for lead in range(tile.leads):
                for j in range(INPUT_ROWS):
                    inside = 0 <= done + j < tile.height
                    rows[j] = _hand_on(array, tile, first, lead, done + j) if inside else -1
                _erode(array, two, second, tile, rows, tile.last - tile.first, done, lead)
                for j in range(INPUT_ROWS):
                    row = _row(first, lead, done + j)
                    fill(array, row, row + first.pitch, tile.highest)
        _write(array, tile, last_buffer, y - delay, tile.flip != (tile.passes == 2))
