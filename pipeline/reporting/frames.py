"""Figures of each plane of a run, collected from its windows and stored as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.units import ratio
from pipeline.steps.background import chain_background
from pipeline.steps.step import Step


@dataclass(frozen=True)
class Frames:
    """Figures of every plane, as arrays of `shape`; NaN where unknown.

    Means and extremes are of a sample of the rows; results are those of the chain, before the offset is
    added and the dtype cast.
    """

    axes: str  # of the image before y and x, in its order; may be empty
    pixels: NDArray  # number of pixels sampled
    mean_input: NDArray
    mean_background: NDArray  # NaN for a channel whose steps remove more than a background
    mean_result: NDArray
    std_result: NDArray
    min_result: NDArray
    max_result: NDArray
    clipped: NDArray  # of all pixels, not of the sample

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of planes along each of `axes`."""
        return self.pixels.shape

    @property
    def along(self) -> str:
        """Axis over which curves are drawn: t, or z of a single stack, or none."""
        sizes = dict(zip(self.axes, self.shape, strict=True))
        return next((axis for axis in "tz" if sizes.get(axis, 1) > 1), "")

    def curve(self, name: str, channel: int) -> NDArray:
        """Return a figure of a channel along `along`, as the weighted mean over all other planes."""
        values, weights = self._along_first(name, channel), self._along_first("pixels", channel)
        valid = np.isfinite(values) & (weights > 0)
        total = np.where(valid, weights, 0).sum(axis=1)
        sums = np.where(valid, values * weights, 0).sum(axis=1)
        return np.divide(sums, total, out=np.full(total.shape, np.nan), where=total > 0)

    def counts(self, channel: int) -> NDArray:
        """Return the clipped pixels of a channel along `along`, summed over all other planes."""
        return self._along_first("clipped", channel).sum(axis=1)

    def _along_first(self, name: str, channel: int) -> NDArray:
        """Return a figure of a channel as a 2D array: `along` × all other planes."""
        values: NDArray = getattr(self, name)
        if "c" in self.axes:
            values = values.take(channel, self.axes.index("c"))
        if not self.along:
            return values.reshape(1, -1)
        values = np.moveaxis(values, self.axes.replace("c", "").index(self.along), 0)
        return values.reshape(values.shape[0], -1)


_FIGURES = tuple(field.name for field in fields(Frames) if field.name != "axes")


def gather(
    facts: Iterable[tuple[Any, Mapping[str, Any]]], spec: ImageSpec, steps: Sequence[Step]
) -> Frames | None:
    """Combine the figures in the journal lines of a run's windows; None where there are none.

    Parameters
    ----------
    facts : iterable of (key, mapping)
        As `Journal.facts` yields them. Each may have `planes`, a list of rows: index of the plane,
        pixels sampled, sum of the input (or None), sum and sum of squares of the result, its
        minimum and maximum, and pixels clipped (or None). Rows of one plane add up.
    spec : ImageSpec
        The image that was filtered; its last two axes are y and x.
    steps : sequence of Step
        Resolved; they define the background.
    """
    shape = spec.shape[:-2]
    sums = np.zeros((5, *shape))
    least, most = np.full(shape, np.inf), np.full(shape, -np.inf)
    for _, fact in facts:
        for index, *figures, low, high, clipped in fact.get("planes") or ():
            at = tuple(index)
            row = (*figures, clipped)
            sums[(slice(None), *at)] += [np.nan if figure is None else figure for figure in row]
            least[at], most[at] = min(least[at], float(low)), max(most[at], float(high))
    pixels, clipped = sums[0], sums[4]
    if not pixels.any():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        before, after, squares = sums[1:4] / pixels
    sampled = pixels > 0
    return Frames(
        axes=spec.axes[:-2],
        pixels=pixels,
        mean_input=before,
        mean_background=_background(before, after, spec, steps),
        mean_result=after,
        std_result=np.sqrt(np.maximum(squares - after**2, 0)),
        min_result=np.where(sampled, least, np.nan),
        max_result=np.where(sampled, most, np.nan),
        clipped=np.where(sampled, clipped, np.nan),
    )


def _background(before: NDArray, after: NDArray, spec: ImageSpec, steps: Sequence[Step]) -> NDArray:
    signs = {"input minus result": -1.0, "input plus result": 1.0, None: np.nan}
    sign = np.array([signs[chain_background(steps, channel)] for channel in range(spec.sizes.get("c", 1))])
    return before + sign.reshape([sign.size if axis == "c" else 1 for axis in spec.axes[:-2]]) * after


def seconds_of(spec: ImageSpec) -> NDArray | None:
    """Return the time of each frame in seconds, or None where the image has no times."""
    if "t" not in spec.axes or "t" not in spec.scale or "t" not in spec.units:
        return None
    try:
        second = ratio(spec.units["t"], "second")
    except RequestError:
        return None
    return (spec.translation.get("t", 0.0) + np.arange(spec.sizes["t"]) * spec.scale["t"]) * second


def to_csv(frames: Frames, spec: ImageSpec) -> bytes:
    """Write the table as CSV, one row a plane in the order of the image."""
    seconds = seconds_of(spec)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*frames.axes, *(["time_s"] if seconds is not None else []), *_FIGURES])
    for index in np.ndindex(frames.shape):
        figures = [getattr(frames, name)[index] for name in _FIGURES]
        if seconds is not None:
            figures.insert(0, seconds[index[frames.axes.index("t")]])
        writer.writerow([*index, *(f"{value:.9g}" if np.isfinite(value) else "" for value in figures)])
    return text.getvalue().encode()


def from_csv(data: bytes) -> Frames:
    """Read what `to_csv` wrote.

    Raises
    ------
    ValueError
        The data is no such table.
    """
    rows = csv.reader(io.StringIO(data.decode()))
    header = next(rows, [])
    axes = "".join(name for name in header if name in ("t", "c", "z"))
    if not header or not set(_FIGURES) <= set(header):
        raise ValueError("not a table of frames")
    table = np.array([[float(cell) if cell else np.nan for cell in row] for row in rows])
    if table.size == 0:
        raise ValueError("a table without a frame")
    columns = dict(zip(header, table.T, strict=True))
    index = tuple(columns[axis].astype(int) for axis in axes)
    figures = np.full((len(_FIGURES), *(int(numbers.max()) + 1 for numbers in index)), np.nan)
    for number, name in enumerate(_FIGURES):
        figures[(number, *index)] = columns[name] if axes else columns[name][0]
    return Frames(axes, *figures)
