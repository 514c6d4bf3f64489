"""Decomposition of flat footprints into chords, and the tables with which a kernel folds these.

A footprint is the union of chords: for each offset on the axes before the last, a run of 2w + 1 pixels along
the last, centred. The minimum over a chord is that of two overlapping runs of 2ᵏ pixels, and runs double:

    run₁[x] = min(run₀[x], run₀[x+1])     run₂[x] = min(run₁[x], run₁[x+2])     …
    chord[x] = min(runₖ[x−w], runₖ[x+w+1−2ᵏ])

`INPUT_ROWS` input rows are taken at a time. A result row then gets one chord of each of them, all with one
load and one store. Which chords these are depends only on the distance of the result row from the input rows,
so they are in a table.
"""

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.morphology.footprint import Footprint

INPUT_ROWS = 8


class ChordPlan(NamedTuple):
    """A footprint for the kernel. Positions count elements of the scratch array.

    The array begins with a row of the highest value, which never wins; then come the levels of runs, then the
    chords.
    """

    reach_y: int  # reach along the last two axes
    reach_x: int
    single: int  # 1 where the first chord is a single pixel, else 0
    levels: int  # start of the levels of runs; the level of single pixels is the input row itself
    pitch: int  # from one level to the next
    chords: int  # start of the chords: all of the first input row, then all of the second, …
    blocks: NDArray[np.int64]  # number of blocks of each level
    left: NDArray[np.int64]  # for each chord, the starts of its two runs
    right: NDArray[np.int64]
    plane_offsets: NDArray[np.int64]  # (n, axes before the last two): the planes that the footprint reaches
    reach: NDArray[np.int64]  # for each of those, its reach along the last axis but one
    start: NDArray[np.int64]  # for each of those, its first row in `table`
    table: NDArray[np.int64]  # (rows, INPUT_ROWS): for each result row, the positions of its chords
    strip: int  # columns filtered at once
    strip_blocks: int  # the same in blocks

    @property
    def end(self) -> int:
        """End of the chords."""
        return self.chords + INPUT_ROWS * len(self.left) * self.strip


@functools.lru_cache(maxsize=64)
def plan_chords(
    footprint: Footprint, reach: tuple[int, ...], strip: int, block_length: int, levels: int
) -> ChordPlan:
    """Plan a footprint of two axes or more.

    Parameters
    ----------
    footprint : Footprint
        The last axis is that of the chords, the one before that of the rows.
    reach : tuple of int
        How much of the footprint to use along each axis: less than the length of the image.
    strip, block_length : int
        Columns to filter at once, a multiple of `block_length`, and elements in a block.
    levels : int
        Start of the levels, not below any `strip`.
    """
    half = footprint.half_widths(reach)
    reach_y, reach_x = reach[-2:]
    widths = np.unique(half[half >= 0])
    level = np.floor(np.log2(2 * widths + 1)).astype(np.int64)
    run = np.left_shift(1, np.arange(level.max() + 1))
    blocks = -(-(strip + 2 * reach_x + 1 - run) // block_length)
    pitch = int(blocks[0] + 1) * block_length
    base = levels + (level - 1) * pitch + reach_x
    chords = levels + pitch * (len(blocks) - 1)
    rows = half.reshape(-1, half.shape[-1])
    present = np.flatnonzero((rows >= 0).any(axis=1))
    plane_offsets = np.argwhere((half >= 0).any(axis=-1)).reshape(len(present), -1)
    plane_offsets -= np.array(reach[:-2], int)
    tables = [_table(rows[index], widths, strip, chords) for index in present]
    return ChordPlan(
        reach_y=reach_y,
        reach_x=reach_x,
        single=int(widths[0] == 0),
        levels=levels,
        pitch=pitch,
        chords=chords,
        blocks=blocks[1:],
        left=base - widths,
        right=base + widths + 1 - run[level],
        plane_offsets=np.ascontiguousarray(plane_offsets, dtype=np.int64),
        reach=np.array([(len(table) - INPUT_ROWS) // 2 for table in tables], dtype=np.int64),
        start=np.cumsum([0, *map(len, tables)], dtype=np.int64)[:-1],
        table=np.concatenate(tables),
        strip=strip,
        strip_blocks=strip // block_length,
    )


def _table(half: NDArray[np.int64], widths: NDArray[np.int64], strip: int, chords: int) -> NDArray[np.int64]:
    """Return the positions of the chords of INPUT_ROWS input rows, for each result row that they reach."""
    half = half[half >= 0]
    reach = len(half) // 2
    result = np.arange(2 * reach + INPUT_ROWS)[:, None]
    row = np.arange(INPUT_ROWS)
    offset = row - result + 2 * reach
    inside = (offset >= 0) & (offset <= 2 * reach)
    chord = np.searchsorted(widths, half[np.where(inside, offset, 0)])
    return np.where(inside, chords + (row * len(widths) + chord) * strip, 0)
