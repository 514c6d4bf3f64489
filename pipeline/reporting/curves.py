"""Curves and histograms as SVG: in the page's own colours, so that they follow light and dark."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.explore.scales import count_bins, ticks
from pipeline.model.text import value_text
from pipeline.reporting import svg

WIDTH, HEIGHT = 460.0, 150.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 22.0, 8.0, 34.0

MOST_POINTS = 400
"""A curve of more points is drawn as mean, with the least and the greatest of each stretch behind it."""

_DOTS = 40
_BINS = 90

# A curve that varies less than this share of its level is drawn flat rather than as a mountain range.
_CALM = 0.02


@dataclass(frozen=True)
class Scale:
    """Maps values to where they are drawn."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, values: NDArray) -> NDArray:
        """Return where values are drawn."""
        return self.first + (np.asarray(values) - self.low) / (self.high - self.low) * (
            self.last - self.first
        )


def curve(y: NDArray, x_label: str, title: str, kind: str) -> Markup:
    """Return a curve; where there are many points, with the extremes of each stretch behind it.

    Parameters
    ----------
    y : numpy.ndarray
        One for each frame; where it is NaN, the curve has a gap.
    x_label : str
        Below the axis.
    title : str
        For a reader who does not see it.
    kind : str
        A class of the page's style: "background", "signal" or "clipped".
    """
    x, known = np.arange(len(y), dtype=float), y[np.isfinite(y)]
    if known.size == 0 or x.size < 2:
        return Markup("")
    across = Scale(float(x[0]), float(x[-1]), _LEFT, WIDTH - _RIGHT)
    up = Scale(*_room(float(known.min()), float(known.max())), HEIGHT - _BOTTOM, _TOP)
    centres, low, mean, high = _stretches(x, y)
    parts = _frame(across, up, x_label, least=1.0)
    xs, ys = across(centres), up(mean)
    if len(centres) < len(x):
        there = [*zip(xs, up(high), strict=True), *reversed([*zip(xs, up(low), strict=True)])]
        parts.append(
            svg.path(f"{kind} band", [place for place in there if math.isfinite(place[1])], closed=True)
        )
    parts += [svg.path(kind, piece) for piece in _pieces(xs, ys)]
    if len(centres) <= _DOTS:
        parts += [svg.dot(kind, x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
    return svg.image("chart", WIDTH, HEIGHT, title, parts)


def _room(low: float, high: float) -> tuple[float, float]:
    """Return the ends of an axis: with room, and not so near that noise looks like a change."""
    least = _CALM * max(abs(low), abs(high)) or 1.0
    spread = max(high - low, least)
    middle = (low + high) / 2
    bottom = middle - 0.58 * spread
    # What can only be a count, or is one, begins at its zero.
    return (0.0 if 0 <= low < 0.1 * high else bottom), middle + 0.58 * spread


def _stretches(x: NDArray, y: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return centre, least, mean and greatest of each of at most `MOST_POINTS` stretches."""
    if len(x) <= MOST_POINTS:
        return x, y, y, y
    found = []
    for some_x, some_y in zip(np.array_split(x, MOST_POINTS), np.array_split(y, MOST_POINTS), strict=True):
        known = some_y[np.isfinite(some_y)]
        figures = (known.min(), known.mean(), known.max()) if known.size else (np.nan,) * 3
        found.append((some_x.mean(), *figures))
    centres, low, mean, high = np.array(found).T
    return centres, low, mean, high


def _pieces(xs: NDArray, ys: NDArray) -> list[list[tuple[float, float]]]:
    """Return the unbroken pieces of a curve."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for px, py in zip(xs, ys, strict=True):
        if math.isfinite(py):
            pieces[-1].append((float(px), float(py)))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if len(piece) > 1]


def _frame(across: Scale, up: Scale | None, x_label: str, least: float = 0.0) -> list[Markup]:
    """Return axes, their numbers, and faint lines across."""
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = []
    for value in ticks(up.low, up.high, 5) if up is not None else ():
        y = float(up(np.array(value))) if up is not None else 0.0
        parts.append(svg.line("grid", (_LEFT, y), (right, y)))
        parts.append(svg.text(_LEFT - 6, y + 4, tick_text(value), "end"))
    for value in ticks(across.low, across.high, 5, least):
        x = float(across(np.array(value)))
        parts.append(svg.line("axis", (x, bottom), (x, bottom + 4)))
        parts.append(svg.text(x, bottom + 16, tick_text(value), "middle"))
    parts.append(svg.line("axis", (_LEFT, bottom), (right, bottom)))
    parts.append(svg.text(right, bottom + 31, x_label, "end"))
    return parts


def tick_text(value: float) -> str:
    """Return a number at an axis, with as many digits as it has.

    >>> tick_text(0.35), tick_text(1200.0), tick_text(2e6), tick_text(0.00002)
    ('0.35', '1200', '2e+06', '2e-05')
    """
    return minus(f"{value:.6g}" if 1e-4 <= abs(value) < 1e6 or not value else f"{value:.4g}")


def minus(text: str) -> str:
    """Return numbers in a text with a minus sign where they have a hyphen."""
    return re.sub(r"(?<![\w.])-(?=[\d.])", "−", text)


def histogram(
    series: Sequence[tuple[str, NDArray]], bounds: tuple[float, float], title: str, x_label: str = "value"
) -> Markup:
    """Return how often values occur, on a logarithmic scale, of one or two sets of pixels.

    Parameters
    ----------
    series : sequence of (str, numpy.ndarray)
        A class of the page's style, and finite values; drawn one over the other.
    bounds : (float, float)
        What is shown of the values.
    title : str
        For a reader who does not see it.
    x_label : str
        Below the axis.
    """
    edges, counts = count_bins([values for _, values in series], bounds, _BINS)
    top = max(2, *(int(count.max()) for count in counts))
    across = Scale(float(edges[0]), float(edges[-1]), _LEFT, WIDTH - _RIGHT)
    up = Scale(math.log(0.7), math.log(top * 1.3), HEIGHT - _BOTTOM, _TOP)
    parts: list[Markup] = []
    for (kind, _), count in zip(series, counts, strict=True):
        heights = up(np.log(np.maximum(count, 0.7)))
        places = [(float(across(edges[0])), HEIGHT - _BOTTOM)]
        for place, height in enumerate(heights):
            places += [(float(x), float(height)) for x in across(edges[place : place + 2])]
        places.append((float(across(edges[-1])), HEIGHT - _BOTTOM))
        parts.append(svg.path(f"{kind} filled", places, closed=True))
    parts += _frame(across, None, x_label)
    return svg.image("chart", WIDTH, HEIGHT, title, parts)


def change_text(values: NDArray, unit: str) -> str:
    """Return in words how a level drifts, and its largest step from one frame to the next.

    >>> change_text(np.array([100.0, 101, 100, 130, 102, 100]), "frame")
    'from 100 to 100 (0.0 % over the whole); largest step +30 (+30 %), from frame 2 to 3'
    """
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < 2:
        return ""
    level = values[known]
    ends = max(1, len(level) // 10)
    first, last = float(np.median(level[:ends])), float(np.median(level[-ends:]))
    steps = np.diff(level)
    at = int(np.argmax(np.abs(steps)))
    # A share of a level near 0 says nothing.
    share = _relative if level.min() > 0 else lambda *_: ""
    return minus(
        f"from {value_text(first)} to {value_text(last)}{share(last - first, first, ' over the whole')}; "
        f"largest step {_signed(float(steps[at]))}{share(float(steps[at]), float(level[at]))}, "
        f"from {unit} {known[at]} to {known[at + 1]}"
    )


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{value_text(abs(value))}"


def _relative(change: float, level: float, over: str = "") -> str:
    share = 100 * change / abs(level)
    digits = f"{abs(share):.0f}" if abs(share) >= 10 else f"{abs(share):.1f}"
    sign = "" if digits == "0.0" else "+" if share > 0 else "−"
    return f" ({sign}{digits} %{over})"
