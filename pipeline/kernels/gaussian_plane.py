"""A plane under a sum of Gaussians, in strips that stay in the second-level cache."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.borders import Mode, index_map
from pipeline.kernels.gaussian_axis import Axis, plan_axis
from pipeline.kernels.gaussian_loops import gather_rows, mix_rows, smooth_rows, spread_rows

# Elements of scratch for one tile: 768 KB in float32, most of a usual second-level cache.
TILE = 196_608
STRIP = 32
# A direct sum that looks further than this goes pass by pass over the plane: its tile would be mostly rim.
FUSED_RADIUS = 64


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
    outside : float
        Value beyond the border for mode "constant".
    origin : tuple of int
        Where the block begins in the image.
    """

    mode: Mode
    truncate: float
    dtype: np.dtype
    outside: float
    origin: tuple[int, ...]

    def axis(self, n: int, index: int, sigma: float) -> Axis:
        """Return the plan of the block's axis `index`."""
        return plan_axis(n, self.origin[index], sigma, self.truncate, self.mode, self.dtype)


@dataclass(frozen=True)
class Source:
    """A plane of any dtype and strides, seen as floats with a constant taken off."""

    plane: NDArray
    offset: np.floating

    def read(self, rows: slice, columns: slice, target: NDArray) -> None:
        """Write a part of it into `target`."""
        np.subtract(self.plane[rows, columns], self.offset, out=target)


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
        radius = max(self.y.gather.shape[1], self.x.gather.shape[1]) // 2
        return self.y.smooth is None and self.x.smooth is None and radius <= FUSED_RADIUS


