"""Each option of each command over a config or an output does what its help says."""

import json
import shutil
import socket

import numpy as np
import pytest
import tifffile
import zarr
from matplotlib.image import imread
from skimage import morphology

from pipeline.cli import main, main_group
from pipeline.explore.sample import make_sample
from pipeline.explore.scales import aspect_of
from pipeline.model.errors import PipelineError
from pipeline.model.image import ImageSpec
from pipeline.reporting.serve import Server

CONFIG = """\
input: {path: first.ome.tif}
steps:
  - white_tophat: {radius: 4}
output: {path: out.ome.zarr}
compute: {cluster: threads}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("options")
    for seed, name in enumerate(("first", "other")):
        make_sample(
            folder / f"{name}.ome.tif", frames=3, channels=2, z=2, size=64, object_radius=3, seed=seed
        )
    (folder / "run.yaml").write_text(CONFIG)
    assert main(["run", str(folder / "run.yaml"), "--quiet"]) == 0
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """Return a folder of one's own with the same in it, and go there."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pixels(path):
    return zarr.open_array(f"{path}/0", mode="r")[:]


def filtered(name, radius):
    planes = tifffile.imread(f"{name}.ome.tif")
    return np.stack(
        [morphology.white_tophat(plane, morphology.disk(radius)) for plane in planes.reshape(-1, 64, 64)]
    ).reshape(planes.shape)


def test_run_takes_input_output_and_changes_from_the_command_line(here, capsys):
    changes = ["--set", "white_tophat.radius=5", "--set", "output.chunks={t: 1, y: 32, x: 64}"]
    assert main(["run", "run.yaml", "--input", "other.ome.tif", "--output", "new.ome.zarr", *changes]) == 0
    assert (pixels("new.ome.zarr") == filtered("other", 5)).all()
    assert zarr.open_array("new.ome.zarr/0").chunks[-2:] == (32, 64)
    told = capsys.readouterr()
    assert "computing on" in told.err
    assert str(here / "new.ome.zarr") in told.out
    assert (pixels("out.ome.zarr") == filtered("first", 4)).all(), "the config's own is not touched"


