"""What `bgone steps` and `bgone schema` print: the operators, and the schema of a config."""

from __future__ import annotations

import inspect
from typing import Any

import pipeline.steps  # noqa: F401  # fills the registry
from pipeline.complaints import nearest
from pipeline.errors import RequestError
from pipeline.settings import ComputeConfig, InputConfig, OutputConfig
from pipeline.step import REGISTRY, Step


def list_steps() -> str:
    """Return a line for each step: its name and what it does."""
    width = max(map(len, REGISTRY))
    return "\n".join(f"{name:<{width}}  {_first_line(step)}" for name, step in sorted(REGISTRY.items()))


def _first_line(model: type) -> str:
    return (inspect.getdoc(model) or "").partition("\n")[0]


def describe_step(name: str) -> str:
    """Return all about one step: its parameters, what it gives, an example for the YAML.

    Raises
    ------
    RequestError
        There is no such step.
    """
    if name not in REGISTRY:
        raise RequestError(f"there is no step {name!r}", nearest(name, tuple(REGISTRY)))
    step = REGISTRY[name]
    example = ", ".join(f"{key}: {_flow(value)}" for key, value in step.examples[0].items())
    return f"{name}\n\n{inspect.getdoc(step)}\n\nIn a config\n-----------\nsteps:\n  - {name}: {{{example}}}"


def _flow(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {item}" for key, item in value.items()) + "}"
    return str(value)


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of a config, as editors with a YAML language server take it."""
    sections = {"input": InputConfig, "output": OutputConfig, "compute": ComputeConfig}
    steps = [_step_schema(step) for _, step in sorted(REGISTRY.items())]
    properties: dict[str, Any] = {
        name: _described(model.model_json_schema(), model) for name, model in sections.items()
    }
    properties["steps"] = {"type": "array", "minItems": 1, "items": {"oneOf": steps}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "bgone config",
        "type": "object",
        "additionalProperties": False,
        "required": ["input", "steps", "output"],
        "properties": properties,
    }


def _step_schema(step: type[Step]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [step.name],
        "description": _first_line(step),
        "properties": {step.name: _described(step.model_json_schema(), step)},
    }


def _described(schema: dict[str, Any], model: type) -> dict[str, Any]:
    """Return a schema with the docstring's words at each parameter."""
    words = _parameters(inspect.getdoc(model) or "")
    for name, entry in schema.get("properties", {}).items():
        if name in words:
            entry["description"] = words[name]
    schema["description"] = _first_line(model)
    return schema


def _parameters(doc: str) -> dict[str, str]:
    """Return the description of each parameter in a numpydoc text."""
    _, _, rest = doc.partition("Parameters\n----------\n")
    words: dict[str, str] = {}
    names: list[str] = []
    for line in rest.splitlines():
        if line.startswith("---"):
            break
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.partition(" : ")[0].split(",")]
        elif line.strip():
            for name in names:
                words[name] = f"{words.get(name, '')} {line.strip()}".strip()
    return words
