"""Lengths and durations, with their units, and their way into pixels."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.model.errors import RequestError, check_each
from pipeline.model.text import shown

PX = "px"
_METRE = {
    "angstrom": 1e-10, "picometer": 1e-12, "nanometer": 1e-9, "micrometer": 1e-6, "millimeter": 1e-3,
    "centimeter": 1e-2, "decimeter": 1e-1, "meter": 1.0, "kilometer": 1e3, "inch": 0.0254,
}  # fmt: skip
_SECOND = {
    "nanosecond": 1e-9, "microsecond": 1e-6, "millisecond": 1e-3, "second": 1.0, "minute": 60.0,
    "hour": 3600.0, "day": 86400.0,
}  # fmt: skip
_SHORT = {
    "angstrom": "Å", "picometer": "pm", "nanometer": "nm", "micrometer": "µm", "millimeter": "mm",
    "centimeter": "cm", "decimeter": "dm", "meter": "m", "kilometer": "km", "inch": "in",
    "nanosecond": "ns", "microsecond": "µs", "millisecond": "ms", "second": "s", "minute": "min",
    "hour": "h", "day": "d",
}  # fmt: skip
_ALIASES = {
    "um": "micrometer", "μm": "micrometer", "micron": "micrometer", "microns": "micrometer",
    "a": "angstrom", "us": "microsecond", "μs": "microsecond", "sec": "second",
    "secs": "second", "hr": "hour", "hrs": "hour", "mins": "minute", "msec": "millisecond",
}  # fmt: skip
_QUANTITY = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\W\d]+)\s*")

# Rounding before a floor would otherwise turn 24.9999994 px, which is 8.125 µm at an
# ImageJ scale of 0.325 µm, into 24.
SNAP_DIGITS = 3


_COMMA = re.compile(r"\s*([-+]?\d*),(\d+)\s*(%?|[^\W\d]*)\s*")
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")


def comma_hint(text: str) -> str:
    """Return how to write a number that has a comma in it; nothing where it has none.

    >>> comma_hint("12,5 um"), comma_hint("1,000"), comma_hint("GFP")
    ('write it with a point: 12.5 um', 'write it without the comma: 1000, or with a point: 1.000', '')
    """
    match = _COMMA.fullmatch(text)
    if match is None:
        return ""
    unit = match[3] and f" {match[3]}".replace(" %", "%")
    point = f"with a point: {match[1] or 0}.{match[2]}{unit}"
    if _THOUSANDS.fullmatch(f"{match[1]},{match[2]}"):
        return f"write it without the comma: {match[1]}{match[2]}{unit}, or {point}"
    return f"write it {point}"


def unit_name(text: str) -> str:
    """Return the NGFF (UDUNITS) name of a unit.

    Raises
    ------
    RequestError
        The unit is not known.

    Examples
    --------
    >>> unit_name("µm"), unit_name("seconds"), unit_name("micrometre")
    ('micrometer', 'second', 'micrometer')
    """
    known = {short.lower(): name for name, short in _SHORT.items()} | _ALIASES
    plain = text.strip().lower()
    singular = plain.removesuffix("s") if len(plain) > 3 else plain
    for word in (plain, singular, singular.replace("metre", "meter")):
        if word in _SHORT:
            return word
        if word in known:
            return known[word]
    raise RequestError(f"{text!r} is not a unit that bgone knows", "use nm, um, mm, ms, s, min or h")


def short_unit(name: str) -> str:
    """Return the symbol of a unit: µm for micrometer; a name unknown here as it is."""
    return _SHORT.get(name, name)


def ratio(unit: str, other: str) -> float:
    """Return how many of `other` make one `unit`.

    Raises
    ------
    RequestError
        One is a length and the other a duration.
    """
    for table in (_METRE, _SECOND):
        if unit in table and other in table:
            return table[unit] / table[other]
    raise RequestError(
        f"{short_unit(unit)} cannot be converted to {short_unit(other)}", "use a unit of the axis"
    )


def convertible(unit: str, other: str) -> bool:
    """Return whether both are lengths, or both durations.

    >>> convertible("micrometer", "meter"), convertible("second", "meter")
    (True, False)
    """
    return any(unit in table and other in table for table in (_METRE, _SECOND))


def _check_finite(value: float) -> None:
    # An int may be larger than any float.
    if not -sys.float_info.max <= value <= sys.float_info.max:
        raise RequestError(f"{str(value)[:20]} is not a finite number", "give a number of px")


@dataclass(frozen=True)
class Quantity:
    """A length along an axis: a number of pixels, or a number with a unit.

    Examples
    --------
    >>> Quantity.parse(25), Quantity.parse("8 um")
    (Quantity(value=25, unit='px'), Quantity(value=8.0, unit='micrometer'))
    """

    value: float
    unit: str = PX

    @classmethod
    def parse(cls, raw: object) -> Quantity:
        """Read a number (pixels) or a text such as "8 um".

        Raises
        ------
        RequestError
            It is neither, not finite, or its unit is not known.
        """
        if isinstance(raw, Quantity):
            return raw
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            raise RequestError(f"{shown(raw)} is not a length", _axis_by_axis(raw))
        if isinstance(raw, int | float):
            _check_finite(raw)
            return cls(raw)
        match = _QUANTITY.fullmatch(raw)
        if match is None:
            comma = comma_hint(raw)
            if comma:
                raise RequestError(f"{shown(raw)} has a comma in its number", comma)
            raise RequestError(
                f"{shown(raw)} is no number and no number with a unit",
                "give a number without quotes for px, or a number with a unit such as '8 um'",
            )
        value = float(match[1])
        _check_finite(value)
        if match[2].lower() in (PX, "pixel", "pixels"):
            return cls(value)
        return cls(value, unit_name(match[2]))

    def pixels(self, scale: float | None, unit: str | None) -> float:
        """Return it in pixels of size `scale` `unit`, snapped to 0.001 px.

        Raises
        ------
        RequestError
            It has a unit and the axis has no scale, or one of another kind.

        Examples
        --------
        >>> Quantity.parse("8.125 um").pixels(0.3250000078, "micrometer")
        25.0
        """
        if self.unit == PX:
            return float(self.value)
        if scale is None or unit is None or unit == PX:
            raise RequestError(
                f"{self} needs the size of a pixel, and the data does not say it",
                "say it in scale (input.scale in a config), or give the length in px",
            )
        return round(self.value * ratio(self.unit, unit) / scale, SNAP_DIGITS)

    def plain(self) -> float | str:
        """Return it as the YAML has it, with every digit.

        >>> Quantity.parse("8.50 µm").plain(), Quantity.parse("8 um").plain(), Quantity.parse(3).plain()
        ('8.5 um', '8 um', 3)
        """
        if self.unit == PX:
            return self.value
        number = str(self.value).removesuffix(".0")
        return f"{number} {short_unit(self.unit).replace('µ', 'u')}"

    def __str__(self) -> str:
        return f"{self.value:g} {PX if self.unit == PX else short_unit(self.unit)}"


# Beyond these a pixel has no size that anybody measured, and sums of it overflow.


def _axis_by_axis(raw: object) -> str:
    """Return the hint for what is no length: of a list of numbers, the same by axis."""
    plain = isinstance(raw, list | tuple) and all(type(item) in (int, float) for item in raw)
    if isinstance(raw, list | tuple) and plain and len(raw) in (2, 3):
        given = ", ".join(f"{axis}: {item}" for axis, item in zip("zyx"[-len(raw) :], raw, strict=True))
        return f"give one number, or one for each axis: {{{given}}}"
    return "give a number of px, or a text such as '8 um'"


AMOUNT = r"^\s*[-+]?[\d.]+([eE][-+]?\d+)?\s*\D+\s*$"
"""A number with a unit, for a JSON schema; roughly."""

# Beyond these a pixel has no size that anybody measured, and sums of it overflow.
_LEAST, _MOST = 1e-100, 1e100


def is_size(size: float) -> bool:
    """Return whether a pixel can be so large, in any unit.

    >>> is_size(0.325), is_size(0.0), is_size(float("inf"))
    (True, False, False)
    """
    return _LEAST <= size <= _MOST


def size_example(axis: str) -> str:
    """Return the size of a pixel along an axis as an example."""
    return "30 s" if axis == "t" else "0.325 um"


def check_pixel_size(axis: str, raw: object) -> Quantity:
    """Return the size of a pixel along an axis.

    Parameters
    ----------
    axis : str
        Its letter.
    raw : str or Quantity
        A number with a unit, or a text such as "0.325 um".

    Raises
    ------
    RequestError
        It is none, or not of the kind of the axis.

    Examples
    --------
    >>> check_pixel_size("t", "2 min")
    Quantity(value=2.0, unit='minute')
    """
    hint = f"give one such as {size_example(axis)!r}"
    if axis == "c":
        raise RequestError("c has no size", "leave it out")
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        raise RequestError(f"{shown(raw)} has no unit", f"give one, such as {size_example(axis)!r}")
    if not isinstance(raw, str | Quantity):
        raise RequestError(f"{shown(raw)} is not the size of a pixel", hint)
    quantity = Quantity.parse(raw)
    if quantity.unit == PX:
        raise RequestError(f"{quantity} is not the size of a pixel", hint)
    if not quantity.value > 0:
        raise RequestError(f"{quantity} is not above 0", hint)
    if not is_size(quantity.value):
        raise RequestError(f"{quantity} is no size", hint)
    if not convertible(quantity.unit, "second" if axis == "t" else "meter"):
        raise RequestError(f"{quantity} is no {'time' if axis == 't' else 'length'}", hint)
    return quantity


Extent = Quantity | Mapping[str, Quantity]
"""A length for every axis, or one for each axis by name."""


def parse_extent(raw: object) -> Extent:
    """Read a length, or a mapping from axis to length.

    Raises
    ------
    RequestError
        All lengths that are none, each with its axis as the field.

    Examples
    --------
    >>> parse_extent({"z": 1, "y": "2 um"})["y"]
    Quantity(value=2.0, unit='micrometer')
    """
    if not isinstance(raw, Mapping):
        return Quantity.parse(raw)
    if not raw:
        raise RequestError("no axis is given", "give a length for each axis, such as {y: 2, x: 2}")
    by_axis = {str(axis): length for axis, length in raw.items()}
    lengths = check_each(by_axis, lambda _, length: Quantity.parse(length))
    return {axis.lower(): length for axis, length in lengths.items()}


def plain_extent(extent: Extent) -> object:
    """Return it as the YAML has it."""
    if isinstance(extent, Quantity):
        return extent.plain()
    return {axis: quantity.plain() for axis, quantity in extent.items()}
