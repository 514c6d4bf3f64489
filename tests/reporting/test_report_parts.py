"""The parts of a report, each by itself: the paragraph for a paper, curves, drawings, performance."""

import html
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from report_pages import config, drawings, page_of, text_of, write_movie

import pipeline
from pipeline.reporting.charts import curve, histogram_chart
from pipeline.reporting.cutting import cutting
from pipeline.reporting.methods import methods
from pipeline.reporting.performance import performance_section
from pipeline.reporting.report_data import of_output
from pipeline.steps.registry import REGISTRY


@pytest.fixture
def movie(folder):
    return write_movie(folder)


# -- the paragraph for a paper ----------------------------------------------------------------------


def test_the_paragraph_has_lengths_data_and_exactness(movie):
    steps = [{"white_tophat": {"radius": "2 um"}}, {"subtract_gaussian": {"sigma": 9}}]
    done = pipeline.run(config(movie, *steps, dtype="uint16", overflow="clip", offset=50))
    data = of_output(done.output)
    words, done_id = methods(data), data.provenance["fingerprint"]
    for part in (
        f"bgone {data.provenance['versions']['bgone']}",
        "5 time points of 90 × 70 px (uint16; sampled at t 30 s, y 0.325 µm, x 0.325 µm)",
        "(1) white top-hat (radius 6.154 px = 2 µm, footprint disk) on each x-y plane",
        "(2) subtract gaussian (sigma 9 px = 2.93 µm, mode nearest, truncate 4)",
        "stored as uint16 after 50 was added, cast from float32 by rounding to the nearest integer",
        f"The input was movie.tif (fingerprint of data, settings and code: {done_id})",
        "bit for bit for the morphology, within 1e-6 of the largest value for the Gaussians",
    ):
        assert part in words, part
    assert html.escape(words, quote=False).replace("'", "&#39;") in page_of(done.output)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_step_has_words_and_sources(movie, name):
    parameters = next(each for each in REGISTRY[name].examples if "z" not in each.get("along", ""))
    done = pipeline.run(config(movie, {name: parameters}))
    data = of_output(done.output)
    words = methods(data)
    spoken = name.replace("_", " ").replace("tophat", "top-hat")
    assert f"{spoken} (" in words
    for length in data.steps[0].lengths:
        assert f"{length.replace('_', ' ')} " in words
    assert ("bit for bit" in words) == ("gauss" not in name)
    assert f"{spoken}: " in text_of(page_of(done.output))


def test_the_paragraph_says_the_share_of_clipped_pixels_in_percent(movie):
    steps = {"subtract_opening": {"minimum_size": 1, "maximum_size": 5}}
    done = pipeline.run(config(movie, steps, dtype="uint16", overflow="clip"))
    said = re.search(r"; (\d+) pixels \(([\d.e+]+) %\) were outside", methods(of_output(done.output)))
    assert int(said[1]) == done.clipped
    assert float(said[2]) == pytest.approx(100 * done.clipped / (5 * 70 * 90), rel=0.05)


# -- figures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "figure"),
    [
        ({"white_tophat": {"radius": 4}}, "mean"),
        ({"difference_of_gaussians": {"low_sigma": 1, "high_sigma": 5}}, "standard deviation"),
    ],
)
def test_the_signal_over_time_is_its_spread_where_it_lies_around_0(movie, step, figure):
    assert f"signal, {figure} of the result" in text_of(page_of(pipeline.run(config(movie, step)).output))


def test_the_histogram_of_the_background_knows_nothing_of_an_offset(movie):
    plain = pipeline.run(config(movie, output="plain.ome.zarr"))
    moved = pipeline.run(config(movie, output="moved.ome.zarr", offset=1000, dtype="int32"))
    before, after = (
        [ElementTree.tostring(chart) for chart in drawings(page_of(run.output), "chart")
         if chart.get("aria-label") == "Histogram of before and background"]
        for run in (plain, moved)
    )  # fmt: skip
    assert len(before) == 1
    assert before == after


