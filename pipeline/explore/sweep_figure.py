"""The contact sheet of a sweep: the plane before, and one panel for each setting, in one contrast."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.explore.figure import (
    FAINT,
    INK,
    ORANGE,
    SOFT,
    Page,
    bare,
    fitted,
    frame,
    panel_size,
    parameters,
    scale_bar,
    show,
)
from pipeline.explore.scales import limits
from pipeline.explore.sweep_result import Panel, Sheet, relative
from pipeline.model.text import share_text, value_text
from pipeline.planning.describe import image_text

_MARGIN, _GAP, _SIDE_GAP = 0.35, 0.16, 0.45
_HEAD, _LINE, _BELOW = 1.05, 0.17, 0.4
_SIDE = 2.9
_GRID_WIDTH, _WIDEST, _NARROWEST = 13.0, 3.0, 1.75
_TALLEST = 3.6

LEGEND = (
    ("uneven", "how uneven the background still is, as a share of before"),
    ("signal", "how far the brightest features still stand out, as a share of before"),
    ("contrast", "the same over the spread of the background"),
)


def draw(sheet: Sheet) -> Page:
    """Return the picture of a sweep."""
    shape = (sheet.before.shape[0], sheet.before.shape[1])
    rows, columns = grid_of([len(each.values) for each in sheet.swept])
    widest = min(_WIDEST, max(_NARROWEST, (_GRID_WIDTH - _GAP * (columns - 1)) / columns))
    width, height = panel_size(shape, sheet.view.spec, widest, _TALLEST)
    cell = max(width, _NARROWEST)
    side_width, side_height = panel_size(shape, sheet.view.spec, _SIDE, 4.2)
    above = 0.07 + _LINE * len(sheet.swept)
    row_height = above + height + _BELOW
    body = max(rows * row_height, above + side_height + 2.9)
    left = _MARGIN + _SIDE + _SIDE_GAP
    page = Page(left + columns * cell + (columns - 1) * _GAP + _MARGIN, _HEAD + body + 0.1)
    _draw_head(page, sheet)
    _draw_side(page, sheet, above, (side_width, side_height))
    bounds = common_limits([panel.pixels for panel in sheet.panels if panel.pixels is not None])
    for index, panel in enumerate(sheet.panels):
        row, column = divmod(index, columns)
        place = (left + column * (cell + _GAP), _HEAD + row * row_height)
        _draw_panel(page, sheet, panel, place, (above, width, height), bounds)
    _draw_legend(page, bounds, _HEAD + above + side_height + 0.25)
    return page


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


def _draw_head(page: Page, sheet: Sheet) -> None:
    inner = page.width - 2 * _MARGIN
    name = sheet.source.path.rstrip("/").rpartition("/")[2]
    page.text(_MARGIN, 0.22, fitted(name, inner, 13, 1, bold=True), 13, fontweight="bold")
    extent = f"shown: {sheet.view.extent()}" if sheet.view.cropped else "shown: the whole plane"
    words = f"{image_text(sheet.view.spec)}. {extent}"
    page.text(_MARGIN, 0.52, fitted(words, inner, 9, 1), 9, color=SOFT)
    page.text(_MARGIN, 0.74, fitted(_chain(sheet), inner, 9, 1), 9)


def _chain(sheet: Sheet) -> str:
    """Return the steps for a reader, without what is swept."""
    steps = next(panel.steps for panel in sheet.panels if panel.steps)
    swept = {each.name for each in sheet.swept}
    words = []
    for step in steps:
        kept = [
            part for part in parameters(step, sheet.view.spec).split(", ") if part.split(" ")[0] not in swept
        ]
        words.append(f"{step.name} ({', '.join(kept)})" if kept else step.name)
    return f"{' → '.join(words)}, swept over {' and '.join(each.name for each in sheet.swept)}"


def _draw_side(page: Page, sheet: Sheet, above: float, size: tuple[float, float]) -> None:
    width, height = size
    place = sheet.view.where()
    top = _HEAD + above
    page.text(_MARGIN, top - 0.05, "before", 9.5, va="bottom")
    bounds = limits(sheet.before)
    if place:
        page.text(
            _MARGIN + width, top - 0.05, place, 9, color=ORANGE, ha="right", va="bottom", fontweight="bold"
        )
    ax = page.axes(_MARGIN, top, width, height)
    show(ax, sheet.before, bounds, sheet.view.spec)
    scale_bar(ax, (sheet.before.shape[0], sheet.before.shape[1]), sheet.view.spec)
    caption = f"{value_text(bounds[0])} … {value_text(bounds[1])}, contrast {sheet.measures.contrast:.3g}"
    page.text(_MARGIN, top + height + 0.05, caption, 8, color=SOFT)


def _draw_legend(page: Page, bounds: tuple[float, float], top: float) -> None:
    top += 0.12
    page.text(_MARGIN, top, "all panels", 8.5, fontweight="bold")
    page.text(_MARGIN, top + 0.18, f"black {value_text(bounds[0])}, white {value_text(bounds[1])}", 8)
    top += 0.5
    for name, words in LEGEND:
        page.text(_MARGIN, top, name, 8.5, fontweight="bold")
        lines = fitted(words, _SIDE, 8, 3)
        page.text(_MARGIN, top + 0.18, lines, 8, color=SOFT)
        top += 0.28 + 0.14 * len(lines.splitlines())


def _draw_panel(
    page: Page, sheet: Sheet, panel: Panel, place: tuple[float, float],
    size: tuple[float, float, float], bounds: tuple[float, float],
) -> None:  # fmt: skip
    left, top = place
    above, width, height = size
    for line, (each, value) in enumerate(zip(sheet.swept, panel.values, strict=True)):
        label = f"{each.name} {value}"
        font = max(6.0, min(9.0, max(width, _NARROWEST) * 72 / (0.68 * len(label))))
        at = top + above - 0.04 - _LINE * (len(sheet.swept) - 1 - line)
        page.text(left, at, fitted(label, 2 * width, font, 1), font, va="bottom", fontweight="bold")
    ax = page.axes(left, top + above, width, height)
    below = top + above + height + 0.04
    if panel.pixels is None or panel.measures is None:
        bare(ax)
        ax.set_facecolor(FAINT)
        words = fitted(f"refused: {panel.refused}", width * 0.9, 8, 8)
        ax.text(0.06, 0.94, words, transform=ax.transAxes, fontsize=8, va="top", color=INK, parse_math=False)
        return
    show(ax, panel.pixels, bounds, sheet.view.spec)
    frame(ax)
    measures = panel.measures
    flat = relative(measures.spread, sheet.measures.spread)
    kept = relative(measures.signal, sheet.measures.signal)
    page.text(left, below, f"uneven {share_text(flat)}  signal {share_text(kept)}", 7.5, color=SOFT)
    page.text(left, below + 0.14, f"contrast {measures.contrast:.3g}", 7.5, color=SOFT)
    if measures.negative:
        words = f"{share_text(measures.negative)} below 0"
        page.text(left + width, below + 0.14, words, 7.5, color=ORANGE, ha="right")
