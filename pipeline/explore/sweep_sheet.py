"""Result of a sweep, drawn as a contact sheet and written as a table."""

from __future__ import annotations

import csv
import io
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.explore.crop import View
from pipeline.explore.figure import (
    FAINT,
    ORANGE,
    new_figure,
    note,
    panel_height,
    parameters,
    scale_bar,
    show,
    style,
    title,
    wrapped,
)
from pipeline.explore.measure import PlaneMeasures
from pipeline.explore.scales import limits
from pipeline.model.errors import RequestError
from pipeline.model.text import share_text, value_text
from pipeline.planning.describe import image_text
from pipeline.read import Source
from pipeline.steps.step import Step
from pipeline.storage.whole_file import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Columns of the table after those of the swept fields.
COLUMNS = (
    "background_left", "signal_kept", "noise", "contrast", "negative_share",
    "background_spread", "signal", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Swept:
    """A swept field: its path in the config, and the values as they were typed."""

    path: str
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Panel:
    """One setting, and its result or why it is refused."""

    values: tuple[str, ...]  # of each swept field
    steps: tuple[Step, ...] = ()  # resolved
    pixels: NDArray | None = None  # 2D
    measures: PlaneMeasures | None = None
    refused: str = ""


@dataclass(frozen=True)
class SweepResult:
    """All settings of a sweep, the last field changing fastest."""

    source: Source
    view: View
    swept: tuple[Swept, ...]
    before: NDArray
    measures: PlaneMeasures
    panels: tuple[Panel, ...]


def table(sheet: SweepResult) -> tuple[list[str], list[list[str]]]:
    """Return the column names, and a row for the input and for each setting."""
    header = [*(field.path for field in sheet.swept), *COLUMNS]
    rows = [[*("" for _ in sheet.swept), *_figures(sheet, sheet.measures), "input, before any step"]]
    rows += [[*panel.values, *_figures(sheet, panel.measures), panel.refused] for panel in sheet.panels]
    return header, rows


def _figures(sheet: SweepResult, measures: PlaneMeasures | None) -> list[str]:
    if measures is None:
        return [""] * (len(COLUMNS) - 1)
    values = (
        relative(measures.spread, sheet.measures.spread),
        relative(measures.signal, sheet.measures.signal),
        measures.noise,
        measures.contrast,
        measures.negative,
        measures.spread,
        measures.signal,
    )
    return [f"{value:.4g}" for value in values]


def relative(value: float, before: float) -> float:
    """Return a value as a share of the one before; NaN where that is 0."""
    return value / before if before > 0 else float("nan")


def refuse_another(path: str) -> None:
    """Refuse to replace a file that is no table of a sweep: the user did not name it."""
    if not os.path.lexists(path):
        return
    try:
        with open(path, newline="", encoding="utf-8") as file:
            is_table = next(csv.reader(file), [])[-len(COLUMNS) :] == list(COLUMNS)
    except (OSError, UnicodeDecodeError, csv.Error):
        is_table = False
    if not is_table:
        raise RequestError(
            f"{path!r} exists and is no table of a sweep",
            "give the picture another name: its table has that too",
            "-o",
        )


def write_table(sheet: SweepResult, path: str) -> None:
    """Write the table as CSV, atomically."""
    header, rows = table(sheet)
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    with whole_file(path) as file:
        file.write(text.getvalue().encode())


# Inches: width of a row of panels and bounds of one panel; heights of the texts around them.
_ROW, _WIDEST, _NARROWEST, _TALLEST = 15.0, 3.0, 1.75, 3.6
_TITLE, _LINE, _BELOW = 0.85, 0.15, 0.35

LEGEND = (
    ("uneven", "how uneven the background still is, as a share of before"),
    ("signal", "how far the brightest features still stand out, as a share of before"),
    ("contrast", "the same over the spread of the background"),
)


def grid_of(counts: list[int]) -> tuple[int, int]:
    """Return rows and columns: one for each value of two fields, nearly square for one field.

    >>> grid_of([5, 3]), grid_of([3]), grid_of([8])
    ((5, 3), (1, 3), (2, 4))
    """
    if len(counts) == 2:
        return counts[0], counts[1]
    columns = counts[0] if counts[0] <= 4 else min(6, math.ceil(math.sqrt(counts[0] * 1.5)))
    rows = math.ceil(counts[0] / columns)
    return rows, math.ceil(counts[0] / rows)


def common_limits(images: list[NDArray]) -> tuple[float, float]:
    """Return black and white levels common to all panels."""
    # Medians: a few settings that go astray must not turn all others grey.
    low, high = (float(bound) for bound in np.median([limits(image) for image in images], axis=0))
    return low, high


def sweep_figure(sheet: SweepResult) -> Figure:
    """Draw the contact sheet."""
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


def _draw_heading(ax: Axes, sheet: SweepResult, bounds: tuple[float, float], inner: float) -> None:
    shown = f"shown: {sheet.view.extent() or 'the whole plane'}"
    black, white = (value_text(bound) for bound in bounds)
    lines = [
        wrapped(f"{image_text(sheet.view.spec)}. {shown}", inner, 9, 1),
        wrapped(_chain(sheet), inner, 9, 1),
        f"all panels: black {black}, white {white}",
        *(wrapped(f"{word}: {meaning}", inner, 9, 1) for word, meaning in LEGEND),
    ]
    title(ax, sheet.source.path, "\n".join(lines), inner)


def _chain(sheet: SweepResult) -> str:
    """Describe the steps without the swept fields."""
    swept = {field.name for field in sheet.swept}
    words = []
    for step in next(panel.steps for panel in sheet.panels if panel.steps):
        texts = parameters(step, sheet.view.spec).split(", ")
        fixed = [text for text in texts if text.split(" ")[0] not in swept]
        words.append(f"{step.name} ({', '.join(fixed)})" if fixed else step.name)
    return f"{' → '.join(words)}, swept over {' and '.join(field.name for field in sheet.swept)}"


def _draw_before(ax: Axes, sheet: SweepResult) -> None:
    bounds = limits(sheet.before)
    ax.set_title("before")
    ax.set_title(sheet.view.where(), loc="right", color=ORANGE, fontweight="bold")
    show(ax, sheet.before, bounds, sheet.view.spec)
    scale_bar(ax, sheet.before.shape, sheet.view.spec)
    black, white = (value_text(bound) for bound in bounds)
    ax.set_xlabel(f"{black} … {white}\ncontrast {sheet.measures.contrast:.3g}", loc="left", fontsize=7.5)


def _draw_panel(
    ax: Axes, sheet: SweepResult, panel: Panel, bounds: tuple[float, float], width: float
) -> None:
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
    uneven = share_text(relative(measures.spread, sheet.measures.spread))
    signal = share_text(relative(measures.signal, sheet.measures.signal))
    words = f"uneven {uneven}  signal {signal}\ncontrast {measures.contrast:.3g}"
    ax.set_xlabel(words, loc="left", fontsize=7.5)
    if measures.negative:
        note(ax, f"{share_text(measures.negative)} below 0", 14)
