"""Pixels that the output's dtype cannot hold are all counted, over the blocks of a window and its windows."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from fleets import fleet_in
from skimage.morphology import disk, white_tophat

import pipeline
from pipeline.model.errors import DataError
from pipeline.planning.resume_tiling import resume_tiling
from pipeline.write import provenance_of

SHAPE = (6, 96, 64)


@pytest.fixture(scope="module")
def made(kept_folder):
    """A movie each block of which has another number of pixels to clip, and how many there are in all."""
    folder = kept_folder / "clipped"
    folder.mkdir()
    rng = np.random.default_rng(5)
    pixels = rng.integers(90, 110, SHAPE).astype(np.uint16)
    bright = rng.random(SHAPE) < np.linspace(0.001, 0.05, SHAPE[0] * SHAPE[1]).reshape(*SHAPE[:2], 1)
    pixels[bright] += 1000
    tifffile.imwrite(folder / "movie.tif", pixels, imagej=True, metadata={"axes": "TYX"})
    oracle = np.stack([white_tophat(frame, disk(3)) for frame in pixels])
    return folder, int((oracle > 255).sum())


def run(folder, name, cluster, **output):
    """Run it in many blocks a window: planes cut into tiles, or some whole planes together."""
    tiles = {"y": 32, "x": 64} if name.startswith("tiles") else {"y": 96, "x": 64}
    return pipeline.run(
        {
            "input": {"path": str(folder / "movie.tif")},
            "steps": [{"white_tophat": {"radius": 3}}],
            "output": {
                "path": str(folder / f"{name}.ome.zarr"), "dtype": "uint8", "overflow": "clip",
                "chunks": {"t": 1, **tiles}, **output,
            },
            "compute": {"cluster": cluster, "workers": 2, "window": {"t": 3}, "block": {"t": 1, **tiles}},
        }
    )  # fmt: skip


def assert_counted(folder, name, summary, count):
    assert summary.windows == 2
    assert summary.clipped == count
    assert f"clipped {count} pixels ({100 * count / np.prod(SHAPE):.3g} %)" in summary.text()
    assert provenance_of(summary.output)["summary"]["clipped"] == count
    page = (folder / f"{name}.ome.zarr" / "bgone" / "report.html").read_text()
    assert f"{100 * count / np.prod(SHAPE):.2g} %" in page


@pytest.mark.parametrize(
    ("blocks", "cluster"),
    [
        ("planes", "threads"),
        ("tiles", "threads"),
        ("tiles", "local"),
        pytest.param("planes", "local", marks=pytest.mark.slow),
    ],
)
def test_all_clipped_pixels_of_all_blocks_are_counted(made, blocks, cluster):
    folder, count = made
    name = f"{blocks}-{cluster}"
    assert_counted(folder, name, run(folder, name, cluster), count)


def test_they_are_counted_where_a_task_does_several_blocks(made, monkeypatch):
    folder, count = made
    # As if a scheduler were busy: each task does all blocks of a window.
    monkeypatch.setattr("pipeline.runtime.executors.cluster.SCHEDULING_SECONDS", 100)
    with fleet_in(folder) as fleet:
        fleet.start(threads=2)
        summary = run(folder, "planes-fleet", fleet.address)
    assert_counted(folder, "planes-fleet", summary, count)


def test_as_many_as_are_allowed_are_those_of_all_blocks(made):
    folder, count = made
    share = count / np.prod(SHAPE)
    with pytest.raises(DataError, match="of the pixels were clipped and"):
        run(folder, "planes-less", "threads", max_clipped=0.999 * share)
    assert run(folder, "planes-more", "threads", max_clipped=1.001 * share).clipped == count


@pytest.mark.parametrize("blocks", ["planes", "tiles"])
def test_they_are_counted_where_a_window_is_computed_in_parts(made, monkeypatch, blocks):
    """As by a start with so little memory that it cannot hold a window of the first start."""

    def in_parts(*arguments):
        found = resume_tiling(*arguments)
        return replace(found, part={**found.part, "t": 1})

    monkeypatch.setattr("pipeline.runtime.compute.resume_tiling", in_parts)
    folder, count = made
    name = f"{blocks}-parts"
    assert_counted(folder, name, run(folder, name, "threads"), count)
