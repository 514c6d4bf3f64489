"""A config: YAML → `RunConfig`, with every mistake at once and where it stands."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from pipeline.config.chain import example, parse_chain
from pipeline.config.compute_types import is_scheduler_file
from pipeline.config.overrides import apply_sets
from pipeline.config.sections import PATHS, SECTIONS, ComputeConfig, InputConfig, OutputConfig
from pipeline.config.what_is import instead_of_a_config, read_some
from pipeline.config.yaml import DEEPEST, dotted, parse_yaml
from pipeline.model.errors import PipelineError, Problem, RequestError
from pipeline.model.messages import complaints, joined, nearest, shown
from pipeline.model.paths import folder_of, is_url, output_problem, resolve_path
from pipeline.model.text import readable
from pipeline.steps.registry import REGISTRY
from pipeline.steps.step import Step

LARGEST = 2**20
"""Bytes of a config; what is larger is something else."""

_TOP = ("input", "steps", "output", "compute")


@dataclass(frozen=True)
class Place:
    """Where a field was written: a file with line and column, or an option of the command line."""

    file: str
    line: int | None = None
    column: int | None = None


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
    marks : mapping of str to Place
        Dotted field → where it was written.
    """

    input: InputConfig
    steps: tuple[Step, ...]
    output: OutputConfig
    compute: ComputeConfig
    file: str = field(default="", compare=False)
    marks: Mapping[str, Place] = field(default_factory=dict, compare=False, repr=False)

    def locate(self, error: PipelineError) -> PipelineError:
        """Return an error with the file and line of each field that it is about."""
        return type(error)(located(problem, self.file, self.marks) for problem in error.problems)

    def resolved(self) -> dict[str, Any]:
        """Return it as plain data, as YAML and JSON have it, with defaults filled in."""
        steps = [{step.name: step.model_dump(mode="json", exclude_none=True)} for step in self.steps]
        return {
            "input": self.input.model_dump(mode="json"),
            "steps": steps,
            "output": self.output.model_dump(mode="json"),
            "compute": self.compute.model_dump(mode="json"),
        }

    def to_yaml(self) -> str:
        """Return it as a YAML text that loads as the same config."""
        plain = self.resolved()
        for name in SECTIONS:
            plain[name] = {key: value for key, value in plain[name].items() if value is not None}
        stream = io.StringIO()
        yaml: Any = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.sort_base_mapping_type_on_output = False
        yaml.dump(plain, stream)
        return stream.getvalue()


def located(problem: Problem, file: str, marks: Mapping[str, Place]) -> Problem:
    """Return a problem with the place of its field, or of the nearest part of the config around it."""
    if problem.file or not problem.field:
        return problem
    parts = problem.field.split(".")
    while parts:
        place = marks.get(".".join(parts))
        if place is not None:
            return replace(problem, file=place.file, line=place.line, column=place.column)
        parts.pop()
    return replace(problem, file=file)


@dataclass
class _Draft:
    """A config on its way: plain data, where each field was written, what is wrong so far."""

    data: dict[str, Any]
    file: str
    folder: Path
    marks: dict[str, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    spoiled: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)

    def change(self, name: str, said: str) -> None:
        """Note that a field was given on the command line."""
        self.marks = {each: place for each, place in self.marks.items() if not _within(each, name)}
        self.spoiled = {each for each in self.spoiled if not _within(each, name)}
        self.marks[name] = Place(said)
        self.changed.add(name)

    def add(self, problems: Iterable[Problem]) -> None:
        """Add problems with their places, but not what follows from one that is there already."""
        for problem in problems:
            if not any(_within(problem.field, each) for each in self.spoiled):
                self.problems.append(located(problem, self.file, self.marks))


