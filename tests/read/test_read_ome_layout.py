"""Which file and page an OME-TIFF means by its names, UUIDs and numbers; what cannot be told is refused."""

import os

import numpy as np
import pytest
from ome_samples import ome, pixels, plane, stub, tiff_data, uuid_of, write_pages
from read_samples import check_pixels, refusal

from pipeline.cli import main
from pipeline.read import open_source


def positions(folder, uuids=True, there=(0, 1), frames=3, root_uuid=True):
    """Write two images of a file each, both described in both files, as Micro-Manager does."""
    name, identifier = "exp_Pos{}.ome.tif".format, (uuid_of if uuids else lambda number: None)
    described = [pixels(tiff_data(0, frames, name(image), identifier(image)), t=frames) for image in range(2)]
    for image in there:
        xml = ome(*described, uuid=identifier(image) if root_uuid else None)
        write_pages(folder / name(image), [plane(image, number) for number in range(frames)], xml)
    return [folder / name(image) for image in range(2)]


def image_pixels(image, frames=3):
    return np.stack([plane(image, number) for number in range(frames)])


UUIDS = pytest.mark.parametrize("uuids", [True, False], ids=["uuids", "no uuids"])


@UUIDS
@pytest.mark.parametrize("series", [0, 1])
@pytest.mark.parametrize("given", [0, 1])
def test_each_position_is_read_from_its_own_file(tmp_path, uuids, given, series):
    path = positions(tmp_path, uuids)[given]
    assert "0 (Pos0: t 3 × y 6 × x 8), 1 (Pos1: t 3 × y 6 × x 8)" in refusal(path)
    check_pixels(open_source(path, series=series), image_pixels(series))


@UUIDS
@pytest.mark.parametrize("given", [0, 1])
def test_a_position_whose_file_is_missing_is_refused_and_the_other_read(tmp_path, uuids, given):
    path = positions(tmp_path, uuids, there=[given])[given]
    check_pixels(open_source(path, series=given), image_pixels(given))
    text = refusal(path, series=1 - given)
    assert f"image 'Pos{1 - given}'" in text
    assert f"consists of 1 file, and exp_Pos{1 - given}.ome.tif is missing" in text


def test_a_missing_position_ends_a_run_with_exit_code_2(tmp_path, capsys):
    path = positions(tmp_path, there=[0])[0]
    (tmp_path / "c.yaml").write_text(
        f"input: {{path: {path.name}, series: 1}}\n"
        "steps: [white_tophat: {radius: 2}]\noutput: {path: o.zarr}\n"
    )
    for command in ("plan", "run"):
        assert main([command, str(tmp_path / "c.yaml")]) == 2
        assert "exp_Pos1.ome.tif is missing" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["c.yaml", path.name]


@UUIDS
def test_a_renamed_position_is_told_by_its_uuid_alone(tmp_path, uuids):
    old = positions(tmp_path, uuids)[0]
    path = old.rename(tmp_path / "renamed.ome.tif")
    if uuids:
        check_pixels(open_source(path, series=0), image_pixels(0))
    else:
        assert "exp_Pos0.ome.tif is missing" in refusal(path, series=0)
    check_pixels(open_source(path, series=1), image_pixels(1))


def test_the_same_uuid_in_every_file_tells_none(tmp_path):
    described = [pixels(tiff_data(0, 1, f"exp_Pos{image}.ome.tif", uuid_of(7))) for image in range(2)]
    path = write_pages(tmp_path / "exp_Pos1.ome.tif", [plane(1, 0)], ome(*described, uuid=uuid_of(7)))
    assert "exp_Pos0.ome.tif is missing" in refusal(path, series=0)
    check_pixels(open_source(path, series=1), plane(1, 0))
    path = path.rename(tmp_path / "renamed.ome.tif")
    for image in range(2):
        assert f"exp_Pos{image}.ome.tif is missing" in refusal(path, series=image)


def test_a_file_that_is_there_under_its_own_name_stands_for_no_other(tmp_path):
    """The XML of the first file, copied into the second with its UUID: the second is not the first."""
    described = [pixels(tiff_data(0, 1, f"p{image}.ome.tif", uuid_of(image))) for image in range(2)]
    path = write_pages(tmp_path / "p1.ome.tif", [plane(1, 0)], ome(*described, uuid=uuid_of(0)))
    assert "p0.ome.tif is missing" in refusal(path, series=0)
    check_pixels(open_source(path, series=1), plane(1, 0))


