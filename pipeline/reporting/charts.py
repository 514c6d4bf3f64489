"""Curves and histograms as SVG; CSS classes colour them, so they follow light and dark mode."""

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

_WIDTH, _HEIGHT = 460.0, 150.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, _WIDTH - 22.0, 8.0, _HEIGHT - 34.0

_MOST_POINTS = 400  # longer curves are drawn as means, with a band from minimum to maximum
_DOTS = 40  # up to so many points are marked
_BINS = 90
_CALM = 0.02  # the smallest range of an axis as a share of the level, so that noise looks flat


@dataclass(frozen=True)
class _Axis:
    """Linear map from values to positions in the drawing."""

    ends: tuple[float, float]  # values
    drawn: tuple[float, float]  # positions of these

    def __call__(self, values: NDArray | float) -> NDArray:
        return np.asarray(np.interp(values, self.ends, self.drawn))


def curve(y: NDArray, x_label: str, title: str, kind: str) -> Markup:
    """Draw a curve over frames, with a band of extremes where there are many; NaN makes a gap.

    `kind` is a CSS class of the page ("input", "background", "signal" or "clipped"), `title` is read out
    by screen readers.
    """
    valid = y[np.isfinite(y)]
    if valid.size == 0 or y.size < 2:
        return Markup("")
    across = _Axis((0.0, len(y) - 1.0), (_LEFT, _RIGHT))
    up = _Axis(_axis_range(float(valid.min()), float(valid.max())), (_BOTTOM, _TOP))
    centres, low, mean, high = _condensed(y)
    parts = _draw_axes(across, up, x_label, least=1.0)
    xs, ys = across(centres), up(mean)
    if len(centres) < len(y):
        outline = [*zip(xs, up(high), strict=True), *reversed([*zip(xs, up(low), strict=True)])]
        parts.append(
            svg.path(f"{kind} band", [point for point in outline if math.isfinite(point[1])], closed=True)
        )
    for piece in np.ma.clump_unmasked(np.ma.masked_invalid(ys)):
        if piece.stop - piece.start > 1:
            parts.append(svg.path(kind, zip(xs[piece], ys[piece], strict=True)))
    if len(centres) <= _DOTS:
        parts += [svg.dot(kind, x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
    return svg.image("chart", _WIDTH, _HEIGHT, title, parts)


def _axis_range(low: float, high: float) -> tuple[float, float]:
    """Return the ends of an axis, with a margin and a minimum range."""
    least = _CALM * max(abs(low), abs(high)) or 1.0
    spread = max(high - low, least)
    middle = (low + high) / 2
    bottom = middle - 0.58 * spread
    # An axis of counts begins at 0.
    return (0.0 if 0 <= low < 0.1 * high else bottom), middle + 0.58 * spread


def _condensed(y: NDArray) -> tuple[NDArray, ...]:
    """Return centre, minimum, mean and maximum of at most `_MOST_POINTS` stretches of a curve."""
    x = np.arange(len(y), dtype=float)
    if len(y) <= _MOST_POINTS:
        return x, y, y, y
    rows = []
    for frames in np.array_split(np.arange(len(y)), _MOST_POINTS):
        valid = y[frames][np.isfinite(y[frames])]
        figures = (valid.min(), valid.mean(), valid.max()) if valid.size else (np.nan,) * 3
        rows.append((x[frames].mean(), *figures))
    return tuple(np.array(rows).T)


def _draw_axes(across: _Axis, up: _Axis | None, x_label: str, least: float = 0.0) -> list[Markup]:
    """Draw the axes, their ticks and the grid."""
    parts = []
    if up is not None:
        for value in ticks(*up.ends, 5):
            y = float(up(value))
            parts.append(svg.line("grid", (_LEFT, y), (_RIGHT, y)))
            parts.append(svg.text(_LEFT - 6, y + 4, _tick_text(value), "end"))
    for value in ticks(*across.ends, 5, least):
        x = float(across(value))
        parts.append(svg.line("axis", (x, _BOTTOM), (x, _BOTTOM + 4)))
        parts.append(svg.text(x, _BOTTOM + 16, _tick_text(value), "middle"))
    parts.append(svg.line("axis", (_LEFT, _BOTTOM), (_RIGHT, _BOTTOM)))
    parts.append(svg.text(_RIGHT, _BOTTOM + 31, x_label, "end"))
    return parts


def _tick_text(value: float) -> str:
    return minus(f"{value:.6g}" if 1e-4 <= abs(value) < 1e6 or not value else f"{value:.4g}")


def minus(text: str) -> str:
    """Replace the hyphen of negative numbers by a minus sign.

    >>> minus("-2 … x-3")
    '−2 … x-3'
    """
    return re.sub(r"(?<![\w.])-(?=[\d.])", "−", text)


def histogram_chart(series: Sequence[tuple[str, NDArray]], span: tuple[float, float], title: str) -> Markup:
    """Draw overlaid histograms of sets of finite values within a span, on a logarithmic scale.

    `series` holds a CSS class and the values of each set.
    """
    edges, counts = count_bins([values for _, values in series], span, _BINS)
    top = max(2, *(int(count.max()) for count in counts))
    across = _Axis((float(edges[0]), float(edges[-1])), (_LEFT, _RIGHT))
    up = _Axis((math.log(0.7), math.log(top * 1.3)), (_BOTTOM, _TOP))
    parts: list[Markup] = []
    for (kind, _), count in zip(series, counts, strict=True):
        heights = np.repeat(up(np.log(np.maximum(count, 0.7))), 2)
        points = zip(np.repeat(across(edges), 2), (_BOTTOM, *heights, _BOTTOM), strict=True)
        parts.append(svg.path(f"{kind} filled", points, closed=True))
    return svg.image("chart", _WIDTH, _HEIGHT, title, parts + _draw_axes(across, None, "value"))


def change_text(values: NDArray, unit: str) -> str:
    """Describe the drift of a level, and its largest step from one frame to the next.

    >>> change_text(np.array([100.0, 101, 100, 130, 102, 100]), "frame")
    'from 100 to 100 (0.0 % over the whole); largest step +30 (+30 %), from frame 2 to 3'
    """
    valid = np.flatnonzero(np.isfinite(values))
    if len(valid) < 2:
        return ""
    level = values[valid]
    ends = max(1, len(level) // 10)
    first, last = float(np.median(level[:ends])), float(np.median(level[-ends:]))
    steps = np.diff(level)
    at = int(np.argmax(np.abs(steps)))
    # Percentages of a level around 0 are meaningless.
    share = _relative if level.min() > 0 else lambda *_: ""
    return minus(
        f"from {value_text(first)} to {value_text(last)}{share(last - first, first, ' over the whole')}; "
        f"largest step {_signed(float(steps[at]))}{share(float(steps[at]), float(level[at]))}, "
        f"from {unit} {valid[at]} to {valid[at + 1]}"
    )


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{value_text(abs(value))}"


def _relative(change: float, level: float, over: str = "") -> str:
    share = 100 * change / abs(level)
    digits = f"{abs(share):.0f}" if abs(share) >= 10 else f"{abs(share):.1f}"
    sign = "" if digits == "0.0" else "+" if share > 0 else "−"
    return f" ({sign}{digits} %{over})"
