"""What is said where something else was given than what belongs there: in a config, on the command line."""

import os
import re
import shlex
import threading

import numpy as np
import pytest
import tifffile
from config_texts import SHORT, problems, the_problem, write
from ruamel.yaml import YAML

import pipeline
from pipeline.cli import main, main_group
from pipeline.config.chain import parse_chain
from pipeline.config.load import load_config
from pipeline.config.synonyms import OTHER_WORDS, advice_for
from pipeline.steps.registry import REGISTRY

__all__ = ["write"]  # a fixture

LATER = ("rolling_ball", "sliding_paraboloid", "subtract_constant", "subtract_median", "median",
         "subtract_projection", "flat_field", "divide_by_gaussian", "subtract_channel", "remove_outliers",
         "bleach_correction")  # fmt: skip

WORDS = {
    "subtract_background": "white_tophat", "Subtract Background...": "white_tophat",
    "rolling_ball": "white_tophat", "RollingBall": "white_tophat", "sliding_paraboloid": "white_tophat",
    "bandpass": "difference_of_gaussians", "Bandpass Filter...": "difference_of_gaussians",
    "dog": "difference_of_gaussians", "DoG": "difference_of_gaussians", "tophat": "white_tophat",
    "top_hat": "white_tophat", "top-hat": "white_tophat", "MORPH_TOPHAT": "white_tophat",
    "cv2.MORPH_BLACKHAT": "black_tophat", "white_top_hat": "white_tophat",
    "skimage.morphology.white_tophat": "white_tophat", "black_top_hat": "black_tophat",
    "gaussian_blur": "gaussian", "GaussianBlur": "gaussian", "gaussian_filter": "gaussian",
    "gausian_blur": "gaussian", "difference_of_gaussian": "difference_of_gaussians",
    "unsharp_mask": "subtract_gaussian", "minimum": "subtract_minimum", "opening": "white_tophat",
    "closing": "black_tophat", "median": "gaussian", "despeckle": "gaussian", "disk": "white_tophat",
    "invert": "black_tophat", "flat_field": "subtract_gaussian", "subtract_constant": "output.offset",
    "crop": "input.select", "threshold": "label",
}  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_another_programs_word_leads_to_the_step_to_take(write, word, capsys):
    problem = the_problem(write(SHORT.replace("gaussian:", f'"{word}":')))
    assert (problem.field, problem.line) == ("steps.1", 4)
    assert WORDS[word] in problem.hint
    assert main(["steps", word]) == 2
    assert WORDS[word] in capsys.readouterr().err


@pytest.mark.parametrize("word", LATER)
def test_what_a_later_version_brings_says_what_to_take_today(word):
    assert word not in REGISTRY, "it is there: take it out of the words of others"
    hint = advice_for(word).in_yaml()
    assert re.search(r"until a later version brings it|output\.offset", hint)


def test_what_is_advised_is_a_step_that_can_be_taken():
    for word, advice in OTHER_WORDS.items():
        if advice.step:
            (given,) = re.findall(r"take (\w+: \{.*?\})", advice.in_yaml())
            steps, found = parse_chain([YAML(typ="safe").load(given)])
            assert not found, word
            (call,) = re.findall(r"take pipeline\.(\w+\(.*?\))(?:, |$)", advice.in_python())
            assert eval(f"pipeline.{call}", {"pipeline": pipeline}) == steps[0]


def test_another_programs_word_in_python_leads_to_the_class_to_take():
    with pytest.raises(AttributeError, match=r"take pipeline\.WhiteTophat\(radius=50\)"):
        pipeline.RollingBall  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute 'xyzzy'$"):
        pipeline.xyzzy  # noqa: B018
    assert not hasattr(pipeline, "median")


# -- slips of the pen ----------------------------------------------------------------------

