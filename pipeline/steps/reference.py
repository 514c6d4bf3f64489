"""Filters by scikit-image and scipy alone, with which results of the kernels are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_RIM = 1e-9  # Σ(dᵢ/rᵢ)² may come out a rounding error above 1 for a pixel on the rim


def mask(shape: Literal["disk", "box"], radii: tuple[float, ...]) -> NDArray[np.bool_]:
    """Return a footprint for scikit-image.

    Parameters
    ----------
    shape : {"disk", "box"}
        A disk holds the offsets with Σ(dᵢ/rᵢ)² ≤ 1, a box those with |dᵢ| ≤ rᵢ. Disks and balls of one
        whole radius are scikit-image's own.
    radii : tuple of float
        In px for each axis, 0 for an axis along which the footprint is flat.

    Examples
    --------
    >>> mask("disk", (0, 1, 1))[0].astype(int)
    array([[0, 1, 0],
           [1, 1, 1],
           [0, 1, 0]])
    """
    from skimage.morphology import ball, disk

    sides = tuple(2 * int(radius + _RIM) + 1 for radius in radii)
    if shape == "box":
        return np.ones(sides, bool)
    curved = [radius for radius in radii if radius > 0]
    if len(set(curved)) == 1 and curved[0] == int(curved[0]) and len(curved) in (2, 3):
        make = disk if len(curved) == 2 else ball
        return make(int(curved[0]), dtype=bool).reshape(sides)
    offsets = np.ogrid[tuple(slice(-(side // 2), side // 2 + 1) for side in sides)]
    inside = np.zeros(sides)
    for offset, radius in zip(offsets, radii, strict=True):
        if radius > 0:
            inside += (offset / radius) ** 2
    return inside <= 1 + _RIM


def eroded(image: NDArray, footprint: NDArray[np.bool_]) -> NDArray:
    """Erode an image with scikit-image; pixels outside, and NaN, are never the minimum."""
    from skimage.morphology import erosion

    return _by_rank(erosion, _replace_nan(image, np.inf), footprint)


def dilated(image: NDArray, footprint: NDArray[np.bool_]) -> NDArray:
    """Dilate an image with scikit-image; pixels outside, and NaN, are never the maximum."""
    from skimage.morphology import dilation

    return _by_rank(dilation, _replace_nan(image, -np.inf), footprint)


def _by_rank(filter_: Callable[..., NDArray], image: NDArray, footprint: NDArray[np.bool_]) -> NDArray:
    """Filter an image; 64-bit integers, which scipy would round to float64, by the rank of their values."""
    if image.dtype.kind == "f" or image.dtype.itemsize < 8:
        return filter_(image, footprint, mode="ignore")
    values, ranks = np.unique(image, return_inverse=True)
    return values[filter_(ranks.reshape(image.shape).astype(np.int32), footprint, mode="ignore")]


def _replace_nan(image: NDArray, value: float) -> NDArray:
    return np.where(np.isnan(image), image.dtype.type(value), image) if image.dtype.kind == "f" else image


def subtracted(one: NDArray, other: NDArray, dtype: np.dtype) -> NDArray:
    """Return one − other in a dtype that holds it."""
    wide = np.dtype(np.int64) if dtype.kind in "iu" else dtype
    with np.errstate(invalid="ignore", over="ignore"):  # ∞ − ∞ beside NaN
        return (one.astype(wide) - other.astype(wide)).astype(dtype)


def smoothed(image: NDArray, sigmas: tuple[float, ...], mode: str, truncate: float) -> NDArray[np.float64]:
    """Smooth an image with scipy's Gaussian in float64; axes with a sigma of 0 are not filtered."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image.astype(np.float64), sigmas, mode=mode, truncate=truncate)
