"""What a report says in words and draws in charts is what the run's pixels are."""

import os
import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from report_pages import config, drawings, images, page_of, text_of, write_movie
from scipy import ndimage

import pipeline
from pipeline.explore import crop
from pipeline.explore.sample import make_sample
from pipeline.read import content
from pipeline.reporting import pictures, report
from pipeline.reporting.charts import change_text, curve, histogram_chart
from pipeline.reporting.cutting import cutting
from pipeline.reporting.page import identity_rows
from pipeline.reporting.performance import performance_section


@pytest.fixture
def movie(folder):
    return write_movie(folder)


def places(line):
    """Return the points of a line or an area."""
    return np.array([[float(each) for each in place.split(",")] for place in line.get("points").split()])


def test_clipped_pixels_are_said_as_a_share_and_in_the_plane_with_the_most(movie):
    frames = tifffile.imread(movie).astype(np.int64)
    frames[1, :, 30:60] = 50  # nothing to clip there
    tifffile.imwrite(movie, frames.astype(np.uint16), photometric="minisblack")
    clipped = [
        int((frame < ndimage.maximum_filter(ndimage.minimum_filter(frame, 3), 9)).sum()) for frame in frames
    ]
    steps = {"subtract_opening": {"minimum_size": 3, "maximum_size": 9}}
    given = config(movie, steps, dtype="uint16", overflow="clip")
    given["compute"]["block"] = {"t": 1}  # of blocks of several planes it is not known which plane it was
    done = pipeline.run(given)
    words = text_of(page_of(done.output))
    share = re.search(r"pixels, ([\d.]+) % of all, were outside uint16", words)
    assert float(share[1]) == pytest.approx(100 * sum(clipped) / frames.size, rel=0.05)
    assert f"The most in one plane: {max(clipped)}, at t {np.argmax(clipped)}." in words
    assert min(clipped) < max(clipped)


def test_each_row_of_pictures_says_its_frame_and_when_that_was(movie):
    words = text_of(page_of(pipeline.run(config(movie)).output))
    for frame, time in ((0, "0 s"), (2, "1 min 00 s"), (4, "2 min 00 s")):
        assert f"t {frame} · {time}" in words


def test_each_step_is_said_with_the_channels_it_is_for(folder):
    make_sample(folder / "in.ome.zarr", frames=2, size=64, channels=3, object_radius=4)
    steps = [
        {"white_tophat": {"radius": 3, "channels": ["mCherry"]}},
        {"subtract_minimum": {"size": 3, "channels": [2, 0]}},
        {"black_tophat": {"radius": 4}},
    ]
    given = config(folder / "in.ome.zarr", *steps, scale={})
    del given["input"]["axes"]
    page = page_of(pipeline.run(given).output)
    cells = [
        re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    ]
    found = {row[1]: row[4] for row in cells if len(row) == 7}
    assert found.pop("white_tophat") == "mCherry"
    assert set(found.pop("subtract_minimum").split(", ")) == {"GFP", "DAPI"}
    assert found == {"black_tophat": "all"}


@pytest.mark.parametrize(("most", "shown"), [(90 * 70 * 2, 9), (90 * 70 * 2 - 1, 3)])
def test_pieces_of_the_input_that_would_be_read_for_pictures_are_counted_whole(
    movie, monkeypatch, most, shown
):
    monkeypatch.setattr(crop, "WHOLE", 64)
    monkeypatch.setattr(crop, "CROP", 10)
    done = pipeline.run(config(movie, chunks={"t": 1, "y": 10, "x": 10}))
    monkeypatch.setattr(pictures, "PICTURE_BYTES", most)
    report(done.output)
    assert len(images(page_of(done.output))) == shown


@pytest.mark.parametrize(("most", "shown"), [(40 * 50 * 2, 3), (40 * 50 * 2 - 1, 0)])
def test_pieces_of_the_output_that_would_be_read_for_pictures_are_counted_whole(
    movie, monkeypatch, most, shown
):
    monkeypatch.setattr(crop, "WHOLE", 64)
    monkeypatch.setattr(crop, "CROP", 10)
    done = pipeline.run(config(movie, chunks={"t": 1, "y": 40, "x": 50}))
    monkeypatch.setattr(pictures, "PICTURE_BYTES", most)
    # The middle of the plane is in one of its four pieces.
    report(done.output)
    assert len(images(page_of(done.output))) == shown