def load_config(
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    sets: Iterable[str] = (),
    input: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
) -> RunConfig:
    """Read a config.

    Parameters
    ----------
    source : path or mapping
        A YAML file, whose paths are relative to its folder; or the same as plain data, whose
        paths are relative to the current folder. Steps of a mapping may be `Step`s.
    sets : iterable of str
        Changes, each PATH=VALUE: steps.0.radius=25, white_tophat.radius=25, compute.memory=8 GiB.
    input, output : path, optional
        Instead of the config's; relative to the current folder, like paths in `sets`.

    Raises
    ------
    RequestError
        Every mistake in it, each with its file, line and column.
    """
    if not isinstance(source, str | os.PathLike | Mapping):
        raise RequestError(f"a {type(source).__name__} is no config", "give a YAML file or a dict")
    draft = _from_data(source) if isinstance(source, Mapping) else _from_file(os.fspath(source))
    _put_path(draft, "input", input)
    _put_path(draft, "output", output)
    for name, said in apply_sets(draft.data, sets, draft.problems).items():
        draft.change(name, said)
    _fill_paths(draft)
    sections = _sections(draft)
    draft.add(_path_problems(sections))
    steps, problems = parse_chain(draft.data.get("steps"))
    draft.add(problems)
    if draft.problems:
        raise RequestError(sorted(draft.problems, key=_order))
    return RunConfig(
        sections["input"], steps, sections["output"], sections["compute"], draft.file, draft.marks
    )


def _within(name: str, outer: str) -> bool:
    return name == outer or name.startswith(f"{outer}.")


def _order(problem: Problem) -> tuple[bool, int, int]:
    return problem.line is None, problem.line or 0, problem.column or 0


def _from_file(file: str) -> _Draft:
    document = parse_yaml(_read(file), file)
    if not isinstance(document.data, dict):
        what = "is empty" if document.data is None else f"{shown(document.data)} is not a config"
        missing = Problem(what, "write input:, steps: and output:", file=file, line=1)
        raise RequestError(document.problems or [missing])
    marks = {
        _field(path): Place(file, mark.line, mark.column) for path, mark in document.marks.items() if path
    }
    spoiled = {_field(path) for path in document.spoiled}
    problems = [
        replace(problem, field=_named(problem.field)) if problem.field else problem
        for problem in document.problems
    ]
    return _Draft(document.data, file, folder_of(file), marks, problems, spoiled)


def _field(path: tuple[str | int, ...]) -> str:
    """Return a path in a config as errors name it, without the step's name: steps.0.radius."""
    return dotted(path[:2] + path[3:] if path[:1] == ("steps",) and len(path) > 3 else path)


def _named(field: str) -> str:
    """Return the field of a mistake in YAML as errors name it; that of a whole step is its number."""
    path = tuple(field.split("."))
    return ".".join(path[:2]) if path[0] == "steps" and len(path) == 3 else _field(path)


def _read(file: str) -> str:
    what, mend = ("", "") if "\0" in file else instead_of_a_config(file)
    if what:
        raise RequestError([Problem(what, mend, file=file if file.isprintable() else readable(file))])
    mend = "name a YAML file; the image stands in it as input.path"
    try:
        content = read_some(file, LARGEST + 1)
        if len(content) > LARGEST:
            raise RequestError([Problem("is larger than any config", mend, file=file)])
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        mend = f"save it as UTF-8, or {mend}"
        raise RequestError([Problem("is not UTF-8 text", mend, file=file, line=line)]) from None
    except (OSError, ValueError) as error:
        # ValueError: a NUL character in the name.
        said = getattr(error, "strerror", None) or error
        raise RequestError(
            [Problem(f"cannot be read: {said}", "check its name and permissions", file=readable(file))]
        ) from None


def _from_data(source: Mapping[str, Any]) -> _Draft:
    return _Draft(_plain(source), "", Path.cwd())


