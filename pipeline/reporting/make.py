"""Files of a report, made before a run is published or again from its output."""

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
from pipeline.storage.whole_file import whole_file
from pipeline.write import Layout
from pipeline.write.metadata import BGONE


def run_files(
    job: Job,
    layout: Layout,
    facts: Iterable[tuple[Any, Mapping[str, Any]]],
    provenance: Mapping[str, Any],
    say: Callable[[str], None],
) -> dict[str, bytes]:
    """Make the report's files (name → bytes) of a run whose pixels are all written.

    A file that cannot be made is left out, and `say` is called with a line about it: a run of days is
    worth more than its report. `facts` is what `Journal.facts` yields.
    """
    files: dict[str, bytes] = {}
    frames = None
    # Infinities and the largest floats overflow in sums and differences; that is no fault of the run.
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            frames = gather(facts, job.plan.image, job.plan.steps)
            if frames is not None:
                files[TABLE] = to_csv(frames, job.plan.image)
        except Exception as error:
            say(f"note: the table of frames could not be made ({_error_text(error)})")
        try:
            files[PAGE] = render(of_run(job, layout, frames, provenance))
        except Exception as error:
            say(f"note: the report could not be made ({_error_text(error)}); bgone report makes it again")
    return files


def _error_text(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def report(output: str, target: str | None = None) -> str:
    """Make the report of a finished output again, and return a line about it.

    Parameters
    ----------
    output : str
        An OME-Zarr that bgone wrote.
    target : str, optional
        Path of the page; default: beside the manifest inside the output.

    Raises
    ------
    RequestError
        bgone did not write the output, or the page cannot be written.
    """
    path = os.path.abspath(os.path.expanduser(output))
    with np.errstate(over="ignore", invalid="ignore"):
        page = render(of_output(path))
    file, option = Path(target or f"{path}/{BGONE}/{PAGE}"), "-o" if target else ""
    if file.is_dir():
        raise RequestError(f"{str(file)!r} is a folder", "name a file", option)
    if file.suffix.lower() not in (".html", ".htm"):
        raise RequestError(f"{str(file)!r} is no page's name", "let it end in .html", option)
    with whole_file(file, field=option) as draft:
        draft.write(page)
    return f"wrote {file}"
