"""The steps that there are, by name: bgone's own, those of other packages, and those of the user."""

from __future__ import annotations

import importlib
import inspect
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from pipeline.model.errors import Problem, RequestError
from pipeline.model.text import first_line

if TYPE_CHECKING:
    from pipeline.steps.step import Step

GROUP = "bgone.steps"
"""The entry-point group by which other packages bring steps."""

OWN = "pipeline.steps.operators"


def snake_case(name: str) -> str:
    """Return the YAML's name for a class.

    >>> snake_case("DifferenceOfGaussians")
    'difference_of_gaussians'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Registry(Mapping[str, "type[Step]"]):
    """Step classes by their names in YAML.

    A class registers when it is defined. bgone's own operators are imported when the registry is first
    asked, and other packages, named in the entry-point group `bgone.steps`, when it is asked for a name
    that is none of those so far or for all of them. An entry point names a step class, or a module that
    defines some. A package that cannot be imported is kept in `problems` and hinders no other step.

    Attributes
    ----------
    problems : dict of str to Problem
        What is wrong with other packages, by the name of the entry point.
    """

    def __init__(self) -> None:
        self.problems: dict[str, Problem] = {}
        self._steps: dict[str, type[Step]] = {}
        self._loading = threading.RLock()
        self._others_loaded = False

    def register(self, step: type[Step]) -> None:
        """Add a class under its name; the same class defined again, as in a notebook, replaces the first.

        Raises
        ------
        RequestError
            Another module has a step of this name.
        """
        if not step.__module__.startswith(f"{OWN}."):
            importlib.import_module(OWN)  # its names are taken
        first = self._steps.setdefault(step.name, step)
        if first.__module__ != step.__module__:
            raise RequestError(
                f"{step.__module__}.{step.__qualname__} would be the step {step.name}, which is"
                f" {first.__module__}.{first.__qualname__} already",
                "give the class another name",
            )
        self._steps[step.name] = step

    def __getitem__(self, name: str) -> type[Step]:
        importlib.import_module(OWN)
        if name not in self._steps:
            self._load_others()
        return self._steps[name]

    def __iter__(self) -> Iterator[str]:
        importlib.import_module(OWN)
        self._load_others()
        return iter(tuple(self._steps))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def package(self, step: type[Step]) -> tuple[str, str] | None:
        """Return the name and version of the package that brings a step; None for bgone's and the user's."""
        top = step.__module__.partition(".")[0]
        if top == __name__.partition(".")[0]:
            return None
        entries = [entry for entry in self._entries if entry.module.partition(".")[0] == top]
        # Packages may share a namespace: the one that brings this module, else any.
        inside = [entry for entry in entries if f"{step.__module__}.".startswith(f"{entry.module}.")]
        nearest = next(iter([*inside, *entries]), None)
        if nearest is None or nearest.dist is None:
            return None
        return nearest.dist.name, nearest.dist.version

    def packages(self, steps: Iterable[Step]) -> tuple[str, ...]:
        """Return the names of the packages that bring these steps, bgone aside."""
        known = (self.package(type(step)) for step in steps)
        return tuple(sorted({package[0] for package in known if package is not None}))

    @cached_property
    def _entries(self) -> tuple[EntryPoint, ...]:
        return tuple(entry_points(group=GROUP))

    def _load_others(self) -> None:
        with self._loading:
            if self._others_loaded:
                return
            self._others_loaded = True
            for entry in self._entries:
                try:
                    _check_brings_steps(entry.load())
                # Whatever a package's code raises, the other steps work.
                except Exception as error:
                    self.problems[entry.name] = _broken(entry, error)


REGISTRY = Registry()


def _check_brings_steps(named: object) -> None:
    """Refuse what is neither a step class nor a module."""
    if inspect.isclass(named) and inspect.isabstract(named):
        missing = sorted(getattr(named, "__abstractmethods__"))  # noqa: B009  # unknown to mypy
        raise TypeError(f"{named.__name__} does not define {', '.join(missing)}")
    if not (inspect.ismodule(named) or getattr(named, "name", "") in REGISTRY._steps):
        raise TypeError(f"{named!r} is neither a step class nor a module")


def _broken(entry: EntryPoint, error: Exception) -> Problem:
    package = "a package" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
    return Problem(
        f"{package} brings steps as {entry.name!r} that cannot be imported from {entry.value}"
        f" ({type(error).__name__}: {first_line(error)})",
        "update, mend or uninstall that package",
    )
