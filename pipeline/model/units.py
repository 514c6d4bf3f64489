"""Lengths and durations with units, and their conversion to pixels."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pipeline.model.errors import RequestError, check_each
from pipeline.model.text import shown

PX = "px"


class _Unit(NamedTuple):
    symbol: str
    kind: Literal["length", "duration"]
    factor: float  # m or s


# By the names that NGFF takes from UDUNITS.
_UNITS = {
    "angstrom": _Unit("Å", "length", 1e-10),
    "picometer": _Unit("pm", "length", 1e-12),
    "nanometer": _Unit("nm", "length", 1e-9),
    "micrometer": _Unit("µm", "length", 1e-6),
    "millimeter": _Unit("mm", "length", 1e-3),
    "centimeter": _Unit("cm", "length", 1e-2),
    "decimeter": _Unit("dm", "length", 1e-1),
    "meter": _Unit("m", "length", 1.0),
    "kilometer": _Unit("km", "length", 1e3),
    "inch": _Unit("in", "length", 0.0254),
    "nanosecond": _Unit("ns", "duration", 1e-9),
    "microsecond": _Unit("µs", "duration", 1e-6),
    "millisecond": _Unit("ms", "duration", 1e-3),
    "second": _Unit("s", "duration", 1.0),
    "minute": _Unit("min", "duration", 60.0),
    "hour": _Unit("h", "duration", 3600.0),
    "day": _Unit("d", "duration", 86400.0),
}
# Other spellings in file metadata and configs; µ has two code points.
_ALIASES = {
    "um": "micrometer",
    "μm": "micrometer",
    "micron": "micrometer",
    "a": "angstrom",
    "us": "microsecond",
    "μs": "microsecond",
    "sec": "second",
    "hr": "hour",
    "hrs": "hour",
    "msec": "millisecond",
}
_NAMES = {unit.symbol.lower(): name for name, unit in _UNITS.items()} | _ALIASES
_QUANTITY = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\W\d]+)\s*")
# Roughly the same for a JSON schema, in whose regular expressions \w does not match µ.
AMOUNT = r"^\s*[-+]?[\d.]+([eE][-+]?\d+)?\s*\D+\s*$"

# A length of 8.125 µm at ImageJ's scale of 0.3250000078 µm is 24.9999994 px, which must not become 24.
_SNAP_DIGITS = 3

# Beyond these a pixel has no size that anybody measured, and sums of it overflow.
_LEAST_SIZE, _LARGEST_SIZE = 1e-100, 1e100

_COMMA = re.compile(r"\s*([-+]?\d*),(\d+)\s*(%?|[^\W\d]*)\s*")
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")


def comma_hint(text: str) -> str:
    """Return the hint how to write a number with a comma, or an empty string.

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
    """Return the NGFF (UDUNITS) name of a unit; RequestError if it is unknown.

    >>> unit_name("µm"), unit_name("seconds"), unit_name("micrometre")
    ('micrometer', 'second', 'micrometer')
    """
    plain = text.strip().lower()
    singular = plain.removesuffix("s") if len(plain) > 3 else plain
    for word in (plain, singular, singular.replace("metre", "meter")):
        name = _NAMES.get(word, word)
        if name in _UNITS:
            return name
    raise RequestError(f"{text!r} is not a unit that bgone knows", "use nm, um, mm, ms, s, min or h")


def short_unit(name: str) -> str:
    """Return the symbol of a unit, µm for micrometer; an unknown name as it is."""
    return _UNITS[name].symbol if name in _UNITS else name


def convertible(unit: str, other: str) -> bool:
    """Return whether both units are lengths, or both durations."""
    return unit in _UNITS and other in _UNITS and _UNITS[unit].kind == _UNITS[other].kind


