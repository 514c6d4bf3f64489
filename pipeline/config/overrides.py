"""`--set PATH=VALUE`: a change to a config, any path in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline.config.sections import PATHS, SECTIONS
from pipeline.config.yaml import parse_yaml
from pipeline.model.errors import PipelineError, Problem, RequestError
from pipeline.model.messages import nearest, shown
from pipeline.model.text import readable
from pipeline.steps.registry import REGISTRY


def apply_sets(data: dict[str, Any], sets: Iterable[str], problems: list[Problem]) -> dict[str, str]:
    """Change plain data in place.

    Parameters
    ----------
    data : dict
        The config.
    sets : iterable of str
        PATH=VALUE each; the value is YAML, but that of a path, which is taken as it stands.
    problems : list of Problem
        What is wrong with a change is added here.

    Returns
    -------
    dict of str to str
        The dotted fields that were changed → what the user wrote.
    """
    touched: dict[str, str] = {}
    for text in sets:
        said = f"--set {readable(text)}"
        try:
            touched[_apply(data, text)] = said
        except PipelineError as error:
            problems += [Problem(each.what, each.mend, readable(each.field), said) for each in error.problems]
    return touched


def _apply(data: dict[str, Any], text: str) -> str:
    path, equals, value = text.partition("=")
    path = path.strip()
    if not equals or not path:
        raise RequestError("is not PATH=VALUE", "write it like steps.0.radius=25")
    if not value.strip():
        raise RequestError("has no value", "write one after the =, or null for the default", path)
    names = _names(data, path)
    _put(data, names, _value(value, path, ".".join(names)), path)
    return ".".join(_shortened(names))


def _value(text: str, path: str, field: str) -> Any:
    quoted = text[:1] in ("'", '"') and text[:1] == text[-1:]
    if field in PATHS and field != "compute.cluster" and text != "null" and not quoted:
        # As the shell has it: a * or a ': ' in a path is nothing of YAML's.
        return text
    document = parse_yaml(text)
    if document.problems:
        first = document.problems[0]
        raise RequestError(f"the value {first.what}", first.mend, path)
    return document.data


def _names(data: dict[str, Any], path: str) -> list[str]:
    """Return the keys on the way to what a path names."""
    first, *rest = path.split(".")
    if first in REGISTRY or (first not in ("steps", *SECTIONS) and first in _chain(data)):
        places = [index for index, name in enumerate(_chain(data)) if name == first]
        if not places:
            raise RequestError(f"no step is called {first}", _there_is(data), path)
        if len(places) > 1:
            raise RequestError(
                f"{len(places)} steps are called {first}",
                f"say which: {' or '.join('.'.join(['steps', str(at), *rest]) for at in places)}", path,
            )  # fmt: skip
        return ["steps", str(places[0]), first, *rest]
    if first not in ("steps", *SECTIONS):
        mend = nearest(first, (*SECTIONS, "steps", *_chain(data)))
        raise RequestError(f"there is no section or step {shown(first)}", mend, path)
    if first != "steps" or not rest:
        return [first, *rest]
    chain = _chain(data)
    if not rest[0].isdecimal() or int(rest[0][:9]) >= len(chain):
        raise RequestError(f"there is no step {shown(rest[0])}", _there_is(data), path)
    at = int(rest[0])
    if len(rest) == 1:
        return ["steps", str(at)]
    inner = rest[1:] if rest[1] == chain[at] else [chain[at], *rest[1:]]
    return ["steps", str(at), *inner]


def _shortened(names: list[str]) -> list[str]:
    """Return a field as errors name it, without the step's name: steps.0.radius."""
    return names[:2] + names[3:] if names[0] == "steps" else names


def _put(data: dict[str, Any], names: list[str], value: Any, path: str) -> None:
    inside: Any = data
    for position, name in enumerate(names[:-1]):
        if isinstance(inside, list):
            inside = inside[_index(inside, name, path)]
        elif isinstance(inside, dict):
            below = inside.get(name)
            inside[name] = inside = {} if below is None else below
        if not isinstance(inside, dict | list):
            where = ".".join(_shortened(names[: position + 1]))
            raise RequestError(
                f"{where} is {shown(inside)}, which has nothing inside", f"set {where} as a whole", path
            )
    if isinstance(inside, list):
        inside[_index(inside, names[-1], path)] = value
    else:
        inside[names[-1]] = value


def _index(items: list[Any], name: str, path: str) -> int:
    if not name.isdecimal() or int(name[:9]) >= len(items):
        raise RequestError(f"there is no item {shown(name)}", f"count from 0 to {len(items) - 1}", path)
    return int(name)


def _chain(data: dict[str, Any]) -> list[str]:
    """Return the name of each step; an empty one for what is no step."""
    steps = data.get("steps")
    return [_name(step) for step in steps] if isinstance(steps, list) else []


def _name(step: Any) -> str:
    if isinstance(step, dict) and len(step) == 1:
        return str(next(iter(step)))
    return ""


def _there_is(data: dict[str, Any]) -> str:
    chain = [f"steps.{at} is {name or 'no step'}" for at, name in enumerate(_chain(data))]
    return ", ".join(chain) if chain else "the config has no steps"
