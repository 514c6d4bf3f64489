"""Morphology with any footprint: the choice of row and column axes, tile widths and scratch."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.dtypes import highest_value
from pipeline.kernels.morphology.chords import INPUT_ROWS, ChordPlan, plan_chords
from pipeline.kernels.morphology.footprint import Footprint
from pipeline.kernels.morphology.passes import Raster, RowBuffer, Tile, filter_tile
from pipeline.kernels.vectors import aligned, block_length

BUFFER_BYTES = 1 << 22  # of a tile's ring buffers, to stay in a cache of several MB
# A strip is long enough that its start costs little, and the chords of INPUT_ROWS rows stay in cache.
STRIP_BYTES = 2048
CHORD_BYTES = 1 << 19


class Arrangement(NamedTuple):
    """The plan of a filter on an image of batch axes × plane axes × rows × columns.

    Footprints do not extend along batch axes, so images along these are filtered one by one.
    """

    order: tuple[int, ...]  # the array's axes in that order
    batch: int  # number of batch axes
    columns: int  # of a tile
    plans: tuple[ChordPlan, ...]
    buffers: tuple[RowBuffer, ...]
    margin: int  # this and the next two as in `Tile`
    inputs: int
    input_pitch: int
    size: int  # of the scratch array, in elements


def _round_up(count: int, step: int) -> int:
    return -(-count // step) * step


def _order(ndim: int, footprints: tuple[Footprint, ...]) -> tuple[tuple[int, ...], int]:
    """Return the axes in the order batch, plane, row, column, and the number of batch axes."""
    active = [axis for axis in range(ndim - 1) if any(f.reach[axis] for f in footprints)]
    batch = [axis for axis in range(ndim - 1) if axis not in active]
    row = active.pop() if active else batch.pop()
    return (*batch, *active, row, ndim - 1), len(batch)


def arrange(shape: tuple[int, ...], dtype: np.dtype, footprints: tuple[Footprint, ...]) -> Arrangement:
    """Plan the filter of an array of two axes or more with one footprint, or two in turn."""
    order, batch = _order(len(shape), footprints)
    inner = tuple(shape[axis] for axis in order[batch:])
    planes = math.prod(inner[:-2])
    block = block_length(dtype)
    reaches = [tuple(min(f.reach[axis], shape[axis] - 1) for axis in order[batch:]) for f in footprints]
    depths = [2 * reach[-2] + INPUT_ROWS for reach in reaches]
    widest = max(reach[-1] for reach in reaches)
    halo = reaches[1][-1] if len(reaches) == 2 else 0

    # A tile is no narrower than twice its halo, or the halo would cost more than the tile.
    affordable = BUFFER_BYTES // (planes * sum(depths) * dtype.itemsize)
    tiles = math.ceil(inner[-1] / max(affordable, 4 * widest, 2 * block))
    columns = math.ceil(inner[-1] / tiles)
    counts = [min(inner[-1], columns + 2 * halo), columns][-len(reaches) :]
    strips = [_strip(count, reach[-1], dtype) for count, reach in zip(counts, reaches, strict=True)]
    plans = tuple(
        plan_chords(_permuted(footprint, order[batch:]), reach, strip, block, max(strips))
        for footprint, reach, strip in zip(footprints, reaches, strips, strict=True)
    )
    margin = _round_up(widest, block)
    # An odd number of blocks: rows a power of two apart would share the same few lines of the cache.
    pitches = [
        (_round_up(margin + _round_up(count, strip) + widest + 2 * block, block) // block | 1) * block
        for count, strip in zip(counts, strips, strict=True)
    ]
    inputs = _round_up(max(plan.end for plan in plans), block)
    at = inputs + INPUT_ROWS * pitches[0]
    buffers = []
    for depth, pitch in zip(depths, pitches, strict=True):
        buffers.append(RowBuffer(at, pitch, depth))
        at += planes * depth * pitch
    size = at + 2 * max(strips) + widest + 4 * block
    return Arrangement(order, batch, columns, plans, tuple(buffers), margin, inputs, pitches[0], size)


def _strip(count: int, reach: int, dtype: np.dtype) -> int:
    """Return the columns of a strip, in whole blocks, so that `count` columns are cut evenly."""
    most = min(STRIP_BYTES, CHORD_BYTES // (INPUT_ROWS * (reach + 1)))
    parts = math.ceil(count * dtype.itemsize / most)
    return _round_up(math.ceil(count / parts), block_length(dtype))


def _permuted(footprint: Footprint, order: tuple[int, ...]) -> Footprint:
    return Footprint(footprint.shape, tuple(footprint.radii[axis] for axis in order))


def _rasters(array: NDArray, batch: int) -> Iterator[Raster]:
    strides = np.array(array.strides[batch:-2], dtype=np.int64)
    for index in np.ndindex(array.shape[:batch]):
        yield Raster(array[index].ctypes.data, strides, *array.strides[-2:])


def filter_flat(
    image: NDArray, out: NDArray, footprints: tuple[Footprint, ...], *, flip: bool = False, minus: int = 0
) -> None:
    """Erode an image by one footprint, or open it by two, reading it once.

    Parameters
    ----------
    image : ndarray
        Two axes or more, none empty; any strides.
    out : ndarray
        Same shape and dtype as the image, without overlap; any strides.
    footprints : tuple of Footprint
        One for each pass.
    flip : bool
        Dilate, or close.
    minus : int
        0 writes the result, 1 the image minus the result, 2 the reverse; integers wrap round.
    """
    plan = arrange(image.shape, image.dtype, footprints)
    inner = tuple(image.shape[axis] for axis in plan.order[plan.batch :])
    plane_shape = np.array(inner[:-2], dtype=np.int64)
    passes = len(footprints)
    halo = plan.plans[-1].reach_x if passes == 2 else 0
    array = aligned((plan.size,), image.dtype)
    views = (_rasters(a.transpose(plan.order), plan.batch) for a in (image, out))
    for source, target in zip(*views, strict=True):
        for first in range(0, inner[-1], plan.columns):
            last = min(inner[-1], first + plan.columns)
            tile = Tile(
                image=source,
                out=target,
                plane_shape=plane_shape,
                planes=math.prod(inner[:-2]),
                height=inner[-2],
                width=inner[-1],
                first=first,
                last=last,
                left=max(0, first - halo),
                right=min(inner[-1], last + halo),
                passes=passes,
                flip=flip,
                minus=minus,
                margin=plan.margin,
                inputs=plan.inputs,
                input_pitch=plan.input_pitch,
                highest=highest_value(image.dtype),
            )
            filter_tile(array, tile, plan.plans[0], plan.plans[-1], plan.buffers[0], plan.buffers[-1])
