"""The picture of what fits an image: a plane of each channel, and the spectrum of its features' sizes."""

from __future__ import annotations

import numpy as np

from pipeline.explore.estimate import Suggestion
from pipeline.explore.figure import BLUE, FAINT, ORANGE, SOFT, Page, fitted, panel_size, scale_bar, show
from pipeline.explore.granulometry import SOURCE
from pipeline.explore.scales import limits
from pipeline.read import Source

_MARGIN, _GAP, _HEAD = 0.35, 0.5, 0.8
_IMAGE, _PLOT, _ROW = 3.0, 5.6, 3.0


def draw(source: Source, suggestions: list[Suggestion]) -> Page:
    """Return the plot: for each channel a plane, and the spectrum of its features' sizes."""
    shape = suggestions[0].example.shape
    width, height = panel_size((shape[0], shape[1]), source.spec, _IMAGE, _ROW)
    row = max(height, 2.4) + 1.0
    page = Page(2 * _MARGIN + _IMAGE + _GAP + _PLOT, _HEAD + row * len(suggestions))
    name = source.path.rstrip("/").rpartition("/")[2]
    page.text(_MARGIN, 0.22, fitted(name, page.width - 0.7, 13, 1, bold=True), 13, fontweight="bold")
    page.text(_MARGIN, 0.5, f"by the {SOURCE}", 9, color=SOFT)
    for index, each in enumerate(suggestions):
        top = _HEAD + index * row
        words = each.words(source.spec)
        page.text(_MARGIN, top + 0.05, each.view.where() or "the plane", 10, color=ORANGE, fontweight="bold")
        left = _MARGIN + width + _GAP
        page.text(left, top + 0.05, words, 10, fontweight="bold")
        ax = page.axes(_MARGIN, top + 0.35, width, height)
        show(ax, each.example, limits(each.example), source.spec)
        scale_bar(ax, (each.example.shape[0], each.example.shape[1]), source.spec)
        _draw_spectrum(page, each, (left, top + 0.55, page.width - _MARGIN - left, max(height, 2.4) - 0.35))
    return page


def _draw_spectrum(page: Page, each: Suggestion, box: tuple[float, float, float, float]) -> None:
    from matplotlib.ticker import NullLocator, ScalarFormatter

    ax = page.axes(*box)
    spectrum = each.spectrum
    edges = np.concatenate([spectrum.below, spectrum.radii[-1:]])
    top = max(float(spectrum.energy.max()), 1e-9)
    if each.told:
        ax.axvspan(each.smallest, each.largest, color=FAINT, alpha=0.7, linewidth=0, label="the features")
    ax.stairs(spectrum.energy / top, edges, fill=True, color=BLUE, label="the image")
    if spectrum.noise.max() > 0.01 * top:
        ax.stairs(spectrum.noise / top, edges, color=SOFT, linewidth=1.2, label="noise as strong as its own")
    radius = each.radius
    if each.told:
        ax.axvspan(
            radius.low, radius.high, ymin=0.955, color=ORANGE, linewidth=0, label=f"{each.step} radius"
        )
        ax.axvline(radius.begin, color=ORANGE, linewidth=1.4)
    ax.set_xscale("log")
    ax.set_xlim(edges[0], max(edges[-1], radius.high))
    ax.set_ylim(0, 1.12)
    ticks = [tick for tick in (1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200) if edges[0] <= tick <= edges[-1]]
    ax.set_xticks(ticks)
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_yticks([])
    ax.set_xlabel("radius of a feature, px", fontsize=8, color=SOFT)
    ax.set_ylabel("energy that an opening removes", fontsize=8, color=SOFT)
    ax.tick_params(labelsize=8, colors=SOFT)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.spines["bottom"].set_color(FAINT)
    ax.legend(
        fontsize=7.5, frameon=False, loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=4, labelcolor=SOFT,
        borderpad=0.1, handlelength=1.2, columnspacing=1.2,
    )  # fmt: skip
    if each.doubts():
        page.text(
            box[0] + 0.08, box[1] + 0.1, fitted(f"in doubt: {each.doubts()[0]}", 3.2, 8, 3), 8, color=ORANGE
        )
