"""Weights, coarse grid and reach of a discrete Gaussian along one axis.

A narrow Gaussian is summed directly, tap by tap, with scipy's weights. A wide one is smooth, so it is
computed on a grid whose nodes are every `step`-th pixel: the pixels are gathered into nodes with a cubic
B-spline, the nodes are smoothed, and the result is spread back with the same B-spline. The two B-splines
suppress what the grid cannot represent to the fourth power of frequency × step, at four taps a pixel each.
The weights of the smoothing are fitted so that the three stages together come nearest to the Gaussian.

Seen from any pixel, the weights on a grid sum up to at most 3.2e-5 more and 3.2e-5 less than scipy's, so on
any image results differ from scipy's by at most 3.2e-5 of its range for each axis.

Everything depends on sigma and truncate alone, so that blocks agree with the whole.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DIRECT_BELOW = 7.5  # the sigma below which the grid is slower than the direct sum, or not accurate enough
# The number of sigmas beyond which weights are below the rounding of float64, and of float32 for the grid.
LIMIT = 9.0
GRID_LIMIT = 5.6
JUMP = 2e-5  # largest jump at the kernel's end, its height × the step, that the grid may blur


@dataclass(frozen=True)
class CoarseGrid:
    """Weights of a Gaussian along one axis on a grid: gather, smooth, spread."""

    step: int  # node k is at pixel k × step of the whole image
    weights: NDArray[np.float64]  # (radius + 1,): of a node's neighbours, from the centre out
    gather: NDArray[np.float64]  # (4 × step,): of the pixels from 2 × step before a node on; the first is 0
    spread: NDArray[np.float64]  # (step, 4): of the four nodes around a pixel, by its distance from a node

    @property
    def radius(self) -> int:
        """How many nodes the smoothing looks to each side."""
        return len(self.weights) - 1


def direct_radius(sigma: float, truncate: float) -> int:
    """Return the radius at which scipy ends the kernel, in px."""
    return int(truncate * sigma + 0.5)


def grid_step(sigma: float, truncate: float) -> int:
    """Return the spacing of the grid in px, 1 for a direct sum."""
    if sigma < DIRECT_BELOW:
        return 1
    step = max(2.0, min(sigma / 4.125, max(math.sqrt(sigma), sigma / 32)))
    if truncate < 4:
        # The kernel ends with a jump, which a grid blurs: the higher the jump, the finer the grid.
        height = math.exp(-0.5 * truncate**2) / math.sqrt(2 * math.pi)
        step = min(step, sigma * JUMP / height)
    return max(1, int(step))


def grid_radius(sigma: float, truncate: float) -> int:
    """Return how many nodes the smoothing on the grid looks to each side."""
    step = grid_step(sigma, truncate)
    end = min(truncate, GRID_LIMIT) if truncate < 4 else min(max(truncate, 4.2), GRID_LIMIT)
    radius = end * sigma + (1.4 if truncate >= 4 else 2) * step
    # Gathering and spreading look 4 × step − 2 pixels far.
    return max(1, math.ceil((radius - 4 * step + 2) / step))


def reach(sigma: float, truncate: float) -> int:
    """Return how far the filter looks along one axis, its halo, in px."""
    radius = direct_radius(sigma, truncate)
    step = grid_step(sigma, truncate)
    if step == 1:
        return radius
    return max(radius, grid_radius(sigma, truncate) * step + 4 * step - 2)


def _sampled(sigma: float, radius: float, end: int) -> NDArray[np.float64]:
    """Return the Gaussian at 0 … end, cut off beyond `radius`, with a two-sided sum of 1."""
    at = np.arange(end + 1)
    weights = np.where(at <= radius, np.exp(-0.5 * (at / sigma) ** 2), 0.0)
    return weights / (2 * weights.sum() - weights[0])


@functools.lru_cache(maxsize=64)
def direct_weights(sigma: float, truncate: float) -> NDArray[np.float64]:
    """Return scipy's weights from the centre out, without those below the rounding of float64."""
    radius = direct_radius(sigma, truncate)
    if radius == 0:
        return np.ones(1)
    weights = _sampled(sigma, radius, radius)[: math.ceil(LIMIT * sigma) + 1]
    weights.flags.writeable = False
    return weights


