"""A power cut, on a disk that forgets what was not synced: what was journalled or published stays."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import distributed
import numpy as np
import pytest
import tifffile
from processes import CONFIG, MEMORY, assert_same, config, movie
from volatile_disk import SURVIVES, VolatileDisk, come_back

import pipeline
from pipeline.write import verify

HERE = Path(__file__).parents[1] / "helpers"
OLDER = {"fill": 9}
CASES = {
    "a first run": ({}, None),
    "Zarr 2": ({"version": "0.4"}, None),
    "worked on in another folder": ({"elsewhere": True}, None),
    "worked on on another disk": ({"elsewhere": True, "other_disk": True}, None),
    "workers elsewhere": ({"hosts": 2}, None),
    "workers elsewhere, Zarr 2": ({"hosts": 2, "version": "0.4"}, None),
    "over an older output": ({"overwrite": True}, OLDER),
    "over an older output, where the kernel cannot exchange names": (
        {"overwrite": True, "without_kernel": True}, OLDER,
    ),
    "with a background": ({"background": True}, None),
    "with a background, workers elsewhere": ({"background": True, "hosts": 2}, None),
    "with a background, over older ones": (
        {"background": True, "overwrite": True}, {"background": True, "fill": 9},
    ),
}  # fmt: skip


def farm(cases):
    """Cut the power of runs, and return for each case what was wrong."""
    with tempfile.TemporaryDirectory(dir=MEMORY, ignore_cleanup_errors=True) as folder:
        done = subprocess.run(
            [sys.executable, str(HERE / "power_farm.py"), folder, json.dumps(cases)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def quickly():
    """What is wrong after cuts at some points and at the end, for each case and what survives by turns."""
    turns = [[*case, SURVIVES[number % 3], 7 * number, 71] for number, case in enumerate(CASES.values())]
    return dict(zip(CASES, farm(turns), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_the_power_is_cut_at_some_points(quickly, case):
    assert quickly[case]["problems"] == []
    assert quickly[case]["points"] > 100


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("survives", SURVIVES)
@pytest.mark.parametrize("case", CASES)
def test_the_power_is_cut_at_every_point(case, survives):
    (found,) = farm([[*CASES[case], survives, 0, 1]])
    assert found["problems"] == []
    assert found["points"] > 100


# Whole runs


def cut_run(zygote, folder, nth, survives):
    """Cut the power of a run, go on with it, and return what is wrong; and whether it had ended before."""
    place = folder / f"at-{nth}-{survives}"
    place.mkdir()
    movie(place, (3, 520, 40))
    made = config(place, CONFIG.replace("{t: 1, y: 24, x: 48}", "{t: 1, y: 260, x: 40}"))
    ended = zygote.run("run", made, power={"roots": [str(place)], "nth": nth, "survives": survives})
    assert ended.code in (0, 9), ended.err
    come_back([str(place)], ".after")
    output, problems = place / "out.ome.zarr", []
    if ended.code == 0 and not output.exists():
        problems.append("what was published is lost")
    again = zygote.run("run", made)
    assert again.code == 0, again.err
    journalled = int(Path(f"{place}.lines").read_text())
    todo = [line for line in again.err.splitlines() if " windows to do" in line]
    if todo and int(todo[0].split(": ")[1].split(" of ")[0]) > max(0, 3 - journalled):
        problems.append(f"{journalled} windows were journalled, and then {todo[0]}")
    if sorted(os.listdir(place)) != ["movie.tif", "out.ome.zarr", "run.yaml"]:
        problems.append(f"left behind: {os.listdir(place)}")
    return output, [f"cut at {nth}, {survives}: {problem}" for problem in problems], ended.code == 0


def cut_runs(zygote, folder, points):
    expected, found, _ = cut_run(zygote, folder, 100_000, "synced")
    assert found == []
    for number, nth in enumerate(points):
        output, problems, ended = cut_run(zygote, folder, nth, SURVIVES[number % 3])
        assert problems == []
        assert_same(output, expected)
        if ended:
            return nth
    return points[-1]


def test_the_power_of_whole_runs_is_cut_at_some_points(zygote, folder):
    assert cut_runs(zygote, folder, range(20, 1000, 61)) > 100


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_power_of_whole_runs_is_cut_at_every_point(zygote, folder):
    assert cut_runs(zygote, folder, range(1000)) > 100


def test_what_workers_of_a_cluster_wrote_is_on_the_disk_when_it_is_published(folder, monkeypatch):
    """The driver of a cluster syncs folders alone: the files are their writers'."""
    place = folder / "here"
    place.mkdir()
    pixels = np.random.default_rng(0).integers(0, 60000, (2, 520, 40), np.uint16)
    tifffile.imwrite(place / "movie.tif", pixels, photometric="minisblack")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None,
        host="127.0.0.1",
    ) as cluster:  # fmt: skip
        asked = {
            "input": {"path": str(place / "movie.tif"), "axes": "tyx"},
            "steps": [{"white_tophat": {"radius": 2}}],
            "output": {"path": str(place / "out.ome.zarr")},
            "compute": {"cluster": cluster.scheduler_address, "window": {"t": 1}},
        }
        disk = VolatileDisk([str(place)])
        monkeypatch.setattr(os, "fsync", disk.fsync)
        pipeline.run(asked)
    disk.cut_power("synced", 0, ".after")
    come_back([str(place)], ".after")
    assert list(verify(str(place / "out.ome.zarr"))) == []
