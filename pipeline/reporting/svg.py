"""SVG elements with escaped text; `kind` is the CSS class that gives the colour."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup


def image(kind: str, width: float, height: float, title: str, parts: Iterable[Markup]) -> Markup:
    """Return an svg element; `title` is read out by screen readers."""
    return Markup('<svg class="{}" viewBox="0 0 {:g} {:.1f}" role="img" aria-label="{}">{}</svg>').format(
        kind, width, height, title, Markup("").join(parts)
    )


def rect(kind: str, x: float, y: float, width: float, height: float) -> Markup:
    """Return a rectangle at least 0.5 units wide and high, so that it stays visible."""
    return Markup('<rect class="{}" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>').format(
        kind, x, y, max(width, 0.5), max(height, 0.5)
    )


def line(kind: str, start: tuple[float, float], end: tuple[float, float]) -> Markup:
    """Return a line between two points (x, y)."""
    return Markup('<line class="{}" x1="{:.2f}" y1="{:.2f}" x2="{:.2f}" y2="{:.2f}"/>').format(
        kind, *start, *end
    )


def text(
    x: float, y: float, words: object, anchor: str = "start", kind: str = "label", upward: bool = False
) -> Markup:
    """Return text whose `anchor` (start, middle or end) lies at the point."""
    turned = " rotate(-90)" if upward else ""
    return Markup(
        '<text class="{}" transform="translate({:.1f} {:.1f}){}" text-anchor="{}">{}</text>'
    ).format(kind, x, y, turned, anchor, words)


def path(kind: str, points: Iterable[tuple[float, float]], closed: bool = False) -> Markup:
    """Return a line through points, or the area inside it."""
    return Markup('<{} class="{}" points="{}"/>').format(
        "polygon" if closed else "polyline", kind, " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    )


def dot(kind: str, x: float, y: float) -> Markup:
    """Return a small dot."""
    return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="2.4"/>').format(kind, x, y)
