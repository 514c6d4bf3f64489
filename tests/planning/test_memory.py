"""Memory: predicted before the first pixel, refused with the least that would do, and held."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.ndimage as ndi
import zarr
from big_input import big_zarr
from limits import cgroup, start
from skimage.morphology import disk

from pipeline.config.load import load_config
from pipeline.kernels.jit import cache_folder
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.machine import MIB
from pipeline.model.text import size_text
from pipeline.planning.memory import COMPILED, COMPILED_MORE, DRIVER, largest_block
from pipeline.planning.plan import make_plan
from pipeline.planning.warmup import WarmUp

TOPHAT = {"white_tophat": {"radius": 25}}
DOG = {"difference_of_gaussians": {"low_sigma": 1, "high_sigma": 100}}
BALL = {"white_tophat": {"radius": 5, "along": "zyx"}}
IMAGES = {
    "frames": (ImageSpec("tyx", (100, 2048, 2048), np.dtype("uint16"), (1, 2048, 2048)), [TOPHAT, DOG]),
    "a plane": (ImageSpec("yx", (60000, 60000), np.dtype("uint16"), (1024, 1024)), [DOG]),
    "stacks": (ImageSpec("tzyx", (9, 200, 1500, 1500), np.dtype("uint8"), (1, 1, 1500, 1500)), [BALL]),
}


def plan(image, steps, memory=8 << 30, compute=None, **more):
    config = load_config(
        {
            "input": {"path": "in.zarr"},
            "steps": steps,
            "output": {"path": "out.zarr"},
            "compute": {"cluster": "threads", **(compute or {})},
        }
    )
    return make_plan(config, image, 2, memory, **more)


def advised(error):
    """Return the bytes that a refusal tells to raise compute.memory to."""
    words = error.value.problems[0].hint.split()
    return int(words[words.index("MiB") - 1]) * MIB


@pytest.mark.parametrize("name", IMAGES)
def test_a_refusal_names_the_least_memory_that_does(name):
    with pytest.raises(RequestError, match="may use") as refused:
        plan(*IMAGES[name], memory=100 * MIB)
    least = advised(refused)
    assert plan(*IMAGES[name], memory=least).memory.predicted <= least
    with pytest.raises(RequestError, match=size_text(least - MIB)):
        plan(*IMAGES[name], memory=least - MIB)


def test_the_advice_for_a_forced_block_is_for_that_block():
    forced = {"block": {"y": 8192, "x": 8192}}
    with pytest.raises(RequestError) as refused:
        plan(*IMAGES["a plane"], memory=400 * MIB, compute=forced)
    least = advised(refused)
    found = plan(*IMAGES["a plane"], memory=least, compute=forced)
    assert found.memory.predicted <= least
    assert found.tiling.block["y"] == 8192


def test_what_the_process_holds_is_counted_in_whole_steps():
    usual = plan(*IMAGES["frames"]).memory.base
    assert plan(*IMAGES["frames"], held=DRIVER - 5 * MIB).memory.base == usual
    held = {plan(*IMAGES["frames"], held=DRIVER + more * MIB).memory.base for more in (33, 40, 48)}
    assert held == {usual + 48 * MIB}


def test_compiling_is_counted_once_or_in_each_worker_where_nothing_can_be_kept(monkeypatch):
    def bases():
        return [
            plan(*IMAGES["frames"], compute={"cluster": cluster, "workers": 3}).memory.base
            for cluster in ("threads", "local")
        ]

    monkeypatch.setattr(WarmUp, "is_compiled", False)
    threads, local = bases()
    monkeypatch.setattr("pipeline.planning.memory.cache_folder", lambda: None)
    assert bases() == [threads, local + 3 * (COMPILED + COMPILED_MORE)]


def test_compiling_is_counted_in_the_first_run_of_a_chain(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    cache_folder.cache_clear()
    try:
        first = plan(*IMAGES["frames"])
        first.warm_up()
        second = plan(*IMAGES["frames"])
    finally:
        cache_folder.cache_clear()
    assert first.memory.base - second.memory.base == COMPILED + COMPILED_MORE


def test_a_rest_shorter_than_the_halo_makes_the_last_block_larger():
    assert largest_block({"x": 100}, {"x": 30}, {"x": 420}) == {"x": 120}
    assert largest_block({"x": 100}, {"x": 30}, {"x": 430}) == {"x": 100}
    assert largest_block({"x": 100}, {"x": 30}, {"x": 100}) == {"x": 100}


def run_apart(config, limit, **environ):
    """Run a config in a process of its own, which may hold `limit` bytes; return what it tells."""
    code = "import json, sys, pipeline; print(json.dumps(pipeline.run(json.loads(sys.argv[1])).as_dict()))"
    with cgroup(limit) as group:
        process = start(
            [sys.executable, "-c", code, json.dumps(config)], group, limit,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environ},
        )  # fmt: skip
        out, err = process.communicate()
    assert process.returncode == 0, (process.returncode, err)
    return json.loads(out)


def expected(part, steps):
    """Return what the oracles make of a part of a plane."""
    for step in steps:
        if step is TOPHAT:
            part = ndi.white_tophat(part, footprint=disk(25))
        else:
            wide = part.astype(np.float64)
            part = ndi.gaussian_filter(wide, 1, mode="nearest") - ndi.gaussian_filter(
                wide, 100, mode="nearest"
            )
    return part


def assert_as_expected(source, output, steps, halo, corners, size=48):
    """Compare crops of an output with the oracles', each computed from the crop and its halo."""
    image, found = zarr.open_array(source, mode="r"), zarr.open_group(output, mode="r")["0"]
    height, width = image.shape[-2:]
    for *lead, y, x in corners:
        y0, x0 = max(0, y - halo), max(0, x - halo)
        part = image[(*lead, slice(y0, min(height, y + size + halo)), slice(x0, min(width, x + size + halo)))]
        whole = expected(part, steps)
        wanted = whole[y - y0 : y - y0 + size, x - x0 : x - x0 + size]
        got = found[(*lead, slice(y, y + size), slice(x, x + size))]
        if steps == [TOPHAT]:
            np.testing.assert_array_equal(got, wanted)
        else:
            rounding = 0 if got.dtype.kind == "f" else 0.5
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4 * np.ptp(part.astype(float)) + rounding)


