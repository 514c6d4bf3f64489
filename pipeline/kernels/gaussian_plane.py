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
    sum_tiles,
)
from pipeline.kernels.gaussian_source import Source, pieces, scratch

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
        At least one.
    start : floating
    fresh : bool
    settings : Settings
    """
    parts = [(_Tiles if term.direct else _Wide)(target, term, settings) for term in terms]
    for top, bottom in pieces(len(target), STRIP):
        for i, part in enumerate(parts):
            part.add(top, bottom, start, fresh and i == 0)


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
    each = max(1, 64 // y.step)
    reading = max(TILE + BAND_COLUMNS * (each + 4) * y.step, 128 * ((each + 3) * y.step + 1))
    reading += each * padded_width(x.n) + 2 * (x.nodes + 4) * x.step
    spreading = max(STRIP, STRIP // y.step + 5) * padded_width(x.n)
    return maps + item * max(
        gathered + reading, gathered + along, along + down, gathered + spreading, down + spreading
    )


class _Tiles:
    """Direct sums over a plane: tile by tile read, summed down, and summed along."""

    def __init__(self, target: NDArray, term: Term, settings: Settings) -> None:
        y, x, source = term.y, term.x, term.source
        rows, size, pitch = _tile(y, x)
        self.target = target
        self.what = (
            source.flat, source.starts(y.sources), source.columns(x.sources), source.adjacent, source.offset,
            settings.outside, y.half, x.half * settings.dtype.type(term.sign),
            scratch(rows + 2 * y.rim, pitch, settings.dtype), scratch(rows, pitch, settings.dtype), size,
        )  # fmt: skip

    def add(self, top: int, bottom: int, start: np.floating, fresh: bool) -> None:
        """Add the term to rows top … bottom − 1 of the target."""
        sum_tiles(*self.what, self.target, top, bottom, start, fresh)


class _Wide:
    """A Gaussian over a plane of which at least one axis is on a grid, or looks very far."""

    def __init__(self, target: NDArray, term: Term, settings: Settings) -> None:
        self.target, self.term, self.settings = target, term, settings
        y, x = term.y, term.x
        self.nodes = self._smooth(self._gather())
        rows = STRIP if y.smooth is None else STRIP // y.step + 5
        self.wide = scratch(rows, padded_width(x.n), settings.dtype)
        four, self.places = y.spread_rows
        self.first, self.last = four[:, 0].tolist(), four.max(axis=1).tolist()
        self.four = four if x.smooth is None else four - four[:, :1]

    def _gather(self) -> NDArray:
        """Return the nodes of the plane before they are smoothed."""
        y, x, settings = self.term.y, self.term.x, self.settings
        nodes = scratch(y.nodes + ROWS, padded_width(x.nodes), settings.dtype)
        low, high = y.distinct
        size = max(1, 64 // y.step)
        rows = scratch(min(size, high - low), padded_width(x.n), settings.dtype)
        padded = np.empty((1, len(x.sources) + 1), settings.dtype)
        phases = np.empty((x.step, x.nodes + 3), settings.dtype)
        columns = np.where(x.sources < x.n, x.sources, -1)
        for begin, end in pieces(high - low, size):
            begin, end = begin + low, end + low
            self._gather_down(begin, end, rows)
            if x.smooth is not None:
                gather_along(
                    rows, end - begin, x.sources, x.before, x.gather_all, settings.outside, padded[0], phases,
                    nodes, begin, x.n,
                )  # fmt: skip
                continue
            for i in range(end - begin):
                row = rows[i]
                row.flags.writeable = False  # so that it is of the type that `read_rows` is compiled for
                read_rows(
                    row, np.zeros(1, np.int64), columns, x.before, x.before + x.n, settings.zero,
                    settings.outside, padded, 0,
                )  # fmt: skip
                sum_along(padded, 0, 1, x.rim, x.half, nodes, begin + i, 0, x.n, settings.zero, True)
        nodes[:low] = nodes[low]
        nodes[high : y.nodes] = nodes[high - 1]
        return nodes

    def _gather_down(self, begin: int, end: int, rows: NDArray) -> None:
        """Write nodes begin … end − 1 of all columns into `rows`."""
        y, x, source, settings = self.term.y, self.term.x, self.term.source, self.settings
        seen = y.sources[begin * y.step : (end - 1) * y.step + y.gather.shape[1]]
        inside = seen[seen < y.n]
        low, high = (int(inside.min()), int(inside.max()) + 1) if inside.size else (y.n, y.n)
        # The row after the last stands for all that is outside.
        starts = source.starts(np.append(np.arange(low, high), y.n))
        at = np.minimum(seen - low, high - low)
        bases, places = np.arange(end - begin) * y.step, np.zeros(end - begin, np.int64)
        size = min(x.n, max(128, TILE // len(starts)))
        window = scratch(len(starts), padded_width(size), settings.dtype)
        columns = source.columns(np.arange(x.n))
        for left, right in pieces(x.n, size):
            last = right - left if source.adjacent else 0
            read_rows(
                source.flat, starts, columns[left:right], 0, last, source.offset, settings.outside, window, 0
            )
            mix_rows(window, at, bases, places, y.gather, rows, 0, left, right - left, settings.zero, True)

    def _smooth(self, nodes: NDArray) -> NDArray:
        """Return the nodes smoothed, with the term's sign."""
        y, x, zero = self.term.y, self.term.x, self.settings.zero
        sign = self.settings.dtype.type(self.term.sign)
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

    def add(self, top: int, bottom: int, start: np.floating, fresh: bool) -> None:
        """Spread the nodes over the pixels of rows top … bottom − 1 and add them to the target."""
        x, source, rows = self.term.x, self.nodes, self.four[top:bottom]
        if x.smooth is not None:
            low = self.first[top]
            spread_along(source, low, self.last[bottom - 1] + 1 - low, x.spread, x.phase, self.wide, x.n)
            source = self.wide
            rows = rows + (np.asarray(self.first[top:bottom]) - low)[:, None]
        bases = np.arange(bottom - top) * rows.shape[1]
        places = self.places[top:bottom]
        mix_rows(
            source, rows.ravel(), bases, places, self.term.y.spread, self.target, top, 0, x.n, start, fresh
        )
