"""Pages that tifffile finds: checked to be complete and alike, and made into a store."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Sequence
from operator import add, eq
from typing import TypeAlias

import numpy as np
import tifffile
from numpy.typing import NDArray

from pipeline.model.text import number_of
from pipeline.read.files import damaged, input_error
from pipeline.read.tiff.decode import check_decodable, check_numbers, compression_name
from pipeline.read.tiff.page import kind_text, page_kind, segment_bytes
from pipeline.read.tiff.store import PLANE_DTYPE, TiffStore

AnyPage: TypeAlias = tifffile.TiffPage | tifffile.TiffFrame
# A record of PLANE_DTYPE.
Plane: TypeAlias = tuple[int, int, int, int, bool, bool]

# Planes up to this size are read and filtered whole, larger ones in parts.
_WHOLE_PLANE = 64 << 20
_PART = 4 << 20
# Tags that decide how the pixels of a page are stored.
_KIND_TAGS = (256, 257, 258, 259, 266, 277, 278, 284, 317, 322, 323, 339, 32997, 32998)
_KIND_CODES = {order: {struct.pack(f"{order}H", tag) for tag in _KIND_TAGS} for order in "<>"}


def locate(page: AnyPage, path: str, size: int, file: int = 0) -> Plane:
    """Check how a page is stored, and return where.

    Parameters
    ----------
    page : tifffile.TiffPage or tifffile.TiffFrame
        A page that holds one plane.
    path : str
        Path of its file.
    size : int
        Size of that file in bytes.
    file : int
        Index of that file in the stack.

    Raises
    ------
    RequestError
        The pixels reach beyond the file's end, or cannot be decoded, or the page differs from its keyframe.
    """
    index, *below = page.treeindex
    offsets, counts = page.dataoffsets, page.databytecounts
    if not offsets:
        raise damaged(path, f"its page {index} has no pixels")
    _check_kind(page, path)
    ends = list(map(add, offsets, counts))
    end = max(ends, default=0)
    # A frame takes `is_final` from its keyframe, and its own strips may still be scattered.
    in_one_piece = page.is_final and all(map(eq, offsets[1:], ends))
    if in_one_piece:
        end = max(end, offsets[0] + page.keyframe.nbytes)
    if end > size:
        raise damaged(path, f"its page {index} reaches to byte {end} of {size}")
    sparse = not page.is_final and (0 in offsets or 0 in counts)
    offset = offsets[0] if in_one_piece else -1
    return file, index, below[0] if below else -1, offset, page.parent.byteorder == ">", sparse


def _check_kind(page: AnyPage, path: str) -> None:
    """Refuse a page that cannot be decoded, or that differs from the keyframe tifffile takes for it."""
    if not page.is_frame:
        check_decodable(page, path)
        return
    # The bytes of the tags tell most pages without parsing them.
    if page.is_virtual or _kind_bytes(page) == _kind_bytes(page.keyframe):
        return
    whole = page.aspage()
    kind, expected = page_kind(whole), page_kind(page.keyframe)
    if kind != expected:
        message = (
            f"page {page.index} of {path!r} is {kind_text(kind)}, and the others are {kind_text(expected)}"
        )
        raise input_error(message, "leave it out, or convert it")
    check_decodable(whole, path)


def _kind_bytes(page: AnyPage) -> list[bytes]:
    """Return the tags that say how a page's pixels are stored, as they stand in the file."""
    layout, file = page.parent.tiff, page.parent.filehandle
    file.seek(page.offset)
    (count,) = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))
    data = file.read(count * layout.tagsize)
    starts, codes = range(0, len(data), layout.tagsize), _KIND_CODES[layout.byteorder]
    return [data[start : start + layout.tagsize] for start in starts if data[start : start + 2] in codes]


