"""Compiled passes of morphology with any flat symmetric footprint, which read the image once.

The image is read some rows at a time, and their chords are folded into the result rows that they reach. A
ring buffer holds these until no later input row reaches them. For a second pass (the dilation of an opening)
complete rows are folded into a second ring buffer at once, while they are in cache, and the subtraction
happens as rows leave that one. So there is no array of the image's size between the passes.

References
----------
.. [1] E. R. Urbach and M. H. F. Wilkinson, "Efficient 2-D grayscale morphological transformations with
       arbitrary flat structuring elements", IEEE Transactions on Image Processing 17(1), 2008.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.jit import jit
from pipeline.kernels.morphology.chord_strips import (
    INPUT_ROWS,
    copy_pixels,
    fold,
    make_chords,
    replace_nan,
    subtract_pixels,
)
from pipeline.kernels.morphology.chords import ChordPlan
from pipeline.kernels.morphology.rows import fill, read_row, write_row


class Raster(NamedTuple):
    """An array by its address and strides in bytes, so that one compiled kernel serves all layouts."""

    address: int
    plane_strides: NDArray[np.int64]
    row_stride: int
    step: int  # from column to column


class PlaneRows(NamedTuple):
    """The rows of a plane of an image, likewise."""

    address: int
    row_stride: int
    step: int


class Tile(NamedTuple):
    """Some columns of an image of planes × rows × columns, to be filtered at once.

    Planes are numbered over all axes before the last two. The scratch array holds, in this order, what
    `ChordPlan` lays out, the input rows and a spare one, and the ring buffer of each pass.
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
    minus: int  # 0: write the result, 1: the image minus the result, 2: the result minus the image
    margin: int  # elements before the first column in each input row and each row of the buffers
    inputs: int  # position of the input rows
    input_pitch: int  # from one input row to the next
    spare: int  # position of a row of pixels that are not adjacent in the image


class RowBuffer(NamedTuple):
    """A ring buffer of `depth` result rows for each plane: row y is in slot y mod depth."""

    start: int  # position in the scratch array
    pitch: int  # from slot to slot
    depth: int


class Pass(NamedTuple):
    """An erosion or a dilation."""

    plan: ChordPlan
    buffer: RowBuffer
    lower: bool  # the minimum, else the maximum
    outside: np.generic  # the value beyond the border, which never wins


@jit
def _row(buffer: RowBuffer, plane: int, y: int) -> int:
    """Return the position of result row `y` of a plane."""
    return buffer.start + (plane * buffer.depth + y % buffer.depth) * buffer.pitch


@jit
def _neighbour(plane: int, offsets: NDArray[np.int64], k: int, shape: NDArray[np.int64]) -> int:
    """Return the number of the plane at offsets[k] from a plane, or −1 beyond the border."""
    result, scale = 0, 1
    for axis in range(shape.size - 1, -1, -1):
        index = plane % shape[axis] + offsets[k, axis]
        if index < 0 or index >= shape[axis]:
            return -1
        plane //= shape[axis]
        result += index * scale
        scale *= shape[axis]
    return result


@jit
def _fold_chords(
    array: NDArray, this: Pass, where: NDArray[np.int64], tile: Tile, before: int, y: int, plane: int
) -> None:
    """Fold the chords of the input rows from y on into every result row that they reach."""
    plan, buffer, table = this.plan, this.buffer, this.plan.table
    alone = plan.reach.size == 1
    begin, end = max(-y, 0), min(INPUT_ROWS, tile.height - y)
    for k in range(plan.reach.size):
        to = _neighbour(plane, plan.plane_offsets, k, tile.plane_shape)
        if to < 0:
            continue
        reach = plan.reach[k]
        top = max(y + begin - reach, 0)
        slot = top % buffer.depth
        column = buffer.start + to * buffer.depth * buffer.pitch + before
        for a in range(top, min(y + end + reach, tile.height)):
            at = column + slot * buffer.pitch
            slot = slot + 1 if slot + 1 < buffer.depth else 0
            index = a - y + reach
            first = max(index - 2 * reach, begin)
            last = min(index + 1, end)
            entry = (plan.start[k] + index) * INPUT_ROWS
            source = at
            if alone and (y <= 0 or a >= y + reach):  # nothing is there yet
                source = where[table[plan.start[k] + index, first]]
                first += 1
            fold(array, at, source, where, table, entry + first, entry + last, plan.groups, this.lower)


@jit
def _filter_rows(
    array: NDArray,
    this: Pass,
    where: NDArray[np.int64],
    tile: Tile,
    rows: NDArray[np.int64],
    columns: int,
    y: int,
    plane: int,
) -> None:
    """Fold the input rows from y on, at the positions `rows`, into the buffer."""
    plan = this.plan
    steps = plan.steps
    size = (plan.per_row - plan.single) * plan.strip
    for x in range(0, columns, plan.strip):
        for j in range(max(-y, 0), min(INPUT_ROWS, tile.height - y)):
            if plan.single:
                where[j * plan.per_row] = rows[j] + x
            row, chords = rows[j] - plan.reach_x + x, plan.chords + j * size
            make_chords(array, steps, steps.shape[0], row, chords, this.lower)
        _fold_chords(array, this, where, tile, tile.margin + x, y, plane)


