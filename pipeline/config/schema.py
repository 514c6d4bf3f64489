"""Texts of `bgone steps`, and the JSON schema of a config for `bgone schema`."""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from pipeline.config.chain import step_hint
from pipeline.config.sections import SECTIONS
from pipeline.config.yaml import parse_yaml
from pipeline.model.errors import RequestError
from pipeline.model.text import flow, shown
from pipeline.steps.docstrings import described_parameters
from pipeline.steps.registry import REGISTRY
from pipeline.steps.step import Step


def list_steps() -> str:
    """List the steps, one a line, and below them the packages whose steps cannot be imported."""
    width = max(map(len, REGISTRY))
    lines = [
        f"{name:<{width}}  {_summary(step)}{_from(step, ' ({})')}" for name, step in sorted(REGISTRY.items())
    ]
    broken = [str(problem) for problem in REGISTRY.problems.values()]
    return "\n".join(
        [*lines, "", *broken, "bgone steps NAME explains one, with its parameters and an example."]
    )


def _from(step: type[Step], words: str) -> str:
    """Put the package of a step into a text; an empty string for bgone's own."""
    package = REGISTRY.package(step)
    return "" if package is None else words.format(" ".join(package))


def describe_step(name: str) -> str:
    """Describe a step: its docstring, examples and defaults; RequestError if there is none of the name."""
    if name not in REGISTRY:
        raise RequestError(f"there is no step {shown(name)}", step_hint(name))
    step = REGISTRY[name]
    examples = [f"  - {name}: {flow(parameters)}" for parameters in step.examples]
    defaults = flow(_defaults(step))[1:-1]
    return "\n".join(
        [
            name,
            "",
            inspect.getdoc(step) or "",
            _from(step, "\nIt comes with {}.\n"),
            "In a config",
            "-----------",
        ]
        + (["steps:", *examples] if examples else [])
        + ([f"Left out: {defaults}."] if defaults else [])
    )


def _summary(model: type) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join((inspect.getdoc(model) or "").partition("\n\n")[0].split())


def _defaults(step: type[Step]) -> dict[str, Any]:
    fields = step.model_fields.items()
    return {
        name: field.default for name, field in fields if not field.is_required() and field.default is not None
    }


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of a config, for editors with a YAML language server."""
    steps = [_step_schema(step) for _, step in sorted(REGISTRY.items())]
    properties = {name: _model_schema(model) for name, model in SECTIONS.items()}
    properties["steps"] = {
        "type": "array",
        "minItems": 1,
        "description": "The steps, one after the other, each with its parameters.",
        "items": {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "anyOf": steps,
            "defaultSnippets": [
                {"label": name, "description": _summary(step), "body": {name: step.examples[0]}}
                for name, step in sorted(REGISTRY.items())
                if step.examples
            ],
        },
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "bgone config",
        "type": "object",
        "additionalProperties": False,
        "required": ["input", "steps", "output"],
        "properties": {name: properties[name] for name in ("input", "steps", "output", "compute")},
    }


def _step_schema(step: type[Step]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [step.name],
        "description": _summary(step),
        "properties": {step.name: {**_model_schema(step), "examples": list(map(dict, step.examples))}},
    }


class _Schema(GenerateJsonSchema):
    """Leaves out titles and nulls, which mean nothing to a reader."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def nullable_schema(self, schema: Any) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        plain = super().default_schema(schema)
        return {key: value for key, value in plain.items() if key != "default" or value is not None}


def _model_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a model, with the description of each parameter from its docstring."""
    schema = model.model_json_schema(schema_generator=_Schema)
    descriptions = _parameters(inspect.getdoc(model) or "")
    for name, entry in schema.get("properties", {}).items():
        if name in descriptions:
            entry["description"] = descriptions[name]
        # Fields hold their examples as YAML, for messages.
        if "examples" in entry:
            entry["examples"] = [parse_yaml(str(text)).data for text in entry["examples"]]
    del schema["title"]
    return {**schema, "description": _summary(model)}


def _parameters(doc: str) -> dict[str, str]:
    """Return the description of each parameter in a numpydoc text."""
    return {
        name: " ".join(paragraph.partition("\n")[2].split())
        for names, paragraph in described_parameters(doc)
        for name in names
    }
