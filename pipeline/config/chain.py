"""The steps of a config: makes a tuple of steps of a list of {name: parameters}."""

from __future__ import annotations

from typing import Any

from pipeline.config.synonyms import advice_for
from pipeline.model.errors import Problem
from pipeline.model.messages import validate
from pipeline.model.text import flow, nearest, readable, shown, spacing_hint
from pipeline.steps.registry import REGISTRY, snake_case
from pipeline.steps.step import Step

EXAMPLE_STEP = "- white_tophat: {radius: 25}"
# Keys of other programs' configs for the name of a step, which here is the key itself.
_NAME_KEYS = ("name", "step", "type", "filter", "operation", "op")


def parse_chain(data: Any) -> tuple[tuple[Step, ...], list[Problem]]:
    """Return the steps of a config, and the mistakes in them; `data` is the value of `steps`."""
    if data is None or data == []:
        message = "is missing" if data is None else "is empty"
        return (), [Problem(message, f"add steps: with, for instance, {EXAMPLE_STEP}", "steps")]
    if not isinstance(data, list):
        return (), [Problem("is not a list", _list_hint(data), "steps")]
    parsed = [_parse_step(item, f"steps.{index}") for index, item in enumerate(data)]
    steps = tuple(step for step, _ in parsed if step is not None)
    return steps, [problem for _, problems in parsed for problem in problems]


def _parse_step(data: Any, field: str) -> tuple[Step | None, list[Problem]]:
    if not isinstance(data, dict) or len(data) != 1:
        return None, [Problem(*_malformed(data), field)]
    ((name, parameters),) = data.items()
    if name not in REGISTRY:
        return None, [Problem(f"there is no step {shown(name)}", _name_hint(name), field)]
    if parameters is not None and not isinstance(parameters, dict):
        hint = spacing_hint(parameters, REGISTRY[name].model_fields) or f"write {example(name)}"
        return None, [Problem(f"{shown(parameters)} is not a mapping", hint, field)]
    return validate(REGISTRY[name], parameters or {}, field)


def _malformed(data: Any) -> tuple[str, str]:
    """Return mistake and hint for an item of the list that is no {name: parameters}."""
    if isinstance(data, str) and data in REGISTRY:
        return f"{data} has no parameters", f"write {example(data)}"
    if isinstance(data, str):
        return f"there is no step {shown(data)}", _name_hint(data)
    if not isinstance(data, dict) or not data:
        return f"{shown(data)} is not a step", f"write it like {EXAMPLE_STEP}"
    first, value = next(iter(data.items()))
    names = ", ".join(map(readable, data))
    if first in REGISTRY and value is None:
        return f"has {names} in one column", f"indent what belongs to {first} below it"
    hint = f"write one name, its parameters below it: {EXAMPLE_STEP}"
    if first in _NAME_KEYS and value in tuple(REGISTRY):
        others = {name: other for name, other in data.items() if name != first}
        hint = f"the step's name is the key: - {value}: {flow(others)}"
    elif all(name in REGISTRY for name in data):
        hint = "begin each of them with a dash"
    return f"has {names} in one step", hint


def _list_hint(data: Any) -> str:
    """Return the hint for steps that are no list: dashes are missing, or lack their space."""
    names = list(data) if isinstance(data, dict) else [data]
    unspaced = [name for name in names if isinstance(name, str) and name[:1] == "-" and name[1:2].isalpha()]
    if unspaced:
        return f"put a space after the dash: - {readable(unspaced[0][1:])}"
    return f"begin each step with a dash: {EXAMPLE_STEP}"


def _name_hint(name: str) -> str:
    word, brace, _ = name.partition(" {")
    if brace and word in REGISTRY:
        return f"write a colon after the name: {word}: {{…}}"
    return spacing_hint(name, REGISTRY) or step_hint(word)


def step_hint(name: str) -> str:
    """Return the step to take for a class name, a misspelt name or another program's word.

    >>> step_hint("WhiteTophat"), step_hint("gausian")
    ('did you mean white_tophat?', 'did you mean gaussian?')
    """
    words = snake_case(name.strip().replace("-", "_").replace(" ", "_"))
    plain = words.replace("__", "_")
    if plain in REGISTRY:
        return f"did you mean {plain}?"
    advice = advice_for(name)
    if advice is not None:
        return advice.in_yaml()
    known = tuple(REGISTRY)
    # Steps of other packages that cannot be imported.
    broken = {name: f"{problem.message}; {problem.hint}" for name, problem in REGISTRY.problems.items()}
    if plain in broken:
        return broken[plain]
    return nearest(plain, known, "; ".join([f"use one of {', '.join(known)}", *broken.values()]))


def example(name: str) -> str:
    """Return an example of a step in YAML.

    >>> example("gaussian")
    '- gaussian: {sigma: 1.5}'
    """
    return f"- {name}: {flow(REGISTRY[name].examples[0])}"
