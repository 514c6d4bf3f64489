"""Reduction of planes by the mean of 2 × 2, 1 × 2 or 2 × 1 pixels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.jit import Late, jit
from pipeline.kernels.lazy import extending, types


def _mean_of_dtype(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Return the mean of four pixels of a dtype, as a function to compile."""
    if isinstance(a, types.Float):

        def mean(a: Any, b: Any, c: Any, d: Any) -> Any:
            return ((np.float64(a) + np.float64(b)) + (np.float64(c) + np.float64(d))) * 0.25

    elif a.bitwidth < 64:

        def mean(a: Any, b: Any, c: Any, d: Any) -> Any:
            total = np.int64(a) + np.int64(b) + np.int64(c) + np.int64(d)
            # Divide by 4, rounding half to even: ½ is rounded up only to make an odd quotient even.
            return (total + 1 + ((total >> 2) & 1)) >> 2

    else:
        kind = np.int64 if a.signed else np.uint64
        one, two, three = kind(1), kind(2), kind(3)

        def mean(a: Any, b: Any, c: Any, d: Any) -> Any:
            # Quotients and remainders are summed apart, so that nothing overflows.
            rest = (a & three) + (b & three) + (c & three) + (d & three)
            quotient = (a >> two) + (b >> two) + (c >> two) + (d >> two) + (rest >> two)
            rest &= three
            return quotient + ((rest + (quotient & one)) // three)

    return mean


def _make_mean() -> Any:
    def mean(a: Any, b: Any, c: Any, d: Any) -> Any:
        raise NotImplementedError  # compiled code takes the function for the dtype

    extending.overload(mean)(_mean_of_dtype)
    return mean


_mean = Late(_make_mean)


@jit
def _halve(source, target, rows, columns):  # type: ignore[no-untyped-def]  # typed by numba
    height, width = source.shape[1:]
    for plane in range(source.shape[0]):
        for y in range(target.shape[1]):
            above = source[plane, rows * y]
            # At an odd end a pixel counts twice, which gives the mean of the pixels that exist.
            below = source[plane, min(rows * y + rows - 1, height - 1)]
            out = target[plane, y]
            if columns == 1:
                for x in range(width):
                    out[x] = _mean(above[x], above[x], below[x], below[x])
            else:
                for x in range(width // 2):
                    out[x] = _mean(above[2 * x], above[2 * x + 1], below[2 * x], below[2 * x + 1])
                if width % 2:
                    last = width - 1
                    out[width // 2] = _mean(above[last], above[last], below[last], below[last])


def halve(planes: NDArray, rows: int = 2, columns: int = 2) -> NDArray:
    """Reduce planes by the mean of blocks of `rows` × `columns` pixels.

    Parameters
    ----------
    planes : numpy.ndarray
        (n, height, width); integers, float32 or float64.
    rows, columns : int
        1 or 2.

    Returns
    -------
    numpy.ndarray
        (n, ⌈height / rows⌉, ⌈width / columns⌉), same dtype. At an odd end it is the mean of the pixels that
        exist. Integers are rounded half to even; floats are summed in float64.

    Examples
    --------
    >>> halve(np.array([[[1, 2, 9], [2, 1, 4]]], "uint8"))
    array([[[2, 6]]], dtype=uint8)
    """
    count, height, width = planes.shape
    target = np.empty((count, -(-height // rows), -(-width // columns)), planes.dtype)
    for source, out in zip(planes, target, strict=True):
        # The kernel is fast on pixels without gaps only; a copy of one plane is small beside a block.
        _halve(np.ascontiguousarray(source)[None], out[None], rows, columns)
    return target
