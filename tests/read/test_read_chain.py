"""Stacks that continue each other along an axis: a camera's movie in parts."""

import pickle

import numpy as np
import pytest
import tifffile
from read_samples import check_pixels, coded, refusal, write_tiff

from pipeline.read import open_source
from pipeline.read.lazy import open_image

MOVIE = coded((12, 6, 8))
PARTS = ((0, 5), (5, 10), (10, 12))
PLAIN = {"photometric": "minisblack", "metadata": None}


def write_parts(folder, movie=MOVIE, parts=PARTS, name="movie_{:05d}.tif", axis=0, **options):
    folder.mkdir(exist_ok=True)
    for number, (start, stop) in enumerate(parts):
        part = np.take(movie, range(start, stop), axis)
        tifffile.imwrite(folder / name.format(number + 1), part, **(options or PLAIN))
    return folder


KINDS = {
    "plain": PLAIN,
    "packed": {"photometric": "minisblack", "compression": "zlib"},
    "ImageJ": {"imagej": True, "metadata": {"axes": "TYX", "finterval": 3.0}},
    "ImageJ of one header": {"imagej": True, "metadata": {"axes": "TYX"}, "truncate": True},
    "OME": {"ome": True, "metadata": {"axes": "TYX"}},
    "strips": {"photometric": "minisblack", "rowsperstrip": 2, "compression": "lzw"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pattern", [".", "*.tif"])
def test_parts_of_a_movie_are_one_movie(tmp_path, kind, pattern):
    source = open_source(write_parts(tmp_path / "in", **KINDS[kind]) / pattern, axes="tyx")
    assert (source.spec.axes, source.spec.chunks) == ("tyx", (1, 6, 8))
    check_pixels(source, MOVIE)
    check_pixels(pickle.loads(pickle.dumps(source)), MOVIE)
    assert "3 files continue each other along t: 5, 5, 2" in source.notes
    assert len(source.files()) == 3
    assert source.spec.scale.get("t") == (3 if kind == "ImageJ" else None)


def test_a_chain_takes_what_its_largest_strip_takes_to_decode(tmp_path):
    folder = write_parts(tmp_path / "in", **KINDS["packed"])
    tifffile.imwrite(folder / "movie_00001.tif", MOVIE[:5], **PLAIN)
    part = open_source(folder / "movie_00002.tif", axes="tyx")
    assert open_source(folder, axes="tyx").bytes_beside((1, 6, 8)) == part.bytes_beside((1, 6, 8)) > 0


@pytest.mark.parametrize("parts", [((0, 1), (1, 6), (6, 12)), ((0, 5), (5, 11), (11, 12)), ((0, 6), (6, 12))])
@pytest.mark.parametrize("kind", ["plain", "OME", "ImageJ"])
def test_a_part_may_be_a_single_frame(tmp_path, parts, kind):
    check_pixels(open_source(write_parts(tmp_path / "in", parts=parts, **KINDS[kind]), axes="tyx"), MOVIE)


def test_parts_stored_in_different_ways(tmp_path):
    folder = write_parts(tmp_path / "in")
    write_tiff(folder / "movie_00002.tif", MOVIE[5:10], byteorder=">", photometric="minisblack")
    check_pixels(open_source(folder, axes="tyx"), MOVIE)
    write_tiff(folder / "movie_00001.tif", MOVIE[:5], compression="zlib", photometric="minisblack")
    check_pixels(open_source(folder, axes="tyx"), MOVIE)
    for number, (start, stop) in enumerate(PARTS):
        options = {"compression": "zlib"} if number == 1 else {"truncate": True}
        write_tiff(folder / f"movie_{number + 1:05d}.tif", MOVIE[start:stop], imagej=True, **options)
    check_pixels(open_source(folder, axes="tyx"), MOVIE)


@pytest.mark.parametrize(("axes", "axis"), [("tzyx", 0), ("ztyx", 1), ("tcyx", 0)])
def test_the_axis_that_goes_on_is_t_wherever_it_stands(tmp_path, axes, axis):
    movie = coded((12, 3, 6, 8)) if axis == 0 else coded((3, 12, 6, 8))
    options = {"metadata": {"axes": axes.upper()}, "photometric": "minisblack"}
    folder = write_parts(tmp_path / "in", movie, axis=axis, **options)
    check_pixels(open_source(folder, axes=axes), np.moveaxis(movie, axis, 0))


def test_planes_go_on_where_there_is_no_t(tmp_path):
    source = open_source(write_parts(tmp_path / "in"), axes="zyx")
    assert source.spec.axes == "zyx"
    check_pixels(source, MOVIE)


def test_reading_is_lazy(tmp_path):
    folder = write_parts(tmp_path / "in")
    image = open_image(folder, axes="tyx")
    assert image.data.numblocks == (12, 1, 1)
    (folder / "movie_00001.tif").unlink()
    np.testing.assert_array_equal(image.data[7].compute(), MOVIE[7])


def test_without_axes_nothing_is_assumed(tmp_path):
    folder = write_parts(tmp_path / "in")
    assert "say input.axes: tyx if the files continue each other along t" in refusal(folder)
    named = write_parts(tmp_path / "named", **KINDS["ImageJ"])
    assert "say in input.axes tyx (they continue each other)" in refusal(named)


def test_a_part_that_differs_elsewhere_is_refused(tmp_path):
    folder = write_parts(tmp_path / "in")
    second = folder / "movie_00002.tif"
    write_tiff(second, MOVIE[5:10, :4], **PLAIN)
    assert "movie_00002.tif' is 5 × y 4 × x 8 uint16, and" in refusal(folder, axes="tyx")
    write_tiff(second, MOVIE[5:10].astype(np.uint8), **PLAIN)
    assert "uint8, and" in refusal(folder, axes="tyx")
    write_tiff(second, MOVIE[5:10], imagej=True, metadata={"axes": "ZYX"})
    assert "take it away, or export it again" in refusal(folder, axes="tyx")
    write_tiff(second, MOVIE[5:10], **PLAIN)
    second.write_bytes(second.read_bytes()[:-200])
    assert "truncated or damaged" in refusal(folder, axes="tyx")
    second.rename(folder / "movie_00004.tif")
    assert "1 file is missing: movie_00002.tif" in refusal(folder, axes="tyx")


@pytest.mark.parametrize("name", ["Pos{}.tif", "z{}.tif", "movie_c{}.tif", "XY{:02d}/a.tif"])
def test_what_the_names_call_otherwise_does_not_continue(tmp_path, name):
    for number in (1, 2):
        (tmp_path / f"XY{number:02d}").mkdir(exist_ok=True)
        write_tiff(tmp_path / name.format(number), MOVIE[:5], **PLAIN)
    path = tmp_path / ("*/a.tif" if "/" in name else name.replace("{}", "*"))
    text = refusal(path, axes="tyx")
    assert "do not continue each other along t" in text
    assert open_source(path, axes="ctyx").spec.axes == "tcyx"
