"""What pydantic found, in words for the person who wrote the config."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticUndefined

from pipeline.model.errors import PipelineError, Problem
from pipeline.model.text import readable
from pipeline.model.units import comma_mend

M = TypeVar("M", bound=BaseModel)

LONGEST = 60

_WANTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of a sensible size",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
}

_BOUNDS = {
    "greater_than": ("not above {}", "give a number above {}"),
    "greater_than_equal": ("below {}", "give {} or more"),
    "less_than": ("not below {}", "give a number below {}"),
    "less_than_equal": ("above {}", "give {} or less"),
}


def shown(value: object) -> str:
    """Return a value as YAML has it, on one line, at no great length.

    >>> shown("3"), shown(True), shown({"y": [1, None]})
    ("'3'", 'true', '{y: [1, null]}')
    """
    text = repr(value) if isinstance(value, str) else flow(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def flow(value: object) -> str:
    """Return plain data as YAML in flow style.

    >>> flow({"y": 3, "x": [1.5, "a"]})
    '{y: 3, x: [1.5, a]}'
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{readable(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, int) and abs(value) > 10**LONGEST:
        return "a number of many digits"
    return readable(value)


def nearest(name: str, known: tuple[str, ...], otherwise: str = "") -> str:
    """Return the mend for an unknown name: the one that was meant, or those that there are.

    >>> nearest("white_tophad", ("white_tophat", "gaussian"))
    'did you mean white_tophat?'
    """
    lowered = {option.lower(): option for option in known}
    close = difflib.get_close_matches(name.lower()[:LONGEST], lowered, n=1, cutoff=0.6)
    if close:
        return f"did you mean {lowered[close[0]]}?"
    return otherwise or f"use one of {', '.join(known)}"


_JOINED = re.compile(r"-?\s*(\w+)\s*([:=])\s*(\S.*)?", re.DOTALL)


def joined(text: object, known: Iterable[str]) -> str:
    """Return the mend for a key and its value that are one word; nothing where they are none.

    >>> joined("radius:12", ("radius", "size")), joined("radius", ("radius", "size"))
    ('put a space after the colon: radius: 12', '')
    """
    match = _JOINED.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None or match[1] not in known:
        return ""
    value = f" {readable(match[3])}" if match[3] else " …"
    what = "put a space after the colon" if match[2] == ":" else "write a colon and a space for the ="
    return f"{what}: {match[1]}:{value}"


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
        return None, explained(error, model, data, field)


def explained(error: ValidationError, model: Any, data: Mapping[str, Any], field: str) -> list[Problem]:
    """Return what pydantic found wrong with plain data, for a person.

    Parameters
    ----------
    error : ValidationError
        What it found.
    model, data, field
        As in `complaints`.
    """
    by_place: dict[tuple[str, ...], list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        by_place.setdefault(_place(detail, data), []).append(detail)
    problems = []
    # What is there but for a space is not missing too.
    stuck = {name for name in model.model_fields for key in data if joined(key, (name,))}
    for place, details in by_place.items():
        if details[0]["type"] == "missing" and place[-1] in stuck:
            continue
        where = ".".join([field, *map(readable, place)])
        problems += _problems(details, place, model, where)
    return problems


def _place(detail: ErrorDetails, data: Any) -> tuple[str, ...]:
    """Return where a mistake is in the data: pydantic adds the names of the types that it tried."""
    names = []
    for part in detail["loc"]:
        inside = (
            part in data
            if isinstance(data, Mapping)
            else isinstance(data, list | tuple) and part in range(len(data))
        )
        if not inside:
            break
        data = data[part]
        names.append(str(part))
    if detail["type"] == "missing":
        names.append(str(detail["loc"][-1]))
    return tuple(names)


def _problems(
    details: list[ErrorDetails], place: tuple[str, ...], model: type[BaseModel], where: str
) -> list[Problem]:
    detail = details[0]
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        names = tuple(model.model_fields)
        return [Problem("there is no such key", joined(place[-1], names) or nearest(place[-1], names), where)]
    example = example_of(model, place[-1]) if place else ""
    if kind == "missing":
        return [Problem("is missing", f"add {place[-1]}: {example or '…'}", where)]
    such_as = f", such as {example}" if example and kind != "bool_type" else ""
    if given is None:
        field = model.model_fields.get(place[-1])
        left_out = "" if field is None or field.is_required() else ", or leave the line out"
        return [Problem("has no value", f"give one{such_as}{left_out}", where)]
    if kind == "value_error":
        return _own(context["error"], where)
    if kind == "literal_error":
        choices = tuple(re.findall(r"'([^']*)'", str(context["expected"])))
        said = str(given) if isinstance(given, str | float) else ""
        return [Problem(f"{shown(given)} is not a choice", nearest(said, choices), where)]
    if kind in _BOUNDS:
        ((_, bound),) = context.items()
        what, mend = (text.format(f"{bound:g}") for text in _BOUNDS[kind])
        return [Problem(f"{shown(given)} is {what}", mend, where)]
    if kind == "too_short":
        return [Problem("is empty", f"fill it{such_as}, or leave it out", where)]
    wanted = " or ".join(dict.fromkeys(_WANTED[each["type"]] for each in details if each["type"] in _WANTED))
    if wanted:
        mend = _unquoted(given, wanted) or f"give {wanted}{such_as}"
        return [Problem(f"{shown(given)} is not {wanted}", mend, where)]
    return [Problem(f"{shown(given)} is wrong: {readable(detail['msg'])}", f"correct it{such_as}", where)]


def _own(error: Exception, where: str) -> list[Problem]:
    """Return the problems of one of our own checks."""
    if isinstance(error.__cause__, PipelineError):
        return list(error.__cause__.under(where).problems)
    what, _, mend = str(error).partition("; ")
    return [Problem(what, mend, where)]


def _unquoted(given: object, wanted: str) -> str:
    """Return the mend for a value that is right but for its quotes, its brackets or its point."""
    if isinstance(given, str):
        text = given.strip()
        number = re.fullmatch(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?", text) and "number" in wanted
        if number or (text in ("true", "false") and "true" in wanted):
            return f"write it without quotes: {text}"
        if "number" in wanted and comma_mend(text):
            return comma_mend(text)
        return f"write it as [{readable(text)}]" if wanted == "a list" else ""
    whole = isinstance(given, float) and given.is_integer() and abs(given) < 1e15
    return f"write it as {int(given)}" if whole and "whole" in wanted else ""  # type: ignore[call-overload]


def example_of(model: type[BaseModel], name: str) -> str:
    """Return an example of a field as YAML, or an empty text.

    A step has them in its `examples`, a section of the config at the field.
    """
    for parameters in getattr(model, "examples", ()):
        if name in parameters:
            return flow(parameters[name])
    field = model.model_fields.get(name)
    if field is None:
        return ""
    if field.examples:
        return str(field.examples[0])
    return "" if field.default in (None, PydanticUndefined) else flow(field.default)
