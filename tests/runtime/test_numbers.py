"""Ranges, 64-bit integers, NaN and infinities in runs: what runs, what is refused, what can be read again."""

import numpy as np
import pytest
import zarr

import pipeline
from pipeline.cli import main
from pipeline.model.errors import DataError, RequestError
from pipeline.planning.job import prepare

OPENING = {"subtract_opening": {"minimum_size": 3, "maximum_size": 5}}
TOPHAT = {"white_tophat": {"radius": 3}}


def config(folder, image, *steps, axes="tyx", nan="refuse", **output):
    chunks = (*(1,) * (image.ndim - 2), 16, 16)
    zarr.create_array(folder / "in.zarr", data=image, chunks=chunks, overwrite=True)
    return {
        "input": {"path": str(folder / "in.zarr"), "axes": axes, "nan": nan},
        "steps": list(steps or [TOPHAT]),
        "output": {"path": str(folder / "out.zarr"), **output},
        "compute": {"cluster": "threads", "workers": 1},
    }


def refusal(given):
    with pytest.raises(RequestError) as caught:
        prepare(given)
    (problem,) = caught.value.problems
    assert problem.hint
    return f"{problem.field}: {problem.message}; {problem.hint}"


def noise(dtype, shape=(2, 40, 44), seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


# -- what a dtype can hold ----------------------------------------------------------------------------


def test_an_offset_counts_where_it_is_asked_whether_the_dtype_holds_the_result(tmp_path):
    image = noise("uint16")
    assert prepare(config(tmp_path, image, dtype="input")).plan.overflow == "fits"
    said = refusal(config(tmp_path, image, dtype="input", offset=100))
    assert "uint16 cannot hold all that the chain can give, 100 to 65635" in said
    assert prepare(config(tmp_path, noise("uint8"), dtype="uint16", offset=100)).plan.overflow == "fits"


def test_channels_left_alone_count_where_it_is_asked_whether_the_dtype_holds_the_result(tmp_path):
    alone = {"white_tophat": {"radius": 3, "channels": [0]}}
    image = noise("int16")
    said = refusal(config(tmp_path, image, alone, axes="cyx", dtype="uint16"))
    assert "-32768 to 65535" in said
    assert prepare(config(tmp_path, image, TOPHAT, axes="cyx", dtype="uint16")).plan.overflow == "fits"


def test_narrower_floats_hold_not_all_that_wider_ones_can_give(tmp_path):
    assert "float32 cannot hold all" in refusal(config(tmp_path, noise("float64"), dtype="float32"))
    assert prepare(config(tmp_path, noise("float32"), dtype="float64")).plan.overflow == "fits"


def test_a_background_that_no_pixel_takes_beyond_the_image_keeps_its_dtype(tmp_path):
    image, second = noise("uint16"), str(tmp_path / "b.zarr")
    found = prepare(config(tmp_path, image, TOPHAT, TOPHAT, background=second)).plan.layout.background
    assert found.spec.dtype == np.uint16


def test_the_ends_of_64_bits_are_told_apart(tmp_path):
    image = noise("uint64")
    assert prepare(config(tmp_path, image)).plan.overflow == "fits"
    assert "cannot hold all" in refusal(config(tmp_path, image, offset=1, dtype="input"))
    assert "cannot hold all" in refusal(config(tmp_path, image, dtype="int64"))


# -- 64-bit integers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "steps", "field"),
    [
        ("uint32", [OPENING, OPENING], "steps.1.maximum_size"),
        ("int64", [OPENING], "steps.0.maximum_size"),
        ("uint64", [OPENING], "steps.0.maximum_size"),
        ("int64", [{"white_tophat": {"radius": 3, "channels": [0]}}], "steps.0.channels"),
        ("uint64", [{"gaussian": {"sigma": 2, "channels": [0]}}], "steps.0.channels"),
    ],
)
def test_what_takes_more_than_64_bits_is_refused_by_plan_with_the_way_out(
    dtype, steps, field, tmp_path, capsys
):
    given = config(tmp_path, noise(dtype), *steps, axes="cyx")
    said = refusal(given)
    assert said.startswith(f"{field}: {next(iter(steps[-1]))} ")
    with pytest.raises(RequestError, match=field):
        pipeline.run(given)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.zarr"]


