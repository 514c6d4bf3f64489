"""The size of the image in a compressed stream, read from its header before it is decoded."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

# Rows, columns and samples of a pixel; 0 samples if they take more than a look at the header.
StreamShape = tuple[int, int, int]

# Markers of a frame (SOF), and those that no length follows.
_JPEG_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = {0x01, *range(0xD0, 0xDA)}
_PNG_SAMPLES = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def _jpeg(data: bytes) -> StreamShape:
    """Return the size in the first frame header (ITU T.81, B.2.2)."""
    start = 2
    while start + 4 <= len(data):
        if data[start] != 0xFF:
            break
        marker = data[start + 1]
        if marker == 0xFF:  # padding
            start += 1
        elif marker in _JPEG_ALONE:
            start += 2
        elif marker in _JPEG_FRAMES:
            rows, columns, samples = struct.unpack_from(">HHB", data, start + 5)
            return rows, columns, samples
        else:
            start += 2 + max(2, struct.unpack_from(">H", data, start + 2)[0])
    raise ValueError("it is no JPEG with a frame")


def _jpeg2k(data: bytes) -> StreamShape:
    """Return the size of a codestream, bare or in a JP2 file."""
    stream = data if data.startswith(b"\xff\x4f") else _in_boxes(data, (b"jp2c",))
    if not stream.startswith(b"\xff\x4f\xff\x51"):
        raise ValueError("it is no JPEG 2000")
    x1, y1, x0, y0 = struct.unpack_from(">4I", stream, 8)
    (samples,) = struct.unpack_from(">H", stream, 40)
    return max(0, y1 - y0), max(0, x1 - x0), samples


def _in_boxes(data: bytes, kinds: tuple[bytes, ...]) -> bytes:
    """Return the content of the first box of a kind (ISO/IEC 15444-1, annex I), or no bytes."""
    start = 0
    while start + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, start)
        kind, head = data[start + 4 : start + 8], 8
        if length == 1:
            (length,), head = struct.unpack_from(">Q", data, start + 8), 16
        if kind in kinds:
            return data[start + head : start + length if length else None]
        if length < head:
            break
        start += length
    return b""


def _png(data: bytes) -> StreamShape:
    columns, rows, _, kind = struct.unpack_from(">IIBB", data, 16)
    return rows, columns, _PNG_SAMPLES.get(kind, 4)


def _lerc(data: bytes) -> StreamShape:
    """Return the size of a Lerc2 blob; Lerc1 has another header."""
    if data[:6] == b"Lerc2 ":
        (version,) = struct.unpack_from("<i", data, 6)
        start = 14 if version >= 3 else 10  # after a checksum
        rows, columns = struct.unpack_from("<2I", data, start)
        samples = 1
        if version >= 4:
            (samples,) = struct.unpack_from("<I", data, start + 8)
            start += 4
        (length,) = struct.unpack_from("<I", data, start + 16)
        # A second blob would be another band.
        return rows, columns, max(samples, 1 + (data.find(b"Lerc2 ", max(6, length)) >= 0))
    if data[:10] == b"CntZImage ":
        rows, columns = struct.unpack_from("<2I", data, 18)
        return rows, columns, 1
    raise ValueError("it is no LERC")


def _jpegxl(data: bytes) -> StreamShape:
    """Return the size of a codestream, bare or in boxes (ISO/IEC 18181-1, SizeHeader)."""
    stream = data if data.startswith(b"\xff\x0a") else _in_boxes(data, (b"jxlc", b"jxlp"))
    stream = stream if stream.startswith(b"\xff\x0a") else stream[4:]  # a jxlp box begins with its index
    if not stream.startswith(b"\xff\x0a"):
        raise ValueError("it is no JPEG XL")
    bits = int.from_bytes(stream[2:18], "little")

    def take(count: int) -> int:
        nonlocal bits
        bits, value = bits >> count, bits & ((1 << count) - 1)
        return value

    def side() -> int:
        return 8 * (take(5) + 1) if small else 1 + take((9, 13, 18, 30)[take(2)])

    small = take(1)
    rows, ratio = side(), take(3)
    over, under = _JXL_RATIOS[ratio - 1]
    columns = rows * over // under if ratio else side()
    return rows, columns, 0


_SHAPES: Mapping[str, Callable[[bytes], StreamShape]] = {
    "jpeg": _jpeg,
    "jpeg2k": _jpeg2k,
    "jpegxl": _jpegxl,
    "lerc": _lerc,
    "png": _png,
}


def stream_shape(codec: str, data: bytes) -> StreamShape:
    """Return the size of the image in a stream, or raise ValueError or struct.error if it is none."""
    return _SHAPES[codec](data)