def pieces(length: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of pieces of `size` that cover `length`."""
    for begin in range(0, length, size):
        yield begin, min(begin + size, length)


def shaped(buffer: NDArray, rows: int, columns: int) -> NDArray:
    """Return the beginning of a flat buffer as rows."""
    return buffer[: rows * columns].reshape(rows, columns)


def filter_plane(
    target: NDArray, terms: Sequence[Term], start: float, fresh: bool, settings: Settings
) -> None:
    """Write `start`, or what stands in the target unless `fresh`, plus the sum of the terms.

    Parameters
    ----------
    target : ndarray of float, shape (y, x), C-contiguous
        May be the source of terms that are not direct.
    terms : sequence of Term
        At least one.
    start : float
    fresh : bool
    settings : Settings
    """
    direct = [term for term in terms if term.direct]
    coarse = [(term, _nodes(term, settings)) for term in terms if not term.direct]
    height, _ = target.shape
    for top, bottom in pieces(height, STRIP):
        blank = fresh
        if direct:
            _direct_strip(target, direct, top, bottom, start, fresh, settings)
            blank = False
        for term, nodes in coarse:
            _spread_strip(target, term, nodes, top, bottom, start, blank)
            blank = False


def _direct_strip(
    target: NDArray,
    terms: Sequence[Term],
    top: int,
    bottom: int,
    start: float,
    fresh: bool,
    settings: Settings,
) -> None:
    """Add the direct terms, all of one source, to rows top … bottom − 1."""
    rim_y = max(term.y.gather.shape[1] // 2 for term in terms)
    rim_x = max(term.x.gather.shape[1] // 2 for term in terms)
    rows = bottom - top
    widest = max(128, TILE // (2 * rows + 2 * rim_y) - 2 * rim_x)
    columns = min(widest, target.shape[1]) + 2 * rim_x
    window = np.empty((rows + 2 * rim_y) * columns, settings.dtype)
    mixed = np.empty(rows * columns, settings.dtype)
    all_rows = np.arange(rows + 2 * rim_y)
    zeros = np.zeros(rows, np.int64)
    for left, right in pieces(target.shape[1], widest):
        box = (top - rim_y, bottom + rim_y, left - rim_x, right + rim_x)
        tile = _read_window(terms[0].source, box, window, settings)
        blank = fresh
        for term in terms:
            rim = term.y.gather.shape[1] // 2
            across = shaped(mixed, rows, tile.shape[1])
            if rim:
                bases = all_rows[rim_y - rim : rim_y - rim + rows]
                mix_rows(tile, all_rows, bases, zeros, term.y.gather, across, 0, 0, start * 0, True)
            else:
                across = tile[rim_y : rim_y + rows]
            half = term.x.gather[0, term.x.gather.shape[1] // 2 :] * term.sign
            smooth_rows(across, rim_x, half, target, top, left, right - left, start, blank)
            blank = False


def _read_window(
    source: Source, box: tuple[int, int, int, int], buffer: NDArray, settings: Settings
) -> NDArray:
    """Return a part of the plane that may reach beyond its border by less than a kernel's radius.

    A position beyond the border then mirrors, or repeats, one that lies within the part.
    """
    top, bottom, left, right = box
    height, width = source.plane.shape
    window = shaped(buffer, bottom - top, right - left)
    y0, y1, x0, x1 = max(top, 0), min(bottom, height), max(left, 0), min(right, width)
    body = window[y0 - top : y1 - top]
    source.read(slice(y0, y1), slice(x0, x1), body[:, x0 - left : x1 - left])
    for begin, end in ((left, x0), (x1, right)):
        if begin < end:
            side = body[:, begin - left : end - left]
            if settings.mode == "constant":
                side[...] = settings.outside
            else:
                side[...] = body[:, index_map(width, begin, end, settings.mode) - left]
    for begin, end in ((top, y0), (y1, bottom)):
        if begin < end:
            side = window[begin - top : end - top]
            if settings.mode == "constant":
                side[...] = settings.outside
            else:
                side[...] = window[index_map(height, begin, end, settings.mode) - top]
    return window


def _nodes(term: Term, settings: Settings) -> NDArray:
    """Return the smoothed nodes of a plane, signed, ready to be spread."""
    y, x = term.y, term.x
    gathered = np.empty((y.nodes, x.nodes), settings.dtype)
    rows_each = max(1, 64 // y.step)
    strip = np.empty((min(rows_each, y.nodes), x.n), settings.dtype)
    phases = np.empty((x.step, x.nodes + 3), settings.dtype)
    padded = np.empty((1, x.sources.size), settings.dtype)
    for begin, end in pieces(y.nodes, rows_each):
        rows = strip[: end - begin]
        gather_strip(y, begin, end, term.source, rows, settings)
        if x.smooth is not None:
            gather_rows(
                rows,
                x.sources,
                _gather_weights(x),
                settings.dtype.type(settings.outside),
                phases,
                gathered,
                begin,
            )
        else:
            _smooth_padded(rows, x, padded, gathered, begin, settings)
    zero = settings.dtype.type(0)
    if x.smooth is not None:
        along = np.empty((y.nodes, x.kept), settings.dtype)
        smooth_rows(gathered, x.radius, x.smooth, along, 0, 0, x.kept, zero, True)
        gathered = along
    if y.smooth is not None:
        down = np.empty((y.kept, gathered.shape[1]), settings.dtype)
        full = np.concatenate([y.smooth[:0:-1], y.smooth])[None]
        rows_of = np.arange(y.nodes)
        mix_rows(
            gathered, rows_of, rows_of[: y.kept], np.zeros(y.kept, np.int64), full, down, 0, 0, zero, True
        )
        gathered = down
    return gathered if term.sign > 0 else np.negative(gathered, out=gathered)


def _gather_weights(axis: Axis) -> NDArray:
    """Return the weights of the pixels of a node with the 0 that gathering along rows expects first."""
    return np.concatenate([axis.gather.dtype.type([0]), axis.gather[0]])


def gather_strip(
    axis: Axis, begin: int, end: int, source: Source, target: NDArray, settings: Settings
) -> None:
    """Gather rows of a source into nodes begin … end − 1."""
    count = axis.gather.shape[1]
    seen = axis.sources[begin * axis.step : (end - 1) * axis.step + count]
    inside = seen[seen < axis.n]
    low, high = (int(inside.min()), int(inside.max()) + 1) if inside.size else (0, 0)
    rows = np.where(seen < axis.n, seen - low, high - low)
    bases = np.arange(end - begin) * axis.step
    places = np.zeros(end - begin, np.int64)
    widest = min(target.shape[1], max(64, TILE // (high - low + 1)))
    window = np.empty((high - low + 1) * widest, settings.dtype)
    zero = settings.dtype.type(0)
    for left, right in pieces(target.shape[1], widest):
        part = shaped(window, high - low + 1, right - left)
        if inside.size:
            source.read(slice(low, high), slice(left, right), part[:-1])
        part[-1] = settings.outside
        mix_rows(part, rows, bases, places, axis.gather, target, 0, left, zero, True)


def _smooth_padded(
    rows: NDArray, axis: Axis, padded: NDArray, target: NDArray, top: int, settings: Settings
) -> None:
    """Filter rows directly along an axis, however far it looks."""
    half = axis.gather[0, axis.gather.shape[1] // 2 :]
    inside = axis.sources < axis.n
    for i, row in enumerate(rows):
        padded[0] = np.where(inside, row[np.where(inside, axis.sources, 0)], settings.outside)
        smooth_rows(padded, len(half) - 1, half, target, top + i, 0, axis.n, settings.dtype.type(0), True)


def _spread_strip(
    target: NDArray, term: Term, nodes: NDArray, top: int, bottom: int, start: float, fresh: bool
) -> None:
    """Add a term's nodes, spread over the pixels, to rows top … bottom − 1."""
    y, x = term.y, term.x
    if y.smooth is None:
        low, high = top, bottom
        rows, places = np.arange(bottom - top)[:, None], np.zeros(bottom - top, np.int64)
    else:
        four, at = y.spread_rows
        low, high = int(four[top, 0]), int(four[bottom - 1].max()) + 1
        rows, places = four[top:bottom] - low, at[top:bottom]
    part = nodes[low:high]
    if x.smooth is not None:
        wide = np.empty((high - low, x.n), nodes.dtype)
        spread_rows(part, x.spread, x.phase, wide)
        part = wide
    bases = np.arange(bottom - top) * rows.shape[1]
    mix_rows(part, rows.ravel(), bases, places, y.spread, target, top, 0, start, fresh)
