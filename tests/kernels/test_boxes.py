"""Boxes against scipy, where the passes over planes have their seams: vectors, groups of rows, strips."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.kernels import morphology
from pipeline.kernels.dtypes import signed_dtype, unsigned_dtype
from pipeline.kernels.morphology import Footprint, box, strips

DTYPES = ["uint8", "int16", "uint32", "float32"]


def eroded(image, reach, sign=1):
    """Erode with scipy, or with `sign` −1 dilate; NaN counts as beyond the border."""
    if image.dtype.kind == "f":
        image = np.where(np.isnan(image), np.asarray(sign * np.inf, image.dtype), image)
    run = ndimage.minimum_filter if sign == 1 else ndimage.maximum_filter
    reach = [min(r, n - 1) for r, n in zip(reach, image.shape, strict=True)]
    return run(image, size=[2 * r + 1 for r in reach], mode="nearest")


def opened(image, one, two):
    return eroded(eroded(image, one), two, -1)


def boxes(*reaches):
    return [Footprint("box", tuple(map(float, reach))) for reach in reaches]


def check(image, one, two):
    """Compare every operation with scipy."""
    narrow = unsigned_dtype(image.dtype)
    wide = signed_dtype(image.dtype) if any(b > a for a, b in zip(one, two, strict=True)) else narrow
    first, second = boxes(one, two)
    pixels, erosion, dilation = image.astype(narrow), eroded(image, one), eroded(image, one, -1)
    before = image.copy()
    with np.errstate(invalid="ignore", over="ignore"):
        closed = eroded(dilation, one).astype(narrow)
        expected = [
            (morphology.erosion(image, first), erosion),
            (morphology.dilation(image, first), dilation),
            (morphology.subtract_erosion(image, first), pixels - erosion.astype(narrow)),
            (morphology.white_tophat(image, first), pixels - opened(image, one, one).astype(narrow)),
            (morphology.black_tophat(image, first), closed - pixels),
            (
                morphology.subtract_opening(image, first, second),
                image.astype(wide) - opened(image, one, two).astype(wide),
            ),
        ]
    for result, right in expected:
        assert result.dtype == right.dtype
        np.testing.assert_array_equal(result, right)
    np.testing.assert_array_equal(image, before)


def noise(shape, dtype, seed=0):
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return random.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return random.integers(info.min, info.max, shape, dtype, endpoint=True)


@pytest.fixture
def fresh_plans():
    """Plans made under changed limits are not kept."""
    box.plan_box.cache_clear()
    yield
    box.plan_box.cache_clear()


@st.composite
def images(draw, dtype):
    ndim = draw(st.integers(1, 3))
    longest = {1: [600], 2: [60, 300], 3: [6, 20, 150]}[ndim]
    shape = tuple(draw(st.integers(1, most)) for most in longest)
    image = noise(shape, dtype, draw(st.integers(0, 99)))
    if image.dtype.kind == "f" and draw(st.booleans()):
        image[noise(shape, "float32", 1) > draw(st.sampled_from([0.5, -0.5]))] = np.nan
    if draw(st.booleans()):
        steps = tuple(slice(None, None, draw(st.sampled_from([1, -1, 2]))) for _ in shape)
        image = image.transpose(draw(st.permutations(range(ndim))))[steps]
    reaches = st.tuples(*[st.sampled_from([0, 0, 1, 2, 3, 4, 7, 13, 60])] * ndim)
    return image, draw(reaches), draw(reaches)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_box_on_any_image(dtype, data):
    check(*data.draw(images(dtype)))


@pytest.mark.parametrize("width", [1, 15, 16, 31, 32, 63, 64, 65, 127, 128, 129, 193])
@pytest.mark.parametrize("height", [1, 7, 8, 9, 25])
def test_rows_and_groups_of_any_length(height, width):
    image = noise((height, width), "uint8")
    for y, x in itertools.product((0, 1, 2, 4), (0, 1, 2, 4, 5, 13, 14, 40)):
        check(image, (y, x), (2, 3))


@pytest.mark.parametrize("y", [1, 2, 3, 4, 12, 50, 51, 99])
def test_sides_from_the_shortest_to_those_along_one_axis_alone(y):
    check(noise((150, 90), "uint16"), (y, 4), (min(y + 1, 60), 2))


@pytest.mark.parametrize("shape", [(70, 300), (9, 30, 150), (3, 4, 20, 90)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_narrow_strips(shape, dtype, monkeypatch, fresh_plans):
    monkeypatch.setattr(strips, "CACHE_BYTES", 1)
    one, two = (1, 2, 3, 3)[-len(shape) :], (1, 1, 2, 4)[-len(shape) :]
    image = noise(shape, dtype)
    check(image, one, two)
    check(image[..., ::-1].swapaxes(0, -1), one[::-1], two[::-1])
    assert len(box.plan_box(shape[-2:], (1000, 1), image.dtype, image.dtype, ((3, 3),), False, 0).strips) > 1


@pytest.mark.parametrize("one", [(2, 3, 1), (1, 5, 2), (3, 60, 1), (3, 1, 0)])
def test_three_axes_and_tall_ones_filter_in_place(one):
    image = noise((12, 130, 70), "int16")
    for two in (one, (1, 1, 1), (4, 2, 5), (0, 2, 1)):
        check(image, one, two)
        check(image[:, ::2], one, two)


@pytest.mark.parametrize("offset", [0, 3])
def test_rows_that_share_lines_of_the_cache(offset):
    image = noise((80, 4096), "uint8")[:, offset : offset + 300]
    for reach in (1, 4, 12, 40):
        check(image, (reach, 2), (reach, 1))


@pytest.mark.parametrize("width", [20, 64, 77, 150])
@pytest.mark.parametrize("minus", [0, 1])
def test_nothing_is_written_beyond_the_result(width, minus):
    image, height = noise((11, width), "uint8"), 11
    memory = np.full(height * width + 400, 77, np.uint8)
    out = memory[200:-200].reshape(image.shape)
    box.filter_box(image, out, ((2, 3),), minus=minus)
    assert (memory[:200] == 77).all()
    assert (memory[-200:] == 77).all()
    np.testing.assert_array_equal(out, image - eroded(image, (2, 3)) if minus else eroded(image, (2, 3)))


def test_infinities_and_nan_of_both_signs():
    image = noise((40, 130), "float32")
    image[5:20, 30:60] = np.nan  # wider than the box
    image[noise(image.shape, "uint8") < 30] = -np.nan
    image[0, :3], image[30, 70:73] = np.inf, -np.inf
    for reach in ((1, 1), (2, 3), (6, 0), (0, 6)):
        check(image, reach, (2, 2))
