"""Chunks of a local Zarr array, decoded directly where its codecs are plain ones.

zarr-python takes each chunk through an event loop and a pool of threads of its own; a task that
reads one chunk after the other in its own thread needs neither. Of a 2048² uint16 frame (blosc
lz4) half of the time of reading was spent there. And only so does a read take what was said before: one
encoded chunk and one decoded beside the result, whatever the file says. What is not plain (filters,
Fortran order, other codecs, URLs) is left to zarr-python, which is also the oracle in the tests.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import zarr
from numcodecs.blosc import Blosc
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, ZstdCodec

from pipeline.model.image import Region, region_shape
from pipeline.model.text import first_line
from pipeline.model.timing import spending
from pipeline.storage.inflate import (
    Decoder,
    SizeError,
    blosc_size,
    checked_crc32c,
    decoder_of,
    from_blosc,
    from_gzip,
    from_lz4,
    from_zstd,
)
from pipeline.storage.regular import check_regular
from pipeline.storage.shards import ShardTable, entry_of

Index = tuple[int, ...]

SLACK = 64 << 10
"""What codecs add to a chunk that cannot be made smaller, beside a small part of it."""

_V3: dict[type, Decoder] = {
    BloscCodec: from_blosc,
    ZstdCodec: from_zstd,
    GzipCodec: from_gzip,
    Crc32cCodec: checked_crc32c,
}


_AT_ONCE = (from_blosc, from_zstd, from_lz4, checked_crc32c)
"""Decoders that give all of a chunk at once."""


class ChunkError(ValueError):
    """A chunk that cannot be decoded, by its name."""


@dataclass(frozen=True)
class ChunkFiles:
    """A local array whose chunks are of plain codecs, each in a file or several in a shard.

    Parameters
    ----------
    where : str
        Folder of the array.
    shape, chunks : tuple of int
        Of the array, and of a chunk.
    units : tuple of int
        Pixels of a file along each axis: of a chunk, or of a shard.
    dtype : numpy.dtype
        As stored, byte order included.
    fill : Any
        What a chunk that is not there holds.
    key : callable
        Index of a file → its path.
    decode : tuple of callable
        What turns a chunk's bytes into pixels' bytes, in this order.
    table : ShardTable, optional
        Where chunks lie in a shard.
    """

    where: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    units: tuple[int, ...]
    dtype: np.dtype
    fill: Any
    key: Callable[[Index], str]
    decode: tuple[Decoder, ...]
    table: ShardTable | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of a chunk's pixels."""
        return math.prod(self.chunks) * self.dtype.itemsize

    @property
    def most(self) -> int:
        """The most that a chunk takes encoded."""
        return 2 * self.nbytes + SLACK

    def read(self, region: Region) -> NDArray:
        """Return the pixels of a region, as stored.

        Raises
        ------
        OSError
            A file cannot be read.
        ChunkError
            A chunk holds something else than its pixels.
        """
        block = np.empty(region_shape(region), self.dtype)
        for unit in product(*_touched(region, self.units)):
            path = self.key(unit)
            with spending("read"):
                file = open_file(f"{self.where}/{path}", path)
            try:
                self._read_file(file, path, unit, region, block)
            finally:
                if file is not None:
                    os.close(file)
        return block

    def beside(self, spans: tuple[int, ...]) -> int:
        """Return the most bytes held beside a region's pixels: one chunk as stored and as decoded."""
        # Decoders of the standard library put together what they give piece by piece.
        pieces = any(step not in _AT_ONCE for step in self.decode)
        held = 1 + min(len(self.decode) + pieces, 2)
        table = 0 if self.table is None else 3 * self.table.nbytes
        return (held - 1 if self._fills(spans) else held) * self.nbytes + table

    def _fills(self, spans: tuple[int, ...]) -> bool:
        """Return whether each chunk is decoded into the region itself, wherever that lies."""
        inner = list(zip(spans, self.chunks, self.shape, strict=True))
        while inner and inner[0][1] == 1:
            del inner[0]
        direct = self.decode[-1:] == (from_blosc,)
        return direct and all(span == chunk == size for span, chunk, size in inner)

    def _read_file(self, file: int | None, path: str, unit: Index, region: Region, block: NDArray) -> None:
        begins = [at * px for at, px in zip(unit, self.units, strict=True)]
        inside = tuple(
            slice(max(part.start, begin), min(part.stop, begin + px))
            for part, begin, px in zip(region, begins, self.units, strict=True)
        )
        table = None
        if file is not None and self.table is not None:
            with spending("read"):
                table = _named(path, self.table.read, file, path)
        for index in product(*_touched(inside, self.chunks)):
            target = block[
                tuple(
                    slice(max(part.start, at * px) - whole.start, min(part.stop, at * px + px) - whole.start)
                    for at, px, part, whole in zip(index, self.chunks, inside, region, strict=True)
                )
            ]
            if file is None:
                target[...] = self.fill
            elif table is None:
                _named(f"chunk {path}", self._place, file, None, index, inside, target)
            else:
                place = tuple(at % n for at, n in zip(index, table.shape, strict=False))
                name = f"chunk {', '.join(map(str, index))} in {path}"
                entry = entry_of(table, place)
                if entry is None:
                    target[...] = self.fill
                else:
                    _named(name, self._place, file, entry, index, inside, target)

    def _place(
        self, file: int, entry: tuple[int, int] | None, index: Index, inside: Region, target: NDArray
    ) -> None:
        with spending("read"):
            data = self._encoded(file, entry)
        with spending("decode"):
            if self.decode[-1:] == (from_blosc,) and target.shape == self.chunks and _whole(target):
                self._decode_into(data, target)
            else:
                pixels = self._decode(data)
                begins = [at * px for at, px in zip(index, self.chunks, strict=True)]
                target[...] = pixels[
                    tuple(
                        slice(max(part.start - begin, 0), part.stop - begin)
                        for part, begin in zip(inside, begins, strict=True)
                    )
                ]

    def _encoded(self, file: int, entry: tuple[int, int] | None) -> bytes:
        start, length = entry or (0, os.fstat(file).st_size)
        if length > self.most:
            raise SizeError(f"it has {length} bytes, and its pixels {self.nbytes}")
        data = os.pread(file, length, start)
        while len(data) < length and (more := os.pread(file, length - len(data), start + len(data))):
            data += more
        return data

    def _decode(self, data: bytes) -> NDArray:
        for step in self.decode[:-1]:
            data = step(data, self.most)
        for step in self.decode[-1:]:
            data = step(data, self.nbytes)
        self._check(len(data))
        return np.frombuffer(data, self.dtype).reshape(self.chunks)

    def _decode_into(self, data: bytes, target: NDArray) -> None:
        for step in self.decode[:-1]:
            data = step(data, self.most)
        # It fills a larger target only in part, and says nothing.
        self._check(blosc_size(data))
        Blosc().decode(data, out=target)

    def _check(self, found: int) -> None:
        if found != self.nbytes:
            raise SizeError(f"it decodes to {found} bytes where there should be {self.nbytes}")


