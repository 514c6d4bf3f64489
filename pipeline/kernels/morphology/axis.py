"""Erosions by a line along one axis of any length, in a time that does not depend on its length.

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
from pipeline.kernels.vectors import BLOCK, block_length

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
def erode_axis(array: NDArray, job: AxisPass, reach: int, strip: int) -> None:
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


def axis_strip(shape: tuple[int, ...], dtype: np.dtype, axis: int, reach: int) -> int:
    """Return how many columns `erode_axis` filters at once."""
    block = block_length(dtype)
    most = max(min(ROW_BYTES, GROUP_BYTES // (4 * reach + 4)) // BLOCK, 1) * block
    return min(most, -(-math.prod(shape[axis + 1 :]) // block) * block)


def axis_scratch(shape: tuple[int, ...], dtype: np.dtype, axis: int, reach: int) -> int:
    """Return the scratch of `erode_axis`, in elements."""
    return (4 * reach + 4) * axis_strip(shape, dtype, axis, reach)
