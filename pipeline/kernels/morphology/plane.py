"""Compiled erosion and opening of planes by boxes, which read and write each row of an image once.

A few result rows are made at a time. Minima down the columns come first, straight from the rows of the
image, and go to a short buffer. Its rows then become minima along the row: windows grow threefold until
three that overlap cover the box. The last of these steps also subtracts and writes. For an opening it leaves
the eroded rows in a ring buffer instead, from which a second pass takes them while they are in cache.

Every pass is an erosion: a dilation is the erosion of the complement, complemented.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.jit import jit
from pipeline.kernels.morphology.rows import blocks_of, fill, read_row
from pipeline.kernels.morphology.windows import (
    GROUP,
    join,
    minima_of_1,
    minima_of_3,
    minima_of_5,
    minima_of_7,
    minima_of_many,
    write_difference,
    write_minimum,
)


class Rows(NamedTuple):
    """Rows in memory, or a ring buffer of `depth` rows: row y is in slot y mod depth."""

    address: int  # in a plan, bytes after the beginning of the scratch array
    pitch: int  # bytes from slot to slot
    depth: int


class BoxPass(NamedTuple):
    """An erosion of some columns; the buffer holds columns first − reach_x … last + reach_x − 1."""

    reach_y: int
    reach_x: int
    first: int  # columns first … last − 1 are computed
    last: int
    buffer: int  # position in the scratch array of GROUP rows
    margin: int  # elements before the first pixel in a row of the buffer
    pitch: int  # from row to row of the buffer, in elements


class Strip(NamedTuple):
    """Some columns of planes, to be filtered at once."""

    width: int  # of a whole plane
    height: int
    passes: int
    first: BoxPass
    last: BoxPass  # the same if there is one pass
    flip: bool  # complement the input: dilation, closing
    minus: int  # 0: write the result, 1: the image minus the result, 2: the result minus the image
    copied: bool  # whether rows of the input are copied before use
    inputs: Rows  # these copies
    between: Rows  # results of the first of two passes
    joined: int  # position in the scratch array of minima along rows
    spare: int  # position of a row
    highest: np.generic  # the value beyond the border


class Planes(NamedTuple):
    """Layout of three arrays of the same shape: strides in bytes of the planes, the rows and the columns."""

    number: int  # of planes
    shape: NDArray[np.int64]  # of the axes of planes alone
    source: NDArray[np.int64]
    image: NDArray[np.int64]
    out: NDArray[np.int64]


@jit
def _offset(plane: int, x: int, shape: NDArray[np.int64], strides: NDArray[np.int64]) -> int:
    """Return the offset of column x of a plane in bytes."""
    offset = x * strides[shape.size + 1]
    for axis in range(shape.size - 1, -1, -1):
        offset += plane % shape[axis] * strides[axis]
        plane //= shape[axis]
    return offset


@jit
def _find(table: NDArray[np.int64], source: Rows, first: int, count: int, height: int) -> None:
    """Write the addresses of rows first … first + count − 1 to a table."""
    # Beyond the border the outermost row stands in: each window that holds the one holds the other.
    slot = min(max(first, 0), height - 1) % source.depth
    for i in range(count):
        table[i] = source.address + slot * source.pitch
        if 0 <= first + i < height - 1:
            slot = slot + 1 if slot + 1 < source.depth else 0


@jit
def _erode(
    array: NDArray, one: BoxPass, strip: Strip, table: NDArray[np.int64], turn: int
) -> tuple[int, int, int]:
    """Erode a group of rows but for the last join; return where that begins, and its two steps."""
    begin, end = max(0, one.first - one.reach_x), min(strip.width, one.last + one.reach_x)
    at = one.buffer + one.margin
    width, none = end - begin, strip.highest
    if one.reach_y == 0:
        minima_of_1(array, at, one.pitch, table, width, turn, none)
    elif one.reach_y == 1:
        minima_of_3(array, at, one.pitch, table, width, turn, none)
    elif one.reach_y == 2:
        minima_of_5(array, at, one.pitch, table, width, turn, none)
    elif one.reach_y == 3:
        minima_of_7(array, at, one.pitch, table, width, turn, none)
    else:
        minima_of_many(array, at, one.pitch, table, 2 * one.reach_y + 1, width, turn, none)
    rows, run, rest = one.buffer, 1, 2 * one.reach_x
    while rest > 2 * run:
        join(array, strip.joined, rows, run, 2 * run, blocks_of(array, GROUP * one.pitch))
        rows, run, rest = strip.joined, 3 * run, rest - 2 * run
    return rows + one.margin - (begin - one.first + one.reach_x), min(run, rest), rest


@jit
def _copy(
    array: NDArray, strip: Strip, inputs: Rows, corner: int, strides: NDArray[np.int64], done: int, to: int
) -> int:
    """Copy rows done … to − 1 of the source, as far as they exist; return how many are copied then."""
    one = strip.first
    count = min(strip.width, one.last + one.reach_x) - max(0, one.first - one.reach_x)
    to = min(to, strip.height)
    for y in range(done, to):
        slot = (inputs.address - array.ctypes.data + y % inputs.depth * inputs.pitch) // array.itemsize
        read_row(array, slot, corner + y * strides[-2], strides[-1], count)
    return max(done, to)


@jit
def _keep(array: NDArray, strip: Strip, between: Rows, y: int, at: int, near: int, far: int) -> None:
    """Put results of the first pass, complemented, where the second looks for them."""
    one = strip.first
    for i in range(GROUP):
        address = between.address + (y + i) % between.depth * between.pitch
        write_minimum(array, at + i * one.pitch, near, far, 1, address, one.last - one.first)


@jit
def _write(
    array: NDArray,
    wide: NDArray,
    strip: Strip,
    planes: Planes,
    image: int,
    out: int,
    y: int,
    at: int,
    near: int,
    far: int,
) -> None:
    """Write result rows from `y` on; `image` and `out` are the addresses of the first row."""
    one, step = strip.last, planes.image[-1]
    turn = 1 if strip.flip != (strip.passes == 2) else 0
    count = one.last - one.first
    for i in range(min(GROUP, strip.height - y)):
        row = at + i * one.pitch
        target = out + (y + i) * planes.out[-2]
        if strip.minus == 0:
            write_minimum(array, row, near, far, turn, target, count)
            continue
        pixels = image + (y + i) * planes.image[-2]
        if step != array.itemsize:
            read_row(array, strip.spare, pixels, step, count)
            pixels = array.ctypes.data + strip.spare * array.itemsize
        write_difference(array, wide, row, near, far, turn, pixels, target, count, strip.minus)


@jit
def filter_strip(
    array: NDArray, wide: NDArray, strip: Strip, planes: Planes, source: int, image: int, out: int
) -> None:
    """Erode or open columns of all planes.

    Parameters
    ----------
    array : ndarray
        Scratch of the image's dtype; see `strips.plan_strips`.
    wide : ndarray
        Empty, of the dtype of the result.
    strip, planes : Strip, Planes
        What to do, and the layout of the arrays.
    source, image, out : int
        Addresses of the first pixels of the array to filter, of the one to subtract from or to be
        subtracted, and of the result, whose columns are adjacent.
    """
    one, two, passes = strip.first, strip.last, strip.passes
    fill(array, one.buffer, one.buffer + GROUP * one.pitch, strip.highest)
    fill(array, two.buffer, two.buffer + GROUP * two.pitch, strip.highest)
    table = np.empty(2 * max(one.reach_y, two.reach_y) + GROUP, np.int64)
    base, left = array.ctypes.data, max(0, one.first - one.reach_x)
    inputs = Rows(base + strip.inputs.address, strip.inputs.pitch, strip.inputs.depth)
    between = Rows(base + strip.between.address, strip.between.pitch, strip.between.depth)
    skipped = (max(0, two.first - two.reach_x) - one.first) * array.itemsize
    eroded = Rows(between.address + skipped, between.pitch, between.depth)
    for plane in range(planes.number):
        corner = source + _offset(plane, left, planes.shape, planes.source)
        pixels = image + _offset(plane, two.first, planes.shape, planes.image)
        target = out + _offset(plane, two.first, planes.shape, planes.out)
        rows = inputs if strip.copied else Rows(corner, planes.source[-2], strip.height)
        # A literal 0 is a type of its own to numba, for which it would compile all functions once more.
        copied = done = y = 0 * strip.height
        while y < strip.height:
            # Each turn is a group of rows in one of the passes.
            last = passes == 1 or done >= min(strip.height, y + GROUP + two.reach_y)
            if last and passes == 2:
                _find(table, eroded, y - two.reach_y, 2 * two.reach_y + GROUP, strip.height)
                each, turn = two, 0
            else:
                if strip.copied:
                    to = done + GROUP + one.reach_y
                    copied = _copy(array, strip, rows, corner, planes.source, copied, to)
                _find(table, rows, done - one.reach_y, 2 * one.reach_y + GROUP, strip.height)
                each, turn = one, 1 if strip.flip else 0
                done += GROUP
            at, near, far = _erode(array, each, strip, table, turn)
            if last:
                _write(array, wide, strip, planes, pixels, target, y, at, near, far)
                y += GROUP
            else:
                _keep(array, strip, between, done - GROUP, at, near, far)
