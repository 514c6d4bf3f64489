"""`output.background`: what is taken off, as a second OME-Zarr beside the first."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr
from scipy import ndimage
from skimage import morphology

import pipeline
from pipeline.cli import main
from pipeline.explore.sample import write_zarr
from pipeline.model.errors import DataError, RequestError, StoppedError, VerificationError
from pipeline.model.image import Channel, ImageSpec
from pipeline.planning.job import prepare
from pipeline.reporting.recompute import recompute
from pipeline.steps.background import background_dtype, background_pixels, backgrounds
from pipeline.steps.chain import BoundChain
from pipeline.steps.registry import REGISTRY
from pipeline.write import publish, verify
from pipeline.write.journal import Journal

TOPHAT = {"white_tophat": {"radius": 4}}
FRAMES = (3, 90, 110)


@pytest.fixture
def movie(tmp_path):
    pixels = np.random.default_rng(3).integers(100, 60000, FRAMES, np.uint16)
    tifffile.imwrite(tmp_path / "movie.tif", pixels, photometric="minisblack")
    return tmp_path / "movie.tif", pixels


def config(path, *steps, compute=None, **more):
    axes = {"axes": "tyx"} if path.suffix == ".tif" else {}
    return {
        "input": {"path": str(path), **axes}, "steps": list(steps),
        "output": {
            "path": str(path.parent / "out.ome.zarr"), "background": str(path.parent / "back.ome.zarr"),
            **more,
        },
        "compute": {"cluster": "threads", "workers": 2, **(compute or {})},
    }  # fmt: skip


def whole(spec):
    return tuple(slice(0, size) for size in spec.shape)


def read(path, name, level=0):
    return zarr.open_array(store=str(path.parent / f"{name}.ome.zarr"), path=str(level), mode="r")[:]


def test_a_tophats_background_is_scikit_images_opening_in_the_images_dtype(movie):
    path, pixels = movie
    summary = pipeline.run(config(path, TOPHAT))
    assert summary.background == str(path.parent / "back.ome.zarr")
    assert f"{summary.output} and {summary.background}" in summary.text()
    found = read(path, "back")
    opening = np.stack([morphology.opening(frame, morphology.disk(4)) for frame in pixels])
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, opening)
    np.testing.assert_array_equal(read(path, "out"), pixels - opening)
    assert sorted(os.listdir(path.parent)) == ["back.ome.zarr", "movie.tif", "out.ome.zarr"]


def test_a_black_tophats_background_is_the_closing(movie):
    path, pixels = movie
    pipeline.run(config(path, {"black_tophat": {"radius": 4}}))
    closing = np.stack([morphology.closing(frame, morphology.disk(4)) for frame in pixels])
    np.testing.assert_array_equal(read(path, "back"), closing)


def test_offset_cast_and_clipping_of_the_result_leave_the_background_alone(movie):
    path, pixels = movie
    pipeline.run(config(path, TOPHAT, dtype="uint8", overflow="clip", offset=7))
    opening = np.stack([morphology.opening(frame, morphology.disk(4)) for frame in pixels])
    np.testing.assert_array_equal(read(path, "back"), opening)


def test_a_smooth_background_is_a_float_and_input_minus_result(movie):
    path, pixels = movie
    pipeline.run(config(path, {"subtract_gaussian": {"sigma": 6}}))
    found = read(path, "back")
    smooth = ndimage.gaussian_filter(pixels.astype(float), (0, 6, 6), mode="nearest")
    assert found.dtype == np.float32
    assert np.abs(found - smooth).max() < 1e-4 * np.ptp(pixels)


def test_the_background_of_floats_is_the_opening_within_a_rounding(tmp_path):
    pixels = np.random.default_rng(0).normal(100, 30, (2, 60, 70)).astype(np.float32)
    path = tmp_path / "floats.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack")
    pipeline.run(config(path, TOPHAT))
    found = read(path, "back")
    opening = np.stack([morphology.opening(frame, morphology.disk(4)) for frame in pixels])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, opening, rtol=0, atol=np.finfo(np.float32).eps * np.abs(pixels).max())
    assert all(block.right for block in recompute(str(tmp_path / "back.ome.zarr"), 4, seed=0).blocks)


def test_a_signed_chains_background_has_a_type_that_holds_it(movie):
    path, pixels = movie
    step = {"subtract_opening": {"minimum_size": 3, "maximum_size": 7}}
    pipeline.run(config(path, step, step))
    found = read(path, "back")
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, pixels.astype(np.int64) - read(path, "out"))


@pytest.mark.parametrize(
    "compute", [{"block": {"y": 32, "x": 32}}, {"window": {"t": 1, "y": 45}}, {"block": {"y": 17, "x": 23}}],
    ids=json.dumps,
)  # fmt: skip
def test_how_the_work_is_cut_changes_no_pixel_of_either(movie, compute):
    path, pixels = movie
    pipeline.run(config(path, TOPHAT, compute=compute))
    np.testing.assert_array_equal(read(path, "back") + read(path, "out"), pixels)
    opening = np.stack([morphology.opening(frame, morphology.disk(4)) for frame in pixels])
    np.testing.assert_array_equal(read(path, "back"), opening)


@pytest.mark.parametrize(
    "output",
    [
        {},
        {"version": "0.4", "axes": "tczyx"},
        {"chunks": {"y": 150, "x": 100}, "shards": {"y": 600, "x": 200}},
    ],
    ids=["0.5", "0.4, padded", "sharded"],
)
def test_each_channel_has_its_own_background_with_pyramid_names_and_manifest(tmp_path, output):
    spec = ImageSpec(
        "tcyx", (2, 2, 600, 200), np.dtype("uint16"), scale={"y": 0.5, "x": 0.5},
        units={"y": "micrometer", "x": "micrometer"}, channels=(Channel("GFP", "00FF00"), Channel("BF")),
        name="embryo",
    )  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 50000, spec.shape).astype(np.uint16)
    path = tmp_path / "in.ome.zarr"
    write_zarr(path, spec, [(whole(spec), pixels)])
    chain = [
        {"white_tophat": {"radius": 3, "channels": ["GFP"]}},
        {"black_tophat": {"size": 5, "channels": ["BF"]}},
    ]
    pipeline.run(config(path, *chain, **output))
    found, result = read(path, "back").reshape(spec.shape), read(path, "out").reshape(spec.shape)
    np.testing.assert_array_equal(found[:, 0], pixels[:, 0] - result[:, 0])
    np.testing.assert_array_equal(found[:, 1], pixels[:, 1] + result[:, 1])
    back = tmp_path / "back.ome.zarr"
    yaozarrs.validate_zarr_store(str(back))
    assert list(verify(str(back))) == []
    coarser = read(path, "back", 1).reshape(2, 2, 300, 100)
    means = found.reshape(2, 2, 300, 2, 100, 2).mean((3, 5))
    np.testing.assert_array_equal(coarser, np.rint(means))
    attributes = zarr.open_group(store=str(back), mode="r").attrs.asdict()
    said = attributes.get("ome", attributes)
    assert said["multiscales"][0]["name"] == "embryo background"
    assert [channel["label"] for channel in said["omero"]["channels"]] == ["GFP", "BF"]
    shown = [channel["window"]["end"] for channel in said["omero"]["channels"]]
    assert max(shown) <= found.max()
    kept = pipeline.write.provenance_of(str(back))
    assert kept["background"] == {
        "of": str(tmp_path / "out.ome.zarr"), "is": ["input minus result", "input plus result"]
    }  # fmt: skip
    assert all(block.right for block in recompute(str(back), 4, seed=0).blocks)


def test_a_channel_that_no_step_is_for_has_a_background_of_zero(tmp_path):
    spec = ImageSpec("cyx", (2, 50, 60), np.dtype("uint16"), channels=(Channel("a"), Channel("b")))
    pixels = np.random.default_rng(0).integers(1, 50000, spec.shape).astype(np.uint16)
    path = tmp_path / "in.ome.zarr"
    write_zarr(path, spec, [(whole(spec), pixels)])
    pipeline.run(config(path, {"white_tophat": {"radius": 3, "channels": ["a"]}}))
    found = read(path, "back")
    assert found[0].any()
    assert not found[1].any()


@pytest.mark.parametrize("steps", [["gaussian"], ["white_tophat", "difference_of_gaussians"]])
def test_a_chain_that_smooths_has_no_background(movie, steps):
    path, _ = movie
    parameters = {"gaussian": {"sigma": 2}, "white_tophat": {"radius": 3},
                  "difference_of_gaussians": {"low_sigma": 1, "high_sigma": 5}}  # fmt: skip
    with pytest.raises(RequestError, match=f"output.background: {steps[-1]} changes more than a background"):
        pipeline.run(config(path, *({name: parameters[name]} for name in steps)))
    assert sorted(os.listdir(path.parent)) == ["movie.tif"]


@pytest.mark.parametrize(
    ("background", "words"),
    [("movie.tif", "is the same as input.path"), ("out.ome.zarr", "is the same as output.path"),
     ("out.ome.zarr/back", "lies inside the output"), ("there", "exists already"),
     ("s3://bucket/back.zarr", "is a URL")],
)  # fmt: skip
def test_paths_that_cannot_be_are_refused_before_anything_is_written(movie, background, words):
    path, _ = movie
    (path.parent / "there").mkdir()
    target = background if "://" in background else str(path.parent / background)
    with pytest.raises(RequestError, match=f"output.background: .*{words}"):
        pipeline.run(config(path, TOPHAT, background=target))
    assert sorted(os.listdir(path.parent)) == ["movie.tif", "there"]


def test_a_lazy_image_has_no_background(movie):
    path, _ = movie
    image = pipeline.open_image(path, axes="tyx")
    with pytest.raises(RequestError, match=r"output.background: a lazy image has no input"):
        pipeline.save(image, path.parent / "a.zarr", background=str(path.parent / "b.zarr"))


def test_the_plan_says_where_it_goes_and_what_it_takes(movie, capsys):
    path, _ = movie
    with_it, without = (prepare(config(path, TOPHAT, background=b)).plan for b in ("b.zarr", None))
    assert with_it.layout.background.spec.dtype == np.uint16
    assert with_it.backgrounds == ("input minus result",)
    assert without.backgrounds == ()
    assert with_it.memory.task >= without.memory.task
    asked = path.parent / "config.json"
    asked.write_text(json.dumps(config(path, TOPHAT)))
    assert main(["plan", str(asked), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["background"] == str(path.parent / "back.ome.zarr")
    assert said["disk_needed_bytes"] == 2 * np.prod(FRAMES) * 2


def test_the_same_config_again_has_nothing_to_do_and_damage_of_either_is_found(movie):
    path, pixels = movie
    asked = config(path, TOPHAT)
    pipeline.run(asked)
    assert pipeline.run(asked).already_complete
    chunk = next(file for file in (path.parent / "back.ome.zarr" / "0").rglob("0") if file.is_file())
    chunk.unlink()
    with pytest.raises(VerificationError, match=r"back.ome.zarr: the output was complete, and is damaged"):
        pipeline.run(asked)
    assert not pipeline.run(asked, overwrite=True).already_complete
    np.testing.assert_array_equal(read(path, "back") + read(path, "out"), pixels)
    assert sorted(os.listdir(path.parent)) == ["back.ome.zarr", "movie.tif", "out.ome.zarr"]


def test_a_background_that_was_removed_is_missed(movie):
    path, _ = movie
    asked = config(path, TOPHAT)
    pipeline.run(asked)
    (path.parent / "back.ome.zarr").rename(path.parent / "elsewhere.zarr")
    with pytest.raises(VerificationError, match=r"back.ome.zarr.*cannot be read"):
        pipeline.run(asked)
    pipeline.run(asked, overwrite=True)
    assert list(verify(str(path.parent / "back.ome.zarr"))) == []


def test_overwrite_keeps_both_old_ones_until_the_new_ones_are_whole(movie, monkeypatch):
    path, pixels = movie
    pipeline.run(config(path, TOPHAT))
    before = [read(path, name) for name in ("out", "back")]
    other = config(path, {"white_tophat": {"radius": 9}})

    def refused(*given, **more):
        raise StoppedError("stopped before the commit")

    monkeypatch.setattr("pipeline.runtime.run.publish", refused)
    with pytest.raises(StoppedError):
        pipeline.run(other, overwrite=True)
    for name, kept in zip(("out", "back"), before, strict=True):
        np.testing.assert_array_equal(read(path, name), kept)
    monkeypatch.setattr("pipeline.runtime.run.publish", publish)
    pipeline.run(other, overwrite=True)
    opening = np.stack([morphology.opening(frame, morphology.disk(9)) for frame in pixels])
    np.testing.assert_array_equal(read(path, "back"), opening)


def test_a_run_that_is_resumed_writes_what_is_missing_of_either(movie, monkeypatch):
    path, pixels = movie
    asked = config(path, TOPHAT, compute={"window": {"t": 1}, "workers": 1})
    append = Journal.append

    def once(journal, window, *given, **more):
        append(journal, window, *given, **more)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Journal, "append", once)
    with pytest.raises(pipeline.model.errors.PipelineError):
        pipeline.run(asked)
    monkeypatch.setattr(Journal, "append", append)
    (work,) = (file for file in path.parent.iterdir() if ".work-" in file.name)
    assert not (path.parent / "back.ome.zarr").exists()
    # A chunk of the background is cut meanwhile: its window is computed again.
    chunk = next(file for file in (work / "background" / "0" / "c").rglob("*") if file.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-9])
    summary = pipeline.run(asked)
    assert summary.windows == 3
    np.testing.assert_array_equal(read(path, "back") + read(path, "out"), pixels)
    assert list(verify(str(path.parent / "back.ome.zarr"))) == []


def test_recompute_finds_a_changed_pixel_of_a_background(movie):
    path, _ = movie
    pipeline.run(config(path, TOPHAT))
    back = path.parent / "back.ome.zarr"
    said = str(recompute(str(back), 6, seed=1))
    assert "the background of white_tophat: the largest difference is 0, promised is 0" in said
    array = zarr.open_array(store=str(back), path="0", mode="r+")
    array[1, 5, 6] += 1
    with pytest.raises(VerificationError, match="t 1, y 5, x 6"):
        recompute(str(back), 9, seed=1)


def test_where_clipping_is_refused_neither_appears(movie):
    path, _ = movie
    with pytest.raises(DataError, match="were clipped"):
        pipeline.run(config(path, TOPHAT, dtype="uint8", overflow="clip", max_clipped=0.01))
    assert not any(Path(path.parent / f"{name}.ome.zarr").exists() for name in ("out", "back"))


EVERY = [
    (name, parameters)
    for name, step in sorted(REGISTRY.items())
    if step.background is not None
    for parameters in step.examples
]


@pytest.mark.parametrize(("name", "parameters"), EVERY)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32"])
@pytest.mark.parametrize("times", [1, 2])
def test_the_type_of_a_background_holds_it_on_extreme_pixels(name, parameters, dtype, times):
    step = REGISTRY[name](**parameters)
    axes = "".join(axis for axis in "tczyx" if axis in "yx" + step.along)
    spec = ImageSpec(axes, tuple(31 if axis in "yx" else 9 for axis in axes), np.dtype(dtype))
    info, rng = np.iinfo(dtype), np.random.default_rng(0)
    image = rng.choice([info.min, info.max, 0, 1], spec.shape).astype(dtype)
    chain = [step.resolve(spec)] * times
    result = image
    for each in chain:
        if getattr(each, "signed", False) and result.dtype.itemsize == 8:
            pytest.skip(f"a larger maximum on {result.dtype} is refused")
        result = each.apply(result, axes, (0,) * len(axes))
    (meant,), chosen = backgrounds(chain, spec), background_dtype(BoundChain(tuple(chain), spec))
    found = background_pixels(meant, image, result, chosen)
    exact = image.astype(float) + result if meant == "input plus result" else image.astype(float) - result
    assert found.dtype == chosen
    if chosen.kind == "f":
        assert np.abs(found - exact).max() <= 1e-6 * np.abs(image.astype(float)).max()
    else:
        np.testing.assert_array_equal(found.astype(float), exact)
    if times == 1 and result.dtype.kind != "f":
        assert chosen == image.dtype
