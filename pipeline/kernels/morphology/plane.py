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
    join,
    rows_minimum_1,
    rows_minimum_2,
    rows_minimum_4,
    rows_minimum_8,
    write_difference,
    write_minimum,
)

GROUP = 8  # result rows at a time


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
    fold: int  # rows that the minima down columns are computed for at once
    buffer: int  # position in the scratch array of GROUP rows
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
    at = one.buffer + begin - (one.first - one.reach_x)
    length, width, none = 2 * one.reach_y + 1, end - begin, strip.highest
    for i in range(0, GROUP, one.fold):
        row = at + i * one.pitch
        if one.fold == 1:
            rows_minimum_1(array, row, one.pitch, table, i, length, width, turn, none)
        elif one.fold == 2:
            rows_minimum_2(array, row, one.pitch, table, i, length, width, turn, none)
        elif one.fold == 4:
            rows_minimum_4(array, row, one.pitch, table, i, length, width, turn, none)
        else:
            rows_minimum_8(array, row, one.pitch, table, i, length, width, turn, none)
    at, run, rest = one.buffer, 1, 2 * one.reach_x
    while rest > 2 * run:
        join(array, strip.joined, at, run, 2 * run, blocks_of(array, GROUP * one.pitch))
        at, run, rest = strip.joined, 3 * run, rest - 2 * run
    return at, min(run, rest), rest


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
def _filter_plane(
    array: NDArray,
    wide: NDArray,
    table: NDArray[np.int64],
    strip: Strip,
    planes: Planes,
    source: int,
    image: int,
    out: int,
) -> None:
    """Filter a strip of one plane, whose arrays begin at three addresses."""
    one, two, size = strip.first, strip.last, array.itemsize
    base = array.ctypes.data
    turn = 1 if strip.flip else 0
    rows = Rows(source, planes.source[-2], strip.height)
    if strip.copied:
        rows = Rows(base + strip.inputs.address, strip.inputs.pitch, strip.inputs.depth)
    between = Rows(base + strip.between.address, strip.between.pitch, strip.between.depth)
    begin = max(0, two.first - two.reach_x) - one.first
    seen = Rows(between.address + begin * size, between.pitch, between.depth)
    at = near = far = copied = done = 0
    for y in range(0, strip.height, GROUP):
        need = y + 1 if strip.passes == 1 else min(strip.height, y + GROUP + two.reach_y)
        while done < need:
            if strip.copied:
                to = done + GROUP + one.reach_y
                copied = _copy(array, strip, rows, source, planes.source, copied, to)
            _find(table, rows, done - one.reach_y, 2 * one.reach_y + GROUP, strip.height)
            at, near, far = _erode(array, one, strip, table, turn)
            if strip.passes == 2:
                _keep(array, strip, between, done, at, near, far)
            done += GROUP
        if strip.passes == 2:
            _find(table, seen, y - two.reach_y, 2 * two.reach_y + GROUP, strip.height)
            at, near, far = _erode(array, two, strip, table, 0)
        _write(array, wide, strip, planes, image, out, y, at, near, far)


@jit
def filter_strip(
    array: NDArray, wide: NDArray, strip: Strip, planes: Planes, source: int, image: int, out: int
) -> None:
    """Erode or open columns of all planes.

    Parameters
    ----------
    array : ndarray
        Scratch of the image's dtype; see `box.arrange`.
    wide : ndarray
        Empty, of the dtype of the result.
    strip, planes : Strip, Planes
        What to do, and the layout of the arrays.
    source, image, out : int
        Addresses of the first pixels of the array to filter, of the one to subtract from or to be
        subtracted, and of the result, whose columns are adjacent.
    """
    one, two, shape = strip.first, strip.last, planes.shape
    for each in (one, two):
        fill(array, each.buffer, each.buffer + GROUP * each.pitch, strip.highest)
    table = np.empty(2 * max(one.reach_y, two.reach_y) + GROUP, np.int64)
    left = max(0, one.first - one.reach_x)
    for plane in range(np.prod(shape)):
        _filter_plane(
            array,
            wide,
            table,
            strip,
            planes,
            source + _offset(plane, left, shape, planes.source),
            image + _offset(plane, two.first, shape, planes.image),
            out + _offset(plane, two.first, shape, planes.out),
        )
