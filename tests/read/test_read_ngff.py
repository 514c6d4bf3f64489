"""OME-Zarr as people have it: every version, and metadata that is harmlessly wrong."""

import json
import math
import shutil

import numpy as np
import pytest
import zarr
from read_samples import check_pixels, coded, refusal, write_ngff

from pipeline.read import open_source

STACK = coded((3, 16, 24))
FIVE = coded((2, 2, 2, 8, 8))
SCALE = {"type": "scale", "scale": [1.0, 0.3, 0.3]}
UNITS = {"t": "second", "y": "micrometer", "x": "micrometer"}


def ome(path, change=None, version="0.4", arrays=(STACK,), axes="tyx", transforms=(SCALE,)):
    """Write an OME-Zarr, and let `change` have its attributes before they are stored."""
    write_ngff(path, arrays, axes, [list(transforms) for _ in arrays], version)
    group = zarr.open_group(path, mode="a")
    attributes = group.attrs.asdict()
    inner = attributes if version == "0.4" else attributes["ome"]
    if change is not None:
        change(inner, inner["multiscales"][0])
    group.attrs.put(attributes)
    return path


def top(name, value):
    return lambda attributes, image: attributes.update({name: value})


def image(name, value):
    return lambda attributes, image: image.update({name: value})


def axes(*entries):
    return image("axes", list(entries))


def level(name, value):
    return lambda attributes, image: image["datasets"][0].update({name: value})


def own(*transforms):
    return level("coordinateTransformations", list(transforms))


def without(*names):
    def change(attributes, image):
        for name in names:
            attributes.pop(name, None)
            image.pop(name, None)
            for axis in image.get("axes", ()):
                axis.pop(name, None)

    return change


def both(*changes):
    def change(attributes, image):
        for each in changes:
            each(attributes, image)

    return change


def axis_units(**units):
    return axes(*({"name": axis, "unit": units.get(axis, UNITS[axis])} for axis in "tyx"))


MOVE = {"type": "translation", "translation": [0.0, 0.0, 0.0]}
HARMLESS = {
    "no version": without("version"),
    "a version that is a number": image("version", 0.4),
    "a version that is none": image("version", {"major": 0}),
    "no types of axes": without("type"),
    "axes as texts": axes("t", "y", "x"),
    "axes in capitals": axes({"name": "T", "type": "time"}, {"name": "Y"}, {"name": "X", "type": "Space"}),
    "axes by whole words": axes({"name": "time"}, {"name": "y"}, {"name": "x"}),
    "axes of free names": axes(
        {"name": "a", "type": "time"}, {"name": "b", "type": "space"}, {"name": "c'", "type": "space"}
    ),
    "an empty list of transformations": image("coordinateTransformations", []),
    "transformations that are null": image("coordinateTransformations", None),
    "one transformation without a list": level("coordinateTransformations", SCALE),
    "identity": image("coordinateTransformations", [{"type": "identity"}]),
    "identity, then the scale": own({"type": "identity"}, SCALE),
    "a translation of nothing first": own(MOVE, SCALE),
    "a pyramid's scale of 1": image("coordinateTransformations", [{"type": "scale", "scale": [1, 1, 1]}]),
    "no name": without("name"),
    "a name that is none": image("name", 5),
    "keys of their own": both(top("_creator", {"x": [None]}), image("metadata", {"a": 1}), level("more", 1)),
    "an axis with more to say": axes({"name": "t", "long_name": "time"}, {"name": "y", "unit": 7}, "x"),
    "omero without channels": top("omero", {"channels": []}),
    "omero that is a list": top("omero", [1, 2]),
    "omero for more channels than there are": top("omero", {"channels": [{"label": "a"}] * 4}),
    "omero of nothing but null": top("omero", {"channels": [None]}),
    "a slash at the end of the path": level("path", "0/"),
    "a level that is broken beside it": lambda attributes, image: image["datasets"].append({"path": 5}),
    "a level that is not on the disk": lambda attributes, image: image["datasets"].append({"path": "9"}),
    "one image without a list": lambda attributes, image: attributes.update(multiscales=image),
    "whole numbers": own({"type": "SCALE", "scale": [1, 0.3, 0.3]}),
}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_what_is_harmlessly_wrong_is_read(tmp_path, change, version):
    source = open_source(ome(tmp_path / "a.zarr", change, version))
    assert source.spec.axes == "tyx"
    assert {axis: source.spec.scale[axis] for axis in "yx"} == {"y": 0.3, "x": 0.3}
    check_pixels(source, STACK)
    assert source.notes == ()


SPELLINGS = {
    "µm": "micrometer", "um": "micrometer", "μm": "micrometer", "micron": "micrometer",
    "Microns": "micrometer", "micrometre": "micrometer", "nm": "nanometer",
    "MILLIMETER": "millimeter", " Angstrom ": "angstrom",
}  # fmt: skip


