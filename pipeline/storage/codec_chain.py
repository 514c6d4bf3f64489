"""The codecs of an array, from pixels to bytes and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numcodecs.blosc import Blosc
from numpy.typing import NDArray

from pipeline.model.image import Region
from pipeline.storage.codec import ONE_SHOT, Decoder, Encoder, SizeError, blosc_size, from_blosc

_ADDED = 64 << 10  # bytes that codecs add to incompressible chunks, beside a small fraction of their size
_WIDER = 8  # times the size of a chunk that filters may hold, as in a wider type


@dataclass(frozen=True)
class CodecChain:
    """The codecs of the chunks of an array, in the order in which they are applied."""

    shape: tuple[int, ...]  # of a chunk
    dtype: np.dtype  # of the decoded pixels, with their byte order
    decode: tuple[Decoder, ...] = ()
    encode: tuple[Encoder, ...] = ()
    unpack: Callable[[bytes], NDArray] | None = None  # decoded bytes → pixels; None for pixels in C order
    packed: int | None = None  # bytes that `unpack` takes, if their number is fixed
    wide: bool = False  # whether a filter may make a chunk larger than its pixels

    @property
    def nbytes(self) -> int:
        """Bytes of a chunk's pixels."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def max_bytes(self) -> int:
        """The most bytes of a chunk, encoded or between two codecs."""
        return (_WIDER if self.wide else 2) * self.nbytes + _ADDED

    @property
    def copies(self) -> int:
        """How many times a chunk is in memory while it is decoded: as stored, and once or twice decoded."""
        if self.wide:
            return _WIDER
        slow = any(step not in ONE_SHOT for step in self.decode)
        return 1 + min(len(self.decode) + slow, 2)

    @property
    def direct(self) -> bool:
        """Whether a whole chunk can be decoded straight into the result."""
        return self.decode[-1:] == (from_blosc,) and self.unpack is None

    def decode_into(self, data: bytes, part: Region, target: NDArray) -> None:
        """Decode a chunk, and copy a part of it into an array of that part's shape.

        Raises
        ------
        SizeError
            The chunk does not decode to its size.
        Exception
            Whatever a codec raises for damaged bytes.
        """
        if not (self.direct and target.shape == self.shape and target.flags.c_contiguous):
            target[...] = self.pixels(data)[part]
            return
        for step in self.decode[:-1]:
            data = step(data, self.max_bytes)
        # Blosc silently fills only a part of a larger target.
        self._check(blosc_size(data), self.nbytes)
        Blosc().decode(data, out=target)

    def pixels(self, data: bytes) -> NDArray:
        """Return all pixels of a chunk."""
        size = self.nbytes if self.unpack is None else self.packed
        for step in self.decode[:-1]:
            data = step(data, self.max_bytes)
        for step in self.decode[-1:]:
            data = step(data, self.max_bytes if size is None else size)
        if size is not None:
            self._check(len(data), size)
        if self.unpack is not None:
            return self.unpack(data)
        return np.frombuffer(data, self.dtype).reshape(self.shape)

    @staticmethod
    def _check(length: int, expected: int) -> None:
        if length != expected:
            raise SizeError(f"it decodes to {length} bytes where there should be {expected}")

    def encoded(self, block: NDArray) -> bytes | None:
        """Encode a chunk, padded with 0 if the array's end cuts it; None if all bits are 0."""
        if is_zero(block):
            return None
        if block.shape != self.shape:
            whole = np.zeros(self.shape, self.dtype)
            whole[tuple(map(slice, block.shape))] = block
            block = whole
        data: Any = np.ascontiguousarray(block, self.dtype)
        for step in self.encode:
            data = step(data)
        return bytes(data)


def is_zero(block: NDArray) -> bool:
    """Return whether every bit is 0: -0.0 is not."""
    if block.size == 0:
        return True
    bits = block.view(f"u{block.dtype.itemsize}")
    # A quick look first: most blocks that are not all 0 have something in their first row.
    first = bits[(0,) * (bits.ndim - 1)]
    return not first.any() and not bits.any()
