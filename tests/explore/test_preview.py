"""A preview shows the run's own pixels, reads no more than it needs, and says what it cannot do."""

import math

import numpy as np
import pytest
import tifffile
import zarr
from matplotlib.figure import Figure
from matplotlib.image import imread
from scipy import ndimage

import pipeline
from pipeline.cli import main
from pipeline.explore.crop import find_views, parse_list
from pipeline.explore.figure import parameters, scale_bar, wrapped
from pipeline.explore.preview import MOST_ROWS, preview, preview_figure, preview_rows
from pipeline.explore.sample import make_sample
from pipeline.explore.scales import limits, round_length
from pipeline.model.errors import DataError, RequestError
from pipeline.model.image import Channel, ImageSpec
from pipeline.model.text import share_text
from pipeline.planning.job import prepare
from pipeline.read import Source

SIDE = 150


@pytest.fixture
def movie(tmp_path):
    """A plain time-lapse of 4 frames that says its axes and its scale."""
    pixels = np.random.default_rng(5).integers(100, 60000, (4, SIDE, SIDE + 30), np.uint16)
    path = tmp_path / "movie.tif"
    tifffile.imwrite(
        path, pixels, imagej=True, resolution=(2, 2), metadata={"axes": "TYX", "unit": "um", "finterval": 30}
    )
    return path


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """A sample with t, c and z."""
    path = tmp_path_factory.mktemp("preview") / "stack.ome.zarr"
    make_sample(path, frames=3, size=90, channels=2, z=3, object_radius=5)
    return path


def config(path, *steps, compute=None, **output):
    return {
        "input": {"path": str(path)},
        "steps": list(steps),
        "output": {"path": str(path.parent / "out.ome.zarr"), **output},
        "compute": {"cluster": "threads", "workers": 2, **(compute or {})},
    }


@pytest.fixture
def reads(monkeypatch):
    """The regions that are read."""
    regions, read = [], Source.read

    def recorded(self, region):
        regions.append(region)
        return read(self, region)

    monkeypatch.setattr(Source, "read", recorded)
    return regions


TOPHAT = {"white_tophat": {"radius": 6}}
OPENING = {"subtract_opening": {"minimum_size": 3, "maximum_size": 9}}
GAUSSIANS = {"difference_of_gaussians": {"low_sigma": 1, "high_sigma": 7}}
WIDE = {"subtract_gaussian": {"sigma": 18}}


@pytest.mark.parametrize(
    ("steps", "output", "compute"),
    [
        ([TOPHAT], {}, {}),
        ([TOPHAT, OPENING], {}, {}),
        ([OPENING], {"dtype": "uint16", "offset": 500, "overflow": "clip"}, {}),
        ([GAUSSIANS], {}, {}),
        ([GAUSSIANS], {}, {"block": {"y": 64, "x": 64}}),
        ([TOPHAT, WIDE], {"dtype": "int16", "overflow": "clip"}, {"block": {"y": 70, "x": 90}}),
        ([TOPHAT | {}, {"gaussian": {"sigma": 1, "along": "t"}}], {}, {}),
    ],
    ids=["tophat", "chain", "clipped", "gaussians", "in-tiles", "wide-in-tiles", "along-t"],
)
def test_its_pixels_are_the_runs_own_to_the_bit(movie, steps, output, compute):
    given = config(movie, *steps, compute=compute, **output)
    job = prepare(given)
    rows = preview_rows(job, find_views(job.source.spec, t="1,-1", crop="y=40:101,x=33:150"))
    written = zarr.open_array(store=pipeline.run(given).output, path="0", mode="r")[:]
    last = [row for row in rows if row.last]
    assert [row.view.at["t"] for row in last] == [1, 3]
    for row in last:
        expected = written[row.view.at["t"], 40:101, 33:150]
        assert row.after.dtype == expected.dtype
        np.testing.assert_array_equal(row.after, expected)


