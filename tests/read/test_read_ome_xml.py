"""OME-XML that is damaged, odd or hostile: read where the pixels are clear, else refused in a line."""

import subprocess
import sys

import numpy as np
import pytest
from ome_samples import SHAPE, ome, pixels, plane, stub, tiff_data, write_pages
from read_samples import check_pixels, refusal

from pipeline.cli import main
from pipeline.read import open_source

FRAMES = np.stack([plane(0, 0), plane(0, 1)])


def movie(path, attributes="", channels="", change=lambda xml: xml, **sizes):
    """Write two planes and their OME-XML with attributes added, or changed."""
    xml = ome(pixels(tiff_data(0, 2), attributes=attributes, channels=channels, **(sizes or {"t": 2})))
    return write_pages(path, FRAMES, change(xml))


def plane_times(*times, unit=None, first=0):
    """Return Plane elements of one channel and z that say when they were taken."""
    unit = "" if unit is None else f' DeltaTUnit="{unit}"'
    return "".join(
        f'<Plane TheC="0" TheZ="0" TheT="{first + t}" DeltaT="{time}"{unit}/>' for t, time in enumerate(times)
    )


INTERVALS = {
    "seconds, as OME has them": (None, 30, 30),
    "seconds, said": ("s", 30, 30),
    "ms": ("ms", 30_000, 30),
    "µs": ("µs", 30_000_000, 30),
    "minutes": ("min", 0.5, 30),
    "hours": ("h", 1, 3600),
}


@pytest.mark.parametrize("case", INTERVALS)
def test_times_of_planes_are_in_their_own_unit(tmp_path, case):
    unit, step, seconds = INTERVALS[case]
    spec = open_source(movie(tmp_path / "a.ome.tif", channels=plane_times(5, 5 + step, unit=unit))).spec
    assert spec.scale["t"] == pytest.approx(seconds)
    assert spec.units["t"] == "second"


NO_TIMES = {
    "no number": plane_times("x", 1),
    "nothing after it": plane_times(0, ""),
    "not a number": plane_times("NaN", 1),
    "without end": plane_times(0, "INF"),
    "a length": plane_times(0, 1, unit="mm"),
    "a unit that nobody knows": plane_times(0, 1, unit="fortnight"),
    "a frame that is not there": plane_times(0, 1, first=1),
    "a frame below 0": plane_times(0, 1, first=-1),
    "a frame that is no number": plane_times(0, 1).replace('TheT="1"', 'TheT="one"'),
    "backwards": plane_times(1, 0),
    "one of two": plane_times(1),
    "other channels alone": plane_times(0, 1).replace('TheC="0"', 'TheC="1"'),
}


@pytest.mark.parametrize("case", NO_TIMES)
def test_times_that_are_none_leave_the_interval_unknown(tmp_path, case):
    source = open_source(movie(tmp_path / "a.ome.tif", channels=NO_TIMES[case]))
    check_pixels(source, FRAMES)
    assert "t" not in source.spec.scale
    silent = case in ("backwards", "one of two", "nothing after it", "other channels alone")
    assert [("so the interval is unknown" in note) for note in source.notes] == ([] if silent else [True])


def test_times_of_some_frames_leave_the_interval_unknown(tmp_path):
    frames = np.stack([plane(0, t) for t in range(3)])
    times = plane_times(0) + plane_times(60, first=2)  # the second frame's is not there
    path = write_pages(tmp_path / "a.ome.tif", frames, ome(pixels(tiff_data(0, 3), channels=times, t=3)))
    assert "t" not in open_source(path).spec.scale


SIZES = {"x": "PhysicalSizeX", "y": "PhysicalSizeY", "z": "PhysicalSizeZ", "t": "TimeIncrement"}
AXES = pytest.mark.parametrize("axis", SIZES)


def sized(path, axis, value, unit=None):
    attributes = f'{SIZES[axis]}="{value}"' + ("" if unit is None else f' {SIZES[axis]}Unit="{unit}"')
    return movie(path, attributes, **{"z" if axis == "z" else "t": 2})


