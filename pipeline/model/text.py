"""Sizes, shapes, times and counts in words for people."""

from __future__ import annotations

import math
from collections.abc import Mapping


def size_text(count: float) -> str:
    """Return bytes for a reader.

    >>> size_text(3 * 2**30), size_text(1500)
    ('3.0 GiB', '1.5 KiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(count) < 1024 or unit == "TiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def shape_text(block: Mapping[str, int]) -> str:
    """Return axis lengths for a reader.

    >>> shape_text({"y": 512, "x": 1024})
    'y 512 × x 1024'
    """
    return " × ".join(f"{axis} {px}" for axis, px in block.items())


def number_of(count: int, noun: str) -> str:
    """Return a number of things in words.

    Examples
    --------
    >>> number_of(1, "window"), number_of(20, "window")
    ('1 window', '20 windows')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


MB = 1e6


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
