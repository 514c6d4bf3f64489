"""Contrast limits for viewers, from the coarsest level of an unfinished output."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model.image import Region
from pipeline.write.layout import Layout
from pipeline.write.metadata import ContrastLimits, default_limits
from pipeline.write.region import read_region

# Of each channel: so many planes, evenly spread over time and depth.
PLANES = 16
_LONGEST = 1024
_KEPT = 256
_STRIDE = 7
"""From part to part, so that planes do not all show one side."""
_SHOWN = (0.5, 99.8)


def contrast_limits(layout: Layout) -> list[ContrastLimits]:
    """Return a contrast for each channel, from a sample of the pixels.

    Parameters
    ----------
    layout : Layout
        The output, all of its levels written.

    Returns
    -------
    list of ContrastLimits
        Black and white are percentiles of the sample, so that a few hot pixels do not make the
        rest dark; low and high are its least and greatest value. One in all without an axis c.
    """
    return [_channel_limits(layout, channel) for channel in range(layout.spec.sizes.get("c", 1))]


def _channel_limits(layout: Layout, channel: int) -> ContrastLimits:
    values = np.concatenate([_thinned(layout, region) for region in _regions(layout, channel)])
    values = values[np.isfinite(values)]
    if values.size == 0:
        return default_limits(layout.spec.dtype)
    start, end = (float(value) for value in np.percentile(values, _SHOWN))
    low, high = float(values.min()), float(values.max())
    if end <= start:
        start, end = low, high if high > low else low + 1
    return ContrastLimits(start, end, low, max(high, end))


def _thinned(layout: Layout, region: Region) -> NDArray[Any]:
    """Return a few pixels of a plane, so that only one plane is ever held whole."""
    plane = read_region(layout, len(layout.levels) - 1, region)
    rows, columns = (-(-size // _KEPT) for size in plane.shape[-2:])
    return plane[..., ::rows, ::columns].reshape(-1).copy()


def _regions(layout: Layout, channel: int) -> list[Region]:
    """Return a part of each chosen plane; where the coarsest level is large, another part of each."""
    shape = dict(zip(layout.spec.axes, layout.levels[-1].shape, strict=True))
    parts_of = {axis: -(-shape[axis] // _LONGEST) for axis in "yx"}
    stacks = [shape.get(axis, 1) for axis in "tz"]
    count = stacks[0] * stacks[1]
    chosen = np.unique(np.linspace(0, count - 1, min(PLANES, count)).astype(int))
    regions = []
    for number, place in enumerate(chosen):
        row, column = divmod(number * _STRIDE % (parts_of["y"] * parts_of["x"]), parts_of["x"])
        at = {"t": int(place) // stacks[1], "z": int(place) % stacks[1], "c": channel}
        parts = {axis: slice(at.get(axis, 0), at.get(axis, 0) + 1) for axis in layout.spec.axes}
        for axis, part in (("y", row), ("x", column)):
            parts[axis] = slice(part * _LONGEST, min(shape[axis], (part + 1) * _LONGEST))
        regions.append(tuple(parts.values()))
    return regions
