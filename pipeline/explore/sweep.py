"""`bgone sweep`: one plane under many settings, as a contact sheet and as a table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from pipeline.config.load import RunConfig, load_config
from pipeline.explore.crop import View, find_views, plane, step_by_step
from pipeline.explore.figure import check_picture, save_figure
from pipeline.explore.measure import find_regions, measure
from pipeline.explore.sweep_sheet import Panel, SweepResult, Swept, refuse_another, sweep_figure, write_table
from pipeline.model.errors import PipelineError, RequestError
from pipeline.read import Source
from pipeline.steps.chain import resolve_steps
from pipeline.steps.registry import REGISTRY
from pipeline.steps.step import Step

_T = TypeVar("_T")

MOST_PANELS = 100


def split_values(text: str) -> list[str]:
    """Split a list of values at commas, but not inside brackets or quotes.

    >>> split_values("5,15 , {y: 3, x: 4}")
    ['5', '15', '{y: 3, x: 4}']
    """
    values, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        depth += not quote and (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0 and not quote:
            values.append("")
        else:
            values[-1] += letter
    return [value.strip() for value in values]


def parse_sweep(sets: Iterable[str]) -> tuple[tuple[Swept, ...], list[str]]:
    """Split --set options into the swept fields and the changes (PATH=VALUE) common to all settings."""
    swept: list[Swept] = []
    fixed: list[str] = []
    for text in sets:
        path, _, listed = text.partition("=")
        values = split_values(listed)
        if len(values) == 1:
            fixed.append(text)
        else:
            swept.append(_swept_field(path.strip(), values, f"--set {text}"))
    if not swept:
        raise RequestError(
            "nothing is swept", "give several values, such as --set white_tophat.radius=5,15,25", "--set"
        )
    if len(swept) > 2:
        raise RequestError(f"{len(swept)} fields are swept", "sweep one or two of them", "--set")
    if len(swept) == 2 and swept[0].path == swept[1].path:
        raise RequestError(f"{swept[0].path} is given twice", "give all its values in one", "--set")
    count = math.prod(len(field.values) for field in swept)
    if count > MOST_PANELS:
        raise RequestError(f"makes {count} panels, of at most {MOST_PANELS}", "give fewer values", "--set")
    return tuple(swept), fixed


def _swept_field(path: str, values: list[str], option: str) -> Swept:
    first = path.partition(".")[0]
    if first != "steps" and first not in REGISTRY:
        raise RequestError(
            "only the fields of steps can be swept", "write it like white_tophat.radius=5,15,25", option
        )
    if "" in values:
        raise RequestError("has an empty value", "separate values by single commas", option)
    if len(set(values)) < len(values):
        raise RequestError("has a value twice", "give each value once", option)
    return Swept(path, tuple(values))


def run_sweep(
    config: str, sets: Iterable[str], *, input: str | None = None, **planes: str | None
) -> SweepResult:
    """Filter one plane with every combination of the swept values.

    Parameters
    ----------
    config : str
        A YAML file.
    sets : iterable of str
        PATH=VALUE each; one or two of them with several values, separated by commas.
    input : str, optional
        Path that replaces the config's.
    **planes : str, optional
        `t`, `c`, `z` and `crop` as for `find_views`; they must select one plane.

    Raises
    ------
    RequestError
        The sweep is invalid, or every setting is refused.
    DataError
        The run would refuse the pixels.
    """
    swept, fixed = parse_sweep(sets)
    settings: dict[tuple[str, ...], RunConfig | PipelineError] = {}
    for values in itertools.product(*(field.values for field in swept)):
        changes = [f"{field.path}={value}" for field, value in zip(swept, values, strict=True)]
        try:
            settings[values] = load_config(config, sets=[*fixed, *changes], input=input)
        except PipelineError as error:
            settings[values] = error
    first = _first(settings.values())
    try:
        source = first.input.open()
    except PipelineError as error:
        raise first.locate(error) from None
    view = _one_view(source, first.steps, planes)
    chains = {values: _resolve(setting, source) for values, setting in settings.items()}
    before = plane(source.read(view.region))
    # Each black top-hat inverts the image, so after an odd number bright features were dark.
    inversions = sum(step.background == "input plus result" for step in _first(chains.values()))
    regions = find_regions(before, dark=inversions % 2 == 1)
    panels = []
    for values, steps in chains.items():
        if isinstance(steps, PipelineError):
            panels.append(Panel(values, refused=steps.problems[0].message))
            continue
        images = step_by_step(source, steps, view.region, refuse_nan=first.input.nan == "refuse")
        pixels = plane(images[-1])
        panels.append(Panel(values, steps, pixels, measure(pixels, regions)))
    return SweepResult(source, view, swept, before, measure(before, regions, before=True), tuple(panels))


def _first(settings: Iterable[_T | PipelineError]) -> _T:
    """Return the first valid setting; raise the first refusal where there is none."""
    refused: list[PipelineError] = []
    for setting in settings:
        if not isinstance(setting, PipelineError):
            return setting
        refused.append(setting)
    raise refused[0]


def _resolve(config: RunConfig | PipelineError, source: Source) -> tuple[Step, ...] | PipelineError:
    if isinstance(config, PipelineError):
        return config
    try:
        return resolve_steps(config.steps, source.spec)
    except PipelineError as error:
        return config.locate(error)


def _one_view(source: Source, steps: tuple[Step, ...], planes: Mapping[str, str | None]) -> View:
    views = find_views(source.spec, **planes)
    if planes.get("c") is None:
        # By default, the first channel that every step applies to.
        names = source.spec.channel_names
        for view in views:
            channel = {view.channel, names[view.channel] if names else view.channel}
            if all(step.channels is None or channel & set(step.channels) for step in steps):
                return view
        views = views[:1]
    if len(views) > 1:
        raise RequestError(f"names {len(views)} planes", "a sweep looks at one: name one", "--t, --c, --z")
    return views[0]


def sweep(
    config: str, sets: Iterable[str], path: str, *, input: str | None = None, **planes: str | None
) -> str:
    """Draw a sweep (see `run_sweep`) into a file, write its table beside it, and return a line about both."""
    check_picture(path)
    table = str(Path(path).with_suffix(".csv"))
    refuse_another(table)
    sheet = run_sweep(config, sets, input=input, **planes)
    save_figure(sweep_figure(sheet), path)
    write_table(sheet, table)
    return f"wrote {path}: {len(sheet.panels)} settings, and {table}"
