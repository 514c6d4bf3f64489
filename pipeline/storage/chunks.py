"""Chunked arrays: reading regions, and encoding the files of chunks and shards.

zarr-python passes each chunk through an event loop and a pool of threads, which took half of the time of
reading a 2048² uint16 frame (blosc lz4). Here a task reads its chunks one after the other in its own thread.
That also bounds the memory: one encoded and one decoded chunk beside the result, whatever the file claims.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.model.image import Region, region_shape
from pipeline.model.text import first_line
from pipeline.model.timing import spending
from pipeline.storage.codec_chain import CodecChain
from pipeline.storage.files import Blob
from pipeline.storage.shards import ShardTable, entry_of, stored_mask

Index = tuple[int, ...]
_In = TypeVar("_In")
_Out = TypeVar("_Out")


class ChunkError(ValueError):
    """A chunk cannot be decoded; the message names it."""


class _Chunk(NamedTuple):
    """A chunk that overlaps a region."""

    name: str
    position: Index  # of the chunk in the array, in chunks
    blob: Blob | None  # None if it is not stored
    start: int = 0
    length: int = 0


@dataclass(frozen=True)
class ChunkArray:
    """An array whose files are chunks, or shards of chunks."""

    shape: tuple[int, ...]
    file_shape: tuple[int, ...]  # px of a file: of a chunk or a shard
    chain: CodecChain
    fill: Any  # value of the pixels of chunks that are not stored
    key: Callable[[Index], str]  # index of a file → its name
    open_file: Callable[[str], Blob | None]  # name of a file → its bytes, or None if there is none
    table: ShardTable | None = None  # of shards
    at_once: int = 1  # concurrent requests; more than 1 pays over a network only

    def read(self, region: Region) -> NDArray:
        """Return the pixels of a region, as stored.

        Raises
        ------
        OSError
            A file cannot be read.
        ChunkError
            A chunk holds something else than its pixels.
        """
        block = np.empty(region_shape(region), self.chain.dtype)
        files = _map_ahead(self.at_once, self._open, product(*_chunk_ranges(region, self.file_shape)))
        chunks = (chunk for unit, file, table in files for chunk in self._chunks(unit, file, table, region))
        self._fill(chunks, region, block)
        return block

    def read_file(self, file: Blob, unit: Index, region: Region, block: NDArray) -> None:
        """Read the part of a region that lies in one file into a block of the region's shape."""
        table = (
            None
            if self.table is None
            else _call_for_chunk(self.key(unit), self.table.read, file, self.key(unit))
        )
        self._fill(self._chunks(unit, file, table, region), region, block)

    def stored_chunks(self, unit: Index) -> NDArray[np.bool_]:
        """Return which chunks of a shard are stored; for errors see `read`."""
        _, file, table = self._open(unit)
        if file is not None:
            file.close()
        return np.zeros((), bool) if table is None else stored_mask(table)

    def encoded(self, block: NDArray) -> bytes | None:
        """Encode a file, which the array's end may cut; None if all bits are 0, as then none is stored."""
        if self.table is None:
            return self.chain.encoded(block)
        chunks = {}
        for index in product(
            *_chunk_ranges(tuple(map(slice, [0] * block.ndim, block.shape)), self.chain.shape)
        ):
            region = tuple(
                slice(at * px, at * px + px) for at, px in zip(index, self.chain.shape, strict=True)
            )
            if (data := self.chain.encoded(block[region])) is not None:
                chunks[index] = data
        return self.table.joined_chunks(chunks) if chunks else None

    def bytes_beside(self, spans: tuple[int, ...]) -> int:
        """Return the most bytes that reading a region holds beside its pixels, wherever it lies."""
        # Each concurrent request holds its response and the bytes made of it.
        fetched = 0 if self.at_once == 1 else 2 * min(self.at_once, self._most_chunks(spans))
        table = 0 if self.table is None else 3 * self.table.nbytes
        return (
            self.chain.copies - self._decodes_in_place(spans) + fetched
        ) * self.chain.nbytes + table * self.at_once

    def _most_chunks(self, spans: tuple[int, ...]) -> int:
        counts = zip(spans, self.chain.shape, self.shape, strict=True)
        return math.prod(min(-(-size // px), (span + px - 2) // px + 1) for span, px, size in counts)

    def _decodes_in_place(self, spans: tuple[int, ...]) -> bool:
        """Return whether chunks are decoded straight into the region's pixels, wherever it lies."""
        inner = list(zip(spans, self.chain.shape, self.shape, strict=True))
        while inner and inner[0][1] == 1:
            del inner[0]
        return self.chain.direct and all(span == px == size for span, px, size in inner)

    def _open(self, unit: Index) -> tuple[Index, Blob | None, NDArray[np.uint64] | None]:
        """Open a file, and read the table of its chunks if it is a shard."""
        key = self.key(unit)
        file = _call_for_chunk(f"chunk {key}", self.open_file, key)
        if file is None or self.table is None:
            return unit, file, None
        try:
            return unit, file, _call_for_chunk(key, self.table.read, file, key)
        except BaseException:
            file.close()
            raise

    def _chunks(
        self, unit: Index, file: Blob | None, table: NDArray[np.uint64] | None, region: Region
    ) -> Generator[_Chunk]:
        """Yield the chunks of a file that overlap a region, and close the file."""
        key = self.key(unit)
        inside = tuple(
            slice(max(part.start, at * px), min(part.stop, at * px + px))
            for part, at, px in zip(region, unit, self.file_shape, strict=True)
        )
        with contextlib.nullcontext() if file is None else contextlib.closing(file):
            for index in product(*_chunk_ranges(inside, self.chain.shape)):
                name = f"chunk {key}" if table is None else f"chunk {', '.join(map(str, index))} in {key}"
                if file is None:
                    yield _Chunk(name, index, None)
                elif table is None:
                    yield _Chunk(name, index, file, 0, file.size)
                else:
                    entry = entry_of(table, tuple(at % n for at, n in zip(index, table.shape, strict=False)))
                    yield _Chunk(name, index, file, *entry) if entry else _Chunk(name, index, None)

    def _load(self, chunk: _Chunk) -> tuple[_Chunk, bytes | None]:
        if chunk.blob is None:
            return chunk, None
        if chunk.length > self.chain.max_bytes:
            size = f"it has {chunk.length} bytes, and its pixels {self.chain.nbytes}"
            raise ChunkError(f"{chunk.name}: {size}")
        return chunk, _call_for_chunk(chunk.name, chunk.blob.read, chunk.start, chunk.length)

    def _fill(self, chunks: Generator[_Chunk], region: Region, block: NDArray) -> None:
        # Closed here: the traceback of an error would keep both generators, and their open file, alive.
        with (
            contextlib.closing(chunks),
            contextlib.closing(_map_ahead(self.at_once, self._load, chunks)) as loaded,
        ):
            self._fill_from(loaded, region, block)

    def _fill_from(
        self, loaded: Iterator[tuple[_Chunk, bytes | None]], region: Region, block: NDArray
    ) -> None:
        while True:
            with spending("read"):
                item = next(loaded, None)
            if item is None:
                return
            chunk, data = item
            begins = [at * px for at, px in zip(chunk.position, self.chain.shape, strict=True)]
            part = tuple(
                slice(max(part.start - begin, 0), min(part.stop - begin, px))
                for part, begin, px in zip(region, begins, self.chain.shape, strict=True)
            )
            target = block[
                tuple(
                    slice(inner.start + begin - whole.start, inner.stop + begin - whole.start)
                    for inner, begin, whole in zip(part, begins, region, strict=True)
                )
            ]
            if data is None:
                target[...] = self.fill
                continue
            with spending("decode"):
                _call_for_chunk(chunk.name, self.chain.decode_into, data, part, target)
            del item, data  # freed before the next chunk is read


def _chunk_ranges(region: Region, px: tuple[int, ...]) -> list[range]:
    """Return the indices of the chunks that overlap a region, along each axis."""
    return [range(part.start // n, -(-part.stop // n)) for part, n in zip(region, px, strict=True)]


def _call_for_chunk(name: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function, and name the chunk in the error if it fails."""
    try:
        return call(*arguments)
    except (OSError, MemoryError):
        raise
    # Codecs raise whatever their libraries do, and any of it means a damaged chunk.
    except Exception as error:
        raise ChunkError(f"{name}: {first_line(error)}") from error


def _map_ahead(at_once: int, call: Callable[[_In], _Out], items: Iterable[_In]) -> Generator[_Out]:
    """Map a function over items, in order, with some calls running concurrently."""
    if at_once == 1:
        yield from map(call, items)
        return
    pool = ThreadPoolExecutor(at_once)
    waiting: deque[Future[_Out]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(call, item))
            if len(waiting) == at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
