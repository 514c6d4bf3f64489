"""NaN and infinite pixels are found wherever they are, and no finite pixel is taken for one."""

import numpy as np
import pytest

from pipeline.model.errors import DataError
from pipeline.model.finite import check_finite


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("least", [0, -5])
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (7, 3), (14, 22)])
def test_one_of_them_is_found(dtype, least, value, place):
    block = np.random.default_rng(0).uniform(least, 5, (15, 23)).astype(dtype)
    check_finite(block, "yx", (0, 0))
    block[place] = value
    for view, (y, x) in ((block, place), (block[::-1], (14 - place[0], place[1])), (block.T, place[::-1])):
        with pytest.raises(DataError, match=f"at y {y + 10}, x {x}"):
            check_finite(view, "yx", (10, 0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_and_the_smallest_are_finite(dtype, sign):
    limits = np.finfo(dtype)
    block = sign * np.array([[limits.max, limits.tiny, 0]] * 40, dtype)
    check_finite(block, "yx", (0, 0))
    check_finite(np.concatenate([block, -block]), "yx", (0, 0))
    check_finite(block[:0], "yx", (0, 0))
