"""Coarser levels: the exact mean, whatever the cut."""

from fractions import Fraction

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.model.image import ImageSpec
from pipeline.write import DamagedChunksError, build_level, create, level_windows, make_layout, write_region
from pipeline.write.pyramid import mean_blocks

INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]


def exact_mean(block, steps):
    """Return the mean of the pixels there are, in fractions, rounded half to even."""
    shape = [-(-size // step) for size, step in zip(block.shape, steps, strict=True)]
    out = np.empty(shape, object)
    for index in np.ndindex(*shape):
        part = tuple(slice(i * step, (i + 1) * step) for i, step in zip(index, steps, strict=True))
        values = [Fraction(value) for value in block[part].reshape(-1).tolist()]
        out[index] = round(sum(values) / len(values))
    return out


@pytest.mark.parametrize("steps", [(1, 2, 2), (1, 1, 2), (1, 2, 1)])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_averaged_exactly_up_to_the_ends_of_their_range(dtype, steps):
    info = np.iinfo(dtype)
    rng = np.random.default_rng(7)
    block = rng.integers(info.min, info.max, (3, 9, 11), dtype=dtype, endpoint=True)
    block[1] = rng.integers(0, 4, (9, 11))
    block[2, :4], block[2, 4:] = info.min, info.max
    mean = mean_blocks(block, steps)
    assert mean.dtype == dtype
    np.testing.assert_array_equal(mean.astype(object), exact_mean(block, steps))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_are_averaged_and_nan_stays_where_it_is(dtype):
    block = np.random.default_rng(7).normal(1000, 30, (2, 9, 10)).astype(dtype)
    block[0, 4, 4] = np.nan
    mean = mean_blocks(block, (1, 2, 2))
    padded = np.pad(block.astype(np.float64), ((0, 0), (0, 1), (0, 0)), mode="edge")
    expected = padded.reshape(2, 5, 2, 5, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(mean, expected, rtol=np.finfo(dtype).eps)
    assert np.isnan(mean).sum() == 1


@pytest.mark.parametrize("steps", [(1, 2, 2), (1, 1, 2), (1, 2, 1)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_floats_of_32_bits_are_averaged_without_overflow(steps, sign):
    largest = sign * np.finfo("float32").max
    mean = mean_blocks(np.full((2, 3, 5), largest, "float32"), steps)
    np.testing.assert_array_equal(mean, largest)


@settings(deadline=None, max_examples=10)
@given(
    height=st.integers(500, 1200),
    width=st.integers(513, 1200),
    chunk=st.integers(200, 600),
    most=st.sampled_from([1, 300_000, 1 << 30]),
    shards=st.booleans(),
)
def test_levels_do_not_depend_on_chunks_shards_or_windows(
    tmp_path_factory, height, width, chunk, most, shards
):
    spec = ImageSpec("tyx", (2, height, width), np.dtype("uint16"))
    chunks = {"t": 1, "y": chunk, "x": chunk}
    double = {axis: 2 * min(px, size) for (axis, px), size in zip(chunks.items(), spec.shape, strict=True)}
    folder = tmp_path_factory.mktemp("out")
    layout = make_layout(
        spec, f"{folder}/out.zarr", chunks=chunks, shards=double if shards else None, fingerprint="test"
    )
    create(layout)
    pixels = np.random.default_rng(3).integers(0, 65536, spec.shape, dtype="uint16")
    records = write_region(layout, 0, tuple(slice(0, size) for size in spec.shape), pixels)
    expected = pixels
    for level in range(1, len(layout.levels)):
        built = []
        for window in level_windows(layout, level, most):
            built += build_level(layout, level, window, records)
        assert len({record.key for record in built}) == np.prod(layout.levels[level].grid)
        steps = (1, *(c // f for c, f in zip(
            layout.levels[level].factors[1:], layout.levels[level - 1].factors[1:], strict=True
        )))  # fmt: skip
        expected = mean_blocks(expected, steps)
        np.testing.assert_array_equal(zarr.open_array(layout.array_path(level), mode="r")[...], expected)
        records = built


def test_a_damaged_source_is_found_and_nothing_built_from_it(tmp_path):
    spec = ImageSpec("yx", (600, 600), np.dtype("uint16"))
    layout = make_layout(spec, f"{tmp_path}/out.zarr", fingerprint="test")
    create(layout)
    whole = (slice(0, 600), slice(0, 600))
    (record,) = write_region(layout, 0, whole, np.ones((600, 600), "uint16"))
    with pytest.raises(DamagedChunksError) as caught:
        build_level(layout, 1, (slice(0, 300), slice(0, 300)), [record._replace(crc=record.crc ^ 1)])
    assert caught.value.keys == (record.key,)
    assert not zarr.open_array(layout.array_path(1), mode="r")[...].any()
