"""A Gaussian along an axis before the last two, in panels of columns."""

import itertools

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.gaussian_axis import Axis
from pipeline.kernels.gaussian_loops import mix_rows
from pipeline.kernels.gaussian_plane import Settings, pieces, shaped

# Elements of one panel: 512 KB in float32.
PANEL = 131_072


def filter_lead(
    image: NDArray, axis: int, sigma: float, offset: np.floating, target: NDArray, settings: Settings
) -> None:
    """Write the image minus `offset`, filtered along one axis, into the target, which may be the image.

    Parameters
    ----------
    image : ndarray
        Any dtype and strides, at least 3-D.
    axis : int
        Not one of the last two.
    sigma : float
    offset : floating
    target : ndarray of float, C-contiguous
    settings : Settings
    """
    plan = settings.axis(image.shape[axis], axis, sigma)
    source, out = np.moveaxis(image, axis, -3), np.moveaxis(target, axis, -3)
    size = max(64, PANEL // max(plan.n, plan.nodes))
    columns = min(image.shape[-1], size)
    rows = max(1, min(image.shape[-2], size // columns))
    buffers = [np.empty((max(plan.n, plan.nodes) + 1) * rows * columns, settings.dtype) for _ in range(2)]
    for index in itertools.product(*map(range, source.shape[:-3])):
        for top, bottom in pieces(image.shape[-2], rows):
            for left, right in pieces(image.shape[-1], columns):
                at = (*index, slice(None), slice(top, bottom), slice(left, right))
                panel = shaped(buffers[0], plan.n + 1, (bottom - top) * (right - left))
                part = source[at]
                np.subtract(part, offset, out=panel[:-1].reshape(part.shape))
                panel[-1] = settings.outside
                out[at] = _filter_panel(panel, plan, buffers).reshape(part.shape)


def _filter_panel(panel: NDArray, plan: Axis, buffers: list[NDArray]) -> NDArray:
    """Return a panel filtered along its first axis, in one of the buffers."""
    width = panel.shape[1]
    zero = panel.dtype.type(0)
    zeros = np.zeros(max(plan.n, plan.nodes), np.int64)
    result = shaped(buffers[1], plan.nodes, width)
    bases = np.arange(plan.nodes) * plan.step
    mix_rows(panel, plan.sources, bases, zeros, plan.gather, result, 0, 0, zero, True)
    if plan.smooth is None:
        return result
    smoothed = shaped(buffers[0], plan.kept, width)
    full = np.concatenate([plan.smooth[:0:-1], plan.smooth])[None]
    rows = np.arange(plan.nodes)
    mix_rows(result, rows, rows[: plan.kept], zeros, full, smoothed, 0, 0, zero, True)
    result = shaped(buffers[1], plan.n, width)
    four, places = plan.spread_rows
    mix_rows(smoothed, four.ravel(), np.arange(plan.n) * 4, places, plan.spread, result, 0, 0, zero, True)
    return result