RENAMED = {
    "its own uuid": (uuid_of(1), uuid_of(1), True),
    "no uuid at all": (None, None, True),
    "a uuid beside the name alone": (uuid_of(1), None, True),
    "the uuid of another file": (uuid_of(2), uuid_of(1), False),
}


@pytest.mark.parametrize("case", RENAMED)
def test_the_one_file_of_one_image_may_be_renamed(tmp_path, case):
    said, own, readable = RENAMED[case]
    xml = ome(pixels(tiff_data(0, 2, "old.ome.tif", said), t=2), uuid=own)
    path = write_pages(tmp_path / "new.ome.tif", [plane(0, 0), plane(0, 1)], xml)
    if readable:
        check_pixels(open_source(path), image_pixels(0, 2))
    else:
        assert "old.ome.tif is missing" in refusal(path)


def test_the_one_file_of_several_images_needs_its_uuid_to_be_renamed(tmp_path):
    for own in (None, uuid_of(1)):
        xml = ome(*(pixels(tiff_data(i, 1, "old.ome.tif", own)) for i in range(2)), uuid=own)
        path = write_pages(tmp_path / f"new{own}.ome.tif".replace(":", ""), [plane(0, 0), plane(1, 0)], xml)
        if own:
            check_pixels(open_source(path, series=1), plane(1, 0))
        else:
            assert "old.ome.tif is missing" in refusal(path, series=1)


def test_a_copy_is_read_itself_where_its_uuid_says_so(tmp_path):
    xml = ome(pixels(tiff_data(0, 1, "old.ome.tif", uuid_of(1))), uuid=uuid_of(1))
    write_pages(tmp_path / "old.ome.tif", [plane(0, 0)], xml)
    check_pixels(open_source(write_pages(tmp_path / "copy.ome.tif", [plane(5, 0)], xml)), plane(5, 0))


def test_pixels_of_another_file_than_the_one_given_are_noted(tmp_path):
    xml = ome(pixels(tiff_data(0, 1, "old.ome.tif")))
    write_pages(tmp_path / "old.ome.tif", [plane(0, 0)], xml)
    source = open_source(write_pages(tmp_path / "copy.ome.tif", [plane(5, 0)], xml))
    check_pixels(source, plane(0, 0))
    assert source.notes == ("the OME-XML says that its pixels are in 'old.ome.tif', which is read",)


NAMES = {
    "in a folder below": ("sub/b.ome.tif", "sub/b.ome.tif"),
    "with the separator of Windows": (r"sub\b.ome.tif", "sub/b.ome.tif"),
    "a full path of another machine": ("/home/ann/data/b.ome.tif", "b.ome.tif"),
    "a full path of Windows": (r"D:\data\b.ome.tif", "b.ome.tif"),
    "a share of Windows": (r"\\server\data\b.ome.tif", "b.ome.tif"),
}


@pytest.mark.parametrize("case", NAMES)
def test_files_are_looked_for_beside_and_below(tmp_path, case):
    said, there = NAMES[case]
    blocks = tiff_data(0, 1, "a.ome.tif", T=0) + tiff_data(0, 1, said, T=1)
    path = write_pages(tmp_path / "a.ome.tif", [plane(0, 0)], ome(pixels(blocks, t=2)))
    assert "b.ome.tif is missing" in refusal(path)
    write_pages(tmp_path / there, [plane(0, 1)])
    check_pixels(open_source(path), image_pixels(0, 2))


@pytest.mark.parametrize("name", ["../b.ome.tif", "sub/../../b.ome.tif", r"..\b.ome.tif"])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, name):
    write_pages(tmp_path / "b.ome.tif", [plane(0, 1)])
    blocks = [pixels(tiff_data(0, 1, "a.ome.tif")), pixels(tiff_data(0, 1, name))]
    path = write_pages(tmp_path / "in" / "a.ome.tif", [plane(0, 0)], ome(*blocks))
    assert "lies outside its folder; put all files into one folder" in refusal(path, series=1)
    check_pixels(open_source(path, series=0), plane(0, 0))
    path = write_pages(tmp_path / "in" / "c.ome.tif", [plane(0, 0)], stub(name))
    assert "lies outside its folder" in refusal(path)


