"""Lengths as fields of a step: radii, sizes and sigmas in px or physical units, for one axis or for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from pipeline.model.errors import Problem, RequestError
from pipeline.model.messages import as_pydantic_error
from pipeline.model.units import AMOUNT, PX, Extent, Quantity, convertible, parse_extent, plain_extent

_AMOUNT = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": AMOUNT}]}

# The type of a field that is a length. Its value is an `Extent`: a Quantity, or one for each axis.
Length = Annotated[
    Any,
    BeforeValidator(as_pydantic_error(parse_extent)),
    PlainSerializer(plain_extent),
    WithJsonSchema({"anyOf": [*_AMOUNT["anyOf"], {"type": "object", "additionalProperties": _AMOUNT}]}),
]


def extent_by_axis(extent: Extent, along: str = "") -> dict[str, Quantity]:
    """Return the length along each axis; a single length applies to each axis of `along`, or to "".

    >>> extent_by_axis(Quantity(3), "yx")
    {'y': Quantity(value=3, unit='px'), 'x': Quantity(value=3, unit='px')}
    """
    return dict(extent) if isinstance(extent, Mapping) else dict.fromkeys(along or ("",), extent)


def check_lengths(along: str, lengths: Mapping[str, Extent]) -> None:
    """Check that each field's lengths are for the axes of `along`, in units of time along t alone."""
    problems: list[Problem] = []
    for name, extent in lengths.items():
        by_axis = extent_by_axis(extent, along)
        if set(by_axis) != set(along):
            message = f"is given for the axes {', '.join(by_axis)} and the step works along {along!r}"
            problems.append(Problem(message, "give one length for each axis of `along`", name))
            continue
        misfit = next((axis for axis, length in by_axis.items() if not _fits(axis, length)), None)
        if misfit is not None:
            kinds = "a length, and t is time" if misfit == "t" else f"a time, and {misfit} is a length"
            field = f"{name}.{misfit}" if isinstance(extent, Mapping) else name
            message = f"{by_axis[misfit]} is {kinds}"
            problems.append(Problem(message, "give one for each axis, in its unit", field))
    if problems:
        raise RequestError(problems)


def _fits(axis: str, length: Quantity) -> bool:
    return length.unit == PX or convertible(length.unit, "second" if axis == "t" else "meter")
