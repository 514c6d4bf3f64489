"""Groups that are no single image: each refusal names what to give, and what it names can be given."""

import re
import shutil

import pytest
import zarr
from read_samples import check_pixels, coded, refusal, write_ngff

from pipeline.read import open_source

STACK = coded((2, 8, 12))
SCALE = [[{"type": "scale", "scale": [1.0, 0.5, 0.5]}]]


def one_image(path, version="0.5"):
    return write_ngff(path, [STACK], "tyx", SCALE, version)


def group(path, zarr_format=3, **ome):
    attributes = {"ome": {"version": "0.5", **ome}} if zarr_format == 3 else ome
    return zarr.create_group(path, attributes=attributes, zarr_format=zarr_format)


def given_instead(text):
    """Return what a refusal says to give."""
    return re.search(r"such as (\S+?)(,|$| )", text)[1]


def check_way(path, words, **options):
    """Check a refusal, and that what it says to give is read."""
    text = refusal(path, **options)
    assert words in text
    check_pixels(open_source(given_instead(text)), STACK)


def plate(path, *wells, images=("0", "1"), there=None, **more):
    group(path, plate={"wells": [{"path": well} for well in wells], **more})
    for well in wells:
        if there is None or well in there:
            group(path / well, well={"images": [{"path": image} for image in images]})
            for image in images:
                one_image(path / well / image)
    return path


def test_a_plate_and_a_well(tmp_path):
    path = plate(tmp_path / "a.zarr", "A/1", "B/2")
    check_way(path, "is a plate of 2 wells: A/1/0, A/1/1, B/2/0, B/2/1")
    check_way(path / "A/1", "is a well of a plate: 0, 1")
    check_way(path, "is a plate of 2 wells", series=1)


def test_nobody_is_sent_to_an_image_that_is_not_there(tmp_path):
    path = plate(tmp_path / "a.zarr", "A/1", "B/2")
    shutil.rmtree(path / "A/1/0")
    check_way(path, "is a plate of 2 wells")
    check_way(path / "A/1", "is a well of a plate")
    shutil.rmtree(path / "A/1")
    check_way(path, "is a plate of 2 wells: B/2/0, B/2/1")
    shutil.rmtree(path / "B")
    assert "is a plate of 2 wells in which no image is found" in refusal(path)


def test_a_well_that_lists_nothing_has_what_is_there(tmp_path):
    path = plate(tmp_path / "a.zarr", "A/1")
    group(tmp_path / "b.zarr", well={})
    shutil.copytree(path / "A/1/0", tmp_path / "b.zarr/7")
    check_way(tmp_path / "b.zarr", "is a well of a plate: 7")


@pytest.mark.parametrize(
    "said", [None, [], 5, "x", {"wells": None}, {"wells": {"path": "A/1"}}, {"wells": [None, 5, {}]}], ids=str
)
def test_a_plate_that_says_nothing_of_use_is_refused_in_words(tmp_path, said):
    group(tmp_path / "a.zarr", plate=said)
    assert "is a plate of" in refusal(tmp_path / "a.zarr")
    group(tmp_path / "b.zarr", well=said)
    assert "is a well of a plate in which no image is found" in refusal(tmp_path / "b.zarr")


def collection(path, *names, series=None, zarr_format=3):
    root = group(path, zarr_format, **{"bioformats2raw.layout": 3})
    for name in names:
        one_image(path / name, "0.5" if zarr_format == 3 else "0.4")
    if series is not None:
        plain = {"series": series}
        root.create_group("OME", attributes={"ome": plain} if zarr_format == 3 else plain)
    return path


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_collection(tmp_path, zarr_format):
    path = collection(tmp_path / "a.zarr", "0", "1", series=["0", "1"], zarr_format=zarr_format)
    check_way(path, "holds several images (a multi-position store): 0, 1")
    check_pixels(open_source(path, series=1), STACK)
    assert "has no series 2; it has 0 to 1" in refusal(path, series=2)
    assert "has no series -1; it has 0 to 1" in refusal(path, series=-1)
    assert "is no array" in refusal(path / "OME") or "without an array" in refusal(path / "OME")


def test_a_collection_that_does_not_say_so_and_one_with_numbers_for_paths(tmp_path):
    path = collection(tmp_path / "a.zarr", "0", "1", "10", series=[0, 1, 10])
    zarr.open_group(path, mode="a").attrs.put({})
    check_pixels(open_source(path, series=2), STACK)


def test_images_of_a_collection_that_are_none(tmp_path):
    path = collection(tmp_path / "a.zarr", "0", series=["0", "9", "labels", "../b", "array"])
    group(path / "labels")
    one_image(path / "labels" / "cells")
    zarr.create_array(path / "array", shape=(3, 3), dtype="u1")
    assert "9' cannot be opened as Zarr" in refusal(path, series=1)
    check_way(path, "is a Zarr group that holds an image: cells", series=2)
    assert "leads out of" in refusal(path, series=3)
    assert "lists an image 'array', which is none" in refusal(path, series=4)


def several(path):
    one_image(path)
    root = zarr.open_group(path, mode="a")
    ome = root.attrs["ome"]
    root.attrs["ome"] = ome | {"multiscales": ome["multiscales"] * 2}
    return path


def test_several_images_in_one_group_alone_and_in_a_collection(tmp_path):
    path = several(tmp_path / "b.zarr")
    assert "holds several images: 0 (unnamed), 1 (unnamed); say which in input.series" in refusal(path)
    check_pixels(open_source(path, series=1), STACK)
    path = collection(tmp_path / "a.zarr", series=["0"])
    several(path / "0")
    text = refusal(path)
    assert f"give {path}/0 itself, and say which in input.series" in text
    assert text == refusal(path, series=0)
    check_pixels(open_source(path / "0", series=1), STACK)


def test_groups_of_groups_name_the_images_at_any_depth(tmp_path):
    group(tmp_path / "a.zarr")
    group(tmp_path / "a.zarr/day1")
    one_image(tmp_path / "a.zarr/day1/cells")
    one_image(tmp_path / "a.zarr/day10")
    one_image(tmp_path / "a.zarr/day9")
    check_way(tmp_path / "a.zarr", "is a Zarr group that holds several images: day1/cells, day9, day10")


def test_a_folder_of_labels(tmp_path):
    path = one_image(tmp_path / "a.zarr")
    group(path / "labels", labels=["cells"])
    one_image(path / "labels" / "cells")
    check_way(path / "labels", "is a Zarr group that holds an image: cells")
    assert open_source(path).not_carried == ("labels (cells)",)


def test_a_level_given_by_itself_has_the_axes_and_scale_of_its_image(tmp_path):
    path = one_image(tmp_path / "a.zarr")
    source = open_source(path / "0")
    check_pixels(source, STACK)
    assert source.spec.scale == open_source(path).spec.scale
    assert source.notes == (f"axes and scale are those of '{path}', of which this is level 0",)
    zarr.create_array(path / "other", data=STACK)
    assert "does not say its axes" in refusal(path / "other")


def test_something_that_cannot_be_opened_beside_an_image_is_passed_over(tmp_path):
    group(tmp_path / "a.zarr")
    one_image(tmp_path / "a.zarr/b")
    for name, text in {
        "c": "",
        "d": "[]",
        "e": '{"zarr_format": 3, "node_type": "array"}',
        "f": "\xff",
    }.items():
        (tmp_path / "a.zarr" / name).mkdir()
        (tmp_path / "a.zarr" / name / "zarr.json").write_text(text, "latin-1")
    check_way(tmp_path / "a.zarr", "holds an image: b; give one")
