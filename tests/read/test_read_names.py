"""What names of files say: what they count, in which order, and what follows from it."""

import json
import re

import numpy as np
import pytest
import tifffile
from read_samples import check_pixels, coded, refusal, whole

from pipeline.cli import main
from pipeline.model.errors import RequestError
from pipeline.read import open_source
from pipeline.read.sequence.names import parse_name
from pipeline.read.sequence.numbering import read_numbering

FRAME = coded((6, 8))


def write_names(folder, names):
    """Write a TIFF of one value a name: its place in the list."""
    for value, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, np.full((6, 8), value, np.uint16))
    return folder


def order_of(source):
    """Return which file each index along the first axis came from."""
    return whole(source)[:, 0, 0].tolist()


def days(hours):
    return [f"HC01001_G_C2_2_{h // 24:02d}d{h % 24:02d}h30m.tif" for h in hours]


# Names in the right order, the axis they say, and words of the note that says so.
SERIES = {
    "no word": ([f"img_{i}.tif" for i in range(11)], "t", "taken as t, in the order of the numbers"),
    "a frame": ([f"frame{i:03d}.tif" for i in range(4)], "t", "their names say so ('frame')"),
    "a time point": ([f"x_T{i}_ch00.tif" for i in range(3)], "t", "('T')"),
    "z": ([f"a_t001_c0_z{i:02d}.tif" for i in range(3)], "z", "taken as z, their names say so ('z')"),
    "slices": ([f"slice_{i}.tif" for i in range(3)], "z", "taken as z"),
    "channels": ([f"img_channel{i:03d}_position001_time003_z0.tif" for i in range(2)], "c", "('channel')"),
    "wavelengths": ([f"A01_s1_w{i}.tif" for i in (1, 2, 3)], "c", "taken as c"),
    "lasers": ([f"w{nm}.tif" for nm in (405, 488, 561, 640)], "c", "taken as c, their names say so ('w')"),
    "some channels": ([f"a_ch{c:02d}.tif" for c in (0, 1, 3)], "c", "taken as c"),
    "Opera's time": ([f"r01c02f03p01-ch1sk{i}fk1fl1.tiff" for i in (1, 2, 3)], "t", "('sk')"),
    "Opera's plane": ([f"r01c02f03p{i:02d}-ch1sk1fk1fl1.tiff" for i in (1, 2)], "z", "('p')"),
    "one letter": ([f"s{i}.tif" for i in range(3)], "t", "taken as t, in the order of the numbers"),
    "folders of many": ([f"{i // 3:02d}/{i:04d}.tif" for i in range(9)], "t", "taken as t"),
    "days first": (
        [f"{d}_{i}.tif" for i, d in enumerate(["30-01-2024", "31-01-2024", "01-02-2024", "02-02-2024"])],
        "t",
        "in the order of the numbers",
    ),
    "whole days": (
        [f"2024-01-{d:02d}_{h:02d}-{m:02d}-00.tif" for d in (1, 2) for h in range(24) for m in (0, 30)],
        "t",
        "in the order of the times in their names",
    ),
    "T between": (
        [f"20240101T{h:02d}{m:02d}_a.tif" for h in (1, 2) for m in (0, 30)]
        + [f"20240102T{h:02d}{m:02d}_a.tif" for h in (1, 2) for m in (0, 30)],
        "t",
        "times in their names",
    ),
    "suffixes of any case": (["f_0.tif", "f_1.TIF", "f_2.Tif"], "t", "taken as t"),
    "no numbers": (["after.tif", "before.tif"], "t", "which have no numbers"),
}  # fmt: skip


@pytest.mark.parametrize("case", SERIES)
def test_a_series_says_which_axis_it_is(tmp_path, case):
    names, axis, said = SERIES[case]
    folder = write_names(tmp_path / "in", names)
    source = open_source(folder / "*" / "*" if "/" in names[0] else folder)
    assert source.spec.axes == f"{axis}yx"
    assert order_of(source) == list(range(len(names)))
    assert len(source.notes) == 1
    assert said in source.notes[0]
    assert "input.axes says what else they are" in source.notes[0]


