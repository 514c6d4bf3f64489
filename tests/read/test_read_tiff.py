"""TIFF stacks: plain, ImageJ, big, tiled, packed, pyramids."""

import struct

import numpy as np
import pytest
import tifffile
from read_samples import check_pixels, coded, refusal, whole, write_tiff

from pipeline.model.errors import DataError, StoppedError
from pipeline.read import open_source
from pipeline.read.tiff import pages as tiff_pages

STACK = coded((5, 20, 33))
LAYOUTS = {
    "one strip": {},
    "strips": {"rowsperstrip": 3},
    "strips of bytes reversed": {"rowsperstrip": 3, "byteorder": ">"},
    "big-endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
    "BigTIFF, big-endian, deflate": {"bigtiff": True, "byteorder": ">", "compression": "zlib"},
    "deflate, predictor": {"compression": "zlib", "predictor": True, "rowsperstrip": 4},
    "lzw": {"compression": "lzw"},
    "zstd": {"compression": "zstd", "rowsperstrip": 7},
    "tiles": {"tile": (16, 16)},
    "tiles, lzw": {"tile": (16, 16), "compression": "lzw"},
    "jpeg 2000": {"compression": "jpeg2000", "tile": (16, 16)},
    "without description": {"metadata": None},
    "pages apart": {"contiguous": False},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_pixels(tmp_path, layout):
    path = write_tiff(tmp_path / "a.tif", STACK, photometric="minisblack", **LAYOUTS[layout])
    source = open_source(path, axes="tyx")
    assert (source.spec.axes, source.spec.chunks) == ("tyx", (1, 20, 33))
    check_pixels(source, STACK)


@pytest.mark.parametrize(
    "dtype",
    [
        "uint8",
        "int8",
        "uint16",
        "int16",
        "uint32",
        "int32",
        "int64",
        "uint64",
        "float32",
        "float64",
        "float16",
        "bool",
    ],
)
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_every_dtype_comes_native(tmp_path, dtype, byteorder, compression):
    array = coded((3, 9, 16)).astype(dtype)
    path = write_tiff(
        tmp_path / "a.tif", array, byteorder=byteorder, photometric="minisblack", compression=compression
    )
    source = open_source(path, axes="tyx")
    assert source.spec.dtype == {"bool": np.uint8, "float16": np.float32}.get(dtype, np.dtype(dtype))
    check_pixels(source, array.astype(source.spec.dtype))


def test_other_dtypes_are_refused_by_name(tmp_path):
    path = write_tiff(tmp_path / "a.tif", coded((9, 9)).astype("complex64"))
    assert "has complex64 pixels" in refusal(path)


def test_a_single_page_is_yx(tmp_path):
    source = open_source(write_tiff(tmp_path / "a.tif", STACK[0]))
    assert source.spec.axes == "yx"
    check_pixels(source, STACK[0])


def test_axes_in_the_description_are_known_and_can_be_renamed(tmp_path):
    path = write_tiff(tmp_path / "a.tif", STACK, metadata={"axes": "ZYX"})
    assert open_source(path).spec.axes == "zyx"
    assert open_source(path, axes="tyx").spec.axes == "tyx"


def test_leading_axes_come_in_the_order_t_c_z(tmp_path):
    array = coded((2, 3, 4, 8, 9))
    path = write_tiff(tmp_path / "a.tif", array, metadata={"axes": "ZTCYX"}, photometric="minisblack")
    source = open_source(path)
    assert source.spec.axes == "tczyx"
    check_pixels(source, array.transpose(1, 2, 0, 3, 4))


def test_pages_may_hold_x_then_y(tmp_path):
    array = coded((3, 8, 9))
    source = open_source(write_tiff(tmp_path / "a.tif", array, photometric="minisblack"), axes="txy")
    check_pixels(source, array.transpose(0, 2, 1))


def test_a_stack_without_axes_asks_for_them_with_an_example(tmp_path):
    path = write_tiff(tmp_path / "a.tif", STACK)
    text = refusal(path)
    assert "input.axes" in text
    assert "5 × 20 × 33" in text
    assert "such as input.axes: tyx" in text
    assert "names 4 axes" in refusal(path, axes="tzyx")


def imagej(tmp_path, array, axes="TZCYX", **metadata):
    options = {key: metadata.pop(key) for key in ("compression", "truncate", "resolution") if key in metadata}
    return write_tiff(tmp_path / "ij.tif", array, imagej=True, metadata={"axes": axes, **metadata}, **options)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_imagej_hyperstack(tmp_path, compression):
    array = coded((4, 3, 2, 10, 12))
    path = imagej(
        tmp_path, array, spacing=2.5, unit="\\u00B5m", finterval=30.0, resolution=(1 / 0.325, 1 / 0.65),
        Labels=["GFP", "mCherry"] * 12, compression=compression,
        LUTs=[np.outer(color, np.arange(256)).astype(np.uint8) for color in ((0, 1, 0), (1, 0, 1))],
        mode="composite",
    )  # fmt: skip
    source = open_source(path)
    spec = source.spec
    assert spec.axes == "tczyx"
    assert spec.scale == pytest.approx({"t": 30, "z": 2.5, "y": 0.65, "x": 0.325})
    assert spec.units == {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
    assert spec.channel_names == ("GFP", "mCherry")
    assert [channel.color for channel in spec.channels] == ["00FF00", "FF00FF"]
    check_pixels(source, array.transpose(0, 2, 1, 3, 4))


def test_imagej_leaves_out_what_it_does_not_know(tmp_path):
    source = open_source(imagej(tmp_path, coded((4, 1, 1, 10, 12)), finterval=0.0, unit="pixel"))
    spec = source.spec
    assert spec.axes == "tyx"
    assert (spec.scale, spec.units, spec.channels) == ({}, {}, ())
    assert source.notes == ("finterval=0 is taken as unknown (input.scale: {t: 30 s} would say it)",)


@pytest.mark.parametrize("value", [-5.0, float("nan"), float("inf")])
def test_an_interval_of_imagej_that_is_none_is_refused(tmp_path, value):
    path = imagej(tmp_path, coded((4, 1, 1, 10, 12)), finterval=value)
    assert f"says finterval={value:g}, which is no size" in refusal(path)
    assert open_source(path, scale={"t": "2 s"}).spec.scale["t"] == 2


def test_a_negative_spacing_is_taken_as_imagej_takes_it(tmp_path):
    source = open_source(imagej(tmp_path, coded((1, 4, 1, 10, 12)), spacing=-2.5, unit="um"))
    assert (source.spec.scale["z"], source.notes) == (2.5, ("spacing=-2.5 is taken as 2.5, as ImageJ does",))


def test_labels_that_differ_within_a_channel_are_no_channel_names(tmp_path):
    path = imagej(tmp_path, coded((4, 1, 2, 10, 12)), Labels=[f"slice {i}" for i in range(8)])
    assert open_source(path).spec.channels == ()


def test_slices_that_are_time_can_be_renamed(tmp_path):
    path = imagej(tmp_path, coded((1, 4, 1, 10, 12)), spacing=2.0, unit="um", finterval=5.0)
    assert open_source(path).spec.scale["z"] == 2
    spec = open_source(path, axes="tyx").spec
    assert (spec.axes, dict(spec.scale)["t"]) == ("tyx", 5)
    assert "z" not in spec.scale


def test_an_imagej_stack_of_one_header_for_all_planes(tmp_path):
    array = coded((4, 3, 2, 10, 12))
    path = imagej(tmp_path, array, truncate=True)
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == 1
    check_pixels(open_source(path), array.transpose(0, 2, 1, 3, 4))
    path.write_bytes(path.read_bytes()[:-300])
    assert "truncated" in refusal(path)


def test_a_stack_beyond_4_gb_under_one_header(tmp_path):
    """As ImageJ writes it: byte counts that overflow, and the pixels in one piece. The file is sparse."""
    path = tmp_path / "big.tif"
    frames, side = 600, 2048
    description = f"ImageJ=1.54f\nimages={frames}\nframes={frames}\nhyperstack=true\n".encode() + b"\0"
    start = 4096
    tags = [
        (256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1),
        (270, 2, len(description), 1024), (273, 4, 1, start), (277, 3, 1, 1), (278, 4, 1, side),
        (279, 4, 1, (frames * side * side * 2) & 0xFFFFFFFF),
    ]  # fmt: skip
    with open(path, "wb") as file:
        file.write(b"II*\0" + struct.pack("<IH", 8, len(tags)))
        for tag in tags:
            file.write(struct.pack("<HHII", *tag))
        file.write(struct.pack("<I", 0))
        file.seek(1024)
        file.write(description)
        file.seek(start + 599 * side * side * 2)
        file.write(coded((side, side)).tobytes())
    source = open_source(path)
    assert source.spec.shape == (600, 2048, 2048)
    region = (slice(598, 600), slice(100, 103), slice(7, 2000))
    expected = np.stack([np.zeros((3, 1993)), coded((side, side))[100:103, 7:2000]])
    np.testing.assert_array_equal(source.read(region), expected)


def test_only_the_tiles_needed_are_decoded(tmp_path, monkeypatch):
    """A plane too large to read whole has its tiles as chunks."""
    monkeypatch.setattr(tiff_pages, "_WHOLE_PLANE", 1000)
    monkeypatch.setattr(tiff_pages, "_PART", 2 * 32 * 32)
    plane = coded((100, 130))
    path = write_tiff(tmp_path / "a.tif", plane, tile=(16, 16), compression="zlib")
    source = open_source(path)
    assert source.spec.chunks == (32, 32)
    check_pixels(source, plane)
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[0].dataoffsets[5], tiff.pages[0].databytecounts[5]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = b"\xff" * count
    path.write_bytes(data)
    damaged = open_source(path)
    np.testing.assert_array_equal(damaged.read((slice(16, 100), slice(0, 130))), plane[16:])
    with pytest.raises(DataError, match=r"page 0 of .*a\.tif.* cannot be decoded"):
        whole(damaged)


@pytest.mark.parametrize(
    ("options", "chunks"),
    [({}, (32, 32)), ({"compression": "zlib", "rowsperstrip": 2}, (6, 130))],
    ids=["raw", "strips"],
)
def test_huge_planes_without_tiles_are_read_in_parts(tmp_path, monkeypatch, options, chunks):
    monkeypatch.setattr(tiff_pages, "_WHOLE_PLANE", 1000)
    monkeypatch.setattr(tiff_pages, "_PART", 2 * 32 * 32)
    plane = coded((100, 130))
    source = open_source(write_tiff(tmp_path / "a.tif", plane, **options))
    assert source.spec.chunks == chunks
    check_pixels(source, plane)


@pytest.mark.parametrize("named", [True, False], ids=["axes named", "axes not named"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_levels_of_a_pyramid(tmp_path, compression, named):
    path = tmp_path / "p.tif"
    fine, coarse = coded((3, 32, 48)), coded((3, 16, 24)) + 7
    with tifffile.TiffWriter(path) as writer:
        options = {"compression": compression, "photometric": "minisblack"}
        writer.write(
            fine,
            subifds=1,
            metadata={"axes": "TYX"},
            resolution=(20000, 20000),
            resolutionunit="CENTIMETER",
            **options,
        )
        writer.write(coarse, subfiletype=1, metadata={"axes": "TYX"} if named else {}, **options)
    source = open_source(path)
    assert source.spec.scale == pytest.approx({"y": 0.5, "x": 0.5})
    check_pixels(source, fine)
    source = open_source(path, level=1)
    assert source.spec.scale == pytest.approx({"y": 1, "x": 1})
    check_pixels(source, coarse)
    assert "no level 2; its levels are 0 (t 3 × y 32 × x 48), 1 (" in refusal(path, level=2)


def test_several_images_in_a_file_are_listed(tmp_path):
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(STACK, photometric="minisblack", metadata={"axes": "TYX"})
        writer.write(STACK[0, :8, :9], photometric="minisblack")
    assert "0 (unnamed: t 5 × y 20 × x 33), 1 (unnamed: y 8 × x 9)" in refusal(path)
    check_pixels(open_source(path, series=0), STACK)
    check_pixels(open_source(path, series=1), STACK[0, :8, :9])
    assert "no series 2" in refusal(path, series=2)


def test_resolutions_of_printers_are_no_scale(tmp_path):
    path = write_tiff(tmp_path / "a.tif", STACK[0], resolution=(300, 300), resolutionunit="INCH")
    assert open_source(path).spec.scale == {}
    path = write_tiff(tmp_path / "a.tif", STACK[0], resolution=(72, 72), resolutionunit="CENTIMETER")
    assert open_source(path).spec.scale == {}


def test_a_file_changed_after_opening_is_noticed(tmp_path):
    path = write_tiff(tmp_path / "a.tif", STACK, compression="zlib", metadata={"axes": "TYX"})
    source = open_source(path)
    whole(source)
    write_tiff(path, STACK[:, :10], compression="zlib", metadata={"axes": "TYX"})
    with pytest.raises(DataError, match="10 × 33"):
        whole(source)
    path.unlink()
    with pytest.raises(StoppedError, match="gone"):
        whole(source)
    with pytest.raises(StoppedError, match="cannot be read"):
        source.identity()


def test_a_file_cut_after_opening_is_noticed(tmp_path):
    path = write_tiff(tmp_path / "a.tif", STACK, metadata={"axes": "TYX"})
    source = open_source(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="truncated"):
        whole(source)
