"""`bgone init` writes a config with what the data says filled in, and it loads and runs as it stands."""

import numpy as np
import pytest
import tifffile

from pipeline.cli import main
from pipeline.config.load import load_config
from pipeline.explore.init import flow_names, starter, stem
from pipeline.explore.sample import make_sample, write_zarr
from pipeline.model.image import ImageSpec
from pipeline.planning.job import prepare
from pipeline.read import Source, open_source


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Inputs of several kinds."""
    folder = tmp_path_factory.mktemp("init")
    make_sample(folder / "movie.ome.tif", frames=3, size=80, channels=2, z=2, object_radius=5)
    make_sample(folder / "movie.ome.zarr", frames=2, size=80, object_radius=5)
    pixels = np.zeros((3, 50, 60), np.uint16)
    tifffile.imwrite(
        folder / "imagej.tif", pixels, imagej=True, resolution=(1 / 0.6934, 1 / 0.6934),
        metadata={"axes": "TYX", "unit": "um"},
    )  # fmt: skip
    tifffile.imwrite(folder / 'odd "name" #1: a, {b}.tif', pixels[0].astype(np.float32), imagej=True)
    tifffile.imwrite(folder / "plain.tif", pixels, photometric="minisblack")
    return folder


def init(path, target, *options):
    assert main(["init", str(path), "-o", str(target), *options]) == 0
    return target.read_text(encoding="utf-8")


NAMES = ["movie.ome.tif", "movie.ome.zarr", "imagej.tif", 'odd "name" #1: a, {b}.tif']


@pytest.mark.parametrize("name", NAMES)
def test_the_config_is_about_the_very_same_image_and_plans(folder, tmp_path, name):
    init(folder / name, tmp_path / "run.yaml")
    job = prepare(str(tmp_path / "run.yaml"))
    spec = open_source(folder / name).spec
    assert job.source.spec.with_(scale={}, chunks=()) == spec.with_(scale={}, chunks=())
    assert job.source.spec.scale == pytest.approx(dict(spec.scale))
    assert job.plan.steps[0].name == "white_tophat"


@pytest.mark.parametrize(("side", "radius"), [(6, 1), (80, 10), (200, 25), (3000, 25)])
def test_the_first_radius_is_small_in_a_small_image(tmp_path, side, radius):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((side, side // 2), np.uint8), imagej=True)
    init(tmp_path / "a.tif", tmp_path / "run.yaml")
    (step,) = prepare(str(tmp_path / "run.yaml")).plan.steps
    assert step.pixels("radius", "yx") == (radius, radius)


def test_axes_scale_and_channels_are_filled_in(folder, tmp_path):
    text = init(folder / "movie.ome.tif", tmp_path / "run.yaml")
    config = load_config(str(tmp_path / "run.yaml"))
    assert config.input.axes == "tczyx"
    assert {axis: str(length) for axis, length in config.input.scale.items()} == {
        "t": "30 s", "z": "1 µm", "y": "0.325 µm", "x": "0.325 µm",
    }  # fmt: skip
    assert config.input.select == {"c": ("GFP", "mCherry")} or config.input.select == {
        "c": ["GFP", "mCherry"]
    }
    assert sum("#" in line for line in text.splitlines()) > 10


def test_the_image_of_a_file_and_the_level_that_were_asked_for_are_written_down(tmp_path):
    with tifffile.TiffWriter(tmp_path / "two.ome.tif") as tiff:
        for side in (40, 50):
            tiff.write(
                np.zeros((3, side, side), np.uint8), photometric="minisblack", metadata={"axes": "TYX"}
            )
    init(tmp_path / "two.ome.tif", tmp_path / "two.yaml", "--series", "1")
    assert prepare(str(tmp_path / "two.yaml")).source.spec.shape == (3, 50, 50)
    write_zarr(
        tmp_path / "a.zarr", ImageSpec("yx", (600, 600), np.dtype("uint8"), (600, 600)),
        [((slice(0, 600), slice(0, 600)), np.zeros((600, 600), np.uint8))],
    )  # fmt: skip
    init(tmp_path / "a.zarr", tmp_path / "a.yaml", "--level", "1")
    assert prepare(str(tmp_path / "a.yaml")).source.spec.shape == (300, 300)


def test_it_runs_as_it_stands(folder, tmp_path):
    init(folder / "movie.ome.zarr", tmp_path / "run.yaml")
    assert main(["run", str(tmp_path / "run.yaml"), "--quiet"]) == 0
    assert (tmp_path / "movie.bgone.ome.zarr").is_dir()


@pytest.mark.parametrize("name", ["movie.ome.tif", 'odd "name" #1: a, {b}.tif'])
def test_whatever_is_commented_out_is_valid_too(folder, tmp_path, name):
    text = init(folder / name, tmp_path / "run.yaml")
    fields = ("nan", "dtype", "offset", "overflow", "compressor", "chunks", "memory", "workers", "compute")
    starts = (*(f"# {field}:" for field in fields), "# - ", "#   memory", "#   workers")
    lines = []
    for line in text.splitlines():
        bare = line.lstrip()
        live = bare.startswith(starts)
        lines.append(line.replace("# ", "", 1).replace("#  ", "  ", 1) if live else line)
    (tmp_path / "all.yaml").write_text("\n".join(lines), encoding="utf-8")
    job = prepare(str(tmp_path / "all.yaml"))
    assert len(job.plan.steps) >= 3
    assert job.config.compute.workers == 4
    assert job.config.output.compressor == "blosc-zstd"


def test_without_a_target_it_is_printed_and_nothing_else(folder, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["init", str(folder / "imagej.tif")]) == 0
    printed = capsys.readouterr().out
    assert printed == starter(str(folder / "imagej.tif"))
    assert list(tmp_path.iterdir()) == []


def test_a_stack_without_axes_asks_for_them_and_takes_them(folder, tmp_path, capsys):
    assert main(["init", str(folder / "plain.tif")]) == 2
    assert "axes" in capsys.readouterr().err
    init(folder / "plain.tif", tmp_path / "run.yaml", "--axes", "tyx")
    config = load_config(str(tmp_path / "run.yaml"))
    assert config.input.axes == "tyx"
    assert config.input.scale is None
    assert prepare(str(tmp_path / "run.yaml")).source.spec.axes == "tyx"


def test_no_pixel_is_read(folder, monkeypatch):
    def refuse(self, region):
        raise AssertionError("a pixel was read")

    monkeypatch.setattr(Source, "read", refuse)
    assert "white_tophat" in starter(str(folder / "movie.ome.tif"))


def test_a_config_that_is_there_is_not_replaced_unasked(folder, tmp_path, capsys):
    target = tmp_path / "run.yaml"
    target.write_text("mine")
    assert main(["init", str(folder / "imagej.tif"), "-o", str(target)]) == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert target.read_text() == "mine"
    init(folder / "imagej.tif", target, "--overwrite")
    assert "input:" in target.read_text(encoding="utf-8")


def test_what_cannot_be_opened_is_refused(tmp_path, capsys):
    assert main(["init", str(tmp_path / "none.tif")]) == 2
    assert "none.tif" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["GFP", "488", "no", "1e3", "a: b", "Alexa 488", '"', "ä", "-1", "null"])
def test_a_channels_name_is_read_back_as_it_is(name):
    from pipeline.config.yaml import parse_yaml

    assert parse_yaml(f"c: {flow_names([name, 2])}").data == {"c": [name, 2]}


@pytest.mark.parametrize(
    ("path", "name"),
    [("/a/b.ome.zarr", "b"), ("/a/b.c.tiff", "b.c"), ("/a/*.tif", "image"), ("/a/frames", "frames")],
)
def test_the_output_is_named_after_the_input(path, name):
    assert stem(path) == name