def test_info_plan_and_run_say_what_was_assumed(tmp_path, capsys):
    folder = write_names(tmp_path / "in", [f"z{i}.tif" for i in range(3)])
    said = "the 3 files (z0.tif to z2.tif) are taken as z, their names say so ('z')"
    config = {"input": {"path": str(folder)}, "steps": [{"white_tophat": {"radius": 2}}]}
    text = json.dumps({**config, "output": {"path": "out.ome.zarr"}})
    (tmp_path / "c.yaml").write_text(text)
    for command in (
        ["info", str(folder)],
        ["plan", f"{tmp_path}/c.yaml"],
        ["run", f"{tmp_path}/c.yaml", "--quiet"],
    ):
        assert main(command) == 0
        assert said in capsys.readouterr().out, command


def test_the_user_knows_better_and_reads_where_the_names_say_otherwise(tmp_path):
    folder = write_names(tmp_path / "in", [f"z{i}.tif" for i in range(3)])
    assert open_source(folder, axes="zyx").notes == ()
    assert (
        "taken as t, as input.axes says, though their names say 'z'"
        in open_source(folder, axes="tyx").notes[0]
    )
    plain = write_names(tmp_path / "plain", [f"f{i}.tif" for i in range(3)])
    assert open_source(plain, axes="tyx").notes == ()


# What counts two things, and how many files the glob of the hint gives.
TWO = {
    "positions": ([f"Pos{p}/img_{i}.tif" for p in range(4) for i in range(3)], 3),
    "positions, numbers that go on": ([f"Pos{p}/img_{p * 3 + i}.tif" for p in range(4) for i in range(3)], 3),
    "positions twice": ([f"Pos{p}/img_{i}_{p}.tif" for p in range(4) for i in range(3)], 3),
    "positions of one frame more": ([f"XY{p:02d}_t{i}.tif" for p, i in ((1, 0), (1, 1), (2, 2))], 2),
    "frames and channels": ([f"t{t}_c{c}.tif" for t in range(4) for c in range(2)], 4),
    "a running number over channels": ([f"{i:04d}_c{i % 2}.tif" for i in range(8)], 4),
    "a running number over time and channels": ([f"{i}_t{i // 2}_c{i % 2}.tif" for i in range(8)], 1),
    "channels and planes": ([f"w{c}_z{z}.tif" for c in (1, 2) for z in range(5)], 5),
    "no words": ([f"{t}_{c}.tif" for t in range(4) for c in range(2)], 4),
    "lasers": ([f"t{t}_w{nm}.tif" for t in range(5) for nm in (405, 488, 561)], 5),
    "sites of a plate": ([f"A01_s{s}_w1_t{t}.tif" for s in (1, 2) for t in range(3)], 3),
    "wells": ([f"Well_B{w:02d}_t{t}.tif" for w in (1, 2) for t in range(3)], 3),
    "fields of Opera": ([f"r1c2f{f}p1-ch1sk{t}fk1fl1.tif" for f in (1, 2) for t in (1, 2, 3)], 3),
    "Incucyte": ([f"A_C2_{s}_00d{h:02d}h00m.tif" for s in (1, 2, 3) for h in range(4)], 4),
    "Micro-Manager": ([f"img_channel{c:03d}_time{t:04d}_z0.tif" for c in (0, 1) for t in range(3)], 3),
    "a timestamp beside": ([f"t{t}_c{c}_{17066000 + 977 * t + c}.tif" for t in range(3) for c in (0, 1)], 1),
    "suffixes of any case": ([f"t{t}_c{c}.{'tif' if t else 'TIF'}" for t in range(3) for c in (0, 1)], 3),
}  # fmt: skip


@pytest.mark.parametrize("case", TWO)
@pytest.mark.parametrize("axes", [None, "tyx"])
def test_two_things_are_refused_with_a_glob_of_one(tmp_path, case, axes):
    names, count = TWO[case]
    folder = write_names(tmp_path / "in", names)
    text = refusal(folder / "*" / "*.tif" if "/" in names[0] else folder, axes=axes)
    assert "things" in text
    following = re.search(r"such as '([^']*)'$", text)[1]
    assert open_source(following, axes=None if count == 1 else "tyx").spec.sizes.get("t", 1) == count