STEP = "input: {path: a.tif}\noutput: {path: b}\nsteps:\n"
SLIPS = {
    "comma": ("  - white_tophat: {radius: 12,5}", 4, "steps.0.radius", "12,5 has a comma", "point: 12.5"),
    "comma and unit": ("  - white_tophat: {radius: 12,5 um}", 4, "steps.0.radius", "comma", "12.5 um"),
    "comma below": ("  - white_tophat:\n      radius: 0,5", 5, "steps.0.radius", "comma", "point: 0.5"),
    "thousands": ("  - white_tophat: {radius: 1,000}", 4, "steps.0.radius", "comma", "the comma: 1000"),
    "no space": ("  - white_tophat: {radius:12}", 4, "steps.0.radius:12", "no such key", "colon: radius: 12"),
    "missing but for a space": ("  - gaussian: {sigma:2}", 4, "steps.0.sigma:2", "no such", "sigma: 2"),
    "equals": ("  - white_tophat: {radius=12}", 4, "steps.0.radius=12", "no such key", "colon and a space"),
    "no space below": ("  - white_tophat:\n      radius:12", 4, "steps.0", "not a mapping", "radius: 12"),
    "no space in YAML": ("  - white_tophat:\n      radius:12\n      along: yx", 5, "", "one word", ": 12"),
    "no space after the name": ("  - white_tophat:{radius: 12}", 4, "steps.0", "no step", "after the colon"),
    "no colon": ("  - white_tophat {radius: 12}", 4, "steps.0", "no step", "a colon after the name"),
    "no colon above": ("  - white_tophat\n    radius: 12", 4, "", "no colon follows white_tophat", "tophat:"),
    "no space after the dash": ("  -white_tophat: {radius: 12}", 3, "steps", "not a list", "after the dash"),
    "name as a key": ("  - name: gaussian\n    sigma: 2", 4, "steps.0", "one step", "- gaussian: {sigma: 2}"),
    "a list": ("  - gaussian: {sigma: [2, 3]}", 4, "steps.0.sigma", "not a length", "{y: 2, x: 3}"),
    "true": ("  - gaussian: {sigma: true}", 4, "steps.0.sigma", "true is not a length", "px"),
    "curly quotes": ("  - gaussian: {sigma: “2 um”}", 4, "steps.0.sigma", "“ is no quote", '"'),
    "a step at the top": ("  - gaussian: {sigma: 2}\nwhite_tophat: {radius: 3}", 5, "white_tophat",
                          "no such section", "below steps:"),
    "a key at the top": ("  - gaussian: {sigma: 2}\nmemory: 3", 5, "memory", "section", "below compute:"),
}  # fmt: skip


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_is_told_as_what_it_is(write, name):
    lines, line, field, message, hint = SLIPS[name]
    problem = the_problem(write(STEP + lines + "\n"))
    assert (problem.line, problem.field) == (line, field)
    assert message in problem.message
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("compute.memory=1,5 GiB", "1.5 GiB"), ("output.max_clipped=0,1%", "0.1%"),
        ("output.offset=1,5", "1.5"), ("input.scale.y=0,325 um", "0.325 um"),
        ("white_tophat.radius=12,5", "12.5"), ("compute.workers=1,000", "1000"),
        ("output.chunks.y=1,024", "1024"), ("input=path:a.tif", "path: a.tif"),
    ],
)  # fmt: skip
def test_a_slip_in_any_field_is_told_as_what_it_is(write, said, hint):
    assert hint in the_problem(write(SHORT), sets=[said]).hint


def test_a_section_that_is_a_path_is_told_how_it_is_written(write):
    found = problems(write("input: a.tif\noutput: b.zarr\nsteps: [{gaussian: {sigma: 1}}]\n"))
    assert [problem.hint for problem in found] == [
        "write input: {path: a.tif}", "write output: {path: b.zarr}"
    ]  # fmt: skip


# -- something else than a config, or than an output ---------------------------------------


@pytest.fixture
def there(tmp_path, monkeypatch):
    """Return a folder with one of each kind, and go there."""
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("movie.tif", np.zeros((8, 8), np.uint8))
    (tmp_path / "movie").write_bytes((tmp_path / "movie.tif").read_bytes())
    (tmp_path / "run.yaml").write_text(SHORT)
    for folder, files in {"empty": (), "some": ("a.txt", "b.yaml"), "x.zarr": ("zarr.json",)}.items():
        (tmp_path / folder).mkdir()
        for name in files:
            (tmp_path / folder / name).write_text("{}")
    (tmp_path / "done.zarr/bgone").mkdir(parents=True)
    (tmp_path / "done.zarr/bgone/manifest.txt").write_text("")
    return tmp_path


CONFIG_COMMANDS = {
    "run": [], "plan": [], "preview": ["-o", "p.png"],
    "sweep": ["--set", "white_tophat.radius=3,5", "-o", "p.png"],
}  # fmt: skip
NO_CONFIG = {
    "movie.tif": "is an image, not a config; .*bgone init movie.tif", "movie": "is an image, not a config",
    "x.zarr": "is an image, not a config", "done.zarr": "is an output, not a config",
    "empty": "is a folder, not a config; name a YAML file$",
    "some": "is a folder, not a config; name the YAML file in it: b.yaml",
    "rnu.yaml": "there is no such file; did you mean run.yaml",
    "new.tif": "there is no such file; name a YAML file",
}  # fmt: skip


