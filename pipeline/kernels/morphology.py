"""Flat grey morphology on NumPy arrays, one footprint radius per axis."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.kernels.dtypes import signed_dtype, unsigned_dtype
from pipeline.kernels.footprint import Footprint


def _filter(image: NDArray, footprint: Footprint, smallest: bool) -> NDArray:
    pad = [(reach, reach) for reach in footprint.reach]
    info = np.finfo(image.dtype) if image.dtype.kind == "f" else np.iinfo(image.dtype)
    outside = (np.inf if image.dtype.kind == "f" else info.max) if smallest else (
        -np.inf if image.dtype.kind == "f" else info.min)
    padded = np.pad(image, pad, constant_values=outside)
    run = ndimage.minimum_filter if smallest else ndimage.maximum_filter
    out = run(padded, footprint=footprint.mask(), mode="constant", cval=outside)
    return out[tuple(slice(reach, reach + n) for reach, n in zip(footprint.reach, image.shape, strict=True))]


def erosion(image: NDArray, footprint: Footprint) -> NDArray:
    """Return the minimum over the footprint around each pixel; outside the array counts as +∞."""
    return _filter(image, footprint, smallest=True)


def dilation(image: NDArray, footprint: Footprint) -> NDArray:
    """Return the maximum over the footprint around each pixel; outside the array counts as −∞."""
    return _filter(image, footprint, smallest=False)


def white_tophat(image: NDArray, footprint: Footprint) -> NDArray:
    """Return the image minus its opening."""
    dtype = unsigned_dtype(image.dtype)
    return image.astype(dtype) - dilation(erosion(image, footprint), footprint).astype(dtype)


def black_tophat(image: NDArray, footprint: Footprint) -> NDArray:
    """Return the closing of the image minus the image."""
    dtype = unsigned_dtype(image.dtype)
    return erosion(dilation(image, footprint), footprint).astype(dtype) - image.astype(dtype)


def subtract_erosion(image: NDArray, footprint: Footprint) -> NDArray:
    """Return the image minus its erosion."""
    dtype = unsigned_dtype(image.dtype)
    return image.astype(dtype) - erosion(image, footprint).astype(dtype)


def subtract_opening(image: NDArray, minimum: Footprint, maximum: Footprint) -> NDArray:
    """Return the image minus the dilation by `maximum` of its erosion by `minimum`."""
    larger = any(big > small for big, small in zip(maximum.reach, minimum.reach, strict=True))
    dtype = (signed_dtype if larger else unsigned_dtype)(image.dtype)
    return image.astype(dtype) - dilation(erosion(image, minimum), maximum).astype(dtype)


def working_bytes(shape: tuple[int, ...], dtype: np.dtype, footprints: tuple[Footprint, ...]) -> int:
    """Return the bytes of scratch that a filter takes beside its input and its output."""
    return 4 * int(np.prod(shape)) * dtype.itemsize
