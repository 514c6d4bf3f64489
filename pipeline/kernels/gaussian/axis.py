"""Plans of a Gaussian along one axis of an array: index maps and weights for the loops."""

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.gaussian import taps

Mode = Literal["nearest", "reflect", "mirror", "constant"]


def index_map(n: int, start: int, stop: int, mode: Mode) -> NDArray[np.int64]:
    """Return the pixel at each position start … stop − 1 of an axis of `n` pixels and its continuation.

    The modes are those of `scipy.ndimage`; a position of no pixel gives `n`. A short axis is repeated as
    often as needed.

    Examples
    --------
    >>> index_map(3, -3, 5, "reflect")
    array([2, 1, 0, 0, 1, 2, 2, 1])
    >>> index_map(3, -2, 5, "mirror")
    array([2, 1, 0, 1, 2, 1, 0])
    >>> index_map(3, -1, 4, "constant")
    array([3, 0, 1, 2, 3])
    """
    at = np.arange(start, stop, dtype=np.int64)
    if mode == "nearest":
        return np.clip(at, 0, n - 1)
    if mode == "reflect":
        at %= 2 * n
        return np.minimum(at, 2 * n - 1 - at)
    if mode == "mirror":
        period = max(1, 2 * n - 2)
        at %= period
        return np.minimum(at, period - at)
    return np.where((at < 0) | (at >= n), n, at)


@dataclass(frozen=True)
class AxisPlan:
    """The three stages of a Gaussian along an axis: gather pixels into nodes, smooth these, spread them.

    For a direct sum every pixel is a node, and the gathering is the whole filter; for an axis that is not
    filtered the gathering copies.
    """

    n: int
    nodes: int  # after gathering, with those beyond the border that smoothing needs
    step: int  # pixels from node to node, 1 unless on a grid
    # The pixel at each position that nodes look at, `n` for beyond the border; node i looks at positions
    # from i × step on.
    sources: NDArray[np.int64]
    gather: NDArray  # (1, taps): weights of the pixels of a node
    smooth: NDArray | None  # on a grid, weights of a node's neighbours from the centre out
    spread: NDArray  # (step, 4): on a grid, weights of the four nodes around a pixel
    phase: int  # pixels from the last node before pixel 0 to pixel 0
    before: int  # position of pixel 0 in `sources`
    distinct: tuple[int, int]  # nodes that differ: those before equal the first, those after the last

    @property
    def radius(self) -> int:
        """How many nodes smoothing looks to each side, 0 without a grid."""
        return 0 if self.smooth is None else len(self.smooth) - 1

    @property
    def kept(self) -> int:
        """Number of nodes after smoothing."""
        return self.nodes - 2 * self.radius

    @property
    def rim(self) -> int:
        """How many pixels a direct sum looks to each side."""
        return self.gather.shape[1] // 2

    @functools.cached_property
    def half(self) -> NDArray:
        """Weights of a direct sum from the centre out."""
        return self.gather[0, self.rim :].copy()

    @functools.cached_property
    def gather_all(self) -> NDArray:
        """Weights of the pixels of a node, with the 0 that `gather` leaves out at the front."""
        return np.concatenate([np.zeros(1, self.gather.dtype), self.gather[0]])

    @functools.cached_property
    def smooth_all(self) -> NDArray:
        """Weights of a node's neighbours from the first to the last, shape (1, 2 × radius + 1)."""
        assert self.smooth is not None
        return np.concatenate([self.smooth[:0:-1], self.smooth])[None]

    @functools.cached_property
    def spread_rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The nodes that each pixel is the sum of, four on a grid, and the pixel's row in `spread`."""
        if self.smooth is None:
            return np.arange(self.n)[:, None], np.zeros(self.n, np.int64)
        position = np.arange(self.n) + self.phase
        rows = position[:, None] // self.step + np.arange(4)
        phases = position % self.step
        rows[phases == 0, 3] -= 1  # its weight is 0, and 0 × NaN is not
        return rows, phases


def plan_axis(n: int, begin: int, sigma: float, truncate: float, mode: Mode, dtype: np.dtype) -> AxisPlan:
    """Plan the filter of an axis of `n` pixels, which starts at pixel `begin` of the image."""
    step = taps.grid_step(sigma, truncate) if sigma > 0 else 1
    # Nothing else of `begin` matters, so blocks share cached plans.
    return _plan(n, begin % step, sigma, truncate, mode, dtype)


@functools.lru_cache(maxsize=64)
def _plan(n: int, phase: int, sigma: float, truncate: float, mode: Mode, dtype: np.dtype) -> AxisPlan:
    grid = taps.grid(sigma, truncate) if sigma > 0 else None
    if grid is None:
        half = taps.direct_weights(sigma, truncate) if sigma > 0 else np.ones(1)
        radius = len(half) - 1
        full = np.concatenate([half[:0:-1], half]).astype(dtype)
        sources = index_map(n, -radius, n + radius, mode)
        return AxisPlan(n, n, 1, sources, full[None], None, np.ones((1, 1), dtype), 0, radius, (0, n))
    step = grid.step
    kept = (phase + n - 1) // step + 4
    nodes = kept + 2 * grid.radius
    first = (-1 - grid.radius - 2) * step - phase
    distinct = (0, nodes)
    if mode in ("nearest", "constant"):
        # A node whose pixels are all beyond the border equals its neighbours farther out.
        below = (-first - 4 * step) // step
        above = -((first + 1 - n) // step)
        distinct = (max(0, below), min(nodes, above + 1))
    sources = index_map(n, first + 1, first + (nodes + 3) * step, mode)
    return AxisPlan(
        n, nodes, step, sources, grid.gather[None, 1:].astype(dtype), grid.weights.astype(dtype),
        grid.spread.astype(dtype), phase, -first - 1, distinct,
    )  # fmt: skip
