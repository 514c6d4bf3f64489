"""Gaussian filters on NumPy arrays, one sigma per axis."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.kernels.dtypes import float_dtype

Mode = Literal["nearest", "reflect", "mirror", "constant"]


def reach(sigma: float, truncate: float) -> int:
    """Return how far the filter looks along one axis, in px: its halo."""
    return int(truncate * sigma + 0.5)


def gaussian(
    image: NDArray,
    sigmas: tuple[float, ...],
    *,
    mode: Mode = "nearest",
    truncate: float = 4.0,
    origin: tuple[int, ...] | None = None,
) -> NDArray:
    """Return the image smoothed by a Gaussian, in float32 or float64."""
    wide = image.astype(np.float64)
    return ndimage.gaussian_filter(wide, sigmas, mode=mode, truncate=truncate).astype(float_dtype(image.dtype))


def subtract_gaussian(
    image: NDArray,
    sigmas: tuple[float, ...],
    *,
    mode: Mode = "nearest",
    truncate: float = 4.0,
    origin: tuple[int, ...] | None = None,
) -> NDArray:
    """Return the image minus its Gaussian."""
    wide = image.astype(np.float64)
    return (wide - ndimage.gaussian_filter(wide, sigmas, mode=mode, truncate=truncate)).astype(float_dtype(image.dtype))


def difference_of_gaussians(
    image: NDArray,
    low: tuple[float, ...],
    high: tuple[float, ...],
    *,
    mode: Mode = "nearest",
    truncate: float = 4.0,
    origin: tuple[int, ...] | None = None,
) -> NDArray:
    """Return the Gaussian of sigma `low` minus that of sigma `high`."""
    wide = image.astype(np.float64)
    first = ndimage.gaussian_filter(wide, low, mode=mode, truncate=truncate)
    return (first - ndimage.gaussian_filter(wide, high, mode=mode, truncate=truncate)).astype(float_dtype(image.dtype))


def working_bytes(shape: tuple[int, ...], dtype: np.dtype, sigmas: tuple[tuple[float, ...], ...], truncate: float) -> int:
    """Return the bytes of scratch that a filter takes beside its input and its output."""
    return 4 * int(np.prod(shape)) * 8
