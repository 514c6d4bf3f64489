"""Decoding strips and tiles of TIFF pages, to no more bytes than the page says."""

from __future__ import annotations

import imagecodecs
import tifffile
from numpy.typing import NDArray

from pipeline.model.errors import RequestError
from pipeline.model.text import first_line
from pipeline.read.files import damaged, input_error
from pipeline.read.tiff.codestreams import stream_shape

_JPEG = {6, 7, 33007, 34892}
# Codecs whose streams have a header with the size of the image, which need not be that of the strip or tile.
_STREAMS = {
    **dict.fromkeys(_JPEG, "jpeg"),
    **dict.fromkeys((33003, 33004, 33005, 34712), "jpeg2k"),
    **dict.fromkeys((50002, 52546), "jpegxl"),
    34933: "png",
    34887: "lerc",
}
# WebP stores colours only, and Jetraw needs a licensed library. The decoder of JPEG XR, jxrlib, crashes and
# asks for terabytes where a few bits of a stream are wrong.
_UNSUPPORTED = {50001, 34927, 48124, 22610, 34934}
# The largest ratio of decoded to stored bytes that a codec can reach.
_MOST_GROWTH = {1: 1, 5: 2800, 8: 1100, 32946: 1100, 32773: 64}
# Tiles are padded to a multiple of 16, and may be larger than a small image, but not by any size.
_MOST_SIDE = 1 << 12
# tifffile's names of tags that must be one integer.
_NUMBERS = (
    "imagelength", "imagewidth", "imagedepth", "samplesperpixel", "bitspersample", "rowsperstrip",
    "tilelength", "tilewidth", "compression", "predictor", "planarconfig", "fillorder",
)  # fmt: skip


def check_numbers(page: tifffile.TiffPage, path: str) -> None:
    """Refuse a page whose sizes are texts, floats or several numbers: the type of a tag is free."""
    values = {name: getattr(page, name) for name in _NUMBERS}
    values |= {"offset": next(iter(page.dataoffsets), 0), "byte count": next(iter(page.databytecounts), 0)}
    wrong = [f"{str(value)[:20]!r} as {name}" for name, value in values.items() if not isinstance(value, int)]
    # Samples of different depths have several numbers; such pages are refused as colour pictures.
    if wrong and page.samplesperpixel == 1:
        raise damaged(path, f"its page {page.index} has {wrong[0]}")


