"""Flat grey morphology on NumPy arrays.

Pixels beyond the border count as +∞ for an erosion and −∞ for a dilation. So does NaN: its neighbours are
filtered as if it were beyond the border, and differences with the image are NaN exactly there.
"""

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.dtypes import check_dtype, signed_dtype, unsigned_dtype
from pipeline.kernels.morphology.box import box_bytes, filter_box
from pipeline.kernels.morphology.flat import arrange, filter_flat
from pipeline.kernels.morphology.footprint import Footprint

OVERHEAD_BYTES = 1 << 16  # of cached plans and of the calls, beside the scratch


def erosion(image: NDArray, footprint: Footprint) -> NDArray:
    """Return the minimum over the footprint around each pixel.

    Parameters
    ----------
    image : ndarray
        Any shape and strides, of a dtype in `dtypes.SUPPORTED`; not changed.
    footprint : Footprint
        With a radius for each axis.

    Returns
    -------
    ndarray
        Same shape and dtype, C-contiguous.

    Raises
    ------
    TypeError
        The dtype is not supported.
    ValueError
        The footprint has not one radius for each axis.
    """
    return _filter(image, (footprint,))


def dilation(image: NDArray, footprint: Footprint) -> NDArray:
    """Return the maximum over the footprint around each pixel; see `erosion`."""
    return _filter(image, (footprint,), flip=True)


def white_tophat(image: NDArray, footprint: Footprint) -> NDArray:
    """Return the image minus its opening, in the unsigned type of the same width; see `erosion`."""
    return _filter(image, (footprint, footprint), minus=1)


def black_tophat(image: NDArray, footprint: Footprint) -> NDArray:
    """Return the closing minus the image, in the unsigned type of the same width; see `erosion`."""
    return _filter(image, (footprint, footprint), flip=True, minus=2)


def subtract_erosion(image: NDArray, footprint: Footprint) -> NDArray:
    """Return the image minus its erosion, in the unsigned type of the same width; see `erosion`."""
    return _filter(image, (footprint,), minus=1)


def subtract_opening(image: NDArray, minimum: Footprint, maximum: Footprint) -> NDArray:
    """Return the image minus the dilation by `maximum` of its erosion by `minimum`; see `erosion`.

    The dtype is the unsigned one of the same width, or the next wider signed one if `maximum` reaches
    further than `minimum`.
    """
    return _filter(image, (minimum, maximum), minus=1)


def morphology_bytes(shape: tuple[int, ...], dtype: np.dtype, footprints: tuple[Footprint, ...]) -> int:
    """Return the scratch memory of a filter in bytes, beside its input and its output.

    `footprints` has one for an erosion, two for an opening or a top-hat.
    """
    if 0 in shape:
        return OVERHEAD_BYTES
    kind = _kind(dtype, len(shape), footprints, True)
    if kind.boxes:
        return box_bytes(*_as_rows(shape, kind.reaches), dtype, _box_dtype(dtype, kind)) + OVERHEAD_BYTES
    plan = arrange(shape, dtype, footprints)
    tables = sum(field.nbytes for chords in plan.plans for field in chords if isinstance(field, np.ndarray))
    opening = int(np.prod(shape)) if kind.signed else 0
    return (plan.size + opening) * dtype.itemsize + tables + OVERHEAD_BYTES


class _Kind(NamedTuple):
    """What follows from the dtype and the footprints alone."""

    out_dtype: np.dtype
    signed: bool  # whether the second footprint reaches further, so that a difference may be negative
    boxes: bool  # whether all are boxes, as a disk along one axis is too
    reaches: tuple[tuple[int, ...], ...]


@functools.lru_cache(maxsize=64)
def _kind(dtype: np.dtype, ndim: int, footprints: tuple[Footprint, ...], difference: bool) -> _Kind:
    check_dtype(dtype)
    for footprint in footprints:
        if len(footprint.radii) != ndim:
            raise ValueError(f"{footprint} has {len(footprint.radii)} radii for {ndim} axes")
    reaches = tuple(footprint.reach for footprint in footprints)
    signed = any(last > first for first, last in zip(reaches[0], reaches[-1], strict=True))
    out_dtype = dtype if not difference else signed_dtype(dtype) if signed else unsigned_dtype(dtype)
    boxes = all(f.shape == "box" or sum(r > 0 for r in f.reach) <= 1 for f in footprints)
    return _Kind(out_dtype, signed, boxes, reaches)


def _filter(
    image: NDArray, footprints: tuple[Footprint, ...], *, flip: bool = False, minus: int = 0
) -> NDArray:
    """Erode or open, with `flip` dilate or close; `minus` 1 is the image minus that, 2 the reverse."""
    kind = _kind(image.dtype, image.ndim, footprints, minus != 0)
    if image.size == 0:
        return np.empty(image.shape, kind.out_dtype)
    if kind.boxes:
        return _filter_box(image, kind, flip, minus)
    out = np.empty(image.shape, image.dtype)
    filter_flat(image, out, footprints, flip=flip, minus=0 if kind.signed else minus)
    if not kind.signed or not minus:
        return out.view(kind.out_dtype)
    result = np.empty(image.shape, kind.out_dtype)
    return np.subtract(image, out, out=result, dtype=kind.out_dtype)


def _filter_box(image: NDArray, kind: _Kind, flip: bool, minus: int) -> NDArray:
    rows, reaches = _as_rows(image.shape, kind.reaches)
    out = np.empty(image.shape, _box_dtype(image.dtype, kind))
    filter_box(image.reshape(rows), out.reshape(rows), reaches, flip=flip, minus=minus)
    return out.view(kind.out_dtype)


def _as_rows(
    shape: tuple[int, ...], reaches: tuple[tuple[int, ...], ...]
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Return a shape of two axes or more, and the reaches along these."""
    missing = (1,) * (2 - len(shape))
    return missing + shape, tuple((0,) * len(missing) + reach for reach in reaches)


def _box_dtype(dtype: np.dtype, kind: _Kind) -> np.dtype:
    """Return the dtype in which boxes write a result, which `kind.out_dtype` is a view of."""
    return kind.out_dtype if kind.out_dtype.itemsize > dtype.itemsize else dtype
