"""Measures of how well a background was subtracted, without a ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.explore.granulometry import finite_floats, middle_and_spread
from pipeline.explore.scales import finite
from pipeline.kernels.gaussian import difference_of_gaussians

TILES = 8  # a side, in which the level of the background is measured
_FEWEST = 20  # pixels from which a level counts


@dataclass(frozen=True)
class Regions:
    """Masks of the brightest features and of the background.

    Found once, in the plane before any step, so that every setting is measured in the same pixels.
    """

    bright: NDArray[np.bool_]
    background: NDArray[np.bool_]  # not a feature, and not touching one
    around: NDArray[np.bool_]  # the background near the brightest features
    sign: int = 1  # −1 where the features are dark


def find_regions(image: NDArray, dark: bool = False) -> Regions:
    """Find bright (or dark) features and the background of a plane before any step.

    A difference of Gaussians (1 px, and 1/20 of the shorter side) of three robust standard deviations is
    a feature, of five a bright one; at most the brightest 2 % of all pixels are bright.
    """
    sign = -1 if dark else 1
    wide = max(2.0, min(image.shape) / 20)
    local = sign * difference_of_gaussians(finite_floats(image), (1.0, 1.0), (wide, wide))
    middle, sigma = middle_and_spread(local)
    top, most = (float(value) for value in np.percentile(local, (98, 99.9)))
    bright = local >= max(top, min(middle + 5 * sigma, most))
    background = ~ndimage.binary_dilation(local > middle + 3 * sigma, iterations=2)
    if np.count_nonzero(background) < 0.02 * background.size:
        # Features everywhere: take the lower half for the background.
        background = local < middle
    around = background & (ndimage.distance_transform_edt(~bright) <= wide)
    if np.count_nonzero(around) < _FEWEST:
        around = background
    return Regions(bright, background, around, sign)


@dataclass(frozen=True)
class PlaneMeasures:
    """Measures of a plane, in the units of its pixels."""

    spread: float  # standard deviation of the background's level in 8 × 8 tiles
    signal: float  # mean height of the brightest features above the background around them
    noise: float  # standard deviation, from differences of neighbours in the background
    contrast: float  # signal ÷ standard deviation of all background pixels
    negative: float  # share of the pixels below 0


def measure(pixels: NDArray, regions: Regions, before: bool = False) -> PlaneMeasures:
    """Measure a plane in regions of the plane before any step; `before` says that it is that plane."""
    image = np.asarray(pixels, np.float64) * (regions.sign if before else 1)
    signal = _level(image[regions.bright]) - _level(image[regions.around])
    deviation = _deviation(image[regions.background])
    neighbours = regions.background[:, 1:] & regions.background[:, :-1]
    return PlaneMeasures(
        spread=_spread(image, regions.background),
        signal=signal,
        # A difference of two has twice the variance of one.
        noise=_deviation((image[:, 1:] - image[:, :-1])[neighbours]) / 2**0.5,
        contrast=signal / deviation if deviation > 0 else float("nan"),
        negative=float(np.mean(pixels < 0)),
    )


def _spread(image: NDArray, background: NDArray[np.bool_]) -> float:
    rows, columns = (np.array_split(np.arange(size), TILES) for size in image.shape)
    tiles = (np.ix_(tile_rows, tile_columns) for tile_rows in rows for tile_columns in columns)
    tile_values = (finite(image[tile][background[tile]]) for tile in tiles)
    levels = [_level(values) for values in tile_values if values.size >= _FEWEST]
    return float(np.std(levels)) if len(levels) > 1 else float("nan")


# Medians of a few counts of 8 bits would move in steps: means and deviations without the tails do not.


def _level(values: NDArray) -> float:
    return float(np.mean(_without_tails(values, 5)))


def _deviation(values: NDArray) -> float:
    return float(np.std(_without_tails(values, 1)))


def _without_tails(values: NDArray, percent: float) -> NDArray:
    numbers = finite(values)
    if not numbers.size:
        return np.array([np.nan])
    return np.clip(numbers, *np.percentile(numbers, (percent, 100 - percent)))