@pytest.mark.parametrize(("said", "unit"), SPELLINGS.items())
def test_units_are_known_by_many_spellings(tmp_path, said, unit, recwarn):
    source = open_source(ome(tmp_path / "a.zarr", axis_units(x=said)))
    assert (source.spec.units["x"], source.spec.scale["x"], source.notes) == (unit, 0.3, ())
    assert not recwarn.list


@pytest.mark.parametrize("said", ["pixel", "px", "", None, 5, ["um"]])
def test_what_is_no_unit_is_none(tmp_path, said, recwarn):
    source = open_source(ome(tmp_path / "a.zarr", axis_units(x=said)))
    assert "x" not in source.spec.units
    assert (source.spec.scale["x"], source.notes) == (0.3, ())
    assert not recwarn.list


@pytest.mark.parametrize(
    ("said", "words"),
    [("furlong", "is not known and left out"), ("second", "is none of length and left out")],
)
def test_a_unit_that_is_not_taken_is_noted(tmp_path, said, words):
    source = open_source(ome(tmp_path / "a.zarr", axis_units(x=said)))
    assert source.notes == (f"the unit of x, '{said}', {words}",)
    assert (source.spec.scale["x"], "x" in source.spec.units) == (0.3, False)


def test_a_name_says_more_than_a_type_and_that_is_noted(tmp_path):
    change = axes({"name": "t", "type": "space"}, {"name": "y", "type": "space"}, {"name": "x"})
    source = open_source(ome(tmp_path / "a.zarr", change))
    assert source.spec.axes == "tyx"
    assert source.notes == ("axis t is taken as time by its name, though its type is 'space'",)


def test_names_and_types_that_contradict_each_other_leave_it_to_the_user(tmp_path):
    # By types this would be t, y, x; the second axis says that it is x.
    change = axes(
        {"name": "when", "type": "time"}, {"name": "x", "type": "space"}, {"name": "u", "type": "space"}
    )
    path = ome(tmp_path / "a.zarr", change)
    assert "does not say its axes" in refusal(path)
    check_pixels(open_source(path, axes="txy"), STACK.transpose(0, 2, 1))


def test_what_is_no_name_or_colour_of_a_channel_is_left_out(tmp_path):
    said = [
        {"label": "GFP", "color": "#00ff00"},
        {"label": ["a"], "color": "green"},
        {"label": 488, "color": 5},
    ]
    pixels = coded((3, 8, 8))
    change = top("omero", {"channels": said})
    source = open_source(ome(tmp_path / "a.zarr", change, arrays=[pixels], axes="cyx"))
    found = [(channel.name, channel.color) for channel in source.spec.channels]
    assert found == [("GFP", "00FF00"), ("", ""), ("488", "")]


def test_a_translation_before_the_scale_is_scaled(tmp_path):
    move = {"type": "translation", "translation": [0.0, 10.0, 20.0]}
    assert open_source(ome(tmp_path / "a.zarr", own(move, SCALE))).spec.translation == {"y": 3.0, "x": 6.0}
    assert open_source(ome(tmp_path / "b.zarr", own(SCALE, move))).spec.translation == {"y": 10.0, "x": 20.0}


def test_a_scale_that_is_stored_in_an_array_is_read(tmp_path):
    path = ome(tmp_path / "a.zarr", own({"type": "scale", "path": "sizes"}))
    zarr.create_array(path / "sizes", data=np.array([1.0, 0.25, 0.5]), zarr_format=2)
    assert {a: open_source(path).spec.scale[a] for a in "yx"} == {"y": 0.25, "x": 0.5}
    shutil.rmtree(path / "sizes")
    assert "sizes' cannot be opened as Zarr" in refusal(path)


def test_what_stands_for_channels_in_a_scale_means_nothing(tmp_path):
    numbers = [1.0, math.nan, 2.0, 0.5, 0.5]
    transforms = [{"type": "scale", "scale": numbers}, {"type": "translation", "translation": numbers}]
    path = ome(tmp_path / "a.zarr", arrays=[FIVE], axes="tczyx", transforms=transforms)
    source = open_source(path)
    assert (source.spec.scale, source.notes) == ({"t": 1.0, "z": 2.0, "y": 0.5, "x": 0.5}, ())


@pytest.mark.parametrize(("version", "zarr_format"), [("0.5", 2), ("0.4", 3)])
def test_the_metadata_of_one_version_in_the_zarr_of_another(tmp_path, version, zarr_format):
    path = ome(tmp_path / "a.zarr", version="0.4" if zarr_format == 2 else "0.5")
    group = zarr.open_group(path, mode="a")
    attributes = group.attrs.asdict()
    inner = attributes.get("ome", attributes)
    group.attrs.put(
        {"ome": inner | {"version": "0.5"}} if version == "0.5" else {"multiscales": inner["multiscales"]}
    )
    assert group.metadata.zarr_format == zarr_format
    check_pixels(open_source(path), STACK)


# The first versions


