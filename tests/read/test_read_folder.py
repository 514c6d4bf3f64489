"""Folders and globs of TIFF files: one a frame."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from read_samples import check_pixels, coded, refusal, whole, write_frames

from pipeline.model.errors import RequestError
from pipeline.read import open_source
from pipeline.read.sequence.numbering import read_numbering

FRAMES = coded((12, 10, 14))
BRIGHTFIELD = Path(__file__).parents[3] / "shared" / "data" / "brightfield"


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("name", ["f_{}.tif", "f_{:03d}.tiff", "{:02d}.TIF", "20240101T1030_{}.tif"])
def test_frames_come_in_the_order_of_their_numbers(tmp_path, compression, name):
    folder = write_frames(tmp_path / "in", FRAMES, name, compression=compression)
    (folder / ".hidden.tif").write_bytes(b"no")
    (folder / "notes.txt").write_text("no frame")
    source = open_source(folder)
    assert (source.spec.axes, source.spec.chunks) == ("tyx", (1, 10, 14))
    assert len(source.files()) == 12
    check_pixels(source, FRAMES)


@pytest.mark.parametrize("pattern", ["f_*.tif", "*.tif", "f_0*", "*_0??.tif"])
def test_a_glob(tmp_path, pattern):
    folder = write_frames(tmp_path / "in", FRAMES)
    tifffile.imwrite(folder / "dark.tiff", FRAMES[0])
    check_pixels(open_source(folder / pattern), FRAMES)


def test_a_name_with_brackets_is_no_glob(tmp_path):
    tifffile.imwrite(tmp_path / "a[1].tif", FRAMES[0])
    check_pixels(open_source(tmp_path / "a[1].tif"), FRAMES[0])


def test_the_files_can_be_another_axis(tmp_path):
    folder = write_frames(tmp_path / "in", FRAMES)
    assert open_source(folder, axes="zyx").spec.axes == "zyx"
    assert open_source(folder, axes="cyx", select={"c": [1, 3]}).spec.shape == (2, 10, 14)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", ["imagej", "ome", "plain", "imagej of one header"])
def test_each_file_may_hold_a_stack(tmp_path, compression, kind):
    stacks = coded((4, 3, 10, 14))
    options = {
        "imagej": {"imagej": True, "metadata": {"axes": "ZYX", "spacing": 3.0, "unit": "um"}},
        "imagej of one header": {
            "imagej": True,
            "metadata": {"axes": "ZYX"},
            "truncate": compression is None,
        },
        "ome": {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeZ": 3.0}},
        "plain": {},
    }[kind]
    folder = write_frames(
        tmp_path / "in", stacks, photometric="minisblack", compression=compression, **options
    )
    if kind == "plain":
        assert "such as input.axes: tzyx" in refusal(folder)
    source = open_source(folder, axes="tzyx" if kind == "plain" else None)
    assert source.spec.axes == "tzyx"
    if kind in ("imagej", "ome"):
        assert source.spec.scale["z"] == 3
    check_pixels(source, stacks)


def test_raw_frames_may_begin_anywhere_in_their_files(tmp_path):
    """Descriptions of different lengths push the pixels around."""
    for index, frame in enumerate(FRAMES):
        tifffile.imwrite(tmp_path / f"{index}.tif", frame, description="x" * (100 * index), metadata=None)
    check_pixels(open_source(tmp_path), FRAMES)


def test_frames_stored_in_different_ways(tmp_path):
    for index, frame in enumerate(FRAMES):
        options = [{}, {"compression": "zlib"}, {"byteorder": ">"}, {"rowsperstrip": 2}][index % 4]
        tifffile.imwrite(tmp_path / f"{index}.tif", frame, **options)
    check_pixels(open_source(tmp_path), FRAMES)


def test_one_file_is_a_folder_too(tmp_path):
    folder = write_frames(tmp_path / "in", FRAMES[:1])
    source = open_source(folder)
    assert source.spec.shape == (1, 10, 14)
    write_frames(folder, FRAMES[None], photometric="minisblack", metadata={"axes": "TYX"})
    check_pixels(open_source(folder), FRAMES)


def test_a_frame_of_another_kind_is_named(tmp_path):
    folder = write_frames(tmp_path / "in", FRAMES)
    tifffile.imwrite(folder / "f_007.tif", FRAMES[7, :8])
    assert "'f_007.tif' is 8 × 14 uint16, and 'f_000.tif' is 10 × 14 uint16" in refusal(folder)
    tifffile.imwrite(folder / "f_007.tif", FRAMES[7].astype(np.uint8))
    assert "'f_007.tif' is 10 × 14 uint8" in refusal(folder)
    tifffile.imwrite(folder / "f_007.tif", np.stack([FRAMES[7]] * 3, -1), photometric="rgb")
    assert "with 3 samples a pixel" in refusal(folder)
    tifffile.imwrite(folder / "f_007.tif", FRAMES[7:9], photometric="minisblack")
    assert "'f_007.tif' has 2 pages, and 'f_000.tif' has 1" in refusal(folder)
    (folder / "f_007.tif").write_bytes(b"")
    assert "f_007.tif' is empty" in refusal(folder)
    tifffile.imwrite(folder / "f_007.tif", FRAMES[7])
    data = (folder / "f_007.tif").read_bytes()
    (folder / "f_007.tif").write_bytes(data[:-100])
    assert "f_007.tif' is truncated" in refusal(folder)


def test_a_missing_frame_is_named(tmp_path):
    folder = write_frames(tmp_path / "in", FRAMES)
    (folder / "f_007.tif").unlink()
    assert "1 file is missing: f_007.tif" in refusal(folder)
    (folder / "f_004.tif").unlink()
    assert "2 files are missing: f_004.tif, f_007.tif" in refusal(f"{folder}/f_*.tif")


def test_a_movie_in_each_file_asks(tmp_path):
    folder = write_frames(
        tmp_path / "in", FRAMES.reshape(3, 4, 10, 14), imagej=True, metadata={"axes": "TYX"}
    )
    assert "each file of" in refusal(folder)
    assert open_source(folder, axes="ctyx").spec.axes == "tcyx"


WHOLE = {
    "from 0": [f"t{i}.tif" for i in range(12)],
    "from 7": [f"t{i:04d}.tif" for i in range(7, 30)],
    "every fifth": [f"t{i}.tif" for i in range(0, 60, 5)],
    "no numbers": ["before.tif", "during.tif", "later.tif"],
    "a number that stays": [f"run2_t{i}_488nm.tif" for i in range(4)],
    "times of day": ["103002.tif", "103033.tif", "103105.tif", "103134.tif"],
    "date, time and count": [f"2024-01-02_10-3{i % 10}-{7 * i % 60:02d}_{i:03d}.tif" for i in range(9)],
    "hours, minutes, seconds": [
        "10-30-05.tif",
        "10-30-40.tif",
        "10-31-05.tif",
        "11-02-40.tif",
        "12-45-12.tif",
    ],
    "one": ["t9.tif"],
}
BROKEN = {
    "a gap": ([f"t{i:02d}.tif" for i in (0, 1, 3, 4)], "1 file is missing: t02.tif"),
    "a wide gap": ([f"t{i}.tif" for i in (8, 9, 10, 14)], "3 files are missing: t11.tif, t12.tif, t13.tif"),
    "a gap in fives": ([f"t{i:03d}.tif" for i in (0, 5, 10, 20)], "missing: t015.tif"),
    "a gap in a count beside times": (
        [f"{7 * i:04d}_{i}.tif" for i in (0, 1, 2, 4, 5)], "1 file is missing: number 3",
    ),
    "many gaps": ([f"t{i}.tif" for i in range(60) if i % 4], "and 6 more"),
    "two series": (["a1.tif", "a2.tif", "b1.tif"], "a#.tif (2 files), b#.tif (1 file)"),
    "a stray": (["dark.tif", "t0.tif", "t1.tif"], "one series, such as '/data/x5/t*.tif'"),
    "frames and channels": ([f"t{t}_c{c}.tif" for t in range(4) for c in range(2)], "t (4) and c (2)"),
    "the same number twice": (["t1.tif", "t01.tif", "t2.tif"], "have the same number"),
}  # fmt: skip


@pytest.mark.parametrize("case", WHOLE)
def test_numbering_that_is_whole(case):
    read_numbering([f"/data/x5/{name}" for name in WHOLE[case]])


@pytest.mark.parametrize("case", BROKEN)
def test_numbering_that_is_broken(case):
    names, expected = BROKEN[case]
    with pytest.raises(RequestError) as caught:
        read_numbering([f"/data/x5/{name}" for name in names])
    assert expected in str(caught.value)


@pytest.mark.skipif(not BRIGHTFIELD.is_dir(), reason="the shared brightfield time-lapse is not here")
def test_the_brightfield_time_lapse():
    source = open_source(BRIGHTFIELD)
    assert (source.spec.axes, source.spec.shape) == ("tyx", (50, 500, 500))
    expected = np.stack([tifffile.imread(path) for path in sorted(BRIGHTFIELD.glob("*.tif"))])
    np.testing.assert_array_equal(whole(source), expected)
