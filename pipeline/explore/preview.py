"""`bgone preview`: before, background and after of a few planes, a row for each step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.explore.crop import View, find_views, plane, step_by_step
from pipeline.explore.figure import (
    BLUE,
    FAINT,
    ORANGE,
    SOFT,
    Page,
    check_picture,
    draw_histogram,
    fitted,
    panel_size,
    parameters,
    save_figure,
    scale_bar,
    show,
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
    from matplotlib.artist import Artist

MOST_ROWS = 16

_WIDTH, _TALLEST = 3.5, 4.6
_MARGIN, _GAP = 0.35, 0.22
_HEAD, _LABEL, _CAPTION, _HISTOGRAM, _FOOT = 0.92, 0.58, 0.24, 0.62, 0.6

# Inches that a panel's whole caption needs.
_ROOMY = 2.6

# More rows than this are drawn smaller.
_FEW, _SMALL = 3, 2.7


@dataclass(frozen=True)
class Row:
    """One step on one plane.

    Parameters
    ----------
    view : View
        Which plane.
    number : int
        Which step, counted from 0.
    step : Step
        Resolved.
    before, after : numpy.ndarray
        Rows and columns; after the last step as they are written to the output.
    taken : numpy.ndarray
        The background, as the step says it lies between the two; or what the step took off.
    clipped : int
        Pixels that the output's dtype cannot hold.
    untouched : bool
        No step is for this channel.
    last : bool
        Nothing comes after it, so `after` is what is written.
    """

    view: View
    number: int
    step: Step
    before: NDArray
    taken: NDArray
    after: NDArray
    clipped: int = 0
    untouched: bool = False
    last: bool = False


def preview_rows(job: Job, views: tuple[View, ...]) -> list[Row]:
    """Return the pixels of a preview: those that the run would write, to the bit.

    Parameters
    ----------
    job : Job
        The run made ready.
    views : tuple of View
        What is looked at. It is read with its halo, and nothing else.

    Raises
    ------
    DataError
        The run would refuse these pixels.
    """
    assert isinstance(job.source, Source)
    rows = []
    for view in views:
        images = step_by_step(
            job.source,
            job.plan.steps,
            view.region,
            tiling=job.plan.tiling,
            refuse_nan=job.config.input.nan == "refuse",
        )
        rows += _rows_of(job.plan, view, [plane(image) for image in images])
    return rows


def _rows_of(plan: Plan, view: View, images: list[NDArray]) -> list[Row]:
    """Return a row for each step that is for the channel; one where none is."""
    final, clipped = cast(images[-1], plan.output.dtype, plan.offset)
    if clipped and plan.overflow == "error":
        raise DataError(
            f"{clipped} pixels of {view.where() or 'the plane'} are outside {plan.output.dtype}",
            "say overflow: clip, add an offset, or take a wider dtype", "output.overflow",
        )  # fmt: skip
    meant = [
        index
        for index, step in enumerate(plan.steps)
        if step.channels is None or view.channel in step.channels
    ]
    rows = []
    for index in meant or [len(plan.steps) - 1]:
        step, before, after = plan.steps[index], images[index], images[index + 1]
        taken = difference(step.background, before, after)
        row = Row(view, index, step, before, taken, after, untouched=not meant)
        rows.append(row)
    return [*rows[:-1], replace(rows[-1], after=final, clipped=clipped, last=True)]


def preview(
    job: Job,
    path: str,
    *,
    t: str | None = None,
    c: str | None = None,
    z: str | None = None,
    crop: str | None = None,
) -> str:
    """Draw a preview of a run into a file.

    Parameters
    ----------
    job : Job
        The run made ready.
    path : str
        A picture; its suffix says the format.
    t, c, z : str, optional
        Which planes, separated by commas.
    crop : str, optional
        Which part of them, such as "y=0:512,x=0:512".

    Returns
    -------
    str
        What was drawn, for the reader.

    Raises
    ------
    RequestError
        An option names what is not there, or it would be too many rows.
    """
    check_picture(path)
    views = find_views(job.source.spec, t=t, c=c, z=z, crop=crop)
    count = len(views) * len(job.plan.steps)
    if count > MOST_ROWS:
        raise RequestError(
            f"{len(views)} planes of {len(job.plan.steps)} steps are {count} rows, of at most {MOST_ROWS}",
            "name fewer with --t, --c and --z",
        )
    rows = preview_rows(job, views)
    save_figure(draw(job, rows).figure, path)
    return f"wrote {path}: {number_of(len(views), 'plane')}, {_part(views[0])}"


def _part(view: View) -> str:
    return view.extent() or "whole"


def draw(job: Job, rows: list[Row]) -> Page:
    """Return the picture of a preview."""
    spec, view = job.source.spec, rows[0].view
    shape = rows[0].before.shape
    widest = _WIDTH if len(rows) <= _FEW else _SMALL
    width, height = panel_size((shape[0], shape[1]), spec, widest, _TALLEST * widest / _WIDTH)
    row_height = _LABEL + _CAPTION + height + _HISTOGRAM + _FOOT
    page = Page(2 * _MARGIN + 3 * width + 2 * _GAP, _HEAD + row_height * len(rows))
    inner = page.width - 2 * _MARGIN
    page.text(_MARGIN, 0.22, fitted(_title(job), inner, 13, 1, bold=True), 13, fontweight="bold")
    page.text(_MARGIN, 0.52, fitted(_subtitle(job, view), inner, 9, 2), 9, color=SOFT)
    for index, row in enumerate(rows):
        _draw_row(page, job, row, _HEAD + index * row_height, width, height)
    return page


def _title(job: Job) -> str:
    return job.source.path.rstrip("/").rpartition("/")[2] or job.source.path


def _subtitle(job: Job, view: View) -> str:
    part = f"shown: {view.extent()}" if view.cropped else "shown: whole planes"
    return f"{image_text(job.source.spec)}. {part}"


def _draw_row(page: Page, job: Job, row: Row, top: float, width: float, height: float) -> None:
    spec = job.source.spec
    inner = page.width - 2 * _MARGIN
    place = row.view.where()
    several = f"{row.number + 1}. " if len(job.plan.steps) > 1 else ""
    page.figure.add_artist(_rule(page, top))
    page.text(_MARGIN, top + 0.1, f"{several}{row.step.name}", 10, fontweight="bold")
    page.text(_MARGIN, top + 0.32, fitted(parameters(row.step, spec), inner, 9, 1), 9)
    if place:
        page.text(page.width - _MARGIN, top + 0.1, place, 10, color=ORANGE, ha="right", fontweight="bold")
    top += _LABEL
    shared = limits(np.concatenate([row.before.reshape(-1), row.taken.reshape(-1)]))
    # One frame for both, so that what was taken is seen to be gone.
    frame = histogram_span(np.concatenate([row.before.reshape(-1), row.taken.reshape(-1)]), shared)
    panels = (
        ("before", row.before, shared, SOFT, ""),
        (taken_name(row.step, brief=width < _ROOMY), row.taken, shared, SOFT, ""),
        ("after", row.after, limits(row.after), BLUE, _notes(job, row)),
    )
    for column, (name, pixels, bounds, color, note) in enumerate(panels):
        left = _MARGIN + column * (width + _GAP)
        page.text(left, top + 0.03, name, 9.5)
        caption = f"{value_text(bounds[0])} … {value_text(bounds[1])}"
        page.text(left + width, top + 0.04, caption, 8, color=SOFT, ha="right")
        ax = page.axes(left, top + _CAPTION, width, height)
        show(ax, pixels, bounds, spec)
        scale_bar(ax, (pixels.shape[0], pixels.shape[1]), spec)
        below = top + _CAPTION + height + 0.06
        span = frame if column < 2 else histogram_span(pixels, bounds)
        draw_histogram(page.axes(left, below, width, _HISTOGRAM), pixels, bounds, span, color)
        if note:
            page.text(left + width, below + _HISTOGRAM + 0.2, note, 8, color=ORANGE, ha="right")


def _rule(page: Page, top: float) -> Artist:
    from matplotlib.lines import Line2D

    y = 1 - top / page.height
    ends = (_MARGIN / page.width, 1 - _MARGIN / page.width)
    return Line2D(ends, (y, y), color=FAINT, linewidth=0.8)


def taken_name(step: Step, brief: bool = False) -> str:
    """Return what the panel between before and after shows."""
    name = "background" if step.background else "taken off"
    return (
        name if brief else f"{name} = before {'+' if step.background == 'input plus result' else '−'} after"
    )


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
