"""Erosions and openings by boxes, one axis at a time: the cost is free of the box's size.

An opening by a box is, in this order, a running minimum along each axis but the last, a minimum and a
maximum along the last, and a maximum along each of the others again. Each runs in place in the array that
is returned, so no other is needed. A maximum is the minimum of the complement.

References
----------
.. [1] M. van Herk, "A fast algorithm for local minimum and maximum filters on rectangular and octagonal
       kernels", Pattern Recognition Letters 13(7), 1992.
.. [2] J. Gil and M. Werman, "Computing 2-D min, median, and max filters", IEEE Transactions on Pattern
       Analysis and Machine Intelligence 15(5), 1993.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.dtypes import highest_value
from pipeline.kernels.jit import jit
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
from pipeline.kernels.vectors import BLOCK, aligned, block_length

# Rows are best read whole, as they lie in memory, while two groups of them stay in cache.
ROW_BYTES = 1 << 13
GROUP_BYTES = 1 << 21


class AxisPass(NamedTuple):
    """One way through C-contiguous arrays of leads × height × columns. Addresses are those of pixels."""

    source: int
    target: int
    image: int  # what to subtract from or take away, where `minus` is set
    leads: int
    height: int
    columns: int
    flip: bool  # maximum instead of minimum
    minus: int  # 1: the image minus the result, 2: the reverse
    highest: np.generic  # what counts outside


@jit
def _give(array: NDArray, at: int, job: AxisPass, offset: int, count: int, flip: bool, spare: int) -> None:
    """Write a row of results, complemented again, and minus the image where that is wanted."""
    if flip:
        complement(array, at, blocks_of(array, count))
    if job.minus:
        read_row(array, spare, job.image + offset, array.itemsize, count)
        subtract(array[at : at + count], array[spare : spare + count], job.minus)
    write_row(array, at, job.target + offset, array.itemsize, count)


@jit
def _window(array: NDArray, at: int, columns: int, reach: int) -> None:
    """Replace the row that begins `reach` elements after `at` by its running minima, from `at` on.

    Runs of 2ᵏ pixels double until two overlapping ones make the window.
    """
    run = 1
    while 2 * run <= 2 * reach + 1:
        minimum(array, at, (at, at + run), blocks_of(array, columns + 2 * reach - run))
        run *= 2
    rest = 2 * reach + 1 - run
    if rest > 0:
        minimum(array, at, (at, at + rest), blocks_of(array, columns))


@jit
def _along_rows(array: NDArray, job: AxisPass, one: int, two: int, passes: int, spare: int) -> None:
    """Take the minimum over `one` pixels before and after each in its row, then the maximum over `two`."""
    count = job.columns
    for row in range(job.leads * job.height):
        offset = row * count * array.itemsize
        at = two + one
        read_pixels(array, at, job.source + offset, array.itemsize, count, job.flip, job.highest)
        fill(array, two, at, job.highest)
        fill(array, at + count, spare, job.highest)
        _window(array, two, count, one)
        at = two
        if passes == 2:
            complement(array, two, blocks_of(array, count))
            fill(array, 0, two, job.highest)
            fill(array, two + count, spare, job.highest)
            _window(array, 0, count, two)
            at = 0
        _give(array, at, job, offset, count, job.flip != (passes == 2), spare)


@jit
def _group(
    array: NDArray, at: int, job: AxisPass, corner: int, first: int, length: int, strip: int, count: int
) -> None:
    """Read rows `first` … of one strip into a group of `length` rows; those outside the image never win."""
    stride = job.columns * array.itemsize
    for i in range(length):
        row = at + i * strip
        if 0 <= first + i < job.height:
            address = job.source + corner + (first + i) * stride
            read_pixels(array, row, address, array.itemsize, count, job.flip, job.highest)
        else:
            fill(array, row, row + strip, job.highest)


@jit
def _run_upwards(array: NDArray, at: int, length: int, strip: int) -> None:
    for i in range(length - 2, -1, -1):
        row = at + i * strip
        minimum(array, row, (row, row + strip), blocks_of(array, strip))


@jit
def _along_columns(array: NDArray, job: AxisPass, reach: int, strip: int) -> None:
    """Take the minimum over `reach` pixels above and below each.

    Rows are cut into groups as long as the window, which then is the end of one group and the beginning
    of the next: two running minima serve every window.
    """
    length = 2 * reach + 1
    stride = job.columns * array.itemsize
    blocks = blocks_of(array, strip)
    prefix = 2 * length * strip
    for lead in range(job.leads):
        for x in range(0, job.columns, strip):
            count = min(strip, job.columns - x)
            corner = lead * job.height * stride + x * array.itemsize
            ends, begins = 0, length * strip
            _group(array, ends, job, corner, -reach, length, strip, count)
            _run_upwards(array, ends, length, strip)
            for top in range(0, job.height, length):
                # Read the next group before its rows are written over.
                _group(array, begins, job, corner, top + length - reach, length, strip, count)
                fill(array, prefix, prefix + strip, job.highest)
                for i in range(min(length, job.height - top)):
                    row = ends + i * strip
                    minimum(array, row, (row, prefix), blocks)
                    _give(array, row, job, corner + (top + i) * stride, count, job.flip, prefix + strip)
                    minimum(array, prefix, (prefix, begins + i * strip), blocks)
                _run_upwards(array, begins, length, strip)
                ends, begins = begins, ends


def _clip(shape: tuple[int, ...], reach: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(min(r, n - 1) for r, n in zip(reach, shape, strict=True))


def _strip(shape: tuple[int, ...], dtype: np.dtype, axis: int, reach: int) -> int:
    """Return how many columns to work on at once along an axis."""
    block = block_length(dtype)
    most = max(min(ROW_BYTES, GROUP_BYTES // (4 * reach + 4)) // BLOCK, 1) * block
    return min(most, -(-math.prod(shape[axis + 1 :]) // block) * block)


def _row_length(columns: int, reaches: list[int], dtype: np.dtype) -> int:
    """Return the elements of a row with what lies around it, in whole blocks and two more."""
    block = block_length(dtype)
    return (-(-(columns + 2 * sum(reaches)) // block) + 2) * block


def box_scratch(shape: tuple[int, ...], dtype: np.dtype, reaches: tuple[tuple[int, ...], ...]) -> int:
    """Return how many elements of scratch `filter_box` takes."""
    clipped = [_clip(shape, reach) for reach in reaches]
    last = 2 * _row_length(shape[-1], [reach[-1] for reach in clipped], dtype) if shape else 0
    columns = [
        (4 * r + 4) * _strip(shape, dtype, axis, r)
        for reach in clipped
        for axis, r in enumerate(reach[:-1])
        if r
    ]
    return max([last, *columns]) + block_length(dtype)


def filter_box(
    image: NDArray, out: NDArray, reaches: tuple[tuple[int, ...], ...], *, flip: bool = False, minus: int = 0
) -> None:
    """Erode an image by a box, or open it by two.

    Parameters
    ----------
    image, out : ndarray
        Same shape and dtype, C-contiguous; at least one axis, none empty. They may be the same array
        where `minus` is 0.
    reaches : tuple of tuple of int
        How far the box of each pass extends along each axis.
    flip : bool
        Dilate, or close.
    minus : int
        0 gives the result, 1 the image minus it, 2 it minus the image, both modulo the integer's width.
    """
    shape, dtype = image.shape, image.dtype
    array = aligned((box_scratch(shape, dtype, reaches),), dtype)
    clipped = [_clip(shape, reach) for reach in reaches]
    first = [(axis, r, flip) for axis, r in enumerate(clipped[0][:-1]) if r]
    second = [(axis, r, not flip) for reach in clipped[1:] for axis, r in enumerate(reach[:-1]) if r]
    one, two = clipped[0][-1], clipped[-1][-1] if len(clipped) == 2 else 0
    # The rows are gone through in any case: for NaN, and where the box is one pixel.
    steps = [*first, (len(shape) - 1, one, flip), *second]
    source = image.ctypes.data
    for number, (axis, reach, turned) in enumerate(steps):
        job = AxisPass(
            source=source,
            target=out.ctypes.data,
            image=image.ctypes.data,
            leads=math.prod(shape[:axis]),
            height=shape[axis],
            columns=math.prod(shape[axis + 1 :]),
            flip=turned,
            minus=minus if number == len(steps) - 1 else 0,
            highest=highest_value(dtype),
        )
        if axis < len(shape) - 1:
            _along_columns(array, job, reach, _strip(shape, dtype, axis, reach))
        else:
            job = job._replace(height=1, columns=shape[-1])
            spare = _row_length(shape[-1], [one, two], dtype)
            _along_rows(array, job, one, two, len(clipped), spare)
        source = out.ctypes.data
