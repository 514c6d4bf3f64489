"""A plane under a sum of Gaussians, from its first row to its last in one compiled call.

One call gathers the nodes of a term, another adds all terms strip by strip. Between many small calls
threads would wait for each other, since each begins and ends with the interpreter's lock: two
threads were no faster than one.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.gaussian.loops import (
    Real,
    gather_along,
    mix_rows,
    read_rows,
    spread_along,
    sum_along,
    sum_tiles,
)
from pipeline.kernels.jit import jit

NOTHING, DIRECT, WIDE = 0, 1, 2
"""What a term is: none, summed tap by tap in tiles, or spread from the nodes of a grid."""


class Pixels(NamedTuple):
    """A plane of an image as `read_rows` takes it; `starts` has a −1 behind the last row."""

    flat: NDArray
    starts: NDArray[np.int64]
    columns: NDArray[np.int64]
    adjacent: bool
    offset: Real
    outside: Real


class Down(NamedTuple):
    """How rows are gathered into rows of nodes `low` … `high` − 1."""

    sources: NDArray[np.int64]
    step: int
    weights: NDArray
    low: int
    high: int


class Along(NamedTuple):
    """How a row is gathered into nodes: on a grid by `weights`, or by a direct sum with `half`."""

    sources: NDArray[np.int64]
    before: int
    weights: NDArray
    half: NDArray


class Scratch(NamedTuple):
    """Rows read and gathered down, and what gathering along needs."""

    window: NDArray
    tile: int
    rows: NDArray
    padded: NDArray
    phases: NDArray


class Tiles(NamedTuple):
    """A direct term, as `sum_tiles` takes it."""

    flat: NDArray
    starts: NDArray[np.int64]
    columns: NDArray[np.int64]
    adjacent: bool
    offset: Real
    outside: Real
    down: NDArray
    along: NDArray
    window: NDArray
    summed: NDArray
    size: int


class Spread(NamedTuple):
    """A term on a grid: its smoothed nodes, and how they are spread over the pixels between them."""

    nodes: NDArray
    on_grid: bool
    along: NDArray
    phase: int
    four: NDArray[np.int64]
    places: NDArray[np.int64]
    down: NDArray
    wide: NDArray


@jit(fastmath=True)
def gather_down(pixels: Any, down: Any, begin: int, end: int, scratch: Any) -> None:
    """Write rows `begin` … `end` − 1 of nodes, of all columns, into `scratch.rows`."""
    height, width = pixels.starts.size - 1, pixels.columns.size
    zero = scratch.rows.dtype.type(0)
    seen = down.sources[begin * down.step : (end - 1) * down.step + down.weights.shape[1]]
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
        bases[i], places[i] = i * down.step, 0
    for left in range(0, width, scratch.tile):
        right = min(left + scratch.tile, width)
        last = right - left if pixels.adjacent else 0
        read_rows(
            pixels.flat, starts, pixels.columns[left:right], 0, last, pixels.offset, pixels.outside,
            scratch.window, 0,
        )  # fmt: skip
        mix_rows(
            scratch.window, at, bases, places, down.weights, scratch.rows, 0, left, right - left, zero, True
        )


@jit(fastmath=True)
def gather_plane(pixels: Any, down: Any, along: Any, scratch: Any, nodes: NDArray) -> None:
    """Write the nodes of a plane that is on a grid along x, rows `down.low` … `down.high` − 1."""
    size, width = scratch.rows.shape[0], pixels.columns.size
    for begin in range(down.low, down.high, size):
        end = min(begin + size, down.high)
        gather_down(pixels, down, begin, end, scratch)
        gather_along(
            scratch.rows, end - begin, along.sources, along.before, along.weights, pixels.outside,
            scratch.padded[0], scratch.phases, nodes, begin, width,
        )  # fmt: skip


def gather_rows(pixels: Pixels, down: Down, along: Along, scratch: Scratch, nodes: NDArray) -> None:
    """Write the nodes of a plane that is on a grid along y alone; rare, and not compiled as a whole."""
    size, width = len(scratch.rows), pixels.columns.size
    zero, first = nodes.dtype.type(0), np.zeros(1, np.int64)
    columns = np.where(along.sources < width, along.sources, -1)
    for begin in range(down.low, down.high, size):
        end = min(begin + size, down.high)
        gather_down(pixels, down, begin, end, scratch)
        for i in range(end - begin):
            row = scratch.rows[i]
            row.flags.writeable = False  # so that it is of the type that `read_rows` is compiled for
            read_rows(
                row, first, columns, along.before, along.before + width, zero, pixels.outside,
                scratch.padded, 0,
            )  # fmt: skip
            half = along.half
            sum_along(scratch.padded, 0, 1, half.size - 1, half, nodes, begin + i, 0, width, zero, True)


@jit(fastmath=True)
def spread_strip(term: Any, target: NDArray, top: int, bottom: int, start: Real, fresh: bool) -> None:
    """Spread nodes over the pixels of rows `top` … `bottom` − 1 and add them to the target."""
    width, count = target.shape[1], term.four.shape[1]
    rows, bases = np.empty((bottom - top) * count, np.int64), np.empty(bottom - top, np.int64)
    low = high = term.four[top, 0]
    for i in range(bottom - top):
        bases[i] = i * count
        for k in range(count):
            row = term.four[top + i, k]
            low, high = min(low, row), max(high, row + 1)
            rows[bases[i] + k] = row
    places = term.places[top:bottom]
    source = term.nodes
    if term.on_grid:
        source = term.wide
        spread_along(term.nodes, low, high - low, term.along, term.phase, source, width)
        for i in range(rows.size):
            rows[i] -= low
    mix_rows(source, rows, bases, places, term.down, target, top, 0, width, start, fresh)


@jit(fastmath=True)
def add_terms(target: NDArray, one: Any, other: Any, strip: int, start: Real, fresh: bool) -> None:
    """Write `start`, or what stands in the target unless `fresh`, plus one or two terms, strip by strip.

    A term is a tuple of what it is, a `Tiles` and a `Spread`, of which the one that it is not is idle.
    """
    for top in range(0, target.shape[0], strip):
        bottom = min(top + strip, target.shape[0])
        new = fresh
        for kind, tiles, spread in (one, other):
            if kind == DIRECT:
                sum_tiles(
                    tiles.flat, tiles.starts, tiles.columns, tiles.adjacent, tiles.offset, tiles.outside,
                    tiles.down, tiles.along, tiles.window, tiles.summed, tiles.size, target, top, bottom,
                    start, new,
                )  # fmt: skip
            elif kind == WIDE:
                spread_strip(spread, target, top, bottom, start, new)
            new = False
