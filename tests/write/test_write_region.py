"""Whole files of pixels: zarr reads what was written, and one changed bit is seen."""

import os

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.model.errors import StoppedError
from pipeline.model.image import ImageSpec
from pipeline.storage.codec import crc32c
from pipeline.write import DamagedChunksError, create, make_layout, read_region, sync, write_region
from pipeline.write.layout import COMPRESSORS

DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64", "int64", "uint64"]


def coordinates(shape, dtype):
    """Return pixels that say where they are, so that a misplaced one names itself; the first row is 0."""
    ramp = np.arange(np.prod(shape), dtype=np.int64).reshape(shape) % 120
    ramp[..., :1, :] = 0
    return ramp.astype(dtype)


def whole(shape):
    return tuple(slice(0, size) for size in shape)


def layout_at(folder, spec, **keywords):
    layout = make_layout(spec, f"{folder}/out.ome.zarr", fingerprint="test", **keywords)
    create(layout)
    return layout


@st.composite
def cases(draw):
    shape = draw(st.tuples(*[st.integers(1, 24)] * 3))
    chunks = draw(st.tuples(*[st.integers(4, 20)] * 3))
    version = draw(st.sampled_from(["0.5", "0.4"]))
    inner = [min(pair) for pair in zip(chunks, shape, strict=True)]
    keywords = {
        "chunks": dict(zip("tyx", chunks, strict=True)),
        "compressor": draw(st.sampled_from(COMPRESSORS)),
        "axes": draw(st.sampled_from(["tyx", "tczyx", "tzyx"])),
        "version": version,
    }
    if version == "0.5":
        keywords["checksum"] = draw(st.booleans())
        factors = draw(st.none() | st.tuples(*[st.integers(1, 3)] * 3))
        if factors:
            keywords["shards"] = {a: i * f for a, i, f in zip("tyx", inner, factors, strict=True)}
    return shape, draw(st.sampled_from(DTYPES)), keywords


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases())
def test_zarr_reads_every_pixel_where_it_was_put(case, tmp_path_factory):
    shape, dtype, keywords = case
    folder = tmp_path_factory.mktemp("out")
    layout = layout_at(folder, ImageSpec("tyx", shape, np.dtype(dtype)), **keywords)
    pixels = coordinates(shape, dtype)
    step = layout.file_sizes["t"]
    records = []
    for start in range(0, shape[0], step):
        region = (slice(start, min(start + step, shape[0])), *whole(shape[1:]))
        records += write_region(layout, 0, region, pixels[region])
    stored = zarr.open_array(layout.array_path(0), mode="r")
    assert stored.dtype == layout.spec.dtype
    np.testing.assert_array_equal(stored[...], pixels.reshape(layout.spec.shape))
    np.testing.assert_array_equal(read_region(layout, 0, whole(layout.spec.shape), records), stored[...])
    assert len({record.key for record in records}) == np.prod(layout.levels[0].grid)
    for record in records:
        path = f"{layout.image}/{record.key}"
        if record.empty:
            assert not os.path.exists(path)
        else:
            with open(path, "rb") as file:
                data = file.read()
            assert (len(data), crc32c(data)) == (record.nbytes, record.crc)


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_any_region_reads_back(data, tmp_path_factory):
    shape = (7, 33, 20)
    chunks = {"t": 2, "y": 10, "x": 8}
    shards = data.draw(st.sampled_from([None, {"t": 4, "y": 20, "x": 16}]))
    spec = ImageSpec("tyx", shape, np.dtype("uint16"))
    layout = layout_at(tmp_path_factory.mktemp("out"), spec, chunks=chunks, shards=shards)
    pixels = coordinates(shape, "uint16")
    write_region(layout, 0, whole(shape), pixels)
    region = []
    for size in shape:
        start = data.draw(st.integers(0, size - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, size))))
    np.testing.assert_array_equal(read_region(layout, 0, tuple(region)), pixels[tuple(region)])


@pytest.fixture
def small(tmp_path):
    return layout_at(tmp_path, ImageSpec("tyx", (4, 16, 16), np.dtype("uint16")), chunks={"t": 1, "y": 8})


@pytest.mark.parametrize(
    "region",
    [
        (slice(0, 1), slice(0, 4), slice(0, 16)),
        (slice(0, 1), slice(4, 16), slice(0, 16)),
        (slice(0, 5), slice(0, 16), slice(0, 16)),
    ],
)
def test_a_region_that_cuts_a_file_or_leaves_the_image_is_refused_and_nothing_written(small, region):
    block = np.ones([part.stop - part.start for part in region], "uint16")
    with pytest.raises(ValueError, match="whole files"):
        write_region(small, 0, region, block)
    assert os.listdir(small.array_path(0)) == ["zarr.json"]