def _touched(region: Region, px: tuple[int, ...]) -> list[range]:
    return [range(part.start // each, -(-part.stop // each)) for part, each in zip(region, px, strict=True)]


def _whole(target: NDArray) -> bool:
    return target.flags.c_contiguous


def _named(name: str, act: Callable[..., Any], *given: Any) -> Any:
    """Do something with a chunk, and name it where that fails."""
    try:
        return act(*given)
    except (OSError, MemoryError):
        raise
    # Codecs raise whatever their libraries do; each of them means that this chunk is damaged.
    except Exception as error:
        raise ChunkError(f"{name}: {first_line(error)}") from error


def open_file(path: str, name: str) -> int | None:
    """Return the descriptor of a file to be read, or None where there is none.

    Raises
    ------
    ChunkError
        Something else than a file is there.
    OSError
        It cannot be opened.
    """
    try:
        # Opening a FIFO would wait for somebody to write into it.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        _named(f"chunk {name}", check_regular, path, os.fstat(file))
    except ChunkError:
        os.close(file)
        raise
    return file


def chunk_files(array: zarr.Array, where: str) -> ChunkFiles | None:
    """Return how an array's chunks are read from files, or None where zarr-python has to do it.

    Parameters
    ----------
    array : zarr.Array
        Open.
    where : str
        Its folder, or a URL.
    """
    if "://" in where or array.ndim == 0 or array.dtype.kind not in "biufc":
        return None
    metadata: Any = array.metadata
    table = ShardTable.of(array)
    if array.shards is not None and table is None:
        return None
    found = _steps_v3(metadata) if metadata.zarr_format == 3 else _steps_v2(metadata)
    if found is None or metadata.fill_value is None:
        return None
    dtype, steps = found
    return ChunkFiles(
        where,
        array.shape,
        array.chunks,
        array.shards or array.chunks,
        dtype,
        metadata.fill_value,
        metadata.encode_chunk_key,
        tuple(steps),
        table,
    )


def _steps_v2(metadata: Any) -> tuple[np.dtype, list[Decoder]] | None:
    if metadata.order != "C" or metadata.filters:
        return None
    dtype = metadata.dtype.to_native_dtype()
    if metadata.compressor is None:
        return dtype, []
    decoder = decoder_of(metadata.compressor)
    return None if decoder is None else (dtype, [decoder])


def _steps_v3(metadata: Any) -> tuple[np.dtype, list[Decoder]] | None:
    if metadata.storage_transformers:
        return None
    codecs = metadata.codecs
    if isinstance(codecs[0], ShardingCodec):
        # A codec around whole shards would have to be undone before any part of one can be read.
        if len(codecs) > 1:
            return None
        codecs = codecs[0].codecs
    first, *rest = codecs
    if type(first) is not BytesCodec or any(type(codec) not in _V3 for codec in rest):
        return None
    # Its own words: the attribute is an enum in some versions of zarr-python and a text in others.
    said: Any = first.to_dict()
    big = said.get("configuration", {}).get("endian") == "big"
    native = metadata.dtype.to_native_dtype()
    return native.newbyteorder(">" if big else "<"), [_V3[type(codec)] for codec in reversed(rest)]
