"""Gaussian kernels against scipy in float64, on the whole array and block by block."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.kernels import gaussian as kernel
from pipeline.kernels.dtypes import SUPPORTED, float_dtype
from pipeline.kernels.gaussian import taps

MODES = ("nearest", "reflect", "mirror", "constant")
SIGMAS = (0.05, 0.3, 0.5, 0.69, 1.0, 1.7, 3.0, 5.5, 7.9, 8.0, 9.3, 12.0, 15.0, 21.0, 40.0, 100.0)


def ideal(image: NDArray, sigmas: tuple[float, ...], mode: str, truncate: float = 4.0) -> NDArray:
    return ndimage.gaussian_filter(image.astype(np.float64), sigmas, mode=mode, truncate=truncate)


def span(image: NDArray, mode: str) -> float:
    """The range of what the filter sees."""
    values = np.append(image.ravel().astype(np.float64), [0.0] if mode == "constant" else [])
    return float(np.ptp(values)) or 1.0


def noise(shape: tuple[int, ...], dtype: str | np.dtype, seed: int) -> NDArray:
    """Uneven background, spots and noise in the lower 7 bits of any type."""
    rng = np.random.default_rng(seed)
    image = rng.random(shape) * 40 + rng.integers(0, 2, shape) * rng.integers(0, 60)
    ramp = sum(np.linspace(0, 20, n).reshape([-1] + [1] * (image.ndim - 1 - i)) for i, n in enumerate(shape))
    values = image + np.minimum(ramp, 27)
    return values.astype(dtype) if np.dtype(dtype).kind == "f" else values.round().astype(dtype)


@st.composite
def cases(
    draw: st.DrawFn,
) -> tuple[NDArray, tuple[float, ...], tuple[float, ...], str, float, tuple[int, ...]]:
    ndim = draw(st.integers(1, 5))
    longest = {1: 700, 2: 130, 3: 30, 4: 12, 5: 6}[ndim]
    shape = tuple(draw(st.integers(1, longest)) for _ in range(ndim))
    image = noise(shape, draw(st.sampled_from(SUPPORTED)), draw(st.integers(0, 99)))
    axes = draw(st.sampled_from(["all", "plane", "some"]))
    high = [draw(st.sampled_from((0.0, *SIGMAS))) for _ in range(ndim)]
    if axes == "plane":
        high[:-2] = [0.0] * len(high[:-2])
    elif axes == "some":
        high = [sigma if draw(st.booleans()) else 0.0 for sigma in high]
    low = [min(sigma, draw(st.sampled_from((0.0, 1.0, 9.0)))) for sigma in high]
    origin = tuple(draw(st.integers(0, 10**6)) for _ in range(ndim))
    truncate = draw(st.sampled_from((4.0, 4.0, 4.0, 0.5, 1.0, 2.5, 3.0, 3.9, 5.0, 8.0)))
    return image, tuple(low), tuple(high), draw(st.sampled_from(MODES)), truncate, origin


@pytest.mark.parametrize("truncate", [0.5, 1.0, 2.0, 2.5, 3.0, 3.5, 3.8, 3.99, 4.0, 4.4, 6.0, 8.0])
def test_no_image_can_tell_it_a_ten_thousandth_of_its_range_from_scipy(truncate) -> None:
    # With both sides of each seam: from taps to a grid, and from a step of the grid to the next.
    for sigma in (0.3, 0.69, 3.47, 7.49, 7.5, 10.29, 12.37, 12.38, 16.49, 16.5, 17, 21.9, 50.7, 100.0, 300.0):
        halo = kernel.reach(sigma, truncate)
        place = max(1, int(sigma / 16))
        pixels = np.zeros((4, 2 * halo + 1 + 3 * place))
        for row in range(4):
            pixels[row, halo + row * place] = 1
        # A row holds the weights by which outputs see one pixel. Half the sum of their differences is how
        # far a result can be from scipy's, for an image with a range of 1; three axes add up to three.
        found = kernel.gaussian(pixels, (0.0, sigma), mode="constant", truncate=truncate)
        theirs = ndimage.gaussian_filter1d(pixels, sigma, mode="constant", truncate=truncate)
        far = np.abs(found - theirs).sum(axis=1).max() / 2
        assert far <= (1e-4 / 3 if taps.grid(sigma, truncate) else 1e-12), sigma


@settings(max_examples=120, deadline=None)
@given(cases())
def test_filters_stay_within_a_ten_thousandth_of_the_range_of_scipy(case) -> None:
    image, low, high, mode, truncate, origin = case
    before = image.copy()
    options = {"mode": mode, "truncate": truncate, "origin": origin}
    wide, narrow = ideal(image, high, mode, truncate), ideal(image, low, mode, truncate)
    for found, expected in (
        (kernel.gaussian(image, high, **options), wide),
        (kernel.subtract_gaussian(image, high, **options), image - wide),
        (kernel.difference_of_gaussians(image, low, high, **options), narrow - wide),
    ):
        assert found.shape == image.shape
        assert found.dtype == float_dtype(image.dtype)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * span(image, mode))
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("mode", MODES)
def test_the_seam_between_direct_and_grid_is_invisible(mode) -> None:
    image = noise((150, 170), "uint16", 3)
    last = None
    for sigma in np.arange(7.5, 10.5, 0.1):
        found = kernel.gaussian(image, (sigma, sigma), mode=mode)
        expected = ideal(image, (sigma, sigma), mode)
        error = found - expected
        assert np.abs(error).max() < 5e-5 * span(image, mode)
        # What changes from one sigma to the next is the Gaussian, not the way it is computed.
        if last is not None:
            np.testing.assert_allclose(error, last, atol=1e-4 * span(image, mode))
        last = error


@st.composite
def blocks(draw: st.DrawFn):
    ndim = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, {1: 2000, 2: 260, 3: 60}[ndim])) for _ in range(ndim))
    dtype = draw(st.sampled_from(["uint8", "uint16", "int32", "float32", "float64"]))
    image = noise(shape, dtype, draw(st.integers(0, 99)))
    if dtype == "uint16" and draw(st.booleans()):
        image = image + np.uint16(60000)
    high = tuple(draw(st.sampled_from((0.0, 0.4, 2.0, 5.0, 8.0, 9.3, 16.0, 33.0, 120.0))) for _ in shape)
    low = tuple(min(sigma, draw(st.sampled_from((0.0, 1.0, 8.5)))) for sigma in high)
    truncate = draw(st.sampled_from((4.0, 0.5, 2.0, 3.0, 3.9, 5.0, 8.0)))
    cuts = []
    for n, *both in zip(shape, low, high, strict=True):
        halo = max(kernel.reach(sigma, truncate) if sigma > 0 else 0 for sigma in both)
        begin = draw(st.integers(0, n - 1))
        end = draw(st.integers(begin + 1, n))
        cuts.append((begin, end, max(0, begin - halo), min(n, end + halo)))
    return image, low, high, draw(st.sampled_from(MODES)), truncate, cuts


@settings(max_examples=120, deadline=None)
@given(blocks())
def test_a_block_with_its_halo_gives_what_the_whole_gives(case) -> None:
    image, low, high, mode, truncate, cuts = case
    block = image[tuple(slice(first, last) for _, _, first, last in cuts)]
    origin = tuple(first for _, _, first, _ in cuts)
    kept = tuple(slice(begin - first, end - first) for begin, end, first, _ in cuts)
    there = tuple(slice(begin, end) for begin, end, _, _ in cuts)
    options = {"mode": mode, "truncate": truncate}
    for whole, part in (
        (kernel.gaussian(image, high, **options), kernel.gaussian(block, high, origin=origin, **options)),
        (
            kernel.difference_of_gaussians(image, low, high, **options),
            kernel.difference_of_gaussians(block, low, high, origin=origin, **options),
        ),
    ):
        np.testing.assert_allclose(part[kept], whole[there], rtol=0, atol=1e-6 * np.abs(image).max())


def test_a_grid_that_ignored_the_origin_would_be_seen() -> None:
    image = noise((400,), "float64", 1)
    found, moved = (kernel.gaussian(image, (30.0,), origin=(o,)) for o in (0, 2))
    assert np.abs(found - moved).max() > 1e-6 * image.max()


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.5, 7.9, 8.0, 8.9, 10.0, 14.9, 15.0, 20.0, 30.0, 47.0])
@pytest.mark.parametrize("dtype", ["uint16", "float64"])
def test_never_further_from_the_whole_gaussian_than_scipy_is(sigma, dtype) -> None:
    size = int(6 * sigma) + 90
    at = np.arange(size)
    texture = noise((size, size), "float64", 4)
    edge = np.where(at[:, None] + at > size, 100.0, 0.0)
    spots = (np.random.default_rng(0).random((size, size)) < 0.002) * 5000.0
    waves = 500 + 400 * np.sin(at[:, None] / (1.5 * sigma)) * np.cos(at / (4 * sigma))
    for image in (texture * 100, edge, spots, waves):
        image = image.round().astype(dtype)
        best = ideal(image, (sigma, sigma), "reflect", 8)
        theirs = np.abs(ideal(image, (sigma, sigma), "reflect") - best)
        ours = np.abs(kernel.gaussian(image, (sigma, sigma), mode="reflect") - best)
        rounding = 4 * np.finfo(float_dtype(image.dtype)).eps * np.abs(image).max()
        assert ours.max() <= theirs.max() + rounding
        assert np.sqrt(np.mean(ours**2)) <= np.sqrt(np.mean(theirs**2)) + rounding


@pytest.mark.parametrize("sigma", [0.6, 2.0, 7.7, 8.0, 8.6, 14.99, 20.21, 25.39, 26.5, 30.2])
def test_no_image_can_tell_it_further_from_the_whole_gaussian_than_scipy(sigma) -> None:
    size = 2 * int(6 * sigma) + 61
    pixels = np.eye(size)
    middle = slice(size // 2 - 12, size // 2 + 13)
    options = {"axis": 1, "mode": "constant"}
    best = ndimage.gaussian_filter1d(pixels, sigma, truncate=9, **options)
    theirs = ndimage.gaussian_filter1d(pixels, sigma, **options) - best
    ours = kernel.gaussian(pixels, (0.0, sigma), mode="constant") - best
    # Column x holds the weights by which output x sees each input. The sum of their errors bounds the
    # error on any image, the sum of squares the one on noise.
    for power in (1, 2):
        worst = (np.abs(ours[:, middle]) ** power).sum(axis=0).max()
        assert worst <= (np.abs(theirs[:, middle]) ** power).sum(axis=0).min() * 1.001


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("truncate", [2.0, 3.0, 3.6, 4.0, 5.0, 8.0])
def test_one_pixel_is_seen_as_far_as_reach_says_and_no_farther(sigma, truncate) -> None:
    halo = kernel.reach(sigma, truncate)
    assert halo >= int(truncate * sigma + 0.5)
    farthest = 0
    for at in (halo + 30, halo + 31, halo + 37):
        image = np.zeros(2 * halo + 70)
        image[at] = 1
        found = np.flatnonzero(kernel.gaussian(image, (sigma,), truncate=truncate))
        farthest = max(farthest, *np.abs(found - at))
    assert farthest <= halo
    if truncate == 4:
        assert farthest == halo or sigma >= 8
        assert halo <= 4.75 * sigma + 1


@pytest.mark.parametrize("sigma", [1.0, 5.0, 30.0])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_small_range_on_a_large_offset_keeps_its_precision(sigma, dtype) -> None:
    rng = np.random.default_rng(2)
    image = (60000 + rng.integers(0, 11, (200, 210))).astype(dtype)
    image[0, 0] = 60010
    low, high = (0.8, 0.8), (sigma, sigma)
    wide = ideal(image, high, "nearest")
    found = kernel.subtract_gaussian(image, high)
    np.testing.assert_allclose(found, image - wide, rtol=0, atol=1e-3)
    found = kernel.difference_of_gaussians(image, low, high)
    np.testing.assert_allclose(found, ideal(image, low, "nearest") - wide, rtol=0, atol=1e-3)


def _views() -> list[tuple[str, NDArray]]:
    base = noise((6, 60, 70), "uint16", 5)
    frozen = base.copy()
    frozen.flags.writeable = False
    return [
        ("cropped", base[1:4, 3:50, 5:61]),
        ("every other", base[::2, ::3, ::2]),
        ("backwards", base[::-1, ::-1, ::-1]),
        ("rows backwards", base[:, ::-2]),
        ("transposed", base.T),
        ("fortran", np.asfortranarray(base)),
        ("read-only", frozen),
        ("repeated", np.broadcast_to(base[:, :1, :], (6, 40, 70))),
        ("one value", np.broadcast_to(np.uint16(7), (3, 20, 20))),
        ("big-endian", base.astype(">u2")),
        ("field", np.zeros((3, 20, 21), [("a", "u1"), ("b", "<u2")])["b"] + np.uint16(0)),
        ("unaligned", np.zeros((3, 20, 21), [("a", "u1"), ("b", "<u2")])["b"]),
    ]


@pytest.mark.parametrize(("name", "view"), _views(), ids=[name for name, _ in _views()])
@pytest.mark.parametrize("sigmas", [(0, 2, 3), (0, 9, 10), (1, 2, 9), (9, 0, 1)])
def test_any_strides_give_what_a_plain_copy_gives(name, view, sigmas) -> None:
    plain = np.ascontiguousarray(view).astype(view.dtype.newbyteorder("="))
    before = plain.copy()
    low = tuple(min(sigma, 1) for sigma in sigmas)
    np.testing.assert_array_equal(
        kernel.difference_of_gaussians(view, low, sigmas), kernel.difference_of_gaussians(plain, low, sigmas)
    )
    np.testing.assert_array_equal(view, before)


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (3, 0, 4), (0, 4, 4)])
def test_empty_arrays_stay_empty(shape) -> None:
    image = np.zeros(shape, np.uint16)
    sigmas = (9.0,) * len(shape)
    for found in (kernel.gaussian(image, sigmas), kernel.difference_of_gaussians(image, sigmas, sigmas)):
        assert (found.shape, found.dtype) == (shape, np.float32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(1,), (1, 1), (2, 1), (1, 3), (1, 1, 1), (3, 2, 1)])
@pytest.mark.parametrize("sigma", [1.0, 6.0, 50.0, 1500.0])
def test_images_smaller_than_the_kernel(mode, shape, sigma) -> None:
    image = noise(shape, "float64", 6)
    sigmas = (sigma,) * len(shape)
    found = kernel.gaussian(image, sigmas, mode=mode)
    np.testing.assert_allclose(found, ideal(image, sigmas, mode), rtol=0, atol=1e-4 * span(image, mode))


def test_rows_more_than_two_to_the_31_elements_apart() -> None:
    step = 2**30
    store = np.empty(3 * step + 64, np.uint8)  # only the pages that are touched take memory
    image = np.lib.stride_tricks.as_strided(store, (4, 64), (step, 1))
    image[...] = noise((4, 64), "uint8", 7)
    for sigma in (1.0, 9.0):
        np.testing.assert_array_equal(
            kernel.gaussian(image, (sigma, sigma)), kernel.gaussian(image.copy(), (sigma, sigma))
        )


@pytest.mark.parametrize("sigma", [2.0, 20.0])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_spreads_as_far_as_the_kernel_and_blockwise_alike(sigma, bad) -> None:
    halo = kernel.reach(sigma, 4)
    for at in (200, 203):
        image = noise((400,), "float32", 8)
        image[at] = bad
        whole = kernel.gaussian(image, (sigma,))
        assert not np.isfinite(whole[at])
        assert np.isfinite(whole[: at - halo]).all()
        assert np.isfinite(whole[at + halo + 1 :]).all()
        for begin in range(0, 400, 50):
            first, last = max(0, begin - halo), min(400, begin + 50 + halo)
            part = kernel.gaussian(image[first:last], (sigma,), origin=(first,))[begin - first :][:50]
            np.testing.assert_array_equal(np.isfinite(part), np.isfinite(whole[begin : begin + 50]))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sigma", [3.0, 20.0])
def test_nan_on_any_axis_reaches_no_pixel_beyond_the_halo(axis, sigma) -> None:
    halo, step = kernel.reach(sigma, 4), taps.grid_step(sigma, 4)
    sigmas = tuple(sigma if each == axis else 0.0 for each in range(3))
    for at in range(halo + 5, halo + 5 + step):
        image = np.ones(tuple(2 * halo + 20 + step if each == axis else 2 for each in range(3)))
        np.moveaxis(image, axis, 0)[at] = np.nan
        line = np.moveaxis(np.isnan(kernel.gaussian(image, sigmas)), axis, 0)[:, 0, 0]
        spoiled = np.flatnonzero(line)
        assert at - halo <= spoiled.min()
        assert spoiled.max() <= at + halo


def kinds(image: NDArray) -> NDArray:
    """1, -1 and 2 for ∞, −∞ and NaN, 0 for numbers."""
    return np.select([np.isnan(image), image == np.inf, image == -np.inf], [2, 1, -1])


@pytest.mark.parametrize("seed", range(24))
def test_nan_and_infinities_come_out_as_scipys_and_blockwise_alike(seed) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(20, 90)), int(rng.integers(20, 90)))
    image = rng.normal(size=shape).astype(rng.choice(["f4", "f8"]))
    for bad in (np.nan, np.inf, -np.inf):
        if rng.random() < 0.6:
            image[tuple(rng.integers(0, size) for size in shape)] = bad
    high = tuple(float(rng.choice([0, 0.7, 2, 5, *([20] if seed % 3 else [])])) for _ in shape)
    low = tuple(float(min(sigma, rng.choice([0, 1]))) for sigma in high)
    options = {"mode": str(rng.choice(MODES)), "truncate": float(rng.choice([2, 4]))}
    whole = kernel.difference_of_gaussians(image, low, high, **options)
    if max(high) < 8:
        with np.errstate(invalid="ignore"):
            theirs = ideal(image, low, **options) - ideal(image, high, **options)
        np.testing.assert_array_equal(kinds(whole), kinds(theirs))
    first, last, halo = [], [], [kernel.reach(sigma, options["truncate"]) for sigma in high]
    for size in shape:
        begin = int(rng.integers(0, size - 5))
        first.append(begin)
        last.append(int(rng.integers(begin + 1, size)))
    reads = [
        slice(max(0, a - px), min(size, b + px))
        for a, b, px, size in zip(first, last, halo, shape, strict=True)
    ]
    origin = tuple(read.start for read in reads)
    part = kernel.difference_of_gaussians(image[tuple(reads)], low, high, origin=origin, **options)
    kept = tuple(slice(a - o, b - o) for a, b, o in zip(first, last, origin, strict=True))
    there = tuple(map(slice, first, last))
    np.testing.assert_array_equal(kinds(part[kept]), kinds(whole[there]))


@pytest.mark.parametrize(
    ("shape", "dtype", "low", "high"),
    [
        ((700, 900), "uint16", (0, 0), (1, 1)),
        ((700, 900), "uint16", (1, 1), (7.5, 7.5)),
        ((700, 900), "uint16", (0, 0), (10, 10)),
        ((1000, 800), "uint8", (1, 1), (60, 60)),
        ((700, 900), "float64", (0, 0), (30, 30)),
        ((500, 600), "uint16", (0, 0), (0, 40)),
        ((500, 600), "uint16", (0, 0), (2, 40)),
        ((60, 200, 300), "uint16", (0, 0, 0), (0, 3, 3)),
        ((60, 200, 300), "uint16", (1, 1, 1), (10, 30, 30)),
        ((200, 100, 110), "uint16", (0, 0, 0), (20, 0, 0)),
        ((60, 200, 300), "uint16", (1, 2, 2), (4, 5, 5)),
    ],
)
def test_the_scratch_is_what_is_measured(shape, dtype, low, high) -> None:
    image = noise(shape, dtype, 9)
    both = (tuple(map(float, low)), tuple(map(float, high)))
    kernel.difference_of_gaussians(image, *both)
    tracemalloc.start()
    found = kernel.difference_of_gaussians(image, *both)
    peak = tracemalloc.get_traced_memory()[1] - found.nbytes
    tracemalloc.stop()
    said = kernel.gaussian_bytes(shape, image.dtype, both, 4.0)
    assert peak <= said <= 2 * peak + 2**20


def test_scratch_is_a_few_rows_however_many_planes_there_are() -> None:
    sigmas = ((0.0, 1.0, 1.0), (0.0, 50.0, 50.0))
    few, many = (kernel.gaussian_bytes((n, 2048, 2048), np.dtype("uint16"), sigmas, 4.0) for n in (1, 50))
    assert few == many < 2048 * 2048 * 2


def test_threads_do_not_disturb_each_other() -> None:
    images = [noise((90, 100), "uint16", seed) for seed in range(16)]
    alone = [kernel.difference_of_gaussians(image, (1, 1), (20, 20)) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda image: kernel.difference_of_gaussians(image, (1, 1), (20, 20)), images)
        for one, two in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, two)
