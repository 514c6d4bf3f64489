"""Sizes of pixels that are none: unknown and noted, refused, or replaced by the user's."""

import json
import os

import pytest
from read_samples import check_pixels, coded, refusal, write_ngff

from pipeline.cli import main
from pipeline.read import open_source

MOVIE = coded((3, 16, 24))
NO_SIZES = (-0.5, float("nan"), float("inf"), float("-inf"), 1e-300, 1e300)


def zarr_of(path, scale, translation=None):
    transforms = [{"type": "scale", "scale": scale}]
    if translation:
        transforms.append({"type": "translation", "translation": translation})
    return write_ngff(path, [MOVIE], "tyx", [transforms])


def test_a_scale_of_0_is_unknown_and_noted(tmp_path):
    source = open_source(zarr_of(tmp_path / "a.zarr", [0.0, 0.5, 0.5]))
    assert source.spec.scale == {"y": 0.5, "x": 0.5}
    assert "t" not in source.spec.units, "a unit alone would make a frame 1 s in the output"
    assert source.notes == ("a scale of 0 along t is taken as unknown (input.scale: {t: 30 s} would say it)",)
    check_pixels(source, MOVIE)


@pytest.mark.parametrize("size", NO_SIZES)
def test_a_scale_that_is_none_is_refused(tmp_path, size):
    path = zarr_of(tmp_path / "a.zarr", [1.0, 0.5, size])
    expected = f"a.zarr' says a scale of {size:g} along x, which is no size; say the right one, such as"
    assert f"{expected} input.scale: {{x: 0.325 um}}" in refusal(path)


def test_all_of_them_are_named_at_once(tmp_path):
    lines = refusal(zarr_of(tmp_path / "a.zarr", [-1.0, float("nan"), 0.5])).splitlines()
    assert [line.split("along ")[1][0] for line in lines] == ["t", "y"]


@pytest.mark.parametrize("size", [0.0, *NO_SIZES])
def test_the_users_scale_replaces_it(tmp_path, size):
    path = zarr_of(tmp_path / "a.zarr", [1.0, 0.5, size], translation=[0.0, 0.0, 7.0])
    source = open_source(path, scale={"x": "0.25 um"})
    assert (source.spec.scale["x"], source.spec.units["x"], source.notes) == (0.25, "micrometer", ())
    assert "x" not in source.spec.translation, "in pixels of no size it says nothing"


@pytest.mark.parametrize("place", [float("nan"), float("inf")])
def test_a_translation_that_is_none_is_left_out_and_noted(tmp_path, place):
    source = open_source(zarr_of(tmp_path / "a.zarr", [1.0, 0.5, 0.5], translation=[0.0, place, 3.0]))
    assert source.spec.translation == {"x": 3}
    assert source.notes == (f"the translation along y is {place}, which is left out",)


def test_what_is_noted_is_said_and_what_is_refused_leaves_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zarr_of(tmp_path / "zero.zarr", [0.0, 0.5, 0.5])
    zarr_of(tmp_path / "nan.zarr", [1.0, 0.5, float("nan")])
    (tmp_path / "c.yaml").write_text(
        "input: {path: zero.zarr}\nsteps: [white_tophat: {radius: 2}]\noutput: {path: out.zarr}\n"
        "compute: {cluster: threads, workers: 1}\n"
    )
    for arguments in (["info", "zero.zarr"], ["plan", "c.yaml"], ["run", "c.yaml"]):
        assert main(arguments) == 0
        assert "a scale of 0 along t" in capsys.readouterr().out
    written = json.loads((tmp_path / "out.zarr" / "zarr.json").read_text())["attributes"]["ome"]
    assert "unit" not in written["multiscales"][0]["axes"][0]
    before = sorted(os.listdir(tmp_path))
    for command in ("plan", "run"):
        assert main([command, "c.yaml", "--input", "nan.zarr", "--output", "new.zarr"]) == 2
        assert "says a scale of nan along x" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == before