@AXES
@pytest.mark.parametrize("value", ["-1", "abc", "NaN", "INF", "-INF", "0,325", "1_0", "1e999", "0x10", "٣"])
def test_a_size_that_is_none_is_refused_by_its_name_unless_another_is_given(tmp_path, axis, value):
    path = sized(tmp_path / "a.ome.tif", axis, value)
    assert f'says {SIZES[axis]}="{value}", which is no size' in refusal(path)
    given = "2 s" if axis == "t" else "2 um"
    source = open_source(path, scale={axis: given})
    assert (source.spec.scale[axis], source.notes) == (2, ())


@AXES
@pytest.mark.parametrize("value", ["0", "0.0", "-0"])
def test_a_size_of_0_is_unknown_and_noted(tmp_path, axis, value):
    source = open_source(sized(tmp_path / "a.ome.tif", axis, value))
    assert (source.spec.scale, source.spec.units) == ({}, {})
    assert f'{SIZES[axis]}="{value}" is taken as unknown' in source.notes[0]
    check_pixels(source, FRAMES)


@AXES
@pytest.mark.parametrize("value", ["", " "])
def test_a_size_that_is_empty_is_none(tmp_path, axis, value):
    source = open_source(sized(tmp_path / "a.ome.tif", axis, value))
    assert (source.spec.scale, source.notes) == ({}, ())


def test_an_interval_of_0_is_taken_from_the_planes_where_they_say_it(tmp_path):
    source = open_source(movie(tmp_path / "a.ome.tif", 'TimeIncrement="0"', plane_times(0, 7)))
    assert (source.spec.scale, source.notes) == ({"t": 7}, ())


@AXES
@pytest.mark.parametrize("unit", ["furlong", "", "V", "\N{REPLACEMENT CHARACTER}m"])
def test_a_unit_that_nobody_knows_is_noted(tmp_path, axis, unit):
    source = open_source(sized(tmp_path / "a.ome.tif", axis, "2", unit))
    measure = "time" if axis == "t" else "length"
    assert source.spec.scale == {}
    assert source.notes == (f"{SIZES[axis]} is in {unit!r}, no {measure}, and is taken as unknown",)


def test_a_length_for_a_time_and_a_time_for_a_length_are_none(tmp_path):
    for axis, unit in (("t", "µm"), ("x", "s")):
        source = open_source(sized(tmp_path / f"{axis}.ome.tif", axis, "2", unit))
        assert source.spec.scale == {}
        assert f"is in {unit!r}, no " in source.notes[0]


@pytest.mark.parametrize("unit", ["pixel", "reference frame"])
def test_omes_own_words_for_no_unit_are_no_scale(tmp_path, unit):
    source = open_source(sized(tmp_path / "a.ome.tif", "x", "2", unit))
    assert (source.spec.scale, source.notes) == ({}, ())


