"""`bgone sweep`: one plane under many settings, as a contact sheet and as a table."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

from pipeline.config.load import RunConfig, load_config
from pipeline.explore.crop import View, find_views, plane, step_by_step
from pipeline.explore.figure import check_picture, save_figure
from pipeline.explore.measure import find_regions, measure
from pipeline.explore.sweep_figure import draw
from pipeline.explore.sweep_result import Panel, Sheet, Swept, refuse_another, write_table
from pipeline.model.errors import PipelineError, RequestError
from pipeline.planning.plan import resolve_steps
from pipeline.read import Source, open_source
from pipeline.steps.registry import REGISTRY
from pipeline.steps.step import Step

MOST_PANELS = 100


def split_values(text: str) -> list[str]:
    """Return the values of a list: cut at commas, but not inside brackets or quotes.

    >>> split_values("5,15 , {y: 3, x: 4}")
    ['5', '15', '{y: 3, x: 4}']
    """
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        depth += not quote and (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def parse_sweep(sets: Iterable[str]) -> tuple[tuple[Swept, ...], list[str]]:
    """Return what is swept, and the changes that hold for every setting.

    Parameters
    ----------
    sets : iterable of str
        PATH=VALUE each; several values separated by commas are swept.

    Raises
    ------
    RequestError
        Nothing is swept, or more than two fields, or something else than a step's.
    """
    swept: list[Swept] = []
    fixed: list[str] = []
    for text in sets:
        path, _, values = text.partition("=")
        parts = split_values(values)
        if len(parts) == 1:
            fixed.append(text)
            continue
        path = path.strip()
        said = f"--set {text}"
        first = path.partition(".")[0]
        if first != "steps" and first not in REGISTRY:
            raise RequestError(
                "only the fields of steps can be swept", "write it like white_tophat.radius=5,15,25", said
            )
        if "" in parts:
            raise RequestError("has an empty value", "separate values by single commas", said)
        if len(set(parts)) < len(parts):
            raise RequestError("has a value twice", "give each value once", said)
        swept.append(Swept(path, tuple(parts)))
    mend = "give several values, such as --set white_tophat.radius=5,15,25"
    if not swept:
        raise RequestError("nothing is swept", mend, "--set")
    if len(swept) > 2:
        raise RequestError(f"{len(swept)} fields are swept", "sweep one or two of them", "--set")
    if swept[0].path == swept[-1].path and len(swept) == 2:
        raise RequestError(f"{swept[0].path} is given twice", "give all its values in one", "--set")
    count = len(swept[0].values) * (len(swept[1].values) if len(swept) == 2 else 1)
    if count > MOST_PANELS:
        raise RequestError(f"makes {count} panels, of at most {MOST_PANELS}", "give fewer values", "--set")
    return tuple(swept), fixed


def run_sweep(
    config: str,
    sets: Iterable[str],
    *,
    input: str | None = None,
    t: str | None = None,
    c: str | None = None,
    z: str | None = None,
    crop: str | None = None,
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
    t, c, z, crop : str, optional
        Which plane, and which part of it; read with its halo alone.

    Raises
    ------
    RequestError
        The sweep makes no sense, or every setting of it is refused.
    DataError
        The run would refuse the pixels.
    """
    swept, fixed = parse_sweep(sets)
    combinations = list(itertools.product(*(each.values for each in swept)))
    configs = [_load(config, swept, values, fixed, input) for values in combinations]
    good = [each for each in configs if isinstance(each, RunConfig)]
    if not good:
        raise next(each for each in configs if isinstance(each, PipelineError))
    source = _open(good[0])
    view = _one_view(source, good[0].steps, t, c, z, crop)
    resolved = [_resolve(each, source) for each in configs]
    if all(isinstance(each, PipelineError) for each in resolved):
        raise next(each for each in resolved if isinstance(each, PipelineError))
    before = plane(source.read(view.region))
    steps = next(each for each in resolved if isinstance(each, tuple))
    turned = sum(step.background == "input plus result" for step in steps)
    regions = find_regions(before, dark=turned % 2 == 1)
    panels = []
    for values, each in zip(combinations, resolved, strict=True):
        if isinstance(each, PipelineError):
            panels.append(Panel(values, refused=each.problems[0].what))
            continue
        refuse_nan = good[0].input.nan == "refuse"
        pixels = plane(step_by_step(source, each, view.region, refuse_nan=refuse_nan)[-1])
        panels.append(Panel(values, each, pixels, measure(pixels, regions)))
    return Sheet(source, view, swept, before, measure(before, regions, before=True), tuple(panels))


def _load(
    config: str, swept: tuple[Swept, ...], values: tuple[str, ...], fixed: list[str], input: str | None
) -> RunConfig | PipelineError:
    changes = [f"{each.path}={value}" for each, value in zip(swept, values, strict=True)]
    try:
        return load_config(config, sets=[*fixed, *changes], input=input)
    except PipelineError as error:
        return error


def _open(config: RunConfig) -> Source:
    said = config.input
    try:
        return open_source(
            said.path,
            axes=said.axes,
            scale=said.scale,
            select=said.select,
            series=said.series,
            level=said.level,
        )
    except PipelineError as error:
        raise config.locate(error) from None


def _resolve(config: RunConfig | PipelineError, source: Source) -> tuple[Step, ...] | PipelineError:
    if isinstance(config, PipelineError):
        return config
    try:
        return resolve_steps(config.steps, source.spec)
    except PipelineError as error:
        return config.locate(error)


def _one_view(
    source: Source, steps: tuple[Step, ...], t: str | None, c: str | None, z: str | None, crop: str | None
) -> View:
    views = find_views(source.spec, t=t, c=c, z=z, crop=crop)
    if c is None:
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
    t: str | None = None,
    c: str | None = None,
    z: str | None = None,
    crop: str | None = None,
) -> str:
    """Draw a sweep into a file, and write its figures beside it.

    Parameters
    ----------
    config, sets, input, t, c, z, crop
        As `run_sweep` takes them.
    path : str
        A picture; the table has its name with .csv.

    Returns
    -------
    str
        What was written, for the reader.

    Raises
    ------
    RequestError
        As `run_sweep` raises it, or it cannot be written there.
    DataError
        The run would refuse the pixels.
    """
    check_picture(path)
    beside = str(Path(path).with_suffix(".csv"))
    refuse_another(beside)
    sheet = run_sweep(config, sets, input=input, t=t, c=c, z=z, crop=crop)
    save_figure(draw(sheet).figure, path)
    write_table(sheet, beside)
    return f"wrote {path}: {len(sheet.panels)} settings, and {beside}"
