"""A plan is worked out without a pixel: blocks that fit, halos summed, refusals that help."""

import json

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cli import main
from pipeline.config.load import load_config
from pipeline.model.errors import RequestError
from pipeline.model.image import Channel, ImageSpec
from pipeline.planning.describe import plan_dict, plan_text
from pipeline.planning.plan import make_plan

GIB = 2**30


def spec(axes="tyx", shape=(100, 2048, 2048), dtype="uint16", chunks=None, **more):
    return ImageSpec(axes, shape, np.dtype(dtype), chunks or (1,) * (len(shape) - 2) + shape[-2:], **more)


def plan(image, *steps, cores=2, memory=8 * GIB, output=None, compute=None):
    config = load_config(
        {
            "input": {"path": "in.zarr"},
            "steps": list(steps) or [{"white_tophat": {"radius": 25}}],
            "output": {"path": "out.zarr", **(output or {})},
            "compute": {"cluster": "threads", **(compute or {})},
        }
    )
    return make_plan(config, image, cores, memory)


def test_whole_planes_are_the_blocks_where_they_fit():
    found = plan(spec())
    assert found.tiling.block == {"t": 1, "y": 2048, "x": 2048}
    assert found.tiling.overhead == 1


def test_halos_of_a_chain_are_summed():
    found = plan(spec(), {"white_tophat": {"radius": 25}}, {"subtract_minimum": {"size": 11}})
    assert found.halo == {"t": 0, "y": 55, "x": 55}


def test_small_planes_share_a_block():
    found = plan(spec(shape=(1000, 128, 128)))
    assert found.tiling.block["t"] > 1
    assert found.tiling.blocks >= 4


def test_a_block_holds_whole_chunks_of_the_input_where_memory_allows():
    found = plan(spec("tzyx", (10, 64, 256, 256), chunks=(1, 16, 256, 256)), output={"chunks": {"z": 1}})
    assert found.tiling.block["z"] % 16 == 0


def test_a_plane_larger_than_memory_is_cut_into_tiles_of_whole_chunks():
    found = plan(spec("yx", (60000, 60000), chunks=(1024, 1024)), memory=2 * GIB)
    block = found.tiling.block
    assert block["y"] < 60000
    assert block["y"] % 1024 == block["x"] % 1024 == 0
    assert block["y"] >= found.halo["y"]
    assert found.memory.predicted <= 2 * GIB
    assert found.tiling.overhead < 1.6


def test_one_large_plane_keeps_all_workers_busy():
    found = plan(spec("yx", (8192, 8192), chunks=(1024, 1024)), cores=2, memory=16 * GIB)
    assert found.tiling.blocks >= 2


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["yx", "tyx", "zyx", "tczyx"]),
    st.integers(2, 5),
    st.integers(600, 6000),
    st.integers(600, 6000),
    st.sampled_from([25, 60]),
    st.sampled_from([0.6, 1, 4, 64]),
    st.integers(1, 8),
)
def test_a_plan_fits_its_memory_and_its_blocks_are_whole_chunks(
    axes, count, height, width, radius, gib, cores
):
    image = spec(axes, (count,) * (len(axes) - 2) + (height, width))
    try:
        found = plan(image, {"white_tophat": {"radius": radius}}, cores=cores, memory=int(gib * GIB))
    except RequestError as error:
        refused = error.problems[0].field
    else:
        refused = ""
    if refused:
        assert refused == "compute.memory"
        return
    assert found.memory.predicted <= gib * GIB
    for axis, size in image.sizes.items():
        block, window, unit = (
            found.tiling.block[axis],
            found.tiling.window[axis],
            found.layout.file_sizes[axis],
        )
        assert block == size or block % unit == 0
        assert window == size or window % block == 0
        assert block == window or block >= found.halo[axis]


def test_too_little_memory_is_refused_with_what_to_change():
    with pytest.raises(RequestError, match=r"needs .* may use .*; raise compute.memory"):
        plan(spec(), {"difference_of_gaussians": {"low_sigma": 1, "high_sigma": 100}}, memory=300 * 2**20)


def test_json_has_the_keys_of_the_contract_and_is_json():
    found = json.loads(json.dumps(plan_dict(plan(spec()), "/data/in.zarr")))
    wanted = {
        "output_shape", "output_dtype", "axes", "halo", "block", "windows", "tasks", "halo_overhead",
        "memory_predicted_bytes", "memory_budget_bytes", "output_bytes_uncompressed",
    }  # fmt: skip
    assert wanted <= set(found)
    assert found["output_bytes_uncompressed"] == 100 * 2048 * 2048 * 2
    assert found["halo"] == {"t": 0, "y": 50, "x": 50}


def test_lengths_in_um_are_printed_in_px_axis_by_axis():
    image = spec(scale={"y": 0.3250000078, "x": 0.65}, units={"y": "micrometer", "x": "micrometer"})
    text = plan_text(plan(image, {"white_tophat": {"radius": "8.125 um"}}), "in.zarr")
    assert "radius y 25 x 12.5 px" in text
    assert "halo y 50 × x 24" in text


