"""`--set PATH=VALUE`: a change to a config, any path in it."""

from __future__ import annotations

from typing import Any

from pipeline.complaints import nearest
from pipeline.errors import Problem
from pipeline.settings import ComputeConfig, InputConfig, OutputConfig
from pipeline.step import REGISTRY
from pipeline.yaml_lines import parse_yaml

_TOP = {"input": InputConfig, "output": OutputConfig, "compute": ComputeConfig}


def apply_sets(data: dict[str, Any], sets: list[str], problems: list[Problem]) -> dict[str, str]:
    """Change plain data in place, and return the dotted fields that were changed → the text of the change.

    What is wrong with a change is added to `problems`.
    """
    touched: dict[str, str] = {}
    for text in sets:
        path, equals, value = text.partition("=")
        if not equals or not path.strip():
            problems.append(
                Problem("is not PATH=VALUE", "write it like steps.0.radius=25", file=f"--set {text}")
            )
            continue
        document = parse_yaml(value)
        if document.problems:
            problems.append(Problem(document.problems[0].what, "quote the value", path, f"--set {text}"))
            continue
        field = _apply(data, path.strip(), document.data, problems, text)
        if field is not None:
            touched[field] = text
    return touched


def _apply(data: dict[str, Any], path: str, value: Any, problems: list[Problem], text: str) -> str | None:
    first, *rest = path.split(".")
    file = f"--set {text}"
    if first in REGISTRY:
        places = [
            index for index, step in enumerate(_steps(data)) if isinstance(step, dict) and first in step
        ]
        if len(places) != 1:
            what = f"{len(places)} steps are called {first}" if places else f"no step is called {first}"
            mend = (
                f"use {', '.join(f'steps.{index}' for index in places)}"
                if places
                else f"the chain is {_chain(data)}"
            )
            problems.append(Problem(what, mend, path, file))
            return None
        first, rest = "steps", [str(places[0]), *rest]
    if first == "steps":
        return _set_step(data, rest, value, problems, text)
    if first not in _TOP:
        problems.append(Problem(f"there is no {first!r}", nearest(first, (*_TOP, "steps")), path, file))
        return None
    if not rest:
        data[first] = value
        return first
    section = data.setdefault(first, {})
    if section is None:
        section = data[first] = {}
    return _set_inside(section, rest, value, ".".join([first, *rest]), problems, text)


def _set_step(
    data: dict[str, Any], rest: list[str], value: Any, problems: list[Problem], text: str
) -> str | None:
    steps = _steps(data)
    file = f"--set {text}"
    if not rest or not rest[0].isdigit() or int(rest[0]) >= len(steps):
        problems.append(
            Problem("names no step", f"the chain is {_chain(data)}", ".".join(["steps", *rest]), file)
        )
        return None
    index = int(rest[0])
    if len(rest) == 1:
        steps[index] = value
        return f"steps.{index}"
    step = steps[index]
    if not isinstance(step, dict) or len(step) != 1:
        return None  # what is wrong with the step itself is said elsewhere
    ((name, parameters),) = step.items()
    names = rest[2:] if rest[1] == name and len(rest) > 2 else rest[1:]
    if parameters is None:
        parameters = step[name] = {}
    return _set_inside(parameters, names, value, ".".join(["steps", str(index), *names]), problems, text)


def _set_inside(
    inside: Any, names: list[str], value: Any, field: str, problems: list[Problem], text: str
) -> str | None:
    for name in names[:-1]:
        if not isinstance(inside, dict):
            break
        below = inside.get(name)
        if not isinstance(below, dict):
            below = inside[name] = {}
        inside = below
    if not isinstance(inside, dict):
        problems.append(
            Problem(
                "leads into something that is not a mapping", "set the whole of it", field, f"--set {text}"
            )
        )
        return None
    inside[names[-1]] = value
    return field


def _steps(data: dict[str, Any]) -> list[Any]:
    steps = data.get("steps")
    return steps if isinstance(steps, list) else []


def _chain(data: dict[str, Any]) -> str:
    names = [next(iter(step), "?") if isinstance(step, dict) else str(step) for step in _steps(data)]
    return ", ".join(f"steps.{index} {name}" for index, name in enumerate(names)) or "empty"
