"""`bgone suggest`: what radius and sigmas suit an image, in words, as a config and as a plot."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Unpack

from pipeline.explore.estimate import Range, Suggestion, suggest_for
from pipeline.explore.figure import check_picture, save_figure
from pipeline.explore.granulometry import SOURCE, Features
from pipeline.explore.init import Opening, config_text, flow_names, named_apart, shown_path, stem, write_new
from pipeline.explore.suggest_figure import suggestion_figure
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.read import open_source

# Channels whose radii differ by less share a step.
_SAME = 1.3


def suggestion_text(spec: ImageSpec, suggestions: list[Suggestion]) -> str:
    """Return what suits an image, for a reader."""
    lines = []
    for each in suggestions:
        where = f"channel {each.name}: " if "c" in spec.axes else ""
        lines.append(f"{where}{each.words(spec)}")
        lines += [f"  in doubt: {doubt}" for doubt in each.doubts()]
        if not each.told:
            continue
        lines.append(f"  {each.step:<24} radius      {each.radius.text()}")
        lines.append(f"  {'difference_of_gaussians':<24} low_sigma   {each.low_sigma.text()}")
        lines.append(f"  {'':<24} high_sigma  {each.high_sigma.text()}")
    return "\n".join([*lines, f"by the {SOURCE}"])


def grouped(suggestions: list[Suggestion]) -> list[list[Suggestion]]:
    """Return channels of about the same features together: one step suits a group."""
    groups: list[list[Suggestion]] = []
    for each in suggestions:
        for group in groups:
            ratio = each.radius.begin / group[0].radius.begin
            alike = (group[0].step, group[0].told) == (each.step, each.told)
            if alike and 1 / _SAME <= ratio <= _SAME:
                group.append(each)
                break
        else:
            groups.append([each])
    return groups


def group_radius(group: list[Suggestion]) -> Range:
    """Return the range of the radius that suits all channels of a group; it begins with the largest."""
    ranges = [each.radius for each in group]
    low, begin = max(each.low for each in ranges), max(each.begin for each in ranges)
    return Range(low, begin, max(each.high for each in ranges))


def step_lines(spec: ImageSpec, groups: list[list[Suggestion]]) -> list[str]:
    """Return the steps of a config, with the doubts about them."""
    lines: list[str] = []
    for group in groups:
        first, radius = group[0], group_radius(group)
        channels = "" if len(groups) == 1 else f", channels: {flow_names(_channels(spec, group))}"
        for each in group:
            named = f"{each.name}: " if "c" in spec.axes else ""
            lines.append(f"# {named}{each.words(spec)}")
            lines += [f"#   in doubt: {doubt}" for doubt in each.doubts()]
        lines.append(
            f"# The radius may be {radius.low:g} to {radius.high:g} px."
            if first.told
            else "# The radius is a guess: look at what others do with the sweep."
        )
        lines.append(f"- {first.step}: {{radius: {radius.begin:g}{channels}}}")
        if first.features == "bright" and first.told:
            low, high = first.low_sigma, first.high_sigma
            sigmas = f"low_sigma: {low.begin:g}, high_sigma: {high.begin:g}"
            spans = f"low {low.low:g} to {low.high:g} px, high {high.low:g} to {high.high:g} px"
            lines.append(f"# Instead, with noise taken off too; {spans}:")
            lines.append(f"# - difference_of_gaussians: {{{sigmas}{channels}}}")
    return lines


def _channels(spec: ImageSpec, group: list[Suggestion]) -> list[str | int]:
    names = spec.channel_names
    return [names[each.channel] if named_apart(spec) else each.channel for each in group]


def sweep_commands(config: str, spec: ImageSpec, groups: list[list[Suggestion]]) -> list[str]:
    """Return the commands that show what each step of a config does with other radii."""
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


def suggest(
    path: str,
    *,
    config: str | None = None,
    plot: str | None = None,
    features: Features | None = None,
    overwrite: bool = False,
    **opening: Unpack[Opening],
) -> str:
    """Find out what suits an image; write a config and a plot, and return what was found, and done with it.

    Parameters
    ----------
    path : str
        Any input.
    config : str, optional
        The config that is written; by default the input's name in the current folder.
    plot : str, optional
        The picture; by default the config's name with .png.
    features : {"bright", "dark"}, optional
        What is looked for, where it is not what stands out.
    overwrite : bool
        Whether a config that is there is replaced.
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
    # A picture whose name was not asked for is replaced as a config is.
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
