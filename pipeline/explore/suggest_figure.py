"""The picture of what suits an image: a plane of each channel, and the spectrum of its features' sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.explore.estimate import Suggestion
from pipeline.explore.figure import (
    BLUE,
    FAINT,
    ORANGE,
    SOFT,
    heading,
    new_figure,
    panel_height,
    scale_bar,
    show,
    style,
    wrapped,
)
from pipeline.explore.granulometry import SOURCE
from pipeline.explore.scales import limits
from pipeline.read import Source

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches: an image, and the plot beside it.
_IMAGE, _PLOT, _TALLEST, _LOWEST = 3.0, 5.6, 3.0, 2.2


def suggestion_figure(source: Source, suggestions: list[Suggestion]) -> Figure:
    """Return the plot: for each channel a plane, and the spectrum of its features' sizes."""
    shape = suggestions[0].example.shape
    height = max(panel_height(shape, source.spec, _IMAGE, _TALLEST), _LOWEST)
    layout = [(["title", "title"], 0.4)]
    for each in suggestions:
        panels = [f"image {each.name}", f"plot {each.name}"]
        layout += [([".", "."], 0.65), (panels, height), ([".", "."], 0.4)]
    name = source.path.rstrip("/").rpartition("/")[2]
    with style():
        figure, axes = new_figure(layout, [_IMAGE, _PLOT])
        title = wrapped(name, _IMAGE + _PLOT, 13, 1, bold=True)
        heading(axes["title"], title, f"by the {SOURCE}", size=13)
        for each in suggestions:
            ax = axes[f"image {each.name}"]
            ax.set_title(each.view.where() or "the plane", color=ORANGE, fontweight="bold")
            show(ax, each.example, limits(each.example), source.spec)
            scale_bar(ax, each.example.shape, source.spec)
            ax.set_anchor("N")
            plot = axes[f"plot {each.name}"]
            words = wrapped(each.words(source.spec), _PLOT, 9, 2, bold=True)
            plot.set_title(words, fontweight="bold", pad=20)
            _draw_spectrum(plot, each)
    return figure


def _draw_spectrum(ax: Axes, suggestion: Suggestion) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    spectrum, radius = suggestion.spectrum, suggestion.radius
    edges = np.concatenate([spectrum.below, spectrum.radii[-1:]])
    top = max(float(spectrum.energy.max()), 1e-9)
    if suggestion.told:
        span = (suggestion.smallest, suggestion.largest)
        ax.axvspan(*span, color=FAINT, alpha=0.7, linewidth=0, label="the features")
    ax.stairs(spectrum.energy / top, edges, fill=True, color=BLUE, label="the image")
    if spectrum.noise.max() > 0.01 * top:
        ax.stairs(spectrum.noise / top, edges, color=SOFT, linewidth=1.2, label="noise as strong as its own")
    if suggestion.told:
        label = f"{suggestion.step} radius"
        ax.axvspan(radius.low, radius.high, ymin=0.955, color=ORANGE, linewidth=0, label=label)
        ax.axvline(radius.begin, color=ORANGE, linewidth=1.4)
    ax.set(xscale="log", xlim=(edges[0], max(edges[-1], radius.high)), ylim=(0, 1.12), yticks=[])
    ax.set(xlabel="radius of a feature, px", ylabel="energy that an opening removes")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=4, borderpad=0.1, handlelength=1.2)
    doubts = suggestion.doubts()
    if doubts:
        words = wrapped(f"in doubt: {doubts[0]}", 3.2, 8, 3)
        ax.text(0.01, 0.95, words, transform=ax.transAxes, fontsize=8, va="top", color=ORANGE)
