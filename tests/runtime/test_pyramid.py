"""Coarser levels of a run: the mean of the next finer one, however blocks, windows and starts lie."""

import itertools
import json

import numpy as np
import pytest
import zarr

import pipeline
from pipeline.model.errors import StoppedError
from pipeline.runtime import levels
from pipeline.storage.codec import crc32c
from pipeline.write import read_manifest, verify
from pipeline.write.journal import Journal

SHAPE = (2, 1031, 700)  # two coarser levels, odd at every end


def movie(folder, shape=SHAPE, dtype="uint16"):
    """Write a movie of noise."""
    info = np.iinfo(dtype)
    pixels = np.random.default_rng(5).integers(info.min, info.max, shape, dtype, endpoint=True)
    names = "tczyx"[-len(shape) :] if len(shape) != 3 else "tyx"
    zarr.create_array(folder / "movie.zarr", data=pixels, chunks=(1,) * (len(shape) - 2) + (400, 400),
                      dimension_names=tuple(names))  # fmt: skip


def config(folder, output=None, **compute):
    chunks = {"t": 1, "y": 128, "x": 128}
    return {
        "input": {"path": str(folder / "movie.zarr")},
        "steps": [{"white_tophat": {"radius": 3}}],
        "output": {"path": str(folder / "out.ome.zarr"), "chunks": chunks, **(output or {})},
        "compute": {"workers": 2, "cluster": "threads", **compute},
    }  # fmt: skip


def halved(plane):
    """Return the mean of 2 × 2 pixels, at an odd end of those that exist, rounded half to even."""
    padded = np.pad(plane.astype(object), [(0, size % 2) for size in plane.shape], mode="edge")
    total = padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]
    quotient, rest = total // 4, total % 4
    return quotient + ((rest == 3) | ((rest == 2) & (quotient % 2 == 1)))


def assert_whole(output):
    """Require each level to be the mean of the one before, and the manifest to name each file once."""
    group = zarr.open_group(output, mode="r")
    arrays = [group[name] for name in sorted(name for name in group.array_keys())]
    assert len(arrays) > 1
    for finer, coarser in itertools.pairwise(arrays):
        planes = finer[...].reshape(-1, *finer.shape[-2:])
        expected = np.stack([halved(plane) for plane in planes]).astype(finer.dtype)
        np.testing.assert_array_equal(coarser[...].reshape(expected.shape), expected)
    keys = [record.key for record in read_manifest(str(output)) if record.key[-1].isdigit()]
    files = [np.ceil(np.divide(array.shape, array.shards or array.chunks)) for array in arrays]
    assert len(keys) == len(set(keys)) == np.prod(files, axis=1).sum()
    assert list(verify(str(output))) == []


def stop_after(monkeypatch, windows):
    """Let a run stop once so many windows or groups are journalled."""
    append = Journal.append

    def append_or_stop(self, window, *arguments, **facts):
        append(self, window, *arguments, **facts)
        if len(self.done) == windows:
            raise StoppedError("stopped", "run again")

    monkeypatch.setattr(Journal, "append", append_or_stop)


def stopped(monkeypatch, made, windows=1):
    """Run a config until so many windows are journalled."""
    with monkeypatch.context() as patch:
        stop_after(patch, windows)
        with pytest.raises(StoppedError):
            pipeline.run(made)


def lines_of(folder):
    """Return the entries of an unfinished run's journal."""
    (work,) = folder.glob("*.work-*")
    return work / "journal", [json.loads(line[9:]) for line in (work / "journal").read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("output", "dtype"),
    [
        ({}, "uint16"),
        ({"shards": {"y": 256, "x": 256}}, "uint16"),
        ({"version": "0.4", "axes": "tczyx"}, "uint8"),
        ({"checksum": True}, "int64"),
        ({"chunks": {"t": 2, "y": 100, "x": 700}}, "int16"),
    ],
    ids=["plain", "shards", "0.4 with more axes", "64 bits", "two frames in a chunk"],
)
@pytest.mark.parametrize("block", [None, 512, 128], ids=["planes", "tiles of level 2", "tiles of one file"])
def test_levels_are_exact_for_planes_tiles_and_shards(tmp_path, output, dtype, block):
    movie(tmp_path, dtype=dtype)
    side = {"block": {"y": block, "x": block}} if block and "chunks" not in output else {}
    if "shards" in output and block == 128:
        side = {"block": {"y": 256, "x": 256}}
    pipeline.run(config(tmp_path, output, **side))
    assert_whole(tmp_path / "out.ome.zarr")


