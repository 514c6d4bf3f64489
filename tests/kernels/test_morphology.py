"""Flat morphology against scipy on padded arrays, for every dtype, shape, stride and footprint.

Each test compiles what it needs: all kernels for all dtypes in one go took longer than a test may on a busy
machine, and the timeout's signal then came deep inside the compiler.
"""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.kernels import morphology
from pipeline.kernels.dtypes import SUPPORTED, signed_dtype, unsigned_dtype
from pipeline.kernels.morphology import Footprint, axis, chords, flat, near, passes, plane

NAMES = [dtype.name for dtype in SUPPORTED]
# Longest axis by number of axes, so that an example takes scipy a few milliseconds.
LONGEST = {1: 150, 2: 40, 3: 14, 4: 7, 5: 5}
WIDEST = {1: 30, 2: 12, 3: 5, 4: 2.5, 5: 1.5}


@pytest.fixture
def small_scratch(monkeypatch):
    """Set the limits of scratch of which arrangements are made, which are kept."""

    def limit(**limits):
        for name, value in limits.items():
            monkeypatch.setattr(flat, name, value)
        flat.arrange.cache_clear()

    yield limit
    monkeypatch.undo()
    flat.arrange.cache_clear()


@pytest.fixture(params=["near", "chords"])
def kernel(request, small_scratch):
    """Both kernels for footprints of any shape, whatever the size."""
    small_scratch(NEAR_ROWS=1000 if request.param == "near" else 0, NEAR_BYTES=1 << 30)


def extreme(dtype, smallest):
    if dtype.kind == "f":
        return -np.inf if smallest else np.inf
    return np.iinfo(dtype).min if smallest else np.iinfo(dtype).max


def scipy_filter(image, footprint, erode):
    """Filter with scipy on an array padded by what never wins, so that its border rules play no part."""
    if image.dtype.kind in "iu" and image.dtype.itemsize == 8:
        # scipy takes these for floats, so it is given their order instead.
        values, ranks = np.unique(image, return_inverse=True)
        return values[scipy_filter(ranks.reshape(image.shape).astype(np.int32), footprint, erode)]
    outside = extreme(image.dtype, smallest=not erode)
    if image.dtype.kind == "f":
        image = np.where(np.isnan(image), np.asarray(outside, image.dtype), image)
    reach = footprint.reach
    padded = np.pad(image, [(r, r) for r in reach], constant_values=outside)
    run = ndimage.minimum_filter if erode else ndimage.maximum_filter
    full = run(padded, footprint=footprint.mask(), mode="constant", cval=outside)
    return full[tuple(slice(r, r + n) for r, n in zip(reach, image.shape, strict=True))]


def opening(image, one, two):
    return scipy_filter(scipy_filter(image, one, True), two, False)


def oracle(name, image, one, two):
    unsigned = unsigned_dtype(image.dtype)
    if name == "erosion":
        return scipy_filter(image, one, True)
    if name == "dilation":
        return scipy_filter(image, one, False)
    if name == "subtract_erosion":
        return image.astype(unsigned) - scipy_filter(image, one, True).astype(unsigned)
    if name == "black_tophat":
        closing = scipy_filter(scipy_filter(image, one, False), one, True)
        return closing.astype(unsigned) - image.astype(unsigned)
    if name == "white_tophat":
        return image.astype(unsigned) - opening(image, one, one).astype(unsigned)
    farther = any(b > a for a, b in zip(one.reach, two.reach, strict=True))
    kept = signed_dtype(image.dtype) if farther else unsigned
    return image.astype(kept) - opening(image, one, two).astype(kept)


OPERATIONS = ["erosion", "dilation", "subtract_erosion", "white_tophat", "black_tophat", "subtract_opening"]


def compute(name, image, one, two):
    function = getattr(morphology, name)
    return function(image, one, two) if name == "subtract_opening" else function(image, one)


