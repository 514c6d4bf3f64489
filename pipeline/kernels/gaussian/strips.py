"""Compiled loops over a whole plane: gathering the nodes of a grid, and adding Gaussians strip by strip.

Each is one call: with many small calls, each of which takes the interpreter's lock when it ends, two threads
were no faster than one. What nodes are says `taps`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.gaussian.loops import (
    Destination,
    Indices,
    PixelRows,
    Real,
    mix_rows,
    read_floats,
    sum_along,
    sum_down,
)
from pipeline.kernels.jit import fast_jit

# Kinds of terms: no term; a direct sum in tiles; nodes that are spread over the pixels.
NOTHING, DIRECT, NODES = 0, 1, 2


class GatherPlan(NamedTuple):
    """Maps, weights and scratch for gathering a plane into nodes, first down its columns, then along x."""

    sources: Indices  # the pixel row at each position that nodes look at; the height for beyond the border
    step: int  # rows from node to node
    down: NDArray  # (1, taps): weights of the rows of a node
    low: int  # rows low … high − 1 of nodes are gathered
    high: int
    columns: Indices  # the pixel at each position that nodes look at; the width for beyond the border
    before: int  # position of pixel 0 in `columns`
    along: NDArray  # on a grid along x, weights of the pixels of a node
    half: NDArray  # else weights of a direct sum from the centre out
    window: NDArray  # pixels as floats, `tile` columns at a time
    tile: int
    rows: NDArray  # nodes along y, still pixels along x
    polyphase: NDArray  # (step, nodes + 3): every step-th pixel of a row, from each of the first `step` on


class TermArrays(NamedTuple):
    """Maps, weights and scratch of one term of a sum; which are used depends on its kind."""

    kind: int
    # DIRECT: pixels are read into a window with a rim, and summed down and along.
    pixels: PixelRows
    down: NDArray  # weights from the centre out
    along: NDArray
    window: NDArray
    summed: NDArray  # the window, summed down
    size: int  # columns of a tile
    # NODES: nodes are spread along x, if that is on a grid, and then down.
    nodes: NDArray
    on_grid: bool  # along x; else each column is a node
    spread_along: NDArray  # (step, 4): weights of the four nodes around a pixel
    phase: int  # pixels from node 1 to pixel 0 along x
    rows: Indices  # (height, 1 or 4): the rows of nodes that a row of pixels is the sum of
    phases: Indices  # of each row of pixels, its row in `spread_down`
    spread_down: NDArray
    wide: NDArray  # rows of nodes, spread along x


@fast_jit
def _take_apart(source: NDArray, parts: NDArray, count: int) -> None:
    """Copy every step-th element of a row, from each of the first `step` on, to a row of its own."""
    # LLVM makes vector code for a stride that is a constant.
    if parts.shape[0] == 2:
        part0, part1 = parts[0], parts[1]
        for s in range(count):
            part0[s], part1[s] = source[2 * s], source[2 * s + 1]
    elif parts.shape[0] == 3:
        part0, part1, part2 = parts[0], parts[1], parts[2]
        for s in range(count):
            part0[s], part1[s], part2[s] = source[3 * s], source[3 * s + 1], source[3 * s + 2]
    else:
        step = parts.shape[0]
        for p in range(step):
            part, first = parts[p], source[p:]
            for s in range(count):
                part[s] = first[s * step]


@fast_jit
def gather_down(flat: NDArray, pixels: PixelRows, plan: GatherPlan, begin: int, end: int) -> None:
    """Gather rows `begin` … `end` − 1 of nodes into `plan.rows`, for all columns of pixels."""
    height, width = pixels.starts.size - 1, pixels.columns.size
    zero = plan.rows.dtype.type(0)
    seen = plan.sources[begin * plan.step : (end - 1) * plan.step + plan.down.shape[1]]
    low, high = height, 0
    for row in seen:
        if row < height:
            low, high = min(low, row), max(high, row + 1)
    high = max(low, high)
    # Loops: array expressions take seconds to compile.
    starts = np.empty(high - low + 1, np.int64)
    for row in range(low, high):
        starts[row - low] = pixels.starts[row]
    starts[high - low] = -1
    at = np.empty(seen.size, np.int64)
    for i in range(seen.size):
        at[i] = min(seen[i] - low, high - low)
    bases, phases = np.empty(end - begin, np.int64), np.empty(end - begin, np.int64)
    for i in range(end - begin):
        bases[i], phases[i] = i * plan.step, 0
    for left in range(0, width, plan.tile):
        right = min(left + plan.tile, width)
        read_floats(flat, pixels, starts, left, right, plan.window, 0)
        dest = Destination(plan.rows, 0, left, right - left, zero, True)
        mix_rows(plan.window, at, bases, phases, plan.down, dest)


@fast_jit
def _gather_along(plan: GatherPlan, count: int, width: int, outside: Real, nodes: NDArray, top: int) -> None:
    """Gather `count` rows of `width` pixels in `plan.rows` into nodes[top:]."""
    columns, weights, polyphase = plan.columns, plan.along, plan.polyphase
    step, segments = polyphase.shape
    padded = np.empty(columns.size + 1, polyphase.dtype)
    end = plan.before + width
    for y in range(count):
        row = plan.rows[y, :width]
        padded[0] = 0  # the first weight is 0
        for x in range(plan.before):
            padded[x + 1] = row[columns[x]] if columns[x] < width else outside
        middle = padded[plan.before + 1 : end + 1]
        for x in range(width):  # an assignment of slices takes seconds to compile
            middle[x] = row[x]
        for x in range(end, columns.size):
            padded[x + 1] = row[columns[x]] if columns[x] < width else outside
        _take_apart(padded, polyphase, segments)
        out = nodes[top + y, : segments - 3]
        size = out.size
        for x in range(size):
            out[x] = 0
        for p in range(step):
            part0 = polyphase[p, 0 if p > 0 else 1 :]  # its weight is 0 for p = 0, and 0 × NaN is not
            part1 = polyphase[p, 1:]
            part2 = polyphase[p, 2:]
            part3 = polyphase[p, 3:]
            w0, w1, w2, w3 = weights[p], weights[p + step], weights[p + 2 * step], weights[p + 3 * step]
            for x in range(size):
                out[x] += w0 * part0[x] + w1 * part1[x] + w2 * part2[x] + w3 * part3[x]


@fast_jit
def gather_plane(flat: NDArray, pixels: PixelRows, plan: GatherPlan, nodes: NDArray) -> None:
    """Gather the nodes of a plane that is on a grid along x."""
    size, width = plan.rows.shape[0], pixels.columns.size
    for begin in range(plan.low, plan.high, size):
        end = min(begin + size, plan.high)
        gather_down(flat, pixels, plan, begin, end)
        _gather_along(plan, end - begin, width, pixels.outside, nodes, begin)


def gather_rows(flat: NDArray, pixels: PixelRows, plan: GatherPlan, nodes: NDArray) -> None:
    """Gather the nodes of a plane that is on a grid along y alone."""
    # Rare, so not compiled as a whole.
    size, width, zero = len(plan.rows), pixels.columns.size, nodes.dtype.type(0)
    for begin in range(plan.low, plan.high, size):
        end = min(begin + size, plan.high)
        gather_down(flat, pixels, plan, begin, end)
        for i in range(end - begin):
            padded = np.append(plan.rows[i, :width], pixels.outside)[plan.columns][None]
            dest = Destination(nodes, begin + i, 0, width, zero, True)
            sum_along(padded, 0, 1, plan.half.size - 1, plan.half, dest)


@fast_jit
def _sum_tiles(
    flat: NDArray, term: TermArrays, target: NDArray, top: int, bottom: int, start: Real, fresh: bool
) -> None:
    """Add a direct term to rows `top` … `bottom` − 1 of the target, tile by tile."""
    rim_y, rim_x = term.down.size - 1, term.along.size - 1
    width = target.shape[1]
    for left in range(0, width, term.size):
        right = min(left + term.size, width)
        starts = term.pixels.starts[top : bottom + 2 * rim_y]
        read_floats(flat, term.pixels, starts, left, right + 2 * rim_x, term.window, 0)
        rows = term.window
        if rim_y:
            sum_down(term.window, rim_y, term.down, term.summed, bottom - top)
            rows = term.summed
        dest = Destination(target, top, left, right - left, start, fresh)
        sum_along(rows, 0, bottom - top, rim_x, term.along, dest)


@fast_jit
def _spread_along(term: TermArrays, top: int, count: int, width: int) -> None:
    """Spread `count` rows of nodes, from row `top` on, along x into `term.wide`."""
    weights, phase = term.spread_along, term.phase
    step = weights.shape[0]
    for y in range(count):
        row = term.nodes[top + y]
        for p in range(step):
            w0, w1, w2, w3 = weights[p, 0], weights[p, 1], weights[p, 2], weights[p, 3]
            first = 0 if p >= phase else 1
            left = first * step + p - phase
            part0 = row[first:]
            part1 = row[first + 1 :]
            part2 = row[first + 2 :]
            part3 = row[first + (3 if p > 0 else 2) :]  # its weight is 0 for p = 0, and 0 × NaN is not
            out = term.wide[y, left:width]
            for s in range((width - left + step - 1) // step):
                out[s * step] = w0 * part0[s] + w1 * part1[s] + w2 * part2[s] + w3 * part3[s]


@fast_jit
def _spread_strip(term: TermArrays, target: NDArray, top: int, bottom: int, start: Real, fresh: bool) -> None:
    """Add the nodes of a term, spread over pixels, to rows `top` … `bottom` − 1 of the target."""
    width, count = target.shape[1], term.rows.shape[1]
    rows, bases = np.empty((bottom - top) * count, np.int64), np.empty(bottom - top, np.int64)
    low = high = term.rows[top, 0]
    for i in range(bottom - top):
        bases[i] = i * count
        for k in range(count):
            row = term.rows[top + i, k]
            low, high = min(low, row), max(high, row + 1)
            rows[bases[i] + k] = row
    source = term.nodes
    if term.on_grid:
        source = term.wide
        _spread_along(term, low, high - low, width)
        for i in range(rows.size):
            rows[i] -= low
    dest = Destination(target, top, 0, width, start, fresh)
    mix_rows(source, rows, bases, term.phases[top:bottom], term.spread_down, dest)


@fast_jit
def _add_term(
    target: NDArray, flat: NDArray, term: TermArrays, top: int, bottom: int, start: Real, fresh: bool
) -> None:
    if term.kind == DIRECT:
        _sum_tiles(flat, term, target, top, bottom, start, fresh)
    elif term.kind == NODES:
        _spread_strip(term, target, top, bottom, start, fresh)


@fast_jit
def add_terms(
    target: NDArray, flat: NDArray, one: TermArrays, other: TermArrays, strip: int, start: Real, fresh: bool
) -> None:
    """Add two terms to `start` if `fresh`, else to the target, strip by strip.

    `flat` holds the pixels of the image.
    """
    for top in range(0, target.shape[0], strip):
        bottom = min(top + strip, target.shape[0])
        _add_term(target, flat, one, top, bottom, start, fresh)
        _add_term(target, flat, other, top, bottom, start, False)