def _spline(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cubic B-spline."""
    x = np.abs(x)
    return np.where(x < 1, 2 / 3 - x**2 + x**3 / 2, np.clip(2 - x, 0, None) ** 3 / 6)


@functools.lru_cache(maxsize=64)
def grid(sigma: float, truncate: float) -> CoarseGrid | None:
    """Return the grid of a Gaussian, or None for a direct sum."""
    step = grid_step(sigma, truncate)
    if step == 1:
        return None
    gather = _spline(np.arange(4 * step) / step - 2) / step
    spread = _spline(np.arange(step)[:, None] / step - np.arange(-1, 3))
    weights = _fit(sigma, truncate, step, grid_radius(sigma, truncate))
    for array in (gather, spread, weights):
        array.flags.writeable = False
    return CoarseGrid(step, weights, gather, spread)


def _fit(sigma: float, truncate: float, step: int, radius: int) -> NDArray[np.float64]:
    """Fit the weights of the smoothing so that all three stages come nearest to the Gaussian.

    Least squares over the pixels and over low frequencies, for pixels at several distances from a node, with
    the sum of the weights held at 1.
    """
    # A grid coarser than 8 px is fitted at 8 px, since only sigma / step matters.
    scale = min(step, 8) / step
    fitted = min(step, 8)
    width = sigma * scale
    half = (radius + 4) * fitted
    end = max(half, math.ceil(LIMIT * width))
    ideal = _sampled(width, direct_radius(sigma, truncate) * scale, end)
    if truncate >= 4:
        # The mean of scipy's and the whole Gaussian: nearer to the whole one than scipy's is, and with half
        # the jump at the end.
        ideal = (ideal + _sampled(width, math.inf, end)) / 2
    at = np.arange(-half, half + 1)
    frequencies = np.linspace(0, 0.4 / width, 24)
    waves = np.cos(2 * np.pi * np.outer(frequencies, at)) * (0.05 / math.sqrt(width))
    target = ideal[np.abs(at)]
    far = np.arange(-end, end + 1)
    spectrum = np.cos(2 * np.pi * np.outer(frequencies, far)) @ ideal[np.abs(far)] * (0.05 / math.sqrt(width))

    gram = np.zeros((radius + 1, radius + 1))
    right = np.zeros(radius + 1)
    for place in range(fitted // 2 + 1):
        response = _responses(at, fitted, radius, place)
        low = waves @ response
        gram += response.T @ response + low.T @ low
        right += response.T @ target + low.T @ spectrum
    # A Lagrange multiplier for the sum of 1, in which each weight but the centre's counts twice.
    count = np.full(radius + 1, 2.0)
    count[0] = 1
    system = np.block([[gram, count[:, None]], [count[None, :], np.zeros((1, 1))]])
    return np.linalg.solve(system, np.append(right, 1.0))[:-1]


def fit_bytes(sigma: float, truncate: float) -> int:
    """Estimate the memory for fitting the weights of a grid, in bytes."""
    step = grid_step(sigma, truncate) if sigma > 0 else 1
    if step == 1:
        return 0
    radius, fitted = grid_radius(sigma, truncate), min(step, 8)
    half = (radius + 4) * fitted
    end = max(half, LIMIT * sigma * fitted / step)
    return int(8 * (2.5 * (2 * half + 1) * (radius + 1) + 24 * 3 * (2 * end + 1) + 3 * (radius + 2) ** 2))


def _responses(at: NDArray[np.int64], step: int, radius: int, place: int) -> NDArray[np.float64]:
    """Return the kernel of a pixel, `place` px after a node, for each weight alone at 1: (at, radius + 1)."""
    columns = np.zeros((len(at), radius + 1))
    for node in range(-1, 3):
        share = _spline(np.array([place / step - node]))[0]
        for shift in range(-radius, radius + 1):
            centre = (node + shift) * step - place
            first = centre - 2 * step - at[0]
            low, high = max(first, 0), min(first + 4 * step, len(at))
            taps = _spline((at[low:high] - centre) / step) / step
            columns[low:high, abs(shift)] += share * taps
    return columns
