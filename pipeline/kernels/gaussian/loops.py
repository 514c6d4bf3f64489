"""Loops that Gaussians along any axis share: reading rows as floats, weighted sums of rows and along rows.

All arrays but the image are C-contiguous and of one floating dtype, so each loop but `read_floats` is
compiled once for float32 and once for float64.
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

Indices = NDArray[np.int64]
Real = np.floating  # a scalar of the arrays' dtype

# Columns that stay in the first-level cache while the sums of many rows go over them.
PIECE = 128
# Kernels that look this far along rows are summed down columns, on a transposed copy.
TRANSPOSE_FROM = 10
TRANSPOSED = 192


class PixelRows(NamedTuple):
    """Where a plane of an image is in memory: row i, column x is flat[starts[i] + columns[x]] − offset.

    It is `outside` where either is negative. Columns `first` … `last` − 1 lie side by side.
    """

    starts: Indices
    columns: Indices
    first: int
    last: int
    offset: Real
    outside: Real


class Onto(NamedTuple):
    """Where sums go: target[top:, left : left + width], onto `start` or, unless `fresh`, what is there."""

    target: NDArray
    top: int
    left: int
    width: int
    start: Real
    fresh: bool


@fast_jit
def read_floats(
    flat: NDArray, pixels: PixelRows, starts: Indices, left: int, right: int, target: NDArray, at: int
) -> None:
    """Write columns `left` … `right` − 1 of the rows that begin at `starts` as floats into target[:, at:]."""
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
    source: NDArray, rows: Indices, bases: Indices, places: Indices, weights: NDArray, onto: Onto
) -> None:
    """Write weighted sums of the source's rows.

    Row i is the sum over k of weights[places[i], k] × source[rows[bases[i] + k]].
    """
    count = weights.shape[1]
    flat, out, taps = source.reshape(-1), onto.target.reshape(-1), weights.reshape(-1)
    stride, pitch = source.shape[1], onto.target.shape[1]
    for x in range(0, onto.width, PIECE):
        size = min(PIECE, onto.width - x)
        for i in range(bases.size):
            at = (onto.top + i) * pitch + onto.left + x
            weigh_rows(
                out, at, flat, x, stride, rows, bases[i], taps, places[i] * count, count, size, onto.start,
                onto.fresh,
            )  # fmt: skip


@fast_jit
def sum_down(source: NDArray, first: int, half: NDArray, target: NDArray, count: int) -> None:
    """Write symmetric sums down the source's columns into rows 0 … count − 1 of the target.

    Row i looks at source row first + i in its middle; `half` holds the weights from the centre out.
    Both arrays have the same width, whole bands, and rows are written DOWN_ROWS at a time.
    """
    flat, out = source.reshape(-1), target.reshape(-1)
    pitch = source.shape[1]
    radius = half.size - 1
    for x in range(0, pitch, DOWN_BYTES // source.itemsize):
        for i in range(0, count, DOWN_ROWS):
            fold_down(out, i * pitch + x, flat, (first + i) * pitch + x, pitch, half, radius)


@fast_jit
def sum_along(source: NDArray, row: int, count: int, first: int, half: NDArray, onto: Onto) -> None:
    """Write symmetric sums along `count` rows of the source.

    Column x sums the weights, `half` from the centre out, around source column first + x. The source is
    `aligned`, or a single row.
    """
    flat, out = source.reshape(-1), onto.target.reshape(-1)
    pitch, stride, radius = source.shape[1], onto.target.shape[1], half.size - 1
    block = 64 // source.itemsize
    done = 0
    whole = onto.width - onto.width % block
    if radius >= TRANSPOSE_FROM and count >= block and whole > 0:
        done = count - count % block
        lines = np.empty((TRANSPOSED + 2 * radius + 2 * block) * block, source.dtype)
        sums = np.empty((TRANSPOSED + block) * block, source.dtype)
        begin = (-lines.ctypes.data % 64) // source.itemsize
        base = (-sums.ctypes.data % 64) // source.itemsize
        for i in range(0, done, block):
            for x in range(0, whole, TRANSPOSED):
                size = min(TRANSPOSED, whole - x)
                origin = (row + i) * pitch + first + x - radius
                for k in range(0, size + 2 * radius, block):
                    transpose(lines, begin + k * block, block, flat, origin + k, pitch)
                for k in range(0, size, LINES):
                    centre = begin + (radius + k) * block
                    fold_line(sums, base + k * block, lines, centre, block, half, radius)
                at = (onto.top + i) * stride + onto.left + x
                for k in range(0, size, block):
                    transpose_onto(out, at + k, stride, sums, base + k * block, block, onto.start, onto.fresh)
    for i in range(count):
        x = whole if i < done else 0
        at = (onto.top + i) * stride + onto.left + x
        centre = (row + i) * pitch + first + x
        fold_along(out, at, flat, centre, half, radius, onto.width - x, onto.start, onto.fresh)
