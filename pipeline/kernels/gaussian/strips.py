"""A plane under a sum of Gaussians, from its first row to its last in one compiled call.

One call gathers the nodes of a term, another adds all terms strip by strip. Between many small calls
threads would wait for each other, since each begins and ends with the interpreter's lock: two
threads were no faster than one.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.gaussian.loops import (
    Indices,
    Onto,
    PixelRows,
    Real,
    mix_rows,
    read_floats,
    sum_along,
    sum_down,
)
from pipeline.kernels.jit import fast_jit

NOTHING, DIRECT, WIDE = 0, 1, 2
"""What a term is: none, summed tap by tap in tiles, or spread from the nodes of a grid."""


class GatherPlan(NamedTuple):
    """How a plane is gathered into rows `low` … `high` − 1 of nodes, and what scratch that takes.

    Rows are read into `window`, `tile` columns at a time, and gathered down into `rows`. These are gathered
    along x: on a grid by `along`, out of `phases` (every step-th pixel from each of the first ones on), or
    by a direct sum with `half`. `columns` says which pixel stands at each place that the first node looks at
    and on, the width meaning outside; from place `before` on the row itself stands there.
    """

    sources: Indices
    step: int
    down: NDArray
    low: int
    high: int
    columns: Indices
    before: int
    along: NDArray
    half: NDArray
    window: NDArray
    tile: int
    rows: NDArray
    phases: NDArray


class TermArrays(NamedTuple):
    """A term of a sum, all that any kind of it needs.

    A direct one is read into `window` with a rim, `size` columns at a time, and summed with `down` and
    `along`, weights from the centre out. Others spread `nodes` over the pixels between them.
    """

    kind: int
    pixels: PixelRows
    down: NDArray
    along: NDArray
    window: NDArray
    summed: NDArray
    size: int
    nodes: NDArray
    on_grid: bool  # along x; else each column is a node
    spread_along: NDArray
    phase: int
    rows: Indices  # for each pixel of y, the nodes that it is the sum of
    places: Indices
    spread_down: NDArray
    wide: NDArray


@fast_jit
def gather_down(flat: NDArray, pixels: PixelRows, plan: GatherPlan, begin: int, end: int) -> None:
    """Write rows `begin` … `end` − 1 of nodes, of all columns, into `plan.rows`."""
    height, width = pixels.starts.size - 1, pixels.columns.size
    zero = plan.rows.dtype.type(0)
    seen = plan.sources[begin * plan.step : (end - 1) * plan.step + plan.down.shape[1]]
    low, high = height, 0
    for row in seen:
        if row < height:
            low, high = min(low, row), max(high, row + 1)
    high = max(low, high)
    # Loops rather than NumPy's words for them, which take seconds to compile.
    starts = np.empty(high - low + 1, np.int64)
    for row in range(low, high):
        starts[row - low] = pixels.starts[row]
    starts[high - low] = -1
    at = np.empty(seen.size, np.int64)
    for i in range(seen.size):
        at[i] = min(seen[i] - low, high - low)
    bases, places = np.empty(end - begin, np.int64), np.empty(end - begin, np.int64)
    for i in range(end - begin):
        bases[i], places[i] = i * plan.step, 0
    for left in range(0, width, plan.tile):
        right = min(left + plan.tile, width)
        read_floats(flat, pixels, starts, left, right, plan.window, 0)
        onto = Onto(plan.rows, 0, left, right - left, zero, True)
        mix_rows(plan.window, at, bases, places, plan.down, onto)


@fast_jit
def _gather_along(plan: GatherPlan, count: int, width: int, outside: Real, nodes: NDArray, top: int) -> None:
    """Gather `count` rows of `width` pixels in `plan.rows` into nodes[top:]."""
    columns, weights, phases = plan.columns, plan.along, plan.phases
    step, segments = phases.shape
    padded = np.empty(columns.size + 1, phases.dtype)
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
        for p in range(step):
            phase = phases[p]
            places = padded[p:]
            for s in range(segments):
                phase[s] = places[s * step]
        out = nodes[top + y, : segments - 3]
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


@fast_jit
def gather_plane(flat: NDArray, pixels: PixelRows, plan: GatherPlan, nodes: NDArray) -> None:
    """Write the nodes of a plane that is on a grid along x."""
    size, width = plan.rows.shape[0], pixels.columns.size
    for begin in range(plan.low, plan.high, size):
        end = min(begin + size, plan.high)
        gather_down(flat, pixels, plan, begin, end)
        _gather_along(plan, end - begin, width, pixels.outside, nodes, begin)


def gather_rows(flat: NDArray, pixels: PixelRows, plan: GatherPlan, nodes: NDArray) -> None:
    """Write the nodes of a plane that is on a grid along y alone; rare, and not compiled as a whole."""
    size, width, zero = len(plan.rows), pixels.columns.size, nodes.dtype.type(0)
    for begin in range(plan.low, plan.high, size):
        end = min(begin + size, plan.high)
        gather_down(flat, pixels, plan, begin, end)
        for i in range(end - begin):
            padded = np.append(plan.rows[i, :width], pixels.outside)[plan.columns][None]
            onto = Onto(nodes, begin + i, 0, width, zero, True)
            sum_along(padded, 0, 1, plan.half.size - 1, plan.half, onto)


@fast_jit
def _sum_tiles(
    flat: NDArray, term: TermArrays, target: NDArray, top: int, bottom: int, start: Real, fresh: bool
) -> None:
    """Add direct sums over rows `top` … `bottom` − 1 to the target, tile by tile."""
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
        onto = Onto(target, top, left, right - left, start, fresh)
        sum_along(rows, 0, bottom - top, rim_x, term.along, onto)


@fast_jit
def _spread_along(term: TermArrays, top: int, count: int, width: int) -> None:
    """Spread `count` rows of nodes, from row `top` on, over the pixels between them, into `term.wide`.

    Column 0 of the pixels stands `term.phase` pixels (0 … step − 1) beyond node 1.
    """
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
            part3 = row[first + (3 if p > 0 else 2) :]  # its weight is 0 there
            out = term.wide[y, left:width]
            for s in range((width - left + step - 1) // step):
                out[s * step] = w0 * part0[s] + w1 * part1[s] + w2 * part2[s] + w3 * part3[s]


@fast_jit
def _spread_strip(term: TermArrays, target: NDArray, top: int, bottom: int, start: Real, fresh: bool) -> None:
    """Spread nodes over the pixels of rows `top` … `bottom` − 1 and add them to the target."""
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
    onto = Onto(target, top, 0, width, start, fresh)
    mix_rows(source, rows, bases, term.places[top:bottom], term.spread_down, onto)


@fast_jit
def _add_term(
    target: NDArray, flat: NDArray, term: TermArrays, top: int, bottom: int, start: Real, fresh: bool
) -> None:
    if term.kind == DIRECT:
        _sum_tiles(flat, term, target, top, bottom, start, fresh)
    elif term.kind == WIDE:
        _spread_strip(term, target, top, bottom, start, fresh)


@fast_jit
def add_terms(
    target: NDArray, flat: NDArray, one: TermArrays, other: TermArrays, strip: int, start: Real, fresh: bool
) -> None:
    """Write `start`, or what stands in the target unless `fresh`, plus two terms, strip by strip.

    `flat` holds the pixels of the terms.
    """
    for top in range(0, target.shape[0], strip):
        bottom = min(top + strip, target.shape[0])
        _add_term(target, flat, one, top, bottom, start, fresh)
        _add_term(target, flat, other, top, bottom, start, False)
