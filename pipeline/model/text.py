"""Sizes, times, counts, names and values as text for messages and pages."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping

MB = 1e6
_LONGEST = 60  # characters of a name or value in a message


def size_text(count: float) -> str:
    """Format a number of bytes.

    >>> size_text(3 * 2**30), size_text(1500)
    ('3.0 GiB', '1.5 KiB')
    """
    if abs(count) < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if abs(count) < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} TiB"


def shape_text(block: Mapping[str, int]) -> str:
    """Format the length of each axis.

    >>> shape_text({"y": 512, "x": 1024})
    'y 512 × x 1024'
    """
    return " × ".join(f"{axis} {px}" for axis, px in block.items())


def axes_text(values: Mapping[str, str]) -> str:
    """Format a value for each axis, or one for all if they are equal.

    >>> axes_text({"y": "25", "x": "25"}), axes_text({"y": "25", "x": "12.5"})
    ('25', 'y 25 x 12.5')
    """
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return " ".join(f"{axis} {value}" for axis, value in values.items())


def number_of(count: int, noun: str) -> str:
    """Format a count with its noun, in the plural unless it is 1.

    >>> number_of(1, "window"), number_of(20, "window")
    ('1 window', '20 windows')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def value_text(value: float) -> str:
    """Format a pixel value.

    >>> value_text(1234.5), value_text(0.01234), value_text(-3.46), value_text(1234567)
    ('1234', '0.0123', '-3.46', '1.23e+06')
    """
    whole = value == round(value) or abs(value) >= 100
    return f"{value:.0f}" if whole and abs(value) < 1e6 else f"{value:.3g}"


def share_text(share: float) -> str:
    """Format a fraction in percent.

    >>> share_text(0.5), share_text(0.00004), share_text(0), share_text(-0.031), share_text(float("nan"))
    ('50 %', '<0.1 %', '0 %', '-3.1 %', '–')
    """
    if math.isnan(share):
        return "–"
    if 0 < share < 0.001:
        return "<0.1 %"
    return f"{100 * share:.0f} %" if abs(share) >= 0.1 or share == 0 else f"{100 * share:.1f} %"


def duration(seconds: float) -> str:
    """Format seconds.

    >>> duration(5), duration(125), duration(7260)
    ('5 s', '2 min 05 s', '2 h 01 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole // 60 % 60:02d} min"


def readable(name: object) -> str:
    r"""Return a name on one line of at most 60 characters.

    >>> readable("two\nlines")
    'two\\nlines'
    """
    text = str(name)
    text = text if text.isprintable() else repr(text)[1:-1]
    return _shorten(text)


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or the name of its type if that is empty."""
    text = str(error).strip()
    return text.splitlines()[0].strip()[:300] if text else type(error).__name__


def shown(value: object) -> str:
    """Return a value as YAML on one line of at most 60 characters.

    >>> shown("3"), shown(True), shown({"y": [1, None]})
    ("'3'", 'true', '{y: [1, null]}')
    """
    text = repr(value) if isinstance(value, str) else flow(value)
    return _shorten(text)


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


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
    # Python refuses to write an int of more than 4300 digits.
    if isinstance(value, int) and abs(value) > 10**_LONGEST:
        return "a number of many digits"
    return readable(value)


def nearest(name: str, known: tuple[str, ...], otherwise: str = "") -> str:
    """Return the hint for an unknown name: the known one closest to it, else `otherwise` or the known ones.

    >>> nearest("white_tophad", ("white_tophat", "gaussian"))
    'did you mean white_tophat?'
    """
    lowered = {option.lower(): option for option in known}
    close = difflib.get_close_matches(name.lower()[:_LONGEST], lowered, n=1, cutoff=0.6)
    if close:
        return f"did you mean {lowered[close[0]]}?"
    return otherwise or f"use one of {', '.join(known)}"


_JOINED = re.compile(r"-?\s*(\w+)\s*([:=])\s*(\S.*)?", re.DOTALL)


def spacing_hint(text: object, known: Iterable[str]) -> str:
    """Return the hint for a known key and its value without a space between, or an empty string.

    >>> spacing_hint("radius:12", ("radius", "size")), spacing_hint("radius", ("radius", "size"))
    ('put a space after the colon: radius: 12', '')
    """
    match = _JOINED.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None or match[1] not in known:
        return ""
    value = f" {readable(match[3])}" if match[3] else " …"
    hint = "put a space after the colon" if match[2] == ":" else "write a colon and a space for the ="
    return f"{hint}: {match[1]}:{value}"
