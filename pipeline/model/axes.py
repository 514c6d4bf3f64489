"""The axes of an image: t c z y x, always in this order."""

from typing import Literal

from pipeline.model.errors import RequestError

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


def check_axes(axes: str, ndim: int | None = None) -> str:
    """Return `axes` if they name the axes of an image, one letter each.

    Parameters
    ----------
    axes : str
        Letters out of t c z y x, in this order, each once, y and x among them.
    ndim : int, optional
        How many axes the data has.

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
    wrong = [axis for axis in axes if axis not in ORDER]
    if wrong:
        raise RequestError(f"{axes!r} names an axis {wrong[0]!r}", "use letters out of t, c, z, y, x", "axes")
    if len(set(axes)) < len(axes):
        raise RequestError(f"{axes!r} names an axis twice", "name each axis once", "axes")
    if "".join(sorted(axes, key=ORDER.index)) != axes:
        ordered = "".join(sorted(axes, key=ORDER.index))
        raise RequestError(
            f"{axes!r} is not in the order t c z y x", f"store the data as {ordered!r}", "axes"
        )
    if not axes.endswith("yx"):
        raise RequestError(f"{axes!r} lacks y or x", "the last two axes are y and x", "axes")
    if ndim is not None and len(axes) != ndim:
        raise RequestError(
            f"{axes!r} names {len(axes)} axes and the data has {ndim}",
            "name one letter for each axis",
            "axes",
        )
    return axes