def test_each_row_begins_where_the_one_before_ended_and_loses_what_it_took(movie):
    job = prepare(config(movie, TOPHAT, OPENING))
    first, second = preview_rows(job, find_views(job.source.spec, t="0"))
    np.testing.assert_array_equal(first.before, tifffile.imread(movie)[0])
    np.testing.assert_array_equal(second.before, first.after)
    np.testing.assert_array_equal(second.removed + second.after, second.before)


def test_the_background_of_a_black_tophat_lies_above_the_image(movie):
    job = prepare(config(movie, {"black_tophat": {"radius": 4}}))
    (row,) = preview_rows(job, find_views(job.source.spec, t="0"))
    assert (row.removed >= row.before).all()
    np.testing.assert_array_equal(row.removed, row.before.astype(np.float32) + row.after)


@pytest.mark.parametrize(("step", "halo"), [(TOPHAT, 12), (OPENING, 5), ({"white_tophat": {"size": 9}}, 8)])
def test_it_reads_the_crop_and_its_halo_alone(movie, reads, step, halo):
    job = prepare(config(movie, step))
    preview_rows(job, find_views(job.source.spec, t="2", crop="y=40:60,x=0:50"))
    assert reads == [(slice(2, 3), slice(40 - halo, 60 + halo), slice(0, 50 + halo))]


def test_of_linear_filters_it_reads_no_more_than_it_may(movie, reads, monkeypatch):
    monkeypatch.setattr("pipeline.explore.crop.BLOCKS", 1000)
    job = prepare(config(movie, GAUSSIANS))
    (row,) = preview_rows(job, find_views(job.source.spec, t="2", crop="y=70:80,x=60:70"))
    assert sum(math.prod(part.stop - part.start for part in region) for region in reads) < SIDE * SIDE
    whole = pipeline.DifferenceOfGaussians(low_sigma=1, high_sigma=7)(tifffile.imread(movie)[2], axes="yx")
    np.testing.assert_allclose(row.after, whole[70:80, 60:70], rtol=0, atol=0.06)


def test_a_step_for_some_channels_has_rows_for_them_alone(stack):
    job = prepare(config(stack, TOPHAT, {"gaussian": {"sigma": 1, "channels": ["mCherry"]}}))
    rows = preview_rows(job, find_views(job.source.spec))
    assert [(row.view.channel, row.step.name) for row in rows] == [
        (0, "white_tophat"), (1, "white_tophat"), (1, "gaussian"),
    ]  # fmt: skip
    assert [row.last for row in rows] == [True, False, True]


def test_nan_is_refused_as_the_run_refuses_it(tmp_path):
    pixels = np.ones((1, 40, 40), np.float32)
    pixels[0, 20, 30] = np.nan
    tifffile.imwrite(tmp_path / "movie.tif", pixels, imagej=True, metadata={"axes": "TYX"})
    given = config(tmp_path / "movie.tif", {"white_tophat": {"radius": 2}})
    job = prepare(given)
    (row,) = preview_rows(job, find_views(job.source.spec, crop="y=0:10,x=0:10"))
    assert not np.isnan(row.after).any()
    with pytest.raises(DataError, match="NaN"):
        preview_rows(job, find_views(job.source.spec))
    given["input"]["nan"] = "propagate"
    assert np.isnan(preview_rows(prepare(given), find_views(job.source.spec))[0].after).any()


def test_overflow_error_is_refused_as_the_run_refuses_it(movie):
    job = prepare(config(movie, OPENING, dtype="uint16", overflow="error"))
    with pytest.raises(DataError, match="outside uint16"):
        preview_rows(job, find_views(job.source.spec))


def test_pixels_that_the_dtype_cannot_hold_are_counted_and_said_in_the_picture(movie):
    job = prepare(config(movie, OPENING, dtype="uint16", overflow="clip"))
    (row,) = preview_rows(job, find_views(job.source.spec, t="0", crop="y=10:90,x=10:90"))
    frame = tifffile.imread(movie)[0].astype(np.int64)
    opened = ndimage.maximum_filter(ndimage.minimum_filter(frame, 3), 9)
    below = (frame - opened)[10:90, 10:90] < 0
    assert row.clipped == below.sum() > 0
    said = [text.get_text() for ax in preview_figure(job, [row]).axes for text in ax.texts]
    assert f"{share_text(below.mean())} clipped" in said