def _plain(source: Any, depth: int = 0) -> Any:
    """Return what Python code gives as the plain data that YAML gives."""
    if depth > DEEPEST:
        raise RequestError(f"is nested deeper than {DEEPEST} levels", "a config has no such depth")
    if isinstance(source, Mapping):
        return {str(key): _plain(value, depth + 1) for key, value in source.items()}
    if isinstance(source, list | tuple):
        return [_plain(value, depth + 1) for value in source]
    if isinstance(source, Step):
        return {source.name: source.model_dump(mode="json", exclude_none=True)}
    if isinstance(source, np.generic):
        return source.item()
    return os.fspath(source) if isinstance(source, os.PathLike) else source


def _put_path(draft: _Draft, section: str, path: str | os.PathLike[str] | None) -> None:
    if path is None:
        return
    # A section that the config lacks comes with its path.
    part = draft.data.get(section)
    part = draft.data[section] = {} if part is None else part
    if isinstance(part, dict):
        part["path"] = os.fspath(path)
        draft.change(f"{section}.path", f"--{section}")


def _fill_paths(draft: _Draft) -> None:
    """Make the paths absolute, each from the folder that it is relative to."""
    for name in PATHS:
        section, key = name.split(".")
        part = draft.data.get(section)
        path = part.get(key) if isinstance(part, dict) else None
        if part is None or not isinstance(path, str) or not path.strip() or "\0" in path:
            continue
        if name == "compute.cluster" and not is_scheduler_file(path):
            continue
        typed = any(_within(name, each) for each in draft.changed)
        try:
            part[key] = resolve_path(path, Path.cwd() if typed else draft.folder)
        except PipelineError as error:
            draft.add(error.under(name).problems)
            draft.spoiled.add(name)


def _sections(draft: _Draft) -> dict[str, Any]:
    draft.add(
        Problem("there is no such section", _belongs(key), readable(key))
        for key in draft.data
        if key not in _TOP
    )
    sections: dict[str, Any] = {}
    for name, model in SECTIONS.items():
        given = draft.data.get(name)
        if given is None and name == "compute":
            given = {}
        if given is None:
            what = "has nothing in it" if name in draft.data else "is missing"
            draft.add([Problem(what, f"add {name}: with a path in it", name)])
        elif not isinstance(given, dict):
            draft.add([Problem(f"{shown(given)} is not a mapping", _as_mapping(name, given), name)])
        else:
            sections[name], problems = complaints(model, given, name)
            draft.add(problems)
    return sections


def _path_problems(sections: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with where the outputs go, as far as paths alone show it."""
    input, output = sections.get("input"), sections.get("output")
    held = {} if input is None else {_real(input.path): "input.path"}
    problems = []
    for name in () if output is None else ("path", "background"):
        path = getattr(output, name)
        if path is None:
            continue
        if other := held.get(_real(path)):
            problems.append(Problem(f"is the same as {other}", "write somewhere else", f"output.{name}"))
        elif problem := output_problem(path):
            problems.append(replace(problem, field=f"output.{name}"))
        held.setdefault(_real(path), f"output.{name}")
    if output is not None and output.work is not None and is_url(output.work):
        what = f"{output.work} is a URL, and an unfinished run lives in a folder"
        problems.append(Problem(what, "name a folder", "output.work"))
    return problems


def _belongs(key: str) -> str:
    """Return the mend for an unknown section: where such a key belongs."""
    word = joined(key, _TOP)
    inside = [f"{name}:" for name, model in SECTIONS.items() if key in model.model_fields]
    if word or not (inside or key in REGISTRY):
        return word or nearest(key, _TOP)
    if key in REGISTRY:
        return f"write it below steps: with a dash: {example(key)}"
    return f"write it below {' or '.join(inside)}, indented"


def _as_mapping(name: str, given: Any) -> str:
    """Return the mend for a section that is none."""
    fields = SECTIONS[name].model_fields
    if joined(given, fields):
        return joined(given, fields)
    if isinstance(given, str) and "path" in fields and given.strip():
        return f"write {name}: {{path: {readable(given)}}}"
    return f"write {'path: …' if 'path' in fields else 'KEY: VALUE'} below {name}:, indented"


def _real(path: str) -> str:
    return path.rstrip("/") if is_url(path) else os.path.realpath(path)
