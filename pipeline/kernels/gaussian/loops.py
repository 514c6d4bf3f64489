"""The inner loops of the Gaussian, compiled: reading rows as floats, weighted sums of rows and along rows.

All arrays but the image are C-contiguous and of one floating dtype, so each loop but `read_rows` is
compiled once for float32 and once for float64.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.gaussian.vectors import (
    BAND,
    LINES,
    ROWS,
    fold_along,
    fold_down,
    fold_line,
    turn,
    turn_onto,
    weigh_rows,
)
from pipeline.kernels.jit import jit

# A scalar of the arrays' dtype.
Real = np.floating

# Columns that stay in the first-level cache while the sums of many rows go over them.
PIECE = 128
# Kernels that look this far along rows are summed down columns, on a turned copy.
TURN_FROM = 10
TURNED = 192


@jit(fastmath=True)
def read_rows(
    flat: NDArray,
    starts: NDArray[np.int64],
    columns: NDArray[np.int64],
    first: int,
    last: int,
    offset: Real,
    outside: Real,
    target: NDArray,
    left: int,
) -> None:
    """Write rows of an image, minus `offset`, as floats into target[:, left:].

    Row i, column x is flat[starts[i] + columns[x]], or `outside` where either is negative. From column
    `first` to `last` the columns lie side by side.
    """
    kind = target.dtype.type
    for i in range(starts.size):
        out = target[i, left : left + columns.size]
        start = starts[i]
        if start < 0:
            out[:] = outside
            continue
        for x in range(first):
            out[x] = kind(flat[start + columns[x]]) - offset if columns[x] >= 0 else outside
        if first < last:
            begin = start + columns[first]
            row = flat[begin : begin + last - first]
            inner = out[first:last]
            for x in range(row.size):
                inner[x] = kind(row[x]) - offset
        for x in range(last, columns.size):
            out[x] = kind(flat[start + columns[x]]) - offset if columns[x] >= 0 else outside


@jit(fastmath=True)
def mix_rows(
    source: NDArray,
    rows: NDArray[np.int64],
    bases: NDArray[np.int64],
    places: NDArray[np.int64],
    weights: NDArray,
    target: NDArray,
    top: int,
    left: int,
    width: int,
    start: Real,
    fresh: bool,
) -> None:
    """Write weighted sums of the source's rows into target[top:, left : left + width].

    Row i is `start` (or what stands there, unless `fresh`) plus the sum over k of
    weights[places[i], k] × source[rows[bases[i] + k]].
    """
    count = weights.shape[1]
    flat, out, taps = source.reshape(-1), target.reshape(-1), weights.reshape(-1)
    stride, pitch = source.shape[1], target.shape[1]
    for x in range(0, width, PIECE):
        size = min(PIECE, width - x)
        for i in range(bases.size):
            at = (top + i) * pitch + left + x
            weigh_rows(
                out, at, flat, x, stride, rows, bases[i], taps, places[i] * count, count, size, start, fresh
            )


@jit(fastmath=True)
def sum_down(source: NDArray, first: int, half: NDArray, target: NDArray, count: int) -> None:
    """Write symmetric sums down the source's columns into rows 0 … count − 1 of the target.

    Row i looks at source row first + i in its middle; `half` holds the weights from the centre out.
    Both arrays have the same width, whole bands, and rows are written ROWS at a time.
    """
    flat, out = source.reshape(-1), target.reshape(-1)
    pitch = source.shape[1]
    radius = half.size - 1
    for x in range(0, pitch, BAND // source.itemsize):
        for i in range(0, count, ROWS):
            fold_down(out, i * pitch + x, flat, (first + i) * pitch + x, pitch, half, radius)


@jit(fastmath=True)
def sum_along(
    source: NDArray,
    row: int,
    count: int,
    first: int,
    half: NDArray,
    target: NDArray,
    top: int,
    left: int,
    width: int,
    start: Real,
    fresh: bool,
) -> None:
    """Write symmetric sums along `count` rows of the source into target[top:, left : left + width].

    Column x is `start` (or what stands there, unless `fresh`) plus the weights, `half` from the
    centre out, around source column first + x. The source is `scratch`, or a single row.
    """
    flat, out = source.reshape(-1), target.reshape(-1)
    pitch, stride, radius = source.shape[1], target.shape[1], half.size - 1
    lanes = 64 // source.itemsize
    done = 0
    turned = width - width % lanes
    if radius >= TURN_FROM and count >= lanes and turned > 0:
        done = count - count % lanes
        lines = np.empty((TURNED + 2 * radius + 2 * lanes) * lanes, source.dtype)
        sums = np.empty((TURNED + lanes) * lanes, source.dtype)
        begin = (-lines.ctypes.data % 64) // source.itemsize
        base = (-sums.ctypes.data % 64) // source.itemsize
        for i in range(0, done, lanes):
            for x in range(0, turned, TURNED):
                size = min(TURNED, turned - x)
                origin = (row + i) * pitch + first + x - radius
                for k in range(0, size + 2 * radius, lanes):
                    turn(lines, begin + k * lanes, lanes, flat, origin + k, pitch)
                for k in range(0, size, LINES):
                    fold_line(
                        sums, base + k * lanes, lines, begin + (radius + k) * lanes, lanes, half, radius
                    )
                at = (top + i) * stride + left + x
                for k in range(0, size, lanes):
                    turn_onto(out, at + k, stride, sums, base + k * lanes, lanes, start, fresh)
    for i in range(count):
        x = turned if i < done else 0
        at = (top + i) * stride + left + x
        fold_along(out, at, flat, (row + i) * pitch + first + x, half, radius, width - x, start, fresh)


@jit(fastmath=True)
def sum_tiles(
    flat: NDArray,
    starts: NDArray[np.int64],
    columns: NDArray[np.int64],
    adjacent: bool,
    offset: Real,
    outside: Real,
    down: NDArray,
    along: NDArray,
    window: NDArray,
    summed: NDArray,
    size: int,
    target: NDArray,
    top: int,
    bottom: int,
    start: Real,
    fresh: bool,
) -> None:
    """Add direct sums over rows top … bottom − 1 to the target, in tiles of `size` columns.

    `starts` and `columns` are those of `read_rows` for all rows and columns of the plane with a rim as
    wide as the kernels; `down` and `along` hold the weights from the centre out.
    """
    rim_y, rim_x = down.size - 1, along.size - 1
    width = target.shape[1]
    for left in range(0, width, size):
        right = min(left + size, width)
        first = max(0, rim_x - left) if adjacent else 0
        last = min(right + 2 * rim_x, width + rim_x) - left if adjacent else 0
        read_rows(
            flat, starts[top : bottom + 2 * rim_y], columns[left : right + 2 * rim_x], first, last, offset,
            outside, window, 0,
        )  # fmt: skip
        rows = window
        if rim_y:
            sum_down(window, rim_y, down, summed, bottom - top)
            rows = summed
        sum_along(rows, 0, bottom - top, rim_x, along, target, top, left, right - left, start, fresh)


@jit(fastmath=True)
def gather_along(
    source: NDArray,
    count: int,
    columns: NDArray[np.int64],
    before: int,
    weights: NDArray,
    outside: Real,
    padded: NDArray,
    phases: NDArray,
    target: NDArray,
    top: int,
    width: int,
) -> None:
    """Gather `count` rows of `width` pixels into the nodes of a grid, into target[top:].

    `columns` says which pixel stands at each place that the first node looks at and on, the width
    meaning `outside`; from place `before` on the row itself stands there. `padded`, of step × (nodes + 3)
    elements, and `phases`, as rows of every step-th of them, are scratch.
    """
    step, segments = phases.shape
    for y in range(count):
        row = source[y, :width]
        padded[0] = 0  # the first weight is 0
        for x in range(before):
            padded[x + 1] = row[columns[x]] if columns[x] < width else outside
        middle = padded[before + 1 : before + 1 + width]
        for x in range(width):  # an assignment of slices takes seconds to compile
            middle[x] = row[x]
        for x in range(before + width, columns.size):
            padded[x + 1] = row[columns[x]] if columns[x] < width else outside
        for p in range(step):
            phase = phases[p]
            places = padded[p:]
            for s in range(segments):
                phase[s] = places[s * step]
        out = target[top + y, : segments - 3]
        size = out.size
        for x in range(size):
            out[x] = 0
        for p in range(step):
            part0 = phases[p, 0 if p > 0 else 1 :]  # 0 × NaN is not 0
            part1 = phases[p, 1:]
            part2 = phases[p, 2:]
            part3 = phases[p, 3:]
            w0, w1, w2, w3 = weights[p], weights[p + step], weights[p + 2 * step], weights[p + 3 * step]
            for x in range(size):
                out[x] += w0 * part0[x] + w1 * part1[x] + w2 * part2[x] + w3 * part3[x]


@jit(fastmath=True)
def spread_along(
    source: NDArray, top: int, count: int, weights: NDArray, phase: int, target: NDArray, width: int
) -> None:
    """Spread the nodes of `count` rows, from source row `top` on, over the pixels between them.

    Column 0 of the target stands `phase` pixels (0 … step − 1) beyond node 1.
    """
    step = weights.shape[0]
    for y in range(count):
        row = source[top + y]
        for p in range(step):
            w0, w1, w2, w3 = weights[p, 0], weights[p, 1], weights[p, 2], weights[p, 3]
            first = 0 if p >= phase else 1
            left = first * step + p - phase
            part0 = row[first:]
            part1 = row[first + 1 :]
            part2 = row[first + 2 :]
            part3 = row[first + (3 if p > 0 else 2) :]  # its weight is 0 there
            out = target[y, left:width]
            for s in range((width - left + step - 1) // step):
                out[s * step] = w0 * part0[s] + w1 * part1[s] + w2 * part2[s] + w3 * part3[s]