# -- pieces -----------------------------------------------------------------------------------------


def test_a_curve_goes_through_its_values_and_breaks_where_there_are_none():
    values = np.array([10.0, 12, 11, np.nan, 30, 31])
    drawn = ElementTree.fromstring(curve(values, "frame", "a curve", "signal"))
    lines = [
        np.array([[float(number) for number in place.split(",")] for place in line.get("points").split()])
        for line in drawn.iter("polyline")
    ]
    assert [len(line) for line in lines] == [3, 2]
    places = np.concatenate(lines)
    line = np.polyfit(values[np.isfinite(values)], places[:, 1], 1)
    assert line[0] < 0  # up is up
    np.testing.assert_allclose(np.polyval(line, values[np.isfinite(values)]), places[:, 1], atol=0.1)
    assert curve(np.full(4, np.nan), "frame", "nothing", "signal") == ""


def test_of_many_frames_a_flash_of_one_is_still_drawn():
    values = np.full(20000, 100.0)
    values[12345] = 5000
    drawn = ElementTree.fromstring(curve(values, "frame", "a curve", "signal"))
    (band,) = drawn.iter("polygon")
    ys = [float(place.split(",")[1]) for place in band.get("points").split()]
    assert max(ys) - min(ys) > 80
    assert len(ElementTree.tostring(drawn)) < 60_000


@pytest.mark.parametrize(
    "values", [np.zeros(50), np.array([3.0]), np.array([0.1, 0.2]), np.array([-5.0, 70000.0])]
)
def test_a_histogram_holds_every_value(values):
    low, high = float(values.min()), float(values.max())
    bounds = (low, high) if high > low else (low - 0.5, low + 0.5)
    drawn = ElementTree.fromstring(histogram_chart([("signal", values)], bounds, "a histogram"))
    (area,) = drawn.iter("polygon")
    assert "nan" not in area.get("points")


def test_the_drawing_is_to_scale_and_shows_every_block(movie):
    given = config(movie, chunks={"y": 20, "x": 30})
    given["compute"] |= {"block": {"y": 20, "x": 30}}
    plan = of_output(pipeline.run(given).output).provenance["plan"]
    drawn, words = cutting(plan)
    picture = ElementTree.fromstring(drawn)
    boxes = {
        box.get("class"): [float(box.get(side)) for side in ("x", "y", "width", "height")]
        for box in picture.iter("rect")
    }
    scale = boxes["plane"][2] / 90
    np.testing.assert_allclose(boxes["plane"][3], 70 * scale, atol=0.1)
    np.testing.assert_allclose(boxes["block"][2:], [30 * scale, 20 * scale], atol=0.1)
    np.testing.assert_allclose(boxes["halo"][2:], [46 * scale, 36 * scale], atol=0.1)
    cuts = [line for line in picture.iter("line") if line.get("class") == "cut"]
    assert len(cuts) == 2 + 3
    assert "a plane is cut into 4 × 3 blocks, each read with its halo" in words


def test_performance_shows_what_there_is_and_breaks_at_nothing():
    bare = performance_section({})
    assert bare["parts"] == []
    given = {
        "seconds": {"read": 1.0, "odd_work": 3.0},
        "shares": {"read": 0.25, "odd_work": 0.75},
        "workers": 3,
        "of workers": {"a": 0.5},
        "note": "<hot>",
    }
    found = performance_section({"seconds": 4.0, "bytes_in": 8e6, "performance": given})
    assert [part["share"] for part in found["parts"]] == [0.25, 0.75]
    assert [part["percent"] for part in found["parts"]] == ["25 %", "75 %"]
    rows = dict(found["rows"])
    assert (rows["workers"], rows["of workers"], rows["note"]) == ("3", "a 0.5", "<hot>")
    assert "2 MB/s" in rows["time"]
