"""A config before it is checked: plain data, the location of each field, and the mistakes in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.model.errors import Problem, RequestError
from pipeline.model.paths import folder_of
from pipeline.model.text import readable

# The keys and indices that lead to a value; an empty one for a key that is refused.
Keys = tuple[str | int, ...]


@dataclass(frozen=True)
class Location:
    """Where a field was written: a file with line and column, or an option of the command line."""

    file: str
    line: int | None = None
    column: int | None = None


@dataclass
class Document:
    """A config as plain data, with the location of every field and all mistakes so far."""

    data: Any = None  # None where the text is not YAML
    file: str = ""
    locations: dict[str, Location] = field(default_factory=dict)  # of a key: where its name stands
    problems: list[Problem] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)  # fields that a problem leaves without a value

    def folder_of(self, section: str, key: str) -> Path:
        """Return the folder that a path in a section is relative to."""
        location = location_of(f"{section}.{key}", self.locations)
        # Options of the command line have no line; their paths are relative to the shell's folder.
        return Path.cwd() if location is not None and location.line is None else folder_of(self.file)

    def refuse(self, problems: Iterable[Problem]) -> None:
        """Raise RequestError with these problems and those so far, if any, in the order of the file."""
        # What follows from a value that is not known is no mistake of its own.
        new = [
            located(problem, self.file, self.locations)
            for problem in problems
            if self.unknown.isdisjoint(enclosing(problem.field))
        ]
        if new or self.problems:
            raise RequestError(sorted([*self.problems, *new], key=_order))


def _order(problem: Problem) -> tuple[bool, int, int]:
    return problem.line is None, problem.line or 0, problem.column or 0


def field_name(keys: Keys) -> str:
    """Return the name of a field in errors, which leaves out the name of a step.

    >>> field_name(("steps", 0, "white_tophat", "radius"))
    'steps.0.radius'
    """
    in_step = keys[:1] == ("steps",) and len(keys) > 2 and isinstance(keys[1], int)
    return ".".join(map(readable, keys[:2] + keys[3:] if in_step else keys))


def enclosing(name: str) -> Iterator[str]:
    """Yield a field and the fields around it, from the inside out.

    >>> list(enclosing("input.scale.y"))
    ['input.scale.y', 'input.scale', 'input']
    """
    while name:
        yield name
        name = name.rpartition(".")[0]


def location_of(name: str, locations: Mapping[str, Location]) -> Location | None:
    """Return the location of a field, or of the nearest field around it."""
    return next((locations[outer] for outer in enclosing(name) if outer in locations), None)


def located(problem: Problem, file: str, locations: Mapping[str, Location]) -> Problem:
    """Return a problem with the location of its field."""
    if problem.file or not problem.field:
        return problem
    location = location_of(problem.field, locations) or Location(file)
    return replace(problem, file=location.file, line=location.line, column=location.column)
