"""Erosions and openings by boxes: what is filtered in planes, what along single axes, and the scratch.

The last axis and one other are filtered together (`plane.py`). Only what is left, the third axis of a
box in a stack, or an axis along which it is very long, takes passes of its own in place (`axis.py`).
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.dtypes import highest_value
from pipeline.kernels.jit import bound
from pipeline.kernels.morphology.axis import AxisPass, axis_scratch, axis_strip, erode_axis
from pipeline.kernels.morphology.plane import Planes, Strip, filter_strip
from pipeline.kernels.morphology.strips import plan_strips
from pipeline.kernels.vectors import aligned, block_length

# The longest reach down columns of a plane: beyond it `erode_axis` is faster, whose time does not grow.
TALL = 50

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
    strips, size = plan_strips(
        (shape[y], shape[-1]),
        (source[y], source[-1]),
        dtype,
        inner,
        in_place=in_place,
        flip=flip,
        minus=0 if after else minus,
    )
    scratch = [axis_scratch(shape, dtype, step.axis, step.reach) for step in (*before, *after)]
    planes = [shape[axis] for axis in order[:-2]]
    layout = [np.array([s[axis] for axis in order], dtype=np.int64) for s in (source, strides, contiguous)]
    return BoxPlan(
        copied=copied,
        before=tuple(before),
        strips=strips,
        after=tuple(after),
        planes=Planes(math.prod(planes), np.array(planes, dtype=np.int64), *layout),
        wide=np.empty(0, wide),
        dtype=dtype,
        size=max(size, *scratch, 0) + block_length(dtype),
    )


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
