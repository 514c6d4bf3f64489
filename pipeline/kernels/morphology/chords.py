"""Cut a flat footprint into horizontal chords, and lay out what a kernel needs to fold them.

A footprint is the union of chords: for each offset on the axes before the last, a run of pixels centred on
it. The minimum over a chord of 2w + 1 pixels is that of two overlapping runs of 2ᵏ, and the runs double:

    run₁[x] = min(run₀[x], run₀[x+1])     run₂[x] = min(run₁[x], run₁[x+2])     …
    chord[x] = min(runₖ[x−w], runₖ[x+w+1−2ᵏ])

`INPUT_ROWS` input rows are taken at a time. A row of results `a` then gets, from one block of input rows, one
chord of each of them, all with one load and one store. Which chord that is depends only on how far `a` lies
from the block, so it stands in a table.
"""

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.morphology.footprint import Footprint

INPUT_ROWS = 8


class ChordPlan(NamedTuple):
    """A footprint as a kernel reads it. Offsets count elements in the scratch array.

    The array begins with a row that is never the smallest; the levels of runs follow, then the chords.
    """

    reach_y: int  # how far it extends along the last two axes
    reach_x: int
    single: int  # 1 where the first chord is a single pixel, else 0
    levels: int  # where the levels of runs begin; the level of single pixels is the input row itself
    pitch: int  # from one level to the next
    chords: int  # where the chords begin: all of the first input row, then all of the second, …
    blocks: NDArray[np.int64]  # to compute of each level
    left: NDArray[np.int64]  # for each chord where its two runs begin
    right: NDArray[np.int64]
    leads: NDArray[np.int64]  # (n, lead axes): offsets on the axes before the last two
    reach: NDArray[np.int64]  # for each of those, how far it extends along the last axis but one
    start: NDArray[np.int64]  # for each of those, its first row in `table`
    table: NDArray[np.int64]  # (rows, INPUT_ROWS): for each result row where each input row's chord stands
    strip: int  # columns worked on at once
    strip_blocks: int  # blocks that hold them

    @property
    def end(self) -> int:
        """Where the chords end."""
        return self.chords + INPUT_ROWS * len(self.left) * self.strip


@functools.lru_cache(maxsize=64)
def plan_chords(
    footprint: Footprint, reach: tuple[int, ...], strip: int, block_length: int, levels: int
) -> ChordPlan:
    """Return the plan of a footprint of two axes or more.

    Parameters
    ----------
    footprint : Footprint
        Its last axis is that of the chords, the one before that of the rows.
    reach : tuple of int
        How much of it to use along each axis: no more than the image is long.
    strip, block_length : int
        Columns to work on at once, a multiple of `block_length`, and elements in a block.
    levels : int
        Where the levels begin, no less than any `strip`.
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
    leads = np.argwhere((half >= 0).any(axis=-1)).reshape(len(present), -1) - np.array(reach[:-2], int)
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
        leads=np.ascontiguousarray(leads, dtype=np.int64),
        reach=np.array([(len(table) - INPUT_ROWS) // 2 for table in tables], dtype=np.int64),
        start=np.cumsum([0, *map(len, tables)], dtype=np.int64)[:-1],
        table=np.concatenate(tables),
        strip=strip,
        strip_blocks=strip // block_length,
    )


def _table(half: NDArray[np.int64], widths: NDArray[np.int64], strip: int, chords: int) -> NDArray[np.int64]:
    """Return where the chords of INPUT_ROWS input rows stand, for each result row they touch."""
    half = half[half >= 0]
    reach = len(half) // 2
    result = np.arange(2 * reach + INPUT_ROWS)[:, None]
    row = np.arange(INPUT_ROWS)
    offset = row - result + 2 * reach
    inside = (offset >= 0) & (offset <= 2 * reach)
    chord = np.searchsorted(widths, half[np.where(inside, offset, 0)])
    return np.where(inside, chords + (row * len(widths) + chord) * strip, 0)