@st.composite
def radii(draw, ndim):
    real = st.floats(0, WIDEST[ndim], allow_nan=False)
    whole = st.integers(0, int(WIDEST[ndim])).map(float)
    return tuple(draw(st.one_of(st.just(0.0), whole, real)) for _ in range(ndim))


@st.composite
def cases(draw, dtype):
    ndim = draw(st.integers(1, 5))
    shape = tuple(draw(st.integers(1, LONGEST[ndim])) for _ in range(ndim))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    if dtype.kind == "f":
        image = random.normal(size=shape).astype(dtype)
    else:
        image = random.integers(*(extreme(dtype, s) for s in (True, False)), shape, dtype, endpoint=True)
    image = image.transpose(draw(st.permutations(range(ndim))))
    steps = tuple(slice(None, None, draw(st.sampled_from([1, 1, -1, 2, -3]))) for _ in range(ndim))
    image = image[steps]
    image.flags.writeable = False
    kinds = st.sampled_from(["disk", "disk", "box"])
    one, two = (Footprint(draw(kinds), draw(radii(ndim))) for _ in range(2))
    return image, one, two


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", NAMES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_operation_equals_scipy(operation, dtype, small_scratch, data):
    small_scratch(NEAR_ROWS=data.draw(st.sampled_from([0, 1000])))
    image, one, two = data.draw(cases(np.dtype(dtype)))
    if dtype in ("int64", "uint64") and operation == "subtract_opening":
        two = one  # a larger maximum takes more than 64 bits
    before = image.copy()
    result = compute(operation, image, one, two)
    expected = oracle(operation, image, one, two)
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("dtype", NAMES)
@pytest.mark.parametrize("radius", [1, 2, 7, 13, 25.5])
def test_disk_on_a_frame_equals_scipy(dtype, radius, kernel):
    image = np.random.default_rng(3).integers(0, 120, (83, 211)).astype(dtype)
    disk = Footprint("disk", (radius, radius))
    np.testing.assert_array_equal(
        morphology.white_tophat(image, disk), oracle("white_tophat", image, disk, disk)
    )


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("shape", [(70, 300), (9, 30, 150), (3, 4, 20, 90)])
def test_many_narrow_tiles_equal_scipy(operation, shape, kernel, small_scratch, monkeypatch):
    monkeypatch.setattr(chords, "STRIP_BYTES", 64)
    monkeypatch.setattr(axis, "ROW_BYTES", 64)
    small_scratch(BUFFER_BYTES=1)
    image = np.random.default_rng(4).integers(0, 60000, shape).astype(np.uint16)
    one = Footprint("disk", (1, 2, 3.5, 3)[-len(shape) :])
    two = Footprint("disk", (1.5, 1, 2, 4)[-len(shape) :])
    np.testing.assert_array_equal(compute(operation, image, one, two), oracle(operation, image, one, two))


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (2, 2), (5, 3), (1, 1, 1), (3, 1, 2)])
@pytest.mark.parametrize("kind", ["disk", "box"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_footprint_larger_than_the_image(operation, kind, shape, kernel):
    image = np.random.default_rng(5).integers(0, 250, shape).astype(np.uint8)
    one, two = Footprint(kind, (7.0,) * len(shape)), Footprint(kind, (4.0,) * len(shape))
    np.testing.assert_array_equal(compute(operation, image, one, two), oracle(operation, image, one, two))


def test_footprint_far_larger_than_the_image_takes_no_more_scratch():
    few = morphology.morphology_bytes((30, 30), np.dtype("uint8"), (Footprint("disk", (40, 40)),) * 2)
    many = morphology.morphology_bytes((30, 30), np.dtype("uint8"), (Footprint("disk", (1e5, 1e5)),) * 2)
    assert many < 4 * few
    image = np.arange(900, dtype=np.int16).reshape(30, 30)
    assert (morphology.erosion(image, Footprint("disk", (1e5, 1e5))) == 0).all()


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (2, 0, 3)])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_empty_axis_gives_an_empty_array(operation, shape):
    one, two = Footprint("disk", (3.0,) * len(shape)), Footprint("disk", (2.0,) * len(shape))
    result = compute(operation, np.empty(shape, np.int16), one, two)
    assert result.shape == shape
    assert result.dtype == (np.int16 if operation in ("erosion", "dilation") else np.uint16)


