"""Steps made and called in Python: what they take, and mistakes told in a line of one exception type."""

import re

import dask.array as da
import numpy as np
import pytest

import pipeline
from pipeline import DifferenceOfGaussians, Gaussian, Image, ImageSpec, PipelineError, WhiteTophat
from pipeline.model.errors import DataError, RequestError
from pipeline.steps import arrays

MOVIE = np.random.default_rng(0).integers(0, 99, (4, 20, 22)).astype(np.uint16)
TOPHAT = WhiteTophat(radius=3)


def lazy(array=MOVIE, axes="tyx", **more):
    data = da.from_array(array, chunks=(2, 11, 11))
    return Image(data, ImageSpec(axes, array.shape, array.dtype, **more))


def image_mistake():
    return Image(da.from_array(MOVIE), ImageSpec("tyx", (4, 20, 23), np.dtype("uint16")))


MISTAKES = {
    "misspelt": (lambda: WhiteTophat(raduis=12), "raduis.*did you mean radius"),
    "unnamed": (lambda: WhiteTophat(12), r"write WhiteTophat\(radius=12\)"),
    "two unnamed": (lambda: DifferenceOfGaussians(1, 3), r"low_sigma=1, high_sigma=3"),
    "missing": (lambda: Gaussian(), r"sigma: is missing"),
    "text": (lambda: WhiteTophat(radius="large"), "'large'"),
    "list": (lambda: WhiteTophat(radius=[3, 3]), "not a length"),
    "array": (lambda: WhiteTophat(radius=np.array([3, 3])), "not a length"),
    "value": (lambda: Gaussian(sigma=2, mode="wrap"), "use one of nearest"),
    "bound": (lambda: Gaussian(sigma=2, truncate=-1), "above 0"),
    "channel": (lambda: WhiteTophat(radius=3, channels="GFP"), r"write it as \[GFP\]"),
    "along": (lambda: WhiteTophat(radius=3, along=3), "along: 3 is not a text"),
    "changed": (lambda: setattr(TOPHAT, "radius", 4), "make another"),
    "no axes": (lambda: TOPHAT(MOVIE), "say axes='tyx'"),
    "too few axes": (lambda: TOPHAT(MOVIE, axes="yx"), "names 2 axes and the data has 3"),
    "no such axis": (lambda: TOPHAT(MOVIE, axes="qyx"), "letters out of t, c, z, y, x"),
    "axes no text": (lambda: TOPHAT(MOVIE, axes=3), "3 is no text"),
    "along what is not there": (lambda: WhiteTophat(radius=1, along="z")(MOVIE, axes="tyx"), "no axis 'z'"),
    "nested list": (lambda: TOPHAT([[1, 2], [3, 4]]), "numpy.asarray"),
    "path": (lambda: TOPHAT("movie.tif"), "pipeline.open_image"),
    "nothing": (lambda: TOPHAT(None), "give an Image"),
    "mask": (lambda: TOPHAT(np.ma.array(MOVIE[0])), "filled"),
    "bool": (lambda: TOPHAT(MOVIE[0] > 50), "bool cannot be filtered; convert it to one of uint8"),
    "complex": (lambda: TOPHAT(MOVIE[0] * 1j), "complex128"),
    "float16": (lambda: TOPHAT(da.from_array(MOVIE[0].astype("f2"))), "float16"),
    "too large": (lambda: WhiteTophat(radius=30)(MOVIE, axes="tyx"), "22 px"),
    "no scale": (lambda: WhiteTophat(radius="3 um")(MOVIE, axes="tyx"), "say it in scale"),
    "scale of 0": (lambda: TOPHAT(MOVIE, axes="tyx", scale={"y": 0}), "scale.y: 0 is not above 0"),
    "scale of NaN": (lambda: TOPHAT(MOVIE, axes="tyx", scale={"y": float("nan")}), "scale.y"),
    "scale of another axis": (lambda: TOPHAT(MOVIE, axes="tyx", scale={"z": 1}), "scale.z"),
    "scale as a number": (lambda: TOPHAT(MOVIE, axes="tyx", scale=0.3), "of which axis"),
    "time as a scale": (lambda: TOPHAT(MOVIE, axes="tyx", scale={"y": "3 s"}), "scale.y"),
    "unit": (lambda: TOPHAT(MOVIE, axes="tyx", scale={"y": 1}, units={"y": "parsecs"}), "parsecs"),
    "nan": (lambda: TOPHAT(MOVIE, axes="tyx", nan="ignore"), "refuse or propagate"),
    "other axes": (lambda: TOPHAT(lazy(), axes="zyx"), "axes are tyx"),
    "spec": (image_mistake, "make them agree"),
    "eager image": (lambda: Image(MOVIE, lazy().spec), "dask.array.from_array"),
    "saved array": (lambda: pipeline.save(MOVIE, "out.zarr"), "pipeline.Image"),
    "run nothing": (lambda: pipeline.run(None), "give a YAML file or a dict"),
    "run a dict": (lambda: pipeline.run({"imput": {}}), "did you mean input"),
    "run a step": (lambda: pipeline.run(TOPHAT), "give a YAML file or a dict"),
    "open nothing": (lambda: pipeline.open_image(None), "is no path"),
    "open axes": (lambda: pipeline.open_image("movie.tif", axes=3), "no text|no such"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_a_request_error_with_one_line_and_its_mend(name):
    make, words = MISTAKES[name]
    with pytest.raises(RequestError, match=words) as caught:
        make()
    assert isinstance(caught.value, PipelineError)
    for problem in caught.value.problems:
        assert "\n" not in str(problem)
        assert problem.hint
        assert not re.search(r"pydantic|validation error|Traceback", str(problem))


def test_numbers_of_numpy_are_numbers():
    step = DifferenceOfGaussians(low_sigma=np.float64(1), high_sigma=np.int64(3), truncate=np.int32(3))
    assert step == DifferenceOfGaussians(low_sigma=1, high_sigma=3, truncate=3)
    assert WhiteTophat(radius={"y": np.float32(2), "x": 3}, channels=[np.int64(0)]).channels == (0,)


def test_axes_in_capitals_are_small_ones_everywhere(tmp_path):
    expected = TOPHAT(MOVIE, axes="tyx")
    np.testing.assert_array_equal(TOPHAT(MOVIE, axes="TYX"), expected)
    assert WhiteTophat(radius=3, along="YX") == TOPHAT
    assert WhiteTophat(radius={"Y": 3, "X": 3}) == WhiteTophat(radius={"y": 3, "x": 3})
    assert ImageSpec("TYX", MOVIE.shape, MOVIE.dtype).axes == "tyx"
    in_um = WhiteTophat(radius="6 um")
    np.testing.assert_array_equal(in_um(MOVIE, axes="TYX", scale={"Y": 2, "X": "2000 nm"}), expected)
    import zarr

    zarr.create_array(tmp_path / "in.zarr", data=MOVIE)
    image = pipeline.open_image(tmp_path / "in.zarr", axes="TYX", scale={"Y": "2 um"}, select={"T": "0:2"})
    assert (image.axes, image.shape, image.scale["y"]) == ("tyx", (2, 20, 22), 2)
    given = {
        "input": {"path": str(tmp_path / "in.zarr"), "axes": "TYX", "select": {"T": "1:3"},
                  "scale": {"Y": "2 um", "X": "2 um", "T": "1 s"}},
        "steps": [{"white_tophat": {"radius": {"Y": 3, "X": 3}, "along": "YX"}}],
        "output": {"path": str(tmp_path / "out.zarr"), "axes": "TCZYX", "chunks": {"Y": 10}},
        "compute": {"cluster": "threads"},
    }  # fmt: skip
    found = pipeline.open_image(pipeline.run(given).output)
    np.testing.assert_array_equal(np.asarray(found).reshape(2, 20, 22), expected[1:3])


@pytest.mark.parametrize(("length", "frames"), [("2 min", 4), ("60 s", 2)])
def test_a_scale_along_t_is_in_seconds_and_elsewhere_in_um_where_nothing_else_is_said(length, frames):
    movie = np.zeros((40, 5, 5), np.float32)
    movie[20] = 1
    found = Gaussian(sigma={"t": length}, along="t")(movie, axes="tyx", scale={"t": 30})
    expected = Gaussian(sigma=frames, along="t")(movie, axes="tyx")
    np.testing.assert_array_equal(found, expected)
    in_minutes = Gaussian(sigma=length, along="t")(movie, axes="tyx", scale={"t": 0.5}, units={"t": "minute"})
    np.testing.assert_array_equal(in_minutes, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_refused_in_arrays_unless_they_are_to_pass(value):
    array = MOVIE.astype(np.float32)
    array[3, 15, 4] = value
    step = WhiteTophat(radius=2)
    with pytest.raises(DataError, match=r"at t 3, y 15, x 4.*nan='propagate'"):
        step(array, axes="tyx")
    whole = step(array, axes="tyx", nan="propagate")
    for source in (da.from_array(array, chunks=(2, 8, 9)), lazy(array)):
        axes = None if isinstance(source, Image) else "tyx"
        refused = step(source, axes=axes)
        with pytest.raises(DataError, match="at t 3, y 15, x 4"):
            np.asarray(refused)
        np.testing.assert_array_equal(np.asarray(step(source, axes=axes, nan="propagate")), whole)


def test_a_lazy_image_becomes_its_pixels():
    image = TOPHAT(lazy())
    pixels = np.asarray(image)
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels, TOPHAT(MOVIE, axes="tyx"))
    assert np.asarray(image, np.float32).dtype == np.float32
    assert np.stack([image, image]).shape == (2, *MOVIE.shape)


class DataArray:
    """As much of xarray's as a step needs."""

    def __init__(self, data, dims):
        self.data, self.dims, self.coords = data, dims, {}

    def copy(self, deep=True, data=None):
        return DataArray(data, self.dims)


@pytest.mark.parametrize("data", [MOVIE, da.from_array(MOVIE, chunks=(2, 11, 11))], ids=["numpy", "dask"])
@pytest.mark.parametrize("dims", [("t", "y", "x"), ("T", "Y", "X"), ("time", "y", "x")])
def test_a_data_array_is_taken_by_its_dims_and_gives_one(data, dims):
    found = TOPHAT(DataArray(data, dims))
    assert isinstance(found, DataArray)
    assert found.dims == dims
    assert type(found.data) is type(data)
    np.testing.assert_array_equal(np.asarray(found.data), TOPHAT(MOVIE, axes="tyx"))


def test_dims_that_are_no_axes_are_refused_unless_axes_are_said():
    array = DataArray(MOVIE, ("frame", "y", "x"))
    with pytest.raises(RequestError, match="the dim 'frame' is not an axis"):
        TOPHAT(array)
    np.testing.assert_array_equal(TOPHAT(array, axes="tyx").data, TOPHAT(MOVIE, axes="tyx"))


def test_a_step_is_resolved_once_for_arrays_alike(monkeypatch):
    arrays._resolve.cache_clear()
    resolved = []
    resolve = WhiteTophat.resolve
    monkeypatch.setattr(WhiteTophat, "resolve", lambda *args: resolved.append(args) or resolve(*args))
    for size in ({"y": 3, "x": 5}, {"x": 5, "y": 3}):
        step = WhiteTophat(size=size, along="xy")
        for frame in MOVIE:
            np.testing.assert_array_equal(step(frame), step.reference(frame, "yx"))
    assert len(resolved) == 1
    with pytest.raises(PipelineError, match="longest axis of yx has 2 px"):
        step(MOVIE[0, :2, :2])
    assert len(resolved) == 2


def test_a_step_resolved_for_one_scale_is_not_used_for_another():
    step = WhiteTophat(radius="2 um")
    near, far = (step(MOVIE[0], scale={"y": size, "x": size}) for size in (1, 0.5))
    np.testing.assert_array_equal(near, WhiteTophat(radius=2)(MOVIE[0]))
    np.testing.assert_array_equal(far, WhiteTophat(radius=4)(MOVIE[0]))


def test_a_step_whose_fields_have_no_hash_is_applied():
    step = pipeline.SubtractMinimum(size=3).model_copy(update={"channels": [1]})
    with pytest.raises(TypeError):
        hash(step)
    result = step(MOVIE, axes="cyx")
    np.testing.assert_array_equal(result[0], MOVIE[0])
    np.testing.assert_array_equal(result[1], pipeline.SubtractMinimum(size=3)(MOVIE[1]))
