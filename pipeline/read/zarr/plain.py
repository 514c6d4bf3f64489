"""Zarr arrays read through zarr-python: what is not plain files of chunks, and all that lies behind a URL."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.model.image import Region, region_shape
from pipeline.model.timing import spending

AT_ONCE = 4 << 20
"""Bytes of chunks asked for at once: zarr-python decodes them side by side, and holds them together."""

SIDE_BY_SIDE = 10
"""Chunks that zarr-python fetches and decodes at a time (its `async.concurrency`)."""


DECODING = 8
"""What chunks take that are decoded side by side, in their size: as stored, decoded, turned, put together,
and as much again that the threads of zarr-python have not given back."""


@dataclass(frozen=True)
class PlainArray:
    """An open array.

    Parameters
    ----------
    array : zarr.Array
        Open.
    remote : bool
        Whether it is behind a URL: then all of a region is asked for at once, since each chunk waits.
    """

    array: zarr.Array
    remote: bool = False

    @property
    def unit(self) -> tuple[int, ...]:
        """Shape of a file: a chunk, or a shard."""
        return self.array.shards or self.array.chunks

    def read(self, region: Region) -> NDArray:
        """Return the pixels of a region, as stored."""
        with spending("read"):
            parts = [region] if self.remote else list(pieces(region, self._piece()))
            if len(parts) == 1:
                return np.asarray(self.array[region])
            block = np.empty(region_shape(region), self.array.dtype)
            for part in parts:
                into = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(part, region, strict=True))
                block[tuple(into)] = self.array[part]
            return block

    def _piece(self) -> tuple[int, ...]:
        """Return what is asked for at once: a file, or as many as are small together."""
        piece, shape = list(self.unit), self.array.shape
        room = AT_ONCE // max(1, math.prod(piece) * self.array.dtype.itemsize)
        for axis in reversed(range(len(piece))):
            times = max(1, min(room, -(-shape[axis] // piece[axis])))
            piece[axis] *= times
            room //= times
        return tuple(piece)

    def beside(self, spans: tuple[int, ...]) -> int:
        """Return the most bytes held beside a region's pixels: chunks as stored and as decoded."""
        array = self.array
        item, chunk = array.dtype.itemsize, math.prod(array.chunks)
        if array.shards is not None:
            # All chunks that are wanted of a shard are fetched before the first is decoded.
            wanted = math.prod(
                cover(min(px, shard), inner, shard)
                for px, shard, inner in zip(spans, array.shards, array.chunks, strict=True)
            )
            files = touched(spans, array.shards, array.shape) if self.remote else 1
            return 3 * item * wanted * min(SIDE_BY_SIDE, files)
        if self.remote:
            return 2 * item * chunk * min(SIDE_BY_SIDE, touched(spans, array.chunks, array.shape))
        return DECODING * item * math.prod(self._piece())


def pieces(region: Region, piece: tuple[int, ...]) -> Iterator[Region]:
    """Yield a region cut where pieces begin.

    >>> list(pieces((slice(3, 9),), (4,)))
    [(slice(3, 4, None),), (slice(4, 8, None),), (slice(8, 9, None),)]
    """
    axes = [
        [
            slice(max(part.start, at), min(part.stop, at + px))
            for at in range(part.start // px * px, part.stop, px)
        ]
        for part, px in zip(region, piece, strict=True)
    ]
    yield from product(*axes)


def cover(span: int, chunk: int, size: int) -> int:
    """Return the most pixels of the chunks that a span meets, wherever it begins.

    >>> cover(4, 4, 100), cover(1, 4, 100), cover(100, 4, 100)
    (8, 4, 100)
    """
    return min(-(-size // chunk), (span + chunk - 2) // chunk + 1) * chunk


def touched(spans: tuple[int, ...], chunks: tuple[int, ...], shape: tuple[int, ...]) -> int:
    """Return the most chunks that a box meets, wherever it begins."""
    return math.prod(
        cover(span, chunk, size) // chunk for span, chunk, size in zip(spans, chunks, shape, strict=True)
    )
