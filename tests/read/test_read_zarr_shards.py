"""Shards are read chunk by chunk: they hold what zarr-python reads, and a damaged one is told."""

import numpy as np
import pytest
import zarr
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    GzipCodec,
    ShardingCodec,
    TransposeCodec,
    ZstdCodec,
)

from pipeline.model.errors import DataError, StoppedError
from pipeline.read import open_source

SHAPE, CHUNKS, SHARDS = (5, 33, 41), (1, 8, 10), (2, 16, 20)
CODECS = {
    "default": {},
    "none": {"compressors": None},
    "blosc": {"compressors": BloscCodec(cname="lz4", shuffle="bitshuffle")},
    "gzip": {"compressors": GzipCodec()},
    "zstd, checksum": {"compressors": [ZstdCodec(), Crc32cCodec()]},
    "transposed": {"filters": [TransposeCodec(order=(2, 1, 0))], "compressors": ZstdCodec()},
    "table first": {"serializer": ShardingCodec(chunk_shape=CHUNKS, index_location="start")},
    "table without checksum": {"serializer": ShardingCodec(chunk_shape=CHUNKS, index_codecs=[BytesCodec()])},
    "compressed as a whole": {"serializer": ShardingCodec(chunk_shape=CHUNKS), "compressors": GzipCodec()},
}


pytestmark = pytest.mark.filterwarnings(
    "ignore:Combining a `sharding_indexed` codec"
)  # told to who writes one


def make(folder, dtype="u2", **more):
    """Write a sharded array of which one shard is missing, and one chunk in another."""
    own = "serializer" in more
    chunks = (
        {"chunks": SHARDS, "filters": (), "compressors": ()} if own else {"chunks": CHUNKS, "shards": SHARDS}
    )
    array = zarr.create_array(
        folder / "a.zarr", shape=SHAPE, dtype=dtype, fill_value=7, **(chunks | more)
    )  # fmt: skip
    array[2:] = np.random.default_rng(0).integers(0, 200, (3, *SHAPE[1:])).astype(dtype)
    array[2, 8:16, 10:20] = 7
    return folder / "a.zarr"


def region_of(*edges):
    return tuple(slice(*edge) for edge in edges)


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


def harmed(path, change):
    file = path / "c" / "1" / "0" / "0"
    file.write_bytes(change(bytearray(file.read_bytes())))
    return path


def with_entry(number, start, length):
    """Return what writes an entry of a table of eight chunks, as it stands without a checksum behind it."""

    def change(data):
        at = len(data) - 8 * 16 + number * 16
        data[at : at + 16] = start.to_bytes(8, "little") + length.to_bytes(8, "little")
        return data

    return change


DAMAGES = {
    "cut": (lambda data: data[:-9], "leads outside it|too few"),
    "shorter than its table": (lambda data: data[-50:], "has 50 bytes, too few for the table of its chunks"),
    "beginning behind the end": (with_entry(0, 1 << 40, 20), "leads outside it"),
    "ending behind the end": (with_entry(0, 3, 1 << 40), "leads outside it"),
    "so far that numbers begin again": (with_entry(0, (1 << 64) - 8, 100), "leads outside it"),
    "into the table": (lambda data: with_entry(0, len(data) - 100, 80)(data), "leads outside it"),
    "half in another": (with_entry(0, 5, 160), "chunks that lie in one another"),
    "a place and no length": (with_entry(0, 5, (1 << 64) - 1), "leads outside it"),
}


@pytest.mark.parametrize(("change", "words"), DAMAGES.values(), ids=DAMAGES)
def test_a_table_that_cannot_be_is_told(tmp_path, change, words):
    path = harmed(make(tmp_path, **CODECS["table without checksum"]), change)
    with pytest.raises(DataError, match=rf"cannot be decoded at .* shard c/1/0/0 .*({words})"):
        open_source(str(path), axes="tyx").read(region_of((2, 3), (0, 8), (0, 8)))


def test_a_chunk_that_begins_in_a_table_at_the_start_is_told(tmp_path):
    serializer = ShardingCodec(chunk_shape=CHUNKS, index_location="start", index_codecs=[BytesCodec()])
    path = make(tmp_path, serializer=serializer)
    file = path / "c" / "1" / "0" / "0"
    file.write_bytes((16).to_bytes(8, "little") + (160).to_bytes(8, "little") + file.read_bytes()[16:])
    with pytest.raises(DataError, match="shard c/1/0/0 leads outside it"):
        open_source(path, axes="tyx").read(region_of((2, 3), (0, 8), (0, 8)))


def test_a_checksum_of_a_table_is_looked_at(tmp_path):
    def flip(data):
        data[-30] ^= 1
        return data

    with pytest.raises(DataError, match=r"c/1/0/0: a checksum does not fit"):
        open_source(harmed(make(tmp_path), flip), axes="tyx").read(region_of((2, 3), (0, 8), (0, 8)))


def test_a_damaged_chunk_is_told_by_its_number_and_the_others_are_read(tmp_path):
    def zeros(data):
        data[:40] = bytes(40)
        return data

    path = make(tmp_path)
    expected = zarr.open_array(path, mode="r")[:]
    source = open_source(harmed(path, zeros), axes="tyx")
    with pytest.raises(DataError, match=r"at \[2:4, 0:16, 0:20\]: chunk 2, 0, 0 in c/1/0/0: "):
        source.read(region_of((2, 4), (0, 16), (0, 20)))
    np.testing.assert_array_equal(source.read(region_of((3, 4), (8, 16), (0, 20))), expected[3:4, 8:16, :20])


def test_chunks_that_are_alike_may_share_their_bytes(tmp_path):
    path = make(tmp_path, **CODECS["table without checksum"])
    file = path / "c" / "1" / "0" / "0"
    data = file.read_bytes()
    first = np.frombuffer(data[-8 * 16 :], "<u8")[:2].tolist()
    harmed(path, with_entry(1, *first))
    found = open_source(path, axes="tyx").read(region_of((2, 3), (0, 8), (0, 20)))
    np.testing.assert_array_equal(found[..., :10], found[..., 10:])


def test_a_shard_that_may_not_be_read_stops_the_run(tmp_path):
    path = make(tmp_path)
    file = path / "c" / "1" / "0" / "0"
    file.unlink()
    file.symlink_to(file)  # nobody can read that, not even root
    with pytest.raises(StoppedError, match="cannot be read: Too many levels of symbolic links"):
        open_source(str(path), axes="tyx").read(region_of((2, 3), (0, 8), (0, 8)))