def test_levels_of_a_second_output_are_exact(tmp_path):
    movie(tmp_path)
    pipeline.run(config(tmp_path, {"background": str(tmp_path / "back.ome.zarr")}))
    assert_whole(tmp_path / "out.ome.zarr")
    assert_whole(tmp_path / "back.ome.zarr")


def test_an_image_that_is_halved_along_one_axis_only_is_exact(tmp_path):
    movie(tmp_path, (40, 1500))
    pipeline.run(config(tmp_path, {"chunks": {"x": 128}}))
    group = zarr.open_group(tmp_path / "out.ome.zarr", mode="r")
    fine, coarse = group["0"][...].astype(int), group["1"][...]
    np.testing.assert_array_equal(coarse, np.rint((fine[:, ::2] + fine[:, 1::2]) / 2))


def test_with_whole_planes_all_levels_of_a_frame_are_journalled_with_it(tmp_path, monkeypatch):
    movie(tmp_path)
    stopped(monkeypatch, config(tmp_path, window={"t": 1}))
    _, (entry,) = lines_of(tmp_path)
    levels_written = [key.split("/")[0] for key, *_ in entry["chunks"]]
    assert [levels_written.count(level) for level in "012"] == [9 * 6, 5 * 3, 3 * 2]
    pipeline.run(config(tmp_path, window={"t": 1}))
    assert_whole(tmp_path / "out.ome.zarr")


def test_groups_are_built_as_soon_as_their_windows_are_there(tmp_path, monkeypatch):
    movie(tmp_path)
    monkeypatch.setattr(levels, "LEVEL_BYTES", 1)
    monkeypatch.setattr(levels, "LEVEL_TASKS", 1)
    recorded, append = [], Journal.append

    def note(self, window, *arguments, **facts):
        recorded.append(window)
        append(self, window, *arguments, **facts)

    monkeypatch.setattr(Journal, "append", note)
    tiles = {"block": {"y": 128, "x": 128}, "window": {"t": 1, "y": 256, "x": 700}}
    pipeline.run(config(tmp_path, **tiles))
    assert_whole(tmp_path / "out.ome.zarr")
    for level in (1, 2):
        first_group = next(i for i, key in enumerate(recorded) if key.level == level)
        last_below = max(i for i, key in enumerate(recorded) if key.level == level - 1)
        assert first_group < last_below


# Blocks that hold all levels, one of them, and none
BLOCKS = [{}, {"block": {"y": 256, "x": 256}}, {"block": {"y": 128, "x": 128}}]
NAMES = ["planes", "one level", "tiles"]


@pytest.mark.parametrize("then", BLOCKS, ids=[f"then {name}" for name in NAMES])
@pytest.mark.parametrize("first", BLOCKS, ids=NAMES)
def test_a_run_may_go_on_in_blocks_that_hold_other_levels(tmp_path, monkeypatch, first, then):
    movie(tmp_path, (4, *SHAPE[1:]))
    monkeypatch.setattr(levels, "LEVEL_TASKS", 1)
    window = {"window": {"t": 1, "y": 1031, "x": 700}}
    for windows, block in enumerate((first, then, BLOCKS[0]), start=1):
        stopped(monkeypatch, config(tmp_path, **window, **block), windows)
    assert pipeline.run(config(tmp_path, **window, **then)).windows_resumed == 3
    assert_whole(tmp_path / "out.ome.zarr")


@pytest.mark.parametrize("block", BLOCKS, ids=NAMES)
def test_a_run_that_recorded_no_levels_with_its_windows_is_finished(tmp_path, monkeypatch, block):
    """As runs of version 0.1, whose journals say nothing of levels."""
    movie(tmp_path)
    made = config(tmp_path, window={"t": 1, "y": 1031, "x": 700}, **block)
    stopped(monkeypatch, made)
    path, entries = lines_of(tmp_path)
    lines = b""
    for entry in entries:
        entry.pop("levels")
        entry["chunks"] = [record for record in entry["chunks"] if record[0].startswith("0/")]
        text = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
        lines += b"%08x " % crc32c(text) + text + b"\n"
    path.write_bytes(lines)
    summary = pipeline.run(made)
    assert summary.windows_resumed == 1
    assert_whole(tmp_path / "out.ome.zarr")
