"""A report's files: made with a run, so that they are published with it, or again from an output."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.model.errors import RequestError
from pipeline.planning.job import Job
from pipeline.reporting.frames import gather, to_csv
from pipeline.reporting.page import render
from pipeline.reporting.report_data import PAGE, TABLE, of_output, of_run
from pipeline.storage.durable import whole_file
from pipeline.write import Layout
from pipeline.write.metadata import BGONE


def run_files(
    job: Job,
    layout: Layout,
    facts: Iterable[tuple[Any, Mapping[str, Any]]],
    provenance: Mapping[str, Any],
    say: Callable[[str], None],
) -> dict[str, bytes]:
    """Return the report of a run that is about to be sealed: name → bytes.

    What cannot be made is left out and said in a line: a run of days is worth more than its report.

    Parameters
    ----------
    job : Job
        The run.
    layout : Layout
        Its output, all pixels written.
    facts : iterable of (str, mapping)
        What `Journal.facts` yields.
    provenance : mapping
        As it will be kept.
    say : callable
        Told what could not be made.
    """
    made: dict[str, bytes] = {}
    frames = None
    try:
        with _quiet():
            frames = gather(facts, job.plan.image, job.plan.steps)
        if frames is not None:
            made[TABLE] = to_csv(frames, job.plan.image)
    except Exception as error:
        # Whatever it is: the pixels are whole, and are published without.
        say(f"note: the table of frames could not be made ({_words(error)})")
    try:
        with _quiet():
            made[PAGE] = render(of_run(job, layout, frames, provenance))
    except Exception as error:
        say(f"note: the report could not be made ({_words(error)}); bgone report makes it again")
    return made


def _quiet() -> np.errstate:
    """Let sums and differences of infinities, and of the largest floats, be what they are."""
    return np.errstate(over="ignore", invalid="ignore")


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def report(output: str, target: str | None = None) -> str:
    """Make the report of a finished output again.

    Parameters
    ----------
    output : str
        An OME-Zarr that bgone wrote.
    target : str, optional
        Where the page goes; default: its place inside the output.

    Returns
    -------
    str
        What was written, for the reader.

    Raises
    ------
    RequestError
        bgone did not write it, or the page cannot be written there.
    """
    path = os.path.abspath(os.path.expanduser(output))
    with _quiet():
        page = render(of_output(path))
    place = Path(target or f"{path}/{BGONE}/{PAGE}")
    _write(place, page, "-o" if target else "")
    return f"wrote {place}"


def _write(place: Path, page: bytes, option: str) -> None:
    """Write a file that appears when it is whole."""
    if place.is_dir():
        raise RequestError(f"{str(place)!r} is a folder", "name a file", option)
    if place.suffix.lower() not in (".html", ".htm"):
        raise RequestError(f"{str(place)!r} is no page's name", "let it end in .html", option)
    with whole_file(place, field=option) as file:
        file.write(page)
