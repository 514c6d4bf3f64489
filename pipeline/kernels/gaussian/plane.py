"""A plane under a sum of Gaussians, in strips that stay in the second-level cache."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.gaussian.axis import Axis, plan_axis
from pipeline.kernels.gaussian.borders import Mode
from pipeline.kernels.gaussian.loops import sum_along, sum_down
from pipeline.kernels.gaussian.source import Source, scratch
from pipeline.kernels.gaussian.strips import (
    DIRECT,
    NOTHING,
    WIDE,
    Along,
    Down,
    Pixels,
    Scratch,
    Spread,
    Tiles,
    add_terms,
    gather_plane,
    gather_rows,
)
from pipeline.kernels.gaussian.vectors import ROWS

# Elements of scratch for one tile: 768 KB in float32, most of a usual second-level cache.
TILE = 196_608
STRIP = 32
# A direct sum that looks further than this goes pass by pass over the plane: its tile would be mostly rim.
FUSED_RADIUS = 64
# Widths of scratch are whole bands of `sum_down`.
BAND_COLUMNS = 32
_NO_ROWS = np.zeros((1, 1), np.int64), np.zeros(1, np.int64)

Part = tuple[int, Tiles, Spread]


@dataclass(frozen=True)
class Settings:
    """What all Gaussians of a call share.

    Attributes
    ----------
    mode : str
        How the image goes on beyond its border.
    truncate : float
        Where the kernels end, in sigmas.
    dtype : dtype
        float32 or float64, in which everything is computed.
    outside : floating
        Value beyond the border for mode "constant".
    origin : tuple of int
        Where the block begins in the image.
    """

    mode: Mode
    truncate: float
    dtype: np.dtype
    outside: np.floating
    origin: tuple[int, ...]

    @property
    def zero(self) -> np.floating:
        """Nothing, in the dtype of the computation."""
        return self.dtype.type(0)

    def axis(self, n: int, index: int, sigma: float) -> Axis:
        """Return the plan of the block's axis `index`."""
        return plan_axis(n, self.origin[index], sigma, self.truncate, self.mode, self.dtype)


@dataclass(frozen=True)
class Term:
    """One Gaussian of the sum: its source, its sign, and its axes."""

    source: Source
    sign: int
    y: Axis
    x: Axis

    @property
    def direct(self) -> bool:
        """Whether it is summed tap by tap, tile by tile."""
        return is_direct(self.y, self.x)


def is_direct(y: Axis, x: Axis) -> bool:
    """Return whether a plane is summed tap by tap, tile by tile."""
    return y.smooth is None and x.smooth is None and max(y.rim, x.rim) <= FUSED_RADIUS


def filter_plane(
    target: NDArray, terms: Sequence[Term], start: np.floating, fresh: bool, settings: Settings
) -> None:
    """Write `start`, or what stands in the target unless `fresh`, plus the sum of the terms.

    Parameters
    ----------
    target : ndarray of float, shape (y, x), C-contiguous
        May be the source of terms that are not direct.
    terms : sequence of Term
        One or two.
    start : floating
    fresh : bool
    settings : Settings
    """
    made = [_direct(term, settings) if term.direct else _wide(term, settings) for term in terms]
    one, other = (*made, (NOTHING, *made[0][1:]))[:2]
    add_terms(target, one, other, STRIP, start, fresh)


