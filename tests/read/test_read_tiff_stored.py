"""How a TIFF's pixels are stored: what nobody decodes is refused when opened, and nothing grows later."""

import re
import struct
import subprocess
import sys

import imagecodecs
import numpy as np
import pytest
import tifffile
from read_samples import check_pixels, coded, refusal
from tiff_samples import BYTES, IMAGES, write_page

from pipeline.cli import main
from pipeline.model.errors import DataError
from pipeline.read import open_source

IMAGE = coded((16, 16)) * 3
SMALL = (np.arange(256).reshape(16, 16) // 4 * 3 + 20).astype(np.uint8)
RAW = IMAGE.tobytes()

STORED = {
    "a compression that nobody knows": ({"Compression": 4711}, r"4711.*convert it"),
    "a compression that nobody decodes": ({"Compression": 34661}, r"JBIG.*convert it"),
    "jetraw": ({"Compression": 48124}, "JETRAW"),
    "jpeg xr, whose decoder crashes": ({"Compression": 34934}, "JPEGXR"),
    "webp, which holds colours": ({"Compression": 50001}, "WEBP"),
    "a predictor that nobody knows": ({"Compression": 8, "Predictor": 9}, "cannot be decoded: .*9"),
    "a predictor of floats for integers": ({"Compression": 8, "Predictor": 3}, "predictor for floats"),
    "tiles of width 0": ({"TileWidth": 0}, "damaged: "),
    "tiles of height 0": ({"TileLength": 0}, "damaged: "),
    "tiles far larger than the image": ({"TileLength": 1 << 20, "TileWidth": 1 << 20}, "tiles of 1048576"),
    "too few tiles": ({"TileLength": 8}, "needs 2 strips or tiles, and names 1"),
    "no rows in a strip": ({"Compression": 8, "RowsPerStrip": 0}, "strips of 0"),
    "too few strips": ({"RowsPerStrip": 5}, "incorrect Strip"),
    "0 bits": ({"BitsPerSample": 0}, "0 bits a pixel"),
    "65,535 bits": ({"BitsPerSample": 65535}, "65535 bits a pixel"),
    "a sample format that nobody knows": ({"SampleFormat": 77}, "format 77"),
    "no samples": ({"SamplesPerPixel": 0}, "0 samples a pixel"),
    "65,535 samples": ({"SamplesPerPixel": 65535}, "65535 samples a pixel"),
    "no width": ({"ImageWidth": 0}, "damaged: "),
    "no height": ({"ImageLength": 0}, "damaged: "),
    "a width without end": ({"ImageWidth": 0xFFFFFFFF}, "damaged: "),
    "a height without end": ({"ImageLength": 0xFFFFFFFF}, "damaged: "),
    "pixels beyond the file": ({"ImageLength": 17, "RowsPerStrip": 17}, "1 planes, and holds 0"),
    "a place beyond the file": ({"StripOffsets": [10**9]}, "1 planes, and holds 0"),
    "rows that are not there": (
        {"Compression": 8, "ImageLength": 1 << 20, "RowsPerStrip": 1 << 20}, "cannot be in 512 bytes"),
    "strips that are too short": (
        {"RowsPerStrip": 8, "StripOffsets": [200, 300], "StripByteCounts": [100, 100]}, "in 200 bytes"),
    "compressed bytes beyond the file": ({"Compression": 8, "StripByteCounts": 10**6}, "reaches to byte"),
}  # fmt: skip


@pytest.mark.parametrize("case", STORED)
def test_what_nobody_decodes_is_refused_when_opened(tmp_path, case, capsys):
    tags, expected = STORED[case]
    path = write_page(tmp_path / "a.tif", RAW, **tags)
    text = refusal(path)
    assert re.search(expected, text), text
    assert main(["info", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1


def test_rows_that_do_not_divide_the_image_are_read(tmp_path):
    strips = [IMAGE[at : at + 5].tobytes() for at in range(0, 16, 5)]
    check_pixels(open_source(write_page(tmp_path / "a.tif", strips, RowsPerStrip=5)), IMAGE)


CODECS = {**BYTES, **IMAGES}


@pytest.mark.parametrize("layout", ["strips", "tiles"])
@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_gives_its_pixels(tmp_path, codec, layout):
    """Strips of 6 rows (the last of 4), and tiles of 16 that reach beyond an image of 16 × 24."""
    compression, encode = CODECS[codec]
    image = np.hstack([SMALL, SMALL[:, :8]]) if layout == "tiles" else SMALL
    if layout == "strips":
        parts = [image[at : at + 6] for at in range(0, 16, 6)]
        tags = {"RowsPerStrip": 6}
    else:
        parts = [image[:, :16], np.pad(image[:, 16:], ((0, 0), (0, 8)))]
        tags = {"ImageWidth": 24, "TileWidth": 16}
    data = [encode(np.ascontiguousarray(part)) for part in parts]
    path = write_page(tmp_path / "a.tif", data, BitsPerSample=8, Compression=compression, **tags)
    source = open_source(path)
    if codec == "jpeg":
        found = source.read(tuple(slice(0, size) for size in image.shape)).astype(int)
        assert np.abs(found - image).max() <= 3
    else:
        check_pixels(source, image)


@pytest.mark.parametrize("codec", IMAGES)
def test_an_image_larger_than_its_strip_is_refused(tmp_path, codec):
    compression, encode = IMAGES[codec]
    data = encode(np.zeros((64, 64), np.uint8))
    source = open_source(write_page(tmp_path / "a.tif", data, BitsPerSample=8, Compression=compression))
    with pytest.raises(DataError, match="an image of 64 × 64, and should of 16 × 16"):
        source.read((slice(0, 16), slice(0, 16)))


OTHER = {
    "fewer rows": np.zeros((8, 16), np.uint8), "fewer columns": np.zeros((16, 8), np.uint8),
    "as many pixels, in another shape": np.zeros((8, 32), np.uint8), "other pixels": np.zeros((16, 16), "u2"),
    "colours": np.zeros((16, 16, 3), np.uint8),
}  # fmt: skip


@pytest.mark.parametrize("other", OTHER)
@pytest.mark.parametrize("codec", IMAGES)
def test_an_image_of_another_kind_than_its_strip_is_refused(tmp_path, codec, other):
    compression, encode = IMAGES[codec]
    if codec == "jpeg" and other == "other pixels":
        pytest.skip("this encoder has 8 bits")
    data = encode(OTHER[other])
    source = open_source(write_page(tmp_path / "a.tif", data, BitsPerSample=8, Compression=compression))
    with pytest.raises(DataError, match="cannot be decoded"):
        source.read((slice(0, 16), slice(0, 16)))


@pytest.mark.parametrize("codec", BYTES)
def test_fewer_bytes_than_a_strip_has_are_refused(tmp_path, codec):
    compression, encode = BYTES[codec]
    source = open_source(write_page(tmp_path / "a.tif", encode(IMAGE[:12]), Compression=compression))
    with pytest.raises(DataError, match="cannot be decoded"):
        source.read((slice(0, 16), slice(0, 16)))


def blob_of_two(image):
    blob = IMAGES["lerc"][1](image)
    return blob + blob


def test_a_second_blob_of_lerc_is_another_band_and_refused(tmp_path):
    path = write_page(tmp_path / "a.tif", blob_of_two(SMALL), BitsPerSample=8, Compression=34887)
    with pytest.raises(DataError, match="an image of 16 × 16 × 2, and should of 16 × 16"):
        open_source(path).read((slice(0, 16), slice(0, 16)))


def test_of_several_frames_of_jpeg_xl_one_is_decoded(tmp_path, monkeypatch):
    """A few bytes can hold any number of frames of a strip's size."""
    frames = np.stack([SMALL, *[np.zeros_like(SMALL)] * 9])
    data = imagecodecs.jpegxl_encode(frames, lossless=True, photometric="gray")
    shapes, plain = set(), imagecodecs.jpegxl_decode

    def watched(*given, **named):
        found = plain(*given, **named)
        shapes.add(found.shape)
        return found

    monkeypatch.setattr(imagecodecs, "jpegxl_decode", watched)
    check_pixels(open_source(write_page(tmp_path / "a.tif", data, BitsPerSample=8, Compression=50002)), SMALL)
    assert shapes == {(16, 16)}


MEASURED = """
import resource, sys
from pipeline.model.errors import DataError
from pipeline.read import open_source
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
whole = (slice(0, 16), slice(0, 16))
first, *bombs = sys.argv[1:]
for path in (first, first):
    open_source(path).read(whole)
for path in bombs:
    before = peak()
    try:
        open_source(path).read(whole)
    except DataError:
        pass
    print((peak() - before) // 1024)
"""


def test_a_strip_that_grows_is_stopped_at_its_size(tmp_path):
    """64 MiB out of a strip of 512 bytes, for every codec: the process does not grow by half of it."""
    first = write_page(tmp_path / "first.tif", BYTES["deflate"][1](IMAGE), Compression=8)
    bombs, zeros = [first], np.zeros((8192, 8192), np.uint8)
    for number, (compression, encode) in enumerate(CODECS.values()):
        image = zeros[:4096] if compression in (34712, 33004) else zeros
        path = tmp_path / f"bomb{number}.tif"
        bits = 8 if number >= len(BYTES) else 16
        bombs.append(write_page(path, encode(image), BitsPerSample=bits, Compression=compression))
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, bombs)], capture_output=True, text=True, check=True
    )
    grown = dict(zip(CODECS, map(int, done.stdout.split()), strict=False))
    assert len(grown) == len(CODECS)
    assert max(grown.values()) < 16, grown


