"""`--set PATH=VALUE`, `--input` and `--output`: changes to a config from the command line."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from pipeline.config.document import Document
from pipeline.config.sections import SECTIONS
from pipeline.config.yaml import field_name, parse_yaml
from pipeline.model.errors import Problem, RequestError
from pipeline.model.text import nearest, readable, shown
from pipeline.steps.registry import REGISTRY

PATHS = ("input.path", "output.path", "output.background", "output.work")
"""Fields whose value is taken as the shell has it: a * or a ': ' in a path is nothing of YAML's."""


def apply_overrides(
    document: Document,
    sets: Iterable[str],
    input: str | os.PathLike[str] | None,
    output: str | os.PathLike[str] | None,
) -> None:
    """Change a document in place; what is wrong with a change is added to its problems.

    Parameters
    ----------
    document : Document
        The config.
    sets : iterable of str
        PATH=VALUE each; the value is YAML, but that of a path, which is taken as it stands.
    input, output : path, optional
        Instead of the config's.
    """
    changed: dict[str, str] = {}
    for name, path in (("input", input), ("output", output)):
        # A section that the config lacks comes with its path.
        section = document.data.get(name)
        if path is not None and isinstance(section, dict | None):
            document.data[name] = {**(section or {}), "path": os.fspath(path)}
            changed[f"{name}.path"] = f"--{name}"
    for text in sets:
        option = f"--set {readable(text)}"
        try:
            changed[_set(document.data, text)] = option
        except RequestError as error:
            document.problems += [
                Problem(problem.what, problem.mend, readable(problem.field), option)
                for problem in error.problems
            ]
    for name, option in changed.items():
        document.change(name, option)


def _set(data: dict[str, Any], text: str) -> str:
    """Change plain data as PATH=VALUE says; return the field as errors name it."""
    path, equals, value = text.partition("=")
    path = path.strip()
    if not equals or not path:
        raise RequestError("is not PATH=VALUE", "write it like steps.0.radius=25")
    if not value.strip():
        raise RequestError("has no value", "write one after the =, or null for the default", path)
    keys = _keys(data, path)
    _put(data, keys, _value(value, path), path)
    return field_name(keys)


def _value(text: str, path: str) -> Any:
    quoted = text[:1] in ("'", '"') and text[:1] == text[-1:]
    if path in PATHS and text != "null" and not quoted:
        return text
    document = parse_yaml(text)
    for problem in document.problems:
        raise RequestError(f"the value {problem.what}", problem.mend, path)
    return document.data


def _keys(data: dict[str, Any], path: str) -> tuple[str | int, ...]:
    """Return the keys on the way to what a path names; a step may be named by its name or its number."""
    first, *rest = path.split(".")
    steps = data.get("steps")
    names = [_name(step) for step in steps] if isinstance(steps, list) else []
    chain = [f"steps.{index} is {name or 'no step'}" for index, name in enumerate(names)]
    there_is = ", ".join(chain) or "the config has no steps"
    if first in SECTIONS or path == "steps":
        return (first, *rest)
    if first != "steps" and first not in REGISTRY and first not in names:
        hint = nearest(first, (*SECTIONS, "steps", *names))
        raise RequestError(f"there is no section or step {shown(first)}", hint, path)
    if first != "steps":
        indices = [index for index, name in enumerate(names) if name == first]
        if not indices:
            raise RequestError(f"no step is called {first}", there_is, path)
        if len(indices) > 1:
            hint = f"say which: {' or '.join('.'.join(['steps', str(index), *rest]) for index in indices)}"
            raise RequestError(f"{len(indices)} steps are called {first}", hint, path)
        return ("steps", indices[0], first, *rest)
    number, *rest = rest
    if not number.isdecimal() or int(number[:9]) >= len(names):
        raise RequestError(f"there is no step {shown(number)}", there_is, path)
    name = names[int(number)]
    return ("steps", int(number), *(rest if rest[:1] in ([], [name]) else [name, *rest]))


def _name(step: Any) -> str:
    """Return the name of a step; an empty one for what is no step."""
    return str(next(iter(step))) if isinstance(step, dict) and len(step) == 1 else ""


def _put(data: dict[str, Any], keys: tuple[str | int, ...], value: Any, path: str) -> None:
    inside: Any = data
    for position, key in enumerate(keys, 1):
        last = position == len(keys)
        if isinstance(inside, list):
            index = str(key)
            if not index.isdecimal() or int(index[:9]) >= len(inside):
                hint = f"count from 0 to {len(inside) - 1}"
                raise RequestError(f"there is no item {shown(index)}", hint, path)
            key = int(index)
        elif inside.get(key) is None:
            inside[key] = {}
        if last:
            inside[key] = value
        inside = inside[key]
        if not last and not isinstance(inside, dict | list):
            name = field_name(keys[:position])
            what = f"{name} is {shown(inside)}, which has nothing inside"
            raise RequestError(what, f"set {name} as a whole", path)