def test_a_physical_size_becomes_odd():
    image = spec(scale={"y": 0.5, "x": 0.5}, units={"y": "micrometer", "x": "micrometer"})
    (step,) = plan(image, {"subtract_minimum": {"size": "5 um"}}).steps
    assert step.pixels("size", "yx") == (11, 11)


CANNOT = {
    "a radius not below the longest axis": ({"white_tophat": {"radius": 2048}}, "steps.0.radius"),
    "a number that is a slip": ({"white_tophat": {"radius": 10**9}}, "steps.0.radius"),
    "a sigma that is a slip": ({"gaussian": {"sigma": 10**9}}, "steps.0.sigma"),
    "an axis that is not there": ({"white_tophat": {"radius": 3, "along": "zyx"}}, "steps.0.along"),
    "units without a scale": ({"white_tophat": {"radius": "8 um"}}, "steps.0.radius"),
    "a channel that is not there": ({"white_tophat": {"radius": 3, "channels": ["GFP"]}}, "steps.0.channels"),
    "sigmas that cross in px": (
        {"difference_of_gaussians": {"low_sigma": "2 um", "high_sigma": 3}}, "steps.0.low_sigma"),
}  # fmt: skip


@pytest.mark.parametrize("case", CANNOT)
def test_what_cannot_work_is_refused_before_any_pixel(case):
    step, field = CANNOT[case]
    image = (
        spec()
        if case != "sigmas that cross in px"
        else spec(scale={"y": 0.1, "x": 0.1}, units={"y": "micrometer", "x": "micrometer"})
    )
    with pytest.raises(RequestError) as caught:
        plan(image, step)
    assert any(problem.field.startswith(field) for problem in caught.value.problems), str(caught.value)
    assert all(problem.hint for problem in caught.value.problems)


def test_all_steps_that_cannot_work_are_named_at_once():
    with pytest.raises(RequestError) as caught:
        plan(spec(), {"white_tophat": {"radius": 5000}}, {"gaussian": {"sigma": "3 um"}})
    assert len(caught.value.problems) == 2


def test_a_ball_may_be_wider_than_a_thin_stack():
    found = plan(spec("zyx", (5, 200, 200)), {"white_tophat": {"radius": 20, "along": "zyx"}})
    assert found.tiling.block["z"] == 5


RANGES = {
    "tophat stays": ({"white_tophat": {"radius": 3}}, "uint16", "uint16", "fits"),
    "tophat of signed is unsigned": ({"white_tophat": {"radius": 3}}, "int16", "uint16", "fits"),
    "opening with a larger maximum is signed": (
        {"subtract_opening": {"minimum_size": 3, "maximum_size": 5}}, "uint16", "int32", "fits"),
    "linear is float": ({"gaussian": {"sigma": 3}}, "uint8", "float32", "fits"),
    "linear of wide is double": ({"gaussian": {"sigma": 3}}, "int32", "float64", "fits"),
}  # fmt: skip


@pytest.mark.parametrize("case", RANGES)
def test_the_output_is_what_the_chain_gives(case):
    step, dtype, given, overflow = RANGES[case]
    found = plan(spec(shape=(2, 64, 64), dtype=dtype), step)
    assert (found.output.dtype.name, found.overflow) == (given, overflow)


def test_a_gaussian_of_uint8_fits_uint8_without_overflow_said():
    assert plan(spec(dtype="uint8"), {"gaussian": {"sigma": 3}}, output={"dtype": "input"}).overflow == "fits"
    assert (
        plan(spec(dtype="uint8"), {"subtract_gaussian": {"sigma": 3}}, output={"dtype": "int16"}).overflow
        == "fits"
    )
    with pytest.raises(RequestError, match="-255 to 255"):
        plan(spec(dtype="uint8"), {"subtract_gaussian": {"sigma": 3}}, output={"dtype": "input"})


def test_forced_blocks_are_taken_and_checked():
    found = plan(spec(), compute={"block": {"y": 100, "x": 333}})
    assert (found.tiling.block["y"], found.tiling.block["x"]) == (100, 333)
    assert found.layout.file_sizes == {"t": 1, "y": 100, "x": 333}
    with pytest.raises(RequestError, match="not a multiple of the output's chunk, 64 px"):
        plan(spec(), output={"chunks": {"y": 64}}, compute={"block": {"y": 100}})
    with pytest.raises(RequestError, match="not a whole number of blocks"):
        plan(spec(), compute={"block": {"y": 64}, "window": {"y": 100}})


def test_forced_blocks_smaller_than_the_halo_are_merged():
    found = plan(spec(), {"white_tophat": {"radius": 50}}, compute={"block": {"y": 64, "x": 64}})
    assert found.tiling.block["y"] == 128


def test_channels_keep_their_names():
    image = spec("cyx", (2, 64, 64), channels=(Channel("GFP"), Channel("RFP")))
    assert plan(image, {"white_tophat": {"radius": 3, "channels": ["RFP"]}}).output.channel_names == (
        "GFP",
        "RFP",
    )


