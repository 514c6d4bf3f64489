"""Chunks that become more than they should, or less, are refused by name within the memory of a chunk."""

import bz2
import functools
import gzip
import lzma
import os
import resource
import zlib
from pathlib import Path

import google_crc32c
import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, GzipCodec, TransposeCodec, ZstdCodec

from pipeline.model.errors import DataError
from pipeline.read import open_source

SHAPE, CHUNKS = (2, 512, 512), (1, 512, 512)
PIXELS = np.random.default_rng(0).integers(0, 4000, SHAPE).astype("<u2")
"""Chunks of 512 KiB: a bomb is no larger, so that its size alone gives none away."""
MANY = 96 << 20
"""Bytes that a reader may take while it refuses: a fraction of what each of these becomes."""

LARGE = 128 << 20


def deflated(wbits):
    """Return one stream that becomes `LARGE` zeros and more, of which but two parts were ever compressed."""
    engine = zlib.compressobj(1, wbits=wbits)
    part = bytes(LARGE // 16)
    first, again = (engine.compress(part) + engine.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * 16 + engine.flush()


def header_of(codec, place, size):
    """Return a true chunk whose header says another size."""
    data = bytearray(codec.encode(PIXELS[:1]))
    data[place : place + 4] = size.to_bytes(4, "little")
    return bytes(data)


V2 = {
    "zlib": (numcodecs.Zlib(), lambda: deflated(15)),
    "gzip": (numcodecs.GZip(), lambda: deflated(31)),
    "bz2": (numcodecs.BZ2(), lambda: bz2.compress(bytes(LARGE))),
    "lzma": (numcodecs.LZMA(preset=0), lambda: lzma.compress(bytes(LARGE), preset=0)),
    "zstd": (numcodecs.Zstd(), lambda: numcodecs.Zstd(1).encode(bytes(LARGE))),
    "lz4": (numcodecs.LZ4(), lambda: header_of(numcodecs.LZ4(), 0, (1 << 31) - 1)),
    "blosc": (numcodecs.Blosc(), lambda: header_of(numcodecs.Blosc(), 4, (1 << 31) - 1)),
    "blosc that expands": (numcodecs.Blosc("zstd"), lambda: numcodecs.Blosc("zstd").encode(bytes(LARGE))),
}
V3 = {
    "gzip": (GzipCodec(), V2["gzip"][1]),
    "zstd": (ZstdCodec(), V2["zstd"][1]),
    "blosc": (BloscCodec(), V2["blosc"][1]),
}
WAYS = {"v2": {}, "v2, by zarr-python": {"order": "F"}}
WAYS |= {"v3": {}, "v3, by zarr-python": {"filters": [TransposeCodec(order=(2, 1, 0))]}}
CASES = [(way, codec) for way in WAYS for codec in (V2 if way.startswith("v2") else V3)]


@functools.cache
def bomb_of(make):
    return bytes(make())


def harmed(folder, way, codec, data):
    """Write an array whose second chunk holds other bytes."""
    version = 2 if way.startswith("v2") else 3
    compressor = (V2 if version == 2 else V3)[codec][0]
    array = zarr.create_array(
        folder / "a.zarr", shape=SHAPE, chunks=CHUNKS, dtype="<u2", compressors=compressor,
        zarr_format=version, **WAYS[way],
    )  # fmt: skip
    array[...] = PIXELS
    (folder / "a.zarr" / array.metadata.encode_chunk_key((1, 0, 0))).write_bytes(data)
    return folder / "a.zarr"


def read_in_child(path, most):
    """Read all pixels in a process of its own that may take so many bytes more; return what that raised."""
    source = open_source(path, axes="tyx")
    source.read((slice(0, 1), slice(0, 512), slice(0, 512)))  # whatever is loaded once is loaded
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + most, taken + most))
        try:
            source.read(tuple(slice(0, size) for size in SHAPE))
            said = "nothing"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.parametrize(("way", "codec"), CASES)
def test_a_chunk_that_becomes_more_is_refused_before_it_does(tmp_path, way, codec):
    bomb = bomb_of((V2 if way.startswith("v2") else V3)[codec][1])
    assert len(bomb) <= 2 * PIXELS[0].nbytes
    said = read_in_child(harmed(tmp_path, way, codec, bomb), MANY)
    assert said.startswith("DataError: "), said
    assert "cannot be decoded at [0:2, 0:512, 0:512]: chunk " in said
    assert "1.0.0" in said or "1, 0, 0" in said or "c/1/0/0" in said


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_is_far_larger_than_its_pixels_is_not_read(tmp_path, way):
    path = harmed(tmp_path, way, "zstd", b"")
    file = next(file for file in path.rglob("*1*") if file.is_file() or file.name == "1")
    file = file / "0" / "0" if file.is_dir() else file
    os.truncate(file, 1 << 40)
    said = read_in_child(path, MANY)
    assert said.startswith("DataError: "), said
    assert "has 1099511627776 bytes" in said


@pytest.mark.parametrize(("way", "codec"), [case for case in CASES if " that " not in case[1]])
@pytest.mark.parametrize("pixels", [1, (1 << 18) - 1], ids=["far less", "one pixel less"])
def test_a_chunk_that_becomes_less_is_refused(tmp_path, way, codec, pixels):
    encoded = V2[codec][0].encode(PIXELS[0].ravel()[:pixels].copy())
    source = open_source(harmed(tmp_path, way, codec, bytes(encoded)), axes="tyx")
    with pytest.raises(DataError, match="cannot be decoded at"):
        source.read(tuple(slice(0, size) for size in SHAPE))
    np.testing.assert_array_equal(source.read((slice(0, 1), slice(0, 512), slice(0, 512))), PIXELS[:1])


@pytest.mark.parametrize("way", WAYS)
def test_a_chunk_in_several_parts_is_read_to_its_end(tmp_path, way):
    """As bgzip and pigz write it, with zeros behind it as tapes had them."""
    pixels = PIXELS[1].T.tobytes() if "zarr-python" in way else PIXELS[1].tobytes()
    parts = b"".join(gzip.compress(pixels[at : at + 50_000]) for at in range(0, len(pixels), 50_000)) + bytes(
        64
    )
    source = open_source(harmed(tmp_path, way, "gzip", parts), axes="tyx")
    np.testing.assert_array_equal(source.read(tuple(slice(0, size) for size in SHAPE)), PIXELS)


def test_a_chunk_of_a_shard_that_becomes_more_is_refused(tmp_path):
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=SHAPE, shards=SHAPE, chunks=CHUNKS, dtype="<u2", compressors=ZstdCodec()
    )
    array[...] = PIXELS
    file = tmp_path / "a.zarr" / "c" / "0" / "0" / "0"
    table = np.frombuffer(file.read_bytes()[-36:-4], "<u8").reshape(2, 2).copy()
    bomb, start = V2["zstd"][1](), int(table[0].sum())
    table[1] = start, len(bomb)
    table = table.tobytes()
    data = file.read_bytes()[:start] + bomb + table + google_crc32c.value(table).to_bytes(4, "little")
    file.write_bytes(data)
    said = read_in_child(tmp_path / "a.zarr", MANY)
    assert said.startswith("DataError: "), said
    assert "chunk 1, 0, 0 in c/0/0/0: it decodes to more" in said
