"""`bgone verify --recompute`: random blocks again through scikit-image and scipy, and what it finds."""

import json
import os
import shutil

import numpy as np
import pytest
import tifffile
import zarr

import pipeline
from pipeline.cli import main
from pipeline.explore.sample import write_zarr
from pipeline.kernels import morphology
from pipeline.model.errors import RequestError, VerificationError
from pipeline.model.image import Channel, ImageSpec
from pipeline.reporting.oracle import cast_reference, reference_chain
from pipeline.reporting.recompute import OPERATIONS, open_original, random_regions, recompute, reference_block
from pipeline.steps.registry import REGISTRY
from pipeline.storage.codec import crc32c
from pipeline.write import ChunkRecord, read_manifest
from pipeline.write.manifest import MANIFEST, manifest_parts

TOPHAT = {"white_tophat": {"radius": 4}}
OPENING = {"subtract_opening": {"minimum_size": 3, "maximum_size": 7}}
GAUSSIANS = {"difference_of_gaussians": {"low_sigma": 1, "high_sigma": 9}}
CLIPPED = {"dtype": "uint16", "overflow": "clip"}


def pixels(shape, seed=0):
    """Return noise over a gradient, dim and bright."""
    rng = np.random.default_rng(seed)
    ramp = sum(np.ogrid[tuple(slice(0, 1, size * 1j) for size in shape)])
    return (100 + 9000 * ramp / len(shape) + rng.integers(0, 3000, shape)).astype(np.uint16)


@pytest.fixture
def stack(tmp_path):
    """A time-lapse of two channels as OME-Zarr with a pyramid."""
    spec = ImageSpec(
        "tcyx", (3, 2, 150, 600), np.dtype("uint16"), (1, 1, 150, 300),
        {"t": 30.0, "y": 0.325, "x": 0.325}, {"t": "second", "y": "micrometer", "x": "micrometer"},
        channels=(Channel("GFP"), Channel("mCherry")),
    )  # fmt: skip
    image = pixels(spec.shape)
    path = tmp_path / "stack.ome.zarr"
    parts = [
        ((slice(t, t + 1), slice(c, c + 1), slice(0, 150), slice(0, 600)), image[t : t + 1, c : c + 1])
        for t in range(3)
        for c in range(2)
    ]
    write_zarr(path, spec, parts)
    return path


@pytest.fixture
def movie(tmp_path):
    """A plain TIFF of three frames."""
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, pixels((3, 70, 80)), photometric="minisblack")
    return path


def run(path, *steps, more=None, **output):
    """Run steps on a file, and return where the output is."""
    section = {"path": str(path), **(more or {})}
    if path.suffix == ".tif":
        section["axes"] = "tyx"
    target = path.parent / "out.ome.zarr"
    asked = {
        "input": section, "steps": list(steps), "output": {"path": str(target), **output},
        "compute": {"cluster": "threads", "workers": 2},
    }  # fmt: skip
    pipeline.run(asked)
    return target


