"""Loops shared by Gaussians along all axes: reading rows as floats, and weighted sums of rows and along rows.

All arrays but the image are C-contiguous and of one floating dtype, so each loop but `read_floats` is
compiled for float32 and float64 alone.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.gaussian.sums import (
    DOWN_BYTES,
    DOWN_ROWS,
    LINES,
    fold_along,
    fold_down,
    fold_line,
    transpose,
    transpose_onto,
    weigh_rows,
)
from pipeline.kernels.jit import fast_jit
from pipeline.kernels.vectors import BLOCK

Indices = NDArray[np.int64]
Real = np.floating  # a scalar of the arrays' dtype

PIECE = 128  # columns that stay in the first-level cache while many rows are summed
TRANSPOSE_FROM = 10  # radius from which sums along rows are faster as sums down a transposed copy
TRANSPOSED = 192  # columns transposed at once


class PixelRows(NamedTuple):
    """Addresses of a plane of an image: pixel (i, x) is flat[starts[i] + columns[x]] − offset.

    Where `starts` or `columns` is negative, the pixel is beyond the border and counts as `outside`.
    """

    starts: Indices
    columns: Indices
    first: int  # columns first … last − 1 are adjacent in memory
    last: int
    offset: Real
    outside: Real


class Destination(NamedTuple):
    """The output of weighted sums: array[top:, left : left + width]."""

    array: NDArray
    top: int
    left: int
    width: int
    start: Real  # added to the sums that overwrite the array
    fresh: bool  # False: the sums are added to the array


@fast_jit
def read_floats(
    flat: NDArray, pixels: PixelRows, starts: Indices, left: int, right: int, target: NDArray, at: int
) -> None:
    """Read columns `left` … `right` − 1 of the rows that begin at `starts` as floats into target[:, at:]."""
    kind = target.dtype.type
    columns, offset, outside = pixels.columns, pixels.offset, pixels.outside
    begin = min(max(pixels.first, left), right)
    end = max(begin, min(pixels.last, right))
    for i in range(starts.size):
        out = target[i, at : at + right - left]
        start = starts[i]
        if start < 0:
            out[:] = outside
            continue
        for x in range(left, begin):
            out[x - left] = kind(flat[start + columns[x]]) - offset if columns[x] >= 0 else outside
        if begin < end:
            first = start + columns[begin]
            row = flat[first : first + end - begin]
            inner = out[begin - left : end - left]
            for x in range(row.size):
                inner[x] = kind(row[x]) - offset
        for x in range(end, right):
            out[x - left] = kind(flat[start + columns[x]]) - offset if columns[x] >= 0 else outside


@fast_jit
def mix_rows(
    source: NDArray, rows: Indices, bases: Indices, phases: Indices, weights: NDArray, dest: Destination
) -> None:
    """Sum rows of the source.

    Row i is the sum over k of weights[phases[i], k] × source[rows[bases[i] + k]].
    """
    count, stride, pitch = weights.shape[1], source.shape[1], dest.array.shape[1]
    for x in range(0, dest.width, PIECE):
        size = min(PIECE, dest.width - x)
        for i in range(bases.size):
            at = (dest.top + i) * pitch + dest.left + x
            first = phases[i] * count
            weigh_rows(dest, at, size, source, x, stride, rows, bases[i], weights, first, count)


@fast_jit
def sum_down(source: NDArray, first: int, half: NDArray, target: NDArray, count: int) -> None:
    """Sum down the source's columns into rows 0 … count − 1 of the target, with symmetric weights.

    Row i is centred on source row first + i; `half` holds the weights from the centre out. Both arrays have
    the same width, a multiple of DOWN_BYTES. The target's last rows are written DOWN_ROWS at a time.
    """
    pitch = source.shape[1]
    radius = half.size - 1
    for x in range(0, pitch, DOWN_BYTES // source.itemsize):
        for i in range(0, count, DOWN_ROWS):
            fold_down(target, i * pitch + x, source, (first + i) * pitch + x, pitch, half, radius)


@fast_jit
def sum_along(source: NDArray, row: int, count: int, first: int, half: NDArray, dest: Destination) -> None:
    """Sum along `count` rows of the source, from `row` on, with symmetric weights.

    Column x is centred on source column first + x; `half` holds the weights from the centre out. The source
    is `aligned`, or a single row.
    """
    pitch, stride, radius = source.shape[1], dest.array.shape[1], half.size - 1
    block = BLOCK // source.itemsize
    done = 0
    whole = dest.width - dest.width % block
    if radius >= TRANSPOSE_FROM and count >= block and whole > 0:
        done = count - count % block
        lines = np.empty((TRANSPOSED + 2 * radius + 2 * block) * block, source.dtype)
        sums = np.empty((TRANSPOSED + block) * block, source.dtype)
        begin = (-lines.ctypes.data % BLOCK) // source.itemsize
        base = (-sums.ctypes.data % BLOCK) // source.itemsize
        for i in range(0, done, block):
            for x in range(0, whole, TRANSPOSED):
                size = min(TRANSPOSED, whole - x)
                origin = (row + i) * pitch + first + x - radius
                for k in range(0, size + 2 * radius, block):
                    transpose(lines, begin + k * block, block, source, origin + k, pitch)
                for k in range(0, size, LINES):
                    centre = begin + (radius + k) * block
                    fold_line(sums, base + k * block, lines, centre, block, half, radius)
                at = (dest.top + i) * stride + dest.left + x
                for k in range(0, size, block):
                    transpose_onto(dest, at + k, stride, sums, base + k * block, block)
    for i in range(count):
        x = whole if i < done else 0
        at = (dest.top + i) * stride + dest.left + x
        centre = (row + i) * pitch + first + x
        fold_along(dest, at, dest.width - x, source, centre, half, radius)
