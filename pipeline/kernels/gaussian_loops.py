"""The inner loops of the Gaussian, compiled: weighted sums of rows, and along rows.

All arrays are C-contiguous and of one floating dtype, so each loop is compiled once for float32 and once
for float64. Loops run over whole rows in pieces that stay in the first-level cache.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.jit import jit

PIECE = 512


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
    start: float,
    fresh: bool,
) -> None:
    """Write weighted sums of the source's rows into target[top:, left:].

    Row i is `start` (or what stands there, unless `fresh`) plus the sum over k of
    weights[places[i], k] × source[rows[bases[i] + k]].
    """
    count = weights.shape[1]
    width = source.shape[1]
    for begin in range(0, width, PIECE):
        end = min(begin + PIECE, width)
        for i in range(bases.size):
            out = target[top + i, left + begin : left + end]
            size = out.size
            if fresh:
                for x in range(size):
                    out[x] = start
            base = bases[i]
            taps = weights[places[i]]
            # Four rows at a time, so that the sum is loaded and stored once in four.
            for k in range(0, count - 3, 4):
                row0 = source[rows[base + k], begin:end]
                row1 = source[rows[base + k + 1], begin:end]
                row2 = source[rows[base + k + 2], begin:end]
                row3 = source[rows[base + k + 3], begin:end]
                w0, w1, w2, w3 = taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
                for x in range(size):
                    out[x] += w0 * row0[x] + w1 * row1[x] + w2 * row2[x] + w3 * row3[x]
            for k in range(count - count % 4, count):
                row0 = source[rows[base + k], begin:end]
                w0 = taps[k]
                for x in range(size):
                    out[x] += w0 * row0[x]


@jit(fastmath=True)
def smooth_rows(
    source: NDArray,
    first: int,
    half: NDArray,
    target: NDArray,
    top: int,
    left: int,
    width: int,
    start: float,
    fresh: bool,
) -> None:
    """Write sums along the source's rows with symmetric weights into target[top:, left : left + width].

    Column x is `start` (or what stands there, unless `fresh`) plus the weights, `half` from the
    centre out, around source column first + x.
    """
    radius = half.size - 1
    for y in range(source.shape[0]):
        for begin in range(0, width, PIECE):
            end = min(begin + PIECE, width)
            out = target[top + y, left + begin : left + end]
            size = out.size
            centre = first + begin
            middle = source[y, centre : centre + size]
            w0 = half[0]
            if fresh:
                for x in range(size):
                    out[x] = start + w0 * middle[x]
            else:
                for x in range(size):
                    out[x] += w0 * middle[x]
            for k in range(1, radius, 2):
                w0, w1 = half[k], half[k + 1]
                low0 = source[y, centre - k : centre - k + size]
                high0 = source[y, centre + k : centre + k + size]
                low1 = source[y, centre - k - 1 : centre - k - 1 + size]
                high1 = source[y, centre + k + 1 : centre + k + 1 + size]
                for x in range(size):
                    out[x] += w0 * (low0[x] + high0[x]) + w1 * (low1[x] + high1[x])
            if radius % 2:
                w0 = half[radius]
                low0 = source[y, centre - radius : centre - radius + size]
                high0 = source[y, centre + radius : centre + radius + size]
                for x in range(size):
                    out[x] += w0 * (low0[x] + high0[x])


@jit(fastmath=True)
def gather_rows(
    source: NDArray,
    columns: NDArray[np.int64],
    weights: NDArray,
    outside: float,
    phases: NDArray,
    target: NDArray,
    top: int,
) -> None:
    """Gather each row into the nodes of a grid, into target[top:].

    `columns` says which column of the source stands at each pixel the first node looks at and on, the
    width of the source meaning `outside`. `phases` is scratch of shape (step, nodes + 3).
    """
    step, segments = phases.shape
    width = source.shape[1]
    for y in range(source.shape[0]):
        row = source[y]
        for p in range(step):
            phase = phases[p]
            for s in range(segments):
                column = columns[max(s * step + p - 1, 0)]
                phase[s] = row[column] if column < width else outside
        out = target[top + y]
        size = out.size
        for x in range(size):
            out[x] = 0
        for p in range(step):
            part0 = phases[p, 0 if p > 0 else 1 :]  # the first weight is 0, and 0 × NaN is not
            part1 = phases[p, 1:]
            part2 = phases[p, 2:]
            part3 = phases[p, 3:]
            w0, w1, w2, w3 = weights[p], weights[p + step], weights[p + 2 * step], weights[p + 3 * step]
            for x in range(size):
                out[x] += w0 * part0[x] + w1 * part1[x] + w2 * part2[x] + w3 * part3[x]


@jit(fastmath=True)
def spread_rows(source: NDArray, weights: NDArray, origin: int, target: NDArray) -> None:
    """Spread the nodes of each row over the pixels between them.

    Column 0 of the target stands `origin` pixels (0 … step − 1) beyond node 1.
    """
    step = weights.shape[0]
    width = target.shape[1]
    for y in range(target.shape[0]):
        for p in range(step):
            w0, w1, w2, w3 = weights[p, 0], weights[p, 1], weights[p, 2], weights[p, 3]
            first = 0 if p >= origin else 1
            left = first * step + p - origin
            part0 = source[y, first:]
            part1 = source[y, first + 1 :]
            part2 = source[y, first + 2 :]
            part3 = source[y, first + (3 if p > 0 else 2) :]  # its weight is 0 there
            count = (width - left + step - 1) // step
            out = target[y, left:]
            for s in range(count):
                out[s * step] = w0 * part0[s] + w1 * part1[s] + w2 * part2[s] + w3 * part3[s]