CASES = {
    "one top-hat": ([TOPHAT], {}, {}),
    "negatives in a wider type": ([OPENING], {}, {}),
    "a linear filter in its own floats": ([GAUSSIANS], {}, {}),
    "a chain, cast with an offset": ([TOPHAT, GAUSSIANS], {}, {**CLIPPED, "offset": 500.5}),
    "clipped at zero": ([GAUSSIANS], {}, CLIPPED),
    "floats of exact results": ([TOPHAT], {}, {"dtype": "float32", "offset": -7.25}),
    "selected, with a step between frames": ([TOPHAT], {"select": {"t": "0:3:2", "c": ["mCherry"]}}, {}),
    "one channel filtered, one untouched": (
        [{name: {**fields, "channels": ["GFP"]}} for name, fields in (*TOPHAT.items(), *GAUSSIANS.items())],
        {}, {},
    ),
    "a coarser level": ([TOPHAT], {"level": 1}, {}),
    "axes padded": ([TOPHAT], {"select": {"c": [0]}}, {"axes": "tczyx"}),
    "0.4, padded": ([OPENING], {}, {"axes": "tczyx", "version": "0.4"}),
    "sharded": ([TOPHAT], {}, {"chunks": {"y": 50, "x": 60}, "shards": {"t": 3, "y": 100, "x": 600}}),
    "a length in micrometres": ([{"black_tophat": {"radius": "1.3 um"}}], {}, {}),
    "along time": ([{"white_tophat": {"size": 3, "along": "t"}}, TOPHAT], {}, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_right_output_is_found_right(case, stack):
    steps, more, output = CASES[case]
    found = recompute(str(run(stack, *steps, more=more, **output)), 6, seed=1)
    assert len(found.blocks) == 6
    assert all(block.right and not block.skipped for block in found.blocks)
    exact = "difference_of_gaussians" not in str(steps) and "gaussian" not in str(steps)
    if exact and "offset" not in output:
        assert {(block.difference, block.allowed) for block in found.blocks} == {(0.0, 0.0)}
    assert "(--seed 1)" in str(found)


def test_a_plain_tiff_is_read_with_the_axes_that_were_given(movie):
    assert all(block.right for block in recompute(str(run(movie, TOPHAT)), 4, seed=0).blocks)


def tampered(output, at, value):
    """Change a pixel of a finished output, and its manifest with it, so that the manifest holds."""
    before = {file: file.read_bytes() for file in output.rglob("*") if file.is_file()}
    array = zarr.open_array(store=str(output), path="0", mode="r+")
    array[at] = value
    new = {
        str(file.relative_to(output)): file.read_bytes()
        for file in output.rglob("*")
        if file.is_file() and before.get(file) != file.read_bytes()
    }
    assert len(new) == 1
    records = [
        ChunkRecord(record.key, len(new[record.key]), crc32c(new[record.key]))
        if record.key in new
        else record
        for record in read_manifest(str(output))
    ]
    (output / MANIFEST).write_bytes(b"".join(manifest_parts(records)))


def test_a_changed_pixel_is_found_though_the_manifest_agrees(movie, capsys):
    output = run(movie, TOPHAT)
    value = int(zarr.open_array(store=str(output), path="0", mode="r")[1, 30, 40])
    tampered(output, (1, 30, 40), value + 1)
    assert main(["verify", str(output)]) == 0
    assert main(["verify", str(output), "--recompute", "12", "--seed", "3"]) == 4
    said = capsys.readouterr().err
    assert f"the pixel at t 1, y 30, x 40 is {value + 1}, and white_tophat" in said
    assert f"gives {value}: off by 1 where at most 0 is promised (block at t 1, y 0, x 0)" in said


def test_a_pixel_off_by_more_than_linear_filters_promise_is_found(movie):
    output = run(movie, GAUSSIANS)
    value = float(zarr.open_array(store=str(output), path="0", mode="r")[0, 5, 6])
    tampered(output, (0, 5, 6), value + 20)
    with pytest.raises(VerificationError, match="t 0, y 5, x 6"):
        recompute(str(output), 12, seed=3)


def test_a_nan_where_there_should_be_a_number_is_found(movie):
    output = run(movie, GAUSSIANS)
    tampered(output, (2, 5, 6), np.nan)
    with pytest.raises(VerificationError, match="t 2, y 5, x 6 is nan"):
        recompute(str(output), 12, seed=3)


def test_a_kernel_that_lies_is_found_out(movie, monkeypatch):
    right = morphology.white_tophat
    monkeypatch.setattr(morphology, "white_tophat", lambda *given: right(*given) // 2)
    output = run(movie, TOPHAT)
    with pytest.raises(VerificationError, match="white_tophat through scikit-image"):
        recompute(str(output), 2, seed=0)


def test_the_same_seed_looks_at_the_same_blocks(movie):
    spec = ImageSpec("tyx", (50, 900, 700), np.dtype("uint16"))
    first = list(random_regions(spec, 64, 20, 7))
    assert first == list(random_regions(spec, 64, 20, 7)) != list(random_regions(spec, 64, 20, 8))
    assert all(
        0 <= part.start < part.stop <= size
        for region in first
        for part, size in zip(region, spec.shape, strict=True)
    )
    one, other = (recompute(str(run_once), 1) for run_once in [run(movie, TOPHAT)] * 2)
    assert one.seed != other.seed


def test_random_blocks_lie_in_every_part_of_the_image_its_borders_too():
    spec = ImageSpec("tcyx", (50, 3, 900, 700), np.dtype("uint16"))
    regions = list(random_regions(spec, 64, 400, 1))
    for axis, size in enumerate(spec.shape):
        starts = np.array([region[axis].start for region in regions])
        stops = np.array([region[axis].stop for region in regions])
        assert (starts.min(), stops.max()) == (0, size)
        counts, _ = np.histogram((starts + stops) / 2, 3, (0, size))
        assert (counts > 90).all()


@pytest.mark.parametrize(("radius", "side"), [(5, 128), (25, 64)])
def test_blocks_are_read_with_twice_what_the_steps_look_at(radius, side):
    spec = ImageSpec("tyx", (5, 4000, 4000), np.dtype("uint16"))
    step = REGISTRY["white_tophat"](radius=radius).resolve(spec)
    assert reference_block(spec, (step,)) == (side, {"t": 0, "y": 4 * radius, "x": 4 * radius})
    wide = REGISTRY["white_tophat"](radius=200).resolve(spec)
    chosen, margin = reference_block(spec, (wide,))
    assert (chosen, margin["y"]) == (32, 416)
    assert OPERATIONS > 0


def test_nan_in_the_input_is_compared_for_rank_filters_and_skipped_for_linear_ones(tmp_path):
    image = pixels((1, 60, 60)).astype(np.float32)
    image[0, 20:25, 30] = np.nan
    path = tmp_path / "holes.tif"
    tifffile.imwrite(path, image, photometric="minisblack")
    found = recompute(str(run(path, TOPHAT, more={"nan": "propagate"})), 2, seed=0)
    assert [block.difference for block in found.blocks] == [0, 0]
    shutil.rmtree(tmp_path / "out.ome.zarr")
    found = recompute(str(run(path, GAUSSIANS, more={"nan": "propagate"})), 2, seed=0)
    assert all(block.skipped for block in found.blocks)
    assert "2 of them hold a NaN" in str(found)


def test_an_input_that_was_moved_is_found_where_the_user_says(movie, capsys):
    output = run(movie, TOPHAT)
    moved = movie.parent / "elsewhere" / "renamed.tif"
    moved.parent.mkdir()
    movie.rename(moved)
    assert main(["verify", str(output), "--recompute", "2"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "say with --input PATH where it is now" in said
    assert main(["verify", str(output), "--recompute", "2", "--input", str(moved)]) == 0
    said = capsys.readouterr().out
    assert "white_tophat: the largest difference is 0, promised is 0" in said


@pytest.mark.parametrize("option", [["--seed", "3"], ["--input", "movie.tif"]])
def test_options_of_recompute_alone_are_a_slip(option, capsys):
    assert main(["verify", "out.ome.zarr", *option]) == 2
    assert "are for --recompute" in capsys.readouterr().err


def test_an_input_that_has_changed_is_refused(movie, capsys):
    output = run(movie, TOPHAT)
    tifffile.imwrite(movie, pixels((3, 70, 80), seed=1), photometric="minisblack")
    assert main(["verify", str(output), "--recompute", "2"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is not what it was (input.content was" in said


def test_an_input_that_was_only_touched_is_not_refused(stack):
    output = run(stack, TOPHAT)
    for file in stack.rglob("*"):
        os.utime(file, ns=(1, 1))
    assert all(block.right for block in recompute(str(output), 2, seed=0).blocks)


def test_what_no_run_made_is_refused(stack, movie):
    with pytest.raises(RequestError, match="from pixels in memory"):
        recompute(str(stack), 1)
    with pytest.raises(RequestError, match="is no output that bgone finished"):
        recompute(str(movie), 1)
    lazy = pipeline.WhiteTophat(radius=3)(pipeline.open_image(stack))
    pipeline.save(lazy, movie.parent / "lazy.ome.zarr")
    with pytest.raises(RequestError, match="from pixels in memory"):
        recompute(str(movie.parent / "lazy.ome.zarr"), 1)


def test_an_image_of_another_shape_is_no_output_of_this_config(stack):
    output = run(stack, TOPHAT, pyramid=False)
    metadata = output / "0" / "zarr.json"
    said = json.loads(metadata.read_text())
    said["shape"][0] = 2
    metadata.write_text(json.dumps(said))
    with pytest.raises(VerificationError, match="its image is"):
        open_original(str(output))


def test_what_is_promised_grows_along_a_chain_and_with_rounding():
    spec = ImageSpec("yx", (40, 40), np.dtype("uint16"))
    image = pixels(spec.shape)
    flat = REGISTRY["subtract_minimum"](size=5).resolve(spec)
    smooth = REGISTRY["gaussian"](sigma=2).resolve(spec)
    assert reference_chain((flat, flat), image, "yx", (0, 0))[1] == 0
    once = reference_chain((smooth,), image, "yx", (0, 0))[1]
    assert 1e-4 * np.ptp(image) <= once <= 1.1e-4 * (np.ptp(image) + 9000)
    assert reference_chain((smooth, flat), image, "yx", (0, 0))[1] == 2 * once
    result = np.array([-3.0, 0.5, 1.5, 70000.0])
    rounded, slack = cast_reference(result, np.dtype("uint16"), 0, exact=True)
    assert (rounded.tolist(), slack) == ([0, 0, 2, 65535], 0)
    kept, slack = cast_reference(result, np.dtype("uint16"), 0, exact=False)
    assert (kept.tolist(), slack) == ([0, 0.5, 1.5, 65535], 0.5)
