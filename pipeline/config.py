"""A config: YAML → `RunConfig`, with every mistake at once and where it stands."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

import pipeline.steps  # noqa: F401  # fills the registry
from pipeline.complaints import complaints, nearest
from pipeline.errors import PipelineError, Problem, RequestError
from pipeline.overrides import apply_sets
from pipeline.paths import resolve_path
from pipeline.settings import ComputeConfig, InputConfig, OutputConfig
from pipeline.step import REGISTRY, Step
from pipeline.yaml_lines import Document, dotted, parse_yaml

SECTIONS = {"input": InputConfig, "output": OutputConfig, "compute": ComputeConfig}
_TOP = ("input", "steps", "output", "compute")


@dataclass(frozen=True)
class RunConfig:
    """All that a run was asked for, checked as far as that goes without the data.

    Parameters
    ----------
    input, output, compute
        The sections; paths are absolute.
    steps : tuple of Step
        The chain, not yet resolved.
    file : str
        Where it came from, or empty.
    marks : mapping of str to (str, int, int)
        Dotted field → file, line, column.
    """

    input: InputConfig
    steps: tuple[Step, ...]
    output: OutputConfig
    compute: ComputeConfig
    file: str = ""
    marks: Mapping[str, tuple[str, int, int]] | None = None

    def locate(self, error: PipelineError) -> PipelineError:
        """Return an error with the file and line of each field that it is about."""
        return type(error)(_located(problem, self.file, self.marks or {}) for problem in error.problems)

    def resolved(self) -> dict[str, Any]:
        """Return it as plain data, defaults filled in."""
        plain = {name: getattr(self, name).model_dump(mode="json") for name in SECTIONS}
        steps = [{step.name: step.model_dump(mode="json", exclude_none=True)} for step in self.steps]
        return {
            "input": plain["input"],
            "steps": steps,
            "output": plain["output"],
            "compute": plain["compute"],
        }

    def to_yaml(self) -> str:
        """Return it as a YAML text that loads as the same config."""
        plain = self.resolved()
        for name in SECTIONS:
            plain[name] = {key: value for key, value in plain[name].items() if value is not None}
        stream = io.StringIO()
        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.sort_base_mapping_type_on_output = False
        yaml.dump(plain, stream)
        return stream.getvalue()


def _located(problem: Problem, file: str, marks: Mapping[str, tuple[str, int, int]]) -> Problem:
    if problem.line is not None:
        return problem
    parts = problem.field.split(".")
    while parts:
        place = marks.get(".".join(parts))
        if place is not None:
            return replace(problem, file=place[0], line=place[1] or None, column=place[2] or None)
        parts.pop()
    return replace(problem, file=file) if file and not problem.file else problem


def load_config(
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    sets: Iterable[str] = (),
    input: str | None = None,
    output: str | None = None,
) -> RunConfig:
    """Read a config.

    Parameters
    ----------
    source : path or mapping
        A YAML file, or the same as plain data.
    sets : iterable of str
        Changes, each PATH=VALUE.
    input, output : str, optional
        Paths instead of the config's, relative to the current folder.

    Raises
    ------
    RequestError
        Every mistake in it, each with its file, line and column.
    """
    if isinstance(source, Mapping):
        file, document = "", Document(data=_plain(source))
        base = Path.cwd()
    else:
        file = os.fspath(source)
        document = parse_yaml(_read(file), file)
        base = Path(file).resolve().parent
    marks = {_field(path): (file, mark.line, mark.column) for path, mark in document.marks.items()}
    problems = list(document.problems)
    if document.data is None and not problems:
        raise RequestError([Problem("is empty", "write input, steps and output", file=file, line=1)])
    if problems and document.data is None:
        raise RequestError(problems)
    data = document.data
    if not isinstance(data, dict):
        raise RequestError(
            [Problem("is not a mapping", "write input:, steps: and output:", file=file, line=1)]
        )
    bases = {"input.path": base, "output.path": base, "output.work": base, "output.background": base}
    for section, given in (("input", input), ("output", output)):
        if given is not None:
            # A section that the file lacks altogether comes with the path.
            part = data.setdefault(section, {})
            if isinstance(part, dict):
                part["path"] = given
                bases[f"{section}.path"] = Path.cwd()
                marks[f"{section}.path"] = (f"--{section}", 0, 0)
    touched = apply_sets(data, list(sets), problems)
    for field, text in touched.items():
        marks = {name: mark for name, mark in marks.items() if not f"{name}.".startswith(f"{field}.")}
        marks[field] = (f"--set {text}", 0, 0)
        bases = {name: Path.cwd() if name == field else folder for name, folder in bases.items()}
    sections, steps, found = _validate(data)
    problems += [_located(problem, file, marks) for problem in found]
    if problems:
        raise RequestError(sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0)))
    sections, found = _absolute(sections, bases)
    if found:
        raise RequestError(_located(problem, file, marks) for problem in found)
    return RunConfig(sections["input"], tuple(steps), sections["output"], sections["compute"], file, marks)


def _field(path: tuple[str | int, ...]) -> str:
    """Return a path in a config without the step's name: steps.0.radius."""
    return dotted(path[:2] + path[3:] if path[:1] == ("steps",) and len(path) > 3 else path)


