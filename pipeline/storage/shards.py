"""Shards of a Zarr: files that hold many chunks, and a table of where each of them is."""

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
    """How the shards of an array keep their table: for each chunk where it begins, and its bytes.

    Parameters
    ----------
    shape : tuple of int
        Chunks of a shard along each axis.
    first : bool
        Whether the table stands at the start of the file, or at its end.
    checks : int
        How many checksums stand behind it.
    """

    shape: tuple[int, ...]
    first: bool = False
    checks: int = 1

    @property
    def nbytes(self) -> int:
        """Bytes of the table with its checksums."""
        return 16 * math.prod(self.shape) + 4 * self.checks

    def joined_chunks(self, chunks: Mapping[tuple[int, ...], bytes]) -> bytes:
        """Return a shard of chunks by their places, with a table at its end."""
        table = np.full((*self.shape, 2), _NOWHERE, "<u8")
        begin = 0
        for index, data in chunks.items():
            table[index] = begin, len(data)
            begin += len(data)
        return b"".join([*chunks.values(), with_crc32c(table.tobytes())])

    def read(self, shard: Blob, path: str) -> NDArray[np.uint64]:
        """Return the table of a shard, whose `path` is for messages.

        Returns
        -------
        numpy.ndarray
            Of `shape` with an axis of length 2 behind it: first byte and number of bytes, both the
            largest number there is where the shard does not hold the chunk.

        Raises
        ------
        ValueError
            The file is too short for it, its checksum does not fit, or it leads outside the file or
            to chunks that lie in one another.
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
        # Subtracted, since a sum of two such numbers may begin again at 0.
        outside = (starts < first) | (starts > stop) | (lengths > stop - np.minimum(starts, np.uint64(stop)))
        if outside.any():
            raise ValueError(f"the table of shard {path} leads outside it")
        # Chunks that are alike may share their bytes; no two can share a part of them.
        if (starts[1:] < starts[:-1] + lengths[:-1]).any():
            raise ValueError(f"the table of shard {path} has chunks that lie in one another")


def entry_of(table: NDArray[np.uint64], index: tuple[int, ...]) -> tuple[int, int] | None:
    """Return where a chunk begins and its bytes, or None where the shard does not hold it."""
    start, length = (int(number) for number in table[index])
    return None if start == length == _NOWHERE else (start, length)


def chunks_held(table: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which chunks a shard holds."""
    held: NDArray[np.bool_] = (table != _NOWHERE).any(-1)
    return held
