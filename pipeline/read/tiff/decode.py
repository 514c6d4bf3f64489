"""Decode strips and tiles of TIFF pages, none of them to more than the page says."""

from __future__ import annotations

from dataclasses import dataclass

import imagecodecs
import tifffile
from numpy.typing import NDArray

from pipeline.model.errors import RequestError
from pipeline.read.files import FIELD
from pipeline.read.tiff.codestreams import SIZES

_JPEG = {6, 7, 33007, 34892}
# Codecs whose stream says itself how large its image is: it must not be larger than strip or tile.
_STREAMS = {
    **dict.fromkeys(_JPEG, "jpeg"),
    **dict.fromkeys((33003, 33004, 33005, 34712), "jpeg2k"),
    **dict.fromkeys((22610, 34934), "jpegxr"),
    **dict.fromkeys((50002, 52546), "jpegxl"),
    34933: "png",
    34887: "lerc",
}
# What holds colours alone, or needs what no package brings.
_NEVER = {50001: "WebP", 34927: "WebP", 48124: "Jetraw"}
# How much longer than its stored bytes a strip or tile can be: beyond it, a size or a count is wrong.
_MOST_GROWTH = {1: 1, 5: 2800, 8: 1100, 32946: 1100, 32773: 64}
# Strips and tiles reach beyond the image by less than this, or by less than 16.
_MOST_SIDE = 1 << 12


_NUMBERS = (
    "imagelength", "imagewidth", "imagedepth", "samplesperpixel", "bitspersample", "rowsperstrip",
    "tilelength", "tilewidth", "compression", "predictor", "planarconfig", "fillorder",
)  # fmt: skip


def check_numbers(page: tifffile.TiffPage, path: str) -> None:
    """Refuse a page whose sizes are no whole numbers: a tag may be of any type.

    Raises
    ------
    RequestError
        One is a text, a float, or several numbers.
    """
    values = {name: getattr(page, name) for name in _NUMBERS}
    values |= {"offset": next(iter(page.dataoffsets), 0), "byte count": next(iter(page.databytecounts), 0)}
    wrong = [f"{str(value)[:20]!r} as {name}" for name, value in values.items() if not isinstance(value, int)]
    # Samples of different depths come as several numbers; such pages are refused as colour pictures.
    if wrong and page.samplesperpixel == 1:
        raise _damaged(path, f"its page {page.index} has {wrong[0]}")


def check_decodable(page: tifffile.TiffPage, path: str) -> None:
    """Refuse a page whose strips or tiles cannot be decoded, without reading any.

    Raises
    ------
    RequestError
        Compression, predictor or kind of pixel is one that nobody decodes, or the grid of strips or tiles
        does not cover the page.
    """
    check_numbers(page, path)
    if page.predictor == 3 and page.dtype is not None and page.dtype.kind != "f":
        raise _damaged(path, f"its page {page.index} has {page.dtype} pixels and a predictor for floats")
    index, name = page.index, getattr(page.compression, "name", str(page.compression))
    if int(page.compression) in _NEVER or not _available(int(page.compression)):
        raise RequestError(
            f"page {index} of {path!r} is compressed in a way that cannot be decoded ({name})",
            "convert it, for example with Fiji, to a TIFF without compression",
            FIELD,
        )
    rows, columns = segment_shape(page)
    fits = (
        0 < side <= max(_MOST_SIDE, size + 15)
        for side, size in ((rows, page.imagelength), (columns, page.imagewidth))
    )
    if not all(fits):
        kind = "tiles" if page.is_tiled else "strips"
        raise _damaged(path, f"its page {index} has {kind} of {rows} × {columns} px")
    down, across = -(-page.imagelength // rows), -(-page.imagewidth // columns)
    count = len(page.dataoffsets)
    if count != down * across or count != len(page.databytecounts):
        raise _damaged(path, f"its page {index} needs {down * across} strips or tiles, and names {count}")
    growth, stored = _MOST_GROWTH.get(int(page.compression)), sum(page.databytecounts)
    complete = not page.is_final and all(page.databytecounts) and all(page.dataoffsets)
    if growth and complete and page.imagelength * page.imagewidth * page.bitspersample > 8 * growth * stored:
        size = f"{page.imagelength} × {page.imagewidth} px"
        raise _damaged(path, f"its page {index} of {size} cannot be in {stored} bytes")
    try:
        page.decode(None, 0)
    # tifffile raises ValueError, NotImplementedError, ZeroDivisionError and more for what it cannot decode.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RequestError(
            f"page {index} of {path!r} cannot be decoded: {reason}",
            "convert it, for example with Fiji, to a TIFF without compression",
            FIELD,
        ) from error


