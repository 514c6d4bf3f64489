"""Every option of the commands that read, draw or make an image does something."""

import hashlib
import json

import numpy as np
import pytest
import tifffile
from read_samples import write_ngff

from pipeline.cli import main, main_group
from pipeline.explore.sample import write_zarr
from pipeline.model.image import Channel, ImageSpec
from pipeline.read import open_source

CONFIG = """
input: {path: two.ome.tif, series: 0}
steps: [{white_tophat: {radius: 3}}]
output: {path: out.ome.zarr}
"""

# For each option: the arguments without it, and what is added.
READS = {
    "--axes": (["two.ome.tif", "--series", "0"], ["--axes", "zyx"]),
    "--series": (["two.ome.tif", "--series", "0"], ["--series", "1"]),
    "--level": (["two.ome.tif", "--series", "0"], ["--level", "1"]),
}
DRAWS = {
    "--set": ([], ["--set", "white_tophat.radius=9"]),
    "--input": ([], ["--input", "other.tif"]),
    "--t": ([], ["--t", "0"]),
    "--z": (["--input", "zc.tif", "--set", "input.series=null"], ["--z", "0"]),
    "--c": (["--input", "zc.tif", "--set", "input.series=null"], ["--c", "1"]),
    "--crop": ([], ["--crop", "y=0:32,x=16:48"]),
    "-o": ([], ["-o", "new.png"]),
}
OPTIONS = {
    "info": {**READS, "--json": (["other.tif"], ["--json"])},
    "init": {
        **READS,
        "-o": (["other.tif"], ["-o", "new.yaml"]),
        "--overwrite": (["other.tif", "-o", "c.yaml"], ["--overwrite"]),
    },
    "suggest": {
        **READS,
        "-o": (["other.tif"], ["-o", "new.yaml"]),
        "--plot": (["other.tif"], ["--plot", "new.png"]),
        "--features": (["other.tif"], ["--features", "dark"]),
        "--overwrite": (["other.tif", "-o", "c.yaml"], ["--overwrite"]),
    },
    "sample": {
        option: (["s.tif", "--size", "64", "--frames", "1", "--radius", "4"], [option, value])
        for option, value in {
            "--frames": "2", "--size": "72", "--channels": "2", "--z": "2", "--seed": "5", "--dtype": "uint8",
            "--radius": "6",
        }.items()
    },
    "plan": {
        "--set": (["c.yaml"], ["--set", "white_tophat.radius=9"]),
        "--input": (
            ["c.yaml", "--set", "input.series=null", "--input", "flat.tif"], ["--input", "other.tif"],
        ),
        "--output": (["c.yaml"], ["--output", "new.zarr"]),
        "--json": (["c.yaml"], ["--json"]),
        "--overwrite": (["c.yaml", "--output", "old.zarr"], ["--overwrite"]),
    },
    "preview": {
        option: (["c.yaml", "-o", "p.png", *without], added)
        for option, (without, added) in DRAWS.items()
    } | {"--output": (["c.yaml", "-o", "p.png"], ["--output", "two.ome.tif"])},
    "sweep": {
        option: (["c.yaml", "-o", "p.png", "--set", "white_tophat.radius=3,5", *without], added)
        for option, (without, added) in DRAWS.items()
    },
}  # fmt: skip
OPTIONS["sweep"]["--set"] = (
    ["c.yaml", "-o", "p.png", "--set", "white_tophat.radius=3,5"], ["--set", "white_tophat.footprint=box"],
)  # fmt: skip
# An image of one series only, where --input takes the config's place.
for command in ("preview", "sweep"):
    without, added = OPTIONS[command]["--input"]
    OPTIONS[command]["--input"] = ([*without, "--set", "input.series=null", "--input", "flat.tif"], added)
CASES = [
    pytest.param(command, option, marks=[pytest.mark.slow] if command in ("preview", "sweep") else [])
    for command, options in OPTIONS.items()
    for option in options
]


def blobs(shape, seed):
    """Return bright spots on noise: something to suggest sizes for."""
    pixels = np.random.default_rng(seed).integers(0, 60, shape).astype(np.uint16)
    for y, x in ((20, 24), (40, 50), (50, 12), (12, 52)):
        pixels[..., y - 4 : y + 4, x - 4 : x + 4] += 900 + 40 * seed
    return pixels