# -- what is shown -------------------------------------------------------------------------

NAMED = ImageSpec(
    "tczyx", (100, 2, 5, 64, 5000), np.dtype("uint16"), channels=(Channel("GFP"), Channel("488"))
)


def places(views):
    return [tuple(view.at.values()) for view in views]


def test_the_middle_and_every_channel_are_shown_by_default_and_the_centre_of_a_large_plane():
    views = find_views(NAMED)
    assert places(views) == [(50, 0, 2), (50, 1, 2)]
    assert views[0].region[-2:] == (slice(0, 64), slice(1988, 3012))
    assert views[0].extent() == "y 0:64, x 1988:3012"
    assert views[0].where() == "t 50 · GFP · z 2"


def test_planes_come_in_the_order_in_which_they_are_named():
    assert places(find_views(NAMED, t="0,50,-1", c="488", z="4")) == [(0, 1, 4), (50, 1, 4), (99, 1, 4)]
    assert places(find_views(NAMED, t="9,3", c="1,GFP", z="0")) == [
        (9, 1, 0),
        (9, 0, 0),
        (3, 1, 0),
        (3, 0, 0),
    ]


def test_an_axis_that_the_image_lacks_may_be_named_by_its_only_plane():
    spec = ImageSpec("yx", (30, 40), np.dtype("uint8"))
    assert len(find_views(spec, t="0", z="0", c="0")) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"t": "100"}, "--t: index 100 reaches outside"),
        ({"t": "first"}, "--t: 'first' is no index"),
        ({"c": "RFP"}, "--c: no channel is named 'RFP'"),
        ({"z": "0,9"}, "--z: index 9 reaches outside"),
        ({"crop": "y=0:65"}, "--crop: '0:65' reaches outside"),
        ({"crop": "512"}, "--crop: '512' is no part of a plane"),
        ({"crop": "t=0:5"}, "--crop: 't=0:5' is no part of a plane"),
        ({"crop": "y=0:5,y=0:6"}, "--crop: y is given twice"),
        ({"crop": "y=0:60:2"}, "--crop: '0:60:2' has a step"),
        ({"crop": "y=9:9"}, "--crop: '9:9' selects nothing"),
    ],
    ids=str,
)
def test_what_is_not_there_is_refused(options, said):
    with pytest.raises(RequestError) as caught:
        find_views(NAMED, **options)
    assert str(caught.value).startswith(said)


def test_all_wrong_options_are_said_at_once():
    with pytest.raises(RequestError) as caught:
        find_views(NAMED, t="100", c="RFP", crop="y=0:65")
    assert len(caught.value.problems) == 3


# -- the command ---------------------------------------------------------------------------


def write(folder, path, *lines):
    text = "\n".join(["input:", f"  path: {path}", "steps:", *lines, "output:", "  path: out.ome.zarr", ""])
    (folder / "run.yaml").write_text(text)
    return str(folder / "run.yaml")


def test_the_command_draws_a_picture_with_a_row_for_each_step(stack, tmp_path, capsys):
    one = write(tmp_path, stack, "  - white_tophat: {radius: 2 um}")
    assert main(["preview", one, "-o", str(tmp_path / "one.png"), "--c", "GFP"]) == 0
    assert "1 plane, whole" in capsys.readouterr().out
    two = write(tmp_path, stack, "  - white_tophat: {radius: 2 um}", "  - gaussian: {sigma: 1}")
    assert main(["preview", two, "-o", str(tmp_path / "two.png"), "--c", "GFP", "--crop", "y=0:50"]) == 0
    heights = [imread(tmp_path / name).shape[0] for name in ("one.png", "two.png")]
    assert heights[1] > 1.3 * heights[0]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".png", ".png", ".yaml"]