@jit
def plane_of(raster: Raster, shape: NDArray[np.int64], plane: int) -> PlaneRows:
    """Return the rows of a plane of an image."""
    address = raster.address
    for axis in range(shape.size - 1, -1, -1):
        address += plane % shape[axis] * raster.plane_strides[axis]
        plane //= shape[axis]
    return PlaneRows(address, raster.row_stride, raster.step)


@jit
def columns_read(tile: Tile, reach: int) -> tuple[int, int]:
    """Return the first column that the first pass needs, and the end of them."""
    return max(0, tile.left - reach), min(tile.width, tile.right + reach)


@jit
def read_image(
    array: NDArray, image: PlaneRows, y: int, begin: int, end: int, at: int, outside: np.generic
) -> None:
    """Read columns begin … end − 1 of row y of a plane to array[at:]; NaN becomes `outside`."""
    address = image.address + y * image.row_stride + begin * image.step
    if image.step == array.itemsize:
        copy_pixels(array, at, address, end - begin, outside)
    else:
        read_row(array, at, address, image.step, end - begin)
        replace_nan(array, at, end - begin, outside)


@jit
def write_result(
    array: NDArray,
    at: int,
    spare: int,
    image: PlaneRows,
    out: PlaneRows,
    y: int,
    first: int,
    count: int,
    minus: int,
) -> None:
    """Write `count` results at `at`, or their difference from the image, from column `first` of row y on."""
    target = out.address + y * out.row_stride + first * out.step
    source = image.address + y * image.row_stride + first * image.step
    if minus and image.step == array.itemsize and out.step == array.itemsize:
        subtract_pixels(array, at, source, target, count, minus == 2)
    else:
        if minus:
            read_row(array, spare, source, image.step, count)
            for i in range(count):
                one, other = array[spare + i], array[at + i]
                array[at + i] = one - other if minus == 1 else other - one
        write_row(array, at, target, out.step, count)


@jit
def _as_input(array: NDArray, tile: Tile, one: Pass, two: Pass, plane: int, y: int) -> int:
    """Prepare a complete row of the first pass as input; return the position of its column `tile.first`."""
    at = _row(one.buffer, plane, y) + tile.margin
    end = at + tile.right - tile.left
    fill(array, at - two.plan.reach_x, at, two.outside)
    fill(array, end, end + two.plan.reach_x, two.outside)
    return at + tile.first - tile.left


@jit
def _write(array: NDArray, tile: Tile, this: Pass, y: int, rows: int) -> None:
    """Write `rows` result rows from `y` on, and reset their slots."""
    count = tile.last - tile.first
    for plane in range(tile.planes):
        image, out = (
            plane_of(tile.image, tile.plane_shape, plane),
            plane_of(tile.out, tile.plane_shape, plane),
        )
        for a in range(max(y, 0), min(y + rows, tile.height)):
            row = _row(this.buffer, plane, a)
            write_result(array, row + tile.margin, tile.spare, image, out, a, tile.first, count, tile.minus)
            _reset(array, this, row)


@jit
def _reset(array: NDArray, this: Pass, row: int) -> None:
    """Prepare a row of a buffer for another result."""
    if this.plan.reach.size > 1:
        fill(array, row, row + this.buffer.pitch, this.outside)


@jit
def filter_tile(array: NDArray, tile: Tile, one: Pass, two: Pass) -> None:
    """Filter columns `tile.first` … `tile.last` − 1, in one pass or two.

    `two` is not used if `tile.passes` is 1. The scratch array has the image's dtype.
    """
    fill(array, 0, array.size, one.outside)
    rows = np.empty(INPUT_ROWS, np.int64)
    where_one, where_two = one.plan.where.copy(), two.plan.where.copy()
    begin, end = columns_read(tile, one.plan.reach_x)
    delay = one.plan.reach_y
    if tile.passes == 2:
        delay += two.plan.reach_y
        fill(array, two.buffer.start, array.size, two.outside)
    for y in range(0, tile.height + delay, INPUT_ROWS):
        if y < tile.height:
            for plane in range(tile.planes):
                image = plane_of(tile.image, tile.plane_shape, plane)
                for j in range(min(INPUT_ROWS, tile.height - y)):
                    rows[j] = tile.inputs + j * tile.input_pitch + tile.margin
                    at = rows[j] + begin - tile.left
                    read_image(array, image, y + j, begin, end, at, one.outside)
                _filter_rows(array, one, where_one, tile, rows, tile.right - tile.left, y, plane)
        done = y - one.plan.reach_y
        if tile.passes == 2 and done + INPUT_ROWS > 0 and done < tile.height:
            for plane in range(tile.planes):
                present = range(max(-done, 0), min(INPUT_ROWS, tile.height - done))
                for j in present:
                    rows[j] = _as_input(array, tile, one, two, plane, done + j)
                _filter_rows(array, two, where_two, tile, rows, tile.last - tile.first, done, plane)
                for j in present:
                    _reset(array, one, _row(one.buffer, plane, done + j))
        if tile.passes == 2:
            _write(array, tile, two, y - delay, INPUT_ROWS)
        else:
            _write(array, tile, one, y - delay, INPUT_ROWS)
