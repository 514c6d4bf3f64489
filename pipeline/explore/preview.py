"""`bgone preview`: a few planes before and after each step, with the background between."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.explore.crop import View, find_views, plane, step_by_step
from pipeline.explore.figure import (
    BLUE,
    SOFT,
    check_picture,
    draw_histogram,
    heading,
    new_figure,
    note,
    panel_height,
    parameters,
    save_figure,
    scale_bar,
    show,
    style,
    title,
    wrapped,
)
from pipeline.explore.scales import histogram_span, limits
from pipeline.kernels.cast import cast
from pipeline.model.errors import DataError, RequestError
from pipeline.model.text import number_of, share_text, value_text
from pipeline.planning.describe import image_text
from pipeline.planning.job import Job
from pipeline.planning.plan import Plan
from pipeline.read import Source
from pipeline.steps.background import difference
from pipeline.steps.step import Step

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 16

# Inches: width of a panel in up to `_FEW` rows, and in more.
_WIDTH, _SMALL, _FEW = 3.5, 2.85, 3
# Inches: heights, with the texts of the panels.
_TITLE, _HEADING, _BETWEEN, _HISTOGRAM, _BELOW = 0.8, 0.7, 0.08, 0.6, 0.55


@dataclass(frozen=True)
class Row:
    """One step on one plane, as 2D arrays."""

    view: View
    number: int  # of the step, counted from 0
    step: Step  # resolved
    before: NDArray
    removed: NDArray  # the background as the step defines it, else the difference
    after: NDArray  # after the last step, as it is written to the output
    clipped: int = 0  # pixels that the output's dtype cannot hold
    untouched: bool = False  # no step is for this channel
    last: bool = False  # step of the chain


def preview_rows(job: Job, views: tuple[View, ...]) -> list[Row]:
    """Compute the views, and no more than these, bit for bit as the run would."""
    assert isinstance(job.source, Source)
    rows = []
    refuse_nan = job.config.input.nan == "refuse"
    for view in views:
        images = step_by_step(
            job.source, job.plan.steps, view.region, tiling=job.plan.tiling, refuse_nan=refuse_nan
        )
        rows += _rows_of(job.plan, view, [plane(image) for image in images])
    return rows


def _rows_of(plan: Plan, view: View, images: list[NDArray]) -> list[Row]:
    """Return a row for each step that applies to the channel, or one untouched row."""
    final, clipped = cast(images[-1], plan.output.dtype, plan.offset)
    if clipped and plan.overflow == "error":
        message = f"{clipped} pixels of {view.where() or 'the plane'} are outside {plan.output.dtype}"
        hint = "say overflow: clip, add an offset, or take a wider dtype"
        raise DataError(message, hint, "output.overflow")
    steps = [(index, step) for index, step in enumerate(plan.steps)]
    applied = [
        (index, step) for index, step in steps if step.channels is None or view.channel in step.channels
    ]
    rows = []
    for index, step in applied or steps[-1:]:
        before, after = images[index : index + 2]
        removed = difference(step.background, before, after)
        rows.append(Row(view, index, step, before, removed, after, untouched=not applied))
    return [*rows[:-1], replace(rows[-1], after=final, clipped=clipped, last=True)]


def preview(job: Job, path: str, **planes: str | None) -> str:
    """Draw a preview of a run into a file, and return a line about it.

    Parameters
    ----------
    job : Job
        The prepared run.
    path : str
        The picture; its suffix decides the format.
    **planes : str, optional
        `t`, `c`, `z` and `crop` as for `find_views`.

    Raises
    ------
    RequestError
        An option selects something that the image does not have, or there would be too many rows.
    """
    check_picture(path)
    views = find_views(job.source.spec, **planes)
    count = len(views) * len(job.plan.steps)
    if count > MOST_ROWS:
        raise RequestError(
            f"{len(views)} planes of {len(job.plan.steps)} steps are {count} rows, of at most {MOST_ROWS}",
            "name fewer with --t, --c and --z",
        )
    rows = preview_rows(job, views)
    save_figure(preview_figure(job, rows), path)
    return f"wrote {path}: {number_of(len(views), 'plane')}, {views[0].extent() or 'whole'}"


def preview_figure(job: Job, rows: list[Row]) -> Figure:
    """Draw a preview: for each row a heading, three panels, and their histograms."""
    spec = job.source.spec
    width = _WIDTH if len(rows) <= _FEW else _SMALL
    height = panel_height(rows[0].before.shape, spec, width, 1.3 * width)
    names = [[f"{kind} {index}" for kind in ("before", "removed", "after")] for index in range(len(rows))]
    layout = [(["title"] * 3, _TITLE)]
    for index, panels in enumerate(names):
        layout += [([f"step {index}"] * 3, _HEADING), (panels, height), (["."] * 3, _BETWEEN)]
        layout += [([f"{panel} histogram" for panel in panels], _HISTOGRAM), (["."] * 3, _BELOW)]
    inner = 3 * width
    with style():
        figure, axes = new_figure(layout, [width] * 3)
        shown = f"shown: {rows[0].view.extent() or 'whole planes'}"
        words = wrapped(f"{image_text(spec)}. {shown}", inner, 9)
        title(axes["title"], job.source.path, words, inner)
        for index, (row, panels) in enumerate(zip(rows, names, strict=True)):
            several = f"{row.number + 1}. " if len(job.plan.steps) > 1 else ""
            words = wrapped(parameters(row.step, spec), inner, 9, 1)
            heading(axes[f"step {index}"], f"{several}{row.step.name}", words, row.view.where())
            histograms = [axes[f"{name} histogram"] for name in panels]
            _draw_row(job, row, [axes[name] for name in panels], histograms)
    return figure


def _draw_row(job: Job, row: Row, panels: list[Axes], histograms: list[Axes]) -> None:
    spec = job.source.spec
    both = np.concatenate([row.before.reshape(-1), row.removed.reshape(-1)])
    # One contrast and one span for both, so that their brightness can be compared.
    shared = limits(both)
    span = histogram_span(both, shared)
    alone = limits(row.after)
    columns = (
        ("before", row.before, shared, span, SOFT),
        (_removed_name(row.step), row.removed, shared, span, SOFT),
        ("after", row.after, alone, histogram_span(row.after, alone), BLUE),
    )
    for ax, below, (name, pixels, bounds, span, color) in zip(panels, histograms, columns, strict=True):
        ax.set_title(name)
        black, white = (value_text(bound) for bound in bounds)
        ax.set_title(f"{black} … {white}", loc="right", color=SOFT, fontsize=8)
        show(ax, pixels, bounds, spec)
        scale_bar(ax, pixels.shape, spec)
        draw_histogram(below, pixels, bounds, span, color)
    note(histograms[-1], _notes(job, row), 16)


def _removed_name(step: Step) -> str:
    """Return the title of the panel between before and after."""
    name = "background" if step.background else "taken off"
    return f"{name} = before {'+' if step.background == 'input plus result' else '−'} after"


def _notes(job: Job, row: Row) -> str:
    if row.untouched:
        return "no step is for this channel"
    notes = []
    negative = float(np.mean(row.after < 0))
    if negative:
        notes.append(f"{share_text(negative)} below 0")
    if row.last and job.plan.offset:
        notes.append(f"offset {job.plan.offset:g} added")
    if row.clipped:
        notes.append(f"{share_text(row.clipped / row.after.size)} clipped")
    return ", ".join(notes)
