"""A plane filtered by a sum of Gaussians, in strips that stay in the second-level cache."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.gaussian.axis import AxisPlan, Mode, plan_axis
from pipeline.kernels.gaussian.loops import Destination, PixelRows, sum_along, sum_down
from pipeline.kernels.gaussian.strided import StridedImage
from pipeline.kernels.gaussian.strips import (
    DIRECT,
    NODES,
    NOTHING,
    GatherPlan,
    TermArrays,
    add_terms,
    gather_plane,
    gather_rows,
)
from pipeline.kernels.gaussian.sums import DOWN_ROWS
from pipeline.kernels.vectors import aligned

TILE = 196_608  # elements of scratch for a tile: 768 KB in float32, most of a usual second-level cache
STRIP = 32  # rows filtered at a time
# A tile of a direct sum with a larger radius would be mostly rim; the plane is gathered as on a grid instead.
FUSED_RADIUS = 64
BAND_COLUMNS = 32  # of `sum_down`: DOWN_BYTES of float32


@dataclass(frozen=True)
class CallSettings:
    """Parameters that all Gaussians of a call share."""

    mode: Mode
    truncate: float
    dtype: np.dtype  # of the computation and the result, float32 or float64
    outside: np.floating  # value beyond the border in mode "constant"
    origin: tuple[int, ...]  # the block's first pixel in the image

    @property
    def zero(self) -> np.floating:
        """0 in the dtype of the computation."""
        return self.dtype.type(0)

    def axis(self, n: int, index: int, sigma: float) -> AxisPlan:
        """Plan the block's axis `index`, which is `n` pixels long."""
        return plan_axis(n, self.origin[index], sigma, self.truncate, self.mode, self.dtype)

    def pixels(
        self, plane: StridedImage, rows: NDArray[np.int64], columns: NDArray[np.int64], first: int
    ) -> PixelRows:
        """Locate rows and columns of a plane; column 0 of the plane is columns[first]."""
        last = first + plane.shape[-1]
        side_by_side = (first, last) if plane.adjacent else (0, 0)
        return PixelRows(
            plane.starts(rows), plane.columns(columns), *side_by_side, plane.offset, self.outside
        )


@dataclass(frozen=True)
class Term:
    """One Gaussian of a sum."""

    sign: int  # +1 or −1
    y: AxisPlan
    x: AxisPlan

    @property
    def direct(self) -> bool:
        """Whether it is a direct sum in tiles."""
        return is_direct(self.y, self.x)


def is_direct(y: AxisPlan, x: AxisPlan) -> bool:
    """Return whether a Gaussian is a direct sum in tiles."""
    return y.smooth is None and x.smooth is None and max(y.rim, x.rim) <= FUSED_RADIUS


def filter_plane(
    source: StridedImage,
    target: NDArray,
    terms: Sequence[Term],
    start: np.floating,
    fresh: bool,
    settings: CallSettings,
) -> None:
    """Add one or two Gaussians of a plane to `start` if `fresh`, else to the target.

    Parameters
    ----------
    source : StridedImage
        The plane.
    target : numpy.ndarray
        C-contiguous, (height, width). May be the source if no term is direct, since nodes are gathered
        first.
    """
    arrays = [_arrays(source, term, settings) for term in terms]
    other = arrays[1] if len(arrays) > 1 else TermArrays(NOTHING, *arrays[0][1:])
    add_terms(target, source.flat, arrays[0], other, STRIP, start, fresh)


