"""What may stand in a field of a config: the types of `settings.py`, with their refusals."""

from __future__ import annotations

import math
import os
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from pipeline.kernels.dtypes import SUPPORTED
from pipeline.model.axes import ORDER, check_axes
from pipeline.model.errors import Problem, RequestError
from pipeline.model.messages import nearest, shown
from pipeline.model.units import PX, Quantity, comma_mend, convertible
from pipeline.steps.lengths import collected

DTYPES = tuple(dtype.name for dtype in SUPPORTED)
_SLICE = re.compile(r"\s*(-?[0-9]*)\s*:\s*(-?[0-9]*)\s*(?::\s*(-?[0-9]*)\s*)?")
_SHARE = re.compile(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*%\s*")


def _check_letters(letters: str, said: str) -> None:
    try:
        check_axes(letters)
    except RequestError as error:
        # The field is known from where the letters stand.
        what = error.problems[0].what.replace(repr(letters), shown(said))
        raise RequestError(what, error.problems[0].mend) from None


@collected
def _stored_axes(raw: str) -> str:
    _check_letters(raw.lower(), raw)
    return raw.lower()


@collected
def _data_axes(raw: str) -> str:
    # In any order: the reader brings the axes into ours.
    letters = raw.lower()
    _check_letters("".join(sorted(letters, key=ORDER.find)), raw)
    return letters


@collected
def _axis(raw: str) -> str:
    if raw.lower() not in tuple(ORDER):
        raise RequestError(f"{shown(raw)} is not an axis", "use letters out of t, c, z, y, x")
    return raw.lower()


@collected
def _pixels(raw: object) -> object:
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise RequestError(
            f"{shown(raw)} is not a number of px", _plain_number(raw, "a whole number, such as 512")
        )
    if raw < 1:
        raise RequestError(f"{shown(raw)} is below 1 px", "give 1 px or more")
    return raw


def _plain_number(raw: object, otherwise: str) -> str:
    quoted = isinstance(raw, str) and re.fullmatch(r"[0-9]+", raw.strip())
    if quoted:
        return f"write it without quotes: {str(raw).strip()}"
    return (comma_mend(raw) if isinstance(raw, str) else "") or f"give {otherwise}"


@collected
def _pixel_size(raw: object) -> Quantity:
    mend = "give a number with a unit, such as 0.325 um"
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        raise RequestError(f"{shown(raw)} has no unit", f"add it, as in {shown(raw)} um; along t s or min")
    if not isinstance(raw, str | Quantity):
        raise RequestError(f"{shown(raw)} is not the size of a pixel", mend)
    quantity = Quantity.parse(raw)
    if quantity.unit == PX:
        raise RequestError(f"{quantity} is not the size of a pixel", mend)
    if quantity.value <= 0:
        raise RequestError(f"{quantity} is not above 0", mend)
    return quantity


@collected
def _scale(scale: dict[str, Quantity]) -> dict[str, Quantity]:
    problems = []
    for axis, quantity in scale.items():
        if axis == "c":
            problems.append(Problem("channels have no scale", "leave it out", axis))
        elif not convertible(quantity.unit, "second" if axis == "t" else "meter"):
            wanted = "time, in s, min or h" if axis == "t" else "a length, in um, nm or mm"
            problems.append(Problem(f"{quantity} does not fit {axis}", f"give {wanted}", axis))
    if problems:
        raise RequestError(problems)
    return scale


@collected
def _selection(raw: object) -> object:
    mend = "give a slice such as 0:100, or a list such as [0, 2] or [GFP]"
    if isinstance(raw, str):
        return _check_slice(raw)
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    if not isinstance(raw, list | tuple):
        raise RequestError(f"{shown(raw)} selects nothing", mend)
    if not raw:
        raise RequestError("the list is empty", mend)
    for item in raw:
        if isinstance(item, bool) or not isinstance(item, int | str):
            raise RequestError(f"{shown(item)} is neither an index nor a name", mend)
    if len(set(raw)) < len(raw):
        twice = next(item for item in raw if raw.count(item) > 1)
        raise RequestError(f"{shown(twice)} is selected twice", "name it once")
    return tuple(raw)


def _check_slice(text: str) -> str:
    match = _SLICE.fullmatch(text)
    if match is None or "-" in match.groups():
        listed = re.fullmatch(r"[\w., -]*[^\W\d][\w., -]*|[0-9]+", text)
        mend = f"write it as a list: [{text.strip()}]" if listed else "write START:STOP, such as 0:100"
        raise RequestError(f"{shown(text)} is not a slice", mend)
    start, stop, step = (int(part[:19]) if part else None for part in match.groups())
    if step is not None and step < 1:
        raise RequestError(f"{shown(text)} goes by {step}", "give a step of 1 or more")
    same_end = start is not None and stop is not None and (start < 0) == (stop < 0)
    if stop == 0 or (same_end and start >= stop):  # type: ignore[operator]  # both are ints there
        raise RequestError(
            f"{shown(text)} selects nothing", "the stop is not included: give one above the start"
        )
    return text


@collected
def _select(select: dict[str, Any]) -> dict[str, Any]:
    problems = []
    for axis, wanted in select.items():
        names = [item for item in wanted if isinstance(item, str)] if isinstance(wanted, tuple) else []
        if axis != "c" and names:
            problems.append(
                Problem(f"{shown(names[0])} is not an index", "only channels have names; give indices", axis)
            )
    if problems:
        raise RequestError(problems)
    return select


@collected
def _dtype(raw: str) -> str:
    if raw not in ("input", *DTYPES):
        raise RequestError(f"{shown(raw)} is not a dtype of an output", nearest(raw, ("input", *DTYPES)))
    return raw


@collected
def _share(raw: object) -> float:
    match = _SHARE.fullmatch(raw) if isinstance(raw, str) else None
    share = math.nan
    if match is not None:
        share = float(match[1]) / 100
    elif isinstance(raw, int | float) and not isinstance(raw, bool):
        share = raw
    if not 0 <= share <= 1:
        comma = comma_mend(raw) if isinstance(raw, str) else ""
        raise RequestError(
            f"{shown(raw)} is not a share of the pixels", comma or "give one such as 0.1% or 0.001"
        )
    return float(share)


@collected
def _checksum(raw: object) -> bool:
    if not isinstance(raw, bool) and raw != "crc32c":
        raise RequestError(f"{shown(raw)} is not a choice", "use one of false, true, crc32c")
    return bool(raw)


def version_text(raw: object) -> object:
    """Return a version as the text that it is, given with or without quotes."""
    return str(raw) if isinstance(raw, float) else raw


@collected
def _path(raw: object) -> object:
    if isinstance(raw, str) and not raw.strip():
        raise RequestError("is an empty path", "name a file or a folder")
    if isinstance(raw, str) and "\0" in raw:
        raise RequestError("no path holds a NUL character", "leave it out")
    path = os.fspath(raw) if isinstance(raw, os.PathLike) else raw
    try:
        os.fsencode(path) if isinstance(path, str) else None
    except UnicodeEncodeError:
        raise RequestError(f"{shown(path)} holds a character that no path can hold", "leave it out") from None
    return path


def _by_axis(axes: str, entry: dict[str, Any]) -> WithJsonSchema:
    """Return the schema of a mapping from axis to `entry`, with a key for each axis that may stand there."""
    properties = dict.fromkeys(axes, entry)
    return WithJsonSchema(
        {"type": "object", "additionalProperties": False, "minProperties": 1, "properties": properties}
    )


_ANY_SLICE = {"type": "string", "pattern": f"^{_SLICE.pattern}$"}
_ANY_LIST = {"type": "array", "minItems": 1, "items": {"type": ["integer", "string"]}}

Axis = Annotated[str, AfterValidator(_axis)]
DataAxes = Annotated[str, AfterValidator(_data_axes)]
StoredAxes = Annotated[str, AfterValidator(_stored_axes)]
FilePath = Annotated[str, BeforeValidator(_path)]
Pixels = Annotated[int, BeforeValidator(_pixels)]
PerAxis = Annotated[
    dict[Axis, Pixels], Field(min_length=1), _by_axis(ORDER, {"type": "integer", "minimum": 1})
]
PixelSize = Annotated[Any, BeforeValidator(_pixel_size), PlainSerializer(Quantity.plain)]
Scale = Annotated[
    dict[Axis, PixelSize],
    Field(min_length=1),
    AfterValidator(_scale),
    _by_axis(
        ORDER.replace("c", ""), {"type": "string", "pattern": r"^\s*[-+]?[\d.]+([eE][-+]?\d+)?\s*\D+\s*$"}
    ),
]
Selection = Annotated[
    Any,
    BeforeValidator(_selection),
    PlainSerializer(lambda value: list(value) if isinstance(value, tuple) else value),
]
Select = Annotated[
    dict[Axis, Selection],
    Field(min_length=1),
    AfterValidator(_select),
    _by_axis(ORDER, {"anyOf": [_ANY_SLICE, {"type": "integer"}, _ANY_LIST]}),
]
Dtype = Annotated[str, AfterValidator(_dtype), WithJsonSchema({"enum": ["input", *DTYPES]})]
Share = Annotated[
    float,
    BeforeValidator(_share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": _SHARE.pattern.join("^$")},
            ]
        }
    ),
]
Checksum = Annotated[bool, BeforeValidator(_checksum), WithJsonSchema({"enum": [False, True, "crc32c"]})]
