"""Erosions and openings by boxes, one axis at a time, in a time that does not depend on the size of the box.

An opening by a box is, in this order, a running minimum along each axis but the last, a minimum and a
maximum along the last, and a maximum along each of the other axes. Each works in place in the result, so no
further array is needed. A maximum is the minimum of the complement.

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

# Limits of a strip: rows are best read whole, as long as two groups of them stay in cache.
ROW_BYTES = 1 << 13
GROUP_BYTES = 1 << 21


class AxisPass(NamedTuple):
    """A filter along one axis of C-contiguous arrays, seen as planes × height × columns."""

    source: int  # addresses of the first pixel
    target: int
    image: int  # for `minus`
    planes: int
    height: int
    columns: int
    flip: bool  # maximum instead of minimum
    minus: int  # 0: write the result, 1: the image minus the result, 2: the reverse
    highest: np.generic  # the value beyond the border


@jit
def _write(array: NDArray, at: int, job: AxisPass, offset: int, count: int, flip: bool, spare: int) -> None:
    """Write a result row, complemented back if `flip`, `offset` bytes after the first pixel."""
    if flip:
        complement(array, at, blocks_of(array, count))
    if job.minus:
        read_row(array, spare, job.image + offset, array.itemsize, count)
        subtract(array[at : at + count], array[spare : spare + count], job.minus)
    write_row(array, at, job.target + offset, array.itemsize, count)


@jit
def _window(array: NDArray, at: int, columns: int, reach: int) -> None:
    """Replace the row that begins `reach` elements after `at` by its running minima, from `at` on."""
    # Runs of 2ᵏ pixels double until two overlapping ones cover the window.
    run = 1
    while 2 * run <= 2 * reach + 1:
        minimum(array, at, (at, at + run), blocks_of(array, columns + 2 * reach - run))
        run *= 2
    rest = 2 * reach + 1 - run
    if rest > 0:
        minimum(array, at, (at, at + rest), blocks_of(array, columns))


@jit
def _along_rows(array: NDArray, job: AxisPass, one: int, two: int, passes: int, spare: int) -> None:
    """Take the minimum along rows with reach `one`, then, if `passes` is 2, the maximum with reach `two`."""
    count = job.columns
    for row in range(job.planes * job.height):
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
        _write(array, at, job, offset, count, job.flip != (passes == 2), spare)


@jit
def _group(
    array: NDArray, at: int, job: AxisPass, corner: int, first: int, length: int, strip: int, count: int
) -> None:
    """Read `length` rows of a strip from row `first` on; those beyond the border get the highest value."""
    stride = job.columns * array.itemsize
    for i in range(length):
        row = at + i * strip
        if 0 <= first + i < job.height:
            address = job.source + corner + (first + i) * stride
            read_pixels(array, row, address, array.itemsize, count, job.flip, job.highest)
        else:
            fill(array, row, row + strip, job.highest)


@jit
def _accumulate_upwards(array: NDArray, at: int, length: int, strip: int) -> None:
    """Replace each row of a group by the minimum of the row and those below it."""
    for i in range(length - 2, -1, -1):
        row = at + i * strip
        minimum(array, row, (row, row + strip), blocks_of(array, strip))


@jit
def _along_columns(array: NDArray, job: AxisPass, reach: int, strip: int) -> None:
    """Take the minimum along columns.

    Rows are cut into groups as long as the window. A window then is the end of one group and the beginning
    of the next, so it is the minimum of two running minima [1]_ [2]_.
    """
    length = 2 * reach + 1
    stride = job.columns * array.itemsize
    blocks = blocks_of(array, strip)
    prefix = 2 * length * strip
    for plane in range(job.planes):
        for x in range(0, job.columns, strip):
            count = min(strip, job.columns - x)
            corner = plane * job.height * stride + x * array.itemsize
            ends, begins = 0, length * strip
            _group(array, ends, job, corner, -reach, length, strip, count)
            _accumulate_upwards(array, ends, length, strip)
            for top in range(0, job.height, length):
                # Read the next group before its rows are written over.
                _group(array, begins, job, corner, top + length - reach, length, strip, count)
                fill(array, prefix, prefix + strip, job.highest)
                for i in range(min(length, job.height - top)):
                    row = ends + i * strip
                    minimum(array, row, (row, prefix), blocks)
                    _write(array, row, job, corner + (top + i) * stride, count, job.flip, prefix + strip)
                    minimum(array, prefix, (prefix, begins + i * strip), blocks)
                _accumulate_upwards(array, begins, length, strip)
                ends, begins = begins, ends


def _clip(shape: tuple[int, ...], reach: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(min(r, n - 1) for r, n in zip(reach, shape, strict=True))


def _strip(shape: tuple[int, ...], dtype: np.dtype, axis: int, reach: int) -> int:
    """Return how many columns to filter at once along an axis."""
    block = block_length(dtype)
    most = max(min(ROW_BYTES, GROUP_BYTES // (4 * reach + 4)) // BLOCK, 1) * block
    return min(most, -(-math.prod(shape[axis + 1 :]) // block) * block)


def _row_length(columns: int, reaches: list[int], dtype: np.dtype) -> int:
    """Return the length of a row with its surroundings, in whole blocks and two more."""
    block = block_length(dtype)
    return (-(-(columns + 2 * sum(reaches)) // block) + 2) * block


def box_scratch(shape: tuple[int, ...], dtype: np.dtype, reaches: tuple[tuple[int, ...], ...]) -> int:
    """Return the scratch of `filter_box`, in elements."""
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
        Same shape and dtype, C-contiguous; at least one axis, none empty. They may be the same array if
        `minus` is 0.
    reaches : tuple of tuple of int
        Reach of the box of each pass along each axis.
    flip : bool
        Dilate, or close.
    minus : int
        0 writes the result, 1 the image minus the result, 2 the reverse; integers wrap round.
    """
    shape, dtype = image.shape, image.dtype
    array = aligned((box_scratch(shape, dtype, reaches),), dtype)
    clipped = [_clip(shape, reach) for reach in reaches]
    first = [(axis, r, flip) for axis, r in enumerate(clipped[0][:-1]) if r]
    second = [(axis, r, not flip) for reach in clipped[1:] for axis, r in enumerate(reach[:-1]) if r]
    one, two = clipped[0][-1], clipped[-1][-1] if len(clipped) == 2 else 0
    # The pass along rows is never left out: it replaces NaN, and copies where the box is a single pixel.
    steps = [*first, (len(shape) - 1, one, flip), *second]
    source = image.ctypes.data
    for number, (axis, reach, turned) in enumerate(steps):
        job = AxisPass(
            source=source,
            target=out.ctypes.data,
            image=image.ctypes.data,
            planes=math.prod(shape[:axis]),
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
