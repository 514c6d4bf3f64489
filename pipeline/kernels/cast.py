"""Casts to the dtype of the output, with an offset, rounding, clipping, and a count of clipped pixels."""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.jit import jit


@jit
def _round_and_clip(source, target, offset, low, high):  # type: ignore[no-untyped-def]  # typed by numba
    clipped = 0
    for index in range(source.size):
        value = np.rint(np.float64(source[index]) + offset)
        # With a NaN both comparisons are false: it becomes the smallest value, and is counted.
        above = value if value > low else low
        bounded = above if above < high else high
        clipped += bounded != value
        target[index] = bounded
    return clipped


@jit
def _round_and_clip_wide(source, target, offset, low, beyond, least, most):  # type: ignore[no-untyped-def]
    # No float64 holds the largest value of a 64-bit integer; `beyond` is one more, a power of 2.
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
    # Clip to what fits after the shift, then add modulo 2⁶⁴: exact where float64 is not.
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
        pixel = np.float64(source[index])
        value = pixel + offset
        # Infinities of the input stay; finite values beyond the range are clipped.
        if abs(value) > most and not np.isinf(pixel):
            value = most if value > 0 else -most
            clipped += 1
        target[index] = value
    return clipped


def cast(block: NDArray, dtype: np.dtype, offset: float) -> tuple[NDArray, int]:
    """Add `offset` to a block, cast it to a dtype, and count the pixels that the dtype cannot hold.

    Parameters
    ----------
    block : numpy.ndarray
        Pixels; not changed.
    dtype : numpy.dtype
        An integer or floating dtype.
    offset : float
        Added first, in float64; a whole number is added exactly to and from integers of 64 bits.

    Returns
    -------
    numpy.ndarray
        Contiguous. For an integer dtype, rounded half to even and clipped to its range, infinities too;
        a NaN becomes its smallest value. For a floating dtype, NaN and infinities stay, and other values
        beyond the range become the largest.
    int
        Number of clipped pixels.

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
    """Cast integers plus a whole number to integers; return the number of clipped pixels."""
    before, after = np.iinfo(source.dtype), np.iinfo(target.dtype)
    low, high = int(after.min) - offset, int(after.max) - offset
    if high < before.min or low > before.max:
        target[...] = after.max if high < before.min else after.min
        return source.size
    bounds = (source.dtype.type(max(low, int(before.min))), source.dtype.type(min(high, int(before.max))))
    return int(_shift_and_clip(source, target, np.uint64(offset % 2**64), *bounds))


def first_outside(block: NDArray, dtype: np.dtype, offset: float) -> tuple[int, ...]:
    """Return the index of the first pixel that `cast` clips, of a block in which it clips some."""
    flat = block.reshape(-1)
    first, end = 0, flat.size
    while end - first > 1:
        middle = (first + end) // 2
        if cast(flat[first:middle], dtype, offset)[1]:
            end = middle
        else:
            first = middle
    return tuple(int(index) for index in np.unravel_index(first, block.shape))