PLACES = {
    "positions": [f"Pos{p}.tif" for p in range(3)],
    "folders of positions": [f"Pos_{p}/img.tif" for p in range(3)],
    "XY": [f"movie_XY{p:02d}.tif" for p in (1, 2)],
    "letters": [f"site{letter}/img.tif" for letter in "AB"],
    "both": [f"Pos{p}/img_{p}.tif" for p in range(3)],
}


@pytest.mark.parametrize("case", PLACES)
def test_places_are_no_axis_unless_the_user_says_so(tmp_path, case):
    names = PLACES[case]
    folder = write_names(tmp_path / "in", names)
    path = folder / "*" / "*.tif" if "/" in names[0] else folder
    text = refusal(path)
    assert "several places" in text
    first = re.search(r"such as '([^']*)'", text)[1]
    assert open_source(first).spec.axes == "yx"
    assert open_source(path, axes="tyx").spec.sizes["t"] == len(names)


def test_several_series_are_refused_with_a_glob_of_the_largest(tmp_path):
    """A glob of t*.tif would match the masks too."""
    folder = write_names(
        tmp_path / "in", [f"t{i:02d}{end}.tif" for i in range(3) for end in ("", "_mask")][:5]
    )
    text = refusal(folder)
    assert "several series: t##" in text.replace("#", "##")
    check_pixels(
        open_source(re.search(r"such as '([^']*)'$", text)[1]), np.stack([FRAME * 0 + i for i in (0, 2, 4)])
    )


def test_times_in_the_names_order_the_frames_and_are_the_scale(tmp_path):
    source = open_source(write_names(tmp_path / "in", days(range(0, 72, 2))))
    assert (source.spec.sizes["t"], source.spec.scale["t"], source.spec.units["t"]) == (36, 7200, "second")
    assert order_of(source) == list(range(36))
    assert "the scale along t, 2 h, is taken from the times in the names" in source.notes
    said = open_source(tmp_path / "in", axes="tyx", scale={"t": "1 h"})
    assert (said.spec.scale["t"], said.spec.units["t"]) == (1, "hour")


@pytest.mark.parametrize("names", [
    ["8h.tif", "24h.tif", "100h.tif"], ["2d00h.tif", "2d12h.tif", "10d00h.tif"],
    ["a_90min_x.tif", "a_100min_x.tif", "a_1000min_x.tif"], ["59m50s.tif", "100m00s.tif", "101m00s.tif"],
])  # fmt: skip
def test_times_sort_by_what_they_last_and_leave_no_scale_where_uneven(tmp_path, names):
    source = open_source(write_names(tmp_path / "in", names))
    assert order_of(source) == [0, 1, 2]
    assert "t" not in source.spec.scale
    assert any("not evenly spaced" in note and "so t has no scale" in note for note in source.notes)


def test_the_file_s_own_interval_is_kept(tmp_path):
    (tmp_path / "in").mkdir()
    for name in days((0, 2)):
        tifffile.imwrite(tmp_path / "in" / name, FRAME, imagej=True, metadata={"finterval": 7201.5})
    source = open_source(tmp_path / "in")
    assert source.spec.scale["t"] == 7201.5
    assert not any("scale" in note for note in source.notes)


def test_times_are_no_scale_of_channels(tmp_path):
    folder = write_names(tmp_path / "in", days((0, 2, 4)))
    assert open_source(folder, axes="zyx").spec.scale == {}


@pytest.mark.parametrize(
    "name", ["A01_s1_w2", "r01c02f03p01-ch1sk1fk1fl1", "488nm_10x_2s", "a1s2_3m", "2m_1h"]
)
def test_a_letter_behind_a_number_is_not_always_a_time(name):
    assert all(number.kind == "count" for number in parse_name(name).numbers)


def test_numbers_of_other_scripts_are_letters():
    """They are digits to Python, and no numbers."""
    assert read_numbering(["/d/5²3.tif", "/d/5²4.tif"]).files == ("/d/5²3.tif", "/d/5²4.tif")


def test_a_frame_number_behind_a_date_may_not_have_gaps():
    names = [f"/d/20240101_{i:06d}.tif" for i in (0, 1, 2, 4)]
    with pytest.raises(RequestError, match=r"1 file is missing: 20240101_000003\.tif"):
        read_numbering(names)