def contiguous_planes(keyframe: tifffile.TiffPage, offset: int, count: int, path: str, size: int) -> NDArray:
    """Return `count` uncompressed planes that follow each other from `offset`, in a file of `size` bytes."""
    end = offset + count * keyframe.nbytes
    if end > size:
        raise damaged(path, f"it says {count} planes, and holds {max(0, size - offset) // keyframe.nbytes}")
    planes = np.zeros(count, PLANE_DTYPE)
    planes["page"] = np.arange(count)
    planes["subifd"] = -1
    planes["offset"] = offset + keyframe.nbytes * np.arange(count)
    planes["big_endian"] = keyframe.parent.byteorder == ">"
    return planes


def make_store(
    paths: Sequence[str],
    planes: NDArray | list[Plane],
    lead: tuple[int, ...],
    keyframe: tifffile.TiffPage,
    note: str,
) -> TiffStore:
    """Return a store of planes, in C order of the leading axes, that are all like the keyframe."""
    shape = (*lead, keyframe.imagelength, keyframe.imagewidth)
    chunks = (1,) * len(lead) + _plane_chunk(keyframe)
    files, dtype = tuple(map(os.path.abspath, paths)), keyframe.dtype.newbyteorder("=")
    stack = np.array(planes, PLANE_DTYPE).reshape(lead)
    compression = compression_name(keyframe)
    return TiffStore(files, stack, shape, dtype, chunks, note, segment_bytes(keyframe), compression)


def sparse_note(planes: NDArray) -> tuple[str, ...]:
    """Return a note if strips or tiles of the planes are missing."""
    count = int(planes["sparse"].sum())
    text = f"{count} of {number_of(planes.size, 'plane')}"
    return (f"strips or tiles of {text} hold nothing, and are read as 0",) if count else ()


def _plane_chunk(keyframe: tifffile.TiffPage) -> tuple[int, int]:
    """Return rows and columns that are best read at once: the whole plane, unless it is huge."""
    rows, columns, nbytes = keyframe.imagelength, keyframe.imagewidth, keyframe.dtype.itemsize
    if rows * columns * nbytes <= _WHOLE_PLANE:
        return rows, columns
    if keyframe.is_tiled:
        height, width = keyframe.tilelength, keyframe.tilewidth
        times = max(1, round(math.sqrt(_PART / (height * width * nbytes))))
        return min(rows, height * times), min(columns, width * times)
    if keyframe.is_final:
        side = round(math.sqrt(_PART / nbytes))
        return min(rows, side), min(columns, side)
    strip = keyframe.rowsperstrip
    return min(rows, strip * max(1, _PART // (strip * columns * nbytes))), columns


def check_samples(keyframe: tifffile.TiffPage, path: str) -> None:
    """Refuse colour pictures, and pages that hold more than one plane."""
    check_numbers(keyframe, path)
    samples = keyframe.samplesperpixel
    if samples < 1 or not all(0 < side < 1 << 31 for side in (keyframe.imagelength, keyframe.imagewidth)):
        size = f"{keyframe.imagelength} × {keyframe.imagewidth} px with {samples} samples a pixel"
        raise damaged(path, f"its page {keyframe.index} is {size}")
    if samples > 1:
        photometric = getattr(keyframe.photometric, "name", str(keyframe.photometric))
        name = "RGBA" if samples == 4 and photometric == "RGB" else photometric
        colour = name in ("RGB", "RGBA", "YCBCR", "CMYK")
        message = f"is a colour picture ({name}) with" if colour else "has"
        raise input_error(
            f"{path!r} {message} {samples} samples a pixel",
            "split its colours into channels, or convert it to grey",
        )
    if keyframe.imagedepth != 1:
        raise input_error(
            f"{path!r} holds {keyframe.imagedepth} planes in one page", "convert it to OME-TIFF"
        )
    if keyframe.dtype is None:
        kind = f"{keyframe.bitspersample} bits a pixel, format {int(keyframe.sampleformat)}"
        raise input_error(
            f"{path!r} has pixels of a kind that nobody reads ({kind})", "convert it to 8 or 16 bits"
        )