COLORS = {
    "white, the default": ("-1", ""), "none": (None, ""), "red": ("-16776961", "FF0000"),
    "green": ("16711935", "00FF00"), "blue, without opacity": ("65280", "0000FF"), "black": ("255", "000000"),
    "no number": ("red", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", COLORS)
def test_colours_of_channels(tmp_path, case):
    said, expected = COLORS[case]
    color = "" if said is None else f' Color="{said}"'
    channels = "".join(f'<Channel ID="Channel:0:{c}" Name="c{c}"{color}/>' for c in range(2))
    spec = open_source(movie(tmp_path / "a.ome.tif", channels=channels, c=2)).spec
    assert [(channel.name, channel.color) for channel in spec.channels] == [
        ("c0", expected),
        ("c1", expected),
    ]


def test_channels_that_are_not_as_many_as_there_are_have_no_names(tmp_path):
    path = movie(tmp_path / "a.ome.tif", channels='<Channel Name="one"/>', c=2)
    assert open_source(path).spec.channels == ()


GARBLED = {
    "no SizeT": ('SizeT="2"', "", "lacks or garbles SizeT"),
    "a negative SizeT": ('SizeT="2"', 'SizeT="-2"', 'garbles SizeT="-2"'),
    "a SizeT of 0": ('SizeT="2"', 'SizeT="0"', 'garbles SizeT="0"'),
    "a SizeT of words": ('SizeT="2"', 'SizeT="two"', 'garbles SizeT="two"'),
    "a SizeT of 2.0": ('SizeT="2"', 'SizeT="2.0"', 'garbles SizeT="2.0"'),
    "a huge SizeT": ('SizeT="2"', f'SizeT="{10**12}"', "says 1000000000000 planes, and where 2 of them are"),
    "an endless SizeT": ('SizeT="2"', f'SizeT="{"9" * 5000}"', 'garbles SizeT="99999'),
    "a huge SizeC": ('SizeC="1"', f'SizeC="{10**9}"', "2000000000 planes"),
    "another SizeX": ('SizeX="8"', 'SizeX="9"', "says planes of 6 × 9, its pages are 6 × 8"),
    "a huge SizeY": ('SizeY="6"', f'SizeY="{10**12}"', "its pages are 6 × 8"),
    "no DimensionOrder": ('DimensionOrder="XYZCT"', "", 'DimensionOrder=""'),
    "a DimensionOrder of four": ("XYZCT", "XYZC", 'DimensionOrder="XYZC"'),
    "a DimensionOrder that begins with Z": ("XYZCT", "ZCTXY", 'DimensionOrder="ZCTXY"'),
    "a huge PlaneCount": ('PlaneCount="2"', f'PlaneCount="{10**12}" FirstT="0"', None),
    "colours": ("<TiffData", '<Channel SamplesPerPixel="3"/><TiffData', "3 samples a pixel"),
    "samples of words": ("<TiffData", '<Channel SamplesPerPixel="x"/><TiffData', 'SamplesPerPixel="x"'),
    "no image": ("Image", "Picture", "describes no image"),
    "no pixels": ("Pixels", "Points", "describes no image"),
    "cut": ("</Pixels>", "", "is broken: mismatched tag"),
    "an attribute twice": ("<Pixels ", '<Pixels SizeT="3" ', "is broken: duplicate attribute"),
    "a root of another kind": ("OME", "XOME", "is no OME-XML: it is a XOME"),
    "a character that is none": ("Pos0", "Pos\x01", "is broken: not well-formed"),
    "a document type": ("<OME", '<!DOCTYPE OME [<!ENTITY a "b">]><OME', "is broken: it has a document type"),
}


@pytest.mark.parametrize("case", GARBLED)
def test_xml_that_says_no_image_is_refused(tmp_path, case, capsys):
    old, new, expected = GARBLED[case]
    path = movie(tmp_path / "a.ome.tif", change=lambda xml: xml.replace(old, new))
    if expected is None:
        check_pixels(open_source(path), FRAMES)
        return
    assert expected in refusal(path)
    assert main(["info", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1


HARMLESS = {
    "no ids": lambda xml: xml.replace(' ID="Image:0"', ""),
    "no Type": lambda xml: xml.replace(' Type="uint16"', ""),
    "another prefix": lambda xml: xml.replace("xmlns=", "xmlns:ome=").replace("<", "<ome:")
    .replace("<ome:/", "</ome:").replace("<ome:?", "<?"),
    "no namespace": lambda xml: xml.replace(' xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"', ""),
    "blanks around numbers": lambda xml: xml.replace('T="2"', 'T=" 2 "').replace('IFD="0"', 'IFD="+0"'),
    "another encoding than it says": lambda xml: xml.replace("UTF-8", "UTF-16"),
    "zeros behind it": lambda xml: xml + "\n ",
    "deep elements": lambda xml: xml.replace("<TiffData", "<A>" * 9000 + "</A>" * 9000 + "<TiffData"),
}  # fmt: skip


@pytest.mark.parametrize("case", HARMLESS)
def test_odd_xml_is_read(tmp_path, case):
    source = open_source(movie(tmp_path / "a.ome.tif", change=HARMLESS[case]))
    check_pixels(source, FRAMES)
    assert source.notes == ()


@pytest.mark.parametrize("said", ["uint8", "float", "double", "int32", "complex", "bit", "nonsense"])
def test_another_type_than_the_pages_have_is_noted(tmp_path, said):
    path = movie(tmp_path / "a.ome.tif", change=lambda xml: xml.replace('Type="uint16"', f'Type="{said}"'))
    source = open_source(path)
    check_pixels(source, FRAMES)
    assert source.notes == (f'the OME-XML says Type="{said}", and the pages hold uint16, which is taken',)


def test_a_type_that_fits_is_not_noted(tmp_path):
    for said, dtype in (("float", "f4"), ("double", "f8"), ("int16", "i2"), ("uint8", "u1")):
        xml = ome(pixels(tiff_data(0, 2), t=2)).replace("uint16", said)
        path = write_pages(tmp_path / f"{said}.ome.tif", FRAMES.astype(dtype), xml)
        assert open_source(path).notes == ()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_companions_in_other_encodings(tmp_path, encoding):
    block = tiff_data(0, 2, "a.tif")
    xml = ome(pixels(block, t=2, attributes='PhysicalSizeX="2" PhysicalSizeXUnit="µm"'))
    (tmp_path / "m.companion.ome").write_bytes(xml.encode(encoding))
    write_pages(tmp_path / "a.tif", FRAMES)
    source = open_source(tmp_path / "m.companion.ome")
    assert source.spec.scale == {"x": 2}
    check_pixels(source, FRAMES)


def test_entities_do_not_grow(tmp_path):
    entities = '<!ENTITY a0 "aaaaaaaaaa">' + "".join(
        f'<!ENTITY a{level} "{f"&a{level - 1};" * 10}">' for level in range(1, 12)
    )
    text = ome(pixels(tiff_data(0, 2), t=2)).replace("<OME", f"<!DOCTYPE OME [{entities}]><OME")
    path = tmp_path / "m.companion.ome"
    path.write_text(text.replace("Pos0", "&a11;"))
    assert "document type" in refusal(path)
    outside = text.replace(entities, f'<!ENTITY a SYSTEM "file://{path}">')
    path.write_text(outside.replace("Pos0", "&a;"))
    assert "document type" in refusal(path)


def test_megabytes_of_xml_are_read(tmp_path):
    """Some 20 MB, as a recording of 100,000 planes has them."""
    extra = (
        '<Plane TheC="0" TheZ="0" TheT="0" DeltaT="1" ExposureTime="0.1" PositionX="1" PositionY="2"/>'
        * 200_000
    )
    path = movie(tmp_path / "a.ome.tif", channels=extra)
    check_pixels(open_source(path), FRAMES)


NOISY = """
import sys
from pipeline.cli import main
for path in sys.argv[1:]:
    main(["info", path])
"""


def test_no_warning_of_a_library_reaches_the_terminal(tmp_path):
    """With Python's warnings all on: what is said is what bgone says."""
    paths = [
        sized(tmp_path / "unit.ome.tif", "x", "2", "pixel"),
        sized(tmp_path / "odd.ome.tif", "x", "2", "furlong"),
        movie(tmp_path / "type.ome.tif", change=lambda xml: xml.replace("uint16", "uint17")),
        movie(tmp_path / "color.ome.tif", channels='<Channel Color="99999999999"/>'),
        movie(tmp_path / "many.ome.tif", change=lambda xml: xml.replace('IFD="0"', 'IFD="7"')),
        write_pages(tmp_path / "stub.ome.tif", FRAMES, stub("gone.ome.tif")),
        write_pages(tmp_path / "plain.tif", FRAMES, "ImageJ=1.53\nimages=7\nunit=\\u00b5\n"),
    ]
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", NOISY, *map(str, paths)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if not line.startswith("error: ")]
    assert said == []
    assert SHAPE == (6, 8)
