"""Outputs opened by readers that nobody here wrote, each in an environment of its own, from disk and served.

    pytest -m slow tests/test_other_readers.py

makes the environments first, which takes some minutes and 1.5 GB; BGONE_READERS=FOLDER keeps them there for
the next time. Where a package cannot be installed, its tests are skipped, with what pip said.
"""

import json
import os
import subprocess
import threading
import venv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import zarr
from foreign_reader import digest

import pipeline
from pipeline.explore.sample import write_zarr
from pipeline.model.image import Channel, ImageSpec
from pipeline.reporting.serve import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SCRIPT = Path(__file__).parent / "helpers" / "foreign_reader.py"
SCALE = {"t": 30.0, "z": 1.5, "y": 0.325, "x": 0.325}
UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
TOPHAT = {"white_tophat": {"radius": 3}}


@dataclass(frozen=True)
class Case:
    """An image, and how its result is written."""

    axes: str
    shape: tuple[int, ...]
    output: dict
    channels: tuple[Channel, ...] = ()
    stored: str = ""
    steps: tuple[dict, ...] = (TOPHAT,)

    @property
    def stored_axes(self):
        return self.stored or self.axes

    @property
    def scale(self):
        return [SCALE.get(axis, 1.0) if axis in self.axes else 1.0 for axis in self.stored_axes]

    @property
    def units(self):
        return [UNITS.get(axis) if axis in self.axes else None for axis in self.stored_axes]


