"""Chunk files of a Zarr array, decoded directly where its codecs are plain ones.

zarr-python takes each chunk through an event loop and a pool of threads of its own; a task that
reads one chunk after the other in its own thread needs neither. Of a 2048² uint16 frame (blosc
lz4) half of the time of reading was spent there. What is not plain (shards, filters, Fortran
order, other codecs, URLs) is left to zarr-python, which is also the oracle in the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import zarr
from numcodecs.blosc import Blosc
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ZstdCodec

from pipeline.clock import spending
from pipeline.image import Region, region_shape

Decode = Callable[[bytes], bytes]
_PLAIN_V2 = (Blosc, numcodecs.Zstd, numcodecs.LZ4, numcodecs.Zlib)


@dataclass(frozen=True)
class ChunkFiles:
    """A local array whose chunks are files of plain codecs.

    Parameters
    ----------
    where : str
        Folder of the array.
    shape, chunks : tuple of int
        Of the array, and of a chunk.
    dtype : numpy.dtype
        As stored, byte order included.
    fill : Any
        What a chunk that has no file holds.
    key : callable
        Index of a chunk → path of its file.
    decode : tuple of callable
        What turns a file's bytes into pixels' bytes, in this order.
    blosc : bool
        Whether the last of them is Blosc, which can decode into the result itself.
    """

    where: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype
    fill: Any
    key: Callable[[tuple[int, ...]], str]
    decode: tuple[Decode, ...]
    blosc: bool

    def read(self, region: Region) -> NDArray:
        """Return the pixels of a region, as stored.

        Raises
        ------
        OSError
            A file cannot be read.
        Exception
            What the codecs raise on bytes that they cannot decode.
        """
        block = np.empty(region_shape(region), self.dtype)
        indices = (
            range(part.start // px, -(-part.stop // px)) for part, px in zip(region, self.chunks, strict=True)
        )
        for index in product(*indices):
            self._read_chunk(index, region, block)
        return block

    def _read_chunk(self, index: tuple[int, ...], region: Region, block: NDArray) -> None:
        begins = [at * px for at, px in zip(index, self.chunks, strict=True)]
        common = [
            (max(part.start, begin), min(part.stop, begin + px))
            for part, begin, px in zip(region, begins, self.chunks, strict=True)
        ]
        target = block[
            tuple(slice(a - part.start, b - part.start) for (a, b), part in zip(common, region, strict=True))
        ]
        with spending("read"):
            data = read_file(f"{self.where}/{self.key(index)}")
        with spending("decode"):
            if data is None:
                target[...] = self.fill
            elif self.blosc and target.shape == self.chunks and target.flags.c_contiguous:
                self._decode_into(data, target)
            else:
                pixels = self._decode(data)
                target[...] = pixels[
                    tuple(slice(a - begin, b - begin) for (a, b), begin in zip(common, begins, strict=True))
                ]

    def _decode(self, data: bytes) -> NDArray:
        for step in self.decode:
            data = step(data)
        return np.frombuffer(data, self.dtype).reshape(self.chunks)

    def _decode_into(self, data: bytes, target: NDArray) -> None:
        for step in self.decode[:-1]:
            data = step(data)
        # It fills a larger target only in part, and says nothing.
        if (found := int.from_bytes(data[4:8], "little")) != target.nbytes:
            raise ValueError(f"a chunk of {found} bytes in the place of {target.nbytes}")
        Blosc().decode(_whole_blosc(data), out=target)


def read_file(path: str) -> bytes | None:
    """Return a file's bytes, or None where there is none."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except FileNotFoundError:
        return None


def chunk_files(array: zarr.Array, where: str) -> ChunkFiles | None:
    """Return how an array's chunks are read from files, or None where zarr-python has to do it.

    Parameters
    ----------
    array : zarr.Array
        Open.
    where : str
        Its folder, or a URL.
    """
    if "://" in where or array.ndim == 0 or array.dtype.kind not in "biufc" or array.shards is not None:
        return None
    metadata: Any = array.metadata
    found = _steps_v3(metadata) if metadata.zarr_format == 3 else _steps_v2(metadata)
    if found is None or metadata.fill_value is None:
        return None
    dtype, steps = found
    return ChunkFiles(
        where,
        array.shape,
        array.chunks,
        dtype,
        metadata.fill_value,
        metadata.encode_chunk_key,
        tuple(steps),
        steps[-1:] == [_from_blosc],
    )


def _steps_v2(metadata: Any) -> tuple[np.dtype, list[Decode]] | None:
    compressor = metadata.compressor
    plain = compressor is None or type(compressor) in _PLAIN_V2
    if metadata.order != "C" or metadata.filters or not plain:
        return None
    steps = [] if compressor is None else [_from_blosc if type(compressor) is Blosc else compressor.decode]
    return metadata.dtype.to_native_dtype(), steps


def _steps_v3(metadata: Any) -> tuple[np.dtype, list[Decode]] | None:
    known: dict[type, Decode] = {
        BloscCodec: _from_blosc,
        ZstdCodec: numcodecs.Zstd().decode,
        GzipCodec: _from_gzip,
        Crc32cCodec: _checked,
    }
    first, *rest = metadata.codecs
    if type(first) is not BytesCodec or metadata.storage_transformers:
        return None
    if any(type(codec) not in known for codec in rest):
        return None
    # Its own words: the attribute is an enum in some versions of zarr-python and a text in others.
    said: Any = first.to_dict()
    big = said.get("configuration", {}).get("endian") == "big"
    native = metadata.dtype.to_native_dtype()
    return native.newbyteorder(">" if big else "<"), [known[type(codec)] for codec in reversed(rest)]


def _from_blosc(data: bytes) -> bytes:
    return bytes(Blosc().decode(_whole_blosc(data)))


def _from_gzip(data: bytes) -> bytes:
    try:
        return bytes(numcodecs.GZip().decode(data))
    except OSError as error:  # which it calls bytes that are none of its own; the disk is well
        raise ValueError(str(error)) from error


def _whole_blosc(data: bytes) -> bytes:
    """Refuse a file that was cut: the header tells its length, and Blosc itself reads on beyond the end."""
    if len(data) < 16 or int.from_bytes(data[12:16], "little") != len(data):
        raise ValueError(f"a chunk of {len(data)} bytes that should be of another length")
    return data


def _checked(data: bytes) -> bytes:
    body, stored = data[:-4], data[-4:]
    if int(google_crc32c.value(body)).to_bytes(4, "little") != stored:
        raise ValueError("a checksum does not fit its chunk")
    return body
