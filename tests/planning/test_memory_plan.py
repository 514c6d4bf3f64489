"""What a plan counts: every term of the predicted memory, and what follows from it for blocks and windows."""

import math
from dataclasses import replace

import numpy as np
import pytest

from pipeline.config.load import load_config
from pipeline.model import machine
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.machine import MIB
from pipeline.planning import job
from pipeline.planning.memory import DRIVER, IN_FLIGHT, chain_bytes, writing_bytes
from pipeline.planning.plan import make_plan
from pipeline.planning.resume_tiling import resume_tiling

TOPHAT = {"white_tophat": {"radius": 25}}
MINIMUM = {"subtract_minimum": {"size": 3}}
FRAMES = ImageSpec("tyx", (100, 2048, 2048), np.dtype("uint16"), (1, 2048, 2048))
PLANE = ImageSpec("yx", (60000, 60000), np.dtype("uint16"), (1024, 1024))


def plan(image, steps, memory=8 << 30, compute=None, output=None, **more):
    config = load_config(
        {
            "input": {"path": "in.zarr"},
            "steps": steps,
            "output": {"path": "out.zarr", **(output or {})},
            "compute": {"cluster": "threads", "workers": 2, **(compute or {})},
        }
    )
    return make_plan(config, image, 2, memory, **more)


def at_once(shape):
    """Say that reading takes nothing beside the pixels."""
    return 0


def test_a_background_is_counted_while_it_is_written():
    without = plan(FRAMES, [MINIMUM], output={"pyramid": False}, reading=at_once)
    with_it = plan(FRAMES, [MINIMUM], output={"pyramid": False, "background": "b.zarr"}, reading=at_once)
    assert with_it.tiling.block == without.tiling.block == {"t": 1, "y": 2048, "x": 2048}
    assert with_it.memory.task - without.memory.task >= 2048 * 2048 * 2


def test_the_background_of_mixed_channels_is_counted_with_its_parts():
    image = ImageSpec("tcyx", (9, 2, 2048, 2048), np.dtype("uint16"), (1, 2, 2048, 2048))
    output = {"pyramid": False, "background": "b.zarr"}
    alike = plan(image, [MINIMUM], output=output, compute={"block": {"c": 2}})
    mixed = plan(
        image,
        [{"subtract_minimum": {"size": 3, "channels": [0]}}],
        output=output,
        compute={"block": {"c": 2}},
    )
    assert mixed.tiling.block["c"] == alike.tiling.block["c"] == 2
    assert mixed.memory.task - alike.memory.task >= 2 * 2048 * 2048 * 2


