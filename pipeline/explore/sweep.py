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
from pipeline.explore.sweep_sheet import Panel, Sheet, Swept, refuse_another, sweep_figure, write_table
from pipeline.model.errors import PipelineError, RequestError
from pipeline.read import Source
from pipeline.steps.chain import resolve_steps
from pipeline.steps.registry import REGISTRY
from pipeline.steps.step import Step

_T = TypeVar("_T")

MOST_PANELS = 100


def split_values(text: str) -> list[str]:
    """Return the values of a list: cut at commas, but not inside brackets or quotes.

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
    """Return what is swept, and the changes, PATH=VALUE each, that hold for every setting."""
    swept: list[Swept] = []
    fixed: list[str] = []
    for text in sets:
        path, _, listed = text.partition("=")
        values = split_values(listed)
        if len(values) == 1:
            fixed.append(text)
        else:
            swept.append(_swept(path.strip(), values, f"--set {text}"))
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


def _swept(path: str, values: list[str], option: str) -> Swept:
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
    config: str,
    sets: Iterable[str],
    *,
    input: str | None = None,
    **planes: str | None,
) -> Sheet:
    """Return one plane under many settings.

    Parameters
    ----------
    config : str
        A YAML file.
    sets : iterable of str
        PATH=VALUE each; those of several values, separated by commas, are swept: one or two.
    input : str, optional
        Instead of the config's.
    **planes : str, optional
        `t`, `c`, `z` and `crop`, as `find_views` takes them: one plane, read with its halo alone.

    Raises
    ------
    RequestError
        The sweep makes no sense, or every setting of it is refused.
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
    source = _open(first)
    view = _one_view(source, first.steps, planes)
    chains = {values: _resolve(setting, source) for values, setting in settings.items()}
    before = plane(source.read(view.region))
    turned = sum(step.background == "input plus result" for step in _first(chains.values()))
    regions = find_regions(before, dark=turned % 2 == 1)
    panels = []
    for values, steps in chains.items():
        if isinstance(steps, PipelineError):
            panels.append(Panel(values, refused=steps.problems[0].what))
            continue
        images = step_by_step(source, steps, view.region, refuse_nan=first.input.nan == "refuse")
        pixels = plane(images[-1])
        panels.append(Panel(values, steps, pixels, measure(pixels, regions)))
    return Sheet(source, view, swept, before, measure(before, regions, before=True), tuple(panels))


def _first(settings: Iterable[_T | PipelineError]) -> _T:
    """Return the first setting that is not refused; raise the first refusal if all are."""
    refusals = []
    for setting in settings:
        if not isinstance(setting, PipelineError):
            return setting
        refusals.append(setting)
    raise refusals[0]


def _open(config: RunConfig) -> Source:
    try:
        return config.input.open()
    except PipelineError as error:
        raise config.locate(error) from None


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
        # The first channel that all steps are for.
        names = source.spec.channel_names
        for view in views:
            here = {view.channel, names[view.channel] if names else view.channel}
            if all(step.channels is None or here & set(step.channels) for step in steps):
                return view
        views = views[:1]
    if len(views) > 1:
        raise RequestError(f"names {len(views)} planes", "a sweep looks at one: name one", "--t, --c, --z")
    return views[0]


def sweep(
    config: str,
    sets: Iterable[str],
    path: str,
    *,
    input: str | None = None,
    **planes: str | None,
) -> str:
    """Draw a sweep (see `run_sweep`) into a file, and write its figures beside it, with .csv to their name.

    Returns what was written, for the reader.
    """
    check_picture(path)
    beside = str(Path(path).with_suffix(".csv"))
    refuse_another(beside)
    sheet = run_sweep(config, sets, input=input, **planes)
    save_figure(sweep_figure(sheet), path)
    write_table(sheet, beside)
    return f"wrote {path}: {len(sheet.panels)} settings, and {beside}"