def first_version(path, version, pixels=FIVE, nested=True, said=True, **more):
    group = zarr.create_group(path, zarr_format=2)
    stored = group.create_array(
        "0", shape=pixels.shape, chunks=(*pixels.shape[:-2], 4, 4), dtype=pixels.dtype,
        chunk_key_encoding={"name": "v2", "separator": "/" if nested else "."},
    )  # fmt: skip
    stored[...] = pixels
    metadata = json.loads((path / "0" / ".zarray").read_text())
    if not said:
        del metadata["dimension_separator"]
        (path / "0" / ".zarray").write_text(json.dumps(metadata))
    group.attrs.put({"multiscales": [{"version": version, "datasets": [{"path": "0"}], **more}]})
    return path


@pytest.mark.parametrize("said", [True, False], ids=["separator said", "separator left out"])
@pytest.mark.parametrize(("version", "nested"), [("0.1", False), ("0.2", True)])
def test_images_of_0_1_and_0_2_have_five_axes_and_no_scale(tmp_path, version, nested, said):
    source = open_source(first_version(tmp_path / "a.zarr", version, nested=nested, said=said))
    assert (source.spec.axes, source.spec.scale, source.notes) == ("tczyx", {}, ())
    assert source.missing() is None
    check_pixels(source, FIVE)


def test_images_of_0_3_name_their_axes(tmp_path):
    path = first_version(tmp_path / "a.zarr", "0.3", pixels=STACK, axes=["t", "y", "x"])
    check_pixels(open_source(path), STACK)
    assert open_source(path).spec.axes == "tyx"


def test_axes_that_nobody_names_are_assumed_and_noted(tmp_path):
    path = first_version(tmp_path / "a.zarr", "0.4")
    assert open_source(path).notes == (
        "its metadata names no axes: they are taken as t, c, z, y and x, as in OME-Zarr 0.1 and 0.2",
    )
    path = first_version(tmp_path / "b.zarr", "0.1", pixels=STACK)
    assert "does not say its axes" in refusal(path)
    check_pixels(open_source(path, axes="tyx"), STACK)


# What cannot be understood


WRONG = {
    "short scale": (own({"type": "scale", "scale": [0.3, 0.3]}),
                    "coordinateTransformations.0.scale: 2 numbers for 3 axes (t, y, x)"),
    "a scale of texts": (own({"type": "scale", "scale": ["1", "1", "1"]}), "0.scale.0: '1' is no number"),
    "a scale of truths": (own({"type": "scale", "scale": [True, 1, 1]}), "0.scale.0: True is no number"),
    "a scale that is a number": (own({"type": "scale", "scale": 2}), "0.scale: 2 and no list of numbers"),
    "no scale in it": (own({"type": "scale"}), "0.scale: missing"),
    "affine": (own({"type": "affine", "affine": []}), "0: 'affine' is no transformation that bgone knows"),
    "a text for a transformation": (own("scale"), "0: 'scale' is no transformation"),
    "transformations that are a text": (level("coordinateTransformations", "x"), "'x' and no list"),
    "two axes of one name": (axes("y", "y", "x"), "multiscales.0.axes: 2 axes are called y"),
    "fewer axes than the array": (axes("y", "x"), "has 2 axes in its metadata and 3 in its array"),
    "axes that are a text": (image("axes", "tyx"), "multiscales.0.axes: 'tyx' and no list of axes"),
    "no levels": (image("datasets", []), "multiscales.0.datasets: a list of 0 and no list of levels"),
    "levels left out": (without("datasets"), "multiscales.0.datasets: missing"),
    "a level without a path": (level("path", None), "multiscales.datasets.0.path: missing or no text"),
    "an image that is null": (top("multiscales", [None]), "multiscales.0: None in the place of an image"),
    "no image": (top("multiscales", []), "multiscales: an empty list"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "reason"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_understood_says_why_and_the_way_out_works(tmp_path, change, reason):
    path = ome(tmp_path / "a.zarr", change)
    text = refusal(path)
    assert reason in text
    assert f"with input.axes and input.scale, such as {path}/0: 0 (3 × 16 × 24)" in text
    source = open_source(path / "0", axes="tyx", scale={"y": "0.3 um", "x": "0.3 um"})
    check_pixels(source, STACK)


def test_a_level_that_leads_out_of_the_image_is_refused(tmp_path):
    ome(tmp_path / "b.zarr")
    assert "leads out of" in refusal(ome(tmp_path / "a.zarr", level("path", "../b.zarr/0")))


def test_a_level_that_is_not_there_names_those_that_are(tmp_path):
    path = ome(tmp_path / "a.zarr", arrays=[STACK, STACK[:, ::2, ::2]])
    shutil.rmtree(path / "0")
    text = refusal(path)
    assert "level 0 of" in text
    assert "say one that is there in input.level: 1" in text
    check_pixels(open_source(path, level=1), STACK[:, ::2, ::2])