def pages(path, frames, change, number=1, **options):
    """Write a stack of one page a frame, with the tags of one page changed by name."""
    tifffile.imwrite(path, frames, photometric="minisblack", metadata={"axes": "TYX"}, **options)
    with tifffile.TiffFile(path) as tiff:
        places = {name: tiff.pages.get(number, aspage=True).tags[name].offset for name in change}
    data = bytearray(path.read_bytes())
    for name, value in change.items():
        struct.pack_into("<I", data, places[name] + 8, value)
    path.write_bytes(data)
    return path


ODD_PAGES = {
    "another compression": ({"Compression": 4711}, "page 2 of .* cannot be decoded"),
    "another size": ({"ImageLength": 8}, "page 2 of .* is 8 × 24 uint16, and the others are 16 × 24 uint16"),
    "other pixels": ({"BitsPerSample": 8}, "page 2 of .* is 16 × 24 uint8, and the others are"),
}


@pytest.mark.parametrize("ome", [False, True], ids=["shaped", "ome"])
@pytest.mark.parametrize("case", ODD_PAGES)
def test_a_page_unlike_the_others_is_named_when_opened(tmp_path, case, ome):
    """tifffile takes the pages of such a stack to be like the first without a look."""
    change, expected = ODD_PAGES[case]
    frames = coded((4, 16, 24))
    path = tmp_path / ("a.ome.tif" if ome else "a.tif")
    pages(path, frames, change, number=2, compression="zlib", **({"ome": True} if ome else {}))
    assert re.search(expected, refusal(path)), refusal(path)


def test_strips_that_lie_in_another_order_in_one_page_are_read_in_their_own(tmp_path):
    """Four strips a page, in one piece; the last two of page 1 the other way round."""
    frames = coded((3, 16, 24))
    path = pages(tmp_path / "a.ome.tif", frames, {}, rowsperstrip=4, ome=True)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.get(1, aspage=True)
        place, (*others, third, last) = page.tags["StripOffsets"].valueoffset, page.dataoffsets
    data = bytearray(path.read_bytes())
    data[third : third + 384] = data[last : last + 192] + data[third : third + 192]
    struct.pack_into("<4I", data, place, *others, last, third)
    path.write_bytes(data)
    check_pixels(open_source(path), frames)


def test_strips_that_hold_nothing_are_read_as_0_and_noted(tmp_path):
    strips = [IMAGES["png"][1](SMALL[:8]), b""]
    source = open_source(
        write_page(tmp_path / "a.tif", strips, BitsPerSample=8, Compression=34933, RowsPerStrip=8)
    )
    check_pixels(source, np.vstack([SMALL[:8], np.zeros((8, 16), np.uint8)]))
    assert source.notes == ("strips or tiles of 1 of 1 plane hold nothing, and are read as 0",)