def padded_width(columns: int) -> int:
    """Return the width of scratch arrays for so many columns, in whole bands."""
    width = -(-columns // BAND_COLUMNS) * BAND_COLUMNS
    # Rows a multiple of 2 KB apart would share a few sets of the first-level cache.
    return width + BAND_COLUMNS if width % 512 == 0 else width


def _tile(y: AxisPlan, x: AxisPlan) -> tuple[int, int, int]:
    """Return the rows and columns of a tile, and the width of its scratch."""
    rows = -(-min(STRIP, y.n) // DOWN_ROWS) * DOWN_ROWS
    size = min(x.n, max(128, TILE // (2 * rows + 2 * y.rim) - 2 * x.rim - BAND_COLUMNS))
    return rows, size, padded_width(size + 2 * x.rim)


def _spread_height(y: AxisPlan) -> int:
    """Return how many rows of nodes a strip of pixels is spread from."""
    return STRIP if y.smooth is None else STRIP // y.step + 5


def _gathered(y: AxisPlan) -> int:
    """Return how many rows of nodes are gathered at once."""
    return max(1, 64 // y.step)


def _seen(y: AxisPlan, rows: int) -> int:
    """Return how many rows of pixels so many rows of nodes look at, and one more for beyond the border."""
    return (rows - 1) * y.step + y.gather.shape[1] + 1


def plane_bytes(y: AxisPlan, x: AxisPlan) -> int:
    """Estimate what `filter_plane` allocates for one term, in bytes."""
    item = y.gather.itemsize
    maps = 8 * (len(y.sources) + 2 * len(x.sources) + 6 * y.spread_rows[0].size)
    if is_direct(y, x):
        rows, _, pitch = _tile(y, x)
        return maps + item * (2 * rows + 2 * y.rim) * pitch
    gathered = (y.nodes + DOWN_ROWS) * padded_width(x.nodes)
    along = (y.nodes + DOWN_ROWS) * padded_width(x.kept) if x.smooth is not None else 0
    down = (y.kept + DOWN_ROWS) * padded_width(x.kept) if y.smooth is not None else 0
    rows = _gathered(y)
    seen = _seen(y, rows)
    reading = seen * padded_width(min(x.n, max(128, TILE // seen)))
    reading += rows * padded_width(x.n) + 2 * (x.nodes + 4) * x.step
    spreading = max(STRIP, _spread_height(y)) * padded_width(x.n)
    return maps + item * max(
        gathered + reading, gathered + along, along + down, gathered + spreading, down + spreading
    )


def _arrays(source: StridedImage, term: Term, settings: CallSettings) -> TermArrays:
    """Prepare a term for the loops; one that is not direct is gathered into nodes and smoothed."""
    y, x = term.y, term.x
    nodes = window = summed = wide = np.empty((1, 1), settings.dtype)
    rows, size, pitch = _tile(y, x)
    if term.direct:
        window = aligned((rows + 2 * y.rim, pitch), settings.dtype)
        summed = aligned((rows, pitch), settings.dtype)
    else:
        nodes = _smooth(term, _gather(source, term, settings), settings)
        wide = aligned((_spread_height(y), padded_width(x.n)), settings.dtype)
    return TermArrays(
        DIRECT if term.direct else NODES,
        settings.pixels(source, y.sources, x.sources, x.rim),
        y.half, x.half * settings.dtype.type(term.sign), window, summed, size,
        nodes, x.smooth is not None, x.spread, x.phase, *y.spread_rows, y.spread, wide,
    )  # fmt: skip


def _gather(source: StridedImage, term: Term, settings: CallSettings) -> NDArray:
    """Gather a plane into nodes."""
    y, x, dtype = term.y, term.x, settings.dtype
    nodes = aligned((y.nodes + DOWN_ROWS, padded_width(x.nodes)), dtype)
    low, high = y.distinct
    size = max(1, min(_gathered(y), high - low))
    seen = _seen(y, size)
    tile = min(x.n, max(128, TILE // seen))
    gather = gather_rows if x.smooth is None else gather_plane
    plan = GatherPlan(
        y.sources, y.step, y.gather, low, high, x.sources, x.before, x.gather_all, x.half,
        aligned((seen, padded_width(tile)), dtype), tile, aligned((size, padded_width(x.n)), dtype),
        np.empty((x.step, x.nodes + 3), dtype),
    )  # fmt: skip
    pixels = settings.pixels(source, np.arange(y.n + 1), np.arange(x.n), 0)
    gather(source.flat, pixels, plan, nodes)
    # Beyond the border all nodes are alike.
    nodes[:low] = nodes[low]
    nodes[high : y.nodes] = nodes[high - 1]
    return nodes


def _smooth(term: Term, nodes: NDArray, settings: CallSettings) -> NDArray:
    """Smooth nodes, and multiply them by the sign of the term."""
    y, x = term.y, term.x
    sign = settings.dtype.type(term.sign)
    if x.smooth is not None:
        along = aligned((len(nodes), padded_width(x.kept)), nodes.dtype)
        dest = Destination(along, 0, 0, x.kept, settings.zero, True)
        sum_along(nodes, 0, y.nodes, x.radius, x.smooth * sign, dest)
        nodes = along
        sign = sign * sign  # 1: it is in the nodes now
    if y.smooth is None:
        if sign < 0:
            inner = nodes[: y.nodes, : x.kept]
            np.negative(inner, out=inner)
        return nodes
    # sum_down writes DOWN_ROWS at a time, the last ones from rows beyond the last node, which are not used.
    down = aligned((-(-y.kept // DOWN_ROWS) * DOWN_ROWS, nodes.shape[1]), nodes.dtype)
    sum_down(nodes, y.radius, y.smooth * sign, down, y.kept)
    return down