def test_a_window_has_no_more_than_some_hundred_blocks():
    found = plan(
        PLANE, [TOPHAT], compute={"block": {"y": 64, "x": 64}}, output={"chunks": {"y": 64, "x": 64}}
    )
    tiling = found.tiling
    blocks = math.prod(tiling.window[axis] // tiling.block[axis] for axis in "yx")
    assert 64 < blocks <= 512
    many = ImageSpec("tyx", (100_000, 64, 64), np.dtype("uint16"), (1, 64, 64))
    small = plan(many, [MINIMUM], compute={"block": {"t": 1}}).tiling
    assert 64 < small.window["t"] <= 512


def test_tiles_leave_room_for_blocks_that_wait_beside_each_worker():
    """Blocks as large as what they take themselves allows would leave windows of one: each reads its halo."""
    for memory in (390, 470, 570, 770, 1070):
        found = plan(PLANE, [TOPHAT], memory=memory * MIB)
        tiling = found.tiling
        blocks = math.prod(-(-tiling.window[axis] // tiling.block[axis]) for axis in "yx")
        assert blocks >= 4, (memory, tiling)
        assert found.memory.predicted <= memory * MIB


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_what_worker_processes_hand_each_other_is_counted_in_both(workers):
    image = ImageSpec("yx", (4096, 4096), np.dtype("uint16"), (512, 512))
    said = {"block": {"y": 1024, "x": 1024}, "window": {"y": 2048, "x": 4096}, "workers": workers}
    found = plan(image, [TOPHAT], compute={**said, "cluster": "local"})
    read = (2048 + 2 * 50) * 4096 * 2
    held = (2 if workers > 1 else 1) * IN_FLIGHT * read
    assert held <= found.memory.shared <= held + 32 * MIB


def test_threads_hold_one_window_and_what_its_last_blocks_share():
    image = ImageSpec("yx", (8192, 4096), np.dtype("uint16"), (512, 512))
    said = {"block": {"y": 1024, "x": 1024}, "window": {"y": 2048, "x": 4096}}
    read = (2048 + 2 * 50) * 4096 * 2
    for workers in (1, 2, 3):
        shared = plan(image, [TOPHAT], compute={**said, "workers": workers}).memory.shared
        rest = min(read, (workers - 1) * 9 * 1024 * 1024 * 2)
        assert read + rest <= shared <= read + rest + 32 * MIB
    alone = plan(image, [TOPHAT], compute={**said, "window": {"y": 8192}}).memory.shared
    assert 8192 * 4096 * 2 <= alone <= 8192 * 4096 * 2 + 32 * MIB


def test_coarser_levels_are_counted_where_a_file_holds_much():
    """Blocks hold no whole file of level 1: each is made of four of level 0, as stored and decoded."""
    image = ImageSpec("tyx", (100, 4096, 4096), np.dtype("uint16"), (1, 2048, 2048))
    shards = {"chunks": {"y": 512, "x": 512}, "shards": {"y": 2048, "x": 2048}}
    said = {"compute": {"block": {"t": 1, "y": 2048, "x": 2048}, "workers": 2}}
    found = plan(image, [TOPHAT], output=shards, **said)
    without = plan(image, [TOPHAT], output={**shards, "pyramid": False}, **said)
    assert without.memory.level == 0
    file = 2048 * 2048 * 2
    assert (4 + 3) * file <= found.memory.level <= (4 + 3) * file + 24 * MIB
    assert found.memory.level_tasks == 2
    assert found.memory.predicted >= found.memory.base + 2 * found.memory.level


def test_coarser_levels_made_of_a_block_take_a_part_of_it():
    block = 2048 * 2048 * 2
    found, without = (plan(FRAMES, [TOPHAT], output={"pyramid": made}).memory for made in (True, False))
    assert found.level == without.level == 0
    assert without.task <= found.task <= without.task + block // 4


def test_a_checksum_is_counted_where_a_file_is_made():
    shards = {"chunks": {"y": 512, "x": 512}, "shards": {"t": 8, "y": 2048, "x": 2048}, "pyramid": False}
    without, with_it = (
        plan(FRAMES, [MINIMUM], output={**shards, "checksum": said}) for said in (False, True)
    )
    assert with_it.memory.task > without.memory.task


@pytest.mark.parametrize(
    ("dtype", "least"),
    [("uint16", 4 + 2 + 4), ("float32", 4), ("float64", 4 + 8 + 16)],
    ids=["whole numbers", "as they are", "wider"],
)
def test_the_cast_is_counted(dtype, least):
    output = {"dtype": dtype, "overflow": "clip", "pyramid": False, "offset": 0 if dtype == "float32" else 5}
    found = plan(FRAMES, [{"gaussian": {"sigma": 3}}], output=output)
    pixels = 2048 * 2048
    assert writing_bytes(found.workload, pixels, pixels, 0) >= least * pixels
    assert found.memory.task >= (2 + least) * pixels


def test_fewer_workers_are_taken_where_so_many_do_not_fit():
    chunk = lambda shape: 300 * MIB  # noqa: E731  # stored chunks that are decoded whole
    for memory, workers in ((2070, 4), (1470, 3), (1070, 2), (710, 1)):
        found = plan(FRAMES, [TOPHAT], memory=memory * MIB, compute={"workers": 4}, reading=chunk)
        assert found.resources.workers == workers
        assert found.memory.predicted <= memory * MIB
    with pytest.raises(RequestError, match=r"300\.0 MiB to decode the stored chunks") as refused:
        plan(FRAMES, [TOPHAT], memory=500 * MIB, compute={"workers": 4}, reading=chunk)
    hint = refused.value.problems[0].hint
    assert "rechunk the input" in hint
    least = int(hint.split(" MiB")[0].split()[-1]) * MIB
    assert plan(FRAMES, [TOPHAT], memory=least, reading=chunk).memory.predicted <= least


def test_what_a_notebook_holds_is_not_taken_off_the_memory_of_its_run(monkeypatch):
    class Opened:
        spec = FRAMES
        bytes_beside = staticmethod(lambda shape: 0)
        files = staticmethod(lambda: ())

    config = load_config({"input": {"path": "in.zarr"}, "steps": [TOPHAT], "output": {"path": "out.zarr"}})
    monkeypatch.setattr(job, "default_budget", lambda: 600 * MIB)
    monkeypatch.setattr(job, "cores", lambda: 2)
    monkeypatch.setattr(job, "tree_memory", lambda: DRIVER)
    alone = job.plan_here(config, Opened())
    monkeypatch.setattr(job, "tree_memory", lambda: DRIVER + 3000 * MIB)
    among_arrays = job.plan_here(config, Opened())
    assert among_arrays.tiling == alone.tiling
    assert among_arrays.resources.workers == alone.resources.workers
    assert among_arrays.memory.predicted > 3000 * MIB


SLURM = {
    "of the node": ({"SLURM_MEM_PER_NODE": "3000"}, 3000),
    "of a CPU": ({"SLURM_MEM_PER_CPU": "500", "SLURM_CPUS_ON_NODE": "8"}, 4000),
    "of a GPU": ({"SLURM_MEM_PER_GPU": "2500", "SLURM_GPUS_ON_NODE": "2"}, 5000),
    "all of the node": ({"SLURM_MEM_PER_NODE": "0"}, 10_000),
    "of a CPU, nobody says how many": ({"SLURM_MEM_PER_CPU": "500"}, 10_000),
    "no job": ({}, 10_000),
    "more than there is": ({"SLURM_MEM_PER_NODE": "64000"}, 10_000),
}


@pytest.mark.parametrize("name", SLURM)
def test_a_slurm_job_may_take_what_it_asked_for(name, monkeypatch):
    said, free = SLURM[name]
    for variable in ("MEM_PER_NODE", "MEM_PER_CPU", "MEM_PER_GPU", "CPUS_ON_NODE", "GPUS_ON_NODE"):
        monkeypatch.delenv(f"SLURM_{variable}", raising=False)
    for variable, value in said.items():
        monkeypatch.setenv(variable, value)

    class Available:
        available = 10_000 * MIB

    monkeypatch.setattr(machine.psutil, "virtual_memory", Available)
    monkeypatch.setattr(machine, "_cgroup_free", lambda: ())
    assert machine.free_memory() == free * MIB
    assert machine.default_budget() == int(0.6 * free * MIB)


def test_a_cgroup_above_limits_too(monkeypatch, tmp_path):
    numbers = {
        "/sys/fs/cgroup/a/b/memory.max": None, "/sys/fs/cgroup/a/b/memory.current": 10 * MIB,
        "/sys/fs/cgroup/a/memory.max": 300 * MIB, "/sys/fs/cgroup/a/memory.current": 100 * MIB,
        "/sys/fs/cgroup/memory.max": 900 * MIB, "/sys/fs/cgroup/memory.current": 200 * MIB,
    }  # fmt: skip
    monkeypatch.setattr(machine, "_read_number", lambda path: numbers.get(str(path)))
    monkeypatch.setattr(machine.Path, "read_text", lambda self: "0::/a/b\n")
    assert min(machine._cgroup_free()) == 200 * MIB


def test_the_default_of_what_reading_takes_is_a_chunk_as_stored_and_decoded():
    assert plan(FRAMES, [TOPHAT]).workload.bytes_beside((1, 64, 64)) == 2 * 2048 * 2048 * 2


@pytest.mark.parametrize("memory", [390, 430, 520, 770])
def test_windows_of_the_first_start_are_computed_in_what_there_is_now(memory):
    """In blocks that hold their neighbours' halo and in parts that fit; all of each window, nothing twice."""
    image = ImageSpec("yx", (9000, 8000), np.dtype("uint16"), (512, 512))
    first = plan(image, [TOPHAT], memory=4000 * MIB)
    window = {"y": 5120, "x": 8000}
    now = plan(image, [TOPHAT], memory=memory * MIB)
    found = resume_tiling(now.workload, now.resources, now.tiling, window)
    assert dict(found.tiling.window) == window != dict(now.tiling.window)
    assert found.memory.predicted <= memory * MIB
    for number in range(found.tiling.windows):
        whole = found.tiling.cuts(number)
        covered = np.zeros([cut.edges[-1] - cut.edges[0] for cut in whole], np.uint8)
        for part in found.parts(number):
            begins = [own.edges[0] - cut.edges[0] for own, cut in zip(part, whole, strict=True)]
            assert all(min(own.kept) >= 50 for own in part if own.count > 1)
            covered[tuple(slice(b, b + sum(own.kept)) for b, own in zip(begins, part, strict=True))] += 1
        assert (covered == 1).all()
    assert first.memory.predicted > found.memory.predicted


def test_a_run_that_goes_on_with_too_little_memory_is_refused_with_what_would_do():
    image = ImageSpec("yx", (9000, 8000), np.dtype("uint16"), (512, 512))
    found = plan(image, [TOPHAT], memory=400 * MIB)
    small = replace(found.resources, memory=255 * MIB)
    with pytest.raises(RequestError, match=r"may use 255\.0 MiB"):
        resume_tiling(found.workload, small, found.tiling, {"y": 5120, "x": 8000})


def test_a_step_for_some_channels_takes_its_part_beside_the_others():
    image = ImageSpec("tcyx", (9, 2, 2048, 2048), np.dtype("uint16"), (1, 2, 2048, 2048))
    alike = plan(image, [TOPHAT]).steps
    some = plan(image, [{"white_tophat": {"radius": 25, "channels": [0]}}]).steps
    taken = [chain_bytes(steps, (1, 2, 2048, 2048), image.dtype, image.axes) for steps in (alike, some)]
    assert taken[1] - taken[0] >= 2048 * 2048 * 2


def test_the_halo_of_a_block_is_counted():
    image = ImageSpec("yx", (40_000, 40_000), np.dtype("uint16"), (1024, 1024))
    said = {"compute": {"block": {"y": 1024, "x": 1024}}, "output": {"pyramid": False}, "reading": at_once}
    small, large = (plan(image, [{"white_tophat": {"radius": r}}], **said) for r in (2, 200))
    pixels = [(1024 + 4 * r) ** 2 for r in (2, 200)]
    assert large.memory.task - small.memory.task >= 2 * 2 * (pixels[1] - pixels[0])


@pytest.mark.parametrize("memory", [490, 570, 670, 770])
def test_no_block_of_an_older_window_is_larger_than_what_is_counted(memory):
    """A rest shorter than the halo would join its neighbour."""
    image = ImageSpec("yx", (20_480, 2048), np.dtype("uint16"), (512, 512))
    now = plan(image, [{"white_tophat": {"radius": 300}}], memory=memory * MIB)
    for rows in (1024, 5120, 7168, 10_240):
        found = resume_tiling(now.workload, now.resources, now.tiling, {"y": rows, "x": 2048})
        assert found.tiling.block["y"] <= rows
        for part in found.parts(0):
            assert max(part[0].kept) <= found.tiling.block["y"]