PLACES = {
    "a negative page": (tiff_data(-1, 1) + tiff_data(0, 1, T=1), 'lacks or garbles IFD="-1"'),
    "a page beyond the file": (tiff_data(0, 1) + tiff_data(2, 1, T=1), "says 3 pages, and it has 2"),
    "a page far beyond": (tiff_data(0, 1) + tiff_data(10**15, 1, T=1), "and it has 2"),
    "a page without end": (tiff_data(10**30, 2), "lacks or garbles IFD"),
    "pages that are no number": (tiff_data("two", 2), 'lacks or garbles IFD="two"'),
    "a negative count": (tiff_data(0, -2), 'lacks or garbles PlaneCount="-2"'),
    "a count beyond the file": (tiff_data(1, 2), "says 3 pages, and it has 2"),
    "a negative frame": (tiff_data(0, 2, T=-1), 'lacks or garbles FirstT="-1"'),
    "a frame that is not there": (tiff_data(0, 2, T=2), "2 planes, and where 0 of them are"),
    "frames counted from 1": (tiff_data(0, 1, T=1) + tiff_data(1, 1, T=2), "where 1 of them are"),
    "no place": ("", "where 0 of them are"),
    "two places for a plane": (tiff_data(0, 2) + tiff_data(0, 1, T=1), "is on two different pages"),
    "the same page for half of them": (tiff_data(0, 1) + tiff_data(0, 1), "where 1 of them are"),
}  # fmt: skip


@pytest.mark.parametrize("case", PLACES)
def test_places_that_cannot_be_are_refused(tmp_path, case):
    blocks, expected = PLACES[case]
    path = write_pages(tmp_path / "a.ome.tif", image_pixels(0, 2), ome(pixels(blocks, t=2)))
    assert expected in refusal(path)


def test_the_same_place_said_twice_is_one(tmp_path):
    xml = ome(pixels(tiff_data(0, 2) + tiff_data(1, 1, T=1) + tiff_data(0, 0), t=2))
    check_pixels(
        open_source(write_pages(tmp_path / "a.ome.tif", image_pixels(0, 2), xml)), image_pixels(0, 2)
    )


def test_planes_that_share_a_page_are_noted(tmp_path):
    """Micro-Manager gives planes that were not taken the page of a neighbour."""
    xml = ome(pixels(tiff_data(0, 2) + tiff_data(1, 1, T=2), t=3))
    source = open_source(write_pages(tmp_path / "a.ome.tif", image_pixels(0, 2), xml))
    check_pixels(source, np.stack([plane(0, 0), plane(0, 1), plane(0, 1)]))
    assert source.notes == (
        "the OME-XML gives 1 of 3 planes the page of another plane, which is read for both",
    )


SHARED = {
    "all pages for both": (tiff_data(), tiff_data()),
    "page 0 for both": (tiff_data(0, 2), tiff_data(0, 1)),
    "one page of several": (tiff_data(0, 2), tiff_data(1, 2)),
}


@pytest.mark.parametrize("series", [0, 1])
@pytest.mark.parametrize("case", SHARED)
def test_a_page_of_two_images_is_refused(tmp_path, case, series):
    described = [pixels(block, t=2) for block in SHARED[case]]
    path = write_pages(tmp_path / "a.ome.tif", [plane(0, number) for number in range(4)], ome(*described))
    assert f"gives the same pages to two images, {series} (Pos{series}) and" in refusal(path, series=series)


def test_several_images_of_one_file_are_told_by_their_pages(tmp_path):
    xml = ome(*(pixels(tiff_data(2 * image, 2), t=2) for image in range(3)))
    path = write_pages(tmp_path / "a.ome.tif", [plane(i, n) for i in range(3) for n in range(2)], xml)
    for image in range(3):
        check_pixels(open_source(path, series=image), image_pixels(image, 2))


