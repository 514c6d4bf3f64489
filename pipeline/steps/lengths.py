"""Radii, sizes and sigmas as fields of a model: read from YAML, checked, written back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from pipeline.model.errors import PipelineError, Problem, RequestError
from pipeline.model.units import PX, Extent, Quantity, convertible, parse_extent, plain_extent

_AMOUNT = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\s*[-+]?[\d.eE+-]+\s*\S+\s*$"}]}


T = TypeVar("T")
R = TypeVar("R")


def collected(check: Callable[[T], R]) -> Callable[[T], R]:
    """Return a check whose PipelineError pydantic collects with the other mistakes of a model.

    pydantic takes ValueErrors alone; the PipelineError is its cause, fields included.
    """

    @functools.wraps(check)
    def checking(raw: T) -> R:
        try:
            return check(raw)
        except PipelineError as error:
            raise ValueError(str(error)) from error

    return checking


@collected
def _parse(raw: object) -> Extent:
    if not isinstance(raw, Mapping):
        return parse_extent(raw)
    found: dict[str, Quantity] = {}
    problems: list[Problem] = []
    for axis, value in raw.items():
        try:
            found[str(axis).lower()] = Quantity.parse(value)
        except PipelineError as error:
            problems.extend(error.under(str(axis)).problems)
    if problems:
        raise RequestError(problems)
    return parse_extent(found)


Length = Annotated[
    Any,
    BeforeValidator(_parse),
    PlainSerializer(plain_extent),
    WithJsonSchema({"anyOf": [*_AMOUNT["anyOf"], {"type": "object", "additionalProperties": _AMOUNT}]}),
]
"""The type of a field that is a radius, a size or a sigma; its value is an `Extent`."""


def check_lengths(given: tuple[str, Mapping[str, Extent]]) -> None:
    """Refuse lengths for other axes than those a step works along, or with units of another kind.

    Parameters
    ----------
    given : (str, mapping of str to Extent)
        The step's `along`, and its lengths by the names of their fields.

    Raises
    ------
    RequestError
        All that are wrong.
    """
    along, lengths = given
    problems: list[Problem] = []
    for name, extent in lengths.items():
        each = extent if isinstance(extent, Mapping) else dict.fromkeys(along, extent)
        if set(each) != set(along):
            named = ", ".join(each)
            problems.append(
                Problem(
                    f"is given for the axes {named} and the step works along {along!r}",
                    "give one length for each axis of `along`", name,
                )
            )  # fmt: skip
            continue
        for axis, quantity in each.items():
            wanted = "second" if axis == "t" else "meter"
            if quantity.unit != PX and not convertible(quantity.unit, wanted):
                kinds = "a length, and t is time" if axis == "t" else f"a time, and {axis} is a length"
                field = f"{name}.{axis}" if isinstance(extent, Mapping) else name
                problems.append(
                    Problem(f"{quantity} is {kinds}", "give one for each axis, in its unit", field)
                )
                break
    if problems:
        raise RequestError(problems)