def padded_width(columns: int) -> int:
    """Return how wide scratch of so many columns is: whole bands, and no multiple of 2 KB.

    Rows a multiple of that apart would share a few sets of the first-level cache.
    """
    width = -(-columns // BAND_COLUMNS) * BAND_COLUMNS
    return width + BAND_COLUMNS if width % 512 == 0 else width


def _tile(y: Axis, x: Axis) -> tuple[int, int, int]:
    """Return the rows and columns of a tile, and how wide its scratch is."""
    rows = -(-min(STRIP, y.n) // ROWS) * ROWS
    size = min(x.n, max(128, TILE // (2 * rows + 2 * y.rim) - 2 * x.rim - BAND_COLUMNS))
    return rows, size, padded_width(size + 2 * x.rim)


def plane_bytes(y: Axis, x: Axis) -> int:
    """Return about what `filter_plane` allocates for one term."""
    item = y.gather.itemsize
    maps = 8 * (len(y.sources) + 2 * len(x.sources) + 6 * y.spread_rows[0].size)
    if is_direct(y, x):
        rows, _, pitch = _tile(y, x)
        return maps + item * (2 * rows + 2 * y.rim) * pitch
    gathered = (y.nodes + ROWS) * padded_width(x.nodes)
    along = (y.nodes + ROWS) * padded_width(x.kept) if x.smooth is not None else 0
    down = (y.kept + ROWS) * padded_width(x.kept) if y.smooth is not None else 0
    each = _gathered(y)
    seen = _seen(y, each)
    reading = seen * padded_width(min(x.n, max(128, TILE // seen)))
    reading += each * padded_width(x.n) + 2 * (x.nodes + 4) * x.step
    spreading = max(STRIP, STRIP // y.step + 5) * padded_width(x.n)
    return maps + item * max(
        gathered + reading, gathered + along, along + down, gathered + spreading, down + spreading
    )


def _direct(term: Term, settings: Settings) -> Part:
    """Return a term that is summed tap by tap, tile by tile."""
    y, x, source = term.y, term.x, term.source
    rows, size, pitch = _tile(y, x)
    tiles = Tiles(
        source.flat, source.starts(y.sources), source.columns(x.sources), source.adjacent, source.offset,
        settings.outside, y.half, x.half * settings.dtype.type(term.sign),
        scratch(rows + 2 * y.rim, pitch, settings.dtype), scratch(rows, pitch, settings.dtype), size,
    )  # fmt: skip
    nothing = np.empty((1, 1), settings.dtype)
    return DIRECT, tiles, Spread(nothing, False, nothing, 0, *_NO_ROWS, nothing, nothing)


def _wide(term: Term, settings: Settings) -> Part:
    """Return a term of which at least one axis is on a grid, or looks very far; its nodes are worked out."""
    y, x, source = term.y, term.x, term.source
    nodes = _smooth(term, _gather(term, settings), settings)
    rows = STRIP if y.smooth is None else STRIP // y.step + 5
    wide = scratch(rows, padded_width(x.n), settings.dtype)
    spread = Spread(nodes, x.smooth is not None, x.spread, x.phase, *y.spread_rows, y.spread, wide)
    nothing, none = np.empty((1, 1), settings.dtype), _NO_ROWS[1]
    tiles = Tiles(
        source.flat, none, none, source.adjacent, source.offset, settings.outside, y.half, y.half,
        nothing, nothing, 1,
    )  # fmt: skip
    return WIDE, tiles, spread


def _gather(term: Term, settings: Settings) -> NDArray:
    """Return the nodes of the plane before they are smoothed."""
    y, x, source, dtype = term.y, term.x, term.source, settings.dtype
    nodes = scratch(y.nodes + ROWS, padded_width(x.nodes), dtype)
    low, high = y.distinct
    size = max(1, min(_gathered(y), high - low))
    seen = _seen(y, size)
    tile = min(x.n, max(128, TILE // seen))
    gather = gather_rows if x.smooth is None else gather_plane
    gather(
        Pixels(
            source.flat, source.starts(np.arange(y.n + 1)), source.columns(np.arange(x.n)), source.adjacent,
            source.offset, settings.outside,
        ),
        Down(y.sources, y.step, y.gather, low, high),
        Along(x.sources, x.before, x.gather_all, x.half),
        Scratch(
            scratch(seen, padded_width(tile), dtype), tile, scratch(size, padded_width(x.n), dtype),
            np.empty((1, len(x.sources) + 1), dtype), np.empty((x.step, x.nodes + 3), dtype),
        ),
        nodes,
    )  # fmt: skip
    nodes[:low] = nodes[low]
    nodes[high : y.nodes] = nodes[high - 1]
    return nodes


def _gathered(y: Axis) -> int:
    """Return how many rows of nodes are gathered at a time."""
    return max(1, 64 // y.step)


def _seen(y: Axis, rows: int) -> int:
    """Return how many rows of pixels so many rows of nodes look at, and one that stands for outside."""
    return (rows - 1) * y.step + y.gather.shape[1] + 1


def _smooth(term: Term, nodes: NDArray, settings: Settings) -> NDArray:
    """Return the nodes smoothed, with the term's sign."""
    y, x, zero = term.y, term.x, settings.zero
    sign = settings.dtype.type(term.sign)
    if x.smooth is not None:
        along = scratch(len(nodes), padded_width(x.kept), nodes.dtype)
        sum_along(nodes, 0, y.nodes, x.radius, x.smooth * sign, along, 0, 0, x.kept, zero, True)
        nodes = along
        sign = sign * sign
    if y.smooth is None:
        if sign < 0:
            inner = nodes[: y.nodes, : x.kept]
            np.negative(inner, out=inner)
        return nodes
    # Rows beyond the last node are read for sums that nobody looks at.
    down = scratch(-(-y.kept // ROWS) * ROWS, nodes.shape[1], nodes.dtype)
    sum_down(nodes, y.radius, y.smooth * sign, down, y.kept)
    return down
