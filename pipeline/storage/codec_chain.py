"""The steps between the pixels of a chunk and its bytes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numcodecs.blosc import Blosc
from numpy.typing import NDArray

from pipeline.model.image import Region
from pipeline.storage.codec import GIVE_AT_ONCE, Decoder, Encoder, SizeError, blosc_size, from_blosc

_ADDED = 64 << 10
"""What codecs add to a chunk that cannot be made smaller, beside a small part of it."""

_WIDER = 8
"""Filters may keep pixels in a type that is so many times wider, or hold them so many times."""


@dataclass(frozen=True)
class CodecChain:
    """How the pixels of a chunk become bytes, and bytes its pixels.

    Parameters
    ----------
    shape : tuple of int
        Of a chunk.
    dtype : numpy.dtype
        Of its pixels as they are decoded, byte order included.
    decode, encode : tuple of callable
        What turns a chunk's bytes into the bytes of its pixels and back, in this order.
    unpack : callable, optional
        What turns the decoded bytes into pixels; without it they are the pixels in C's order.
    packed : int, optional
        Bytes that `unpack` takes, where that is one number.
    wide : bool
        Whether a step may make more of a chunk than its pixels, and bring it back.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    decode: tuple[Decoder, ...] = ()
    encode: tuple[Encoder, ...] = ()
    unpack: Callable[[bytes], NDArray] | None = None
    packed: int | None = None
    wide: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of a chunk's pixels."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def most(self) -> int:
        """The most that a chunk takes encoded, or between two steps."""
        return (_WIDER if self.wide else 2) * self.nbytes + _ADDED

    @property
    def copies(self) -> int:
        """How many times a chunk is held while it is decoded: as stored, and once or twice decoded."""
        if self.wide:
            return _WIDER
        slow = any(step not in GIVE_AT_ONCE for step in self.decode)
        return 1 + min(len(self.decode) + slow, 2)

    @property
    def direct(self) -> bool:
        """Whether a whole chunk can be decoded into the place where its pixels shall be."""
        return self.decode[-1:] == (from_blosc,) and self.unpack is None

    def place(self, data: bytes, part: Region, target: NDArray) -> None:
        """Decode a chunk and put a part of its pixels into an array of that part's shape.

        Raises
        ------
        SizeError
            It becomes another number of bytes than its pixels have.
        Exception
            Whatever a codec raises at bytes that are damaged.
        """
        if not (self.direct and target.shape == self.shape and target.flags.c_contiguous):
            target[...] = self.pixels(data)[part]
            return
        for step in self.decode[:-1]:
            data = step(data, self.most)
        # It fills a larger target only in part, and says nothing.
        self._check(blosc_size(data), self.nbytes)
        Blosc().decode(data, out=target)

    def pixels(self, data: bytes) -> NDArray:
        """Return all pixels of a chunk."""
        size = self.nbytes if self.unpack is None else self.packed
        for step in self.decode[:-1]:
            data = step(data, self.most)
        for step in self.decode[-1:]:
            data = step(data, self.most if size is None else size)
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
        """Return the bytes of a chunk, or None where every bit is 0; at an image's end it is filled up."""
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
    # Most blocks that hold anything show it in their first row.
    first = bits[(0,) * (bits.ndim - 1)]
    return not first.any() and not bits.any()
