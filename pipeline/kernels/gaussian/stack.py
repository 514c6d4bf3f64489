"""A Gaussian along an axis before the last two, in panels of columns."""

import itertools

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.gaussian.axis import Axis
from pipeline.kernels.gaussian.loops import mix_rows, read_rows
from pipeline.kernels.gaussian.plane import Settings, padded_width
from pipeline.kernels.gaussian.source import Source, pieces, scratch

# Elements of one panel: 512 KB in float32.
PANEL = 131_072


def filter_lead(source: Source, axis: int, sigma: float, target: NDArray, settings: Settings) -> None:
    """Write a source, filtered along one axis, into the target, which may be the source.

    Parameters
    ----------
    source : Source
        At least 3-D.
    axis : int
        Not one of the last two.
    sigma : float
    target : ndarray of float
        C-contiguous from `axis` on.
    settings : Settings
    """
    plan = settings.axis(source.shape[axis], axis, sigma)
    height, width = source.shape[-2:]
    rows, columns = _panel(plan, height, width)
    pitch = padded_width(rows * columns)
    buffers = [scratch(_length(plan), pitch, settings.dtype) for _ in range(2)]
    steps = np.arange(plan.n) * source.strides[axis]
    before, between = source.shape[:axis], source.shape[axis + 1 : -2]
    for index in itertools.product(*map(range, before)):
        flat = target[index].reshape(plan.n, -1)
        for number, inner in enumerate(itertools.product(*map(range, between))):
            plane = source.at((*index, 0, *inner))
            starts, across = plane.starts(np.arange(height)), plane.columns(np.arange(width))
            for top, bottom in pieces(height, rows):
                for left, right in pieces(width, columns):
                    for row in range(top, bottom):
                        read_rows(
                            plane.flat, np.append(starts[row] + steps, -1), across[left:right], 0,
                            right - left if plane.adjacent else 0, plane.offset, settings.outside, buffers[0],
                            (row - top) * (right - left),
                        )  # fmt: skip
                    # Either whole rows, which follow each other in the target, or a part of one.
                    at = (number * height + top) * width + left
                    _filter_panel(buffers, plan, flat, at, (bottom - top) * (right - left), settings)


def _length(plan: Axis) -> int:
    return max(plan.n, plan.nodes) + 1


def _panel(plan: Axis, height: int, width: int) -> tuple[int, int]:
    """Return how many rows and columns of each plane make a panel."""
    size = max(64, PANEL // _length(plan))
    columns = min(width, size)
    return max(1, min(height, size // columns)), columns


def lead_bytes(plan: Axis, height: int, width: int) -> int:
    """Return about what `filter_lead` allocates."""
    rows, columns = _panel(plan, height, width)
    maps = 8 * (
        2 * len(plan.sources) + 8 * plan.spread_rows[0].size + 4 * _length(plan) + 2 * (height + width)
    )
    return maps + 2 * _length(plan) * padded_width(rows * columns) * plan.gather.itemsize


def _filter_panel(
    buffers: list[NDArray], plan: Axis, target: NDArray, left: int, width: int, settings: Settings
) -> None:
    """Write the panel in the first buffer, filtered along its first axis, into target[:, left:].

    The last row of the panel stands for all that is outside.
    """
    panel, other, zero = *buffers, settings.zero
    zeros = np.zeros(max(plan.n, plan.nodes), np.int64)
    bases = np.arange(plan.nodes) * plan.step
    if plan.smooth is None:
        mix_rows(panel, plan.sources, bases, zeros, plan.gather, target, 0, left, width, zero, True)
        return
    mix_rows(panel, plan.sources, bases, zeros, plan.gather, other, 0, 0, width, zero, True)
    rows = np.arange(plan.nodes)
    mix_rows(other, rows, rows[: plan.kept], zeros, plan.smooth_all, panel, 0, 0, width, zero, True)
    four, places = plan.spread_rows
    bases = np.arange(plan.n) * 4
    mix_rows(panel, four.ravel(), bases, places, plan.spread, target, 0, left, width, zero, True)
