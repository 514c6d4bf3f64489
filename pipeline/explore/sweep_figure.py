"""The contact sheet of a sweep: the plane before, and one panel for each setting, in one contrast."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.explore.figure import (
    FAINT,
    ORANGE,
    heading,
    new_figure,
    note,
    panel_height,
    parameters,
    scale_bar,
    show,
    style,
    wrapped,
)
from pipeline.explore.scales import limits
from pipeline.explore.sweep_result import Panel, Sheet, relative
from pipeline.model.text import share_text, value_text
from pipeline.planning.describe import image_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches: all panels of a row, and one of them.
_ROW, _WIDEST, _NARROWEST, _TALLEST = 15.0, 3.0, 1.75, 3.6
_TITLE, _LINE, _BELOW = 0.85, 0.15, 0.35

LEGEND = (
    ("uneven", "how uneven the background still is, as a share of before"),
    ("signal", "how far the brightest features still stand out, as a share of before"),
    ("contrast", "the same over the spread of the background"),
)


def grid_of(counts: list[int]) -> tuple[int, int]:
    """Return rows and columns: one for each value of two fields; of one field, nearly a square.

    >>> grid_of([5, 3]), grid_of([3]), grid_of([8])
    ((5, 3), (1, 3), (2, 4))
    """
    if len(counts) == 2:
        return counts[0], counts[1]
    columns = counts[0] if counts[0] <= 4 else min(6, math.ceil(math.sqrt(counts[0] * 1.5)))
    rows = math.ceil(counts[0] / columns)
    return rows, math.ceil(counts[0] / rows)


def common_limits(images: list[NDArray]) -> tuple[float, float]:
    """Return one black and one white for all panels: the medians of theirs.

    A few settings that go astray then do not turn all others grey.
    """
    low, high = (float(bound) for bound in np.median([limits(image) for image in images], axis=0))
    return low, high


def sweep_figure(sheet: Sheet) -> Figure:
    """Return the picture of a sweep."""
    spec, shape = sheet.view.spec, sheet.before.shape
    rows, columns = grid_of([len(field.values) for field in sheet.swept])
    width = min(_WIDEST, max(_NARROWEST, _ROW / (columns + 1)))
    height = panel_height(shape, spec, width, _TALLEST)
    names = [str(index) for index in range(len(sheet.panels))]
    names += ["."] * (rows * columns - len(names))
    layout = [(["title"] * (columns + 1), _TITLE + _LINE * len(LEGEND))]
    for row in range(rows):
        left = "." if row else "before"
        layout.append((["."] * (columns + 1), _LINE * (1 + len(sheet.swept))))
        layout.append(([left, *names[row * columns : (row + 1) * columns]], height))
        layout.append((["."] * (columns + 1), _BELOW))
    bounds = common_limits([panel.pixels for panel in sheet.panels if panel.pixels is not None])
    with style():
        figure, axes = new_figure(layout, [width] * (columns + 1))
        _draw_heading(axes["title"], sheet, bounds, (columns + 1) * width)
        _draw_before(axes["before"], sheet)
        for name, panel in zip(names, sheet.panels, strict=False):
            _draw_panel(axes[name], sheet, panel, bounds, width)
    return figure


def _draw_heading(ax: Axes, sheet: Sheet, bounds: tuple[float, float], inner: float) -> None:
    name = sheet.source.path.rstrip("/").rpartition("/")[2]
    shown = f"shown: {sheet.view.extent() or 'the whole plane'}"
    black, white = (value_text(bound) for bound in bounds)
    lines = [
        wrapped(f"{image_text(sheet.view.spec)}. {shown}", inner, 9, 1),
        wrapped(_chain(sheet), inner, 9, 1),
        f"all panels: black {black}, white {white}",
        *(wrapped(f"{word}: {meaning}", inner, 9, 1) for word, meaning in LEGEND),
    ]
    heading(ax, wrapped(name, inner, 13, 1, bold=True), "\n".join(lines), size=13)


def _chain(sheet: Sheet) -> str:
    """Return the steps for a reader, without what is swept."""
    swept = {field.name for field in sheet.swept}
    words = []
    for step in next(panel.steps for panel in sheet.panels if panel.steps):
        texts = parameters(step, sheet.view.spec).split(", ")
        fixed = [text for text in texts if text.split(" ")[0] not in swept]
        words.append(f"{step.name} ({', '.join(fixed)})" if fixed else step.name)
    return f"{' → '.join(words)}, swept over {' and '.join(field.name for field in sheet.swept)}"


def _draw_before(ax: Axes, sheet: Sheet) -> None:
    bounds = limits(sheet.before)
    ax.set_title("before")
    ax.set_title(sheet.view.where(), loc="right", color=ORANGE, fontweight="bold")
    show(ax, sheet.before, bounds, sheet.view.spec)
    scale_bar(ax, sheet.before.shape, sheet.view.spec)
    black, white = (value_text(bound) for bound in bounds)
    ax.set_xlabel(f"{black} … {white}\ncontrast {sheet.measures.contrast:.3g}", loc="left", fontsize=7.5)


def _draw_panel(ax: Axes, sheet: Sheet, panel: Panel, bounds: tuple[float, float], width: float) -> None:
    labels = [f"{field.name} {value}" for field, value in zip(sheet.swept, panel.values, strict=True)]
    ax.set_title("\n".join(wrapped(label, width, 9, 1, bold=True) for label in labels), fontweight="bold")
    show(ax, np.zeros_like(sheet.before) if panel.pixels is None else panel.pixels, bounds, sheet.view.spec)
    if panel.measures is None:
        ax.images[0].remove()
        ax.set_facecolor(FAINT)
        words = wrapped(f"refused: {panel.refused}", 0.9 * width, 8, 8)
        ax.text(0.06, 0.94, words, transform=ax.transAxes, fontsize=8, va="top")
        return
    measures = panel.measures
    flat, kept = (
        share_text(relative(now, then))
        for now, then in ((measures.spread, sheet.measures.spread), (measures.signal, sheet.measures.signal))
    )
    words = f"uneven {flat}  signal {kept}\ncontrast {measures.contrast:.3g}"
    ax.set_xlabel(words, loc="left", fontsize=7.5)
    if measures.negative:
        note(ax, f"{share_text(measures.negative)} below 0", 14)
