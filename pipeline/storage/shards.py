"""Shards of a Zarr: files of many chunks, with a table of their offsets and sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.storage.codec import checked_crc32c, with_crc32c
from pipeline.storage.files import Blob

_NOWHERE = int(np.iinfo(np.uint64).max)


@dataclass(frozen=True)
class ShardTable:
    """Format of the tables in an array's shards: the first byte and the size of each chunk."""

    shape: tuple[int, ...]  # chunks of a shard along each axis
    first: bool = False  # whether the table is at the start of the file, rather than at its end
    checks: int = 1  # number of checksums behind the table

    @property
    def nbytes(self) -> int:
        """Bytes of the table with its checksums."""
        return 16 * math.prod(self.shape) + 4 * self.checks

    def joined_chunks(self, chunks: Mapping[tuple[int, ...], bytes]) -> bytes:
        """Encode a shard from its chunks, with the table at its end."""
        table = np.full((*self.shape, 2), _NOWHERE, "<u8")
        begin = 0
        for index, data in chunks.items():
            table[index] = begin, len(data)
            begin += len(data)
        return b"".join([*chunks.values(), with_crc32c(table.tobytes())])

    def read(self, shard: Blob, path: str) -> NDArray[np.uint64]:
        """Read the table of a shard; `path` is for messages.

        Returns
        -------
        numpy.ndarray
            Of `shape` and a last axis of length 2: first byte and size, both 2⁶⁴ − 1 for a chunk
            that is not stored.

        Raises
        ------
        ValueError
            The file is too short, the checksum is wrong, or chunks overlap or lie outside the file.
        """
        if shard.size < self.nbytes:
            raise ValueError(f"shard {path} has {shard.size} bytes, too few for the table of its chunks")
        data = shard.read(0 if self.first else shard.size - self.nbytes, self.nbytes)
        for _ in range(self.checks):
            data = checked_crc32c(data, len(data))
        table = np.frombuffer(data, "<u8").reshape(*self.shape, 2)
        self._check(table.reshape(-1, 2), shard.size, path)
        return table

    def _check(self, entries: NDArray[np.uint64], size: int, path: str) -> None:
        filled = np.unique(entries[(entries != _NOWHERE).any(-1)], axis=0)
        if not len(filled):
            return
        starts, lengths = filled[:, 0], filled[:, 1]
        first, stop = (self.nbytes, size) if self.first else (0, size - self.nbytes)
        # By subtraction: a sum of two uint64 may overflow.
        outside = (starts < first) | (starts > stop) | (lengths > stop - np.minimum(starts, np.uint64(stop)))
        if outside.any():
            raise ValueError(f"the table of shard {path} leads outside it")
        # Equal chunks may share all of their bytes, others none.
        if (starts[1:] < starts[:-1] + lengths[:-1]).any():
            raise ValueError(f"the table of shard {path} has chunks that lie in one another")


def entry_of(table: NDArray[np.uint64], index: tuple[int, ...]) -> tuple[int, int] | None:
    """Return the first byte and the size of a chunk, or None if it is not stored."""
    start, length = (int(number) for number in table[index])
    return None if start == length == _NOWHERE else (start, length)


def stored_mask(table: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which chunks of a shard are stored."""
    mask: NDArray[np.bool_] = (table != _NOWHERE).any(-1)
    return mask
