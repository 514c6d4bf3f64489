"""`--set PATH=VALUE`, `--input` and `--output`: changes to a config from the command line."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from pipeline.config.document import Document, Keys, Location, enclosing, field_name
from pipeline.config.sections import SECTIONS
from pipeline.config.yaml import parse_yaml
from pipeline.model.errors import Problem, RequestError
from pipeline.model.text import nearest, readable, shown
from pipeline.steps.registry import REGISTRY

# Taken as the shell gives them: a * or a ': ' in a path is not YAML.
PATHS = ("input.path", "output.path", "output.background", "output.work")


def apply_overrides(
    document: Document,
    sets: Iterable[str],
    input: str | os.PathLike[str] | None,
    output: str | os.PathLike[str] | None,
) -> None:
    """Change a document in place; mistakes in a change are added to its problems."""
    options: dict[str, str] = {}
    for name, path in (("input", input), ("output", output)):
        section = document.data.get(name)
        if path is not None and isinstance(section, dict | None):
            document.data[name] = {**(section or {}), "path": os.fspath(path)}
            options[f"{name}.path"] = f"--{name}"
    for text in sets:
        option = f"--set {readable(text)}"
        try:
            options[_set(document.data, text)] = option
        except RequestError as error:
            document.problems += [
                Problem(problem.message, problem.hint, readable(problem.field), option)
                for problem in error.problems
            ]
    for field, option in options.items():
        # What the file says of the field and of what is inside it no longer holds.
        inside = {key for key in {*document.locations, *document.unknown} if field in enclosing(key)}
        document.unknown -= inside
        for key in inside & set(document.locations):
            del document.locations[key]
        document.locations[field] = Location(option)


def _set(data: dict[str, Any], text: str) -> str:
    """Change plain data by a text PATH=VALUE, and return the field as errors name it."""
    path, equals, value = text.partition("=")
    path = path.strip()
    if not equals or not path:
        raise RequestError("is not PATH=VALUE", "write it like steps.0.radius=25")
    if not value.strip():
        raise RequestError("has no value", "write one after the =, or null for the default", path)
    keys = _keys(data.get("steps"), path)
    _put(data, keys, _value(value, path), path)
    return field_name(keys)


def _value(text: str, path: str) -> Any:
    quoted = text[:1] in ("'", '"') and text[:1] == text[-1:]
    if path in PATHS and text != "null" and not quoted:
        return text
    document = parse_yaml(text)
    for problem in document.problems:
        raise RequestError(f"the value {problem.message}", problem.hint, path)
    return document.data


def _keys(steps: object, path: str) -> Keys:
    """Return the keys that lead to a path; a step may be given by its name or its number."""
    first, *rest = path.split(".")
    names = [_step_name(step) for step in steps] if isinstance(steps, list) else []
    if first in SECTIONS or path == "steps":
        return (first, *rest)
    if first != "steps" and first not in REGISTRY and first not in names:
        hint = nearest(first, (*SECTIONS, "steps", *names))
        raise RequestError(f"there is no section or step {shown(first)}", hint, path)
    chain = ", ".join(f"steps.{index} is {name or 'no step'}" for index, name in enumerate(names))
    chain = chain or "the config has no steps"
    if first != "steps":
        indices = [index for index, name in enumerate(names) if name == first]
        if not indices:
            raise RequestError(f"no step is called {first}", chain, path)
        if len(indices) > 1:
            hint = f"say which: {' or '.join('.'.join(['steps', str(index), *rest]) for index in indices)}"
            raise RequestError(f"{len(indices)} steps are called {first}", hint, path)
        return ("steps", indices[0], first, *rest)
    number, *rest = rest
    if not number.isdecimal() or int(number[:9]) >= len(names):
        raise RequestError(f"there is no step {shown(number)}", chain, path)
    name = names[int(number)]
    return ("steps", int(number), *(rest if rest[:1] in ([], [name]) else [name, *rest]))


def _step_name(step: Any) -> str:
    """Return the name of a step, or an empty string for anything else."""
    return str(next(iter(step))) if isinstance(step, dict) and len(step) == 1 else ""


def _put(data: dict[str, Any], keys: Keys, value: Any, path: str) -> None:
    """Set a value inside nested dicts and lists; missing dicts are made."""
    parent: Any = data
    for position, key in enumerate(keys, 1):
        last = position == len(keys)
        if isinstance(parent, list):
            index = str(key)
            if not index.isdecimal() or int(index[:9]) >= len(parent):
                hint = f"count from 0 to {len(parent) - 1}"
                raise RequestError(f"there is no item {shown(index)}", hint, path)
            key = int(index)
        elif parent.get(key) is None:
            parent[key] = {}
        if last:
            parent[key] = value
        parent = parent[key]
        if not last and not isinstance(parent, dict | list):
            name = field_name(keys[:position])
            message = f"{name} is {shown(parent)}, which has nothing inside"
            raise RequestError(message, f"set {name} as a whole", path)