CHAINS = {"tophat": ([TOPHAT], 50), "dog": ([DOG], 450), "both": ([TOPHAT, DOG], 500)}


@pytest.mark.parametrize("name", ["tophat"])
def test_a_run_stays_in_its_memory_under_a_hard_limit(name, tmp_path):
    memory = 400 * MIB
    steps, halo = CHAINS[name]
    source = big_zarr(str(tmp_path / "in.zarr"), (5000, 6000), (512, 512))
    output = str(tmp_path / "out.ome.zarr")
    told = run_apart(
        {
            "input": {"path": source},
            "steps": steps,
            "output": {"path": output},
            "compute": {"cluster": "threads", "workers": 2, "memory": memory},
        },
        memory,
    )
    assert told["memory_peak_bytes"] <= told["memory_predicted_bytes"] <= memory
    # 1.35 to 1.52 measured: of what blocks of a window share, Dask holds more or less of it at a time.
    # Compiling is counted in the first run of a chain, and this one finds its kernels compiled.
    assert told["memory_predicted_bytes"] - COMPILED <= 1.6 * told["memory_peak_bytes"]
    assert_as_expected(source, output, steps, halo, [(0, 0), (2040, 3050), (4952, 5952)])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", CHAINS)
def test_an_input_twenty_times_the_memory_compiled_from_cold_under_a_hard_limit(name, tmp_path, room):
    room(4e9)  # of 10 GB each way: chunks of the input are links, and what is written compresses
    memory = 480 * MIB
    steps, halo = CHAINS[name]
    source = big_zarr(str(tmp_path / "in.zarr"), (8, 24576, 26000), (1, 1024, 1024), noise=0)
    assert 20 * memory <= 8 * 24576 * 26000 * 2
    output = str(tmp_path / "out.ome.zarr")
    told = run_apart(
        {
            "input": {"path": source},
            "steps": steps,
            "output": {"path": output, "compressor": "blosc-zstd", "dtype": "int16", "overflow": "clip"},
            "compute": {"cluster": "threads", "workers": 2, "memory": memory},
        },
        memory,
        NUMBA_CACHE_DIR=str(tmp_path / "cache"),
    )
    assert told["memory_peak_bytes"] <= told["memory_predicted_bytes"] <= memory
    corners = [(0, 0, 0), (3, 8180, 12300), (7, 24528, 25952), (5, 1000, 25952)]
    assert_as_expected(source, output, steps, halo, corners)
