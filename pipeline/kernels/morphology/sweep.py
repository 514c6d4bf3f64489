"""Erosion, dilation, opening, closing and top-hats with any flat symmetric footprint, in one sweep.

The image is read once, `ROWS` rows at a time. Their chords are folded into a ring of result rows that are
still open; a row that no later input reaches is complete. For a second pass (the dilation of an opening)
complete rows are the input of a second ring at once, while in cache, and the subtraction happens as rows
leave that one. There is no array of the image's size in between.

Everything is an erosion: a dilation is the erosion of the complement, complemented.

References
----------
.. [1] E. R. Urbach and M. H. F. Wilkinson, "Efficient 2-D grayscale morphological transformations with
       arbitrary flat structuring elements", IEEE Transactions on Image Processing 17(1), 2008.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.jit import jit
from pipeline.kernels.morphology.chords import ROWS, Plan
from pipeline.kernels.morphology.rows import blocks_of, fill, subtract, take
from pipeline.kernels.morphology.vectors import complement, minimum, read_row, write_row

HALF = ROWS // 2


class Raster(NamedTuple):
    """An array of any strides, without its dtype and layout, so that one compiled kernel serves all."""

    address: int
    lead_strides: NDArray[np.int64]
    row_stride: int
    step: int


class Job(NamedTuple):
    """What to compute, and where things stand in the scratch array, in elements.

    The scratch holds in this order: what a `Plan` lays out, a stage for `ROWS` input rows, and the ring of
    each pass.
    """

    shape: NDArray[np.int64]  # the lead axes
    leads: int  # positions on them
    height: int
    width: int
    first: int  # columns first … last − 1 are the output
    last: int
    left: int  # columns left … right − 1 are what the first pass computes
    right: int
    passes: int
    flip: bool  # complement the input: dilation, closing
    minus: int  # 0: give the result, 1: the image minus it, 2: it minus the image
    margin: int  # columns before the first in each row of the stage and the rings
    stage: int
    stage_pitch: int


class Ring(NamedTuple):
    """The result rows that are still open: `depth` for each lead position, row y at slot y mod depth."""

    start: int
    pitch: int
    depth: int


@jit
def _row(ring: Ring, lead: int, y: int) -> int:
    return ring.start + (lead * ring.depth + y % ring.depth) * ring.pitch


@jit
def _runs_and_chords(array: NDArray, plan: Plan, row: int, target: int) -> None:
    """Build the chords of the input row that begins `reach_x` columns before the strip, at `row`."""
    below, step = row, 1
    for level in range(plan.blocks.size):
        at = plan.levels + level * plan.pitch
        minimum(array, at, (below, below + step), plan.blocks[level])
        below, step = at, 2 * step
    if plan.single:
        minimum(array, target, (row + plan.reach_x,), plan.strip_blocks)
    for i in range(plan.single, plan.left.size):
        minimum(array, target + i * plan.strip, (plan.left[i], plan.right[i]), plan.strip_blocks)


@jit
def _neighbour(lead: int, offsets: NDArray[np.int64], shape: NDArray[np.int64]) -> int:
    """Return the lead position at `offsets` from `lead`, or −1 outside."""
    result, scale = 0, 1
    for axis in range(shape.size - 1, -1, -1):
        place = lead % shape[axis] + offsets[axis]
        if place < 0 or place >= shape[axis]:
            return -1
        lead //= shape[axis]
        result += place * scale
        scale *= shape[axis]
    return result


@jit
def _fold(array: NDArray, plan: Plan, ring: Ring, job: Job, before: int, y: int, lead: int) -> None:
    """Take the chords of input rows y … y + ROWS − 1 into every result row that they touch."""
    for k in range(plan.reach.size):
        to = _neighbour(lead, plan.leads[k], job.shape)
        if to < 0:
            continue
        top, bottom = y - plan.reach[k], y + ROWS + plan.reach[k]
        first = max(top, 0)
        slot = first % ring.depth
        column = ring.start + to * ring.depth * ring.pitch + before
        for a in range(first, min(bottom, job.height)):
            at = column + slot * ring.pitch
            slot = slot + 1 if slot + 1 < ring.depth else 0
            t = plan.table[plan.start[k] + a - top]
            if a < top + HALF:  # only the first rows of the block reach so far up
                minimum(array, at, (at, t[0], t[1], t[2], t[3]), plan.strip_blocks)
            elif a >= bottom - HALF:  # and only the last ones so far down
                minimum(array, at, (at, t[4], t[5], t[6], t[7]), plan.strip_blocks)
            else:
                sources = (at, t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7])
                minimum(array, at, sources, plan.strip_blocks)


@jit
def _erode(
    array: NDArray,
    plan: Plan,
    rows: NDArray[np.int64],
    columns: int,
    ring: Ring,
    job: Job,
    y: int,
    lead: int,
    biggest: np.generic,
) -> None:
    """Fold input rows y … y + ROWS − 1, that stand at `rows`, −1 for one outside the image, into the ring."""
    each = plan.left.size * plan.strip
    for x in range(0, columns, plan.strip):
        for j in range(ROWS):
            if rows[j] < 0:
                fill(array, plan.chords + j * each, plan.chords + (j + 1) * each, biggest)
            else:
                _runs_and_chords(array, plan, rows[j] - plan.reach_x + x, plan.chords + j * each)
        _fold(array, plan, ring, job, job.margin + x, y, lead)


@jit
def _pixels(raster: Raster, shape: NDArray[np.int64], lead: int, y: int, x: int) -> int:
    address = raster.address + y * raster.row_stride + x * raster.step
    for axis in range(shape.size - 1, -1, -1):
        address += lead % shape[axis] * raster.lead_strides[axis]
        lead //= shape[axis]
    return address


@jit
def _load(
    array: NDArray, job: Job, reach: int, image: Raster, lead: int, y: int, j: int, biggest: np.generic
) -> int:
    """Read row y of the image into row j of the stage; return where its column `job.left` stands there."""
    row = job.stage + j * job.stage_pitch
    begin, end = max(0, job.left - reach), min(job.width, job.right + reach)
    at = row + job.margin + begin - job.left
    stop = at + end - begin
    take(array, at, _pixels(image, job.shape, lead, y, begin), image.step, end - begin, job.flip, biggest)
    fill(array, row, at, biggest)
    fill(array, stop, row + job.stage_pitch, biggest)
    return row + job.margin


@jit
def _turn(array: NDArray, job: Job, ring: Ring, lead: int, y: int, biggest: np.generic) -> int:
    """Make a complete row of the first pass the input of the second; return where `job.first` stands."""
    row = _row(ring, lead, y)
    complement(array, row + job.margin, blocks_of(array, job.right - job.left))
    fill(array, row + job.margin + job.right - job.left, row + ring.pitch, biggest)
    return row + job.margin + job.first - job.left


@jit
def _emit(
    array: NDArray,
    job: Job,
    ring: Ring,
    image: Raster,
    out: Raster,
    y: int,
    flipped: bool,
    biggest: np.generic,
) -> None:
    """Write the result rows y … y + ROWS − 1 that lie in the image, and open their slots again."""
    count = job.last - job.first
    stage = job.stage
    for lead in range(job.leads):
        for a in range(max(y, 0), min(y + ROWS, job.height)):
            row = _row(ring, lead, a)
            at = row + job.margin
            if flipped:
                complement(array, at, blocks_of(array, count))
            if job.minus:
                read_row(array, stage, _pixels(image, job.shape, lead, a, job.first), image.step, count)
                subtract(array[at : at + count], array[stage : stage + count], job.minus)
            write_row(array, at, _pixels(out, job.shape, lead, a, job.first), out.step, count)
            fill(array, row, row + ring.pitch, biggest)


@jit
def sweep(
    array: NDArray,
    image: Raster,
    out: Raster,
    one: Plan,
    two: Plan,
    first: Ring,
    second: Ring,
    job: Job,
    biggest: np.generic,
) -> None:
    """Filter columns `job.first … job.last − 1` of an image of lead positions × rows × columns.

    Parameters
    ----------
    array : ndarray, 1-D
        Scratch of the image's dtype.
    image, out : Raster
        Input and output, of the same width of pixels.
    one, two : Plan
    first, second : Ring
        Footprint and ring of each pass; the second's are not looked at where `job.passes` is 1.
    biggest : scalar
        +∞, or the largest value of the dtype: what counts outside.
    """
    fill(array, 0, array.size, biggest)
    rows = np.empty(ROWS, np.int64)
    last_ring, delay = first, one.reach_y
    if job.passes == 2:
        last_ring, delay = second, one.reach_y + two.reach_y
    for y in range(0, job.height + delay, ROWS):
        if y < job.height:
            for lead in range(job.leads):
                for j in range(ROWS):
                    inside = y + j < job.height
                    rows[j] = _load(array, job, one.reach_x, image, lead, y + j, j, biggest) if inside else -1
                _erode(array, one, rows, job.right - job.left, first, job, y, lead, biggest)
        done = y - one.reach_y
        if job.passes == 2 and done + ROWS > 0 and done < job.height:
            for lead in range(job.leads):
                for j in range(ROWS):
                    inside = 0 <= done + j < job.height
                    rows[j] = _turn(array, job, first, lead, done + j, biggest) if inside else -1
                _erode(array, two, rows, job.last - job.first, second, job, done, lead, biggest)
                for j in range(ROWS):
                    row = _row(first, lead, done + j)
                    fill(array, row, row + first.pitch, biggest)
        _emit(array, job, last_ring, image, out, y - delay, job.flip != (job.passes == 2), biggest)
