"""Codecs of chunks, with decoders that stop at a chunk's size.

A few damaged or malicious bytes can decode to gigabytes. The size of a chunk is known from the metadata, and
no decoder here allocates more.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any

import google_crc32c
import imagecodecs
import numcodecs
from numcodecs.blosc import Blosc

Encoder = Callable[[Any], bytes]
Decoder = Callable[[bytes, int], bytes]  # (encoded bytes, the most that they may decode to) → decoded bytes

_BLOSC_LEVEL = {"lz4": 5, "zstd": 1}
_ZSTD_LEVEL = 1
_PIECE = 1 << 20
_MOST_PARTS = 4096
_LZMA_MEMORY = 256 << 20  # for the decoder's dictionary: four times what the strongest preset takes


class SizeError(ValueError):
    """A chunk does not decode to its size."""


def too_large(most: int, size: int | None = None) -> SizeError:
    """Return the error for bytes that decode to more than they may."""
    return SizeError(f"it decodes to {'more' if size is None else size} bytes where there should be {most}")


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of bytes."""
    return int(google_crc32c.value(data))


def with_crc32c(data: bytes) -> bytes:
    """Append a checksum to bytes."""
    return data + crc32c(data).to_bytes(4, "little")


def checked_crc32c(data: bytes, most: int) -> bytes:
    """Return bytes without the checksum at their end, or raise ValueError if that is wrong."""
    body, checksum = data[:-4], data[-4:]
    if crc32c(body).to_bytes(4, "little") != checksum:
        raise ValueError("a checksum does not fit its chunk")
    return body


def compressor_of(name: str) -> Blosc | numcodecs.Zstd | None:
    """Return the numcodecs codec of a config's `output.compressor`."""
    if name == "none":
        return None
    if name == "zstd":
        return numcodecs.Zstd(level=_ZSTD_LEVEL)
    inner = name.removeprefix("blosc-")
    return Blosc(inner, _BLOSC_LEVEL[inner], Blosc.BITSHUFFLE)


def decoder_of(codec: Any) -> Decoder | None:
    """Return the bounded decoder of a numcodecs codec, or None if there is none."""
    return _lzma_decoder(codec) if type(codec) is numcodecs.LZMA else _DECODERS.get(type(codec))


def from_blosc(data: bytes, most: int) -> bytes:
    """Decode Blosc."""
    if (size := blosc_size(data)) > most:
        raise too_large(most, size)
    return bytes(Blosc().decode(data))


def blosc_size(data: bytes) -> int:
    """Return the decoded size in a Blosc header; raise ValueError if the chunk was cut."""
    # Blosc would read beyond the end of a chunk that was cut.
    if len(data) < 16 or int.from_bytes(data[12:16], "little") != len(data):
        raise ValueError(f"it has {len(data)} bytes and should have another number")
    return int.from_bytes(data[4:8], "little")


def from_zstd(data: bytes, most: int) -> bytes:
    """Decode Zstandard."""
    if not data:
        raise ValueError("it is empty")
    try:
        return bytes(imagecodecs.zstd_decode(data, out=most))
    except imagecodecs.ZstdError as error:
        raise too_large(most) if "too small" in str(error) else ValueError(str(error)) from None


def from_lz4(data: bytes, most: int) -> bytes:
    """Decode LZ4 as numcodecs writes it: the size in four bytes, then one block."""
    size = int.from_bytes(data[:4], "little")
    if len(data) <= 4 or not 0 < size <= most:
        raise too_large(most, size)
    return bytes(numcodecs.LZ4().decode(data))


def from_gzip(data: bytes, most: int) -> bytes:
    """Decode gzip, of one member or several."""
    return _in_parts(lambda: zlib.decompressobj(wbits=31), data, most)


def from_zlib(data: bytes, most: int) -> bytes:
    """Decode zlib."""
    return _in_parts(zlib.decompressobj, data, most)


def from_bz2(data: bytes, most: int) -> bytes:
    """Decode bzip2."""
    return _in_parts(bz2.BZ2Decompressor, data, most)


def _lzma_decoder(codec: Any) -> Decoder:
    bounded = {} if codec.format == lzma.FORMAT_RAW else {"memlimit": _LZMA_MEMORY}
    return lambda data, most: _in_parts(
        lambda: lzma.LZMADecompressor(codec.format, filters=codec.filters, **bounded), data, most
    )


def _in_parts(engine_of: Callable[[], Any], data: bytes, most: int) -> bytes:
    """Decode one stream, or several behind each other, up to a number of bytes."""
    try:
        return _stream(engine_of, data, most)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        # Damaged bytes, whatever the class: an OSError would be taken for a fault of the disk.
        raise ValueError(str(error)) from error


def _stream(engine_of: Callable[[], Any], data: bytes, most: int) -> bytes:
    result, at, engine, parts = bytearray(), 0, engine_of(), 1
    view = memoryview(data)
    while at < len(view):
        if engine.eof:
            # Zeros behind the last part are padding.
            if not view[at : at + _PIECE].tobytes().strip(b"\0"):
                at += _PIECE
                continue
            engine, parts = engine_of(), parts + 1
            if parts > _MOST_PARTS:
                raise ValueError(f"it has more than {_MOST_PARTS} parts")
        piece = view[at : at + _PIECE]
        result += engine.decompress(piece, most + 1 - len(result))
        # zlib hands back what it has not taken in; the others keep it until they are called again.
        while len(result) <= most and not engine.eof and not getattr(engine, "needs_input", True):
            result += engine.decompress(b"", most + 1 - len(result))
        if len(result) > most:
            raise too_large(most)
        at += len(piece) - len(getattr(engine, "unconsumed_tail", b"")) - len(engine.unused_data)
    if not engine.eof:
        raise ValueError("it ends too early")
    return bytes(result)


_DECODERS: dict[type, Decoder] = {
    Blosc: from_blosc,
    numcodecs.Zstd: from_zstd,
    numcodecs.LZ4: from_lz4,
    numcodecs.Zlib: from_zlib,
    numcodecs.GZip: from_gzip,
    numcodecs.BZ2: from_bz2,
}

# These decode a chunk in one go; the others hold it once more while they join its pieces.
ONE_SHOT = (from_blosc, from_zstd, from_lz4, checked_crc32c)