def test_axes_without_a_chunk_of_their_own_follow_the_block_and_the_shards():
    small = spec(shape=(4, 50, 61))
    found = plan(small, output={"chunks": {"y": 16, "x": 16}}, compute={"block": {"t": 1, "y": 16, "x": 16}})
    assert found.layout.file_sizes == {"t": 1, "y": 16, "x": 16}
    found = plan(small, {"white_tophat": {"radius": 4}}, output={"shards": {"t": 2, "y": 32, "x": 32}})
    assert found.layout.file_sizes == {"t": 2, "y": 32, "x": 32}
    found = plan(small, output={"chunks": {"y": 32, "x": 32}}, compute={"window": {"t": 1, "y": 96, "x": 64}})
    assert found.tiling.window["t"] == 1


def test_a_channel_named_twice_is_refused():
    image = spec("cyx", (2, 64, 64), channels=(Channel("GFP"), Channel("RFP")))
    with pytest.raises(RequestError, match="named twice"):
        plan(image, {"white_tophat": {"radius": 3, "channels": [0, "GFP"]}})


@pytest.mark.parametrize(
    ("shape", "cores", "cluster", "expected"),
    [
        ((100, 2048, 2048), 64, "auto", "threads"),
        ((4000, 2048, 2048), 8, "auto", "threads"),
        ((4000, 2048, 2048), 64, "auto", "local"),
        ((4000, 2048, 2048), 2, "local", "local"),
    ],
    ids=["short", "few workers", "long, many workers", "as told"],
)
def test_worker_processes_are_for_long_runs_on_many_cores(shape, cores, cluster, expected):
    found = plan(spec(shape=shape), cores=cores, memory=256 * GIB, compute={"cluster": cluster})
    assert found.resources.cluster == expected


LARGE = spec("yx", (8192, 8192), chunks=(1024, 1024))


@pytest.mark.parametrize(
    ("image", "more", "words"),
    [
        (spec(), {}, ["whole along every axis", "each once"]),
        (spec(), {"compute": {"block": {"y": 512, "x": 512}}}, ["cut along y, x: as told"]),
        (LARGE, {"memory": 400 * 2**20}, ["cut along y, x: whole would take"]),
        (LARGE, {}, ["cut along y: so that each of 2 workers has some"]),
        (
            spec("yx", (4096, 2048), chunks=(2048, 2048)),
            {"compute": {"block": {"y": 1024}, "window": {"y": 1024}}},
            ["cut along y: ", "each 3.00 times"],
        ),
    ],
    ids=["whole", "told", "memory", "workers", "windows that share a halo"],
)
def test_the_plan_says_why_blocks_are_so_and_how_often_chunks_are_read(image, more, words):
    text = plan_text(plan(image, **more), "in.zarr")
    for word in words:
        assert word in text


@pytest.mark.parametrize("mebibytes", range(360, 1300, 60))
def test_less_memory_makes_smaller_blocks_rather_than_a_refusal(mebibytes):
    assert plan(LARGE, memory=mebibytes * 2**20).memory.predicted <= mebibytes * 2**20


def test_what_goes_out_is_told_beside_what_comes_in():
    found = plan_dict(plan(spec(shape=(10, 200, 300)), output={"dtype": "float32"}), "in.zarr")
    assert found["bytes_out_over_bytes_in"] == 2
    assert found["output_bytes_uncompressed"] == 10 * 200 * 300 * 4
    assert found["output_bytes_uncompressed"] <= found["disk_needed_bytes"]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ({}, "as the chain gives them; nothing can overflow"),
        ({"dtype": "int32", "offset": 100}, "uint16 cast to int32, 100 added first; nothing can overflow"),
        ({"dtype": "uint8", "overflow": "clip"},
         "uint16 cast to uint8; clipped and counted where out of range"),
        ({"dtype": "uint8", "overflow": "error", "offset": -2.5},
         "uint16 cast to uint8, -2.5 added first; a value out of range stops the run"),
    ],
)  # fmt: skip
def test_what_happens_to_values_is_told(output, said):
    assert plan_text(plan(spec(), output=output), "in.zarr").splitlines()[-1].endswith(said)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd", None])
def test_plan_says_where_decoding_the_input_takes_long(tmp_path, capsys, compression):
    pixels = np.random.default_rng(0).integers(0, 99, (2, 64, 64), np.uint16)
    tifffile.imwrite(tmp_path / "movie.tif", pixels, compression=compression, photometric="minisblack")
    config = tmp_path / "run.yaml"
    config.write_text(
        "input: {path: movie.tif, axes: tyx}\n"
        "steps: [white_tophat: {radius: 3}]\n"
        "output: {path: out.ome.zarr}\n"
    )
    name = {"lzw": "LZW", "zlib": "deflate", "zstd": "ZSTD", None: ""}[compression]
    assert main(["plan", str(config)]) == 0
    text = capsys.readouterr().out
    assert (f"{name}: decoding takes" in text) == bool(name)
    assert ("Zarr is read faster" in text) == (name == "LZW")
    assert main(["plan", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["input_compression"] == name
