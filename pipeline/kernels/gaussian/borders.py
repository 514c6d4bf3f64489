"""How an image goes on beyond its border."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Mode = Literal["nearest", "reflect", "mirror", "constant"]


def index_map(n: int, start: int, stop: int, mode: Mode) -> NDArray[np.int64]:
    """Return which of `n` pixels stands at each position start … stop − 1, `n` itself where none does.

    The modes are those of `scipy.ndimage`. An image shorter than the range is repeated as often as
    it takes.

    Parameters
    ----------
    n : int
        Pixels along the axis, at least 1.
    start, stop : int
        The range of positions; 0 … n − 1 is the image.
    mode : {"nearest", "reflect", "mirror", "constant"}

    Returns
    -------
    ndarray of int64, shape (stop - start,)

    Examples
    --------
    >>> index_map(3, -3, 5, "reflect")
    array([2, 1, 0, 0, 1, 2, 2, 1])
    >>> index_map(3, -2, 5, "mirror")
    array([2, 1, 0, 1, 2, 1, 0])
    >>> index_map(3, -1, 4, "constant")
    array([3, 0, 1, 2, 3])
    """
    at = np.arange(start, stop, dtype=np.int64)
    if mode == "nearest":
        return np.clip(at, 0, n - 1)
    if mode == "reflect":
        at %= 2 * n
        return np.minimum(at, 2 * n - 1 - at)
    if mode == "mirror":
        if n == 1:
            return np.zeros_like(at)
        at %= 2 * n - 2
        return np.minimum(at, 2 * n - 2 - at)
    return np.where((at < 0) | (at >= n), n, at)
