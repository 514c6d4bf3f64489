"""Flat grey morphology on NumPy arrays.

Pixels beyond the border count as +∞ for an erosion and −∞ for a dilation. So does NaN: its neighbours are
filtered as if it were beyond the border, and differences with the image are NaN exactly there.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.dtypes import check_dtype, signed_dtype, unsigned_dtype
from pipeline.kernels.morphology.box import box_scratch, filter_box
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
    signed = _signed(footprints)
    if _boxes(footprints):
        wide = signed_dtype(dtype) if signed else dtype
        size = box_scratch(shape, wide, tuple(footprint.reach for footprint in footprints))
        return size * wide.itemsize + OVERHEAD_BYTES
    plan = arrange(shape, dtype, footprints)
    tables = sum(field.nbytes for chords in plan.plans for field in chords if isinstance(field, np.ndarray))
    opening = int(np.prod(shape)) if signed else 0
    return (plan.size + opening) * dtype.itemsize + tables + OVERHEAD_BYTES


def _boxes(footprints: tuple[Footprint, ...]) -> bool:
    """Return whether all are boxes, as a disk along one axis is too."""
    return all(f.shape == "box" or sum(r > 0 for r in f.reach) <= 1 for f in footprints)


def _signed(footprints: tuple[Footprint, ...]) -> bool:
    """Return whether the second reaches further than the first, so that a difference may be negative."""
    first, last = footprints[0], footprints[-1]
    return any(big > small for big, small in zip(last.reach, first.reach, strict=True))


def _filter(
    image: NDArray, footprints: tuple[Footprint, ...], *, flip: bool = False, minus: int = 0
) -> NDArray:
    """Erode or open, with `flip` dilate or close; `minus` 1 is the image minus that, 2 the reverse."""
    check_dtype(image.dtype)
    for footprint in footprints:
        if len(footprint.radii) != image.ndim:
            raise ValueError(f"{footprint} has {len(footprint.radii)} radii for {image.ndim} axes")
    signed = _signed(footprints)
    out_dtype = image.dtype if not minus else (signed_dtype if signed else unsigned_dtype)(image.dtype)
    if image.size == 0:
        return np.empty(image.shape, out_dtype)
    if _boxes(footprints):
        return _filter_box(image, footprints, flip, minus, out_dtype)
    out = np.empty(image.shape, image.dtype)
    filter_flat(image, out, footprints, flip=flip, minus=0 if signed else minus)
    if not signed or not minus:
        return out.view(out_dtype)
    result = np.empty(image.shape, out_dtype)
    return np.subtract(image, out, out=result, dtype=out_dtype)


def _filter_box(
    image: NDArray, footprints: tuple[Footprint, ...], flip: bool, minus: int, out_dtype: np.dtype
) -> NDArray:
    """Filter axis by axis; an image that is not contiguous, or for a wider result, in a copy of it."""
    reaches = tuple(footprint.reach for footprint in footprints)
    if image.ndim and image.flags.c_contiguous and not _signed(footprints):
        out = np.empty(image.shape, image.dtype)
        filter_box(image, out, reaches, flip=flip, minus=minus)
        return out.view(out_dtype)
    out = image.astype(out_dtype if _signed(footprints) and minus else image.dtype, order="C")
    if image.ndim:
        filter_box(out, out, reaches, flip=flip)
    with np.errstate(invalid="ignore", over="ignore"):  # ∞ − ∞ beside NaN
        if minus == 1:
            np.subtract(image, out, out=out)
        elif minus == 2:
            np.subtract(out, image, out=out)
    return out.view(out_dtype)
