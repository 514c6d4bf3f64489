"""Chunk files decoded directly hold what zarr-python reads, whatever the array is made of."""

import os
import warnings

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    GzipCodec,
    ShardingCodec,
    TransposeCodec,
    ZstdCodec,
)
from zarr.codecs import numcodecs as v3

from pipeline.model.errors import DataError
from pipeline.read import open_source
from pipeline.storage.files import open_blob
from pipeline.storage.from_zarr import chunk_array

SHAPE, CHUNKS = (5, 17, 23), (2, 8, 10)
V3 = {
    "default": "auto",
    "none": None,
    "blosc": BloscCodec(cname="lz4", shuffle="bitshuffle"),
    "zstd, checksum": [ZstdCodec(), Crc32cCodec()],
    "blosc, checksum": [BloscCodec(cname="zstd"), Crc32cCodec()],
    "gzip": GzipCodec(),
}
V2 = {
    "default": "auto",
    "none": None,
    "blosc": numcodecs.Blosc("zstd", 3),
    "zlib": numcodecs.Zlib(),
    "lz4": numcodecs.LZ4(),
}
ARRAYS = [
    *((3, codec, dtype) for codec in V3 for dtype in ("<u2", ">u2", "u1", "<f4", ">f8")),
    *((2, codec, dtype) for codec in V2 for dtype in ("<u2", ">u2", "u1", "<f4")),
]


def make(folder, version, codec, dtype, **more):
    """Write an array with a chunk that is missing."""
    compressors = (V3 if version == 3 else V2)[codec]
    array = zarr.create_array(
        folder, shape=SHAPE, chunks=CHUNKS, dtype=dtype, compressors=compressors, fill_value=7,
        zarr_format=version, **more,
    )  # fmt: skip
    array[...] = np.random.default_rng(0).integers(0, 200, SHAPE).astype(dtype)
    array[:2, :8, 10:20] = 7
    return array


def opened(array):
    return chunk_array(array, lambda key: open_blob(f"{array.store.root}/{key}"))


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    made = {key: make(tmp_path_factory.mktemp("zarr") / "a.zarr", *key) for key in ARRAYS}
    return lambda key: made[key]


@pytest.mark.parametrize("key", ARRAYS, ids=str)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_region_holds_what_zarr_reads(arrays, key, data):
    array = arrays(key)
    files = opened(array)
    region = []
    for size in SHAPE:
        start = data.draw(st.integers(0, size - 1))
        region.append(slice(start, data.draw(st.integers(start, size))))
    expected = array[tuple(region)]
    actual = files.read(tuple(region))
    assert actual.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(actual, expected)
    assert actual.flags.writeable


WHOLE = {"filters": (), "compressors": ()}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that these codecs are in no specification
    ODD = {
        "delta, bz2": {"filters": [v3.Delta(dtype="<u2")], "compressors": [v3.BZ2(level=5)]},
        "delta of a wider type": {"filters": [v3.Delta(dtype="<u2", astype="<u4")]},
        "a type that is narrower": {
            "filters": [v3.FixedScaleOffset(offset=0, scale=1, dtype="<u2", astype="<u1")]
        },
        "shuffle, zlib": {"compressors": [v3.Shuffle(elementsize=2), v3.Zlib(level=3)]},
        "a checksum of another kind": {"compressors": [v3.CRC32(), v3.Blosc()]},
        "transposed": {"filters": [TransposeCodec(order=(2, 0, 1))]},
        "transposed, other byte order": {
            "filters": [TransposeCodec(order=(2, 0, 1))], "serializer": BytesCodec(endian="big")
        },
        "transposed, then a filter": {"filters": [TransposeCodec(order=(2, 0, 1)), v3.Delta(dtype="<u2")]},
        "transposed shards": {
            "filters": [TransposeCodec(order=(2, 0, 1))], "compressors": (),
            "serializer": ShardingCodec(chunk_shape=(2, 2, 2)),
        },
        "shards in shards": {
            **WHOLE, "serializer": ShardingCodec(chunk_shape=(1, 8, 10),
                                                 codecs=[ShardingCodec(chunk_shape=(1, 4, 5))]),
        },
        "a table in the other byte order": {
            **WHOLE,
            "serializer": ShardingCodec(chunk_shape=(1, 4, 5), index_codecs=[BytesCodec(endian="big")]),
        },
        "Fortran's order": {"order": "F", "zarr_format": 2},
        "Fortran's order, a filter": {"order": "F", "filters": [numcodecs.Delta("<u2")], "zarr_format": 2},
        "a compressor as a filter": {
            "filters": [numcodecs.Delta("<u2"), numcodecs.Zlib()], "compressors": None, "zarr_format": 2
        },
        "a compressor that is a checksum": {"compressors": numcodecs.CRC32(), "zarr_format": 2},
        "no fill value": {"fill_value": None, "zarr_format": 2},
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", ODD.values(), ids=ODD)
def test_what_few_write_holds_what_zarr_reads(tmp_path, options):
    options = {"fill_value": 7, "dtype": "<u2"} | options
    array = zarr.create_array(tmp_path / "a.zarr", shape=SHAPE, chunks=CHUNKS, **options)
    array[...] = np.random.default_rng(0).integers(0, 200, SHAPE)
    array[:2, :8, 10:20] = options["fill_value"] or 0
    expected = zarr.open_array(tmp_path / "a.zarr", mode="r")[...]
    source = open_source(str(tmp_path / "a.zarr"), axes="tyx")
    for region in ((slice(0, 5), slice(0, 17), slice(0, 23)), (slice(1, 4), slice(3, 17), slice(7, 22))):
        np.testing.assert_array_equal(source.read(region), expected[region])


def test_a_file_that_the_system_hands_out_piece_by_piece_is_read_whole(tmp_path, monkeypatch):
    """As it does beyond 2 GiB, and on some network file systems."""
    array = make(tmp_path / "a.zarr", 3, "none", "<u2")
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, count, at: pread(file, min(count, 100), at))
    region = tuple(slice(0, size) for size in SHAPE)
    read = opened(array).read(region)
    monkeypatch.undo()
    np.testing.assert_array_equal(read, array[...])


@pytest.mark.parametrize("codec", ["blosc", "zstd, checksum", "gzip", "none"])
@pytest.mark.parametrize("harm", ["cut", "other", "larger"])
def test_a_damaged_chunk_is_named(tmp_path, codec, harm):
    array = make(tmp_path / "a.zarr", 3, codec, "<u2")
    path = tmp_path / "a.zarr" / "c" / "1" / "1" / "1"
    data = path.read_bytes()
    larger = zarr.create_array(
        tmp_path / "b.zarr", shape=(1, 900), chunks=(1, 900), dtype="<u2", compressors=V3[codec]
    )
    larger[...] = 3
    new = {
        "cut": data[:-3],
        "other": b"\x00" * 9 + data[9:-4] + b"1234" if codec != "none" else data[:-2],
        "larger": (tmp_path / "b.zarr" / "c" / "0" / "0").read_bytes(),
    }
    path.write_bytes(new[harm])
    source = open_source(str(tmp_path / "a.zarr"), axes="tyx")
    with pytest.raises(DataError, match="cannot be decoded at"):
        source.read((slice(2, 4), slice(8, 16), slice(10, 20)))
    with pytest.raises(DataError, match="cannot be decoded at"):
        source.read((slice(2, 4), slice(8, 15), slice(0, 20)))
    assert array.shape == SHAPE
