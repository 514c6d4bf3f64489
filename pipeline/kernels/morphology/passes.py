"""Compiled passes of morphology with any flat symmetric footprint, which read the image once.

The image is read `INPUT_ROWS` rows at a time, and their chords are folded into the result rows that they
reach. A ring buffer holds these until no later input row reaches them. For a second pass (the dilation of an
opening) complete rows are folded into a second ring buffer at once, while they are in cache, and the
subtraction happens as rows leave that one. So there is no array of the image's size between the passes.

Every pass is an erosion: a dilation is the erosion of the complement, complemented.

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
    """An array by its address and strides in bytes, so that one compiled kernel serves all layouts."""

    address: int
    plane_strides: NDArray[np.int64]
    row_stride: int
    step: int  # from column to column


class Tile(NamedTuple):
    """Some columns of an image of planes × rows × columns, to be filtered at once.

    Planes are numbered over all axes before the last two. The scratch array holds, in this order, what
    `ChordPlan` lays out, `INPUT_ROWS` input rows, and the ring buffer of each pass.
    """

    image: Raster
    out: Raster
    plane_shape: NDArray[np.int64]  # lengths of the axes before the last two
    planes: int  # their product
    height: int
    width: int
    first: int  # columns first … last − 1 are the output
    last: int
    left: int  # columns left … right − 1 are what the first pass computes
    right: int
    passes: int
    flip: bool  # complement the input: dilation, closing
    minus: int  # 0: write the result, 1: the image minus the result, 2: the result minus the image
    margin: int  # elements before the first column in each input row and each row of the buffers
    inputs: int  # position of the input rows
    input_pitch: int  # from one input row to the next
    highest: np.generic  # the value beyond the border


class RowBuffer(NamedTuple):
    """A ring buffer of `depth` result rows for each plane: row y is in slot y mod depth."""

    start: int  # position in the scratch array
    pitch: int  # from slot to slot
    depth: int


@jit
def _row(buffer: RowBuffer, plane: int, y: int) -> int:
    """Return the position of result row `y` of a plane."""
    return buffer.start + (plane * buffer.depth + y % buffer.depth) * buffer.pitch


@jit
def _make_chords(array: NDArray, plan: ChordPlan, row: int, target: int) -> None:
    """Compute the chords of an input row at `row`, which begins `reach_x` columns before the strip."""
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
def _neighbour(plane: int, offsets: NDArray[np.int64], shape: NDArray[np.int64]) -> int:
    """Return the number of the plane at `offsets` from a plane, or −1 beyond the border."""
    result, scale = 0, 1
    for axis in range(shape.size - 1, -1, -1):
        index = plane % shape[axis] + offsets[axis]
        if index < 0 or index >= shape[axis]:
            return -1
        plane //= shape[axis]
        result += index * scale
        scale *= shape[axis]
    return result


@jit
def _fold_chords(
    array: NDArray, plan: ChordPlan, buffer: RowBuffer, tile: Tile, before: int, y: int, plane: int
) -> None:
    """Fold the chords of input rows y … y + INPUT_ROWS − 1 into every result row that they reach."""
    for k in range(plan.reach.size):
        to = _neighbour(plane, plan.plane_offsets[k], tile.plane_shape)
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
    plane: int,
) -> None:
    """Fold input rows y and on, at the positions `rows`, into the buffer; −1 is for beyond the border."""
    size = plan.left.size * plan.strip
    for x in range(0, columns, plan.strip):
        for j in range(INPUT_ROWS):
            if rows[j] < 0:
                fill(array, plan.chords + j * size, plan.chords + (j + 1) * size, tile.highest)
            else:
                _make_chords(array, plan, rows[j] - plan.reach_x + x, plan.chords + j * size)
        _fold_chords(array, plan, buffer, tile, tile.margin + x, y, plane)


@jit
def _address(raster: Raster, shape: NDArray[np.int64], plane: int, y: int, x: int) -> int:
    """Return the address of a pixel."""
    address = raster.address + y * raster.row_stride + x * raster.step
    for axis in range(shape.size - 1, -1, -1):
        address += plane % shape[axis] * raster.plane_strides[axis]
        plane //= shape[axis]
    return address


@jit
def _read(array: NDArray, tile: Tile, reach: int, plane: int, y: int, j: int) -> int:
    """Read row y of the image as input row j; return the position of its column `tile.left`."""
    row = tile.inputs + j * tile.input_pitch
    begin, end = max(0, tile.left - reach), min(tile.width, tile.right + reach)
    at = row + tile.margin + begin - tile.left
    address = _address(tile.image, tile.plane_shape, plane, y, begin)
    read_pixels(array, at, address, tile.image.step, end - begin, tile.flip, tile.highest)
    fill(array, row, at, tile.highest)
    fill(array, at + end - begin, row + tile.input_pitch, tile.highest)
    return row + tile.margin


@jit
def _as_input(array: NDArray, tile: Tile, buffer: RowBuffer, plane: int, y: int) -> int:
    """Prepare a complete row of the first pass as input; return the position of its column `tile.first`."""
    row = _row(buffer, plane, y)
    at, count = row + tile.margin, tile.right - tile.left
    complement(array, at, blocks_of(array, count))
    fill(array, at + count, row + buffer.pitch, tile.highest)
    return at + tile.first - tile.left


@jit
def _write(array: NDArray, tile: Tile, buffer: RowBuffer, y: int, flipped: bool) -> None:
    """Write INPUT_ROWS result rows from `y` on, and reset their slots."""
    count = tile.last - tile.first
    for plane in range(tile.planes):
        for a in range(max(y, 0), min(y + INPUT_ROWS, tile.height)):
            row = _row(buffer, plane, a)
            at = row + tile.margin
            if flipped:
                complement(array, at, blocks_of(array, count))
            if tile.minus:
                address = _address(tile.image, tile.plane_shape, plane, a, tile.first)
                read_row(array, tile.inputs, address, tile.image.step, count)
                subtract(array[at : at + count], array[tile.inputs : tile.inputs + count], tile.minus)
            address = _address(tile.out, tile.plane_shape, plane, a, tile.first)
            write_row(array, at, address, tile.out.step, count)
            fill(array, row, row + buffer.pitch, tile.highest)


@jit
def filter_tile(
    array: NDArray, tile: Tile, one: ChordPlan, two: ChordPlan, first: RowBuffer, second: RowBuffer
) -> None:
    """Filter columns `tile.first` … `tile.last` − 1, with a footprint and a buffer for each pass.

    `two` and `second` are not used if `tile.passes` is 1. The scratch array has the image's dtype.
    """
    fill(array, 0, array.size, tile.highest)
    rows = np.empty(INPUT_ROWS, np.int64)
    last_buffer, delay = first, one.reach_y
    if tile.passes == 2:
        last_buffer, delay = second, one.reach_y + two.reach_y
    for y in range(0, tile.height + delay, INPUT_ROWS):
        if y < tile.height:
            for plane in range(tile.planes):
                for j in range(INPUT_ROWS):
                    rows[j] = _read(array, tile, one.reach_x, plane, y + j, j) if y + j < tile.height else -1
                _erode(array, one, first, tile, rows, tile.right - tile.left, y, plane)
        done = y - one.reach_y
        if tile.passes == 2 and done + INPUT_ROWS > 0 and done < tile.height:
            for plane in range(tile.planes):
                for j in range(INPUT_ROWS):
                    inside = 0 <= done + j < tile.height
                    rows[j] = _as_input(array, tile, first, plane, done + j) if inside else -1
                _erode(array, two, second, tile, rows, tile.last - tile.first, done, plane)
                for j in range(INPUT_ROWS):
                    row = _row(first, plane, done + j)
                    fill(array, row, row + first.pitch, tile.highest)
        _write(array, tile, last_buffer, y - delay, tile.flip != (tile.passes == 2))
