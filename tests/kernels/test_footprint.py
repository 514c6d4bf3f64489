"""Footprints: what they hold, and that two ways to ask agree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.morphology import ball, disk

from pipeline.kernels.morphology import Footprint

RADII = st.one_of(st.integers(0, 6).map(float), st.floats(0, 6, allow_nan=False))


@pytest.mark.parametrize("radius", range(1, 61))
def test_disk_of_a_whole_radius_is_that_of_scikit_image(radius):
    np.testing.assert_array_equal(Footprint("disk", (radius, radius)).mask(), disk(radius, bool))


@pytest.mark.parametrize("radius", [*range(1, 16), 26])
def test_ball_of_a_whole_radius_is_that_of_scikit_image(radius):
    np.testing.assert_array_equal(Footprint("disk", (radius,) * 3).mask(), ball(radius, bool))


@pytest.mark.parametrize("radius", [13, 26, 39])
def test_rim_needs_the_tolerance_where_rounding_goes_wrong(radius):
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    strict = (y / radius) ** 2 + (x / radius) ** 2 <= 1
    assert strict.sum() < Footprint("disk", (radius, radius)).mask().sum()


@given(st.sampled_from(["disk", "box"]), st.lists(RADII, min_size=1, max_size=4).map(tuple))
def test_mask_is_symmetric_and_touches_its_reach(shape, radii):
    footprint = Footprint(shape, radii)
    mask = footprint.mask()
    assert mask.shape == tuple(2 * reach + 1 for reach in footprint.reach)
    np.testing.assert_array_equal(mask, mask[(slice(None, None, -1),) * mask.ndim])
    for axis, reach in enumerate(footprint.reach):
        line = np.moveaxis(mask, axis, 0)[0]
        assert line.any(), f"nothing at offset {-reach} of axis {axis}"


@settings(max_examples=200)
@given(
    st.sampled_from(["disk", "box"]),
    st.lists(st.tuples(RADII, st.integers(0, 6)), min_size=1, max_size=4),
)
def test_half_widths_are_those_of_the_mask(shape, axes):
    footprint = Footprint(shape, tuple(radius for radius, _ in axes))
    reach = tuple(min(most, own) for (_, most), own in zip(axes, footprint.reach, strict=True))
    inside = tuple(slice(own - r, own + r + 1) for r, own in zip(reach, footprint.reach, strict=True))
    count = footprint.mask()[inside].sum(axis=-1)
    half = footprint.half_widths(reach)
    assert half.shape == count.shape
    np.testing.assert_array_equal(np.where(half < 0, 0, 2 * half + 1), count)


def test_lengths_just_under_a_whole_radius_reach_it():
    assert Footprint("disk", (8.0 - 1e-12, 2.999)).reach == (8, 2)


def test_ellipsoid_keeps_each_radius():
    footprint = Footprint("disk", (1.5, 0, 4.25))
    assert footprint.reach == (1, 0, 4)
    assert footprint.mask()[:, 0, :].sum(axis=1).tolist() == [7, 9, 7]
