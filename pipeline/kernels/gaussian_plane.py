"""A plane under a sum of Gaussians, in strips that stay in the second-level cache."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.borders import Mode
from pipeline.kernels.gaussian_axis import Axis, plan_axis
from pipeline.kernels.gaussian_lanes import ROWS
from pipeline.kernels.gaussian_loops import (
    gather_along,
    mix_rows,
    read_rows,
    spread_along,
    sum_along,
    sum_down,
)
from pipeline.kernels.gaussian_source import Source, pieces

# Elements of scratch for one tile: 768 KB in float32, most of a usual second-level cache.
TILE = 196_608
STRIP = 32
# A direct sum that looks further than this goes pass by pass over the plane: its tile would be mostly rim.
FUSED_RADIUS = 64
# Widths of scratch are whole bands of `sum_down`.
BAND_COLUMNS = 32


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
        return self.y.smooth is None and self.x.smooth is None and max(self.y.rim, self.x.rim) <= FUSED_RADIUS


def filter_plane(
    target: NDArray, terms: Sequence[Term], start: np.floating, fresh: bool, settings: Settings
) -> None:
    """Write `start`, or what stands in the target unless `fresh`, plus the sum of the terms.

    Parameters
    ----------
    target : ndarray of float, shape (y, x), C-contiguous
        May be the source of terms that are not direct.
    terms : sequence of Term
        At least one; those that are direct have one source.
    start : floating
    fresh : bool
    settings : Settings
    """
    narrow = [term for term in terms if term.direct]
    tiles = _Tiles(target, narrow, settings) if narrow else None
    wide = [_Wide(term, settings) for term in terms if not term.direct]
    for top, bottom in pieces(len(target), STRIP):
        if tiles is not None:
            tiles.add(top, bottom, start, fresh)
        for i, term in enumerate(wide):
            term.add(target, top, bottom, start, fresh and i == 0 and tiles is None)


class _Tiles:
    """Direct sums over a plane: each tile is read once for all of them, then summed down and along."""

    def __init__(self, target: NDArray, terms: Sequence[Term], settings: Settings) -> None:
        self.target, self.terms, self.settings = target, terms, settings
        self.source = source = terms[0].source
        y = max((term.y for term in terms), key=lambda axis: axis.rim)
        x = max((term.x for term in terms), key=lambda axis: axis.rim)
        self.rim = y.rim, x.rim
        self.starts, self.columns = source.starts(y.sources), source.columns(x.sources)
        height, width = target.shape
        rows = -(-min(STRIP, height) // ROWS) * ROWS
        room = TILE // (2 * rows + 2 * y.rim) - 2 * x.rim - BAND_COLUMNS
        self.size = min(width, max(128, room))
        pitch = -(-(self.size + 2 * x.rim) // BAND_COLUMNS) * BAND_COLUMNS
        if pitch % 512 == 0:  # rows a multiple of 2 KB apart would share a few sets of the cache
            pitch += BAND_COLUMNS
        self.window = np.empty((rows + 2 * y.rim, pitch), settings.dtype)
        self.summed = np.empty((rows, pitch), settings.dtype)
        self.halves = [(term.y.half, term.x.half * settings.dtype.type(term.sign)) for term in terms]

    def add(self, top: int, bottom: int, start: np.floating, fresh: bool) -> None:
        """Add the terms to rows top … bottom − 1 of the target."""
        (rim_y, rim_x), source, count = self.rim, self.source, bottom - top
        zero = self.settings.outside
        starts = self.starts[top : bottom + 2 * rim_y]
        for left, right in pieces(self.target.shape[1], self.size):
            first = max(0, rim_x - left)
            last = min(right - left + 2 * rim_x, self.target.shape[1] + rim_x - left)
            if not source.adjacent:
                first = last = 0
            columns = self.columns[left : right + 2 * rim_x]
            read_rows(source.flat, starts, columns, first, last, source.offset, zero, self.window)
            for i, (down, along) in enumerate(self.halves):
                rows, skip = self.summed, 0
                if len(down) > 1:
                    sum_down(self.window, rim_y, down, rows, count)
                else:
                    rows, skip = self.window, rim_y
                sum_along(
                    rows, skip, count, rim_x, along, self.target, top, left, right - left, start,
                    fresh and i == 0,
                )  # fmt: skip


class _Wide:
    """A Gaussian over a plane of which at least one axis is on a grid, or looks very far."""

    def __init__(self, term: Term, settings: Settings) -> None:
        self.term, self.settings = term, settings
        self.nodes = self._smooth(self._gather())
        rows = STRIP if term.y.smooth is None else STRIP // term.y.step + 5
        self.wide = np.empty((rows, term.x.n), settings.dtype)

    def _gather(self) -> NDArray:
        """Return the nodes of the plane before they are smoothed."""
        y, x, settings = self.term.y, self.term.x, self.settings
        nodes = np.empty((y.nodes, x.nodes), settings.dtype)
        size = max(1, 64 // y.step)
        rows = np.empty((min(size, y.nodes), x.n), settings.dtype)
        phases = np.empty((x.step, x.nodes + 3), settings.dtype)
        padded = np.empty((1, len(x.sources)), settings.dtype)
        for begin, end in pieces(y.nodes, size):
            self._gather_down(begin, end, rows)
            if x.smooth is not None:
                gather_along(
                    rows, end - begin, x.sources, x.gather_all, settings.outside, phases, nodes, begin
                )
                continue
            for i in range(end - begin):
                starts = np.zeros(1, np.int64)
                columns = np.where(x.sources < x.n, x.sources, -1)
                read_rows(
                    rows[i], starts, columns, x.rim, x.rim + x.n, settings.zero, settings.outside, padded
                )
                sum_along(padded, 0, 1, x.rim, x.half, nodes, begin + i, 0, x.n, settings.zero, True)
        return nodes

    def _gather_down(self, begin: int, end: int, rows: NDArray) -> None:
        """Write nodes begin … end − 1 of all columns into `rows`."""
        y, source, settings = self.term.y, self.term.source, self.settings
        seen = y.sources[begin * y.step : (end - 1) * y.step + y.gather.shape[1]]
        inside = seen[seen < y.n]
        low, high = (int(inside.min()), int(inside.max()) + 1) if inside.size else (y.n, y.n)
        # The row after the last stands for all that is outside.
        starts = source.starts(np.append(np.arange(low, high), y.n))
        at = np.minimum(seen - low, high - low)
        bases, places = np.arange(end - begin) * y.step, np.zeros(end - begin, np.int64)
        size = min(rows.shape[1], max(128, TILE // len(starts)))
        window = np.empty((len(starts), size + 16), settings.dtype)
        columns = source.columns(np.arange(rows.shape[1]))
        for left, right in pieces(rows.shape[1], size):
            last = right - left if source.adjacent else 0
            read_rows(
                source.flat, starts, columns[left:right], 0, last, source.offset, settings.outside, window
            )
            mix_rows(window, at, bases, places, y.gather, rows, 0, left, right - left, settings.zero, True)

    def _smooth(self, nodes: NDArray) -> NDArray:
        """Return the nodes smoothed, with the term's sign."""
        y, x, zero = self.term.y, self.term.x, self.settings.zero
        sign = self.settings.dtype.type(self.term.sign)
        if x.smooth is not None:
            along = np.empty((y.nodes, x.kept), nodes.dtype)
            sum_along(nodes, 0, y.nodes, x.radius, x.smooth, along, 0, 0, x.kept, zero, True)
            nodes = along
        if y.smooth is None:
            return np.multiply(nodes, sign, out=nodes)
        down = np.empty((y.kept, nodes.shape[1]), nodes.dtype)
        rows = np.arange(y.nodes)
        places = np.zeros(y.kept, np.int64)
        weights = y.smooth_all * sign
        mix_rows(nodes, rows, rows[: y.kept], places, weights, down, 0, 0, nodes.shape[1], zero, True)
        return down

    def add(self, target: NDArray, top: int, bottom: int, start: np.floating, fresh: bool) -> None:
        """Spread the nodes over the pixels of rows top … bottom − 1 and add them to the target."""
        y, x = self.term.y, self.term.x
        four, places = y.spread_rows
        low, high = int(four[top, 0]), int(four[bottom - 1].max()) + 1
        source, rows = self.nodes, four[top:bottom]
        if x.smooth is not None:
            spread_along(source, low, high - low, x.spread, x.phase, self.wide)
            source, rows = self.wide, rows - low
        bases = np.arange(bottom - top) * rows.shape[1]
        mix_rows(source, rows.ravel(), bases, places[top:bottom], y.spread, target, top, 0, x.n, start, fresh)
