"""Erosions and openings by boxes: what is filtered in planes, what along single axes, and the scratch.

The last axis and one other are filtered together (`plane.py`). Only what is left, the third axis of a
box in a stack, or an axis along which it is very long, takes passes of its own in place (`axis.py`).
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.dtypes import highest_value
from pipeline.kernels.jit import bound
from pipeline.kernels.morphology.axis import AxisPass, axis_scratch, axis_strip, erode_axis
from pipeline.kernels.morphology.plane import GROUP, BoxPass, Planes, Rows, Strip, filter_strip
from pipeline.kernels.vectors import aligned, block_length

# Reach up to which rows are read once for every GROUP results; the time of `erode_axis` does not grow.
TALL = 50
STRIP_BYTES = 1 << 22  # rows of a strip that are in use at once, to stay in a cache of several MB
# Rows a multiple of this many bytes apart share a few lines of the first cache, 8 in each of its sets.
SET_BYTES = 1 << 12

Reach = tuple[int, ...]


class AxisStep(NamedTuple):
    """A pass along one axis, in place."""

    axis: int
    reach: int
    flip: bool
    minus: int


class BoxPlan(NamedTuple):
    """How to filter arrays of one layout."""

    copied: bool  # first copy the image to the result, and subtract last of all
    before: tuple[AxisStep, ...]
    strips: tuple[Strip, ...]
    after: tuple[AxisStep, ...]
    planes: Planes
    wide: NDArray  # empty, of the dtype of the result
    dtype: np.dtype  # of the scratch array
    size: int  # of it, in elements


def _clip(shape: tuple[int, ...], reaches: tuple[Reach, ...]) -> tuple[Reach, ...]:
    return tuple(tuple(min(r, n - 1) for r, n in zip(reach, shape, strict=True)) for reach in reaches)


def _roles(shape: tuple[int, ...], reaches: tuple[Reach, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the axes in the order planes, rows, columns, and those that take passes of their own."""
    last = len(shape) - 1
    farthest = [max(reach[axis] for reach in reaches) for axis in range(last)]
    active = [axis for axis in range(last) if farthest[axis]]
    rows = [axis for axis in active if farthest[axis] <= TALL] or [a for a in range(last) if a not in active]
    rows = rows[-1:] or [last - 1]
    outer = tuple(axis for axis in active if axis != rows[0] or farthest[axis] > TALL)
    return (*(axis for axis in range(last) if axis != rows[0]), rows[0], last), outer


def _fold(reach: int) -> int:
    """Return for how many rows at once to take minima: the largest power of 2 within the window."""
    return min(GROUP, 1 << ((2 * reach + 1).bit_length() - 1))


