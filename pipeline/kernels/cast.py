"""The cast to the output's dtype: offset, rounding, clipping, and a count of what was clipped."""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.jit import jit


@jit
def _round_and_clip(source, target, offset, low, high):  # type: ignore[no-untyped-def]  # typed by numba
    clipped = 0
    for index in range(source.size):
        value = np.rint(np.float64(source[index]) + offset)
        # Written so that a NaN becomes the smallest value, and is counted.
        above = value if value > low else low
        bounded = above if above < high else high
        clipped += bounded != value
        target[index] = bounded
    return clipped


@jit
def _round_and_clip_wide(source, target, offset, low, beyond, least, most):  # type: ignore[no-untyped-def]
    """Do the same for 64-bit integers, whose largest value no float64 holds; `beyond` is one more."""
    clipped = 0
    for index in range(source.size):
        value = np.rint(np.float64(source[index]) + offset)
        if low <= value < beyond:
            target[index] = value
        else:
            target[index] = most if value >= beyond else least
            clipped += 1
    return clipped


@jit
def _shift_and_clip(source, target, shift, low, high):  # type: ignore[no-untyped-def]  # typed by numba
    """Clip integers to what fits after the shift, and add it modulo 2⁶⁴: exact where float64 is not."""
    clipped = 0
    for index in range(source.size):
        value = source[index]
        above = value if value > low else low
        bounded = above if above < high else high
        clipped += bounded != value
        target[index] = np.uint64(bounded) + shift
    return clipped


@jit
def _clip_floats(source, target, offset, most):  # type: ignore[no-untyped-def]  # typed by numba
    clipped = 0
    for index in range(source.size):
        given = np.float64(source[index])
        value = given + offset
        # An infinity that was given stays one, as a NaN does; a sum beyond the range is none.
        if abs(value) > most and not np.isinf(given):
            value = most if value > 0 else -most
            clipped += 1
        target[index] = value
    return clipped


def cast(block: NDArray, dtype: np.dtype, offset: float) -> tuple[NDArray, int]:
    """Return a block plus `offset` in another dtype, and how many pixels that dtype cannot hold.

    Parameters
    ----------
    block : numpy.ndarray
        Pixels; not changed.
    dtype : numpy.dtype
        An integer or floating dtype.
    offset : float
        Added first. To integers of 64 bits a whole number is added exactly; else the sum is one of float64.

    Returns
    -------
    numpy.ndarray
        Contiguous. Integers are rounded half to even; what lies outside the dtype's range, an
        infinity too, is set to its nearest value, and a NaN to its smallest. In floats NaN and
        infinities stay, and other values beyond the range become the largest.
    int
        Number of pixels so clipped.

    Examples
    --------
    >>> cast(np.array([-3.0, 0.5, 1.5, 300.0]), np.dtype("uint8"), 0)
    (array([  0,   0,   2, 255], dtype=uint8), 2)
    >>> cast(np.array([np.inf, -1e300]), np.dtype("float32"), 0)
    (array([           inf, -3.4028235e+38], dtype=float32), 1)
    """
    if block.dtype == dtype and offset == 0:
        return np.ascontiguousarray(block), 0
    target = np.empty(block.shape, dtype)
    source, flat = np.ascontiguousarray(block).reshape(-1), target.reshape(-1)
    if dtype.kind == "f":
        clipped = _clip_floats(source, flat, float(offset), float(np.finfo(dtype).max))
    elif block.dtype.kind != "f" and 8 in (block.itemsize, dtype.itemsize) and float(offset).is_integer():
        return target, _cast_integers(source, flat, int(offset))
    else:
        info = np.iinfo(dtype)
        low, high = float(info.min), float(info.max)
        if dtype.itemsize == 8:
            ends = dtype.type(info.min), dtype.type(info.max)
            clipped = _round_and_clip_wide(source, flat, float(offset), low, high, *ends)
        else:
            clipped = _round_and_clip(source, flat, float(offset), low, high)
    return target, int(clipped)


def _cast_integers(source: NDArray, target: NDArray, offset: int) -> int:
    """Write integers plus a whole number into integers, and return how many do not fit."""
    given, wanted = np.iinfo(source.dtype), np.iinfo(target.dtype)
    low, high = int(wanted.min) - offset, int(wanted.max) - offset
    if high < given.min or low > given.max:
        target[...] = wanted.max if high < given.min else wanted.min
        return source.size
    bounds = (source.dtype.type(max(low, int(given.min))), source.dtype.type(min(high, int(given.max))))
    return int(_shift_and_clip(source, target, np.uint64(offset % 2**64), *bounds))


def first_outside(block: NDArray, dtype: np.dtype, offset: float) -> tuple[int, ...]:
    """Return the index of the first pixel that `dtype` cannot hold after `offset` (there is one)."""
    flat = block.reshape(-1)
    first, end = 0, flat.size
    while end - first > 1:
        middle = (first + end) // 2
        if cast(flat[first:middle], dtype, offset)[1]:
            end = middle
        else:
            first = middle
    return tuple(int(at) for at in np.unravel_index(first, block.shape))