@pytest.mark.parametrize(
    ("dtype", "steps", "gives"),
    [
        ("uint32", [OPENING], "int64"),
        ("uint32", [OPENING, TOPHAT], "uint64"),
        ("int32", [{"white_tophat": {"radius": 3, "channels": [0]}}], "int64"),
        ("int64", [TOPHAT], "uint64"),
        ("uint64", [{"black_tophat": {"radius": 2}}], "uint64"),
        ("int64", [{"gaussian": {"sigma": 2}}], "float64"),
    ],
)
def test_what_is_written_in_64_bits_is_read_again_by_every_command(dtype, steps, gives, tmp_path, capsys):
    image = noise(dtype)
    given = config(tmp_path, image, *steps, axes="cyx")
    out = pipeline.run(given).output
    whole = image
    for (name, parameters), *_ in (step.items() for step in steps):
        cls = {"subtract_opening": pipeline.SubtractOpening, "white_tophat": pipeline.WhiteTophat,
               "black_tophat": pipeline.BlackTophat, "gaussian": pipeline.Gaussian}[name]  # fmt: skip
        whole = cls(**parameters)(whole, axes="cyx")
    stored = pipeline.open_image(out)
    assert (stored.dtype, whole.dtype) == (gives, gives)
    compare = np.testing.assert_array_equal if whole.dtype.kind != "f" else np.testing.assert_allclose
    compare(np.asarray(stored), whole)
    assert np.asarray(pipeline.WhiteTophat(radius=2)(stored)).shape == image.shape
    again = out_config(tmp_path, out)
    for command in (
        ["info", out],
        ["verify", out, "--recompute", "2"],
        ["report", out, "-o", str(tmp_path / "r.html")],
        ["preview", again, "-o", str(tmp_path / "p.png")],
        ["sweep", again, "--set", "white_tophat.radius=2,3", "-o", str(tmp_path / "s.png")],
        ["run", again],
    ):
        assert main(command) == 0, (command, capsys.readouterr())


def out_config(folder, out):
    path = folder / "again.yaml"
    path.write_text(
        f"input: {{path: {out}}}\nsteps: [white_tophat: {{radius: 3}}]\noutput: {{path: again.zarr}}\n"
        "compute: {cluster: threads}\n"
    )
    return str(path)


@pytest.mark.parametrize("dtype", ["uint32", "int32", "int64", "uint64"])
def test_a_background_of_wide_integers_is_exact_or_refused(dtype, tmp_path):
    image = noise(dtype)
    given = config(tmp_path, image, TOPHAT, background=str(tmp_path / "b.zarr"))
    out = pipeline.run(given).output
    found = np.asarray(pipeline.open_image(tmp_path / "b.zarr"))
    assert found.dtype == dtype
    result = np.asarray(pipeline.open_image(out))
    assert (found.astype(object) + result.astype(object) == image.astype(object)).all()
    assert main(["verify", str(tmp_path / "b.zarr"), "--recompute", "2"]) == 0


# -- NaN and infinities -------------------------------------------------------------------------------

BAD = [np.nan, np.inf, -np.inf]


def spoiled(value, dtype="float64"):
    image = noise(dtype)
    image[1, 20, 30] = value
    return image


