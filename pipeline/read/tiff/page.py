"""Reading a region of a TIFF page: only the rows, strips or tiles that it needs."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import tifffile
from numpy.typing import NDArray

from pipeline.read.tiff.decode import decode, segment_shape
from pipeline.read.tiff.handles import TiffHandle

# None, LZW, deflate in its two numbers, PackBits, LZMA, Zstandard.
_BYTEWISE = {1, 5, 8, 32946, 32773, 34925, 50000}
# Neighbouring strips or rows are read in one go up to this many bytes; more is not faster.
SPAN = 4 << 20
# Memory of image codecs such as JPEG 2000, in decoded strips or tiles.
_PICTURES = 4
# A region narrower than this share of a row is read row by row, without the pixels beside it.
_NARROW = 0.25

# What all pages of a stack have in common: (rows, columns), dtype, and samples of a pixel.
PageKind = tuple[tuple[int, ...], np.dtype, int]


def page_kind(page: tifffile.TiffPage) -> PageKind:
    """Return the kind of a page."""
    dtype = np.dtype("V") if page.dtype is None else page.dtype.newbyteorder("=")
    return (page.imagelength, page.imagewidth), dtype, page.samplesperpixel * page.imagedepth


def kind_text(kind: PageKind) -> str:
    """Return a kind of page in words.

    >>> kind_text(((64, 32), np.dtype("uint16"), 1))
    '64 × 32 uint16'
    """
    (rows, columns), dtype, samples = kind
    return f"{rows} × {columns} {dtype}" + (f" with {samples} samples a pixel" if samples > 1 else "")


def read_rows(
    file: TiffHandle, offset: int, width: int, dtype: np.dtype, ys: slice, xs: slice, target: NDArray
) -> None:
    """Read a region of an uncompressed plane into `target`.

    Parameters
    ----------
    file : TiffHandle
        The file.
    offset : int
        Position of the plane's first pixel in the file.
    width : int
        Pixels in a row of the plane.
    dtype : numpy.dtype
        As stored, byte order included.
    ys, xs : slice
        The region.
    target : numpy.ndarray
        The region's pixels: 2-D, C-contiguous, in native byte order.
    """
    height, columns = target.shape
    row = width * dtype.itemsize
    if columns == width:
        file.read_into(target, offset + ys.start * row)
    elif columns >= _NARROW * width:
        rows = np.empty((min(height, max(1, SPAN // row)), width), target.dtype)
        for top in range(0, height, len(rows)):
            block = rows[: height - top]
            file.read_into(block, offset + (ys.start + top) * row)
            target[top : top + len(block)] = block[:, xs]
    else:
        first = offset + ys.start * row + xs.start * dtype.itemsize
        for index in range(height):
            file.read_into(target[index], first + index * row)
    if not dtype.isnative:
        target.byteswap(inplace=True)


def read_page(file: TiffHandle, page: tifffile.TiffPage, ys: slice, xs: slice, target: NDArray) -> None:
    """Read a region of a page into `target`."""
    if page.is_final:
        dtype = np.dtype(page.parent.byteorder + page.dtype.char)
        read_rows(file, page.dataoffsets[0], page.imagewidth, dtype, ys, xs, target)
        return
    for index, data in _segments(file, page, ys, xs):
        segment, top, left, (rows, columns) = decode(page, data, index)
        bottom, right = min(top + rows, page.imagelength), min(left + columns, page.imagewidth)
        y0, y1 = max(top, ys.start), min(bottom, ys.stop)
        x0, x1 = max(left, xs.start), min(right, xs.stop)
        pixels = page.nodata if segment is None else segment[y0 - top : y1 - top, x0 - left : x1 - left]
        target[y0 - ys.start : y1 - ys.start, x0 - xs.start : x1 - xs.start] = pixels


def segment_bytes(page: tifffile.TiffPage) -> int:
    """Return the most bytes that a strip or tile takes, stored and decoded; 0 if it is uncompressed."""
    if page.is_final:
        return 0
    segment = math.prod(page.chunks) * page.dtype.itemsize
    foreign = not np.dtype(page.parent.byteorder + page.dtype.char).isnative
    # The predictor of floats is undone in a copy, and so is the other byte order.
    decoded = 1 + (foreign or (page.predictor != 1 and page.dtype.kind == "f"))
    plain = page.compression in _BYTEWISE
    return (1 + decoded + (0 if plain else _PICTURES)) * segment


def _segments(
    file: TiffHandle, page: tifffile.TiffPage, ys: slice, xs: slice
) -> Iterator[tuple[int, bytes | None]]:
    """Yield index and stored bytes of a region's strips or tiles, None for those that are missing."""
    offsets, counts = page.dataoffsets, page.databytecounts
    height, width = segment_shape(page)
    across = -(-page.imagewidth // width)
    group: list[int] = []
    start = stop = 0
    for row in range(ys.start // height, -(-ys.stop // height)):
        for index in range(row * across + xs.start // width, row * across - (-xs.stop // width)):
            if not counts[index] or not offsets[index]:
                yield index, None
                continue
            end = offsets[index] + counts[index]
            if offsets[index] != stop or end - start > SPAN:
                yield from _read_group(file, page, group)
                group, start = [], offsets[index]
            group.append(index)
            stop = end
    yield from _read_group(file, page, group)


def _read_group(file: TiffHandle, page: tifffile.TiffPage, group: list[int]) -> Iterator[tuple[int, bytes]]:
    if not group:
        return
    offsets, counts = page.dataoffsets, page.databytecounts
    start, last = offsets[group[0]], group[-1]
    data = file.read(start, offsets[last] + counts[last] - start)
    for index in group:
        begin = offsets[index] - start
        yield index, data[begin : begin + counts[index]]
