"""From what a chain gives to the output's dtype: offset, rounding, and a count of what was clipped."""

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


def cast(block: NDArray, dtype: np.dtype, offset: float) -> tuple[NDArray, int]:
    """Return a block plus `offset` in another dtype, and how many pixels that dtype cannot hold.

    Parameters
    ----------
    block : numpy.ndarray
        Pixels; not changed.
    dtype : numpy.dtype
        An integer or floating dtype.
    offset : float
        Added first.

    Returns
    -------
    numpy.ndarray
        Contiguous. Integers are rounded half to even; what lies outside the dtype's range is
        set to its nearest value, and a NaN to its smallest.
    int
        Number of pixels so clipped.

    Examples
    --------
    >>> cast(np.array([-3.0, 0.5, 1.5, 300.0]), np.dtype("uint8"), 0)
    (array([  0,   0,   2, 255], dtype=uint8), 2)
    """
    if block.dtype == dtype and offset == 0:
        return np.ascontiguousarray(block), 0
    if dtype.kind == "f":
        return _cast_to_float(block, dtype, offset)
    target = np.empty(block.shape, dtype)
    info = np.iinfo(dtype)
    source, bounds = np.ascontiguousarray(block).reshape(-1), (float(info.min), float(info.max))
    clipped = _round_and_clip(source, target.reshape(-1), float(offset), *bounds)
    return target, int(clipped)


def _cast_to_float(block: NDArray, dtype: np.dtype, offset: float) -> tuple[NDArray, int]:
    wide = block if offset == 0 else block.astype(np.result_type(block.dtype, np.float32)) + offset
    info = np.finfo(dtype)
    if wide.dtype.kind != "f" or wide.dtype.itemsize <= dtype.itemsize:
        return np.ascontiguousarray(wide, dtype), 0
    outside = np.isfinite(wide) & (np.abs(wide) > info.max)
    return np.clip(wide, info.min, info.max).astype(dtype), int(np.count_nonzero(outside))


def first_outside(block: NDArray, dtype: np.dtype, offset: float) -> tuple[int, ...]:
    """Return the index of the first pixel that `dtype` cannot hold after `offset` (there is one)."""
    wide = block.astype(np.float64) + offset
    if dtype.kind == "f":
        bounds = np.finfo(dtype)
        wrong = np.isfinite(wide) & (np.abs(wide) > bounds.max)
    else:
        limits = np.iinfo(dtype)
        rounded = np.rint(wide)
        wrong = ~((rounded >= limits.min) & (rounded <= limits.max))
    return tuple(int(at) for at in np.argwhere(wrong)[0])