def test_the_place_of_a_nan_is_that_in_the_image_in_blocks_too(tmp_path):
    given = config(tmp_path, spoiled(np.nan))
    given["compute"]["window"] = {"t": 1, "y": 16, "x": 16}
    with pytest.raises(DataError, match="holds a NaN at t 1, y 20, x 30"):
        pipeline.run(given)


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_pixel_that_is_no_number_is_refused_by_default_with_its_place(value, dtype, tmp_path):
    message = "a NaN" if np.isnan(value) else "an infinity"
    with pytest.raises(DataError, match=f"holds {message} at t 1, y 20, x 30") as caught:
        pipeline.run(config(tmp_path, spoiled(value, dtype)))
    assert caught.value.exit_code == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.zarr"]


def test_values_whose_sum_is_no_number_are_taken(tmp_path):
    image = np.full((1, 30, 30), np.finfo(np.float64).max)
    assert pipeline.run(config(tmp_path, image)).clipped == 0


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("overflow", ["clip", "error"])
def test_with_propagate_what_is_no_number_stays_so_in_float32(value, overflow, tmp_path):
    given = config(tmp_path, spoiled(value), nan="propagate", dtype="float32", overflow=overflow)
    summary = pipeline.run(given)
    expected = np.nan if value == -np.inf else value  # −∞ lies below its own opening: −∞ − (−∞)
    found = np.asarray(pipeline.open_image(summary.output))
    np.testing.assert_array_equal(found[1, 20, 30], np.float32(expected))
    assert summary.clipped == 0
    assert main(["verify", summary.output, "--recompute", "4"]) == 0


@pytest.mark.parametrize(("value", "kept"), [(np.nan, 0), (np.inf, 255)])
def test_with_propagate_it_is_clipped_and_counted_in_integers(value, kept, tmp_path):
    image = spoiled(value)
    image[image < np.inf] = np.abs(image[image < np.inf])
    given = config(tmp_path, image, nan="propagate", dtype="uint8", overflow="clip")
    summary = pipeline.run(given)
    assert summary.clipped == 1
    assert np.asarray(pipeline.open_image(summary.output))[1, 20, 30] == kept
    again = config(tmp_path, image, nan="propagate", dtype="uint8", overflow="error")
    again["output"]["path"] = str(tmp_path / "other.zarr")
    with pytest.raises(DataError, match="at t 1, y 20, x 30 is outside uint8"):
        pipeline.run(again)


@pytest.mark.parametrize("value", [1e39, -1e39])
def test_what_lies_beyond_float32_is_counted(value, tmp_path):
    smooth = {"subtract_gaussian": {"sigma": 2}}
    given = config(tmp_path, spoiled(value), smooth, dtype="float32", overflow="clip")
    summary = pipeline.run(given)
    found = np.asarray(pipeline.open_image(summary.output))
    assert summary.clipped > 0
    assert summary.clipped == (np.abs(found) == np.finfo(np.float32).max).sum()
    assert main(["verify", summary.output, "--recompute", "2"]) == 0


@pytest.mark.parametrize("mode", ["constant", "nearest"])
def test_a_small_range_on_a_large_offset_is_verified_at_a_border_of_zeros(mode, tmp_path):
    image = 60000 + np.random.default_rng(0).integers(0, 11, (1, 90, 90)).astype("uint16")
    given = config(tmp_path, image, {"gaussian": {"sigma": 9, "mode": mode}}, pyramid=False)
    out = pipeline.run(given).output
    assert main(["verify", out, "--recompute", "8"]) == 0


# -- Gaussians that look far --------------------------------------------------------------------------


@pytest.mark.parametrize("truncate", [0.5, 4, 6, 8])
def test_a_kernel_is_looked_at_to_its_end_by_blocks_too(truncate):
    import dask.array as da

    image = np.zeros((1, 96), np.float64)
    image[0, 47] = 1e6
    step = pipeline.Gaussian(sigma={"y": 0, "x": 3}, truncate=truncate)
    whole = step(image)
    assert np.flatnonzero(whole[0]).min() == 47 - int(3 * truncate + 0.5)
    blocks = step(da.from_array(image, chunks=(1, 24))).compute()
    np.testing.assert_allclose(blocks, whole, rtol=0, atol=1e-9)