TWO = (Channel("GFP", "00FF00"), Channel("mCherry", "FF0080"))
CASES = {
    "2-D": Case("yx", (700, 530), {}),
    "2-D, 0.4": Case("yx", (700, 530), {"version": "0.4"}),
    "3-D and time": Case("tzyx", (2, 5, 70, 530), {"chunks": {"t": 1, "z": 2}}),
    "3-D and time, 0.4": Case("tzyx", (2, 5, 70, 530), {"version": "0.4", "compressor": "zstd"}),
    "5-D with channels": Case("tczyx", (2, 2, 3, 80, 520), {"checksum": True}, TWO),
    "5-D with channels, 0.4": Case("tczyx", (2, 2, 3, 80, 520), {"version": "0.4"}, TWO),
    "sharded": Case(
        "tcyx", (4, 2, 600, 520),
        {"chunks": {"y": 128, "x": 130}, "shards": {"t": 2, "y": 256, "x": 520}}, TWO,
    ),
    "sharded with checksums, floats": Case(
        "tyx", (3, 300, 520),
        {"chunks": {"y": 100, "x": 260}, "shards": {"y": 300, "x": 520}, "checksum": True,
         "compressor": "zstd"},
        steps=({"gaussian": {"sigma": 2}},),
    ),
    "padded": Case("tyx", (3, 80, 520), {"axes": "tczyx"}, stored="tczyx"),
    "padded, 0.4": Case("tyx", (3, 80, 520), {"axes": "tczyx", "version": "0.4"}, stored="tczyx"),
    "not compressed, one level": Case("tyx", (3, 64, 72), {"compressor": "none", "pyramid": False}),
}  # fmt: skip
every_case = pytest.mark.parametrize("case", CASES)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Make each output once: case → its folder, the image in it 0 in one frame or corner."""
    folder = tmp_path_factory.mktemp("outputs")
    made = {}

    def output(name):
        if name not in made:
            made[name] = _make(CASES[name], folder / f"{len(made)}")
        return made[name]

    return output


def _make(case, folder):
    folder.mkdir()
    spec = ImageSpec(
        case.axes, case.shape, np.dtype("uint16"), scale={a: s for a, s in SCALE.items() if a in case.axes},
        units={a: u for a, u in UNITS.items() if a in case.axes}, channels=case.channels, name="embryo",
    )  # fmt: skip
    pixels = np.random.default_rng(0).integers(100, 4000, case.shape).astype(np.uint16)
    pixels[0] = 7  # a top-hat leaves nothing of it: chunks without a file
    write_zarr(folder / "in.ome.zarr", spec, [(tuple(slice(0, size) for size in case.shape), pixels)])
    path = folder / "out.ome.zarr"
    pipeline.run(
        {
            "input": {"path": str(folder / "in.ome.zarr")}, "steps": list(case.steps),
            "output": {"path": str(path), **case.output}, "compute": {"cluster": "threads", "workers": 2},
        }
    )  # fmt: skip
    return path


@pytest.fixture(params=["from disk", "served"])
def address(request, case, outputs):
    """Where a reader finds an output."""
    path = outputs(case)
    if request.param == "from disk":
        yield str(path)
        return
    with Server(str(path)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def environments(tmp_path_factory):
    """Where the environments are, and what could not be had."""
    kept = os.environ.get("BGONE_READERS")
    return Path(kept) if kept else tmp_path_factory.mktemp("readers"), {}


def ask(package, address, environments):
    """Return what a package's reader makes of an output."""
    folder, refused = environments
    python = folder / package / "bin" / "python"
    if package not in refused:
        refused[package] = _install(package, folder / package, python)
    if refused[package]:
        pytest.skip(f"{package} cannot be installed: {refused[package]}")
    command = [str(python), str(SCRIPT), package, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def _install(package, folder, python):
    """Make an environment unless it is there; return why not, or nothing."""
    if not python.exists():
        venv.create(folder, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", package]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def stored_levels(path):
    """Return the levels of an output as zarr reads them."""
    group = zarr.open_group(store=str(path), mode="r")
    return [group[str(level)][:] for level in range(len(list(group.array_keys())))]


def attributes(path):
    found = zarr.open_group(store=str(path), mode="r").attrs.asdict()
    return found.get("ome", found)


def windows(path):
    return [
        [channel["window"]["start"], channel["window"]["end"]]
        for channel in attributes(path)["omero"]["channels"]
    ]


@every_case
def test_ome_zarr_reads_it(case, address, outputs, environments):
    expected, path = CASES[case], outputs(case)
    said = ask("ome-zarr", address, environments)
    levels = stored_levels(path)
    assert said["axes"] == list(expected.stored_axes)
    assert said["kinds"] == [{"t": "time", "c": "channel"}.get(a, "space") for a in expected.stored_axes]
    assert said["units"] == expected.units
    assert said["name"] == "embryo"
    assert said["scales"][0] == expected.scale
    assert said["levels"] == [digest(level) for level in levels]
    assert len(levels) == (1 if "one level" in case else 2)
    if len(levels) > 1:
        ratios = dict(zip(expected.stored_axes, np.divide(said["scales"][1], said["scales"][0]), strict=True))
        assert (ratios["y"], ratios["x"]) == (2, 2)
        assert {ratio for axis, ratio in ratios.items() if axis not in "yx"} <= {1}
        assert said["translations"][1][-1] == pytest.approx(0.325 / 2)
    if expected.channels:
        assert said["channels"] == [channel.name for channel in expected.channels]
        assert said["colors"] == [channel.color for channel in expected.channels]
        assert said["limits"] == windows(path)


@every_case
def test_naparis_reader_makes_layers_of_it(case, address, outputs, environments):
    expected, path = CASES[case], outputs(case)
    said = ask("napari-ome-zarr", address, environments)
    shown = [axis for axis in expected.stored_axes if axis != "c"]
    assert said["kind"] == "image"
    assert said["axes"] == shown
    assert said["scale"] == [s for a, s in zip(expected.stored_axes, expected.scale, strict=True) if a != "c"]
    for axis, unit in zip(shown, said["units"], strict=True):
        assert unit == UNITS[axis] or axis not in expected.axes
    assert said["levels"] == [digest(level) for level in stored_levels(path)]
    if "c" in expected.stored_axes:
        assert said["channel_axis"] == expected.stored_axes.index("c")
        assert said["limits"] == windows(path)
    if expected.channels:
        assert [name.rpartition(": ")[2] for name in said["names"]] == [c.name for c in expected.channels]
        assert said["colors"] == [channel.color for channel in expected.channels]


@every_case
def test_tensorstore_reads_it(case, address, outputs, environments):
    expected, path = CASES[case], outputs(case)
    said = ask("tensorstore", address, environments)
    version_4 = expected.output.get("version") == "0.4"
    assert said["driver"] == ("zarr" if version_4 else "zarr3")
    if not version_4:
        assert said["axes"] == list(expected.stored_axes)
    assert said["levels"] == [digest(level) for level in stored_levels(path)]
    array = zarr.open_array(store=str(path), path="0", mode="r")
    assert said["chunks"] == list(array.chunks)
    assert said["files"] == list(array.shards or array.chunks)
