"""Sizes, times, counts, names and values in words for people."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping


def size_text(count: float) -> str:
    """Return bytes for a reader.

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
    """Return axis lengths for a reader.

    >>> shape_text({"y": 512, "x": 1024})
    'y 512 × x 1024'
    """
    return " × ".join(f"{axis} {px}" for axis, px in block.items())


def axes_text(values: Mapping[str, str]) -> str:
    """Return what holds for each axis for a reader, once where it is the same for all.

    >>> axes_text({"y": "25", "x": "25"}), axes_text({"y": "25", "x": "12.5"})
    ('25', 'y 25 x 12.5')
    """
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return " ".join(f"{axis} {value}" for axis, value in values.items())


def number_of(count: int, noun: str) -> str:
    """Return a number of things in words.

    Examples
    --------
    >>> number_of(1, "window"), number_of(20, "window")
    ('1 window', '20 windows')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


MB = 1e6
LONGEST = 60
"""Characters of a value or a name in a message."""


def value_text(value: float) -> str:
    """Return a pixel value for a reader.

    >>> value_text(1234.5), value_text(0.01234), value_text(-3.46), value_text(1234567)
    ('1234', '0.0123', '-3.46', '1.23e+06')
    """
    whole = value == round(value) or abs(value) >= 100
    return f"{value:.0f}" if whole and abs(value) < 1e6 else f"{value:.3g}"


def share_text(share: float) -> str:
    """Return a share in percent for a reader.

    >>> share_text(0.5), share_text(0.00004), share_text(0), share_text(-0.031), share_text(float("nan"))
    ('50 %', '<0.1 %', '0 %', '-3.1 %', '–')
    """
    if math.isnan(share):
        return "–"
    if 0 < share < 0.001:
        return "<0.1 %"
    return f"{100 * share:.0f} %" if abs(share) >= 0.1 or share == 0 else f"{100 * share:.1f} %"


def duration(seconds: float) -> str:
    """Return seconds for a reader.

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
    r"""Return a name from a config on one line, at no great length.

    >>> readable("two\nlines")
    'two\\nlines'
    """
    text = str(name)
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= 60 else f"{text[:57]}..."


def first_line(error: Exception) -> str:
    """Return what an error says, in one line that is never empty."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def shown(value: object) -> str:
    """Return a value as YAML has it, on one line, at no great length.

    >>> shown("3"), shown(True), shown({"y": [1, None]})
    ("'3'", 'true', '{y: [1, null]}')
    """
    text = repr(value) if isinstance(value, str) else flow(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


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
    if isinstance(value, int) and abs(value) > 10**LONGEST:
        return "a number of many digits"
    return readable(value)


def nearest(name: str, known: tuple[str, ...], otherwise: str = "") -> str:
    """Return the hint for an unknown name: the one that was meant, or those that there are.

    >>> nearest("white_tophad", ("white_tophat", "gaussian"))
    'did you mean white_tophat?'
    """
    lowered = {option.lower(): option for option in known}
    close = difflib.get_close_matches(name.lower()[:LONGEST], lowered, n=1, cutoff=0.6)
    if close:
        return f"did you mean {lowered[close[0]]}?"
    return otherwise or f"use one of {', '.join(known)}"


_JOINED = re.compile(r"-?\s*(\w+)\s*([:=])\s*(\S.*)?", re.DOTALL)


def spacing_hint(text: object, known: Iterable[str]) -> str:
    """Return the hint for a key and its value that are one word; nothing where they are none.

    >>> spacing_hint("radius:12", ("radius", "size")), spacing_hint("radius", ("radius", "size"))
    ('put a space after the colon: radius: 12', '')
    """
    match = _JOINED.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None or match[1] not in known:
        return ""
    value = f" {readable(match[3])}" if match[3] else " …"
    what = "put a space after the colon" if match[2] == ":" else "write a colon and a space for the ="
    return f"{what}: {match[1]}:{value}"
