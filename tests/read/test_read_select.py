"""What `select` keeps, and what it refuses."""

import numpy as np
import pytest
import zarr
from read_samples import check_pixels, coded, refusal, write_ngff, write_tiff

from pipeline.model.units import Quantity
from pipeline.read import open_source
from pipeline.read.spans import index_spans

FIVE = coded((12, 3, 4, 16, 24))
SCALE = [[{"type": "scale", "scale": [30.0, 1.0, 2.0, 0.5, 0.25]}]]
OMERO = {"channels": [{"label": name, "color": "FFFFFF"} for name in ("GFP", "488", "DAPI")]}


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return write_ngff(tmp_path_factory.mktemp("select") / "a.zarr", [FIVE], "tczyx", SCALE, omero=OMERO)


@pytest.fixture(scope="module", params=["zarr", "wide zarr", "tiff", "packed tiff"])
def any_image(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("select")
    if request.param == "zarr":
        return write_ngff(folder / "a.zarr", [FIVE], "tczyx", SCALE)
    if request.param == "wide zarr":
        names = list("tczyx")
        array = zarr.create_array(
            folder / "a.zarr", shape=FIVE.shape, dtype="u2", chunks=(5, 2, 3, 7, 11), dimension_names=names
        )
        array[...] = FIVE
        return folder / "a.zarr"
    compression = "zlib" if request.param == "packed tiff" else None
    return write_tiff(
        folder / "a.ome.tif",
        FIVE,
        metadata={"axes": "TCZYX"},
        photometric="minisblack",
        compression=compression,
    )


GOOD = {
    "a slice": ({"t": "2:9"}, np.s_[2:9]),
    "from the start": ({"t": ":3"}, np.s_[:3]),
    "to the end": ({"t": "10:"}, np.s_[10:]),
    "all": ({"t": ":"}, np.s_[:]),
    "from the end": ({"t": "-3:-1"}, np.s_[-3:-1]),
    "every third": ({"t": "1::3"}, np.s_[1::3]),
    "spaces": ({"t": " 2 : 9 "}, np.s_[2:9]),
    "an index": ({"t": [5]}, np.s_[5:6]),
    "the last": ({"t": -1}, np.s_[-1:]),
    "indices": ({"t": [0, 1, 5, 11]}, np.s_[[0, 1, 5, 11]]),
    "even indices": ({"t": [1, 5, 9]}, np.s_[1:10:4]),
    "channels in another order": ({"c": [2, 0]}, np.s_[:, [2, 0]]),
    "a crop": ({"y": "3:14", "x": "5:6"}, np.s_[:, :, :, 3:14, 5:6]),
    "thinned planes": ({"y": "1::2", "x": "::5"}, np.s_[:, :, :, 1::2, ::5]),
    "several axes": ({"t": "3:11:2", "c": [1], "z": [0, 3], "x": "8:"}, np.s_[3:11:2, 1:2, 0:4:3, :, 8:]),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_is_selected_is_what_is_read(any_image, case):
    wanted, index = GOOD[case]
    check_pixels(open_source(any_image, select=wanted), FIVE[index])


def test_a_selection_keeps_axes_and_writes_where_it_begins(image):
    spec = open_source(image, select={"t": "4:5", "z": "1:", "y": "3:9", "c": [1]}).spec
    assert spec.sizes == {"t": 1, "c": 1, "z": 3, "y": 6, "x": 24}
    assert spec.translation == {"t": 120, "z": 2, "y": 1.5}
    assert spec.chunks == (1, 1, 1, 6, 8)
    assert spec.channel_names == ("488",)


MOVED = [[
    {"type": "scale", "scale": [30.0, 1.0, 2.0, 0.5, 0.25]},
    {"type": "translation", "translation": [600.0, 0.0, -8.0, 100.0, 50.0]},
]]  # fmt: skip


@pytest.mark.parametrize(("select", "scale", "expected"), [
    ({}, {}, {"t": 600, "z": -8, "y": 100, "x": 50}),
    ({"y": "4:12", "x": "8:"}, {}, {"t": 600, "z": -8, "y": 102, "x": 52}),
    ({"t": "2:10:3", "z": 1}, {}, {"t": 660, "z": -6, "y": 100, "x": 50}),
    ({"z": 4 - 1, "y": ":8"}, {}, {"t": 600, "z": -2, "y": 100, "x": 50}),
    ({"z": [0]}, {}, {"t": 600, "z": -8, "y": 100, "x": 50}),
    ({"t": [0, 1, 5]}, {}, {"z": -8, "y": 100, "x": 50}),
    ({"c": [2], "x": "4:"}, {}, {"t": 600, "z": -8, "y": 100, "x": 51}),
    # Another scale: the same pixel of the whole image, so another place.
    ({"x": "4:"}, {"x": "0.5 um"}, {"t": 600, "z": -8, "y": 100, "x": 102}),
])  # fmt: skip
def test_a_selection_adds_to_where_the_data_begins(tmp_path, select, scale, expected):
    path = write_ngff(tmp_path / "a.zarr", [FIVE], "tczyx", MOVED)
    assert open_source(path, select=select, scale=scale).spec.translation == expected


def test_a_step_widens_the_scale_and_uneven_indices_have_none(image):
    spec = open_source(image, select={"t": "2::5", "z": [0, 1, 3]}).spec
    assert spec.scale == {"t": 150, "y": 0.5, "x": 0.25}
    assert spec.translation == {"t": 60}
    assert spec.units == {"t": "second", "y": "micrometer", "x": "micrometer"}


def test_a_step_over_a_single_index_is_none(image):
    spec = open_source(image, select={"t": "4:5:3", "y": [6]}).spec
    assert (spec.scale["t"], spec.scale["y"]) == (30, 0.5)


def test_channels_by_index_and_by_name(image):
    names = lambda wanted: open_source(image, select={"c": wanted}).spec.channel_names  # noqa: E731
    assert names(["488"]) == ("488",)
    assert names("488") == ("488",)
    assert names(["DAPI", 0, "488"]) == ("DAPI", "GFP", "488")
    assert names([-1]) == ("DAPI",)


BAD = {
    "index for a name": (
        {"c": [488]},
        "input.select.c: index 488 reaches outside; there are 3: 0 to 2, named 'GFP', '488', 'DAPI'; "
        "a name that is a number needs quotes",
    ),
    "an unknown name": (
        {"c": ["GPF"]},
        "no channel is named 'GPF'; did you mean 'GFP'? the names are 'GFP', '488', 'DAPI'",
    ),
    "an unknown axis": ({"p": "0:1"}, "input.select.p: the data has no axis 'p'; its axes are tczyx"),
    "a slice beyond": ({"t": "0:13"}, "'0:13' reaches outside: there are 12; stay within '0:12'"),
    "a slice before": ({"t": "-13:"}, "reaches outside"),
    "an empty slice": ({"t": "5:5"}, "'5:5' selects nothing"),
    "backwards": ({"t": "9:2"}, "selects nothing"),
    "a step of 0": ({"t": "::0"}, "has a step of 0"),
    "a step back": ({"t": "::-1"}, "has a step of -1"),
    "no slice": ({"t": "all"}, "'all' is no slice"),
    "a number as text": ({"t": "5"}, "'5' is no slice"),
    "an index beyond": ({"z": [0, 4]}, "index 4 reaches outside; there are 4: 0 to 3"),
    "an index before": ({"z": [-5]}, "index -5 reaches outside"),
    "twice": ({"t": [3, 1, 3]}, "index 3 is selected twice"),
    "twice in two ways": ({"c": ["GFP", 0]}, "index 0 is selected twice"),
    "out of order": ({"t": [3, 1]}, "not in increasing order"),
    "an empty list": ({"t": []}, "an empty list selects nothing"),
    "a name of no channel": ({"t": ["GFP"]}, "'GFP' is no index; only c has names"),
    "a truth": ({"t": [True]}, "True is no index"),
    "a fraction": ({"t": [1.5]}, "1.5 is no index"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_selection_is_refused(image, case):
    wanted, expected = BAD[case]
    assert expected in refusal(image, select=wanted)


def test_all_mistakes_of_a_selection_at_once(image):
    lines = refusal(image, select={"t": "0:99", "c": ["x"], "p": "0:1"}).splitlines()
    assert [line.split(":")[0] for line in lines] == ["input.select.t", "input.select.c", "input.select.p"]


def test_names_where_there_are_none(tmp_path):
    path = write_ngff(tmp_path / "a.zarr", [FIVE], "tczyx", SCALE)
    assert "the data names no channels, so there is no 'GFP'; give an index, 0 to 2" in refusal(
        path, select={"c": ["GFP"]}
    )


def test_names_that_are_doubled(tmp_path):
    omero = {"channels": [{"label": "GFP", "color": "FFFFFF"}] * 3}
    path = write_ngff(tmp_path / "a.zarr", [FIVE], "tczyx", SCALE, omero=omero)
    assert "several channels are named 'GFP'" in refusal(path, select={"c": ["GFP"]})


BAD_SCALE = {
    "no unit": ({"y": 0.325}, "input.scale.y: 0.325 has no unit; give one, such as '0.325 um'"),
    "zero": ({"y": "0 um"}, "is not above 0"),
    "negative": ({"t": "-3 s"}, "is not above 0"),
    "not a number": ({"y": Quantity(float("nan"), "micrometer")}, "input.scale.y: nan µm is not above 0"),
    "without end": ({"y": Quantity(float("inf"), "micrometer")}, "input.scale.y: inf µm is no size"),
    "too long for a float": ({"y": "1e999 um"}, "input.scale.y: inf is not a finite number"),
    "a time for a length": ({"y": "3 s"}, "3 s is no length; give one such as '0.325 um'"),
    "a length for a time": ({"t": "3 um"}, "3 µm is no time; give one such as '30 s'"),
    "an axis that is not there": ({"q": "3 um"}, "the data has no axis 'q'"),
    "channels": ({"c": "3 um"}, "c has no size"),
    "an unknown unit": ({"x": "3 furlong"}, "input.scale.x: 'furlong' is not a unit"),
}


@pytest.mark.parametrize("case", BAD_SCALE)
def test_a_wrong_scale_is_refused(image, case):
    wanted, expected = BAD_SCALE[case]
    assert expected in refusal(image, scale=wanted)


BAD_AXES = {
    "too few": ("tyx", "names 3 axes"),
    "too many": ("tczzyx", "names an axis twice"),
    "unknown": ("tpzyx", "names an axis 'p'"),
    "doubled": ("ttzyx", "names an axis twice"),
    "without x": ("tczy", "lacks y or x"),
    "empty": ("", "lacks y or x"),
}


@pytest.mark.parametrize("case", BAD_AXES)
def test_wrong_axes_are_refused(image, case):
    axes, expected = BAD_AXES[case]
    text = refusal(image, axes=axes)
    assert "input.axes" in text
    assert expected in text


@pytest.mark.parametrize("chunk", [1, 3, 4, 100])
@pytest.mark.parametrize("wanted", [range(2, 9), range(1, 12, 4), (0, 1, 5, 11), (7, 2, 3), range(3, 3)])
def test_spans_cover_what_is_kept_once(wanted, chunk):
    stored = np.arange(12)
    result = np.full(len(wanted), -1)
    for span in index_spans(wanted, chunk):
        assert (result[span.target] == -1).all()
        result[span.target] = stored[span.read][list(span.take)]
    assert result.tolist() == list(wanted)
