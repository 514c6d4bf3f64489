"""Errors for the person who asked: what is wrong, where, and how to mend it; each with its exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from pipeline.model.text import readable

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Problem:
    """One mistake: what is wrong, where, and how to mend it.

    Examples
    --------
    >>> print(Problem("-1 is below 1 px", "give a radius of 1 px or more", field="steps.0.radius",
    ...               file="top.yaml", line=4, column=13))
    top.yaml:4: steps.0.radius: -1 is below 1 px (column 13); give a radius of 1 px or more
    """

    what: str
    mend: str = ""
    field: str = ""
    file: str = ""
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.file and self.line else self.file
        text = ": ".join(part for part in (where, self.field, self.what) if part)
        if self.column:
            text += f" (column {self.column})"
        text = (f"{text}; {self.mend}" if self.mend else text).replace("\n", " ")
        # A name in it may hold what would move the cursor of a terminal.
        return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


class PipelineError(Exception):
    """An error to be shown as it is, without a traceback.

    Parameters
    ----------
    what : str or iterable of Problem
        What is wrong, or several problems at once.
    mend : str
        How to mend it.
    field : str
        The field of the config it is about, as a dotted path.

    Attributes
    ----------
    exit_code : int
        What the command exits with.
    problems : tuple of Problem
        Each of them is printed on a line of its own.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, what: str | Iterable[Problem], mend: str = "", field: str = "") -> None:
        problems = (Problem(what, mend, field),) if isinstance(what, str) else tuple(what)
        # args holds the problems, so that the error survives pickling on its way from a worker.
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)

    def under(self, field: str) -> PipelineError:
        """Return the same error with `field` put before the field of each problem.

        >>> print(RequestError("no such axis", field="along").under("steps.0"))
        steps.0.along: no such axis
        """
        return type(self)(
            replace(problem, field=f"{field}.{problem.field}" if problem.field else field)
            for problem in self.problems
        )


class RequestError(PipelineError):
    """The request is wrong; nothing was started."""

    exit_code = 2


class StoppedError(PipelineError):
    """The run stopped on the way; the same command resumes it."""

    exit_code = 3


class VerificationError(PipelineError):
    """A finished output does not hold what its manifest says."""

    exit_code = 4


class DataError(PipelineError):
    """The data was refused on the way: a NaN, or a value that the output dtype cannot hold."""

    exit_code = 5


class InterruptedRunError(PipelineError):
    """The user interrupted the run; the same command resumes it."""

    exit_code = 130


def check_each(items: Mapping[str, _T], check: Callable[[str, _T], _R]) -> dict[str, _R]:
    """Return what a check makes of each item, by its key.

    Parameters
    ----------
    items : mapping of str
        By axis, say.
    check : callable
        Takes a key and its value.

    Raises
    ------
    RequestError
        All that are wrong, each with its key as the field.
    """
    checked: dict[str, _R] = {}
    problems: list[Problem] = []
    for key, value in items.items():
        try:
            checked[key] = check(key, value)
        except RequestError as error:
            problems += error.under(readable(key)).problems
    if problems:
        raise RequestError(problems)
    return checked
