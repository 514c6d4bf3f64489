"""Sizes, shapes, times and counts in words for people."""

from __future__ import annotations

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
