"""Contrast limits for viewers, from the coarsest level of an unfinished output."""

from __future__ import annotations

import numpy as np

from pipeline.model.image import Region
from pipeline.write.chunks import cell_region
from pipeline.write.layout import Layout
from pipeline.write.metadata import ContrastLimits, default_limits
from pipeline.write.region import read_region

PLANES = 16  # sampled of each channel, evenly spread over time and depth
_PERCENTILES = (0.5, 99.8)
_TILE = 1024  # px a side: the most that is read of a plane
_SAMPLED = 256  # px a side: about what is kept of a tile
_STRIDE = 7  # tiles from one plane to the next, so that they do not all show one side


def contrast_limits(layout: Layout) -> list[ContrastLimits]:
    """Return contrast limits for each channel (one in all without an axis c), from a sample.

    All levels of the output are written. Start and end are percentiles, so that a few hot pixels
    do not make the rest dark; low and high are minimum and maximum.
    """
    return [_channel_limits(layout, channel) for channel in range(layout.spec.sizes.get("c", 1))]


def _channel_limits(layout: Layout, channel: int) -> ContrastLimits:
    samples = []
    for region in _tiles(layout, channel):
        tile = read_region(layout, len(layout.levels) - 1, region)
        rows, columns = (-(-size // _SAMPLED) for size in tile.shape[-2:])
        # A copy, as a view would keep the whole tile in memory.
        samples.append(tile[..., ::rows, ::columns].reshape(-1).copy())
    values = np.concatenate(samples)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return default_limits(layout.spec.dtype)
    start, end = (float(value) for value in np.percentile(values, _PERCENTILES))
    low, high = float(values.min()), float(values.max())
    if end <= start:
        start, end = low, high if high > low else low + 1
    return ContrastLimits(start, end, low, max(high, end))


def _tiles(layout: Layout, channel: int) -> list[Region]:
    """Return one tile of each sampled plane."""
    axes, shape = layout.spec.axes, layout.levels[-1].shape
    sizes = dict(zip(axes, shape, strict=True))
    cell = [_TILE if axis in "yx" else 1 for axis in axes]
    tiles = [-(-sizes[axis] // _TILE) for axis in "yx"]
    stack = sizes.get("t", 1), sizes.get("z", 1)
    count = stack[0] * stack[1]
    planes = np.unique(np.linspace(0, count - 1, min(PLANES, count)).astype(int))
    regions = []
    for number, plane in enumerate(planes):
        t, z = np.unravel_index(plane, stack)
        y, x = np.unravel_index(number * _STRIDE % (tiles[0] * tiles[1]), tiles)
        index = {"t": int(t), "c": channel, "z": int(z), "y": int(y), "x": int(x)}
        regions.append(cell_region([index[axis] for axis in axes], cell, shape))
    return regions
