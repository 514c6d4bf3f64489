"""`bgone suggest`: estimates for an image as text, as a config and as a plot."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from pipeline.explore.estimate import Range, Suggestion, suggest_for
from pipeline.explore.figure import (
    BLUE,
    FAINT,
    ORANGE,
    SOFT,
    check_picture,
    new_figure,
    panel_height,
    save_figure,
    scale_bar,
    show,
    style,
    title,
    wrapped,
)
from pipeline.explore.granulometry import SOURCE, Features
from pipeline.explore.init import Opening, config_text, flow_names, named_apart, shown_path, stem, write_new
from pipeline.explore.scales import limits
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.read import Source, open_source

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SAME = 1.3  # channels whose radii differ by less share a step


def suggestion_text(spec: ImageSpec, suggestions: list[Suggestion]) -> str:
    """Describe the estimates."""
    lines = []
    for suggestion in suggestions:
        where = f"channel {suggestion.name}: " if "c" in spec.axes else ""
        lines.append(f"{where}{suggestion.words(spec)}")
        lines += [f"  in doubt: {doubt}" for doubt in suggestion.doubts()]
        if not suggestion.clear:
            continue
        lines.append(f"  {suggestion.step:<24} radius      {suggestion.radius.text()}")
        lines.append(f"  {'difference_of_gaussians':<24} low_sigma   {suggestion.low_sigma.text()}")
        lines.append(f"  {'':<24} high_sigma  {suggestion.high_sigma.text()}")
    return "\n".join([*lines, f"by the {SOURCE}"])


def grouped(suggestions: list[Suggestion]) -> list[list[Suggestion]]:
    """Group channels with about the same features: one step suits a group."""
    groups: list[list[Suggestion]] = []
    for suggestion in suggestions:
        for group in groups:
            ratio = suggestion.radius.begin / group[0].radius.begin
            alike = (group[0].step, group[0].clear) == (suggestion.step, suggestion.clear)
            if alike and 1 / _SAME <= ratio <= _SAME:
                group.append(suggestion)
                break
        else:
            groups.append([suggestion])
    return groups


def group_radius(group: list[Suggestion]) -> Range:
    """Return the range of radii that suits all channels of a group."""
    ranges = [suggestion.radius for suggestion in group]
    low, begin = max(radius.low for radius in ranges), max(radius.begin for radius in ranges)
    return Range(low, begin, max(radius.high for radius in ranges))


def step_lines(spec: ImageSpec, groups: list[list[Suggestion]]) -> list[str]:
    """Return the steps of a config, with doubts as comments."""
    lines: list[str] = []
    for group in groups:
        first, radius = group[0], group_radius(group)
        channels = "" if len(groups) == 1 else f", channels: {flow_names(_channels(spec, group))}"
        for suggestion in group:
            named = f"{suggestion.name}: " if "c" in spec.axes else ""
            lines.append(f"# {named}{suggestion.words(spec)}")
            lines += [f"#   in doubt: {doubt}" for doubt in suggestion.doubts()]
        lines.append(
            f"# The radius may be {radius.low:g} to {radius.high:g} px."
            if first.clear
            else "# The radius is a guess: look at what others do with the sweep."
        )
        lines.append(f"- {first.step}: {{radius: {radius.begin:g}{channels}}}")
        if first.features == "bright" and first.clear:
            low, high = first.low_sigma, first.high_sigma
            sigmas = f"low_sigma: {low.begin:g}, high_sigma: {high.begin:g}"
            spans = f"low {low.low:g} to {low.high:g} px, high {high.low:g} to {high.high:g} px"
            lines.append(f"# Instead, with noise taken off too; {spans}:")
            lines.append(f"# - difference_of_gaussians: {{{sigmas}{channels}}}")
    return lines


def _channels(spec: ImageSpec, group: list[Suggestion]) -> list[str | int]:
    names = spec.channel_names
    return [names[suggestion.channel] if named_apart(spec) else suggestion.channel for suggestion in group]


def sweep_commands(config: str, spec: ImageSpec, groups: list[list[Suggestion]]) -> list[str]:
    """Return a `bgone sweep` command over radii for each step of a config."""
    commands = []
    for index, group in enumerate(groups):
        radius = group_radius(group)
        between = (round(radius.low / 2), round((radius.begin + radius.high) / 2))
        values = sorted({max(1.0, value) for value in (*between, radius.low, radius.begin, radius.high)})
        listed = ",".join(f"{value:g}" for value in values)
        field = f"{group[0].step}.radius" if len(groups) == 1 else f"steps.{index}.radius"
        channel = f" --c {shown_path(str(_channels(spec, group)[0]))}" if "c" in spec.axes else ""
        picture = f"{config.rpartition('.')[0] or config}.sweep{index if len(groups) > 1 else ''}.png"
        commands.append(
            f"bgone sweep {shown_path(config)} --set {field}={listed}{channel} -o {shown_path(picture)}"
        )
    return commands


# Inches: widths of an image and of the plot beside it; bounds of their height.
_IMAGE, _PLOT, _TALLEST, _LOWEST = 3.0, 5.6, 3.0, 2.2


def suggestion_figure(source: Source, suggestions: list[Suggestion]) -> Figure:
    """Draw a plane of each channel beside the spectrum of its feature sizes."""
    shape = suggestions[0].example.shape
    height = max(panel_height(shape, source.spec, _IMAGE, _TALLEST), _LOWEST)
    layout = [(["title", "title"], 0.4)]
    for suggestion in suggestions:
        panels = [f"image {suggestion.name}", f"plot {suggestion.name}"]
        layout += [([".", "."], 0.65), (panels, height), ([".", "."], 0.4)]
    with style():
        figure, axes = new_figure(layout, [_IMAGE, _PLOT])
        title(axes["title"], source.path, f"by the {SOURCE}", _IMAGE + _PLOT)
        for suggestion in suggestions:
            ax = axes[f"image {suggestion.name}"]
            ax.set_title(suggestion.view.where() or "the plane", color=ORANGE, fontweight="bold")
            show(ax, suggestion.example, limits(suggestion.example), source.spec)
            scale_bar(ax, suggestion.example.shape, source.spec)
            ax.set_anchor("N")
            plot = axes[f"plot {suggestion.name}"]
            words = wrapped(suggestion.words(source.spec), _PLOT, 9, 2, bold=True)
            plot.set_title(words, fontweight="bold", pad=20)
            _draw_spectrum(plot, suggestion)
    return figure


def _draw_spectrum(ax: Axes, suggestion: Suggestion) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    spectrum, radius = suggestion.spectrum, suggestion.radius
    edges = np.concatenate([spectrum.below, spectrum.radii[-1:]])
    top = max(float(spectrum.energy.max()), 1e-9)
    if suggestion.clear:
        span = (suggestion.smallest, suggestion.largest)
        ax.axvspan(*span, color=FAINT, alpha=0.7, linewidth=0, label="the features")
    ax.stairs(spectrum.energy / top, edges, fill=True, color=BLUE, label="the image")
    if spectrum.noise.max() > 0.01 * top:
        ax.stairs(spectrum.noise / top, edges, color=SOFT, linewidth=1.2, label="noise as strong as its own")
    if suggestion.clear:
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


def suggest(
    path: str,
    *,
    config: str | None = None,
    plot: str | None = None,
    features: Features | None = None,
    overwrite: bool = False,
    **opening: Unpack[Opening],
) -> str:
    """Estimate filter parameters for an image, write a config and a plot, and return a description.

    Parameters
    ----------
    path : str
        Any input.
    config : str, optional
        Path of the config; default: the input's name in the current folder.
    plot : str, optional
        Path of the plot; default: the config's name with .png.
    features : {"bright", "dark"}, optional
        Default: the stronger ones.
    overwrite : bool
        Whether an existing config is replaced.
    **opening
        As for `starter`.

    Raises
    ------
    RequestError
        The input cannot be opened, or the files cannot be written.
    """
    source = open_source(path, **opening)
    config = config or f"{stem(source.path)}.suggested.yaml"
    picture = check_picture(plot or str(Path(config).with_suffix(".png")))
    # A picture that the user named is replaced, one of a derived name only with --overwrite.
    for target in (config,) if plot else (config, picture):
        if os.path.lexists(target) and not overwrite:
            raise RequestError(f"{target!r} exists", "name another with -o, or add --overwrite", "-o")
    suggestions = suggest_for(source, features)
    groups = grouped(suggestions)
    steps = step_lines(source.spec, groups)
    save_figure(suggestion_figure(source, suggestions), picture)
    write_new(config, config_text(source, steps, opening), overwrite)
    commands = sweep_commands(config, source.spec, groups)
    lines = [suggestion_text(source.spec, suggestions), f"wrote {config} and {picture}", "look at it with"]
    return "\n".join([*lines, *(f"  {command}" for command in commands)])
