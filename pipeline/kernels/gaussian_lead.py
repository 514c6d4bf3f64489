"""A Gaussian along an axis before the last two, in panels of columns."""

import itertools

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.gaussian_axis import Axis
from pipeline.kernels.gaussian_loops import mix_rows, read_rows
from pipeline.kernels.gaussian_plane import Settings
from pipeline.kernels.gaussian_source import Source, pieces, scratch

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
    target : ndarray of float, C-contiguous
    settings : Settings
    """
    plan = settings.axis(source.shape[axis], axis, sigma)
    out = np.moveaxis(target, axis, -3)
    height, width = source.shape[-2:]
    rows, columns = _panel(plan, height, width)
    buffers = [scratch(1, _length(plan) * rows * columns, settings.dtype)[0] for _ in range(2)]
    others = [range(n) for i, n in enumerate(source.shape[:-2]) if i != axis]
    steps = np.arange(plan.n) * source.strides[axis]
    for index in itertools.product(*others):
        plane = source.at((*index[:axis], 0, *index[axis:]))
        for top, bottom in pieces(height, rows):
            starts = plane.starts(np.arange(top, bottom))
            for left, right in pieces(width, columns):
                starts_all = np.append((steps[:, None] + starts).ravel(), np.full(bottom - top, -1))
                panel = _shaped(buffers[0], len(starts_all), right - left)
                run = right - left if plane.adjacent else 0
                read_rows(
                    plane.flat, starts_all, plane.columns(np.arange(left, right)), 0, run, plane.offset,
                    settings.outside, panel,
                )  # fmt: skip
                panel = panel.reshape(plan.n + 1, -1)
                done = _filter_panel(panel, plan, buffers, settings)
                out[index][:, top:bottom, left:right] = done.reshape(plan.n, bottom - top, right - left)


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
    maps = 8 * (2 * len(plan.sources) + 8 * plan.spread_rows[0].size + 4 * _length(plan) * rows)
    return maps + 2 * _length(plan) * rows * columns * plan.gather.itemsize


def _shaped(buffer: NDArray, rows: int, columns: int) -> NDArray:
    """Return the beginning of a flat buffer as rows."""
    return buffer[: rows * columns].reshape(rows, columns)


def _filter_panel(panel: NDArray, plan: Axis, buffers: list[NDArray], settings: Settings) -> NDArray:
    """Return a panel filtered along its first axis, in one of the buffers.

    The last row of the panel stands for all that is outside.
    """
    width, zero = panel.shape[1], settings.zero
    zeros = np.zeros(max(plan.n, plan.nodes), np.int64)
    result = _shaped(buffers[1], plan.nodes, width)
    bases = np.arange(plan.nodes) * plan.step
    mix_rows(panel, plan.sources, bases, zeros, plan.gather, result, 0, 0, width, zero, True)
    if plan.smooth is None:
        return result
    smoothed = _shaped(buffers[0], plan.kept, width)
    rows = np.arange(plan.nodes)
    mix_rows(result, rows, rows[: plan.kept], zeros, plan.smooth_all, smoothed, 0, 0, width, zero, True)
    result = _shaped(buffers[1], plan.n, width)
    four, places = plan.spread_rows
    bases = np.arange(plan.n) * 4
    mix_rows(smoothed, four.ravel(), bases, places, plan.spread, result, 0, 0, width, zero, True)
    return result
