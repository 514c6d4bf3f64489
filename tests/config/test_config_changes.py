"""Changes to a config from the command line, and the places of errors found later."""

import pytest
from config_texts import FULL, SHORT, the_problem, write

from pipeline.config.load import load_config
from pipeline.model.errors import DataError, RequestError
from pipeline.model.units import Quantity

__all__ = ["write"]  # a fixture


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ("steps.0.radius=5", "0.radius", Quantity(5)),
        ("steps.0.white_tophat.radius=5 um", "0.radius", Quantity(5, "micrometer")),
        ("white_tophat.radius=5", "0.radius", Quantity(5)),
        ("gaussian.sigma={y: 1, x: 2}", "1.sigma", {"y": Quantity(1), "x": Quantity(2)}),
        ("gaussian={sigma: 9}", "1.sigma", Quantity(9)),
        ("steps.1={subtract_minimum: {size: 3}}", "1.size", Quantity(3)),
        ("steps=[{gaussian: {sigma: 1}}, {subtract_minimum: {size: 3}}]", "1.size", Quantity(3)),
        ("gaussian.channels=[GFP]", "1.channels", ("GFP",)),
    ],
)
def test_a_change_reaches_a_step(write, change, field, value):
    index, key = field.split(".")
    assert getattr(load_config(write(SHORT), sets=[change]).steps[int(index)], key) == value


def test_changes_reach_sections_that_are_not_there_and_items_of_lists(write):
    path = write(SHORT + "compute: {cluster: {slurm: {}}}")
    config = load_config(
        path,
        sets=[
            "input.select.c=[GFP, RFP]", "input.select.c.1=CFP", "output.chunks.y=64",
            "compute.cluster.slurm.queue=gpu", "input.path=*.tif", "output.path='x y.zarr'",
        ],
    )  # fmt: skip
    assert config.input.select == {"c": ("GFP", "CFP")}
    assert config.output.chunks == {"y": 64}
    assert config.compute.cluster == {"slurm": {"queue": "gpu"}}
    assert config.input.path.endswith("/*.tif")
    assert config.output.path.endswith("/x y.zarr")


def test_the_last_of_two_changes_holds(write):
    assert load_config(write(SHORT), sets=["gaussian.sigma=3", "steps.1.sigma=4"]).steps[1].sigma == Quantity(
        4
    )


def test_a_change_mends_what_is_wrong_in_the_file(write):
    path = write(SHORT.replace("sigma: 2", "sigma: *a").replace("path: a.tif", "path: '${NOT_SET_HERE}'"))
    with pytest.raises(RequestError, match="alias"):
        load_config(path, input="b.tif", sets=["gaussian.sigma=3"])
    path = write(SHORT.replace("sigma: 2", "sigma: -2").replace("path: a.tif", "path: '${NOT_SET_HERE}'"))
    assert load_config(path, input="b.tif", sets=["gaussian.sigma=3"]).steps[1].sigma == Quantity(3)


@pytest.mark.parametrize(
    ("change", "field", "message", "hint"),
    [
        ("steps.0.radius", "", "not PATH=VALUE", "steps.0.radius=25"),
        ("=5", "", "not PATH=VALUE", "steps.0.radius=25"),
        ("radius=5", "radius", "no section or step 'radius'", "input"),
        ("gausian.sigma=5", "gausian.sigma", "'gausian'", "gaussian"),
        ("subtract_minimum.size=5", "subtract_minimum.size", "no step is called", "steps.1 is gaussian"),
        ("steps.2.radius=5", "steps.2.radius", "no step '2'", "steps.0 is white_tophat, steps.1 is gaussian"),
        ("steps.-1.radius=5", "steps.-1.radius", "no step '-1'", "steps.0 is white_tophat"),
        ("steps.0.radius.y=5", "steps.0.radius.y", "steps.0.radius is 25", "as a whole"),
        ("white_tophat.radus=5", "steps.0.radus", "no such key", "radius"),
        ("white_tophat.radius=-5", "steps.0.radius", "-5 px is below 1 px", "1 px or more"),
        ("white_tophat.radius='5'", "steps.0.radius", "'5'", "without quotes"),
        ("white_tophat.radius=", "white_tophat.radius", "has no value", "null"),
        ("gaussian.sigma=null", "steps.1.sigma", "has no value", "such as 1.5"),
        ("gaussian.sigma=[1", "gaussian.sigma", "not YAML", "close it"),
        ("gaussian.sigma=*a", "gaussian.sigma", "alias", "quote"),
        ("compute.memory=4 giraffes", "compute.memory", "'giraffes'", "GiB"),
        ("input=5", "input", "5 is not a mapping", "path"),
    ],
)
def test_a_wrong_change_is_told_with_its_text(write, change, field, message, hint):
    problem = the_problem(write(SHORT), sets=[change])
    assert problem.field == field
    assert message in problem.message
    assert hint in problem.hint
    assert problem.line is None
    assert problem.file == f"--set {change}"


def test_a_step_that_is_there_twice_must_be_said_by_number(write):
    path = write(SHORT.replace("gaussian: {sigma: 2}", "white_tophat: {radius: 3}"))
    problem = the_problem(path, sets=["white_tophat.radius=5"])
    assert "2 steps are called white_tophat" in problem.message
    assert "steps.0.radius or steps.1.radius" in problem.hint


def test_input_and_output_stand_in_for_sections_that_are_missing(write):
    config = load_config(write("steps: [{gaussian: {sigma: 1}}]"), input="/a.tif", output="/b.zarr")
    assert (config.input.path, config.output.path) == ("/a.tif", "/b.zarr")
    problem = the_problem(write(SHORT), input="${NOT_SET_HERE}")
    assert (problem.file, problem.field) == ("--input", "input.path")


def test_an_error_found_later_gets_the_place_of_its_field(write):
    path = write(FULL)
    config = load_config(path, sets=["steps.0.radius=5"], output="/c.zarr")

    def place(field):
        (problem,) = config.locate(RequestError("no", "mend it", field)).problems
        return problem.file, problem.line, problem.column

    text = str(path)
    assert place("steps.1.high_sigma") == (text, 11, 45)
    assert place("steps.2.sigma.y") == (text, 13, 21)
    assert place("steps.2.truncate") == (text, 12, 5)
    assert place("input.select.c") == (text, 5, 22)
    assert place("input.select.c.1") == (text, 5, 31)
    assert place("output.overflow") == (text, 19, 3)
    assert place("steps.0.radius") == ("--set steps.0.radius=5", None, None)
    assert place("output.path") == ("--output", None, None)
    assert place("nowhere") == (text, None, None)
    assert place("") == ("", None, None)


def test_locating_keeps_the_kind_of_an_error_and_what_has_a_place(write):
    config = load_config(write(SHORT))
    error = config.locate(DataError("NaN in block 3", field="input.nan"))
    assert type(error) is DataError
    assert error.problems[0].line == 1
    assert config.locate(error).problems == error.problems