def ratio(unit: str, other: str) -> float:
    """Return the number of `other` in one `unit`; RequestError if they are not convertible."""
    if not convertible(unit, other):
        message = f"{short_unit(unit)} cannot be converted to {short_unit(other)}"
        raise RequestError(message, "use a unit of the axis")
    return _UNITS[unit].factor / _UNITS[other].factor


def _check_finite(value: float) -> None:
    # Compared as they are, since an int may be larger than any float.
    if not -sys.float_info.max <= value <= sys.float_info.max:
        raise RequestError(f"{str(value)[:20]} is not a finite number", "give a number of px")


@dataclass(frozen=True)
class Quantity:
    """A number of pixels, or a number with a unit.

    >>> Quantity.parse(25), Quantity.parse("8 um")
    (Quantity(value=25, unit='px'), Quantity(value=8.0, unit='micrometer'))
    """

    value: float
    unit: str = PX

    @classmethod
    def parse(cls, raw: object) -> Quantity:
        """Parse a number of pixels, or a text such as "8 um"; RequestError if it is neither."""
        if isinstance(raw, Quantity):
            return raw
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            raise RequestError(f"{shown(raw)} is not a length", _length_hint(raw))
        if isinstance(raw, int | float):
            _check_finite(raw)
            return cls(raw)
        match = _QUANTITY.fullmatch(raw)
        if match is None and (hint := comma_hint(raw)):
            raise RequestError(f"{shown(raw)} has a comma in its number", hint)
        if match is None:
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
        """Convert to pixels of size `scale` `unit`, rounded to 0.001 px; RequestError if it is not known.

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
        return round(self.value * ratio(self.unit, unit) / scale, _SNAP_DIGITS)

    def plain(self) -> float | str:
        """Return the number or text that `parse` takes, with every digit.

        >>> Quantity.parse("8.50 µm").plain(), Quantity.parse("8 um").plain(), Quantity.parse(3).plain()
        ('8.5 um', '8 um', 3)
        """
        if self.unit == PX:
            return self.value
        number = str(self.value).removesuffix(".0")
        return f"{number} {short_unit(self.unit).replace('µ', 'u')}"

    def __str__(self) -> str:
        return f"{self.value:g} {PX if self.unit == PX else short_unit(self.unit)}"


def _length_hint(raw: object) -> str:
    # ITK and scipy take a list of lengths, in the order of the axes.
    if isinstance(raw, list | tuple) and len(raw) in (2, 3) and {*map(type, raw)} <= {int, float}:
        by_axis = ", ".join(f"{axis}: {item}" for axis, item in zip("zyx"[-len(raw) :], raw, strict=True))
        return f"give one number, or one for each axis: {{{by_axis}}}"
    return "give a number of px, or a text such as '8 um'"


def is_size(size: float) -> bool:
    """Return whether `size` can be the size of a pixel, in any unit."""
    return _LEAST_SIZE <= size <= _LARGEST_SIZE


def size_example(axis: str) -> str:
    """Return an example of a pixel's size along an axis."""
    return "30 s" if axis == "t" else "0.325 um"


def check_pixel_size(axis: str, raw: object) -> Quantity:
    """Parse the size of a pixel along an axis; RequestError if it is none, or of the wrong kind.

    >>> check_pixel_size("t", "2 min")
    Quantity(value=2.0, unit='minute')
    """
    example = size_example(axis)
    hint = f"give one such as {example!r}"
    if axis == "c":
        raise RequestError("c has no size", "leave it out")
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        raise RequestError(f"{shown(raw)} has no unit", f"give one, such as {example!r}")
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


# One length for all axes, or one for each by the axis' name.
Extent = Quantity | Mapping[str, Quantity]


def parse_extent(raw: object) -> Extent:
    """Parse a length, or a mapping of axis to length; RequestError with all mistakes, under their axes.

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
    """Return an extent as plain data, which `parse_extent` takes."""
    if isinstance(extent, Quantity):
        return extent.plain()
    return {axis: quantity.plain() for axis, quantity in extent.items()}
