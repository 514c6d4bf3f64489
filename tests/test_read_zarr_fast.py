"""Sharded arrays read through zarrs, where it is there, hold what zarr-python reads and fail as it does."""

import os

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, GzipCodec, TransposeCodec, ZstdCodec

from pipeline.errors import DataError, StoppedError
from pipeline.read import open_source, zarr_fast
from pipeline.read.zarr_store import _array

SHAPE, CHUNKS, SHARDS = (5, 33, 41), (1, 8, 10), (2, 16, 20)
CODECS = {
    "default": {},
    "none": {"compressors": None},
    "blosc": {"compressors": BloscCodec(cname="lz4", shuffle="bitshuffle")},
    "gzip": {"compressors": GzipCodec()},
    "transposed": {"filters": [TransposeCodec(order=(2, 1, 0))], "compressors": ZstdCodec()},
}


@pytest.fixture(autouse=True)
def opened_afresh():
    _array.cache_clear()
    yield
    _array.cache_clear()


def make(folder, dtype="u2", **more):
    """Write a sharded array of which one shard is missing."""
    array = zarr.create_array(
        folder / "a.zarr", shape=SHAPE, chunks=CHUNKS, shards=SHARDS, dtype=dtype, fill_value=7, **more
    )
    array[2:] = np.random.default_rng(0).integers(0, 200, (3, *SHAPE[1:])).astype(dtype)
    return folder / "a.zarr"


@pytest.mark.skipif(zarr_fast.find_spec("zarrs") is None, reason="needs the extra fast")
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "u1", "<f4"])
def test_they_hold_the_same(tmp_path, codec, dtype):
    path = make(tmp_path, dtype, **CODECS[codec])
    expected = zarr.open_array(path, mode="r")[:]
    source = open_source(str(path), axes="tyx")
    random = np.random.default_rng(1)
    for _ in range(8):
        edges = [np.sort(random.choice(size + 1, 2, replace=False)) for size in SHAPE]
        region = tuple(slice(int(start), int(stop)) for start, stop in edges)
        read = source.read(region)
        np.testing.assert_array_equal(read, expected[region])
        assert read.dtype == expected.dtype.newbyteorder("=")


@pytest.mark.skipif(zarr_fast.find_spec("zarrs") is None, reason="needs the extra fast")
def test_zarrs_reads_them_and_no_setting_is_left(tmp_path, monkeypatch):
    path = make(tmp_path)
    before = zarr.config.get("codec_pipeline.path")
    source = open_source(str(path), axes="tyx")
    source.read((slice(0, 1),) * 3)
    _, reader = _array(str(path), "", (os.stat(path / "zarr.json").st_mtime_ns, 0))
    assert type(reader.fast.async_array.codec_pipeline).__name__ == "ZarrsCodecPipeline"
    assert type(reader.plain.async_array.codec_pipeline).__name__ != "ZarrsCodecPipeline"
    assert zarr.config.get("codec_pipeline.path") == before


@pytest.mark.parametrize("installed", [True, False])
def test_a_damaged_shard_is_told_as_by_zarr_python(tmp_path, monkeypatch, installed):
    if not installed:
        monkeypatch.setattr(zarr_fast, "find_spec", lambda name: None)
    path = make(tmp_path)
    file = path / "c" / "1" / "0" / "0"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match="cannot be decoded at"):
        open_source(str(path), axes="tyx").read((slice(2, 3), slice(0, 8), slice(0, 8)))


def test_a_shard_that_may_not_be_read_stops_the_run(tmp_path):
    path = make(tmp_path)
    file = path / "c" / "1" / "0" / "0"
    file.unlink()
    file.symlink_to(file)  # nobody can read that, not even root
    with pytest.raises(StoppedError, match="cannot be read: Too many levels of symbolic links"):
        open_source(str(path), axes="tyx").read((slice(2, 3), slice(0, 8), slice(0, 8)))


def test_without_the_extra_zarr_python_reads_them(tmp_path, monkeypatch):
    monkeypatch.setattr(zarr_fast, "find_spec", lambda name: None)
    path = make(tmp_path)
    expected = zarr.open_array(path, mode="r")[:]
    read = open_source(str(path), axes="tyx").read(tuple(slice(0, size) for size in SHAPE))
    np.testing.assert_array_equal(read, expected)
