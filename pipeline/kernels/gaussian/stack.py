"""Gaussians along an axis before the last two.

The image is filtered in panels: a rectangle of each plane, flattened to a row, so that the axis runs down.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.gaussian.axis import AxisPlan
from pipeline.kernels.gaussian.loops import Destination, Indices, PixelRows, mix_rows, read_floats
from pipeline.kernels.gaussian.plane import CallSettings, padded_width
from pipeline.kernels.gaussian.strided import StridedImage
from pipeline.kernels.jit import fast_jit
from pipeline.kernels.vectors import aligned

PANEL = 131_072  # elements of a panel: 512 KB in float32


@fast_jit
def _read_panel(
    flat: NDArray,
    pixels: PixelRows,
    steps: Indices,
    top: int,
    bottom: int,
    left: int,
    right: int,
    panel: NDArray,
) -> None:
    """Read a rectangle of each plane as a row of the panel; the last row is for beyond the border."""
    starts = np.empty(steps.size + 1, np.int64)
    for row in range(top, bottom):
        for i in range(steps.size):
            starts[i] = pixels.starts[row] + steps[i]
        starts[steps.size] = -1
        read_floats(flat, pixels, starts, left, right, panel, (row - top) * (right - left))


def filter_stack(
    source: StridedImage, axis: int, sigma: float, target: NDArray, settings: CallSettings
) -> None:
    """Filter a source along one axis before the last two into the target.

    The target is C-contiguous from `axis` on, and may be the source.
    """
    plan = settings.axis(source.shape[axis], axis, sigma)
    height, width = source.shape[-2:]
    rows, columns = _panel(plan, height, width)
    pitch = padded_width(rows * columns)
    buffers = [aligned((_length(plan), pitch), settings.dtype) for _ in range(2)]
    steps = np.arange(plan.n) * source.strides[axis]
    before, between = source.shape[:axis], source.shape[axis + 1 : -2]
    for index in itertools.product(*map(range, before)):
        flat = target[index].reshape(plan.n, -1)
        for number, inner in enumerate(itertools.product(*map(range, between))):
            plane = source.at((*index, 0, *inner))
            pixels = settings.pixels(plane, np.arange(height), np.arange(width), 0)
            for top, left in itertools.product(range(0, height, rows), range(0, width, columns)):
                bottom, right = min(top + rows, height), min(left + columns, width)
                _read_panel(plane.flat, pixels, steps, top, bottom, left, right, buffers[0])
                # Either whole rows, which are adjacent in the target, or a part of one.
                at = (number * height + top) * width + left
                size = (bottom - top) * (right - left)
                _filter_panel(buffers, plan, Destination(flat, 0, at, size, settings.zero, True))


def _length(plan: AxisPlan) -> int:
    return max(plan.n, plan.nodes) + 1


def _panel(plan: AxisPlan, height: int, width: int) -> tuple[int, int]:
    """Return the rows and columns of each plane in a panel."""
    size = max(64, PANEL // _length(plan))
    columns = min(width, size)
    return max(1, min(height, size // columns)), columns


def stack_bytes(plan: AxisPlan, height: int, width: int) -> int:
    """Estimate what `filter_stack` allocates, in bytes."""
    rows, columns = _panel(plan, height, width)
    maps = 8 * (
        2 * len(plan.sources) + 8 * plan.spread_rows[0].size + 4 * _length(plan) + 2 * (height + width)
    )
    return maps + 2 * _length(plan) * padded_width(rows * columns) * plan.gather.itemsize


def _filter_panel(buffers: list[NDArray], plan: AxisPlan, dest: Destination) -> None:
    """Filter the panel in the first buffer along its first axis; both buffers are overwritten."""
    panel, other = buffers
    zeros = np.zeros(max(plan.n, plan.nodes), np.int64)
    bases = np.arange(plan.nodes) * plan.step
    if plan.smooth is None:
        mix_rows(panel, plan.sources, bases, zeros, plan.gather, dest)
        return
    mix_rows(panel, plan.sources, bases, zeros, plan.gather, dest._replace(array=other, left=0))
    rows = np.arange(plan.nodes)
    mix_rows(other, rows, rows[: plan.kept], zeros, plan.smooth_all, dest._replace(array=panel, left=0))
    four, phases = plan.spread_rows
    mix_rows(panel, four.ravel(), np.arange(plan.n) * 4, phases, plan.spread, dest)