def check_decodable(page: tifffile.TiffPage, path: str) -> None:
    """Refuse a page whose strips or tiles cannot be decoded or do not cover it, by its tags alone."""
    check_numbers(page, path)
    if page.predictor == 3 and page.dtype is not None and page.dtype.kind != "f":
        raise damaged(path, f"its page {page.index} has {page.dtype} pixels and a predictor for floats")
    index, name = page.index, getattr(page.compression, "name", str(page.compression))
    if int(page.compression) in _UNSUPPORTED or not _available(int(page.compression)):
        raise _undecodable(f"page {index} of {path!r} is compressed in a way that cannot be decoded ({name})")
    rows, columns = segment_shape(page)
    fits = (
        0 < side <= max(_MOST_SIDE, size + 15)
        for side, size in ((rows, page.imagelength), (columns, page.imagewidth))
    )
    if not all(fits):
        kind = "tiles" if page.is_tiled else "strips"
        raise damaged(path, f"its page {index} has {kind} of {rows} × {columns} px")
    down, across = -(-page.imagelength // rows), -(-page.imagewidth // columns)
    count = len(page.dataoffsets)
    if count != down * across or count != len(page.databytecounts):
        raise damaged(path, f"its page {index} needs {down * across} strips or tiles, and names {count}")
    growth, stored = _MOST_GROWTH.get(int(page.compression)), sum(page.databytecounts)
    complete = not page.is_final and all(page.databytecounts) and all(page.dataoffsets)
    if growth and complete and page.imagelength * page.imagewidth * page.bitspersample > 8 * growth * stored:
        size = f"{page.imagelength} × {page.imagewidth} px"
        raise damaged(path, f"its page {index} of {size} cannot be in {stored} bytes")
    try:
        page.decode(None, 0)
    # tifffile raises ValueError, NotImplementedError, ZeroDivisionError and more.
    except Exception as error:
        raise _undecodable(f"page {index} of {path!r} cannot be decoded: {first_line(error)}") from error


def _undecodable(message: str) -> RequestError:
    return input_error(message, "convert it, for example with Fiji, to a TIFF without compression")


def compression_name(page: tifffile.TiffPage) -> str:
    """Return the name of a page's compression as TIFF writers call it, or an empty string."""
    name = str(getattr(page.compression, "name", page.compression))
    if int(page.compression) == 1:
        return ""
    return "deflate" if name in ("ADOBE_DEFLATE", "DEFLATE") else name


def segment_shape(page: tifffile.TiffPage) -> tuple[int, int]:
    """Return rows and columns of a full strip or tile."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return page.rowsperstrip, page.imagewidth


def decode(
    page: tifffile.TiffPage, data: bytes | None, index: int
) -> tuple[NDArray | None, int, int, tuple[int, int]]:
    """Decode a strip or tile of a page with one sample a pixel.

    Parameters
    ----------
    page : tifffile.TiffPage
        The page.
    data : bytes or None
        The strip or tile as stored, or None if it is missing.
    index : int
        Its index in the page.

    Returns
    -------
    tuple
        Its pixels, or None; row and column of its first pixel in the page; its rows and columns.

    Raises
    ------
    ValueError
        It has another shape or dtype than it should.
    """
    _, (_, _, top, left, _), (_, rows, columns, _) = page.decode(None, index, _fullsize=False)
    if data is None:
        return None, top, left, (rows, columns)
    codec = _STREAMS.get(int(page.compression), "")
    if codec:
        # Before decoding: a small stream may hold an image larger than memory.
        stream = (page.jpegheader or b"") + data if codec == "jpeg" else data
        _check_shape(page, (top, left), (rows, columns), *stream_shape(codec, stream))
    if codec in ("", "jpeg"):
        tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if codec else {}
        pixels = page.decode(data, index, _fullsize=False, **tables)[0][0, ..., 0]
    else:
        pixels = _image(codec, data)
    _check_shape(page, (top, left), (rows, columns), *pixels.shape)
    bilevel = page.dtype == bool and pixels.dtype == "u1"
    if pixels.dtype.newbyteorder("=") != page.dtype.newbyteorder("=") and not bilevel:
        raise ValueError(f"it holds {pixels.dtype} pixels, and the page says {page.dtype}")
    return pixels, top, left, (min(rows, pixels.shape[0]), pixels.shape[1])


def _check_shape(
    page: tifffile.TiffPage,
    corner: tuple[int, int],
    shape: tuple[int, int],
    rows: int,
    columns: int,
    samples: int = 1,
) -> None:
    """Refuse an image that is not the strip or tile, which writers may pad, or cut to the page's edges."""
    least = min(shape[0], page.imagelength - corner[0])
    rest = min(shape[1], page.imagewidth - corner[1])
    most, _ = segment_shape(page)
    if not (least <= rows <= most and columns in (shape[1], rest) and samples <= 1):
        text = f"{rows} × {columns}" + (f" × {samples}" if samples > 1 else "")
        raise ValueError(f"it holds an image of {text}, and should of {shape[0]} × {shape[1]}")


def _image(codec: str, data: bytes) -> NDArray:
    """Decode a stream with a header; through tifffile, an image of another shape would be cut to fit."""
    if codec == "jpegxl":
        # Only the first of its frames: by default all are decoded.
        pixels = imagecodecs.jpegxl_decode(data, index=0)
    else:
        pixels = getattr(imagecodecs, f"{codec}_decode")(data)
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels


def _available(compression: int) -> bool:
    """Return whether the codec is installed."""
    # tifffile puts a stub in the place of a codec that imagecodecs was built without.
    decoder = tifffile.TIFF.DECOMPRESSORS.get(compression)
    return compression == 1 or getattr(decoder, "__name__", "stub_decode") != "stub_decode"
