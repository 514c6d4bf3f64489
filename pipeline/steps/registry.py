"""The registry of steps: bgone's own, those of installed packages, and those of the user."""

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

_GROUP = "bgone.steps"  # of entry points, by which other packages provide steps
_OPERATORS = "pipeline.steps.operators"


def snake_case(name: str) -> str:
    """Convert the name of a class to its name in YAML.

    >>> snake_case("DifferenceOfGaussians")
    'difference_of_gaussians'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Registry(Mapping[str, "type[Step]"]):
    """Step classes by their name in YAML.

    A class registers when it is defined. bgone's own operators are imported when the registry is first
    used; packages with an entry point in the group `bgone.steps` when an unknown name, or all names, are
    looked up. An entry point names a step class, or a module that defines some.

    Attributes
    ----------
    problems : dict of str to Problem
        Packages that could not be imported, by the name of the entry point; all other steps work.
    """

    def __init__(self) -> None:
        self.problems: dict[str, Problem] = {}
        self._steps: dict[str, type[Step]] = {}
        self._lock = threading.RLock()  # of one thread again, if a package looks up a step on import
        self._packages_loaded = False

    def register(self, step: type[Step]) -> None:
        """Add a class; one of the same name and module, as of a notebook cell run again, is replaced.

        Raises
        ------
        RequestError
            Another module has a step of this name.
        """
        if not step.__module__.startswith(f"{_OPERATORS}."):
            importlib.import_module(_OPERATORS)  # which reserves the names of bgone's own
        first = self._steps.setdefault(step.name, step)
        if first.__module__ != step.__module__:
            raise RequestError(
                f"{step.__module__}.{step.__qualname__} would be the step {step.name}, which is"
                f" {first.__module__}.{first.__qualname__} already",
                "give the class another name",
            )
        self._steps[step.name] = step

    def __getitem__(self, name: str) -> type[Step]:
        importlib.import_module(_OPERATORS)
        if name not in self._steps:
            self._load_packages()
        return self._steps[name]

    def __iter__(self) -> Iterator[str]:
        importlib.import_module(_OPERATORS)
        self._load_packages()
        return iter(tuple(self._steps))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def package(self, step: type[Step]) -> tuple[str, str] | None:
        """Return the name and version of the package of a step; None for bgone's own and the user's."""
        top = step.__module__.partition(".")[0]
        if top == __name__.partition(".")[0]:
            return None
        entries = [entry for entry in self._entries if entry.module.partition(".")[0] == top]
        # Packages may share a namespace: prefer the one with this very module.
        entries.sort(key=lambda entry: not f"{step.__module__}.".startswith(f"{entry.module}."))
        if not entries or entries[0].dist is None:
            return None
        return entries[0].dist.name, entries[0].dist.version

    def packages(self, steps: Iterable[Step]) -> tuple[str, ...]:
        """Return the names of the packages of these steps, without bgone."""
        packages = {self.package(type(step)) for step in steps}
        return tuple(sorted({package[0] for package in packages if package is not None}))

    @cached_property
    def _entries(self) -> tuple[EntryPoint, ...]:
        return tuple(entry_points(group=_GROUP))

    def _load_packages(self) -> None:
        with self._lock:
            if self._packages_loaded:
                return
            self._packages_loaded = True
            for entry in self._entries:
                try:
                    _check_entry(entry.load())
                except Exception as error:  # code of others may raise anything
                    self.problems[entry.name] = _import_problem(entry, error)


REGISTRY = Registry()


def _check_entry(target: object) -> None:
    """Raise TypeError unless the target of an entry point is a registered step class or a module."""
    if inspect.isclass(target) and inspect.isabstract(target):
        missing = sorted(getattr(target, "__abstractmethods__"))  # noqa: B009  # unknown to mypy
        raise TypeError(f"{target.__name__} does not define {', '.join(missing)}")
    if not (inspect.ismodule(target) or getattr(target, "name", "") in REGISTRY._steps):
        raise TypeError(f"{target!r} is neither a step class nor a module")


def _import_problem(entry: EntryPoint, error: Exception) -> Problem:
    package = "a package" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
    return Problem(
        f"{package} brings steps as {entry.name!r} that cannot be imported from {entry.value}"
        f" ({type(error).__name__}: {first_line(error)})",
        "update, mend or uninstall that package",
    )
