"""What a sweep found: a panel for each setting, and the table of their figures."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass

from numpy.typing import NDArray

from pipeline.explore.crop import View
from pipeline.explore.measure import PlaneMeasures
from pipeline.model.errors import RequestError
from pipeline.read import Source
from pipeline.steps.step import Step
from pipeline.storage.durable import whole_file

COLUMNS = (
    "background_left", "signal_kept", "noise", "contrast", "negative_share",
    "background_spread", "signal", "note",
)  # fmt: skip
"""How each line of a table ends."""


@dataclass(frozen=True)
class Swept:
    """A field that is swept: its path in the config, and the values as they were typed."""

    path: str
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Panel:
    """One setting.

    Parameters
    ----------
    values : tuple of str
        One of each field that is swept.
    steps : tuple of Step
        Resolved; none where the setting is refused.
    pixels : numpy.ndarray or None
        Rows and columns of the result.
    measures : PlaneMeasures or None
        What it is like.
    refused : str
        Why there is no result.
    """

    values: tuple[str, ...]
    steps: tuple[Step, ...] = ()
    pixels: NDArray | None = None
    measures: PlaneMeasures | None = None
    refused: str = ""


@dataclass(frozen=True)
class Sheet:
    """All settings of a sweep, the last field changing fastest."""

    source: Source
    view: View
    swept: tuple[Swept, ...]
    before: NDArray
    measures: PlaneMeasures
    panels: tuple[Panel, ...]


def table(sheet: Sheet) -> tuple[list[str], list[list[str]]]:
    """Return the figures of a sweep: the names of the columns, and a row for the input and each setting."""
    header = [*(field.path for field in sheet.swept), *COLUMNS]
    rows = [[*("" for _ in sheet.swept), *_figures(sheet, sheet.measures), "input, before any step"]]
    rows += [[*panel.values, *_figures(sheet, panel.measures), panel.refused] for panel in sheet.panels]
    return header, rows


def _figures(sheet: Sheet, measures: PlaneMeasures | None) -> list[str]:
    if measures is None:
        return [""] * (len(COLUMNS) - 1)
    values = (
        relative(measures.spread, sheet.measures.spread),
        relative(measures.signal, sheet.measures.signal),
        measures.noise,
        measures.contrast,
        measures.negative,
        measures.spread,
        measures.signal,
    )
    return [f"{value:.4g}" for value in values]


def relative(value: float, before: float) -> float:
    """Return a value as a share of what it was before."""
    return value / before if before > 0 else float("nan")


def refuse_another(path: str) -> None:
    """Refuse to replace a file that is no table of a sweep: its name was not asked for, but made.

    Raises
    ------
    RequestError
        It is none.
    """
    if not os.path.lexists(path):
        return
    try:
        with open(path, newline="", encoding="utf-8") as file:
            known = next(csv.reader(file), [])[-len(COLUMNS) :] == list(COLUMNS)
    except (OSError, UnicodeDecodeError, csv.Error):
        known = False
    if not known:
        raise RequestError(
            f"{path!r} exists and is no table of a sweep",
            "give the picture another name: its table has that too",
            "-o",
        )


def write_table(sheet: Sheet, path: str) -> None:
    """Write the figures of a sweep as CSV; it appears when it is whole.

    Raises
    ------
    RequestError
        It cannot be written there.
    """
    header, rows = table(sheet)
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    with whole_file(path) as file:
        file.write(text.getvalue().encode())
