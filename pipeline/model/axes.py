"""The axes of an image: t c z y x, always in this order."""

from typing import Literal

from pipeline.model.errors import RequestError
from pipeline.model.text import shown

ORDER = "tczyx"
SPACE = "zyx"

AxisKind = Literal["time", "channel", "space"]


def kind(axis: str) -> AxisKind:
    """Return what an axis measures, in NGFF's words.

    >>> [kind(axis) for axis in "tcy"]
    ['time', 'channel', 'space']
    """
    return "time" if axis == "t" else "channel" if axis == "c" else "space"


def axis_names(axes: object, field: str = "axes") -> str:
    """Return axes as somebody wrote them in small letters.

    Raises
    ------
    RequestError
        They are no text.

    Examples
    --------
    >>> axis_names("TYX")
    'tyx'
    """
    if not isinstance(axes, str):
        raise RequestError(f"{axes!r} is no text", "write one letter for each axis, such as 'tyx'", field)
    return axes.lower()


def in_order(axes: str) -> str:
    """Return axes in the order t c z y x.

    >>> in_order("xyt")
    'tyx'
    """
    return "".join(sorted(axes, key=ORDER.index))


def check_letters(axes: str, letters: str = ORDER, field: str = "axes") -> str:
    """Return axes as somebody wrote them in small letters, in any order, if each is an axis, named once.

    Parameters
    ----------
    axes : str
        What somebody wrote.
    letters : str
        The axes that there may be.
    field : str
        Where it stands.

    Raises
    ------
    RequestError
        It is no text, or a letter is none of `letters` or doubled.

    Examples
    --------
    >>> check_letters("XYZ", "tzyx")
    'xyz'
    """
    lowered = axis_names(axes, field)
    wrong = [axis for axis in lowered if axis not in letters]
    if wrong:
        known = ", ".join(letters)
        raise RequestError(f"{shown(axes)} names an axis {wrong[0]!r}", f"use letters out of {known}", field)
    if len(set(lowered)) < len(lowered):
        raise RequestError(f"{shown(axes)} names an axis twice", "name each axis once", field)
    return lowered


def image_axes(axes: str, field: str = "axes") -> str:
    """Return the axes of an image in small letters, in any order.

    Raises
    ------
    RequestError
        As `check_letters`, or y or x is missing.

    Examples
    --------
    >>> image_axes("XYT")
    'xyt'
    """
    lowered = check_letters(axes, ORDER, field)
    if not {"y", "x"} <= set(lowered):
        raise RequestError(f"{shown(axes)} lacks y or x", "an image has the axes y and x", field)
    return lowered


def check_axes(axes: str, ndim: int | None = None, field: str = "axes") -> str:
    """Return `axes` if they name the axes of an image, one letter each.

    Parameters
    ----------
    axes : str
        Letters out of t c z y x, in this order, each once, y and x among them.
    ndim : int, optional
        How many axes the data has.
    field : str
        Where it stands.

    Raises
    ------
    RequestError
        A letter is unknown, doubled or out of order, y or x is missing, or the
        number of letters is not `ndim`.

    Examples
    --------
    >>> check_axes("tyx", 3)
    'tyx'
    """
    axes = image_axes(axes, field)
    if in_order(axes) != axes:
        what = f"{axes!r} is not in the order t c z y x"
        raise RequestError(what, f"store the data as {in_order(axes)!r}", field)
    if ndim is not None and len(axes) != ndim:
        what = f"{axes!r} names {len(axes)} axes and the data has {ndim}"
        raise RequestError(what, "name one letter for each axis", field)
    return axes
