"""A wrong request gets one clear line and exit code 2, and nothing is written."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from pipeline.cli import main

FRAME = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
DOG = "difference_of_gaussians"
CONFIG = """\
input: {{path: {path}, axes: {axes}}}
steps:
  - {step}
output: {{path: out.zarr}}
"""


def stack(folder: Path) -> None:
    tifffile.imwrite(folder / "in.tif", np.stack([FRAME] * 3), imagej=True, metadata={"axes": "TYX"})


def series(folder: Path, numbers=(1, 2, 3), shapes=((64, 64),) * 3) -> None:
    (folder / "in.tif").mkdir()
    for number, shape in zip(numbers, shapes, strict=True):
        tifffile.imwrite(folder / "in.tif" / f"f{number:03d}.tif", np.zeros(shape, np.uint16))


def truncated(folder: Path) -> None:
    stack(folder)
    data = (folder / "in.tif").read_bytes()
    (folder / "in.tif").write_bytes(data[: len(data) - 5000])


def image_in(group: zarr.Group, name: str) -> None:
    image = group.create_group(name)
    axes = [{"name": axis, "type": "space"} for axis in "yx"]
    scale = [{"type": "scale", "scale": [1.0, 1.0]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    image.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    image.create_array("0", data=FRAME)


def plate(folder: Path) -> None:
    group = zarr.open_group(folder / "in.tif", mode="w", zarr_format=2)
    group.attrs["plate"] = {"wells": [{"path": "A/1"}], "columns": [{"name": "1"}], "rows": [{"name": "A"}]}
    well = group.create_group("A/1")
    well.attrs["well"] = {"images": [{"path": "0"}]}
    image_in(well, "0")


def positions(folder: Path) -> None:
    group = zarr.open_group(folder / "in.tif", mode="w", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    for name in "01":
        image_in(group, name)


def several(folder: Path) -> None:
    with tifffile.TiffWriter(folder / "in.tif", ome=True) as file:
        for size in (64, 32):
            file.write(np.zeros((size, size), np.uint16), metadata={"axes": "YX"})


def rgb(folder: Path) -> None:
    tifffile.imwrite(folder / "in.tif", np.zeros((64, 64, 3), np.uint8), photometric="rgb")


def hdf5(folder: Path) -> None:
    (folder / "in.tif").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))


def existing(folder: Path) -> None:
    stack(folder)
    (folder / "out.zarr").mkdir()
    (folder / "out.zarr" / "mine.txt").write_text("mine")


def plain(folder: Path) -> None:
    tifffile.imwrite(folder / "in.tif", np.stack([FRAME] * 3), photometric="minisblack", metadata=None)


@dataclass(frozen=True)
class Case:
    """What is there, what is asked for, and a pattern of the one line that answers."""

    make: Callable[[Path], object]
    line: str
    step: str = "white_tophat: {radius: 3}"
    axes: str = "tyx"
    text: str = CONFIG


def nothing(folder: Path) -> None:
    """No input at all."""


CASES = {
    "missing file": Case(nothing, r"config.yaml:1: input.path: .*in.tif' does not exist"),
    "no TIFF": Case(lambda folder: (folder / "in.tif").write_bytes(b"hello" * 99), r"input.path: .*TIFF"),
    "truncated TIFF": Case(truncated, r"input.path: .*(cut short|truncated|not whole|ends)"),
    "missing frame": Case(lambda folder: series(folder, (1, 2, 4)), r"input.path: .*(missing|lack|gap).*3"),
    "mixed shapes": Case(
        lambda folder: series(folder, shapes=((64, 64), (64, 64), (32, 64))), r"input.path: .*f003.tif"),
    "no axes": Case(plain, r"input.axes: .*3.*64.*64", axes="null"),
    "wrong axes": Case(plain, r"input.axes: .*names 2 axes.*3", axes="yx"),
    "radius 0": Case(stack, r"config.yaml:3: steps.0.radius: 0", "white_tophat: {radius: 0}"),
    "radius -1": Case(stack, r"steps.0.radius: -1", "white_tophat: {radius: -1}"),
    "radius NaN": Case(stack, r"steps.0.radius: .*nan", "white_tophat: {radius: .nan}"),
    "radius text": Case(stack, r"steps.0.radius: '3'", 'white_tophat: {radius: "3"}'),
    "radius 10⁹": Case(stack, r"steps.0.radius: .*64", "white_tophat: {radius: 1000000000}"),
    "sigmas crossed": Case(stack, r"steps.0(.low_sigma)?: .*5.*3", f"{DOG}: {{low_sigma: 5, high_sigma: 3}}"),
    "sigmas equal": Case(stack, r"steps.0(.low_sigma)?: ", f"{DOG}: {{low_sigma: 3, high_sigma: 3}}"),
    "unknown step": Case(stack, r"steps.0: .*did you mean white_tophat", "white_tophad: {radius: 3}"),
    "unknown key": Case(
        stack, r"steps.0.raduis: .*did you mean radius", "white_tophat: {raduis: 3, radius: 3}"),
    "duplicate key": Case(stack, r"steps.0.radius: .*twice", "white_tophat: {radius: 3, radius: 4}"),
    "YAML tag": Case(stack, r"config.yaml:3: .*tag", "white_tophat: {radius: !!python/name:os.system x}"),
    "empty file": Case(stack, r"config.yaml:1: .*empty", text=""),
    "plate": Case(plate, r"input.path: .*plate.*A/1/0"),
    "several positions": Case(positions, r"input.path: .*0.*1"),
    "several series": Case(several, r"input.series: .*64.*32", axes="yx"),
    "RGB": Case(rgb, r"input.path: .*RGB", axes="yx"),
    "HDF5": Case(hdf5, r"input.path: .*HDF5"),
    "output exists": Case(existing, r"output.path: .*exists"),
    "output is the input": Case(
        lambda folder: (zarr.create_array(folder / "out.zarr", data=np.stack([FRAME] * 3))),
        r"output.path: .*input", text=CONFIG.replace("{path}", "out.zarr")),
}  # fmt: skip


def listing(folder: Path) -> list[tuple[str, float, int]]:
    return sorted((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_request_is_one_clear_line(name, tmp_path, capsys, monkeypatch):
    case = CASES[name]
    case.make(tmp_path)
    (tmp_path / "config.yaml").write_text(case.text.format(path="in.tif", axes=case.axes, step=case.step))
    monkeypatch.chdir(tmp_path)
    before = listing(tmp_path)
    assert main(["run", "config.yaml"]) == 2
    said = capsys.readouterr().err.strip()
    assert listing(tmp_path) == before, "something was written"
    assert said.startswith("error: ")
    assert "Traceback" not in said
    assert re.search(case.line, said), said
    assert len(said.splitlines()) == 1, said
    assert "; " in said, f"nothing says how to mend it: {said}"


PERMISSIONS = {"input": ("in.tif", 0o000), "folder of the output": ("results", 0o555)}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("name", PERMISSIONS)
def test_no_permission_is_said_to_an_ordinary_user(name, tmp_path):
    target, mode = PERMISSIONS[name]
    stack(tmp_path)
    (tmp_path / "results").mkdir()
    text = CONFIG.format(path="in.tif", axes="tyx", step="white_tophat: {radius: 3}")
    (tmp_path / "config.yaml").write_text(text.replace("out.zarr", "results/out.zarr"))
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    # The interpreter may lie where only root may look, so all is imported by a run as root first.
    script = f"""
import os, sys
from pipeline.cli import main
assert main(["run", "config.yaml", "--quiet", "--output", "results/first.zarr"]) == 0
os.chmod({target!r}, {mode})
os.setgroups([]), os.setgid(65534), os.setuid(65534)
sys.exit(main(["run", "config.yaml"]))
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1), done.stderr
    assert "permission" in done.stderr
    assert os.listdir(tmp_path / "results") == ["first.zarr"]


@pytest.mark.parametrize("shadow", ["pipeline.py", "pipeline/__init__.py"])
def test_a_file_called_pipeline_in_the_current_folder_changes_nothing(shadow, tmp_path):
    stack(tmp_path)
    (tmp_path / shadow).parent.mkdir(exist_ok=True)
    (tmp_path / shadow).write_text("raise SystemExit('the wrong pipeline')")
    (tmp_path / "config.yaml").write_text(
        CONFIG.format(path="in.tif", axes="tyx", step="white_tophat: {radius: 3}")
        + "compute: {cluster: local, workers: 1}"
    )
    command = [str(Path(sys.executable).with_name("bgone")), "run", "config.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.zarr" / "zarr.json").exists()
