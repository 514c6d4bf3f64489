"""Shards of a Zarr: files that hold many chunks, and a table of where each of them is."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec

from pipeline.storage.inflate import checked_crc32c

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
    first: bool
    checks: int

    @classmethod
    def of(cls, array: zarr.Array) -> ShardTable | None:
        """Return how an array keeps it; None without shards, or where it is not kept plainly."""
        codec = next(iter(getattr(array.metadata, "codecs", ())), None)
        if not isinstance(codec, ShardingCodec) or array.shards is None:
            return None
        table, *checks = codec.index_codecs
        if not isinstance(table, BytesCodec) or not all(isinstance(each, Crc32cCodec) for each in checks):
            return None
        said: Any = table.to_dict()
        if said.get("configuration", {}).get("endian") == "big":
            return None
        shape = tuple(shard // chunk for shard, chunk in zip(array.shards, array.chunks, strict=True))
        place = getattr(codec.index_location, "value", codec.index_location)
        return cls(shape, place == "start", len(checks))

    @property
    def nbytes(self) -> int:
        """Bytes of the table with its checksums."""
        return 16 * math.prod(self.shape) + 4 * self.checks

    def read(self, file: int, path: str) -> NDArray[np.uint64]:
        """Return the table of an open shard.

        Parameters
        ----------
        file : int
            Descriptor.
        path : str
            For messages.

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
        size = os.fstat(file).st_size
        if size < self.nbytes:
            raise ValueError(f"shard {path} has {size} bytes, too few for the table of its chunks")
        at = 0 if self.first else size - self.nbytes
        data = os.pread(file, self.nbytes, at)
        for _ in range(self.checks):
            data = checked_crc32c(data, len(data))
        table = np.frombuffer(data, "<u8").reshape(*self.shape, 2)
        self._check(table.reshape(-1, 2), size, path)
        return table

    def _check(self, entries: NDArray[np.uint64], size: int, path: str) -> None:
        there = np.unique(entries[(entries != _NOWHERE).any(-1)], axis=0)
        if not len(there):
            return
        starts, lengths = there[:, 0], there[:, 1]
        first, stop = (self.nbytes, size) if self.first else (0, size - self.nbytes)
        # Subtracted, since a sum of two such numbers may begin again at 0.
        outside = (starts < first) | (starts > stop) | (lengths > stop - np.minimum(starts, np.uint64(stop)))
        if outside.any():
            raise ValueError(f"the table of shard {path} leads outside it")
        # Chunks that are alike may share their bytes; no two can share a part of them.
        if (starts[1:] < starts[:-1] + lengths[:-1]).any():
            raise ValueError(f"the table of shard {path} has chunks that lie in one another")

    def held(self, path: str) -> NDArray[np.bool_]:
        """Return which chunks a shard holds; what cannot be read here shows when its pixels are."""
        try:
            with open(path, "rb", buffering=0) as file:
                held: NDArray[np.bool_] = (self.read(file.fileno(), path) != _NOWHERE).any(-1)
                return held
        except (OSError, ValueError):
            return np.ones(self.shape, bool)


def entry_of(table: NDArray[np.uint64], place: tuple[int, ...]) -> tuple[int, int] | None:
    """Return where a chunk begins and its bytes, or None where the shard does not hold it."""
    start, length = (int(number) for number in table[place])
    return None if start == length == _NOWHERE else (start, length)
