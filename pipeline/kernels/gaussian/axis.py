"""One axis of an array under one Gaussian, as index maps and weights ready for the loops."""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.gaussian import taps
from pipeline.kernels.gaussian.borders import Mode, index_map


@dataclass(frozen=True)
class Axis:
    """How `n` pixels are gathered into nodes, smoothed there, and spread again.

    Where the sum is direct, every pixel is a node and the gathering is the whole filter; where the
    axis is not filtered, the gathering copies.

    Attributes
    ----------
    n : int
        Pixels along the axis.
    nodes : int
        Nodes after gathering, with those beyond the border that smoothing needs.
    step : int
        Pixels from node to node, 1 unless on a grid.
    sources : ndarray of int64
        Which pixel stands at each position that gathering looks at; `n` for outside. Node i begins
        to look at position i × step.
    gather : ndarray, shape (1, taps)
        Weights of the pixels of a node.
    smooth : ndarray or None
        On a grid, weights of a node's neighbours from the centre out.
    spread : ndarray, shape (step, 4)
        On a grid, weights of the four nodes around a pixel.
    phase : int
        How far pixel 0 stands beyond the node before it.
    before : int
        At which position of `sources` pixel 0 stands.
    distinct : tuple of int
        The range of nodes that differ: those before equal its first, those after its last.
    """

    n: int
    nodes: int
    step: int
    sources: NDArray[np.int64]
    gather: NDArray
    smooth: NDArray | None
    spread: NDArray
    phase: int
    before: int
    distinct: tuple[int, int]

    @property
    def radius(self) -> int:
        """How many nodes smoothing looks to each side."""
        return 0 if self.smooth is None else len(self.smooth) - 1

    @property
    def kept(self) -> int:
        """Nodes that are left after smoothing."""
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
        """Weights of the pixels of a node with the 0 that comes before the first."""
        return np.concatenate([np.zeros(1, self.gather.dtype), self.gather[0]])

    @functools.cached_property
    def smooth_all(self) -> NDArray:
        """Weights of a node's neighbours from the first to the last, shape (1, 2 × radius + 1)."""
        assert self.smooth is not None
        return np.concatenate([self.smooth[:0:-1], self.smooth])[None]

    @functools.cached_property
    def spread_rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which nodes each pixel is the sum of, four on a grid, and its place between two nodes."""
        if self.smooth is None:
            return np.arange(self.n)[:, None], np.zeros(self.n, np.int64)
        at = np.arange(self.n) + self.phase
        rows = at[:, None] // self.step + np.arange(4)
        places = at % self.step
        rows[places == 0, 3] -= 1  # its weight is 0 there, and 0 × NaN is not
        return rows, places


@functools.lru_cache(maxsize=64)
def axis_of(n: int, begin: int, sigma: float, truncate: float, mode: Mode, dtype: np.dtype) -> Axis:
    """Return how an axis of `n` pixels from pixel `begin` of the image on is filtered.

    On a grid only `begin` modulo the step matters; callers reduce it, so that blocks share the result.
    """
    grid = taps.grid(sigma, truncate) if sigma > 0 else None
    if grid is None:
        half = taps.direct_weights(sigma, truncate) if sigma > 0 else np.ones(1)
        radius = len(half) - 1
        full = np.concatenate([half[:0:-1], half]).astype(dtype)
        sources = index_map(n, -radius, n + radius, mode)
        return Axis(n, n, 1, sources, full[None], None, np.ones((1, 1), dtype), 0, radius, (0, n))
    step = grid.step
    phase = begin % step
    kept = (phase + n - 1) // step + 4
    nodes = kept + 2 * grid.radius
    first = (-1 - grid.radius - 2) * step - phase
    distinct = (0, nodes)
    if mode in ("nearest", "constant"):
        # A node all of whose pixels stand beyond the border equals its neighbours farther out.
        below = (-first - 4 * step) // step
        above = -((first + 1 - n) // step)
        distinct = (max(0, below), min(nodes, above + 1))
    sources = index_map(n, first + 1, first + (nodes + 3) * step, mode)
    return Axis(
        n, nodes, step, sources, grid.gather[None, 1:].astype(dtype), grid.weights.astype(dtype),
        grid.spread.astype(dtype), phase, -first - 1, distinct,
    )  # fmt: skip


def plan_axis(n: int, begin: int, sigma: float, truncate: float, mode: Mode, dtype: np.dtype) -> Axis:
    """Return `axis_of` with the origin reduced to what matters."""
    step = taps.grid_step(sigma, truncate) if sigma > 0 else 1
    return axis_of(n, begin % step, sigma, truncate, mode, dtype)