def segment_shape(page: tifffile.TiffPage) -> tuple[int, int]:
    """Return rows and columns of a whole strip or tile."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return page.rowsperstrip, page.imagewidth


def decode(
    page: tifffile.TiffPage, data: bytes | None, index: int
) -> tuple[NDArray | None, int, int, tuple[int, int]]:
    """Decode a strip or tile.

    Parameters
    ----------
    page : tifffile.TiffPage
        Of one sample a pixel.
    data : bytes or None
        As stored; None where nothing is.
    index : int
        Which strip or tile.

    Returns
    -------
    tuple
        Its pixels, or None; the page's row and column where it begins; its rows and columns.

    Raises
    ------
    ValueError
        It holds more than it should, less, or pixels of another kind.
    """
    codec = _STREAMS.get(int(page.compression), "") if data is not None else ""
    own = codec not in ("", "jpeg")
    arguments = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if codec == "jpeg" else {}
    _, (_, _, top, left, _), (_, rows, columns, _) = page.decode(None, index, _fullsize=False)
    if data is None:
        return None, top, left, (rows, columns)
    expected = Expected(page, top, left, (rows, columns))
    if codec:
        expected.check(*SIZES[codec]((page.jpegheader or b"") + data if codec == "jpeg" else data))
    pixels = (
        _image(codec, data) if own else page.decode(data, index, _fullsize=False, **arguments)[0][0, ..., 0]
    )
    expected.check(*pixels.shape)
    bilevel = page.dtype == bool and pixels.dtype == "u1"
    if pixels.dtype.newbyteorder("=") != page.dtype.newbyteorder("=") and not bilevel:
        raise ValueError(f"it holds {pixels.dtype} pixels, and the page says {page.dtype}")
    return pixels, top, left, (min(rows, pixels.shape[0]), pixels.shape[1])


@dataclass(frozen=True)
class Expected:
    """What a strip or tile may hold: itself, what of it lies in the image, or a whole strip for the last."""

    page: tifffile.TiffPage
    top: int
    left: int
    shape: tuple[int, int]

    def check(self, rows: int, columns: int, samples: int = 1) -> None:
        """Refuse an image of another shape.

        Raises
        ------
        ValueError
            It is larger, smaller or of several samples.
        """
        least = min(self.shape[0], self.page.imagelength - self.top)
        rest = min(self.shape[1], self.page.imagewidth - self.left)
        most, _ = segment_shape(self.page)
        if not (least <= rows <= most and columns in (self.shape[1], rest) and samples <= 1):
            text = f"{rows} × {columns}" + (f" × {samples}" if samples > 1 else "")
            raise ValueError(f"it holds an image of {text}, and should of {self.shape[0]} × {self.shape[1]}")


def _image(codec: str, data: bytes) -> NDArray:
    """Decode a stream that says its own shape; tifffile would cut an image of another one to fit."""
    if codec == "jpegxl":
        # The first of its frames: without a number all of them would be decoded.
        found = imagecodecs.jpegxl_decode(data, index=0)
    else:
        found = getattr(imagecodecs, f"{codec}_decode")(data)
    return found[..., 0] if found.ndim == 3 and found.shape[2] == 1 else found


def _available(compression: int) -> bool:
    """Return whether a codec is known and installed."""
    if compression == 1:
        return True
    try:
        name = tifffile.TIFF.DECOMPRESSORS[compression].__name__
    except KeyError:
        return False
    return name != "stub_decode"


def _damaged(path: str, detail: str) -> RequestError:
    return RequestError(f"{path!r} is truncated or damaged: {detail}", "copy or export it again", FIELD)
