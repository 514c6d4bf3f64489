"""What a config says: every field, its defaults, its paths; from YAML, from Python, and back."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from config_texts import FULL, SHORT, the_problem, write
from ruamel.yaml import YAML

from pipeline.config.load import load_config
from pipeline.config.sections import InputConfig, OutputConfig
from pipeline.model.errors import RequestError
from pipeline.model.units import Quantity
from pipeline.steps.registry import REGISTRY

__all__ = ["write"]  # a fixture


def test_every_field_of_the_contract_is_read(write, tmp_path):
    config = load_config(write(FULL))
    assert config.input.path == str(tmp_path / "data/embryo.ome.tif")
    assert config.input.axes == "tcyx"
    assert config.input.scale == {
        "t": Quantity(30, "second"), "y": Quantity(0.325, "micrometer"), "x": Quantity(0.325, "micrometer")
    }  # fmt: skip
    assert config.input.select == {"t": "0:100", "c": ("GFP", 2)}
    assert (config.input.nan, config.input.level, config.input.series) == ("propagate", 1, 2)
    assert [step.name for step in config.steps] == [
        "white_tophat", "difference_of_gaussians", "gaussian", "white_tophat"
    ]  # fmt: skip
    assert config.steps[1].high_sigma == Quantity(30, "micrometer")
    assert config.steps[2].along == "zyx"
    assert config.steps[3].channels == ("mCherry", 0)
    output = config.output
    assert output.path == str(tmp_path / "results/embryo.ome.zarr")
    assert (output.dtype, output.overflow, output.offset) == ("input", "clip", -100.5)
    assert (output.chunks, output.shards) == ({"y": 1024, "x": 512}, {"t": 10, "y": 2048})
    assert (output.compressor, output.checksum, output.pyramid) == ("zstd", True, False)
    assert (output.version, output.axes, output.max_clipped) == ("0.4", "tczyx", 0.001)
    assert (output.background, output.work) == (str(tmp_path / "configs/background.zarr"), "/scratch")
    assert (config.compute.memory, config.compute.workers) == (8 * 2**30, 4)
    assert (config.compute.block, config.compute.window) == ({"y": 2048}, {"t": 2})
    assert config.compute.cluster["slurm"]["queue"] == "gpu"


def test_defaults_are_those_of_the_contract(write):
    config = load_config(write(SHORT))
    resolved = config.resolved()
    assert resolved["input"] | {"path": ""} == {
        "path": "", "axes": None, "scale": None, "select": None, "nan": "refuse", "level": 0, "series": None
    }  # fmt: skip
    assert resolved["output"] | {"path": ""} == {
        "path": "", "dtype": None, "overflow": None, "offset": 0, "chunks": None, "shards": None,
        "compressor": "blosc-lz4", "checksum": False, "pyramid": True, "version": "0.5", "axes": None,
        "background": None, "work": None, "max_clipped": None,
    }  # fmt: skip
    assert resolved["compute"] == {
        "memory": None, "workers": None, "block": None, "window": None, "cluster": "auto"
    }  # fmt: skip


@pytest.mark.parametrize("section", ["", "compute:\n", "compute: {}\n"])
def test_compute_may_be_left_out(write, section):
    assert load_config(write(SHORT + section)).compute.cluster == "auto"


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("output.version", "0.5", "0.5"),
        ("output.version", "'0.4'", "0.4"),
        ("output.checksum", "true", True),
        ("output.checksum", "crc32c", True),
        ("output.checksum", "false", False),
        ("output.offset", "1e3", 1000.0),
        ("output.offset", "7", 7),
        ("output.dtype", "float32", "float32"),
        ("output.max_clipped", "0.002", 0.002),
        ("output.max_clipped", "5 %", 0.05),
        ("output.compressor", "none", "none"),
        ("output.chunks", "{y: 0x10, x: 010}", {"y": 16, "x": 10}),
        ("compute.memory", "500 MB", 500_000_000),
        ("compute.memory", "1.5GiB", 3 * 2**29),
        ("compute.memory", "8589934592", 2**33),
        ("compute.memory", "8e9", 8_000_000_000),
        ("compute.cluster", "tcp://10.0.0.1:8786", "tcp://10.0.0.1:8786"),
        ("compute.cluster", "tls://a:8786", "tls://a:8786"),
        ("compute.cluster", "threads", "threads"),
        ("compute.cluster", "{slurm: null}", {"slurm": {}}),
        ("input.axes", "YXT", "yxt"),
        ("input.select", "{t: 1:30}", {"t": "1:30"}),
        ("input.select", "{t: '::2', z: ':', y: '-10:'}", {"t": "::2", "z": ":", "y": "-10:"}),
        ("input.select", "{t: 5, c: ['488'], z: [0, 2]}", {"t": 5, "c": ("488",), "z": (0, 2)}),
    ],
)
def test_a_value_is_taken_as_it_is_meant(write, field, text, value):
    config = load_config(write(SHORT), sets=[f"{field}={text}"])
    section, key = field.split(".")
    found = getattr(getattr(config, section), key)
    assert found == value
    assert type(found) is type(value) or field == "output.offset"


@pytest.mark.parametrize(
    "jobs",
    [
        "{minimum_jobs: 4, maximum_jobs: 4}", "{maximum_jobs: 1}", "{minimum_jobs: 1}", "{jobs: 1}",
        "{minimum_jobs: 2, maximum_jobs: 3}", "{maximum-jobs: 1}",
    ],
)  # fmt: skip
def test_as_many_jobs_at_least_as_at_most_are_taken(write, jobs):
    config = load_config(write(SHORT), sets=[f"compute.cluster={{slurm: {jobs}}}"])
    assert {f"{name}: {count}" for name, count in config.compute.cluster["slurm"].items()} == set(
        jobs[1:-1].split(", ")
    )


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ("{minimum_jobs: 5, maximum_jobs: 4}", "at most 4 jobs is fewer than at least 5"),
        ("{jobs: 0}", "0 is no number of jobs"),
        ("{maximum_jobs: 1.5}", "1.5 is no number of jobs"),
        ("{minimum_jobs: true}", "true is no number of jobs"),
        ("{minimun_jobs: 3}", "no keyword minimun_jobs"),
    ],
)
def test_numbers_of_jobs_that_make_no_sense_are_refused(write, jobs, said):
    problem = the_problem(write(SHORT), sets=[f"compute.cluster={{slurm: {jobs}}}"])
    assert said in problem.message
    assert problem.field.startswith("compute.cluster.slurm")


def test_yaml_is_version_1_2(write):
    text = SHORT.replace("radius: 25", "radius: 1e1").replace("sigma: 2", "sigma: 2, channels: [on, no, 1_0]")
    steps = load_config(write("%YAML 1.1\n---\n" + text)).steps
    assert steps[0].radius.value == 10
    assert steps[1].channels == ("on", "no", "1_0")


def test_paths_are_relative_to_the_folder_of_the_config(write, tmp_path, monkeypatch):
    path = write(SHORT.replace("b.zarr", "../out/b.zarr"))
    monkeypatch.chdir(path.parent)
    config = load_config("run.yaml")
    assert config.input.path == str(tmp_path / "configs/a.tif")
    assert config.output.path == str(tmp_path / "out/b.zarr")


def test_paths_on_the_command_line_are_relative_to_the_current_folder(write, tmp_path, monkeypatch):
    path = write(SHORT)
    monkeypatch.chdir(tmp_path)
    config = load_config(
        path, input="new/*.tif", output=Path("c.zarr"), sets=["output.work=w", "compute.cluster=s.json"]
    )
    assert config.input.path == str(tmp_path / "new/*.tif")
    assert config.output.path == str(tmp_path / "c.zarr")
    assert config.output.work == str(tmp_path / "w")
    assert config.compute.cluster == str(tmp_path / "s.json")
    assert load_config(path, sets=["input={path: a.tif}"]).input.path == str(tmp_path / "a.tif")


def test_a_scheduler_file_is_relative_to_the_config(write, tmp_path):
    config = load_config(write(SHORT + "compute: {cluster: ../s.json}"))
    assert config.compute.cluster == str(tmp_path / "s.json")


def test_home_and_variables_are_filled_in(write, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("EMBRYO", "day 3")
    text = SHORT.replace("a.tif", "'~/${EMBRYO}/a.tif'").replace("b.zarr", "'/data/${EMBRYO}.zarr'")
    config = load_config(write(text))
    assert config.input.path == "/home/ada/day 3/a.tif"
    assert config.output.path == "/data/day 3.zarr"


@pytest.mark.parametrize("url", ["s3://bucket/../a.zarr", "https://host/a b.zarr/", "file:///a.zarr"])
def test_urls_stay_as_they_are(write, url):
    assert load_config(write(SHORT.replace("a.tif", url))).input.path == url


def test_dots_after_a_link_mean_what_the_file_system_means(tmp_path, write):
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere/deep")
    config = load_config(write(SHORT.replace("a.tif", "../link/../a.tif")))
    assert config.input.path == str(tmp_path / "elsewhere/a.tif")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("${NOT_SET_HERE}/a.tif", "'NOT_SET_HERE' is not set"),
        ("${}/a.tif", "'' is not set"),
        ("'${HOME/a.tif'", "not closed"),
        ("~nobody-of-this-name/a.tif", "~nobody-of-this-name"),
        ("' '", "empty path"),
        ('"a\\0b"', "character"),
        ("7", "7 is not a text"),
        ("", "has no value"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(write, path, said):
    problem = the_problem(write(SHORT.replace("{path: a.tif}", f"\n  path: {path}")))
    assert (problem.field, problem.line) == ("input.path", 2)
    assert said in problem.message


def test_paths_that_must_differ(write):
    assert the_problem(write(SHORT.replace("b.zarr", "./a.tif"))).field == "output.path"
    text = SHORT.replace("{path: b.zarr}", "{path: b.zarr, background: ../configs/b.zarr}")
    problem = the_problem(write(text))
    assert (problem.field, problem.line, problem.column) == ("output.background", 5, 24)


def test_a_mapping_is_relative_to_the_current_folder_and_its_mistakes_have_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = {
        "input": {"path": Path("a.tif")},
        "steps": [{"white_tophat": {"radius": 25}}],
        "output": {"path": "b"},
    }
    assert load_config(plain).input.path == str(tmp_path / "a.tif")
    plain["steps"] = [{"white_tophat": {"radius": -1}}]
    problem = the_problem(plain)
    assert (problem.file, problem.line, problem.field) == ("", None, "steps.0.radius")
    assert str(problem).startswith("steps.0.radius: -1")


def test_a_mapping_may_hold_steps_and_numpy_numbers():
    step = REGISTRY["white_tophat"](radius="8 um")
    plain = {
        "input": {"path": "/a.tif", "level": np.int64(1)},
        "steps": (step, {"gaussian": {"sigma": np.float32(2)}}),
        "output": {"path": "/b.zarr"},
    }
    config = load_config(plain)
    assert config.steps[0] == step
    assert config.steps[1].sigma == Quantity(2)
    assert plain["steps"][0] is step, "the mapping itself is not changed"


def test_a_mapping_that_holds_itself_or_a_strange_thing_is_refused():
    plain = {
        "input": {"path": "/a.tif"},
        "steps": [{"gaussian": {"sigma": object()}}],
        "output": {"path": "/b"},
    }
    assert the_problem(plain).field == "steps.0.sigma"
    plain["steps"] = [{"gaussian": {"sigma": 10**400}}]
    assert the_problem(plain).field == "steps.0.sigma"
    plain["input"]["select"] = plain
    assert "nested" in the_problem(plain).message


def test_a_config_survives_yaml_json_and_pickle(write, tmp_path):
    config = load_config(write(FULL), sets=["steps.0.radius=8.1250000078 um"])
    again = load_config(write(config.to_yaml(), "again/copy.yaml"))
    assert again == config
    assert again.to_yaml() == config.to_yaml()
    assert load_config(json.loads(json.dumps(config.resolved()))) == config
    thawed = pickle.loads(pickle.dumps(config))
    assert (thawed, thawed.file, thawed.locations) == (config, config.file, config.locations)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        pytest.param(name, {**parameters, **more}, id=f"{name}-{number}{'-channels' if more else ''}")
        for name, step in sorted(REGISTRY.items())
        for number, parameters in enumerate(step.examples)
        for more in ({}, {"channels": ["GFP", 0, "488"]})
    ],
)
def test_every_step_survives_yaml(write, name, parameters):
    plain = {"input": {"path": "/a.tif"}, "steps": [{name: parameters}], "output": {"path": "/b.zarr"}}
    config = load_config(plain)
    (step,) = config.steps
    assert step == REGISTRY[name](**parameters)
    assert list(config.resolved()["steps"][0]) == [name]
    assert load_config(write(config.to_yaml())) == config
    # Another reader of YAML finds the same numbers.
    assert YAML(typ="safe", pure=True).load(config.to_yaml())["steps"] == config.resolved()["steps"]


def test_sections_made_in_python_leave_their_paths_as_they_are():
    assert InputConfig(path="../a.tif").path == "../a.tif"
    assert OutputConfig(path="b.zarr", work="w").work == "w"
    with pytest.raises(ValueError, match="is a URL, and an unfinished run lives in a folder"):
        OutputConfig(path="b.zarr", work="s3://bucket/w")


def test_a_config_cannot_be_changed(write):
    config = load_config(write(SHORT))
    for part, key in ((config, "file"), (config.input, "path"), (config.steps[0], "along")):
        with pytest.raises((AttributeError, ValueError, RequestError)):
            setattr(part, key, "x")


def test_two_names_of_one_folder_are_the_same_path(write, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    text = SHORT.replace("a.tif", "../data/a.zarr").replace("b.zarr", "../link/a.zarr")
    assert the_problem(write(text)).message == "is the same as input.path"


@pytest.mark.parametrize("section", ["input", "output"])
def test_a_path_of_half_a_character_is_refused_beside_other_mistakes_too(write, section):
    plain = {"input": {"path": "/a"}, "steps": [{"gaussian": {"sigma": 1}}], "output": {"path": "/b"}}
    plain[section]["path"] = "\ud800"
    assert "no UTF-8 text" in the_problem(plain).message
    name = {"input": "a.tif", "output": "b.zarr"}[section]
    text = SHORT.replace(name, '"\\ud800"').replace("sigma: 2", "sigma: *a")
    with pytest.raises(RequestError) as caught:
        load_config(write(text))
    assert {problem.field for problem in caught.value.problems} == {f"{section}.path", "steps.1.sigma"}