@pytest.fixture
def images(tmp_path, monkeypatch):
    """A folder, the current one, of small images and a config."""
    with tifffile.TiffWriter(tmp_path / "two.ome.tif", ome=True) as tiff:
        for series in (0, 1):
            movie = blobs((3, 64, 64 + 8 * series), series)
            tiff.write(movie, photometric="minisblack", subifds=1, metadata={"axes": "TYX"})
            tiff.write(movie[:, ::2, ::2], photometric="minisblack", subfiletype=1)
    for seed, name in enumerate(("other.tif", "flat.tif")):
        tifffile.imwrite(tmp_path / name, blobs((64, 64), seed + 2))
    stack = np.stack([blobs((2, 64, 64), seed) for seed in (5, 8, 11)])
    tifffile.imwrite(tmp_path / "zc.tif", stack, imagej=True, metadata={"axes": "ZCYX"})
    (tmp_path / "c.yaml").write_text(CONFIG)
    scale = [[{"type": "scale", "scale": [1.0, 1.0]}]]
    write_ngff(tmp_path / "old.zarr", [blobs((64, 64), 4)], "yx", scale)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def digest(path):
    """Return what a file holds: of an image the pixels, since its description has a random UUID."""
    data = path.read_bytes()
    if path.suffix == ".tif":
        pixels = tifffile.imread(path)
        return pixels.dtype.name, pixels.shape, hashlib.sha256(pixels.tobytes()).hexdigest()
    return hashlib.sha256(data).hexdigest()


def effect(folder, capsys, command, arguments):
    """Return what a command does: exit code, what it prints, what it writes; and take that away again."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code = main([command, *arguments])
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    written = {path.name: digest(path) for path, data in after.items() if before.get(path) != data}
    for path in after.keys() - before.keys():
        path.unlink()
    for path, data in before.items():
        path.write_bytes(data)
    said = capsys.readouterr()
    return code, said.out, said.err, written


@pytest.mark.parametrize(("command", "option"), CASES)
def test_each_option_does_something(images, capsys, command, option):
    without, added = OPTIONS[command][option]
    plain = effect(images, capsys, command, without)
    changed = effect(images, capsys, command, [*without, *added])
    assert plain != changed
    # --overwrite makes something of a refusal; an output that is the input is refused.
    assert plain[0] == (2 if option == "--overwrite" else 0), plain[2]
    assert changed[0] == 0 or (command, option) == ("preview", "--output"), changed[2]


@pytest.mark.parametrize("command", OPTIONS)
def test_no_option_is_left_out(command):
    there = {
        parameter.opts[0]
        for parameter in main_group.commands[command].params
        if parameter.param_type_name == "option" and parameter.name != "debug"
    }
    assert there == set(OPTIONS[command])


def test_level_series_and_axes_are_those_asked_for(images, capsys):
    for command in ("info", "init"):
        assert main([command, "two.ome.tif", "--series", "1", "--level", "1", "--axes", "zyx"]) == 0
        text = capsys.readouterr().out
        assert "z 3 × y 32 × x 36" in text, command


def test_the_seed_of_a_sample_is_the_one_asked_for(images, capsys):
    from pipeline.explore.sample import make_sample

    for seed in (0, 5):
        assert main(["sample", f"{seed}.tif", "--seed", str(seed), "--size", "64", "--frames", "1"]) == 0
        make_sample(images / f"own{seed}.tif", frames=1, size=64, seed=seed)
        mine, own = (open_source(images / f"{name}{seed}.tif") for name in ("", "own"))
        region = tuple(slice(0, size) for size in mine.spec.shape)
        np.testing.assert_array_equal(mine.read(region), own.read(region))


def test_info_as_json_says_all_that_is_known_of_an_image(tmp_path, capsys):
    spec = ImageSpec(
        "tcyx", (2, 2, 20, 30), np.dtype("uint16"), (1, 1, 20, 15),
        {"t": 30.0, "y": 0.5, "x": 0.25}, {"t": "second", "y": "micrometer", "x": "micrometer"},
        {"y": 10.0, "x": -4.5}, (Channel("GFP", "00FF00"), Channel("488", "FF0000")), "cells",
    )  # fmt: skip
    write_zarr(tmp_path / "a.zarr", spec, [((slice(0, 2), slice(0, 2), slice(0, 20), slice(0, 30)),
                                            np.zeros(spec.shape, np.uint16))])  # fmt: skip
    assert main(["info", str(tmp_path / "a.zarr"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["axes"], found["shape"], found["dtype"]) == ("tcyx", [2, 2, 20, 30], "uint16")
    assert (found["name"], found["chunks"], found["bytes"]) == ("cells", [1, 1, 20, 15], 2 * 2 * 20 * 30 * 2)
    assert {axis: found["scale"][axis] for axis in "tyx"} == {"t": 30, "y": 0.5, "x": 0.25}
    assert {axis: found["units"][axis] for axis in "tyx"} == dict(spec.units)
    assert {axis: at for axis, at in found["translation"].items() if at} == {"y": 10, "x": -4.5}
    assert found["channels"] == [{"name": "GFP", "color": "00FF00"}, {"name": "488", "color": "FF0000"}]
