"""Messages for the mistakes that pydantic, or a check inside a model, finds in plain data."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError, PydanticUndefined

from pipeline.model.errors import PipelineError, Problem
from pipeline.model.text import flow, nearest, readable, shown, spacing_hint
from pipeline.model.units import comma_hint

_M = TypeVar("_M", bound=BaseModel)
_T = TypeVar("_T")
_R = TypeVar("_R")
_P = ParamSpec("_P")

_TYPES = {
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


def as_pydantic_error(check: Callable[Concatenate[_T, _P], _R]) -> Callable[Concatenate[_T, _P], _R]:
    """Turn the PipelineErrors of a validator into errors that pydantic collects with a model's others."""

    @functools.wraps(check)
    def wrapped(raw: _T, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return check(raw, *args, **kwargs)
        except PipelineError as error:
            context = {"text": str(error), "problems": error.problems}
            raise PydanticCustomError("refused", "{text}", context) from None

    return wrapped


def validate(
    model: type[_M], data: Mapping[str, Any], field: str, context: Any = None
) -> tuple[_M | None, list[Problem]]:
    """Make a model of plain data; return it and no problems, or None and all problems.

    `field` is the path of the data in the config, `context` is passed on to the model's validators.
    """
    try:
        return model.model_validate(data, context=context), []
    except ValidationError as error:
        return None, problems_of(error, model, data, field)


def problems_of(error: ValidationError, model: Any, data: Mapping[str, Any], field: str) -> list[Problem]:
    """Return the problems that pydantic found in `data`, each under its key below `field`."""
    # A union reports the same value once for each of its types; one problem tells of all.
    by_keys: dict[tuple[str, ...], list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        by_keys.setdefault(_keys(detail, data), []).append(detail)
    # For `radius:12` without a space pydantic reports an unknown key and a missing `radius`; one is enough.
    unspaced = {name for name in model.model_fields for key in data if spacing_hint(key, (name,))}
    problems: list[Problem] = []
    for keys, details in by_keys.items():
        if details[0]["type"] == "missing" and keys[-1] in unspaced:
            continue
        name = ".".join([field, *map(readable, keys)])
        if "problems" in details[0].get("ctx", {}) and details[0]["input"] is not None:
            problems += PipelineError(details[0]["ctx"]["problems"]).under(name).problems
        else:
            problems.append(Problem(*_message_and_hint(details, keys[-1] if keys else "", model), name))
    return problems


def _keys(detail: ErrorDetails, data: Any) -> tuple[str, ...]:
    """Return the keys of the data that lead to an error."""
    # After them pydantic's `loc` has the names of the types that it tried.
    keys = []
    for key in detail["loc"]:
        is_list = isinstance(data, list | tuple)
        if key not in (range(len(data)) if is_list else data if isinstance(data, Mapping) else ()):
            break
        data = data[key]
        keys.append(str(key))
    if detail["type"] == "missing":
        keys.append(str(detail["loc"][-1]))
    return tuple(keys)


def _message_and_hint(details: list[ErrorDetails], key: str, model: type[BaseModel]) -> tuple[str, str]:
    kind, value, context = details[0]["type"], details[0]["input"], details[0].get("ctx", {})
    fields = model.model_fields
    example = example_of(model, key)
    such_as = f", such as {example}" if example and kind != "bool_type" else ""
    types = " or ".join(dict.fromkeys(_TYPES[item["type"]] for item in details if item["type"] in _TYPES))
    if kind == "extra_forbidden":
        return "there is no such key", spacing_hint(key, fields) or nearest(key, tuple(fields))
    if kind == "missing":
        return "is missing", f"add {key}: {example or '…'}"
    if value is None:
        optional = key in fields and not fields[key].is_required()
        return "has no value", f"give one{such_as}{', or leave the line out' if optional else ''}"
    if kind == "value_error":
        message, _, hint = str(context["error"]).partition("; ")
        return message, hint
    if kind == "literal_error":
        # pydantic hands out the choices only as text: "'a', 'b' or 'c'".
        choices = tuple(re.findall(r"'([^']*)'", str(context["expected"])))
        word = str(value) if isinstance(value, str | float) else ""
        return f"{shown(value)} is not a choice", nearest(word, choices)
    if kind in _BOUNDS:
        ((_, bound),) = context.items()
        message, hint = (text.format(f"{bound:g}") for text in _BOUNDS[kind])
        return f"{shown(value)} is {message}", hint
    if kind == "too_short":
        return "is empty", f"fill it{such_as}, or leave it out"
    if types:
        return f"{shown(value)} is not {types}", _notation_hint(value, types) or f"give {types}{such_as}"
    return f"{shown(value)} is wrong: {readable(details[0]['msg'])}", f"correct it{such_as}"


def _notation_hint(value: object, types: str) -> str:
    """Return the hint for a value that only has to be written without quotes, brackets or point."""
    if isinstance(value, str):
        text = value.strip()
        number = re.fullmatch(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?", text) and "number" in types
        if number or (text in ("true", "false") and "true" in types):
            return f"write it without quotes: {text}"
        if "number" in types and comma_hint(text):
            return comma_hint(text)
        return f"write it as [{readable(text)}]" if types == "a list" else ""
    if "whole" in types and isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"write it as {int(value)}"
    return ""


def example_of(model: type[BaseModel], name: str) -> str:
    """Return an example of a field's value as YAML, or an empty string."""
    # Steps have `examples` of all their parameters, sections of the config one at the field.
    for parameters in getattr(model, "examples", ()):
        if name in parameters:
            return flow(parameters[name])
    field = model.model_fields.get(name)
    if field is None:
        return ""
    if field.examples:
        return str(field.examples[0])
    return "" if field.default in (None, PydanticUndefined) else flow(field.default)