def test_a_block_of_another_shape_or_dtype_is_refused(small):
    region = (slice(0, 1), slice(0, 16), slice(0, 16))
    with pytest.raises(ValueError, match="does not fit"):
        write_region(small, 0, region, np.ones((1, 16, 15), "uint16"))
    with pytest.raises(ValueError, match="float32"):
        write_region(small, 0, region, np.ones((1, 16, 16), "float32"))


def test_zeros_written_over_pixels_remove_their_file(small):
    region = (slice(0, 1), slice(0, 16), slice(0, 16))
    write_region(small, 0, region, np.ones((1, 16, 16), "uint16"))
    records = write_region(small, 0, region, np.zeros((1, 16, 16), "uint16"))
    assert all(record.empty for record in records)
    assert not zarr.open_array(small.array_path(0), mode="r")[0].any()


def test_a_torn_file_is_replaced(tmp_path):
    spec = ImageSpec("yx", (16, 16), np.dtype("uint16"))
    layout = layout_at(tmp_path, spec, chunks={"y": 8, "x": 8}, shards={"y": 16, "x": 16})
    pixels = coordinates((16, 16), "uint16")
    (record,) = write_region(layout, 0, whole((16, 16)), pixels)
    path = f"{layout.image}/{record.key}"
    os.truncate(path, record.nbytes // 2)
    assert write_region(layout, 0, whole((16, 16)), pixels) == (record,)
    np.testing.assert_array_equal(zarr.open_array(layout.array_path(0), mode="r")[...], pixels)


def test_negative_zero_is_kept(tmp_path):
    layout = layout_at(tmp_path, ImageSpec("yx", (8, 8), np.dtype("float32")))
    (record,) = write_region(layout, 0, whole((8, 8)), np.full((8, 8), -0.0, "float32"))
    assert not record.empty
    assert np.signbit(zarr.open_array(layout.array_path(0), mode="r")[...]).all()


@pytest.mark.parametrize("harm", ["flip", "cut", "remove", "add"])
@pytest.mark.parametrize("shards", [None, {"t": 2, "y": 16, "x": 16}])
def test_a_damaged_file_is_named(tmp_path, harm, shards):
    spec = ImageSpec("tyx", (4, 16, 16), np.dtype("uint16"))
    layout = layout_at(tmp_path, spec, chunks={"t": 1, "y": 8, "x": 8}, shards=shards)
    pixels = coordinates((4, 16, 16), "uint16")
    pixels[2:] = 0
    records = write_region(layout, 0, whole((4, 16, 16)), pixels)
    victim = next(record for record in records if record.empty == (harm == "add"))
    path = f"{layout.image}/{victim.key}"
    if harm == "add":
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"x")
    elif harm == "remove":
        os.unlink(path)
    elif harm == "cut":
        os.truncate(path, victim.nbytes - 1)
    else:
        flip(path, victim.nbytes // 2)
    with pytest.raises(DamagedChunksError) as caught:
        read_region(layout, 0, whole((4, 16, 16)), records)
    assert caught.value.keys == (victim.key,)


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_every_flipped_bit_is_seen_by_the_checksum_in_the_chunk(tmp_path):
    layout = layout_at(tmp_path, ImageSpec("yx", (8, 8), np.dtype("uint16")), checksum=True)
    (record,) = write_region(layout, 0, whole((8, 8)), coordinates((8, 8), "uint16"))
    path = f"{layout.image}/{record.key}"
    for at in range(record.nbytes):
        flip(path, at)
        with pytest.raises(DamagedChunksError):
            read_region(layout, 0, whole((8, 8)))
        flip(path, at)
    read_region(layout, 0, whole((8, 8)))


def test_a_straggler_does_not_bring_a_removed_work_folder_back(small):
    os.rename(small.work, f"{small.work}.gone")
    with pytest.raises(StoppedError, match="vanished"):
        write_region(small, 0, (slice(0, 1), slice(0, 16), slice(0, 16)), np.ones((1, 16, 16), "uint16"))
    assert not os.path.exists(small.work)


def test_sync_reaches_every_file_and_every_folder_that_names_one(small, monkeypatch):
    records = write_region(small, 0, whole((4, 16, 16)), coordinates((4, 16, 16), "uint16"))
    synced = []
    monkeypatch.setattr("pipeline.storage.durable.hook", lambda event, path: synced.append((event, path)))
    sync(small, records)
    done = {path for event, path in synced if event == "after fsync"}
    for record in records:
        path = f"{small.image}/{record.key}"
        while path != small.work:
            assert path in done
            path = os.path.dirname(path)
