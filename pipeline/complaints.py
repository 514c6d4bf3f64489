"""What pydantic found, in words for the person who wrote the config."""

from __future__ import annotations

import difflib
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.errors import Problem

M = TypeVar("M", bound=BaseModel)

_WANTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
}

_BOUNDS = {
    "greater_than": "above",
    "greater_than_equal": "not below",
    "less_than": "below",
    "less_than_equal": "not above",
}


def nearest(name: str, known: tuple[str, ...]) -> str:
    """Return the mend for an unknown name: the one that was meant, or those that there are.

    >>> nearest("white_tophad", ("white_tophat", "gaussian"))
    'did you mean white_tophat?'
    """
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"use one of {', '.join(known)}"


def complaints(model: type[M], data: dict[str, Any], field: str) -> tuple[M | None, list[Problem]]:
    """Return a model made of plain data, or what is wrong with that.

    Parameters
    ----------
    model : type
        A pydantic model.
    data : dict
        Plain data.
    field : str
        Where the data stands in the config.
    """
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        found = error.errors(include_url=False)
        return None, _unique([_problem(detail, model, field) for detail in found])


def _unique(problems: list[Problem]) -> list[Problem]:
    # A field that may be of two types complains once for each; the first names the plain one.
    seen: dict[str, Problem] = {}
    for problem in problems:
        seen.setdefault(problem.field, problem)
    return list(seen.values())


def _problem(detail: ErrorDetails, model: type[BaseModel], field: str) -> Problem:
    names = _path(detail["loc"], model)
    where = ".".join([field, *names])
    kind, given = detail["type"], detail["input"]
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        return Problem(
            f"there is no key {names[-1]!r} here", nearest(names[-1], tuple(model.model_fields)), where
        )
    if kind == "missing":
        return Problem("is missing", f"add {names[-1]}", where)
    if kind == "value_error":
        what, _, mend = str(context["error"]).partition("; ")
        return Problem(what, mend, where)
    if kind == "literal_error":
        wanted = str(context["expected"]).replace("'", "").replace(" or ", ", ")
        return Problem(f"{given!r} is not a choice", nearest(str(given), tuple(wanted.split(", "))), where)
    if kind in _BOUNDS:
        ((_, bound),) = context.items()
        return Problem(f"{given!r} is out of range", f"give a number {_BOUNDS[kind]} {bound:g}", where)
    if kind in _WANTED:
        return Problem(
            f"{given!r} is not {_WANTED[kind]}", f"write {_WANTED[kind]}{_unquote(given, kind)}", where
        )
    said = detail["msg"][0].lower() + detail["msg"][1:]
    return Problem(f"{given!r} is wrong: {said}", "correct it", where)


def _unquote(given: Any, kind: str) -> str:
    return ", without quotes" if isinstance(given, str) and kind != "string_type" else ""


def _path(loc: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """Return the fields on the way; pydantic adds the names of types that it tried."""
    names = [str(part) for part in loc]
    kept = names[:1]
    for name in names[1:]:
        if name.isdigit() or (
            name.isidentifier() and name not in ("str", "int", "float", "bool", "dict", "list")
        ):
            kept.append(name)
    return kept
