"""Gaussian filters on NumPy arrays, one sigma per axis: exact blockwise, one thread, little scratch.

Narrow kernels are summed tap by tap, wide ones on a grid (see `taps`). A constant near the values of
the image is taken off before summing, so that a small range on a large offset keeps its precision.
"""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.borders import Mode
from pipeline.kernels.dtypes import float_dtype
from pipeline.kernels.gaussian_lead import filter_lead
from pipeline.kernels.gaussian_plane import Settings, Term, filter_plane
from pipeline.kernels.gaussian_source import Source
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
    settings, source = _prepare(image, mode, truncate, origin)
    target = np.empty(image.shape, settings.dtype)
    if image.size:
        _smooth(source, sigmas, 1, source.offset, target, settings)
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
    settings, source = _prepare(image, mode, truncate, origin)
    target = np.empty(image.shape, settings.dtype)
    if not image.size:
        return target
    if not (any(low[:-2]) or any(high[:-2])):
        for plane, out in _planes(source, target):
            terms = [_term(plane, low, 1, settings), _term(plane, high, -1, settings)]
            filter_plane(out, terms, settings.zero, True, settings)
        return target
    _smooth(source, high, -1, settings.zero, target, settings)
    if any(low[:-2]):
        other = np.empty(image.shape, settings.dtype)
        _smooth(source, low, 1, settings.zero, other, settings)
        target += other
        return target
    for plane, out in _planes(source, target):
        filter_plane(out, [_term(plane, low, 1, settings)], settings.zero, False, settings)
    return target


def _smooth(
    source: Source, sigmas: Sigmas, sign: int, start: np.floating, target: NDArray, settings: Settings
) -> None:
    """Write `start` plus the source's Gaussian, with its sign, into the target."""
    if not any(sigmas[:-2]):
        for plane, out in _planes(source, target):
            filter_plane(out, [_term(plane, sigmas, sign, settings)], start, True, settings)
        return
    for axis, sigma in enumerate(sigmas[:-2]):
        if sigma > 0:
            filter_lead(source, axis, sigma, target, settings)
            source = Source.of(target, settings.zero)
    copy = None
    for plane, out in _planes(source, target):
        term = _term(plane, sigmas, sign, settings)
        if term.direct:  # it writes while it reads
            copy = np.empty_like(out) if copy is None else copy
            copy[...] = out
            term = _term(Source.of(copy, settings.zero), sigmas, sign, settings)
        filter_plane(out, [term], start, True, settings)


def _prepare(
    image: NDArray, mode: Mode, truncate: float, origin: tuple[int, ...] | None
) -> tuple[Settings, Source]:
    dtype = float_dtype(image.dtype)
    offset = _offset(image, dtype)
    origin = (0,) * image.ndim if origin is None else tuple(origin)
    flat = image if image.ndim > 1 else image.reshape(1, -1)
    settings = Settings(mode, truncate, dtype, -offset, (0,) * (2 - image.ndim) + origin)
    return settings, Source.of(flat, offset) if image.size else Source(flat, 0, (), (), offset)


def _offset(image: NDArray, dtype: np.dtype) -> np.floating:
    """Return a value amid those of the image: the median of a few."""
    few = image[tuple(slice(n // 10, None, max(1, n // 5)) for n in image.shape)].astype(np.float64)
    few = few[np.isfinite(few)]
    return dtype.type(np.rint(np.median(few)) if few.size else 0)


def _planes(source: Source, target: NDArray) -> Iterator[tuple[Source, NDArray]]:
    """Yield the planes of the last two axes, read and written."""
    target = target.reshape(source.shape)
    for index in itertools.product(*map(range, source.shape[:-2])):
        yield source.at(index), target[index]


def _term(plane: Source, sigmas: Sigmas, sign: int, settings: Settings) -> Term:
    sigma_y, sigma_x = (0.0, *sigmas)[-2:]
    y = settings.axis(plane.shape[0], -2, sigma_y)
    return Term(plane, sign, y, settings.axis(plane.shape[1], -1, sigma_x))


def working_bytes(
    shape: tuple[int, ...], dtype: np.dtype, sigmas: tuple[Sigmas, ...], truncate: float
) -> int:
    """Return the bytes of scratch that a filter takes beside its input and its output."""
    return 4 * int(np.prod(shape)) * 8
