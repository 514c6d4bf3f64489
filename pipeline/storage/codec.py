"""Pixels → the bytes of a file, and back: Zarr's codecs, called directly.

zarr-python takes each chunk through an event loop and a thread of its own, and two to four times
as long for it; what lies on disk is the same, and zarr reads it in the tests.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.blosc import Blosc
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

BLOSC_LEVEL = {"lz4": 5, "zstd": 1}
ZSTD_LEVEL = 1
_NOWHERE = np.iinfo(np.uint64).max


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of bytes."""
    return int(google_crc32c.value(data))


class DamagedError(ValueError):
    """Stored bytes that cannot be what was written."""


@dataclass(frozen=True)
class Codec:
    """How the pixels of one array become files.

    Parameters
    ----------
    dtype : numpy.dtype
        Of the pixels, native byte order; stored little-endian.
    chunks : tuple of int
        Shape of a chunk; a smaller block is filled up with 0.
    shards : tuple of int or None
        Shape of a shard.
    compressor : str
        blosc-lz4, blosc-zstd, zstd or none.
    checksum : bool
        A crc32c behind every chunk.
    """

    dtype: np.dtype
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    compressor: str
    checksum: bool

    def encode(self, block: NDArray[Any]) -> bytes | None:
        """Return the bytes of one file, or None where every bit is 0.

        Parameters
        ----------
        block : ndarray
            The pixels of a chunk, or of a shard where there are shards; smaller at the image's end.
        """
        if self.shards is None:
            return self._chunk(block)
        parts: list[bytes] = []
        index = np.full((*self._grid(), 2), _NOWHERE, "<u8")
        begin = 0
        for position, region in self._inner(block.shape):
            data = self._chunk(block[region])
            if data is not None:
                index[position] = begin, len(data)
                parts.append(data)
                begin += len(data)
        if not parts:
            return None
        table = index.tobytes()
        return b"".join([*parts, table, _checksum(table)])

    def decode(self, data: bytes, shape: tuple[int, ...]) -> NDArray[Any]:
        """Return the pixels of one file.

        Parameters
        ----------
        data : bytes
            What `encode` gave.
        shape : tuple of int
            Of the block that it was given.

        Raises
        ------
        DamagedError
            The bytes cannot be what `encode` gave.
        """
        if self.shards is None:
            return self._pixels(data)[tuple(slice(0, size) for size in shape)]
        entries = int(np.prod(self._grid()))
        table, stored = data[-16 * entries - 4 : -4], data[-4:]
        if len(table) != 16 * entries or _checksum(table) != stored:
            raise DamagedError("the index of a shard is damaged")
        index = np.frombuffer(table, "<u8").reshape(*self._grid(), 2)
        block = np.zeros(shape, self.dtype)
        for position, region in self._inner(shape):
            begin, length = (int(value) for value in index[position])
            if begin != _NOWHERE:
                part = block[region]
                part[...] = self._pixels(data[begin : begin + length])[tuple(map(slice, part.shape))]
        return block

    def _grid(self) -> tuple[int, ...]:
        return tuple(shard // chunk for shard, chunk in zip(self.shards or (), self.chunks, strict=True))

    def _inner(self, shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
        """Yield position and region of each chunk of a shard that lies in a block."""
        counts = [range(-(-size // chunk)) for size, chunk in zip(shape, self.chunks, strict=True)]
        for position in itertools.product(*counts):
            yield (
                position,
                tuple(
                    slice(i * chunk, min((i + 1) * chunk, size))
                    for i, chunk, size in zip(position, self.chunks, shape, strict=True)
                ),
            )

    def _chunk(self, block: NDArray[Any]) -> bytes | None:
        if is_zero(block):
            return None
        if block.shape != self.chunks:
            whole = np.zeros(self.chunks, self.dtype)
            whole[tuple(map(slice, block.shape))] = block
            block = whole
        stored = np.ascontiguousarray(block, self.dtype.newbyteorder("<"))
        data = _coder(self.compressor, self.dtype.itemsize)[0](stored)
        return data + _checksum(data) if self.checksum else data

    def _pixels(self, data: bytes) -> NDArray[Any]:
        if self.checksum:
            if _checksum(data[:-4]) != data[-4:]:
                raise DamagedError("a chunk is damaged")
            data = data[:-4]
        try:
            raw = _coder(self.compressor, self.dtype.itemsize)[1](data)
            stored = np.frombuffer(raw, self.dtype.newbyteorder("<")).reshape(self.chunks)
        except (RuntimeError, ValueError) as error:
            raise DamagedError(str(error)) from error
        return stored.astype(self.dtype, copy=False)


def is_zero(block: NDArray[Any]) -> bool:
    """Return whether every bit is 0: -0.0 is not."""
    if block.size == 0:
        return True
    bits = block.view(f"u{block.dtype.itemsize}")
    # Most blocks that hold anything show it in their first row.
    first = bits[(0,) * (bits.ndim - 1)]
    return not first.any() and not bits.any()


def _checksum(data: bytes) -> bytes:
    return crc32c(data).to_bytes(4, "little")


@functools.cache
def _coder(compressor: str, itemsize: int) -> tuple[Callable[[Any], bytes], Callable[[bytes], bytes]]:
    if compressor == "none":
        return _plain, _plain
    if compressor == "zstd":
        codec = Zstd(level=ZSTD_LEVEL)
    else:
        name = compressor.removeprefix("blosc-")
        codec = Blosc(name, BLOSC_LEVEL[name], Blosc.BITSHUFFLE)
    return codec.encode, codec.decode


def _plain(data: Any) -> bytes:
    return bytes(data)
