"""What `bgone steps` and `bgone schema` print: every step and every field, as a config takes them."""

import json
import re

import pytest
from config_texts import FULL, SHORT
from ruamel.yaml import YAML

from pipeline.config.load import load_config
from pipeline.config.schema import config_schema, describe_step, list_steps
from pipeline.config.sections import SECTIONS
from pipeline.model.errors import RequestError
from pipeline.steps.registry import REGISTRY

SCHEMA = config_schema()
KINDS = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
    "null": type(None),
}  # fmt: skip


def accepts(schema, value):
    """Return whether a value fits a schema: as much of JSON schema as ours uses, and no more."""
    return all(CHECKS[key](said, value, schema) for key, said in schema.items() if key not in WORDS)


def of_kind(kinds, value, _):
    kinds = [kinds] if isinstance(kinds, str) else kinds
    plain = not isinstance(value, bool)
    return any(isinstance(value, KINDS[kind]) and (plain or kind == "boolean") for kind in kinds)


def properties_fit(properties, value, _):
    return not isinstance(value, dict) or all(
        accepts(properties[key], item) for key, item in value.items() if key in properties
    )


def others_fit(said, value, schema):
    others = {key: item for key, item in value.items() if key not in schema.get("properties", {})}
    return not others if said is False else all(accepts(said, item) for item in others.values())


def number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


WORDS = {"$schema", "title", "description", "default", "examples", "defaultSnippets"}
CHECKS = {
    "type": of_kind,
    "enum": lambda said, value, _: any(value == each and type(value) is type(each) for each in said),
    "anyOf": lambda said, value, _: any(accepts(each, value) for each in said),
    "pattern": lambda said, value, _: not isinstance(value, str) or re.search(said, value) is not None,
    "minimum": lambda said, value, _: not number(value) or value >= said,
    "maximum": lambda said, value, _: not number(value) or value <= said,
    "exclusiveMinimum": lambda said, value, _: not number(value) or value > said,
    "minItems": lambda said, value, _: not isinstance(value, list) or len(value) >= said,
    "items": lambda said, value, _: not isinstance(value, list) or all(accepts(said, item) for item in value),
    "required": lambda said, value, _: not isinstance(value, dict) or set(said) <= set(value),
    "minProperties": lambda said, value, _: not isinstance(value, dict) or len(value) >= said,
    "maxProperties": lambda said, value, _: not isinstance(value, dict) or len(value) <= said,
    "properties": properties_fit,
    "additionalProperties": lambda said, value, schema: (
        not isinstance(value, dict) or others_fit(said, value, schema)
    ),
}


def loaded(text):
    return YAML(typ="safe", pure=True).load(text)


@pytest.mark.parametrize("text", [FULL, SHORT], ids=["full", "short"])
def test_the_schema_takes_what_a_config_takes(text):
    assert accepts(SCHEMA, loaded(text))


def without(data, *path):
    inside = data
    for key in path[:-1]:
        inside = inside[key]
    del inside[path[-1]]
    return data


def with_(data, value, *path):
    inside = data
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("inptu",), {}), (("input", "lvel"), 1), (("input", "level"), -1), (("input", "level"), "1"),
        (("input", "scale"), {"y": 0.3}), (("input", "scale"), {"q": "1 um"}),
        (("input", "scale"), {"c": "1 um"}),
        (("input", "select"), {"t": "GFP"}), (("input", "select"), {"t": []}), (("input", "nan"), "refuze"),
        (("steps",), []), (("steps",), {}), (("steps", 0), "gaussian"),
        (("steps", 0), {"gausian": {"sigma": 1}}),
        (("steps", 0), {"gaussian": {}}), (("steps", 0), {"gaussian": {"sigma": 1, "trunc": 2}}),
        (("steps", 0), {"gaussian": {"sigma": "3"}}),
        (("steps", 0), {"gaussian": {"sigma": 1, "mode": "wrap"}}),
        (("steps", 0), {"gaussian": {"sigma": 1}, "white_tophat": {"radius": 3}}),
        (("output", "dtype"), "uint61"), (("output", "chunks"), {"y": 0}), (("output", "chunks"), {"q": 1}),
        (("output", "chunks"), 5), (("output", "version"), "0.3"), (("output", "checksum"), "md5"),
        (("output", "pyramid"), "yes"), (("output", "max_clipped"), 5), (("compute", "memory"), 8),
        (("compute", "memory"), "lots"), (("compute", "workers"), 0), (("compute", "cluster"), "thread"),
        (("compute", "cluster"), {"slrum": {}}), (("compute", "block"), {}),
    ],
)  # fmt: skip
def test_the_schema_refuses_what_a_config_refuses(path, value):
    data = with_(loaded(FULL), value, *path)
    with pytest.raises(RequestError):
        load_config(data)
    assert not accepts(SCHEMA, data)


@pytest.mark.parametrize("path", [("input",), ("steps",), ("output",), ("input", "path"), ("output", "path")])
def test_the_schema_asks_for_what_a_config_needs(path):
    assert not accepts(SCHEMA, without(loaded(FULL), *path))


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_the_schema_knows_every_step_and_takes_its_examples(name):
    for parameters in REGISTRY[name].examples:
        assert accepts(SCHEMA, with_(loaded(SHORT), [{name: dict(parameters)}], "steps"))
    (entry,) = (
        each for each in SCHEMA["properties"]["steps"]["items"]["anyOf"] if name in each["properties"]
    )
    assert set(entry["properties"][name]["properties"]) == set(REGISTRY[name].model_fields)


def test_every_field_has_its_description_and_its_examples_fit():
    models = {name: SCHEMA["properties"][name] for name in SECTIONS}
    for entry in SCHEMA["properties"]["steps"]["items"]["anyOf"]:
        models |= entry["properties"]
    assert set(models) == {*SECTIONS, *REGISTRY}
    for name, model in models.items():
        assert model["description"]
        for field, entry in model["properties"].items():
            assert entry.get("description"), f"{name}.{field} is not described in the docstring"
            assert all(accepts(entry, example) for example in entry.get("examples", []))
            assert "default" not in entry or accepts(entry, entry["default"])


def test_the_schema_is_json_without_references():
    text = json.dumps(SCHEMA)
    assert "$ref" not in text
    assert json.loads(text) == SCHEMA


def test_the_list_has_every_step_with_a_line():
    lines = list_steps().splitlines()
    for name in REGISTRY:
        (line,) = (line for line in lines if line.split(maxsplit=1)[:1] == [name])
        assert len(line.split()) > 3


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_a_step_is_explained_with_its_parameters_and_examples_that_load(name):
    text = describe_step(name)
    for field in REGISTRY[name].model_fields:
        assert re.search(rf"^[\w, ]*\b{field}\b[\w, ]* : ", text, re.MULTILINE), f"{field} is not explained"
    steps = text[text.index("\nsteps:\n") :].partition("\nLeft out")[0]
    data = loaded("input: {path: a.tif}\noutput: {path: b.zarr}" + steps)
    assert len(load_config(data).steps) == len(REGISTRY[name].examples)


def test_an_unknown_step_is_told_with_the_nearest():
    with pytest.raises(RequestError, match="did you mean white_tophat"):
        describe_step("white_top_hat")
    with pytest.raises(RequestError, match="use one of black_tophat"):
        describe_step("")
