"""Contrast limits, histograms, ticks and scale bars as numbers, for matplotlib and SVG alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.units import ratio, short_unit

_BAR = 0.25  # the longest scale bar, as a share of the picture's width


def finite(values: NDArray) -> NDArray:
    """Return the finite values as a 1D array."""
    flat = values.reshape(-1)
    return flat[np.isfinite(flat)] if flat.dtype.kind == "f" else flat


def limits(values: NDArray) -> tuple[float, float]:
    """Return black and white levels: percentiles, so that a few hot pixels do not darken the rest.

    >>> limits(np.array([5, 5, 5]))
    (5.0, 6.0)
    """
    numbers = finite(values)
    if numbers.size == 0:
        return 0.0, 1.0
    low, high = (float(bound) for bound in np.percentile(numbers, (0.5, 99.8)))
    if high <= low:
        low, high = float(numbers.min()), float(numbers.max())
    return (low, high) if high > low else (low, low + max(1.0, 4 * math.ulp(low)))


def histogram_span(values: NDArray, bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the range of a histogram: wider than black to white, but not as far as a hot pixel."""
    numbers = finite(values)
    if not numbers.size:
        return bounds
    room = bounds[1] - bounds[0]
    low, high = max(float(numbers.min()), bounds[0] - room), min(float(numbers.max()), bounds[1] + room)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def count_bins(
    series: Sequence[NDArray], span: tuple[float, float], bins: int
) -> tuple[NDArray, list[NDArray]]:
    """Histogram sets of finite values in about `bins` shared bins; return the edges and each set's counts."""
    low, high = span
    width = (high - low) / bins
    if all(values.dtype.kind in "iu" or np.array_equal(values, np.rint(values)) for values in series):
        # Else some bins would hold one integer more than their neighbours.
        width, low = max(1.0, float(math.ceil(width))), math.floor(low) - 0.5
    # Edges nearer than the spacing of large floats would coincide.
    width = max(width, 4 * math.ulp(max(abs(low), abs(high))))
    edges = low + width * np.arange(max(2, math.ceil((high - low) / width)) + 1)
    ends = (float(edges[0]), float(edges[-1]))
    return edges, [np.histogram(values, len(edges) - 1, ends)[0] for values in series]


def ticks(low: float, high: float, about: int, least: float = 0.0) -> list[float]:
    """Return about `about` round numbers from `low` to `high`, at least `least` apart.

    >>> ticks(0, 97, 5), ticks(0.1, 0.32, 4)
    ([0.0, 20.0, 40.0, 60.0, 80.0], [0.1, 0.2, 0.3])
    """
    rough = max((high - low) / about, least)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10) if rough <= power * digit * (1 + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(step * index, 12) for index in range(first, last + 1)]


def round_length(most: float) -> float:
    """Return the largest of 1, 2, 5, 10, 20, 50, … that is not above a length.

    >>> round_length(74), round_length(0.31), round_length(3)
    (50.0, 0.2, 2.0)
    """
    power = math.floor(math.log10(most))
    # 2 * 10.0**-1 and the like have rounding errors that show as …0004.
    steps = (float(f"{digit}e{power}") for digit in (5, 2, 1))
    return next(step for step in steps if step <= most * (1 + 1e-9))


def bar_length(columns: int, spec: ImageSpec) -> tuple[float, str]:
    """Return length in px and label of a scale bar; the label is in px where the image has no unit."""
    unit = spec.units.get("x")
    pixel = spec.scale.get("x") if unit else None
    length = round_length(max(1.0, columns * _BAR) * (pixel or 1))
    return length / (pixel or 1), f"{length:g} {short_unit(unit) if unit and pixel else 'px'}"


def aspect_of(spec: ImageSpec) -> float:
    """Return height ÷ width of a pixel; 1 where it is unknown or implausible."""
    if "y" not in spec.scale or "x" not in spec.scale:
        return 1.0
    try:
        same = ratio(spec.units["y"], spec.units["x"]) if "y" in spec.units and "x" in spec.units else 1.0
    except RequestError:
        return 1.0
    aspect = spec.scale["y"] * same / spec.scale["x"]
    return aspect if 0.1 < aspect < 10 else 1.0