@pytest.mark.parametrize("command", CONFIG_COMMANDS)
@pytest.mark.parametrize("path", NO_CONFIG)
def test_what_is_no_config_is_told_as_what_it_is(there, command, path, capsys):
    before = sorted(os.listdir(there))
    assert main([command, path, *CONFIG_COMMANDS[command]]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(rf"^error: {path}: {NO_CONFIG[path]}", line)
    assert sorted(os.listdir(there)) == before


@pytest.mark.parametrize("command", ["info", "init", "suggest"])
def test_a_config_where_an_image_belongs_is_told_with_the_command_that_takes_it(there, command, capsys):
    (there / "my runs").mkdir()
    (there / "my runs/run.yaml").write_text(SHORT.replace("a.tif", "../movie.tif").replace("25", "2"))
    before = sorted(os.listdir(there))
    assert main([command, "my runs/run.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "run.yaml' is a config, not an image; give the image that its input.path names" in line
    (advised,) = re.findall(r"or use bgone (plan .*)$", line)
    # It works as it stands, from where the user is.
    assert main(shlex.split(advised)) == 0
    assert sorted(os.listdir(there)) == before


NO_OUTPUT = {
    "run.yaml": "is a config, not an output; give the OME-Zarr that it writes, .*b.zarr$",
    "movie.tif": "is a file, and an output of bgone is a folder",
    "movie": "is a file, and an output of bgone is a folder",
    "empty": "is not an output of bgone: it is a folder that holds no OME-Zarr",
    "some": "is not an output of bgone: it is a folder that holds no OME-Zarr",
    "no": "is not there; name an output of bgone",
}


@pytest.mark.parametrize("command", [["verify"], ["verify", "--recompute", "2"], ["report"], ["view"]])
@pytest.mark.parametrize("path", NO_OUTPUT)
def test_what_is_no_output_is_told_as_what_it_is(there, command, path, capsys):
    assert main([*command, path]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(rf"^error: {path}: {NO_OUTPUT[path]}", line)


def test_a_config_may_come_through_a_pipe_and_one_that_nobody_fills_is_given_up(there, monkeypatch):
    os.mkfifo("pipe")
    writer = threading.Thread(target=(there / "pipe").write_text, args=(SHORT,))
    writer.start()
    assert load_config("pipe").steps[0].name == "white_tophat"
    writer.join()
    monkeypatch.setattr("pipeline.config.files.PIPE_PATIENCE", 0.05)
    assert "nothing was written" in the_problem("pipe").message


# -- the command line itself ---------------------------------------------------------------

USAGE = {
    "preview run.yaml": "-o: is missing; add -o PICTURE",
    "run": "CONFIG is missing; write bgone run CONFIG; see bgone run --help",
    "suggest": "INPUT is missing; write bgone suggest INPUT; see bgone suggest --help",
    "rnu run.yaml": "there is no command rnu; did you mean run?",
    "run.yaml": "run.yaml is no command; did you mean bgone run run.yaml?",
    "movie.tif": "movie.tif is no command; did you mean bgone info movie.tif?",
    "help": "there is no command help; see bgone --help, or bgone run --help",
    "--foo": "there is no option --foo; see bgone --help",
    "plan --jsn run.yaml": "there is no option --jsn; did you mean --json?",
    "run run.yaml --over": "there is no option --over; did you mean --overwrite?",
    "run run.yaml --zzz": "there is no option --zzz; see bgone run --help",
    "--quiet run run.yaml": "there is no option --quiet; write it behind the command: bgone run … --quiet",
    "run run.yaml other.yaml": "other.yaml is too much; leave it out, or quote a name with spaces",
    "run run.yaml --set": "--set: has no value; give one: --set PATH=VALUE",
    "run --quiet=yes run.yaml": "--quiet: takes no value; leave it out",
    "verify --recompute x y": "--recompute: x is not a whole number; give a whole number of 1 or more",
    "verify --recompute 0 y": "--recompute: 0 is below 1; give a whole number of 1 or more",
    "verify --seed 3 y": "--seed and --input are for --recompute; add --recompute 20",
    "view --port 99999 y": "--port: 99999 is above 65535; give a whole number from 0 to 65535",
    "suggest y --features dork": "--features: dork is not a choice; did you mean dark?",
    "sample y.tif --radius 1,5": "--radius: 1,5 is not a number; write it with a point: 1.5",
}  # fmt: skip


@pytest.mark.parametrize("line", USAGE)
def test_a_wrong_command_line_is_told_as_every_other_mistake(there, line, capsys):
    assert main(line.split()) == 2
    said = capsys.readouterr().err
    assert said == f"error: {USAGE[line]}\n"


def test_no_message_about_the_command_line_has_two_ends(there, capsys):
    for name, command in main_group.commands.items():
        for parameter in command.params:
            if parameter.name == "debug":
                continue
            for given in ([], [parameter.opts[0]], [parameter.opts[0], "nonsense"], ["--nonsense"]):
                assert main([name, *given]) in (0, 2)
                for text in capsys.readouterr().err.splitlines():
                    assert not re.search(r"[.,;:]\s*[;,]|\.;|Error", text), text


def test_a_sample_larger_than_the_disk_is_refused_and_leaves_nothing(there, capsys):
    for option in ("--frames", "--size", "--z"):
        for name in ("new/x.tif", "new/x.ome.zarr"):
            assert main(["sample", name, option, str(10**13)]) == 2
            assert re.search(r"it would take .* left; ask for fewer", capsys.readouterr().err)
    assert not (there / "new").exists()
