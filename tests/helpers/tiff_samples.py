"""TIFF files of one page, written tag by tag so that any tag can be wrong."""

import struct

import imagecodecs
import numpy as np

_FORMATS = {1: "B", 2: "B", 3: "H", 4: "I", 16: "Q"}
SHORT, LONG = 3, 4
DEFAULT = {
    "ImageWidth": (256, LONG, 16), "ImageLength": (257, LONG, 16), "BitsPerSample": (258, SHORT, 16),
    "Compression": (259, SHORT, 1), "Photometric": (262, SHORT, 1), "StripOffsets": (273, LONG, None),
    "SamplesPerPixel": (277, SHORT, 1), "RowsPerStrip": (278, LONG, 16), "StripByteCounts": (279, LONG, None),
    "Predictor": (317, SHORT, 1), "TileWidth": (322, LONG, 16), "TileLength": (323, LONG, 16),
    "TileOffsets": (324, LONG, None), "TileByteCounts": (325, LONG, None), "SampleFormat": (339, SHORT, 1),
}  # fmt: skip
_STRIPS = [name for name in DEFAULT if not name.startswith("Tile")]


def write_page(path, segments, *, without=(), **tags):
    """Write a page from its encoded strips or tiles, with some tags, and return the path.

    Tags have the names in DEFAULT; a value may be a list. The default of offsets and counts is correct.
    """
    segments = [segments] if isinstance(segments, bytes) else segments
    tiled = any(name.startswith("Tile") for name in tags)
    names = [name for name in _STRIPS if not (tiled and "trip" in name)]
    names += ["TileWidth", "TileLength", "TileOffsets", "TileByteCounts"] if tiled else []
    kind = "Tile" if tiled else "Strip"
    tag_values = {name: tags.get(name, DEFAULT[name][2]) for name in names if name not in without}
    lengths = [len(segment) for segment in segments]
    tag_values[f"{kind}ByteCounts"] = tags.get(f"{kind}ByteCounts", lengths)
    values = {name: [value] if isinstance(value, int) else value for name, value in tag_values.items()}
    values[f"{kind}Offsets"] = tags.get(f"{kind}Offsets", [0] * len(segments))
    directory = 2 + 12 * len(values) + 4
    extra = {name: _pack(name, value) for name, value in values.items()}
    base = 8 + directory
    start = base + sum(len(data) for data in extra.values() if len(data) > 4)
    if f"{kind}Offsets" not in tags:
        begins = np.cumsum([0, *lengths[:-1]]) + start
        extra[f"{kind}Offsets"] = _pack(f"{kind}Offsets", begins.tolist())
    entries, rest = b"", b""
    for name in sorted(values, key=lambda name: DEFAULT[name][0]):
        code, type_, _ = DEFAULT[name]
        entries += struct.pack("<HHI", code, type_, len(values[name]))
        if len(extra[name]) <= 4:
            entries += extra[name].ljust(4, b"\0")
        else:
            entries += struct.pack("<I", base + len(rest))
            rest += extra[name]
    head = b"II*\0" + struct.pack("<IH", 8, len(values)) + entries + struct.pack("<I", 0)
    path.write_bytes(head + rest + b"".join(segments))
    return path


def _pack(name, values):
    return struct.pack(f"<{len(values)}{_FORMATS[DEFAULT[name][1]]}", *values)


def _packbits(array):
    # imagecodecs takes minutes for large arrays of zeros; these are runs of 128.
    return b"\x81\x00" * (array.nbytes // 128) if not array.any() else imagecodecs.packbits_encode(array)


# Byte codecs: compression tag and encoder.
BYTES = {
    "deflate": (8, imagecodecs.zlib_encode), "old deflate": (32946, imagecodecs.zlib_encode),
    "lzw": (5, imagecodecs.lzw_encode), "zstd": (50000, imagecodecs.zstd_encode),
    "lzma": (34925, imagecodecs.lzma_encode), "packbits": (32773, _packbits),
}  # fmt: skip

# Image codecs, whose streams contain the size.
IMAGES = {
    "png": (34933, imagecodecs.png_encode),
    "jpeg": (7, lambda image: imagecodecs.jpeg8_encode(image, level=100)),
    "jpeg 2000": (34712, lambda image: imagecodecs.jpeg2k_encode(image, level=0)),
    "jp2 file": (33004, lambda image: imagecodecs.jpeg2k_encode(image, level=0, codecformat="jp2")),
    "jpeg xl": (50002, lambda image: imagecodecs.jpegxl_encode(image, lossless=True, effort=1)),
    "jpeg xl in boxes": (
        52546,
        lambda image: imagecodecs.jpegxl_encode(image, lossless=True, effort=1, usecontainer=True),
    ),
    "lerc": (34887, imagecodecs.lerc_encode),
}
