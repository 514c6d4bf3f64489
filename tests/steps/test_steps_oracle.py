"""Each step against scikit-image and scipy on the whole array."""

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
from scipy import ndimage
from skimage import filters, morphology

from pipeline.explore.embryo import Sample
from pipeline.steps.registry import REGISTRY
from pipeline.steps.step import Step

EMBRYO = Path(__file__).parents[3] / "shared/data/MAX_Lund_18.0_22.0_Hours Z-projection t1.tif"


def step(name, **parameters) -> Step:
    return REGISTRY[name](**parameters)


@pytest.fixture(scope="module")
def embryo():
    if not EMBRYO.exists():
        pytest.skip(f"{EMBRYO.name} is not in ../shared/data")
    return tifffile.imread(EMBRYO)


@pytest.fixture(scope="module")
def synthetic():
    return Sample(frames=1, size=(121, 134), object_radius=6).image(0)


@pytest.fixture(params=["synthetic", "embryo"])
def image(request):
    return request.getfixturevalue(request.param)


def cropped(image, radius):
    """Return what scikit-image's disk, whose cost grows with the square of its radius, does in seconds."""
    return image if radius < 50 else image[:260, :240]


@pytest.mark.parametrize("radius", [5, 25, 50])
@pytest.mark.parametrize("name", ["white_tophat", "black_tophat"])
def test_tophats_equal_scikit_image_with_a_disk(name, radius, image):
    image = cropped(image, radius)
    expected = getattr(morphology, name)(image, morphology.disk(radius))
    np.testing.assert_array_equal(step(name, radius=radius)(image), expected)


@pytest.mark.parametrize("radius", [2.5, 7.25, 13])
def test_a_tophat_of_a_broken_radius_equals_scipy_with_every_offset_inside(radius, synthetic):
    d = np.arange(-int(radius), int(radius) + 1)
    inside = d[:, None] ** 2 + d**2 <= radius**2 * (1 + 1e-9)
    expected = ndimage.white_tophat(synthetic, footprint=inside)
    np.testing.assert_array_equal(step("white_tophat", radius=radius)(synthetic), expected)


@pytest.mark.parametrize("radius", [1, 3, 5])
def test_a_ball_equals_scikit_image(radius):
    stack = np.stack([Sample(z=9, size=(40, 44), object_radius=4).image(0, 0, z) for z in range(9)])
    expected = morphology.white_tophat(stack, morphology.ball(radius))
    found = step("white_tophat", radius=radius, along="zyx")(stack, axes="zyx")
    np.testing.assert_array_equal(found, expected)
    in_um = step("white_tophat", radius=f"{radius * 0.325} um", along="zyx")
    np.testing.assert_array_equal(in_um(stack, axes="zyx", scale=dict.fromkeys("zyx", 0.325)), expected)


def test_an_ellipsoid_of_one_physical_radius_equals_scipy():
    stack = np.stack([Sample(z=9, size=(40, 44), object_radius=4).image(0, 0, z) for z in range(9)])
    # 1.3 µm is 1.3 px along z, and 4 px along y and x.
    z, y, x = np.ogrid[-1:2, -4:5, -4:5]
    inside = (z / 1.3) ** 2 + (y / 4) ** 2 + (x / 4) ** 2 <= 1 + 1e-9
    tophat = step("white_tophat", radius="1.3 um", along="zyx")
    found = tophat(stack, axes="zyx", scale={"z": 1.0, "y": 0.325, "x": 0.325})
    np.testing.assert_array_equal(found, ndimage.white_tophat(stack, footprint=inside))


def test_a_tophat_along_time_equals_scipy():
    movie = np.stack([Sample(frames=9, size=(40, 44), object_radius=4).image(t) for t in range(9)])
    found = step("black_tophat", size=5, along="t")(movie, axes="tyx")
    np.testing.assert_array_equal(found, ndimage.black_tophat(movie, size=(5, 1, 1)))


def test_subtract_minimum_equals_scipy(image):
    found = step("subtract_minimum", size=25)(image)
    np.testing.assert_array_equal(found, image - ndimage.minimum_filter(image, 25))


@pytest.mark.parametrize(("minimum", "maximum"), [(25, 25), (5, 25), (25, 5), (1, 7), (7, 1)])
def test_subtract_opening_equals_scipy_in_a_type_that_holds_negatives(minimum, maximum, image):
    wide = image.astype(np.int32)
    expected = wide - ndimage.maximum_filter(ndimage.minimum_filter(wide, minimum), maximum)
    found = step("subtract_opening", minimum_size=minimum, maximum_size=maximum)(image)
    assert found.dtype == (np.int32 if maximum > minimum else np.uint16)
    np.testing.assert_array_equal(found, expected)


def test_subtract_opening_with_a_larger_maximum_along_one_axis_alone_is_signed(synthetic):
    wide = synthetic.astype(np.int32)
    expected = wide - ndimage.maximum_filter(ndimage.minimum_filter(wide, (3, 9)), (5, 5))
    sizes = {"minimum_size": {"y": 3, "x": 9}, "maximum_size": {"y": 5, "x": 5}}
    found = step("subtract_opening", **sizes)(da.from_array(synthetic, chunks=40))
    assert found.dtype == np.int32
    assert expected.min() < 0
    np.testing.assert_array_equal(found.compute(), expected)


def test_subtract_opening_keeps_its_negatives_on_the_articles_image(embryo):
    found = step("subtract_opening", minimum_size=5, maximum_size=25)(embryo)
    assert (found < 0).mean() == pytest.approx(0.83, abs=0.005)


def test_difference_of_gaussians_equals_scikit_image_in_the_inputs_own_units(image):
    expected = filters.difference_of_gaussians(image, 1, 100) * 65535
    found = step("difference_of_gaussians", low_sigma=1, high_sigma=100)(image)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-4 * np.ptp(image)


@pytest.mark.parametrize("mode", ["nearest", "reflect", "mirror", "constant"])
@pytest.mark.parametrize("sigma", [0.7, 3, 30])
def test_gaussians_equal_scipy(sigma, mode, synthetic):
    wide = synthetic.astype(np.float64)
    smooth = ndimage.gaussian_filter(wide, sigma, mode=mode)
    for name, expected in (("gaussian", smooth), ("subtract_gaussian", wide - smooth)):
        found = step(name, sigma=sigma, mode=mode)(synthetic)
        assert np.abs(found - expected).max() < 1e-4 * np.ptp(synthetic)


def test_gaussians_over_several_axes_equal_scipy():
    movie = np.stack([Sample(frames=9, size=(40, 44), object_radius=4).image(t) for t in range(9)])
    expected = ndimage.gaussian_filter(movie.astype(np.float64), (1, 2, 3), mode="nearest")
    found = step("gaussian", sigma={"t": 1, "y": 2, "x": 3}, along="tyx")(movie, axes="tyx")
    assert np.abs(found - expected).max() < 1e-4 * np.ptp(movie)
