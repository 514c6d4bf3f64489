"""The steps of a config: a list of {name: parameters} → a tuple of steps."""

from __future__ import annotations

from typing import Any

import pipeline.steps  # noqa: F401  # fills the registry
from pipeline.complaints import complaints, flow, nearest, shown
from pipeline.errors import Problem
from pipeline.step import REGISTRY, Step, snake_case
from pipeline.yaml_lines import readable

EXAMPLE = "- white_tophat: {radius: 25}"


def parse_chain(given: Any) -> tuple[tuple[Step, ...], list[Problem]]:
    """Return the steps of a config, and what is wrong with them.

    Parameters
    ----------
    given : Any
        What stands in the config as `steps`.
    """
    if given is None or given == []:
        what = "is missing" if given is None else "is empty"
        return (), [Problem(what, f"add steps: with, for instance, {EXAMPLE}", "steps")]
    if not isinstance(given, list):
        return (), [Problem("is not a list", f"begin each step with a dash: {EXAMPLE}", "steps")]
    steps: list[Step] = []
    problems: list[Problem] = []
    for index, item in enumerate(given):
        step, found = _parse(item, f"steps.{index}")
        problems += found
        steps += [step] if step is not None else []
    return tuple(steps), problems


def _parse(item: Any, where: str) -> tuple[Step | None, list[Problem]]:
    if isinstance(item, str):
        what = f"{item} has no parameters" if item in REGISTRY else f"there is no step {shown(item)}"
        mend = f"write {example(item)}" if item in REGISTRY else _meant(item)
        return None, [Problem(what, mend, where)]
    if not isinstance(item, dict) or not item:
        return None, [Problem(f"{shown(item)} is not a step", f"write it like {EXAMPLE}", where)]
    if len(item) > 1:
        return None, [_several(item, where)]
    ((name, parameters),) = item.items()
    if name not in REGISTRY:
        return None, [Problem(f"there is no step {shown(name)}", _meant(name), where)]
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        return None, [Problem(f"{shown(parameters)} is not a mapping", f"write {example(name)}", where)]
    return complaints(REGISTRY[name], parameters, where)


def _several(item: dict[str, Any], where: str) -> Problem:
    names = ", ".join(map(readable, item))
    first = next(iter(item))
    if first in REGISTRY and item[first] is None:
        return Problem(f"has {names} in one column", f"indent what belongs to {first} below it", where)
    if all(name in REGISTRY for name in item):
        return Problem(f"has {names} in one step", "begin each of them with a dash", where)
    return Problem(f"has {names} in one step", f"write one name, its parameters below it: {EXAMPLE}", where)


def _meant(name: str) -> str:
    """Return the mend for an unknown step; a class's name or a name with dashes is understood."""
    words = snake_case(name.strip().replace("-", "_").replace(" ", "_"))
    plain = words.replace("__", "_")
    return f"did you mean {plain}?" if plain in REGISTRY else nearest(plain, tuple(REGISTRY))


def example(name: str) -> str:
    """Return a step as a config has it.

    >>> example("gaussian")
    '- gaussian: {sigma: 1.5}'
    """
    return f"- {name}: {flow(REGISTRY[name].examples[0])}"
