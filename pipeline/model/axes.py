"""Axes of an image: t c z y x, always in this order."""

from typing import Literal

from pipeline.model.errors import RequestError
from pipeline.model.text import shown

ORDER = "tczyx"
SPACE = "zyx"

AxisKind = Literal["time", "channel", "space"]


def kind(axis: str) -> AxisKind:
    """Return the NGFF type of an axis."""
    return "time" if axis == "t" else "channel" if axis == "c" else "space"


def axis_names(axes: object, field: str = "axes") -> str:
    """Return `axes` in lower case; RequestError unless it is a string."""
    if not isinstance(axes, str):
        raise RequestError(f"{axes!r} is no text", "write one letter for each axis, such as 'tyx'", field)
    return axes.lower()


def in_order(axes: str) -> str:
    """Sort axes as t c z y x.

    >>> in_order("xyt")
    'tyx'
    """
    return "".join(sorted(axes, key=ORDER.index))


def check_letters(axes: str, letters: str = ORDER, field: str = "axes") -> str:
    """Return `axes` in lower case; RequestError if one is not among `letters`, or named twice.

    >>> check_letters("XYZ", "tzyx")
    'xyz'
    """
    lowered = axis_names(axes, field)
    unknown = [axis for axis in lowered if axis not in letters]
    if unknown:
        hint = f"use letters out of {', '.join(letters)}"
        raise RequestError(f"{shown(axes)} names an axis {unknown[0]!r}", hint, field)
    if len(set(lowered)) < len(lowered):
        raise RequestError(f"{shown(axes)} names an axis twice", "name each axis once", field)
    return lowered


def image_axes(axes: str, field: str = "axes") -> str:
    """Return the axes of an image in lower case, in any order; RequestError if y or x is missing."""
    lowered = check_letters(axes, ORDER, field)
    if not {"y", "x"} <= set(lowered):
        raise RequestError(f"{shown(axes)} lacks y or x", "an image has the axes y and x", field)
    return lowered


def check_axes(axes: str, ndim: int | None = None, field: str = "axes") -> str:
    """Return the axes of an image in lower case; RequestError if out of order, or not `ndim` of them.

    >>> check_axes("tyx", 3)
    'tyx'
    """
    axes = image_axes(axes, field)
    if in_order(axes) != axes:
        message = f"{axes!r} is not in the order t c z y x"
        raise RequestError(message, f"store the data as {in_order(axes)!r}", field)
    if ndim is not None and len(axes) != ndim:
        message = f"{axes!r} names {len(axes)} axes and the data has {ndim}"
        raise RequestError(message, "name one letter for each axis", field)
    return axes
