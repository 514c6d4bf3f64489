"""Pages that tifffile finds, made into a store: complete, alike, inside their files."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from operator import add, eq
from typing import TypeAlias

import numpy as np
import tifffile

from pipeline.model.text import number_of
from pipeline.read.files import damaged, input_error
from pipeline.read.tiff.decode import check_decodable, check_numbers
from pipeline.read.tiff.page import kind_text, page_kind, segment_bytes
from pipeline.read.tiff.store import Planes, Raw, TiffStore

AnyPage: TypeAlias = tifffile.TiffPage | tifffile.TiffFrame
# A plane up to this size is read and filtered whole; of a larger one, parts.
_WHOLE_PLANE = 64 << 20
_PART = 4 << 20


@dataclass(frozen=True)
class Located:
    """A page, and where its pixels are.

    Parameters
    ----------
    path : str
        Its file, absolute.
    index, subifd : int
        Which page, and which sub-page of it, or -1.
    start : int
        Where its pixels begin in the file.
    raw : bool
        Whether they lie there in one piece, as they are.
    holes : bool
        Whether strips or tiles of it hold nothing.
    """

    path: str
    index: int
    subifd: int
    start: int
    raw: bool = False
    holes: bool = False


def locate(page: AnyPage, size: int, path: str) -> Located:
    """Return where a page is, having looked at how it is stored.

    Raises
    ------
    RequestError
        Its pixels reach beyond the file's `size` in bytes, or cannot be decoded, or it is not like the
        first of its stack.
    """
    index, *below = page.treeindex
    offsets, counts = page.dataoffsets, page.databytecounts
    if not offsets:
        raise damaged(path, f"its page {index} has no pixels")
    _check_kind(page, path)
    ends = list(map(add, offsets, counts))
    end = max(ends, default=0)
    raw = page.is_final and all(map(eq, offsets[1:], ends))
    if raw:
        end = max(end, offsets[0] + page.keyframe.nbytes)
    if end > size:
        raise damaged(path, f"its page {index} reaches to byte {end} of {size}")
    holes = not page.is_final and (0 in offsets or 0 in counts)
    return Located(path, index, below[0] if below else -1, offsets[0], raw, holes)


# What decides how a page's pixels are stored.
_KIND_TAGS = (256, 257, 258, 259, 266, 277, 278, 284, 317, 322, 323, 339, 32997, 32998)
_KIND_CODES = {order: {struct.pack(f"{order}H", tag) for tag in _KIND_TAGS} for order in "<>"}


def _check_kind(page: AnyPage, path: str) -> None:
    """Refuse a page that cannot be decoded, or that tifffile takes to be like another and is not."""
    if not page.is_frame:
        check_decodable(page, path)
        return
    if page.is_virtual or _kind_bytes(page) == _kind_bytes(page.keyframe):
        return
    whole = page.aspage()
    kind, expected = page_kind(whole), page_kind(page.keyframe)
    if kind != expected:
        what = f"page {page.index} of {path!r} is {kind_text(kind)}, and the others are {kind_text(expected)}"
        raise input_error(what, "leave it out, or convert it")
    check_decodable(whole, path)


def _kind_bytes(page: AnyPage) -> list[bytes]:
    """Return a page's tags that say how its pixels are stored, as they stand in the file."""
    layout, file = page.parent.tiff, page.parent.filehandle
    file.seek(page.offset)
    (count,) = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))
    data = file.read(count * layout.tagsize)
    starts, codes = range(0, len(data), layout.tagsize), _KIND_CODES[layout.byteorder]
    return [data[at : at + layout.tagsize] for at in starts if data[at : at + 2] in codes]


def holes_note(located: Sequence[Located]) -> tuple[str, ...]:
    """Return what is to be said of planes that are not whole in their file."""
    count = sum(page.holes for page in located)
    planes = f"{count} of {number_of(len(located), 'plane')}"
    return (f"strips or tiles of {planes} hold nothing, and are read as 0",) if count else ()


def make_store(
    located: Sequence[Located], keyframe: tifffile.TiffPage, lead: tuple[int, ...], note: str = ""
) -> TiffStore:
    """Return a store of planes.

    Parameters
    ----------
    located : sequence of Located
        The planes, in C order of the leading axes.
    keyframe : tifffile.TiffPage
        What all of them are like.
    lead : tuple of int
        Sizes of the leading axes.
    note : str
        What tells this stack from others in the same files.
    """
    numbers: dict[str, int] = {}
    file = [numbers.setdefault(page.path, len(numbers)) for page in located]
    raw = evenly_raw(located, keyframe)
    pages = list(range(len(located))) if raw else [page.index for page in located]
    planes = Planes(np.array(file, np.int32), np.array(pages, np.int32), located[0].subifd, raw)
    return store_of(tuple(numbers), planes, keyframe, lead, note)


def store_of(
    paths: tuple[str, ...], planes: Planes, keyframe: tifffile.TiffPage, lead: tuple[int, ...], note: str
) -> TiffStore:
    """Return a store of planes whose places are known."""
    shape = (*lead, keyframe.imagelength, keyframe.imagewidth)
    chunks = (1,) * len(lead) + _plane_chunk(keyframe)
    files, dtype = tuple(map(os.path.abspath, paths)), keyframe.dtype.newbyteorder("=")
    return TiffStore(files, planes, shape, dtype, chunks, note, segment_bytes(keyframe))


def evenly_raw(located: Sequence[Located], keyframe: tifffile.TiffPage) -> Raw | None:
    """Return how planes lie where all are raw, in one file, evenly spaced."""
    if not all(page.raw and page.path == located[0].path for page in located):
        return None
    starts = np.array([page.start for page in located], np.int64)
    strides = np.unique(np.diff(starts))
    if len(strides) > 1 or strides.min(initial=1) <= 0:
        return None
    return Raw(starts[:1].copy(), int(strides[0]) if len(strides) else 0, keyframe.parent.byteorder)


def raw_planes(keyframe: tifffile.TiffPage, offset: int, count: int, path: str, size: int) -> Planes:
    """Return planes that follow each other in one file without headers of their own, all there."""
    end = offset + count * keyframe.nbytes
    if end > size:
        raise damaged(path, f"it says {count} planes, and holds {max(0, size - offset) // keyframe.nbytes}")
    stride = keyframe.nbytes if count > 1 else 0
    raw = Raw(np.array([offset], np.int64), stride, keyframe.parent.byteorder)
    return Planes(np.zeros(count, np.int32), np.arange(count, dtype=np.int32), -1, raw)


def _plane_chunk(keyframe: tifffile.TiffPage) -> tuple[int, int]:
    """Return what of a plane is best read at once: all of it, unless it is huge."""
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
        what = f"is a colour picture ({name}) with" if colour else "has"
        raise input_error(
            f"{path!r} {what} {samples} samples a pixel",
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
