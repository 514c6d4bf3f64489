"""Plans of `plane.filter_strip`: how planes are cut into strips, and what is where in the scratch array."""

import itertools
import math

import numpy as np

from pipeline.kernels.dtypes import highest_value
from pipeline.kernels.morphology.plane import BoxPass, Rows, Strip
from pipeline.kernels.morphology.windows import GROUP
from pipeline.kernels.vectors import block_length

CACHE_BYTES = 1 << 22  # of the rows of a strip that are in use at once, to stay in a cache of several MB
# Of addresses this many bytes apart the first cache holds 8, and half as many again cost little.
ALIAS_BYTES = 1 << 12
ALIASES = 12

Reaches = list[tuple[int, int]]  # of each pass, along y and x


def _cuts(width: int, reaches: Reaches, itemsize: int) -> list[tuple[int, int]]:
    """Cut the columns of a plane into strips whose rows in use stay in cache."""
    rows = sum(2 * y + 1 + 4 * GROUP for y, _ in reaches)
    most = max(CACHE_BYTES // (rows * itemsize), 8 * max(x for _, x in reaches), 1)
    edges = [width * i // -(-width // most) for i in range(-(-width // most) + 1)]
    return list(itertools.pairwise(edges))


def plan_strips(
    shape: tuple[int, int],
    strides: tuple[int, int],
    dtype: np.dtype,
    reaches: Reaches,
    *,
    in_place: bool,
    flip: bool,
    minus: int,
) -> tuple[tuple[Strip, ...], int]:
    """Plan the filter of planes.

    Parameters
    ----------
    shape, strides : tuple of int
        Of a plane of the source; strides in bytes.
    dtype : numpy.dtype
        Of the source.
    reaches : list of tuple of int
        Of the box of each pass, along y and x.
    in_place : bool
        Whether the result replaces the source.
    flip, minus : bool, int
        As in `Strip`.

    Returns
    -------
    tuple of Strip
        From left to right.
    int
        Size of the scratch array, in elements.
    """
    height, width = shape
    block = block_length(dtype)
    # In place a strip would find its surroundings filtered.
    cuts = [(0, width)] if in_place else _cuts(width, reaches, dtype.itemsize)
    one, two = reaches[0], reaches[-1]
    halo = two[1] if len(reaches) == 2 else 0
    widest = min(width, max(b - a for a, b in cuts) + 2 * halo)
    reach = max(one[1], two[1])
    margin = -(-reach // block) * block
    # An odd number of blocks: rows a power of two apart would share the same few lines of the cache.
    pitch = (-(-(margin + widest + reach) // block) | 1) * block
    depth = 2 * max(one[0], two[0]) + 1 + 2 * GROUP
    joined, spare = 2 * GROUP * pitch, 3 * GROUP * pitch
    rings = [
        Rows((spare + pitch + ring * depth * pitch) * dtype.itemsize, pitch * dtype.itemsize, depth)
        for ring in range(2)
    ]
    copied = _needs_copies(*strides, dtype.itemsize, reaches, in_place)
    strips = []
    for first, last in cuts:
        left, right = max(0, first - halo), min(width, last + halo)
        passes = [BoxPass(*one, left, right, 0, margin, pitch)]
        if len(reaches) == 2:
            passes.append(BoxPass(*two, first, last, GROUP * pitch, margin, pitch))
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


def _needs_copies(pitch: int, step: int, itemsize: int, reaches: Reaches, in_place: bool) -> bool:
    """Return whether rows of the source are copied before they are used."""
    reach = reaches[0][0]
    # In place the first pass still needs rows above the one that the last pass has written.
    overwritten = in_place and reach > (reaches[1][0] if len(reaches) == 2 else 0)
    colliding = 2 * reach + GROUP > ALIASES * ALIAS_BYTES // math.gcd(pitch, ALIAS_BYTES)
    return step != itemsize or overwritten or colliding