def test_run_quiet_shows_no_progress_and_the_summary_all_the_same(here, capsys):
    assert main(["run", "run.yaml", "--quiet", "--output", "quiet.ome.zarr"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert "quiet.ome.zarr" in told.out


def test_run_overwrite_replaces_what_another_config_wrote(here, capsys):
    change = ["run", "run.yaml", "--quiet", "--set", "steps.0.radius=6"]
    assert main(change) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (pixels("out.ome.zarr") == filtered("first", 4)).all()
    assert main([*change, "--overwrite"]) == 0
    assert (pixels("out.ome.zarr") == filtered("first", 6)).all()


CHANGES = {
    "a step by its number": ("steps.0.radius=6", lambda plan: plan["halo"]["y"] == 12),
    "a step by its name": ("white_tophat.radius=7", lambda plan: plan["halo"]["y"] == 14),
    "a length with a unit": ("white_tophat.radius=1.95 um", lambda plan: plan["halo"]["y"] == 12),
    "a length by axis": ("white_tophat.radius={y: 6, x: 9}", lambda plan: plan["halo"]["x"] == 18),
    "another parameter": ("white_tophat.along=zyx", lambda plan: plan["halo"]["z"] == 8),
    "a whole step": ("steps.0={gaussian: {sigma: 2}}", lambda plan: plan["output_dtype"] == "float32"),
    "all steps": ("steps=[{gaussian: {sigma: 1}}]", lambda plan: plan["output_dtype"] == "float32"),
    "a list": ("input.select={t: '0:2', c: [mCherry]}", lambda plan: plan["output_shape"][:2] == [2, 1]),
    "one axis of a mapping": ("input.select.t=0:2", lambda plan: plan["output_shape"][0] == 2),
    "a path": ("output.path=new.ome.zarr", lambda plan: plan["output"].endswith("/new.ome.zarr")),
    "memory": ("compute.memory=3 GiB", lambda plan: plan["memory_budget_bytes"] == 3 * 2**30),
    "a choice": ("output.dtype=float32", lambda plan: plan["output_dtype"] == "float32"),
    "the default again": ("compute.cluster=null", None),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_set_changes_any_path_of_the_config(here, name, capsys):
    change, holds = CHANGES[name]
    code = main(["plan", "run.yaml", "--json", "--set", "output.path=none.ome.zarr", "--set", change])
    told = capsys.readouterr()
    if holds is None:
        assert code == 2
        assert "leave the line out" in told.err
    else:
        assert code == 0, told.err
        assert holds(json.loads(told.out))


def test_plan_takes_input_and_output_and_says_the_same_with_json(here, capsys):
    options = ["--input", "other.ome.tif", "--output", "new.ome.zarr"]
    assert main(["plan", "run.yaml", *options]) == 0
    text = capsys.readouterr().out
    assert main(["plan", "run.yaml", *options, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    for path in (here / "other.ome.tif", here / "new.ome.zarr"):
        assert str(path) in text
        assert str(path) in plain.values()
    assert not (here / "new.ome.zarr").exists()


PARTS = {
    "--t": ("0", "2"), "--c": ("GFP", "mCherry"), "--z": ("0", "1"),
    "--crop": ("y=0:32,x=0:32", "y=32:64,x=32:64"), "--input": ("first.ome.tif", "other.ome.tif"),
}  # fmt: skip


@pytest.mark.parametrize("option", [*PARTS, "--set"])
def test_each_option_of_preview_says_what_is_drawn(here, option):
    values = PARTS.get(option, ("white_tophat.radius=3", "white_tophat.radius=9"))
    shown = {"--t": "0", "--c": "GFP", "--z": "0", "--crop": "y=0:48,x=0:48"}
    for value in values:
        given = [part for pair in (shown | {option: value}).items() for part in pair]
        assert main(["preview", "run.yaml", "-o", "x.png", *given]) == 0
        shutil.move("x.png", f"{values.index(value)}.png")
    one, other = imread("0.png"), imread("1.png")
    assert one.shape != other.shape or (one != other).mean() > 0.001


@pytest.mark.parametrize("option", PARTS)
def test_each_option_of_sweep_says_what_is_measured(here, option):
    shown, tables = {"--t": "0", "--c": "GFP", "--z": "0", "--crop": "y=0:48,x=0:48"}, []
    for value in PARTS[option]:
        given = [part for pair in (shown | {option: value}).items() for part in pair]
        assert main(["sweep", "run.yaml", "--set", "white_tophat.radius=3,5", "-o", "x.png", *given]) == 0
        tables.append((here / "x.csv").read_text().splitlines()[1:])
    assert tables[0] != tables[1]


def test_verify_recomputes_as_many_blocks_as_it_is_told_and_the_same_again(here, capsys):
    assert main(["run", "run.yaml", "--quiet", "--output", "mine.ome.zarr"]) == 0
    capsys.readouterr()
    said = []
    for _ in range(2):
        assert main(["verify", "mine.ome.zarr", "--recompute", "3", "--seed", "11"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert "3 random blocks" in said[0]
    assert "--seed 11" in said[0]
    (here / "first.ome.tif").rename("moved.ome.tif")
    assert main(["verify", "mine.ome.zarr", "--recompute", "3"]) == 2
    assert main(["verify", "mine.ome.zarr", "--recompute", "3", "--input", "moved.ome.tif"]) == 0


def test_view_serves_at_the_port_that_is_said(here, capsys, monkeypatch):
    def end(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", end)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    assert main(["view", "out.ome.zarr", "--port", str(port)]) == 0
    assert f"127.0.0.1:{port}/" in capsys.readouterr().out


def test_report_goes_where_it_is_told(here, capsys):
    assert main(["report", "out.ome.zarr", "-o", "page.html"]) == 0
    assert "<html" in (here / "page.html").read_text(encoding="utf-8")
    assert capsys.readouterr().out == "wrote page.html\n"


def test_steps_explains_one_or_lists_all_and_schema_is_json(capsys):
    assert main(["steps"]) == 0
    assert "white_tophat  " in capsys.readouterr().out
    assert main(["steps", "white_tophat"]) == 0
    assert "- white_tophat: {" in capsys.readouterr().out
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "bgone config"


WRONG = {
    "run": ["no.yaml"], "plan": ["no.yaml"], "preview": ["no.yaml", "-o", "x.png"],
    "sweep": ["no.yaml", "--set", "a.b=1,2", "-o", "x.png"], "steps": ["nothing"], "info": ["no.tif"],
    "sample": ["x.nothing"], "verify": ["no.zarr"], "view": ["no.zarr"], "report": ["no.zarr"],
    "init": ["no.tif"], "suggest": ["no.tif"],
}  # fmt: skip


@pytest.mark.parametrize("command", WRONG)
def test_debug_shows_the_traceback_and_without_it_there_is_one_line(tmp_path, monkeypatch, command, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([command, *WRONG[command]]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(PipelineError):
        main([command, *WRONG[command], "--debug"])


def test_every_option_says_what_it_is_for():
    missing = [
        f"{name} {option.opts[0]}"
        for name, command in main_group.commands.items()
        for option in command.params
        if option.param_type_name == "option" and not (option.help or option.show_default or option.metavar)
    ]
    assert not missing


def test_the_table_of_a_sweep_has_the_signal_kept_as_a_share_of_the_inputs(here):
    assert main(["sweep", "run.yaml", "--set", "white_tophat.radius=3,9", "-o", "x.png"]) == 0
    header, *rows = [line.split(",") for line in (here / "x.csv").read_text().splitlines()]
    kept, signal = header.index("signal_kept"), header.index("signal")
    for row in rows:
        assert float(row[kept]) == pytest.approx(float(row[signal]) / float(rows[0][signal]), rel=0.01)


def test_a_pixel_twice_as_high_as_wide_is_drawn_so():
    scale, units = {"y": 2.0, "x": 1.0}, {"y": "micrometer", "x": "micrometer"}
    spec = ImageSpec("yx", (8, 8), np.dtype("uint8"), scale=scale, units=units)
    assert aspect_of(spec) == 2
    assert aspect_of(spec.with_(scale={"y": 500.0, "x": 1.0}, units={**units, "y": "nanometer"})) == 0.5