def test_too_many_rows_are_refused_before_any_pixel_is_read(stack, tmp_path, reads):
    job = prepare(config(stack, *[TOPHAT] * (MOST_ROWS // 2 + 1)))
    with pytest.raises(RequestError, match=f"at most {MOST_ROWS}"):
        preview(job, str(tmp_path / "p.png"))
    assert reads == []


@pytest.mark.parametrize("name", ["picture", "picture.zarr", "picture.yaml"])
def test_a_picture_needs_a_pictures_name(stack, tmp_path, name, capsys):
    given = write(tmp_path, stack, "  - white_tophat: {radius: 5}")
    assert main(["preview", given, "-o", str(tmp_path / name)]) == 2
    assert "let it end in .png" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_strange_names_are_drawn_as_they_are(tmp_path):
    path = tmp_path / "a $x_1$ %s {y} — ÄÖ.ome.tif"
    make_sample(path, frames=1, size=64, object_radius=4)
    preview(prepare(config(path, TOPHAT)), str(tmp_path / "strange.png"))
    assert imread(tmp_path / "strange.png").std() > 0


# -- words and numbers ---------------------------------------------------------------------


def test_a_scale_bar_is_a_round_length_not_above_what_it_may_be():
    for most in np.geomspace(0.001, 5000, 400):
        length = round_length(most)
        assert most / 2.5 - 1e-12 <= length <= most * (1 + 1e-9)
        assert f"{length:g}".strip("0.")[0] in "125"


@pytest.mark.parametrize(
    ("scale", "units", "unit", "pixel"),
    [
        ({"y": 0.325, "x": 0.325}, {"y": "micrometer", "x": "micrometer"}, "µm", 0.325),
        ({"y": 5.0, "x": 5.0}, {"y": "nanometer", "x": "nanometer"}, "nm", 5),
        ({"y": 0.325, "x": 0.325}, {}, "px", 1),
        ({}, {}, "px", 1),
    ],
    ids=["µm", "nm", "no unit", "no scale"],
)
def test_a_scale_bar_is_as_long_as_it_says(scale, units, unit, pixel):
    spec = ImageSpec("yx", (60, 200), np.dtype("uint8"), scale=scale, units=units)
    ax = Figure().add_subplot()
    scale_bar(ax, spec.shape, spec)
    (line,), (label,) = ax.lines, ax.texts
    left, right = line.get_xdata()
    length, said = label.get_text().split()
    assert said == unit
    assert (right - left) * pixel == pytest.approx(float(length))
    assert 20 <= right - left <= 50
    assert 0 < left < right < 200


def test_a_hot_pixel_does_not_darken_the_rest():
    pixels = np.arange(10000.0)
    pixels[7] = 1e9
    assert limits(pixels)[1] < 10001
    assert limits(np.full(5, np.nan)) == (0, 1)


def test_parameters_are_said_in_px_and_in_the_datas_unit():
    spec = ImageSpec("yx", (99, 99), np.dtype("uint8"), scale={"y": 0.5, "x": 0.5},
                     units={"y": "micrometer", "x": "micrometer"})  # fmt: skip
    step = pipeline.WhiteTophat(radius="4 um", footprint="box").resolve(spec)
    assert parameters(step, spec) == "radius 8 px = 4 µm, footprint box"
    assert parameters(step, ImageSpec("yx", (99, 99), np.dtype("uint8"))) == "radius 8 px, footprint box"


def test_long_words_lose_their_middle():
    text = "start " + "word " * 200 + "end"
    short = wrapped(text, 5, 10, 2)
    assert short.startswith("start")
    assert short.endswith("end")
    assert len(short.splitlines()) <= 3


def test_a_list_of_an_option_holds_numbers_and_names():
    assert parse_list("0,50, -1,GFP") == [0, 50, -1, "GFP"]