def test_no_axis_and_no_reach_leave_the_image_alone():
    assert morphology.erosion(np.array(7, np.uint8), Footprint("disk", ())) == 7
    image = np.random.default_rng(6).integers(0, 9, (4, 5)).astype(np.uint8)
    np.testing.assert_array_equal(morphology.dilation(image, Footprint("disk", (0, 0))), image)


@pytest.mark.parametrize("kind", ["disk", "box"])
def test_whole_span_of_int16_fits_uint16(kind):
    image = np.full((21, 21), -(2**15), np.int16)
    image[10, 10] = 2**15 - 1
    result = morphology.white_tophat(image, Footprint(kind, (2, 2)))
    assert result.dtype == np.uint16
    assert result[10, 10] == 2**16 - 1
    assert result.sum() == 2**16 - 1
    assert morphology.black_tophat(~image, Footprint(kind, (2, 2)))[10, 10] == 2**16 - 1


def test_opening_with_the_larger_maximum_may_be_negative():
    image = np.zeros((9, 9), np.uint16)
    image[:, :4] = 60000
    result = morphology.subtract_opening(image, Footprint("box", (0, 1)), Footprint("box", (0, 3)))
    assert result.dtype == np.int32
    assert result.min() == -60000


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("footprint", [Footprint("disk", (3, 3)), Footprint("box", (2, 3))])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_nan_counts_as_outside(operation, footprint, dtype, kernel):
    random = np.random.default_rng(7)
    image = random.normal(size=(40, 90)).astype(dtype)
    image[random.random(image.shape) < 0.2] = np.nan
    image[5:25, 30:60] = np.nan  # wider than the footprint
    image[0, 0], image[3, 3] = np.inf, -np.inf
    two = Footprint(footprint.shape, (2, 2))
    with np.errstate(invalid="ignore"):
        expected = oracle(operation, image, footprint, two)
    result = compute(operation, image, footprint, two)
    np.testing.assert_array_equal(result, expected)
    if operation.endswith("tophat"):
        np.testing.assert_array_equal(np.isnan(result[7:]), np.isnan(image[7:]))


@pytest.mark.parametrize("name", ["bool", "float16", "complex64", ">u2"])
def test_other_dtypes_are_refused_by_name(name):
    dtype = np.dtype(name)
    with pytest.raises(TypeError, match=dtype.newbyteorder("=").name):
        morphology.erosion(np.zeros((3, 3), dtype), Footprint("disk", (1, 1)))


def test_wrong_number_of_radii_is_refused():
    with pytest.raises(ValueError, match="2 radii for 3 axes"):
        morphology.erosion(np.zeros((3, 3, 3), np.uint8), Footprint("disk", (1, 1)))


