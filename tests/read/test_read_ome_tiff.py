"""OME-TIFF: one file or many, companions, pyramids, what its XML says."""

import re
import uuid

import numpy as np
import pytest
import tifffile
from read_samples import check_pixels, coded, refusal, write_tiff

from pipeline.read import open_source

FIVE = coded((3, 2, 4, 16, 24))
SIZES = {
    "PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 250, "PhysicalSizeYUnit": "nm",
    "PhysicalSizeZ": 2.0, "TimeIncrement": 0.5, "TimeIncrementUnit": "min",
}  # fmt: skip
CHANNELS = {"Channel": {"Name": ["GFP", "mCherry"], "Color": [16711935, -16776961]}}


@pytest.mark.parametrize("axes", ["TCZYX", "TZCYX", "ZTCYX", "CTZYX"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_five_axes_in_any_order(tmp_path, axes, compression):
    order = ["TCZYX".index(axis) for axis in axes]
    path = write_tiff(
        tmp_path / "a.ome.tif", FIVE.transpose(order), compression=compression, photometric="minisblack",
        metadata={"axes": axes, **SIZES, **CHANNELS},
    )  # fmt: skip
    source = open_source(path)
    spec = source.spec
    assert spec.axes == "tczyx"
    assert spec.scale == pytest.approx({"t": 0.5, "z": 2, "y": 250, "x": 0.2})
    assert spec.units == {"t": "minute", "z": "micrometer", "y": "nanometer", "x": "micrometer"}
    assert [(channel.name, channel.color) for channel in spec.channels] == [
        ("GFP", "00FF00"), ("mCherry", "FF0000"),
    ]  # fmt: skip
    check_pixels(source, FIVE)


def test_axes_of_length_1_are_left_out_unless_they_say_something(tmp_path):
    movie = FIVE[:, :1, :1]
    path = write_tiff(tmp_path / "a.ome.tif", movie, metadata={"axes": "TCZYX"}, photometric="minisblack")
    assert open_source(path).spec.axes == "tyx"
    assert open_source(path, axes="tczyx").spec.shape == movie.shape
    named = {"axes": "TCZYX", "Channel": {"Name": ["GFP"]}}
    path = write_tiff(tmp_path / "b.ome.tif", movie, metadata=named, photometric="minisblack")
    source = open_source(path, select={"c": ["GFP"]})
    assert (source.spec.axes, source.spec.channel_names) == ("tcyx", ("GFP",))
    check_pixels(source, movie[:, :, 0])


def test_the_interval_comes_from_the_planes_where_it_is_not_said(tmp_path):
    times = [0.0, 60.1, 119.9]
    metadata = {"axes": "TYX", "Plane": {"DeltaT": times}}
    path = write_tiff(tmp_path / "a.ome.tif", FIVE[:, 0, 0], metadata=metadata, photometric="minisblack")
    assert open_source(path).spec.scale["t"] == pytest.approx(59.95)


def test_an_old_schema_is_read(tmp_path):
    path = write_tiff(
        tmp_path / "a.ome.tif", FIVE, metadata={"axes": "TCZYX", **CHANNELS}, photometric="minisblack"
    )
    with tifffile.TiffFile(path) as tiff:
        xml = tiff.ome_metadata
    old = xml.replace("2016-06", "2011-06").replace("<Pixels ", '<Pixels PhysicalSizeX="0.4" ')
    tifffile.tiffcomment(path, old.encode())
    spec = open_source(path).spec
    assert (spec.scale["x"], spec.units["x"], spec.channel_names) == (0.4, "micrometer", ("GFP", "mCherry"))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_levels(tmp_path, compression):
    path = tmp_path / "a.ome.tif"
    coarse = FIVE[..., ::2, ::2] + 1
    with tifffile.TiffWriter(path) as writer:
        options = {"photometric": "minisblack", "compression": compression}
        writer.write(FIVE, subifds=1, metadata={"axes": "TCZYX", **SIZES}, **options)
        writer.write(coarse, subfiletype=1, **options)
    check_pixels(open_source(path), FIVE)
    source = open_source(path, level=1)
    assert source.spec.scale == pytest.approx({"t": 0.5, "z": 2, "y": 500, "x": 0.4})
    check_pixels(source, coarse)
    assert "has no level 2; it has 2, from 0" in refusal(path, level=2)


def test_several_images_are_listed_by_name(tmp_path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(FIVE[0, 0], metadata={"axes": "ZYX", "Name": "left"}, photometric="minisblack")
        writer.write(FIVE[1, 0, :2], metadata={"axes": "ZYX", "Name": "right"}, photometric="minisblack")
    assert "0 (left: z 4 × y 16 × x 24), 1 (right: z 2 × y 16 × x 24)" in refusal(path)
    source = open_source(path, series=1)
    assert source.spec.name == "right"
    check_pixels(source, FIVE[1, 0, :2])


def ome_xml(sizes, blocks, pixels="", identifier="", name="movie"):
    attributes = " ".join(f'Size{axis}="{size}"' for axis, size in zip("TCZYX", sizes, strict=True))
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
        f' UUID="{identifier}"><Image ID="Image:0" Name="{name}"><Pixels ID="Pixels:0" Type="uint16" '
        f'DimensionOrder="XYZCT" {attributes} {pixels}>{blocks}</Pixels></Image></OME>'
    )


def block(first, file, identifier, count=4, ifd=0):
    t, c = first
    return (
        f'<TiffData FirstT="{t}" FirstC="{c}" FirstZ="0" IFD="{ifd}" PlaneCount="{count}">'
        f'<UUID FileName="{file}">{identifier}</UUID></TiffData>'
    )


def write_many(folder, companion, compression=None):
    """Write FIVE as one file for each frame and channel: 4 planes of z in each."""
    folder.mkdir()
    names = {(t, c): (f"m_t{t}_c{c}.ome.tif", f"urn:uuid:{uuid.uuid4()}") for t in range(3) for c in range(2)}
    blocks = "".join(block(place, *name) for place, name in names.items())
    pixels = 'PhysicalSizeX="0.5" PhysicalSizeY="0.5" TimeIncrement="10"'
    for (t, c), (name, identifier) in names.items():
        if companion:
            xml = (
                '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
                f'UUID="{identifier}"><BinaryOnly MetadataFile="m.companion.ome" UUID="urn:uuid:1"/></OME>'
            )
        else:
            xml = ome_xml(FIVE.shape, blocks, pixels, identifier)
        tifffile.imwrite(
            folder / name,
            FIVE[t, c],
            description=xml,
            metadata=None,
            photometric="minisblack",
            compression=compression,
        )
    if companion:
        (folder / "m.companion.ome").write_text(ome_xml(FIVE.shape, blocks, pixels, "urn:uuid:1"))
    return folder


@pytest.mark.parametrize("companion", [False, True], ids=["xml in each", "companion"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("given", ["m_t0_c0.ome.tif", "m_t2_c1.ome.tif", "m.companion.ome"])
def test_many_files_are_one_image(tmp_path, companion, compression, given):
    folder = write_many(tmp_path / "many", companion, compression)
    if given.endswith("companion.ome") and not companion:
        with tifffile.TiffFile(folder / "m_t0_c0.ome.tif") as tiff:
            (folder / given).write_text(tiff.ome_metadata)
    source = open_source(folder / given)
    assert source.spec.axes == "tczyx"
    assert source.spec.scale == {"t": 10, "y": 0.5, "x": 0.5}
    assert len(source.files()) == 6
    check_pixels(source, FIVE)


@pytest.mark.parametrize("companion", [False, True], ids=["xml in each", "companion"])
def test_a_missing_member_is_named(tmp_path, companion):
    folder = write_many(tmp_path / "many", companion)
    (folder / "m_t1_c0.ome.tif").unlink()
    text = refusal(folder / "m_t0_c0.ome.tif")
    assert "m_t1_c0.ome.tif is missing" in text
    assert not (folder / "m_t1_c0.ome.tif").exists()


def test_a_missing_companion_is_named(tmp_path):
    folder = write_many(tmp_path / "many", companion=True)
    (folder / "m.companion.ome").unlink()
    assert "'m.companion.ome' is missing" in refusal(folder / "m_t0_c0.ome.tif")


def test_a_truncated_member_is_named(tmp_path):
    folder = write_many(tmp_path / "many", companion=False)
    last = folder / "m_t2_c1.ome.tif"
    with tifffile.TiffFile(last) as tiff:
        end = tiff.pages[3].dataoffsets[0] + 100
    last.write_bytes(last.read_bytes()[:end])
    assert re.search(r"m_t2_c1\.ome\.tif' is truncated", refusal(folder / "m_t0_c0.ome.tif"))


def test_a_member_of_another_size_is_named(tmp_path):
    folder = write_many(tmp_path / "many", companion=True)
    tifffile.imwrite(folder / "m_t1_c1.ome.tif", FIVE[0, 0, :, :8], photometric="minisblack", metadata=None)
    assert "m_t1_c1.ome.tif' holds planes of 8 × 24 uint16" in refusal(folder / "m.companion.ome")


def test_a_folder_of_them_says_to_give_one(tmp_path):
    folder = write_many(tmp_path / "many", companion=False)
    assert "one OME-TIFF of 6 files" in refusal(f"{folder}/m_t*_c0.ome.tif")


def test_a_renamed_file_is_still_itself(tmp_path):
    identifier = f"urn:uuid:{uuid.uuid4()}"
    blocks = "".join(
        block((t, c), "old.ome.tif", identifier, ifd=8 * t + 4 * c) for t in range(3) for c in range(2)
    )
    path = write_tiff(
        tmp_path / "new.ome.tif", FIVE, metadata=None, photometric="minisblack",
        description=ome_xml(FIVE.shape, blocks, identifier=identifier),
    )  # fmt: skip
    check_pixels(open_source(path), FIVE)


def test_planes_that_lie_anywhere_are_found(tmp_path):
    pages = np.random.default_rng(0).permutation(24)
    blocks = ""
    for plane, page in enumerate(pages):
        t, rest = divmod(plane, 8)
        c, z = divmod(rest, 4)
        blocks += f'<TiffData FirstT="{t}" FirstC="{c}" FirstZ="{z}" IFD="{page}"/>'
    stored = np.empty((24, 16, 24), np.uint16)
    stored[pages] = FIVE.reshape(24, 16, 24)
    path = write_tiff(
        tmp_path / "a.ome.tif", stored, metadata=None, photometric="minisblack",
        description=ome_xml(FIVE.shape, blocks),
    )  # fmt: skip
    check_pixels(open_source(path), FIVE)


def test_planes_that_are_nowhere_are_refused(tmp_path):
    path = write_tiff(
        tmp_path / "a.ome.tif", FIVE[:2], metadata=None, photometric="minisblack",
        description=ome_xml(FIVE.shape, "<TiffData/>"),
    )  # fmt: skip
    assert "24 planes, and where 16 of them are" in refusal(path)
    path = write_tiff(
        tmp_path / "b.ome.tif", FIVE[:2], metadata=None, photometric="minisblack",
        description=ome_xml(FIVE.shape, '<TiffData IFD="0" PlaneCount="24"/>'),
    )  # fmt: skip
    assert "its OME-XML says 24 pages, and it has 16" in refusal(path)


def test_broken_xml_is_refused(tmp_path):
    path = write_tiff(tmp_path / "a.ome.tif", FIVE[0, 0, 0], metadata=None, description="<OME><Image></OME>")
    assert "is broken" in refusal(path)
    xml = ome_xml(FIVE.shape, "<TiffData/>").replace('SizeZ="4"', "")
    path = write_tiff(tmp_path / "b.ome.tif", FIVE, metadata=None, description=xml, photometric="minisblack")
    assert "SizeZ" in refusal(path)
    xml = ome_xml(FIVE.shape, "<TiffData/>", 'PhysicalSizeX="much"')
    path = write_tiff(tmp_path / "c.ome.tif", FIVE, metadata=None, description=xml, photometric="minisblack")
    assert 'says PhysicalSizeX="much", which is no size' in refusal(path)