def test_an_input_too_large_to_compare_that_was_written_to_is_not_shown(movie, monkeypatch):
    monkeypatch.setattr(content, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(content, "PIECE_BYTES", 16)
    done = pipeline.run(config(movie))
    report(done.output)
    assert len(images(page_of(done.output))) == 9
    os.utime(movie, ns=(1, 1))
    report(done.output)
    assert "The input does not match what the run noted of it" in text_of(page_of(done.output))
    assert len(images(page_of(done.output))) == 3


def test_a_scale_bar_in_a_report_is_as_long_as_it_says(movie):
    (drawn, *_) = drawings(page_of(pipeline.run(config(movie)).output), "picture")
    (bar,) = [box for box in drawn.iter("rect") if box.get("class") == "bar"]
    (label,) = [text.text for text in drawn.iter("text") if text.get("class") == "bar"]
    width = float(next(drawn.iter("image")).get("width"))
    length, unit = label.split()
    assert unit == "µm"
    assert float(bar.get("width")) / width * 90 * 0.325 == pytest.approx(float(length), rel=1e-3)


def test_of_an_input_of_many_files_some_are_named_and_all_are_counted():
    kept = {"files": [f"frame_{number:04}.tif" for number in range(900)], "hash": "f" * 5000}
    rows = dict(identity_rows({}, kept))
    assert rows["input files"].startswith("frame_0000.tif, frame_0001.tif")
    assert rows["input files"].endswith("… 900 in all")
    assert len(rows["input files"]) < 400
    assert len(rows["input hash"]) < 400


def test_of_many_blocks_the_cuts_are_not_drawn_one_by_one():
    def drawn(side):
        plan = {"axes": "yx", "input_shape": [side, 64], "halo": {"y": 2, "x": 2}, "block": {"y": 8, "x": 32},
                "window": {"y": side, "x": 64}}  # fmt: skip
        picture, words = cutting(plan)
        cuts = [line for line in ElementTree.fromstring(picture).iter("line") if line.get("class") == "cut"]
        return len(cuts), words

    count, words = drawn(64)
    assert (count, words[1]) == (7 + 1, "a plane is cut into 8 × 2 blocks, each read with its halo")
    count, words = drawn(8 * 5000)
    assert (count, words[1]) == (1, "a plane is cut into 5000 × 2 blocks, each read with its halo")


@pytest.mark.parametrize(
    ("halo", "said"), [({"y": 2, "x": 2}, "halo 2 px"), ({"y": 2, "x": 5}, "halo y 2 × x 5 px")]
)
def test_the_drawn_halo_is_said_along_each_axis_where_they_differ(halo, said):
    sizes = {"y": 64, "x": 64}
    plan = {"axes": "yx", "input_shape": [64, 64], "halo": halo, "block": sizes, "window": sizes}
    words = [text.text for text in ElementTree.fromstring(cutting(plan)[0]).iter("text")]
    assert f"{said}, to scale" in words


def test_shares_of_the_time_follow_from_its_seconds_where_they_are_not_kept():
    found = performance_section({"performance": {"seconds": {"read": 1.0, "filter": 3.0}}})
    assert [part["percent"] for part in found["parts"]] == ["25 %", "75 %"]


# -- charts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("least", "at_zero"), [(0.0, True), (4.0, True), (40.0, False), (-4.0, False)])
def test_what_comes_near_zero_stands_on_it(least, at_zero):
    drawn = ElementTree.fromstring(curve(np.array([least, 30, 100]), "frame", "a curve", "clipped"))
    (line,) = drawn.iter("polyline")
    (bottom,) = [
        float(each.get("y1"))
        for each in drawn.iter("line")
        if each.get("class") == "axis" and each.get("y1") == each.get("y2")
    ]
    ys = places(line)[:, 1]
    zero = np.polyval(np.polyfit([least, 30, 100], ys, 1), 0)
    assert (zero == pytest.approx(bottom, abs=0.2)) == at_zero
    assert (ys < bottom + 0.1).all()


def test_a_change_is_told_between_the_frames_that_are_known():
    values = np.array([np.nan, np.nan, 100, 101, np.nan, 140, 139])
    assert "largest step +39 (+39 %), from frame 3 to 5" in change_text(values, "frame")
    assert change_text(np.array([np.nan, 5, np.nan]), "frame") == ""


def test_histograms_that_share_a_chart_share_its_values_and_are_logarithmic():
    first = np.repeat([0, 2, 4], [1000, 10, 100])
    drawn = ElementTree.fromstring(
        histogram_chart([("input", first), ("background", np.repeat([3, 4], [10, 1000]))], (0, 4), "two")
    )
    wide, narrow = (places(area) for area in drawn.iter("polygon"))
    left, right, bottom = wide[:, 0].min(), wide[:, 0].max(), wide[:, 1].max()

    def height(area, value):
        x = left + (value + 0.5) / 5 * (right - left)
        return next(bottom - a[1] for a, b in pairwise(area) if a[0] < x < b[0] and a[1] == b[1])

    raised = {kind: [height(area, value) for value in range(5)] for kind, area in
              (("input", wide), ("background", narrow))}  # fmt: skip
    assert raised["background"][:3] == [0, 0, 0]
    assert raised["background"][4] == raised["input"][0]
    assert raised["background"][3] == raised["input"][2] > 0
    # From 10 to 100 is as far as from 100 to 1000.
    assert raised["input"][4] - raised["input"][2] == pytest.approx(
        raised["input"][0] - raised["input"][4], abs=0.3
    )
