"""Decomposition of flat footprints into chords, and the tables with which a kernel folds these.

A footprint is the union of chords: for each offset on the axes before the last, a run of 2w + 1 pixels along
the last, centred. The minimum over a chord is that of two overlapping runs of 2ᵏ pixels, and runs double:

    run₁[x] = min(run₀[x], run₀[x+1])     run₂[x] = min(run₁[x], run₁[x+2])     …
    chord[x] = min(runₖ[x−w], runₖ[x+w+1−2ᵏ])

`INPUT_ROWS` input rows are taken at a time. A result row then gets one chord of each of them that it
reaches, all with one load and one store. Which chords these are depends only on the distance of the result
row from the input rows, so they are in a table.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.morphology.chord_strips import FOLD_BYTES, INPUT_ROWS
from pipeline.kernels.processor import VECTOR
from pipeline.kernels.vectors import block_length

# A strip is long enough that its start costs little, and the chords of INPUT_ROWS rows stay in cache.
STRIP_BYTES = 2048 if VECTOR < 64 else 1024


class ChordPlan(NamedTuple):
    """A footprint for the kernel. Positions count elements of the scratch array.

    The array begins with the levels of runs; then come the chords. The level of single pixels is the input
    row itself, and so are chords of a single pixel.
    """

    reach_y: int  # reach along the last two axes
    reach_x: int
    single: int  # 1 where the first chord is a single pixel, else 0
    # (levels + chords but single pixels, 6): positions of a result and of its two sources, blocks, 1 if the
    # sources count from the input row, 1 if the result counts from the first chord of that row.
    steps: NDArray[np.int64]
    chords: int  # start of the chords: all of the first input row, then all of the second, …
    where: NDArray[np.int64]  # positions of the chords of all input rows, where they are no single pixels
    per_row: int  # chords of an input row, with a single pixel
    plane_offsets: NDArray[np.int64]  # (n, axes before the last two): the planes that the footprint reaches
    reach: NDArray[np.int64]  # for each of those, its reach along the last axis but one
    start: NDArray[np.int64]  # for each of those, its first row in `table`
    table: NDArray[np.int64]  # (n, INPUT_ROWS): for each result row, the indices of its chords in `where`
    strip: int  # columns filtered at once
    groups: int  # the same in groups

    @property
    def end(self) -> int:
        """End of the chords."""
        return self.chords + INPUT_ROWS * (self.per_row - self.single) * self.strip

    @property
    def rows(self) -> int:
        """Input rows taken at a time."""
        return INPUT_ROWS

    @property
    def slot_rows(self) -> int:
        """Rows in a slot of the ring buffer."""
        return 1


def plan_chords(half: NDArray[np.int64], reach: tuple[int, ...], strip: int, dtype: np.dtype) -> ChordPlan:
    """Plan a footprint of two axes or more.

    Parameters
    ----------
    half : ndarray of int
        What `Footprint.half_widths` returns for `reach`. The last axis of the footprint is that of the
        chords, the one before that of the rows.
    reach : tuple of int
        How much of the footprint is used along each axis: less than the length of the image.
    strip : int
        Columns to filter at once.
    dtype : dtype
        Of the image.
    """
    reach_y, reach_x = reach[-2:]
    widths = np.unique(half[half >= 0])
    single = int(widths[0] == 0)
    steps, chords = _steps(widths[single:], reach_x, strip, dtype)
    row, chord = np.ogrid[:INPUT_ROWS, -single : len(widths) - single]
    half_rows = half.reshape(-1, half.shape[-1])
    present = np.flatnonzero((half_rows >= 0).any(axis=1))
    plane_offsets = np.argwhere((half >= 0).any(axis=-1)).reshape(len(present), -1)
    plane_offsets -= np.array(reach[:-2], int)
    tables = [_table(half_rows[index], widths) for index in present]
    return ChordPlan(
        reach_y=reach_y,
        reach_x=reach_x,
        single=single,
        steps=steps,
        chords=chords,
        where=(chords + (row * (len(widths) - single) + chord) * strip).ravel(),
        per_row=len(widths),
        plane_offsets=np.ascontiguousarray(plane_offsets, dtype=np.int64),
        reach=np.array([(len(table) - INPUT_ROWS) // 2 for table in tables], dtype=np.int64),
        start=np.cumsum([0, *map(len, tables)], dtype=np.int64)[:-1],
        table=np.concatenate(tables),
        strip=strip,
        groups=strip * dtype.itemsize // FOLD_BYTES,
    )


def strip_length(count: int, dtype: np.dtype) -> int:
    """Return the columns of a strip, in whole groups, so that `count` columns are cut evenly."""
    parts = math.ceil(count * dtype.itemsize / STRIP_BYTES)
    return math.ceil(count * dtype.itemsize / parts / FOLD_BYTES) * FOLD_BYTES // dtype.itemsize


def _steps(
    widths: NDArray[np.int64], reach: int, strip: int, dtype: np.dtype
) -> tuple[NDArray[np.int64], int]:
    """Return the steps to the chords of these half-widths, and the end of the levels."""
    block = block_length(dtype)
    level = np.floor(np.log2(2 * widths + 1)).astype(np.int64)
    run = np.left_shift(1, np.arange(1, level.max(initial=0) + 1))
    blocks = -(-(strip + 2 * reach + 1 - run) // block)
    at = np.cumsum([0, *((blocks + 1) * block)], dtype=np.int64)
    steps = [(at[k], at[k - 1], at[k - 1] + run[k] // 2, blocks[k], 0, 0) for k in range(1, len(run))]
    if len(run):
        steps.insert(0, (0, 0, 1, blocks[0], 1, 0))
    for i, (w, k) in enumerate(zip(widths, level, strict=True)):
        left = at[k - 1] + reach - w
        steps.append((i * strip, left, left + 2 * w + 1 - run[k - 1], strip // block, 0, 1))
    return np.array(steps, dtype=np.int64).reshape(-1, 6), int(at[-1])


def _table(half: NDArray[np.int64], widths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices of the chords of INPUT_ROWS input rows, for each result row that they reach."""
    half = half[half >= 0]
    reach = len(half) // 2
    result = np.arange(2 * reach + INPUT_ROWS)[:, None]
    row = np.arange(INPUT_ROWS)
    offset = row - result + 2 * reach
    inside = (offset >= 0) & (offset <= 2 * reach)
    chord = np.searchsorted(widths, half[np.where(inside, offset, 0)])
    return np.where(inside, row * len(widths) + chord, 0)
