"""Errors that the user sees: the mistake, its place, a hint, and the exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from pipeline.model.text import readable

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Problem:
    """One mistake: what is wrong, where, and how to correct it.

    Examples
    --------
    >>> print(Problem("-1 is below 1 px", "give a radius of 1 px or more", field="steps.0.radius",
    ...               file="top.yaml", line=4, column=13))
    top.yaml:4: steps.0.radius: -1 is below 1 px (column 13); give a radius of 1 px or more
    """

    message: str
    hint: str = ""
    field: str = ""
    file: str = ""
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.file and self.line else self.file
        text = ": ".join(filter(None, (where, self.field, self.message)))
        if self.column:
            text += f" (column {self.column})"
        text = (f"{text}; {self.hint}" if self.hint else text).replace("\n", " ")
        # File names and YAML keys may hold escape sequences, which would drive the terminal.
        return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


class PipelineError(Exception):
    """An error that the commands print without a traceback.

    Parameters
    ----------
    message : str or iterable of Problem
        The mistake in words, or several mistakes at once.
    hint : str
        How to correct it.
    field : str
        Dotted path of the config's field.

    Attributes
    ----------
    exit_code : int
        Exit code of the command.
    problems : tuple of Problem
        The mistakes, each printed on its own line.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str | Iterable[Problem], hint: str = "", field: str = "") -> None:
        problems = (Problem(message, hint, field),) if isinstance(message, str) else tuple(message)
        # Exception pickles its args: with the problems in them the error survives the way from a worker.
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)

    def under(self, field: str) -> PipelineError:
        """Return the error with `field` before the field of each problem.

        >>> print(RequestError("no such axis", field="along").under("steps.0"))
        steps.0.along: no such axis
        """
        return type(self)(
            replace(problem, field=f"{field}.{problem.field}" if problem.field else field)
            for problem in self.problems
        )


class RequestError(PipelineError):
    """A wrong request; nothing was started."""

    exit_code = 2


class StoppedError(PipelineError):
    """A run that stopped; the same command resumes it."""

    exit_code = 3


class VerificationError(PipelineError):
    """A finished output that differs from its manifest."""

    exit_code = 4


class DataError(PipelineError):
    """Refused pixels: a NaN, or a value that the output dtype cannot hold."""

    exit_code = 5


class InterruptedRunError(PipelineError):
    """A run that the user interrupted; the same command resumes it."""

    exit_code = 130


def check_each(items: Mapping[str, _T], check: Callable[[str, _T], _R]) -> dict[str, _R]:
    """Apply `check(key, value)` to each item; RequestError with the mistakes of all, under their keys."""
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
