"""The steps of a config: a list of {name: parameters} → a tuple of steps."""

from __future__ import annotations

from typing import Any

from pipeline.config.other_words import advice_for
from pipeline.model.errors import Problem
from pipeline.model.messages import complaints, flow, joined, nearest, shown
from pipeline.model.text import readable
from pipeline.steps.registry import REGISTRY, snake_case
from pipeline.steps.step import Step

EXAMPLE = "- white_tophat: {radius: 25}"
_CALLED = ("name", "step", "type", "filter", "operation", "op")
"""Keys that other programs' configs have for what ours has as the key itself."""


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
        return (), [Problem("is not a list", _as_list(given), "steps")]
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
        mend = joined(parameters, REGISTRY[name].model_fields) or f"write {example(name)}"
        return None, [Problem(f"{shown(parameters)} is not a mapping", mend, where)]
    return complaints(REGISTRY[name], parameters, where)


def _as_list(given: Any) -> str:
    """Return the mend for steps that are no list: the dashes that are missing, or stand too close."""
    names = list(given) if isinstance(given, dict) else [given]
    close = [name for name in names if isinstance(name, str) and name[:1] == "-" and name[1:2].isalpha()]
    if close:
        return f"put a space after the dash: - {readable(close[0][1:])}"
    return f"begin each step with a dash: {EXAMPLE}"


def _several(item: dict[str, Any], where: str) -> Problem:
    names = ", ".join(map(readable, item))
    first = next(iter(item))
    if first in _CALLED and item[first] in REGISTRY:
        inside = {name: value for name, value in item.items() if name != first}
        return Problem(
            f"has {names} in one step", f"the step's name is the key: - {item[first]}: {flow(inside)}", where
        )
    if first in REGISTRY and item[first] is None:
        return Problem(f"has {names} in one column", f"indent what belongs to {first} below it", where)
    if all(name in REGISTRY for name in item):
        return Problem(f"has {names} in one step", "begin each of them with a dash", where)
    return Problem(f"has {names} in one step", f"write one name, its parameters below it: {EXAMPLE}", where)


def _meant(name: str) -> str:
    """Return the mend for an unknown step: a class's name, other programs' words and slips are understood."""
    word, brace, _ = name.partition(" {")
    if brace and word in REGISTRY:
        return f"write a colon after the name: {word}: {{…}}"
    return joined(name, REGISTRY) or meant(word)


def meant(name: str) -> str:
    """Return the mend for a word that is no step.

    >>> meant("WhiteTophat"), meant("gausian")
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
    wrong = {name: f"{problem.what}; {problem.mend}" for name, problem in REGISTRY.problems.items()}
    if plain in wrong:
        return wrong[plain]
    return nearest(plain, known, "; ".join([f"use one of {', '.join(known)}", *wrong.values()]))


def example(name: str) -> str:
    """Return a step as a config has it.

    >>> example("gaussian")
    '- gaussian: {sigma: 1.5}'
    """
    return f"- {name}: {flow(REGISTRY[name].examples[0])}"
