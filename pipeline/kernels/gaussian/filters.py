"""Gaussian filters on NumPy arrays, with one sigma per axis.

Narrow kernels are summed tap by tap, wide ones on a grid (see `taps`). A typical value of the image is
subtracted before summing, so that a small range on a large offset keeps its precision.

A block with a halo of `reach` where it was cut, and its origin, gives what the whole image gives, within
1e-6 of the largest value.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.dtypes import float_dtype
from pipeline.kernels.gaussian.axis import Mode
from pipeline.kernels.gaussian.plane import CallSettings, Term, filter_plane, is_direct, plane_bytes
from pipeline.kernels.gaussian.stack import filter_stack, stack_bytes
from pipeline.kernels.gaussian.strided import StridedImage
from pipeline.kernels.gaussian.taps import fit_bytes, reach

Sigmas = tuple[float, ...]


def gaussian(
    image: NDArray,
    sigmas: Sigmas,
    *,
    mode: Mode = "nearest",
    truncate: float = 4.0,
    origin: tuple[int, ...] | None = None,
) -> NDArray:
    """Smooth an image with a Gaussian.

    Parameters
    ----------
    image : ndarray
        Any number of axes and any strides, of a dtype in `dtypes.SUPPORTED`; not changed.
    sigmas : tuple of float
        Standard deviation in px for each axis of the array; 0 leaves an axis alone.
    mode : {"nearest", "reflect", "mirror", "constant"}
        How the image continues beyond its border, as in `scipy.ndimage`; constant is 0.
    truncate : float
        Where the kernel ends, in sigmas.
    origin : tuple of int, optional
        The array's first pixel in the whole image; default 0 on each axis.

    Returns
    -------
    ndarray of float, shape of the image
        float32, or float64 from float64 and integers of 32 bits or more, in the units of the image.
        Within 1e-4 of the data's range of `scipy.ndimage.gaussian_filter` in float64. NaN and infinities
        spread as far as the kernel reaches.

    Examples
    --------
    >>> gaussian(np.array([0, 0, 9, 0, 0], np.uint8), (0.5,)).round(1)
    array([0. , 1. , 7.1, 1. , 0. ], dtype=float32)
    """
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
    """Subtract the Gaussian of an image from the image; see `gaussian`."""
    nothing = (0.0,) * image.ndim
    return difference_of_gaussians(image, nothing, sigmas, mode=mode, truncate=truncate, origin=origin)


def difference_of_gaussians(
    image: NDArray,
    low: Sigmas,
    high: Sigmas,
    *,
    mode: Mode = "nearest",
    truncate: float = 4.0,
    origin: tuple[int, ...] | None = None,
) -> NDArray:
    """Subtract the Gaussian of sigma `high` from that of sigma `low`; see `gaussian`."""
    settings, source = _prepare(image, mode, truncate, origin)
    target = np.empty(image.shape, settings.dtype)
    if not image.size:
        return target
    if not (any(low[:-2]) or any(high[:-2])):
        for plane, out in _planes(source, target):
            terms = [_term(plane, low, 1, settings), _term(plane, high, -1, settings)]
            filter_plane(plane, out, terms, settings.zero, True, settings)
        return target
    _smooth(source, high, -1, settings.zero, target, settings)
    _add(source, low, target, settings)
    return target


def _smooth(
    source: StridedImage,
    sigmas: Sigmas,
    sign: int,
    start: np.floating,
    target: NDArray,
    settings: CallSettings,
) -> None:
    """Write `start` plus `sign` times the Gaussian of the source into the target."""
    source = _filter_stacks(source, sigmas, target, settings)
    copy = None
    for plane, out in _planes(source, target):
        term = _term(plane, sigmas, sign, settings)
        if term.direct and any(sigmas[:-2]):  # the plane is in the target, and would be read after writing
            copy = np.empty_like(out) if copy is None else copy
            copy[...] = out
            plane = StridedImage.of(copy, settings.zero)
        filter_plane(plane, out, [term], start, True, settings)


def _filter_stacks(
    source: StridedImage, sigmas: Sigmas, target: NDArray, settings: CallSettings
) -> StridedImage:
    """Filter all axes but the last two, into the target, and return the result."""
    for axis, sigma in enumerate(sigmas[:-2]):
        if sigma > 0:
            filter_stack(source, axis, sigma, target, settings)
            source = StridedImage.of(target, settings.zero)
    return source


def _slab(n: int, sigma: float, truncate: float) -> tuple[int, int]:
    """Return how many planes `_add` computes at once, and how many more it reads on each side."""
    rim = reach(sigma, truncate)
    return min(n, max(8, 2 * rim)), rim


def _add(source: StridedImage, sigmas: Sigmas, target: NDArray, settings: CallSettings) -> None:
    """Add the Gaussian of the source to the target, in slabs so that no second target is needed."""
    axis = next((i for i, sigma in enumerate(sigmas[:-2]) if sigma > 0), None)
    if axis is None:
        for plane, out in _planes(source, target):
            filter_plane(plane, out, [_term(plane, sigmas, 1, settings)], settings.zero, False, settings)
        return
    n = source.shape[axis]
    size, rim = _slab(n, sigmas[axis], settings.truncate)
    largest = (*source.shape[:axis], min(n, size + 2 * rim), *source.shape[axis + 1 :])
    buffer = np.empty(largest, settings.dtype)
    for begin in range(0, n, size):
        end = min(begin + size, n)
        first, last = max(0, begin - rim), min(n, end + rim)
        part = source.cut(axis, first, last)
        origin = list(settings.origin)
        origin[axis] += first
        local = dataclasses.replace(settings, origin=tuple(origin))
        slab = _filter_stacks(part, sigmas, buffer[(slice(None),) * axis + (slice(last - first),)], local)
        inner = slab.cut(axis, begin - first, end - first)
        outs = target[(slice(None),) * axis + (slice(begin, end),)]
        for plane, out in _planes(inner, outs):
            filter_plane(plane, out, [_term(plane, sigmas, 1, local)], settings.zero, False, local)


def _prepare(
    image: NDArray, mode: Mode, truncate: float, origin: tuple[int, ...] | None
) -> tuple[CallSettings, StridedImage]:
    """Return the settings of a call, and the image with at least two axes."""
    dtype = float_dtype(image.dtype)
    offset = _offset(image, dtype)
    origin = (0,) * image.ndim if origin is None else tuple(origin)
    settings = CallSettings(mode, truncate, dtype, -offset, (0,) * (2 - image.ndim) + origin)
    planes = image if image.ndim > 1 else image[None]
    return settings, StridedImage.of(planes, offset)


def _offset(image: NDArray, dtype: np.dtype) -> np.floating:
    """Return a typical value of the image, the median of a few pixels."""
    sample = image[tuple(slice(n // 10, None, max(1, n // 5)) for n in image.shape)].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    return dtype.type(np.rint(np.median(sample)) if sample.size else 0)


def _planes(source: StridedImage, target: NDArray) -> Iterator[tuple[StridedImage, NDArray]]:
    """Yield the planes of the last two axes, of the source and of the target."""
    target = target.reshape(source.shape) if target.ndim == 1 else target
    for index in itertools.product(*map(range, source.shape[:-2])):
        yield source.at(index), target[index]


def _term(plane: StridedImage, sigmas: Sigmas, sign: int, settings: CallSettings) -> Term:
    sigma_y, sigma_x = (0.0, *sigmas)[-2:]
    y = settings.axis(plane.shape[0], -2, sigma_y)
    return Term(sign, y, settings.axis(plane.shape[1], -1, sigma_x))


def gaussian_bytes(
    shape: tuple[int, ...], dtype: np.dtype, sigmas: tuple[Sigmas, ...], truncate: float
) -> int:
    """Estimate the scratch memory of a filter in bytes, rather too high than too low.

    `shape` and `dtype` are those of the block with its halo; `sigmas` is `(sigmas,)` or `(low, high)`.
    """
    if 0 in shape:
        return 0
    kind = float_dtype(np.dtype(dtype))
    settings = CallSettings("reflect", truncate, kind, kind.type(0), (0,) * max(2, len(shape)))
    height, width = (1, *shape)[-2:]
    planes, stacks, slabs = [], [0], 0
    for one in sigmas:
        y, x = (
            settings.axis(n, -1, sigma) for n, sigma in zip((height, width), (0.0, *one)[-2:], strict=True)
        )
        planes.append(plane_bytes(y, x))
        leading = [(n, sigma) for n, sigma in zip(shape[:-2], one[:-2], strict=True) if sigma > 0]
        stacks += [stack_bytes(settings.axis(n, -1, sigma), height, width) for n, sigma in leading]
        if leading and is_direct(y, x):  # `_smooth` copies a plane
            slabs = max(slabs, height * width * kind.itemsize)
    leading = [(n, sigma) for n, sigma in zip(shape[:-2], sigmas[0][:-2], strict=True) if sigma > 0]
    if len(sigmas) > 1 and leading:  # the buffer of `_add`
        n, sigma = leading[0]
        size, rim = _slab(n, sigma, truncate)
        slab_planes = math.prod(shape[:-2]) * min(n, size + 2 * rim) // n
        slabs = max(slabs, slab_planes * height * width * kind.itemsize)
    fits = max(fit_bytes(sigma, truncate) for one in sigmas for sigma in one)
    return max(*stacks, sum(planes), fits) + slabs + 65_536