def test_a_file_known_by_its_uuid_alone_is_the_one_of_that_uuid(tmp_path):
    first = pixels(tiff_data(0, 1, "b.ome.tif", uuid_of(2)) + tiff_data(1, 1, None, uuid_of(2), T=1), t=2)
    path = write_pages(tmp_path / "a.ome.tif", [plane(9, 0)], ome(first, uuid=uuid_of(1)))
    write_pages(tmp_path / "b.ome.tif", image_pixels(0, 2))
    check_pixels(open_source(path), image_pixels(0, 2))
    path = write_pages(tmp_path / "c.ome.tif", [plane(9, 0)], ome(pixels(tiff_data(0, 1, None, uuid_of(5))),
                                                                 uuid=uuid_of(1)))  # fmt: skip
    assert f"{uuid_of(5)} is missing" in refusal(path)


def test_two_files_that_only_uuids_name_are_two(tmp_path):
    blocks = tiff_data(0, 1, None, uuid_of(1)) + tiff_data(0, 1, None, uuid_of(2), T=1)
    path = write_pages(tmp_path / "a.ome.tif", [plane(0, 0)], ome(pixels(blocks, t=2)))
    assert "consists of 2 files" in refusal(path)


def split(folder, first="a.ome.tif", second="b.ome.tif", metadata="a.ome.tif"):
    """Write one image of two files, of which only one says more than where that is."""
    blocks = "".join(
        tiff_data(number % 2, 1, (first, second)[number // 2], uuid_of(number // 2), T=number)
        for number in range(4)
    )
    described = ome(pixels(blocks, t=4), uuid=uuid_of(0))
    write_pages(folder / first, [plane(0, 0), plane(0, 1)],
                described if metadata == first else stub(metadata, uuid_of(0)))  # fmt: skip
    write_pages(folder / second, [plane(0, 2), plane(0, 3)], stub(metadata, uuid_of(1)))
    if metadata not in (first, second):
        (folder / metadata).write_text(described)
    return folder / first, folder / second


@pytest.mark.parametrize("metadata", ["a.ome.tif", "m.companion.ome"])
@pytest.mark.parametrize("given", [0, 1])
def test_planes_alone_lead_to_the_metadata(tmp_path, metadata, given):
    path = split(tmp_path, metadata=metadata)[given]
    source = open_source(path)
    check_pixels(source, image_pixels(0, 4))
    assert (len(source.files()), source.path) == (2, str(path))


def test_planes_without_a_name_are_in_the_file_with_the_metadata(tmp_path):
    write_pages(tmp_path / "a.ome.tif", image_pixels(0, 2), ome(pixels(tiff_data(0, 2), t=2)))
    path = write_pages(tmp_path / "b.ome.tif", [plane(9, 0), plane(9, 1)], stub("a.ome.tif"))
    source = open_source(path)
    check_pixels(source, image_pixels(0, 2))
    assert source.notes == ("the OME-XML says that its pixels are in 'a.ome.tif', which is read",)


@pytest.mark.parametrize("metadata", ["a.ome.tif", "m.companion.ome"])
def test_a_renamed_file_of_planes_is_told_by_its_uuid(tmp_path, metadata):
    path = split(tmp_path, metadata=metadata)[1].rename(tmp_path / "c.ome.tif")
    check_pixels(open_source(path), image_pixels(0, 4))
    assert "b.ome.tif is missing" in refusal(tmp_path / metadata)


def test_metadata_that_are_not_there_are_named(tmp_path):
    first, second = split(tmp_path)
    first.unlink()
    assert "metadata file 'a.ome.tif' is missing; put it beside the TIFF" in refusal(second)
    assert "does not say which file" in refusal(write_pages(tmp_path / "d.ome.tif", [plane(0, 0)], stub("")))
    write_pages(tmp_path / "plain.tif", [plane(0, 0)])
    path = write_pages(tmp_path / "e.ome.tif", [plane(0, 0)], stub("plain.tif"))
    assert "says that its metadata are in 'plain.tif', which has no OME-XML" in refusal(path)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_files_that_point_to_each_other_are_refused(tmp_path, length):
    for index in range(length):
        xml = stub(f"f{(index + 1) % length}.ome.tif")
        path = write_pages(tmp_path / f"f{index}.ome.tif", [plane(0, index)], xml)
    text = refusal(path)
    assert "they point to each other" in text
    assert all(f"f{index}.ome.tif" in text for index in range(length))


def test_a_companion_whose_planes_have_no_file_is_refused(tmp_path):
    (tmp_path / "m.companion.ome").write_text(ome(pixels(tiff_data(0, 1))))
    assert "one is missing" in refusal(tmp_path / "m.companion.ome")