def _cuts(width: int, reaches: list[tuple[int, int]], itemsize: int) -> list[tuple[int, int]]:
    """Cut the columns of a plane into strips whose rows in use stay in cache."""
    rows = sum(2 * y + 1 + 4 * GROUP for y, _ in reaches)
    most = max(STRIP_BYTES // (rows * itemsize), 8 * max(x for _, x in reaches), 1)
    edges = [width * i // -(-width // most) for i in range(-(-width // most) + 1)]
    return list(itertools.pairwise(edges))


def _strips(
    shape: tuple[int, int],
    dtype: np.dtype,
    reaches: list[tuple[int, int]],
    flip: bool,
    minus: int,
    copied: bool,
) -> tuple[tuple[Strip, ...], int]:
    """Plan the strips of planes of `shape`, and the size of their scratch."""
    height, width = shape
    block, cuts = block_length(dtype), _cuts(width, reaches, dtype.itemsize)
    one, two = reaches[0], reaches[-1]
    halo = two[1] if len(reaches) == 2 else 0
    widest = min(width, max(b - a for a, b in cuts) + 2 * halo) + 2 * max(one[1], two[1])
    # An odd number of blocks: rows a power of two apart would share the same few lines of the cache.
    pitch = (-(-widest // block) | 1) * block
    depth = 2 * max(one[0], two[0]) + 1 + 2 * GROUP
    joined, spare = 2 * GROUP * pitch, 3 * GROUP * pitch
    rings = [
        Rows((spare + pitch + ring * depth * pitch) * dtype.itemsize, pitch * dtype.itemsize, depth)
        for ring in range(2)
    ]
    strips = []
    for first, last in cuts:
        left, right = max(0, first - halo), min(width, last + halo)
        passes = [BoxPass(*one, left, right, _fold(one[0]), 0, pitch)]
        if len(reaches) == 2:
            passes.append(BoxPass(*two, first, last, _fold(two[0]), GROUP * pitch, pitch))
        strips.append(
            Strip(
                width=width,
                height=height,
                passes=len(reaches),
                first=passes[0],
                last=passes[-1],
                flip=flip,
                minus=minus,
                copied=copied,
                inputs=rings[0],
                between=rings[1],
                joined=joined,
                spare=spare,
                highest=highest_value(dtype),
            )
        )
    # Joins read beyond the buffers, up to the reach of a box.
    return tuple(strips), spare + (2 * depth if len(reaches) == 2 else depth) * pitch + 2 * pitch


@functools.lru_cache(maxsize=64)
def plan_box(
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    dtype: np.dtype,
    wide: np.dtype,
    reaches: tuple[Reach, ...],
    flip: bool,
    minus: int,
) -> BoxPlan:
    """Plan `filter_box` for images of these strides and dtype, and results of the dtype `wide`."""
    reaches, twice = _clip(shape, reaches), len(reaches) == 2
    order, outer = _roles(shape, reaches)
    contiguous = tuple(wide.itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    strides = tuple(c if n == 1 else s for s, c, n in zip(strides, contiguous, shape, strict=True))
    copied = bool(outer) and strides != contiguous
    dtype, minus = (wide, 0) if copied else (dtype, minus)
    before = [AxisStep(axis, reaches[0][axis], flip, 0) for axis in outer if twice and reaches[0][axis]]
    turned = flip != twice
    after = [AxisStep(axis, reaches[-1][axis], turned, 0) for axis in outer if reaches[-1][axis]]
    if after:
        after[-1] = after[-1]._replace(minus=minus)
    y, in_place = order[-2], copied or bool(before)
    inner = [(0 if y in outer else reach[y], reach[-1]) for reach in reaches]
    source = contiguous if in_place else strides
    strips, size = _strips(
        (shape[y], shape[-1]),
        dtype,
        inner,
        flip,
        0 if after else minus,
        _needs_copies(source[y], source[-1], dtype.itemsize, inner, in_place),
    )
    scratch = [axis_scratch(shape, dtype, step.axis, step.reach) for step in (*before, *after)]
    layout = [np.array([s[axis] for axis in order], dtype=np.int64) for s in (source, strides, contiguous)]
    return BoxPlan(
        copied=copied,
        before=tuple(before),
        strips=strips,
        after=tuple(after),
        planes=Planes(np.array([shape[axis] for axis in order[:-2]], dtype=np.int64), *layout),
        wide=np.empty(0, wide),
        dtype=dtype,
        size=max(size, *scratch, 0) + block_length(dtype),
    )


def _needs_copies(
    pitch: int, step: int, itemsize: int, reaches: list[tuple[int, int]], in_place: bool
) -> bool:
    """Return whether rows of the source are copied before they are used."""
    reach = reaches[0][0]
    # In place the first pass still needs rows above the one that the last pass has written.
    overwritten = in_place and reach > (reaches[1][0] if len(reaches) == 2 else 0)
    colliding = 2 * reach + _fold(reach) > 16 * SET_BYTES // math.gcd(pitch, SET_BYTES)
    return step != itemsize or overwritten or colliding


def box_bytes(shape: tuple[int, ...], reaches: tuple[Reach, ...], dtype: np.dtype, wide: np.dtype) -> int:
    """Return the scratch of `filter_box`, in bytes, for a contiguous image."""
    strides = tuple(dtype.itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    plan = plan_box(shape, strides, dtype, wide, reaches, False, 1)
    return plan.size * plan.dtype.itemsize


def filter_box(
    image: NDArray, out: NDArray, reaches: tuple[Reach, ...], *, flip: bool = False, minus: int = 0
) -> None:
    """Erode an image by a box, or open it by two.

    Parameters
    ----------
    image : ndarray
        Two axes or more, none empty; any strides.
    out : ndarray
        Same shape, C-contiguous, without overlap. The dtype of the image, or a wider one for differences.
    reaches : tuple of tuple of int
        Reach of the box of each pass along each axis.
    flip : bool
        Dilate, or close.
    minus : int
        0 writes the result, 1 the image minus the result, 2 the reverse; integers wrap round.
    """
    plan = plan_box(image.shape, image.strides, image.dtype, out.dtype, reaches, flip, minus)
    array = aligned((plan.size,), plan.dtype)
    filter_columns = _bound_filter(plan.dtype, plan.wide.dtype)
    pixels, target = image.ctypes.data, out.ctypes.data
    source = pixels
    if plan.copied:
        np.copyto(out, image)
        source = target
    for step in plan.before:
        _along_axis(array, image.shape, step, source, pixels, target)
        source = target
    for strip in plan.strips:
        filter_columns(array, plan.wide, strip, plan.planes, source, pixels, target)
    for step in plan.after:
        _along_axis(array, image.shape, step, target, pixels, target)
    if plan.copied and minus:
        with np.errstate(invalid="ignore", over="ignore"):  # ∞ − ∞ beside NaN
            np.subtract(*((image, out) if minus == 1 else (out, image)), out=out)


@functools.cache
def _bound_filter(dtype: np.dtype, wide: np.dtype) -> Callable:
    """Return `filter_strip` as compiled for these dtypes of scratch and result."""
    plan = plan_box((1, 1), (0, 0), dtype, wide, ((0, 0),), False, 0)
    return bound(filter_strip, aligned((1,), dtype), plan.wide, plan.strips[0], plan.planes, 0, 0, 0)


def _along_axis(
    array: NDArray, shape: tuple[int, ...], step: AxisStep, source: int, image: int, target: int
) -> None:
    job = AxisPass(
        source=source,
        target=target,
        image=image,
        planes=math.prod(shape[: step.axis]),
        height=shape[step.axis],
        columns=math.prod(shape[step.axis + 1 :]),
        flip=step.flip,
        minus=step.minus,
        highest=highest_value(array.dtype),
    )
    erode_axis(array, job, step.reach, axis_strip(shape, array.dtype, step.axis, step.reach))
