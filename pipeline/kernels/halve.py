"""Reduction of planes to half their size, by the mean of 2 × 2 pixels."""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.jit import jit


@jit
def _halve_integers(source, target):  # type: ignore[no-untyped-def]  # typed by numba
    height, width = source.shape[1:]
    for plane in range(source.shape[0]):
        for row in range(target.shape[1]):
            above = source[plane, 2 * row]
            # At an odd end a row counts twice, which gives the mean of the pixels that exist.
            below = source[plane, min(2 * row + 1, height - 1)]
            out = target[plane, row]
            for column in range(width // 2):
                total = (
                    np.int64(above[2 * column]) + np.int64(above[2 * column + 1])
                    + np.int64(below[2 * column]) + np.int64(below[2 * column + 1])
                )  # fmt: skip
                # Divide by 4, rounding half to even: ½ is rounded up only to make an odd quotient even.
                out[column] = (total + 1 + ((total >> 2) & 1)) >> 2
            if width % 2:
                total = 2 * (np.int64(above[width - 1]) + np.int64(below[width - 1]))
                out[width // 2] = (total + 1 + ((total >> 2) & 1)) >> 2


@jit
def _halve_floats(source, target):  # type: ignore[no-untyped-def]  # typed by numba
    height, width = source.shape[1:]
    for plane in range(source.shape[0]):
        for row in range(target.shape[1]):
            above = source[plane, 2 * row]
            below = source[plane, min(2 * row + 1, height - 1)]
            out = target[plane, row]
            for column in range(width // 2):
                upper = np.float64(above[2 * column]) + np.float64(above[2 * column + 1])
                lower = np.float64(below[2 * column]) + np.float64(below[2 * column + 1])
                out[column] = (upper + lower) * 0.25
            if width % 2:
                out[width // 2] = (np.float64(above[width - 1]) + np.float64(below[width - 1])) * 0.5


def halve(planes: NDArray) -> NDArray:
    """Reduce planes to half their size, rounded up.

    Parameters
    ----------
    planes : numpy.ndarray
        (n, height, width), C-contiguous; integers of at most 32 bits, float32 or float64.

    Returns
    -------
    numpy.ndarray
        (n, ⌈height / 2⌉, ⌈width / 2⌉), same dtype: the mean of 2 × 2 pixels, at an odd end of those that
        exist. Integers are rounded half to even; floats are summed in float64.

    Examples
    --------
    >>> halve(np.array([[[1, 2, 9], [2, 1, 4]]], "uint8"))
    array([[[2, 6]]], dtype=uint8)
    """
    count, height, width = planes.shape
    target = np.empty((count, -(-height // 2), -(-width // 2)), planes.dtype)
    (_halve_floats if planes.dtype.kind == "f" else _halve_integers)(planes, target)
    return target
