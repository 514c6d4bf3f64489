"""Arrays in chunks, each in a file or several in a shard: regions of pixels read, files encoded.

zarr-python takes each chunk through an event loop and a pool of threads of its own; a task that reads one
chunk after the other in its own thread needs neither. Of a 2048² uint16 frame (blosc lz4) half of the time
of reading was spent there. And only so does a read take what was predicted: one encoded chunk and one
decoded beside the result, whatever the file says.
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
from pipeline.storage.shards import ShardTable, chunks_held, entry_of

Index = tuple[int, ...]
_In = TypeVar("_In")
_Out = TypeVar("_Out")


class ChunkError(ValueError):
    """A chunk that cannot be decoded, by its name."""


class _Chunk(NamedTuple):
    """A chunk that a region meets; `blob` is None where no file holds it."""

    name: str
    place: Index
    blob: Blob | None
    start: int = 0
    length: int = 0


@dataclass(frozen=True)
class ChunkArray:
    """An array whose chunks lie in files, alone or in shards.

    Parameters
    ----------
    shape : tuple of int
        Of the array.
    units : tuple of int
        Pixels of a file along each axis: of a chunk, or of a shard.
    chain : CodecChain
        What each chunk goes through.
    fill : Any
        What a chunk that is not there holds.
    key : callable
        Index of a file → its name.
    open_file : callable
        Name of a file → its bytes, or None where there is none.
    table : ShardTable, optional
        Where chunks lie in a shard.
    at_once : int
        Files, and chunks of shards, that are fetched side by side: 1 where nothing is waited for.
    """

    shape: tuple[int, ...]
    units: tuple[int, ...]
    chain: CodecChain
    fill: Any
    key: Callable[[Index], str]
    open_file: Callable[[str], Blob | None]
    table: ShardTable | None = None
    at_once: int = 1

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
        files = _ahead(self.at_once, self._open, product(*_met(region, self.units)))
        chunks = (chunk for unit, file, table in files for chunk in self._chunks(unit, file, table, region))
        self._fill(chunks, region, block)
        return block

    def read_file(self, file: Blob, unit: Index, region: Region, block: NDArray) -> None:
        """Put what one file holds of a region into a block of the region's shape."""
        table = None if self.table is None else _named(self.key(unit), self.table.read, file, self.key(unit))
        self._fill(self._chunks(unit, file, table, region), region, block)

    def held(self, unit: Index) -> NDArray[np.bool_]:
        """Return which chunks a shard holds.

        Raises
        ------
        OSError
            It cannot be read.
        ChunkError
            Its table is damaged.
        """
        _, file, table = self._open(unit)
        if file is not None:
            file.close()
        held: NDArray[np.bool_] = chunks_held(table) if table is not None else np.zeros((), bool)
        return held

    def encoded(self, block: NDArray) -> bytes | None:
        """Return the bytes of one file, or None where every bit is 0; a block is smaller at an end."""
        if self.table is None:
            return self.chain.encoded(block)
        chunks = {}
        for index in product(*_met(tuple(map(slice, [0] * block.ndim, block.shape)), self.chain.shape)):
            region = tuple(
                slice(at * px, at * px + px) for at, px in zip(index, self.chain.shape, strict=True)
            )
            if (data := self.chain.encoded(block[region])) is not None:
                chunks[index] = data
        return self.table.joined_chunks(chunks) if chunks else None

    def bytes_beside(self, spans: tuple[int, ...]) -> int:
        """Return the most bytes held beside a region's pixels, of such lengths and wherever it lies."""
        # Fetched side by side they are held as they came and as the bytes that are decoded.
        fetched = 0 if self.at_once == 1 else 2 * min(self.at_once, self._most_met(spans))
        table = 0 if self.table is None else 3 * self.table.nbytes
        return (self.chain.copies - self._fits(spans) + fetched) * self.chain.nbytes + table * self.at_once

    def _most_met(self, spans: tuple[int, ...]) -> int:
        counts = zip(spans, self.chain.shape, self.shape, strict=True)
        return math.prod(min(-(-size // px), (span + px - 2) // px + 1) for span, px, size in counts)

    def _fits(self, spans: tuple[int, ...]) -> bool:
        """Return whether each chunk is decoded into the region itself, wherever that lies."""
        inner = list(zip(spans, self.chain.shape, self.shape, strict=True))
        while inner and inner[0][1] == 1:
            del inner[0]
        return self.chain.direct and all(span == px == size for span, px, size in inner)

    def _open(self, unit: Index) -> tuple[Index, Blob | None, NDArray[np.uint64] | None]:
        """Return a file, and the table of its chunks where it is a shard."""
        key = self.key(unit)
        file = _named(f"chunk {key}", self.open_file, key)
        if file is None or self.table is None:
            return unit, file, None
        try:
            return unit, file, _named(key, self.table.read, file, key)
        except BaseException:
            file.close()
            raise

    def _chunks(
        self, unit: Index, file: Blob | None, table: NDArray[np.uint64] | None, region: Region
    ) -> Generator[_Chunk]:
        """Yield the chunks of a file that a region meets, and close it."""
        key = self.key(unit)
        inside = tuple(
            slice(max(part.start, at * px), min(part.stop, at * px + px))
            for part, at, px in zip(region, unit, self.units, strict=True)
        )
        with contextlib.nullcontext() if file is None else contextlib.closing(file):
            for index in product(*_met(inside, self.chain.shape)):
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
        if chunk.length > self.chain.most:
            size = f"it has {chunk.length} bytes, and its pixels {self.chain.nbytes}"
            raise ChunkError(f"{chunk.name}: {size}")
        return chunk, _named(chunk.name, chunk.blob.read, chunk.start, chunk.length)

    def _fill(self, chunks: Generator[_Chunk], region: Region, block: NDArray) -> None:
        # Closed here, since an error would keep both, and the file that is open, as long as it is kept.
        with (
            contextlib.closing(chunks),
            contextlib.closing(_ahead(self.at_once, self._load, chunks)) as loaded,
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
            begins = [at * px for at, px in zip(chunk.place, self.chain.shape, strict=True)]
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
                _named(chunk.name, self.chain.place, data, part, target)
            del item, data  # before the next one is read


def _met(region: Region, px: tuple[int, ...]) -> list[range]:
    """Return along each axis the chunks that a region meets."""
    return [range(part.start // n, -(-part.stop // n)) for part, n in zip(region, px, strict=True)]


def _named(name: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """Do something with a chunk, and name it where that fails."""
    try:
        return call(*arguments)
    except (OSError, MemoryError):
        raise
    # Codecs raise whatever their libraries do; each of them means that this chunk is damaged.
    except Exception as error:
        raise ChunkError(f"{name}: {first_line(error)}") from error


def _ahead(at_once: int, call: Callable[[_In], _Out], items: Iterable[_In]) -> Generator[_Out]:
    """Yield what a call returns for each item, in order, some of them called side by side."""
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
