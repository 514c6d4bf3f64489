"""Gaussian filters on NumPy arrays, one sigma per axis: exact blockwise, one thread, little scratch.

Narrow kernels are summed tap by tap, wide ones on a grid (see `taps`). A constant near the values of
the image is taken off before summing, so that a small range on a large offset keeps its precision.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.borders import Mode
from pipeline.kernels.dtypes import float_dtype
from pipeline.kernels.gaussian_lead import filter_lead
from pipeline.kernels.gaussian_plane import Settings, Source, Term, filter_plane
from pipeline.kernels.taps import reach

__all__ = ["Mode", "difference_of_gaussians", "gaussian", "reach", "subtract_gaussian", "working_bytes"]

Sigmas = tuple[float, ...]


def gaussian(
    image: NDArray,
    sigmas: Sigmas,
    *,
    mode: Mode = "nearest",
    truncate: float = 4.0,
    origin: tuple[int, ...] | None = None,
) -> NDArray:
    """Return the image smoothed by a Gaussian."""
    settings, offset = _settings(image, mode, truncate, origin)
    target = np.empty(image.shape, settings.dtype)
    if image.size:
        _smooth(image, sigmas, 1, offset, offset, target, settings)
    return target


def subtract_gaussian(
    image: NDArray,
    sigmas: Sigmas,
    *,
    mode: Mode = "nearest",
    truncate: float = 4.0,
    origin: tuple[int, ...] | None = None,
) -> NDArray:
    """Return the image minus its Gaussian."""
    return difference_of_gaussians(
        image, (0.0,) * image.ndim, sigmas, mode=mode, truncate=truncate, origin=origin
    )


def difference_of_gaussians(
    image: NDArray,
    low: Sigmas,
    high: Sigmas,
    *,
    mode: Mode = "nearest",
    truncate: float = 4.0,
    origin: tuple[int, ...] | None = None,
) -> NDArray:
    """Return the Gaussian of sigma `low` minus that of sigma `high`."""
    settings, offset = _settings(image, mode, truncate, origin)
    target = np.empty(image.shape, settings.dtype)
    if not image.size:
        return target
    zero = settings.dtype.type(0)
    if any(low[:-2]) or any(high[:-2]):
        _smooth(image, high, -1, offset, zero, target, settings)
        if any(low[:-2]):
            other = np.empty(image.shape, settings.dtype)
            _smooth(image, low, 1, offset, zero, other, settings)
            target += other
            return target
        for plane, out in _planes(image, target):
            filter_plane(out, [_term(plane, offset, low, 1, settings)], zero, False, settings)
        return target
    for plane, out in _planes(image, target):
        terms = [_term(plane, offset, low, 1, settings), _term(plane, offset, high, -1, settings)]
        filter_plane(out, terms, zero, True, settings)
    return target


def _smooth(image, sigmas, sign, offset, start, target, settings):
    if not any(sigmas[:-2]):
        for plane, out in _planes(image, target):
            filter_plane(out, [_term(plane, offset, sigmas, sign, settings)], start, True, settings)
        return
    zero = settings.dtype.type(0)
    source = image
    for axis, sigma in enumerate(sigmas[:-2]):
        if sigma > 0:
            filter_lead(source, axis, sigma, offset if source is image else zero, target, settings)
            source = target
    copy = None
    for _, out in _planes(target, target):
        term = _term(out, zero, sigmas, sign, settings)
        if term.direct:
            copy = np.empty_like(out) if copy is None else copy
            copy[...] = out
            term = _term(copy, zero, sigmas, sign, settings)
        filter_plane(out, [term], start, True, settings)


def _settings(image: NDArray, mode: Mode, truncate: float, origin: tuple[int, ...] | None):
    dtype = float_dtype(image.dtype)
    offset = _offset(image, dtype)
    origin = (0,) * image.ndim if origin is None else origin
    if image.ndim == 1:
        origin = (0, *origin)
    return Settings(mode, truncate, dtype, -float(offset), origin), offset


def _offset(image: NDArray, dtype: np.dtype) -> np.floating:
    """Return a value amid those of the image."""
    if not image.size:
        return dtype.type(0)
    steps = tuple(slice(n // 10, None, max(1, n // 5)) for n in image.shape)
    sample = image[steps].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    return dtype.type(np.rint(np.median(sample)) if sample.size else 0)


def _planes(image: NDArray, target: NDArray):
    if image.ndim < 2:
        yield image[None], target[None]
        return
    for index in itertools.product(*map(range, image.shape[:-2])):
        yield image[index], target[index]


def _term(plane: NDArray, offset, sigmas: Sigmas, sign: int, settings: Settings) -> Term:
    sigma_y, sigma_x = (0.0, *sigmas)[-2:]
    y = settings.axis(plane.shape[0], -2, sigma_y)
    x = settings.axis(plane.shape[1], -1, sigma_x)
    return Term(Source(plane, offset), sign, y, x)


def working_bytes(
    shape: tuple[int, ...], dtype: np.dtype, sigmas: tuple[Sigmas, ...], truncate: float
) -> int:
    """Return the bytes of scratch that a filter takes beside its input and its output."""
    return 4 * int(np.prod(shape)) * 8
