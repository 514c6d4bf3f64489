"""A config before it is checked: plain data, where each field stands, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.model.errors import Problem, RequestError
from pipeline.model.paths import folder_of


@dataclass(frozen=True)
class Location:
    """Where a field was written: a file with line and column, or an option of the command line."""

    file: str
    line: int | None = None
    column: int | None = None


@dataclass
class Document:
    """A config as plain data, with the location of every field and all mistakes so far.

    Attributes
    ----------
    data : Any
        Plain dicts, lists, texts and numbers; None where the text is not YAML.
    file : str
        Where it came from, or empty.
    locations : dict of str to Location
        Where each field stands; that of a key is where its name stands.
    problems : list of Problem
        What is wrong with it.
    unknown : set of str
        Fields whose value is not known because of a problem.
    """

    data: Any = None
    file: str = ""
    locations: dict[str, Location] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)

    def change(self, name: str, option: str) -> None:
        """Note that the field `name` was given by an option of the command line."""
        self.locations = {key: at for key, at in self.locations.items() if name not in enclosing(key)}
        self.unknown = {key for key in self.unknown if name not in enclosing(key)}
        self.locations[name] = Location(option)

    def folder_of(self, section: str, key: str) -> Path:
        """Return the folder that a path in a section is relative to."""
        location = location_of(f"{section}.{key}", self.locations)
        return Path.cwd() if location is not None and location.line is None else folder_of(self.file)

    def refuse(self, problems: Iterable[Problem]) -> None:
        """Raise these problems and those so far, if there are any, in the order of the file.

        What follows from a value that is not known already is left out.

        Raises
        ------
        RequestError
            With the location of each problem.
        """
        new = [
            located(problem, self.file, self.locations)
            for problem in problems
            if self.unknown.isdisjoint(enclosing(problem.field))
        ]
        if new or self.problems:
            raise RequestError(sorted([*self.problems, *new], key=_order))


def _order(problem: Problem) -> tuple[bool, int, int]:
    return problem.line is None, problem.line or 0, problem.column or 0


def enclosing(name: str) -> Iterator[str]:
    """Yield a field and the parts of the config around it, from the inside out.

    >>> list(enclosing("input.scale.y"))
    ['input.scale.y', 'input.scale', 'input']
    """
    while name:
        yield name
        name = name.rpartition(".")[0]


def location_of(name: str, locations: Mapping[str, Location]) -> Location | None:
    """Return the location of a field, or of the nearest part of the config around it."""
    return next((locations[outer] for outer in enclosing(name) if outer in locations), None)


def located(problem: Problem, file: str, locations: Mapping[str, Location]) -> Problem:
    """Return a problem with the location of its field."""
    if problem.file or not problem.field:
        return problem
    location = location_of(problem.field, locations) or Location(file)
    return replace(problem, file=location.file, line=location.line, column=location.column)