@pytest.mark.parametrize("kind", ["disk", "box"])
@pytest.mark.parametrize("radii", [(0, 6, 6), (1, 4.5, 3), (2, 0, 0), (0, 0, 5)])
def test_blockwise_equals_whole_where_the_halo_is_twice_the_reach(kind, radii):
    image = np.random.default_rng(8).integers(0, 60000, (12, 61, 73)).astype(np.uint16)
    footprint = Footprint(kind, radii)
    whole = morphology.white_tophat(image, footprint)
    wrong = 0
    for index in np.ndindex(3, 3, 3):
        own = tuple(slice(i * n // 3, (i + 1) * n // 3) for i, n in zip(index, image.shape, strict=True))
        for short in (0, 1):
            halo = [max(2 * reach - short, 0) for reach in footprint.reach]
            begin = [max(s.start - h, 0) for s, h in zip(own, halo, strict=True)]
            read = tuple(slice(b, s.stop + h) for b, s, h in zip(begin, own, halo, strict=True))
            block = morphology.white_tophat(image[read], footprint)
            part = block[tuple(slice(s.start - b, s.stop - b) for s, b in zip(own, begin, strict=True))]
            if not short:
                np.testing.assert_array_equal(part, whole[own])
            wrong += int(short and not np.array_equal(part, whole[own]))
    assert kind == "disk" or wrong, "a halo of one pixel less should not do for a box"


def test_every_image_of_a_dtype_is_served_by_the_kernels_that_a_small_one_compiled(kernel):
    kernels = (near.filter_near, passes.filter_tile, plane.filter_strip, axis.erode_axis)
    all_radii = ((1, 1.5, 2, 3), (0, 0, 2, 2), (1, 1, 0, 0), (0, 2, 0, 0), (0, 0, 0, 5), (0, 1, 2, 0))

    def filter_all(image):
        for radii, kind, operation in itertools.product(all_radii, ("disk", "box"), OPERATIONS[:-1]):
            compute(operation, image, Footprint(kind, radii), None)
        return [len(kernel.signatures) for kernel in kernels]

    whole = np.zeros((2, 3, 9, 71), np.uint16)
    compiled = filter_all(whole[..., :8])
    for image in (whole, whole.T, whole[::-1, :, ::2], np.broadcast_to(np.uint16(3), whole.shape)):
        assert filter_all(image) == compiled


@pytest.mark.parametrize(
    ("shape", "dtype", "one", "two"),
    [
        ((900, 1100), "uint16", Footprint("disk", (25, 25)), Footprint("disk", (25, 25))),
        ((900, 1100), "float32", Footprint("disk", (5, 5)), Footprint("disk", (9, 9))),
        ((40, 300, 300), "uint16", Footprint("disk", (6, 6, 6)), Footprint("disk", (6, 6, 6))),
        ((40, 300, 300), "uint8", Footprint("disk", (3, 0, 0)), Footprint("disk", (2, 0, 0))),
        ((900, 1100), "uint16", Footprint("box", (25, 25)), Footprint("box", (25, 25))),
        ((900, 1100), "uint16", Footprint("box", (5, 5)), Footprint("box", (30, 30))),
    ],
)
def test_the_scratch_is_what_is_measured(shape, dtype, one, two):
    image = np.random.default_rng(9).integers(0, 200, shape).astype(dtype)
    morphology.subtract_opening(image, one, two)
    tracemalloc.start()
    result = morphology.subtract_opening(image, one, two)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    said = morphology.morphology_bytes(shape, image.dtype, (one, two))
    assert peak <= result.nbytes + said <= 1.5 * result.nbytes + 1.5 * (peak - result.nbytes) + 2**17


def test_scratch_does_not_grow_with_the_frames():
    disk = Footprint("disk", (0, 25, 25))
    few, many = (
        morphology.morphology_bytes((n, 2048, 2048), np.dtype("uint16"), (disk, disk)) for n in (1, 500)
    )
    assert few == many < 2**21


def test_rows_gigabytes_apart_are_reached():
    rows, apart = 40, 2**27  # 5 GB from first to last, of which a few pages are ever touched
    try:
        memory = np.zeros(rows * apart, np.uint8)
    except MemoryError:
        pytest.skip("no address space of 5 GB")
    image = memory.reshape(rows, apart)[:, -200:]
    image[:] = np.random.default_rng(10).integers(0, 255, image.shape)
    disk = Footprint("disk", (4, 4))
    np.testing.assert_array_equal(morphology.erosion(image, disk), scipy_filter(image.copy(), disk, True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["disk", "box"])
def test_more_than_two_to_the_31_pixels(kind):
    row = np.random.default_rng(11).integers(0, 255, 2**16 + 1).astype(np.uint8)
    image = np.broadcast_to(row, (2**15 + 1, row.size))
    footprint = Footprint(kind, (2, 2))
    result = morphology.white_tophat(image, footprint)
    expected = oracle("white_tophat", np.broadcast_to(row, (9, row.size)).copy(), footprint, footprint)
    assert (result == expected[4]).all()
