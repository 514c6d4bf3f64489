"""Filters through scikit-image and scipy alone, for checking results: no kernel of bgone is used here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_RIM = 1e-9


def mask(shape: Literal["disk", "box"], radii: tuple[float, ...]) -> NDArray[np.bool_]:
    """Return a footprint as scikit-image takes it, of a radius in px for each axis, 0 where it is flat.

    scikit-image's own `disk` or `ball` where there is one; else every offset with Σ(dᵢ/rᵢ)² ≤ 1, or
    |dᵢ| ≤ rᵢ for a box.

    >>> mask("disk", (0, 1, 1))[0].astype(int)
    array([[0, 1, 0],
           [1, 1, 1],
           [0, 1, 0]])
    """
    from skimage.morphology import ball, disk

    reach = [int(radius + _RIM) for radius in radii]
    sides = tuple(2 * px + 1 for px in reach)
    if shape == "box":
        return np.ones(sides, bool)
    curved = [radius for radius in radii if radius > 0]
    if len(set(curved)) == 1 and curved[0] == int(curved[0]) and len(curved) in (2, 3):
        make = disk if len(curved) == 2 else ball
        return make(int(curved[0]), dtype=bool).reshape(sides)
    inside = np.zeros(sides)
    for axis, (radius, side) in enumerate(zip(radii, sides, strict=True)):
        if radius > 0:
            offsets = np.arange(side) - side // 2
            inside += ((offsets / radius) ** 2).reshape(
                [-1 if each == axis else 1 for each in range(len(sides))]
            )
    return inside <= 1 + _RIM


def eroded(image: NDArray, footprint: NDArray[np.bool_]) -> NDArray:
    """Return scikit-image's erosion; what lies outside, and a NaN, is never the least."""
    from skimage.morphology import erosion

    return _by_rank(erosion, _without_nan(image, np.inf), footprint)


def dilated(image: NDArray, footprint: NDArray[np.bool_]) -> NDArray:
    """Return scikit-image's dilation; what lies outside, and a NaN, is never the greatest."""
    from skimage.morphology import dilation

    return _by_rank(dilation, _without_nan(image, -np.inf), footprint)


def _by_rank(run: Callable[..., NDArray], image: NDArray, footprint: NDArray[np.bool_]) -> NDArray:
    """Filter an image; one of 64-bit integers, which scipy takes for floats, by its values' order."""
    if image.dtype.kind == "f" or image.dtype.itemsize < 8:
        return run(image, footprint, mode="ignore")
    values, ranks = np.unique(image, return_inverse=True)
    return values[run(ranks.reshape(image.shape).astype(np.int32), footprint, mode="ignore")]


def _without_nan(image: NDArray, instead: float) -> NDArray:
    return np.where(np.isnan(image), image.dtype.type(instead), image) if image.dtype.kind == "f" else image


def subtracted(one: NDArray, other: NDArray, dtype: np.dtype) -> NDArray:
    """Return one − other in a dtype that holds it."""
    wide = np.dtype(np.int64) if dtype.kind in "iu" else dtype
    with np.errstate(invalid="ignore", over="ignore"):  # ∞ − ∞ beside NaN
        return (one.astype(wide) - other.astype(wide)).astype(dtype)


def smoothed(image: NDArray, sigmas: tuple[float, ...], mode: str, truncate: float) -> NDArray[np.float64]:
    """Return scipy's Gaussian in float64; a sigma of 0 leaves that axis alone."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image.astype(np.float64), sigmas, mode=mode, truncate=truncate)