def _plain(source: Any) -> Any:
    if isinstance(source, Mapping):
        return {str(key): _plain(value) for key, value in source.items()}
    if isinstance(source, list | tuple):
        return [_plain(value) for value in source]
    if isinstance(source, Step):
        return {source.name: source.model_dump(mode="json", exclude_none=True)}
    return os.fspath(source) if isinstance(source, os.PathLike) else source


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RequestError([Problem("there is no such config", "name a YAML file", file=file)]) from None
    except IsADirectoryError:
        raise RequestError([Problem("is a folder", "name a YAML file in it", file=file)]) from None
    except UnicodeDecodeError as error:
        raise RequestError(
            [Problem(f"is not UTF-8 text (byte {error.start})", "save it as UTF-8", file=file, line=1)]
        ) from None
    except OSError as error:
        raise RequestError(
            [Problem(f"cannot be read: {error.strerror}", "give read permission to it", file=file)]
        ) from None


def _validate(data: dict[str, Any]) -> tuple[dict[str, Any], list[Step], list[Problem]]:
    problems = []
    for key in data:
        if key not in _TOP:
            problems.append(Problem(f"there is no key {key!r}", nearest(key, _TOP), key))
    sections: dict[str, Any] = {}
    for name, model in SECTIONS.items():
        given = data.get(name, {} if name == "compute" else None)
        if name == "compute" and given is None:
            given = {}
        if given is None:
            problems.append(Problem("is missing", f"add {name}: with a path", name))
        elif not isinstance(given, dict):
            problems.append(Problem(f"{given!r} is not a mapping", "write its keys below it, indented", name))
        else:
            sections[name], found = complaints(model, given, name)
            problems += found
    steps, found = _steps(data.get("steps"))
    return sections, steps, problems + found


def _steps(given: Any) -> tuple[list[Step], list[Problem]]:
    example = "add steps: with, for instance, - white_tophat: {radius: 25}"
    if given is None or given == []:
        return [], [Problem("is missing" if given is None else "is empty", example, "steps")]
    if not isinstance(given, list):
        return [], [
            Problem("is not a list", "begin each step with a dash: - white_tophat: {radius: 25}", "steps")
        ]
    steps, problems = [], []
    for index, item in enumerate(given):
        step, found = _step(item, f"steps.{index}")
        problems += found
        if step is not None:
            steps.append(step)
    return steps, problems


def _step(item: Any, field: str) -> tuple[Step | None, list[Problem]]:
    if isinstance(item, str) and item in REGISTRY:
        item = {item: None}
    if not isinstance(item, dict) or len(item) != 1:
        what = (
            f"{item!r} is not a step"
            if not isinstance(item, dict)
            else f"has {len(item)} keys and a step has one"
        )
        if isinstance(item, str):
            what = f"there is no step {item!r}"
            return None, [Problem(what, nearest(item, tuple(REGISTRY)), field)]
        return None, [Problem(what, "write - NAME: {…}, its parameters inside the braces", field)]
    ((name, parameters),) = item.items()
    if name not in REGISTRY:
        return None, [Problem(f"there is no step {name!r}", nearest(name, tuple(REGISTRY)), field)]
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        return None, [Problem(f"{parameters!r} is not a mapping", f"write {name}: {{…}}", field)]
    return complaints(REGISTRY[name], parameters, field)


def _absolute(sections: dict[str, Any], bases: Mapping[str, Path]) -> tuple[dict[str, Any], list[Problem]]:
    problems: list[Problem] = []
    changed = dict(sections)
    for field, base in bases.items():
        section, key = field.split(".")
        given = getattr(sections[section], key)
        if given is None:
            continue
        try:
            path = resolve_path(given, base)
        except PipelineError as error:
            problems.extend(error.under(field).problems)
            continue
        changed[section] = changed[section].model_copy(update={key: path})
    return changed, problems
