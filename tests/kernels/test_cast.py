"""The cast to the output's dtype, against NumPy in a wide type: rounding, clipping, what is counted."""

import numpy as np
import pytest
from whole_array import Whole
from whole_array import cast as wide_cast

from pipeline.kernels.cast import cast, first_outside
from pipeline.kernels.dtypes import SUPPORTED

DTYPES = [dtype.name for dtype in SUPPORTED]
OFFSETS = [0, 1, -7, 0.5, 1000.25, 2.0**31, -(2.0**62), 1e19, -1e30]


def edges(dtype):
    """Return values at and around the ends of all types that `dtype` can hold, and halves."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        ends = [
            float(2**bits) + more for bits in (7, 8, 15, 16, 31, 32, 63, 64) for more in (-1, -0.5, 0, 0.5, 1)
        ]
        ends += [
            0,
            0.5,
            1.5,
            2.5,
            -0.5,
            np.nan,
            np.inf,
            3.4e38,
            *([3.5e38, 1e300, 1.7e308] if dtype == "float64" else []),
        ]
        return np.array([*ends, *(-end for end in ends)], kind)
    info = np.iinfo(kind)
    ends = {2**bits + more for bits in (0, 7, 8, 15, 16, 31, 32, 53, 63, 64) for more in (-2, -1, 0, 1)}
    return np.array(sorted({v for end in ends for v in (end, -end) if info.min <= v <= info.max}), kind)


@pytest.mark.parametrize("to", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", OFFSETS)
def test_every_cast_is_numpys_in_a_wide_type(dtype, to, offset):
    block = edges(dtype)
    found, clipped = cast(block, np.dtype(to), offset)
    values = block.astype(object) if block.dtype.kind != "f" else block.astype(np.float64)
    with np.errstate(all="ignore"):
        expected, outside, slack = wide_cast(Whole(values, dtype), to, offset)
    assert found.dtype == to
    assert clipped == outside.sum()
    if found.dtype.kind in "iu" and not slack:
        assert found.astype(object).tolist() == [int(value) for value in expected]
    else:
        np.testing.assert_allclose(found.astype(float), expected.astype(float), rtol=1e-6, atol=slack)
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected.astype(float)))
    if clipped:
        assert first_outside(block, np.dtype(to), offset) == (int(np.argmax(outside)),)


def test_a_nan_in_an_integer_is_the_least_value_and_counted():
    found, clipped = cast(np.array([np.nan, 3.0], np.float32), np.dtype("int16"), 0)
    assert (found.tolist(), clipped) == ([-(2**15), 3], 1)


@pytest.mark.parametrize("value", [1e39, -1e39])
def test_what_float32_cannot_hold_is_counted_at_both_ends(value):
    found, clipped = cast(np.array([value, 1.0]), np.dtype("float32"), 0)
    assert clipped == 1
    most = float(np.finfo(np.float32).max)
    assert found[0] == (most if value > 0 else -most)


def test_an_infinity_stays_one_in_floats_and_is_clipped_and_counted_in_integers():
    block = np.array([np.inf, -np.inf, np.nan])
    found, clipped = cast(block, np.dtype("float32"), 5)
    np.testing.assert_array_equal(found, block.astype(np.float32))
    assert clipped == 0
    found, clipped = cast(block, np.dtype("uint8"), 0)
    assert (found.tolist(), clipped) == ([255, 0, 0], 3)


def test_the_block_is_not_changed_and_the_first_pixel_outside_is_found_in_any_shape():
    block = np.zeros((3, 4, 5), np.int32)
    block[1, 2, 3] = block[2, 0, 0] = 300
    before = block.copy()
    assert cast(block.transpose(2, 0, 1), np.dtype("uint8"), 0)[1] == 2
    assert first_outside(block, np.dtype("uint8"), 0) == (1, 2, 3)
    np.testing.assert_array_equal(block, before)
