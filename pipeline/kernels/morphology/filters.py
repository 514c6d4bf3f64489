"""Flat grey morphology on NumPy arrays, one footprint radius per axis.

Outside the array counts as +∞ for an erosion and −∞ for a dilation. So does a NaN pixel: its neighbours
are filtered as if it lay outside, and an image minus something is NaN exactly there. No input is changed.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.dtypes import check_dtype, signed_dtype, unsigned_dtype
from pipeline.kernels.morphology.box import box_scratch, filter_box
from pipeline.kernels.morphology.flat import arrange, filter_flat
from pipeline.kernels.morphology.footprint import Footprint

# Beside the scratch: what is kept of a footprint and of the calls themselves.
OVERHEAD_BYTES = 1 << 16


def erosion(image: NDArray, footprint: Footprint) -> NDArray:
    """Return the minimum over the footprint around each pixel.

    Parameters
    ----------
    image : ndarray
        Any shape and strides, of a dtype in `dtypes.SUPPORTED`.
    footprint : Footprint
        One radius for each axis.

    Returns
    -------
    ndarray
        Same shape and dtype, C-contiguous.

    Raises
    ------
    TypeError
        For any other dtype.
    ValueError
        Where the footprint has not as many radii as the image has axes.
    """
    return _filter(image, (footprint,))


def dilation(image: NDArray, footprint: Footprint) -> NDArray:
    """Return the maximum over the footprint around each pixel; see `erosion`."""
    return _filter(image, (footprint,), flip=True)


def white_tophat(image: NDArray, footprint: Footprint) -> NDArray:
    """Return the image minus its opening, in the unsigned type of the image's width; see `erosion`."""
    return _filter(image, (footprint, footprint), minus=1)


def black_tophat(image: NDArray, footprint: Footprint) -> NDArray:
    """Return the closing of the image minus it, in the unsigned type of the image's width; see `erosion`."""
    return _filter(image, (footprint, footprint), flip=True, minus=2)


def subtract_erosion(image: NDArray, footprint: Footprint) -> NDArray:
    """Return the image minus its erosion, in the unsigned type of the image's width; see `erosion`."""
    return _filter(image, (footprint,), minus=1)


def subtract_opening(image: NDArray, minimum: Footprint, maximum: Footprint) -> NDArray:
    """Return the image minus the dilation by `maximum` of its erosion by `minimum`; see `erosion`.

    In the unsigned type of the image's width where `maximum` reaches no further than `minimum`, else in
    the next wider signed one.
    """
    return _filter(image, (minimum, maximum), minus=1)


def morphology_bytes(shape: tuple[int, ...], dtype: np.dtype, footprints: tuple[Footprint, ...]) -> int:
    """Return the bytes of scratch that a filter takes beside its input and its output.

    Parameters
    ----------
    shape, dtype
        Of the image.
    footprints : tuple of Footprint
        One for each pass: one for an erosion, two for an opening or a top-hat.
    """
    if 0 in shape:
        return OVERHEAD_BYTES
    signed = _signed(footprints)
    if _boxes(footprints):
        wide = signed_dtype(dtype) if signed else dtype
        size = box_scratch(shape, wide, tuple(footprint.reach for footprint in footprints))
        return size * wide.itemsize + OVERHEAD_BYTES
    plan = arrange(shape, dtype, footprints)
    tables = sum(part.nbytes for one in plan.plans for part in one if isinstance(part, np.ndarray))
    opening = int(np.prod(shape)) if signed else 0
    return (plan.size + opening) * dtype.itemsize + tables + OVERHEAD_BYTES


def _boxes(footprints: tuple[Footprint, ...]) -> bool:
    """Say whether each is a box, as a disk of one axis is too."""
    return all(f.shape == "box" or sum(r > 0 for r in f.reach) <= 1 for f in footprints)


def _signed(footprints: tuple[Footprint, ...]) -> bool:
    """Say whether the second of two reaches further than the first, so that a difference may be negative."""
    first, last = footprints[0], footprints[-1]
    return any(big > small for big, small in zip(last.reach, first.reach, strict=True))


def _filter(
    image: NDArray, footprints: tuple[Footprint, ...], *, flip: bool = False, minus: int = 0
) -> NDArray:
    """Erode, or open; `flip` dilates, or closes; `minus` 1 is the image minus that, 2 the reverse."""
    check_dtype(image.dtype)
    for footprint in footprints:
        if len(footprint.radii) != image.ndim:
            raise ValueError(f"{footprint} has {len(footprint.radii)} radii for {image.ndim} axes")
    signed = _signed(footprints)
    kept = image.dtype if not minus else (signed_dtype if signed else unsigned_dtype)(image.dtype)
    if image.size == 0:
        return np.empty(image.shape, kept)
    if _boxes(footprints):
        return _filter_box(image, footprints, flip, minus, kept)
    out = np.empty(image.shape, image.dtype)
    filter_flat(image, out, footprints, flip=flip, minus=0 if signed else minus)
    if not signed or not minus:
        return out.view(kept)
    result = np.empty(image.shape, kept)
    return np.subtract(image, out, out=result, dtype=kept)


def _filter_box(
    image: NDArray, footprints: tuple[Footprint, ...], flip: bool, minus: int, kept: np.dtype
) -> NDArray:
    """Filter axis by axis; an image of other strides, or for a wider result, is filtered in its copy."""
    reaches = tuple(footprint.reach for footprint in footprints)
    if image.ndim and image.flags.c_contiguous and not _signed(footprints):
        out = np.empty(image.shape, image.dtype)
        filter_box(image, out, reaches, flip=flip, minus=minus)
        return out.view(kept)
    out = image.astype(kept if _signed(footprints) and minus else image.dtype, order="C")
    if image.ndim:
        filter_box(out, out, reaches, flip=flip)
    with np.errstate(invalid="ignore", over="ignore"):  # ∞ − ∞ beside NaN
        if minus == 1:
            np.subtract(image, out, out=out)
        elif minus == 2:
            np.subtract(out, image, out=out)
    return out.view(kept)
