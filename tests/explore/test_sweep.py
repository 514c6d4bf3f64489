"""A sweep shows one plane under many settings, with figures that rise and fall as the truth does."""

import csv
import math
import re

import numpy as np
import pytest
import tifffile
from matplotlib.image import imread
from scipy import ndimage

import pipeline
from pipeline.cli import main
from pipeline.explore.measure import find_regions, measure
from pipeline.explore.sample import make_sample
from pipeline.explore.sweep import parse_sweep, run_sweep, split_values
from pipeline.explore.sweep_sheet import common_limits, grid_of, sweep_figure, table
from pipeline.model.errors import RequestError
from pipeline.read import Source


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A sample of one frame with nuclei of 6 px, and the truth about it."""
    path = tmp_path_factory.mktemp("sweep") / "sample.ome.tif"
    return path, make_sample(path, frames=3, size=220, channels=2, object_radius=6)


def write(folder, path, *steps, name="run.yaml", more=""):
    lines = ["input:", f"  path: {path}", "steps:", *(f"  - {step}" for step in steps)]
    (folder / name).write_text("\n".join([*lines, "output:", "  path: out.ome.zarr", more]))
    return str(folder / name)


def test_each_panel_is_the_step_with_its_setting(sample, tmp_path):
    path, _ = sample
    config = write(tmp_path, path, "subtract_opening: {minimum_size: 3, maximum_size: 3}")
    sets = ["subtract_opening.minimum_size=5,13", "subtract_opening.maximum_size=3,5,21"]
    sheet = run_sweep(config, sets, t="1", c="mCherry")
    frame = tifffile.imread(path)[1, 1].astype(np.int64)
    np.testing.assert_array_equal(sheet.before, frame)
    assert [panel.values for panel in sheet.panels] == [
        ("5", "3"), ("5", "5"), ("5", "21"), ("13", "3"), ("13", "5"), ("13", "21"),
    ]  # fmt: skip
    for panel in sheet.panels:
        minimum, maximum = (int(value) for value in panel.values)
        expected = frame - ndimage.maximum_filter(ndimage.minimum_filter(frame, minimum), maximum)
        np.testing.assert_array_equal(panel.pixels, expected)
        assert panel.measures.negative == pytest.approx(np.mean(expected < 0))


def test_a_setting_that_is_refused_says_why_in_its_panel(sample, tmp_path):
    config = write(tmp_path, sample[0], "difference_of_gaussians: {low_sigma: 1, high_sigma: 9}")
    sets = ["difference_of_gaussians.low_sigma=1,8", "difference_of_gaussians.high_sigma=4,12"]
    sheet = run_sweep(config, sets)
    assert [panel.values for panel in sheet.panels if panel.refused] == [("8", "4")]
    assert "not below high_sigma" in next(panel.refused for panel in sheet.panels if panel.refused)
    header, rows = table(sheet)
    assert "not below high_sigma" in rows[3][header.index("note")]
    assert rows[3][2] == ""


def test_where_every_setting_is_refused_there_is_no_sheet(sample, tmp_path, capsys):
    config = write(tmp_path, sample[0], "subtract_minimum: {size: 5}")
    picture = tmp_path / "grid.png"
    assert main(["sweep", config, "--set", "subtract_minimum.size=4,6", "-o", str(picture)]) == 2
    assert "4 px is not an odd whole number" in capsys.readouterr().err
    assert not picture.exists()


def test_a_mistake_in_the_config_is_said_with_its_line(sample, tmp_path, capsys):
    config = write(tmp_path, sample[0], "white_tophat: {radius: 5}", more="compute: {worker: 1}")
    assert main(["sweep", config, "--set", "white_tophat.radius=4,6", "-o", str(tmp_path / "g.png")]) == 2
    assert f"{config}:7: compute.worker" in capsys.readouterr().err


def test_the_output_need_not_hold_what_a_sweep_gives(sample, tmp_path):
    config = write(tmp_path, sample[0], "subtract_opening: {minimum_size: 9, maximum_size: 9}")
    with open(config, "a") as file:
        file.write("  dtype: uint16\n")
    sheet = run_sweep(config, ["subtract_opening.maximum_size=9,25"])
    assert [panel.measures.negative > 0 for panel in sheet.panels] == [False, True]


def test_changes_of_one_value_hold_for_all_settings(sample, tmp_path):
    config = write(tmp_path, sample[0], "white_tophat: {radius: 5}", "gaussian: {sigma: 1}")
    sheet = run_sweep(
        config, ["white_tophat.radius=4,8", "white_tophat.footprint=box", "gaussian.sigma=2"], t="0", c="0"
    )
    frame = tifffile.imread(sample[0])[0, 0]
    for panel in sheet.panels:
        first = pipeline.WhiteTophat(radius=int(panel.values[0]), footprint="box")(frame)
        whole = pipeline.Gaussian(sigma=2)(first)
        np.testing.assert_allclose(panel.pixels, whole, rtol=0, atol=1e-6 * whole.max())


def test_it_reads_the_crop_and_its_halo_alone(sample, tmp_path, monkeypatch):
    regions, read = [], Source.read
    monkeypatch.setattr(Source, "read", lambda self, region: (regions.append(region), read(self, region))[1])
    config = write(tmp_path, sample[0], "white_tophat: {radius: 5}")
    run_sweep(config, ["white_tophat.radius=4,8"], c="0", t="0", crop="y=50:90,x=60:100")
    assert [(part[-2].start, part[-2].stop) for part in regions] == [(50, 90), (42, 98), (34, 106)]


def test_the_first_channel_that_the_steps_are_for_is_shown(sample, tmp_path):
    config = write(tmp_path, sample[0], "white_tophat: {radius: 5, channels: [mCherry]}")
    assert run_sweep(config, ["white_tophat.radius=4,8"]).view.channel == 1
    with pytest.raises(RequestError, match="names 2 planes"):
        run_sweep(config, ["white_tophat.radius=4,8"], c="0,1")


# -- the figures ---------------------------------------------------------------------------


def test_figures_follow_the_truth_of_a_sample(sample, tmp_path):
    path, truth = sample
    config = write(tmp_path, path, "white_tophat: {radius: 9}")
    sheet = run_sweep(config, ["white_tophat.radius=3,9,60"], t="0", c="0")
    narrow, right, wide = (panel.measures for panel in sheet.panels)
    inside = truth.signal(0) > 0.9 * truth.signal(0).max()
    assert sheet.measures.signal == pytest.approx(truth.signal(0)[inside].mean(), rel=0.2)
    assert right.signal > 0.9 * sheet.measures.signal
    assert narrow.signal < 0.3 * sheet.measures.signal
    assert right.spread < wide.spread < sheet.measures.spread
    assert right.spread < 0.1 * sheet.measures.spread
    background = truth.background(0)
    noise = np.sqrt(np.mean(background[:40]) - 100 + 16)
    assert sheet.measures.noise == pytest.approx(noise, rel=0.25)
    assert right.contrast > 3 * sheet.measures.contrast


def test_dark_features_are_measured_as_bright_ones():
    rng = np.random.default_rng(1)
    image = rng.normal(200, 3, (120, 120)) + np.linspace(0, 60, 120)
    image[20:100:20, 20:100:20] -= 90
    dark = ndimage.minimum_filter(image, 5)
    before = measure(dark, find_regions(dark, dark=True), before=True)
    mirrored = 500 - dark
    same = measure(mirrored, find_regions(mirrored), before=True)
    assert before.signal == pytest.approx(same.signal)
    assert before.signal > 60
    assert before.spread == pytest.approx(same.spread)


def test_a_sweep_over_a_step_for_dark_features_measures_those(tmp_path):
    rows, columns = np.mgrid[:160, :160]
    holes = (((rows % 32) - 16) ** 2 + ((columns % 32) - 16) ** 2 <= 25).astype(float)
    noise = np.random.default_rng(1).normal(0, 2, holes.shape)
    tifffile.imwrite(tmp_path / "dark.tif", (400 + columns / 2 - 90 * holes + noise).astype(np.uint16))
    config = write(tmp_path, tmp_path / "dark.tif", "black_tophat: {radius: 8}")
    sheet = run_sweep(config, ["black_tophat.radius=2,8"])
    narrow, right = (panel.measures for panel in sheet.panels)
    assert sheet.measures.signal == pytest.approx(90, rel=0.1)
    assert right.signal == pytest.approx(90, rel=0.1)
    assert narrow.signal < 0.3 * right.signal


@pytest.mark.parametrize("image", [np.zeros((40, 50), np.uint16), np.full((40, 50), np.nan), np.eye(3)])
def test_planes_with_nothing_in_them_have_figures_too(image):
    measures = measure(image, find_regions(image))
    assert measures.negative == 0
    assert math.isnan(measures.contrast) or math.isfinite(measures.contrast)


def test_a_setting_that_goes_astray_does_not_turn_the_others_grey():
    good = np.linspace(0, 100, 1000)
    assert common_limits([good, good, good - 5000])[0] >= 0


# -- the contact sheet ---------------------------------------------------------------------


def test_panels_stand_as_their_table_does_and_say_the_tables_figures(sample, tmp_path):
    config = write(tmp_path, sample[0], "subtract_opening: {minimum_size: 3, maximum_size: 3}")
    sets = ["subtract_opening.minimum_size=7,13", "subtract_opening.maximum_size=7,9,13"]
    sheet = run_sweep(config, sets, t="1", c="mCherry")
    figure = sweep_figure(sheet)
    before, *drawn = (ax for ax in figure.axes if ax.images)
    np.testing.assert_array_equal(before.images[0].get_array(), sheet.before)
    for panel, ax in zip(sheet.panels, drawn, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), panel.pixels)
        assert ax.images[0].get_clim() == drawn[0].images[0].get_clim()
    corners = np.array([ax.get_position().p0 for ax in drawn]).reshape(2, 3, 2)
    # Down a column the first field changes, along a row the second.
    assert (np.ptp(corners[..., 0], axis=0) < 1e-9).all()
    assert (np.ptp(corners[..., 1], axis=1) < 1e-9).all()
    assert (np.diff(corners[0, :, 0]) > 0).all()
    assert corners[0, 0, 1] > corners[1, 0, 1] > 0
    said = [re.findall(r"uneven ([\d.]+) %  signal ([\d.]+) %", ax.get_xlabel()) for ax in drawn]
    captions = [float(value) for pair in said for found in pair for value in found]
    header, rows = table(sheet)
    places = [header.index("background_left"), header.index("signal_kept")]
    assert captions == pytest.approx([100 * float(row[at]) for row in rows[1:] for at in places], abs=0.51)


# -- what is asked for ---------------------------------------------------------------------


def test_values_are_cut_at_commas_outside_of_brackets_and_quotes():
    assert split_values("5 um,{y: 1, x: 2},[a, b],'x,y'") == ["5 um", "{y: 1, x: 2}", "[a, b]", "'x,y'"]
    swept, fixed = parse_sweep(["white_tophat.radius=5,15", "gaussian.sigma={y: 1, x: 2}"])
    assert [(each.path, each.values) for each in swept] == [("white_tophat.radius", ("5", "15"))]
    assert fixed == ["gaussian.sigma={y: 1, x: 2}"]


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ([], "nothing is swept"),
        (["white_tophat.radius=5"], "nothing is swept"),
        (["a.b=1,2", "c.d=1,2"], "only the fields of steps"),
        (["output.dtype=uint8,uint16"], "only the fields of steps"),
        (["white_tophat.radius=5,,6"], "has an empty value"),
        (["white_tophat.radius=5,5"], "has a value twice"),
        (["white_tophat.radius=5,6", "white_tophat.radius=7,8"], "is given twice"),
        (["steps.0.radius=1,2", "steps.1.radius=1,2", "steps.2.radius=1,2"], "3 fields are swept"),
        (["steps.0.radius=" + ",".join(map(str, range(1, 102)))], "makes 101 panels"),
    ],
)
def test_what_makes_no_sheet_is_refused(sets, said):
    with pytest.raises(RequestError, match=said):
        parse_sweep(sets)


@pytest.mark.parametrize("data", [b"a,b\n1,2\n", b"\xff\x00", b""], ids=["a table", "no text", "nothing"])
def test_a_table_of_the_users_own_that_is_called_like_the_picture_stays(sample, tmp_path, capsys, data):
    config = write(tmp_path, sample[0], "white_tophat: {radius: 3}")
    (tmp_path / "grid.csv").write_bytes(data)
    asked = ["sweep", config, "--set", "white_tophat.radius=2,3", "-o"]
    assert main([*asked, str(tmp_path / "grid.png")]) == 2
    assert (
        "grid.csv' exists and is no table of a sweep; give the picture another name"
        in capsys.readouterr().err
    )
    assert (tmp_path / "grid.csv").read_bytes() == data
    assert not (tmp_path / "grid.png").exists()
    for _ in range(2):
        assert main([*asked, str(tmp_path / "other.png")]) == 0


def test_the_command_writes_a_picture_and_a_table(sample, tmp_path, capsys):
    config = write(tmp_path, sample[0], "subtract_opening: {minimum_size: 3, maximum_size: 3}")
    sets = ["--set", "subtract_opening.minimum_size=5,13", "--set", "subtract_opening.maximum_size=5,13"]
    assert main(["sweep", config, *sets, "-o", str(tmp_path / "grid.png")]) == 0
    assert "4 settings" in capsys.readouterr().out
    assert imread(tmp_path / "grid.png").std() > 0
    with open(tmp_path / "grid.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["subtract_opening.maximum_size"] for row in rows] == ["", "5", "13", "5", "13"]
    assert rows[0]["background_left"] == "1"
    assert float(rows[2]["negative_share"]) > 0.5 > float(rows[4]["negative_share"]) == 0
    assert float(rows[4]["signal_kept"]) > float(rows[1]["signal_kept"])
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".png", ".yaml"]


def test_one_field_makes_nearly_a_square_and_two_make_their_table():
    for count in range(1, 101):
        rows, columns = grid_of([count])
        assert rows * columns >= count > (rows - 1) * columns
        assert columns <= 6
    assert grid_of([2, 7]) == (2, 7)
