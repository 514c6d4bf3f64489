"""Chunks, shards and levels of an output: their choice and their grids. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec, Region

# Below 256 KiB opening a file costs more than reading it; above 4 MiB a viewer waits for
# pixels it does not show.
_KEPT_BYTES = range(256 << 10, (4 << 20) + 1)
_LEAST_BYTES = 1 << 20
_LONGEST_SIDE = 1024  # px of a chunk along y and x
_SMALLEST_LEVEL = 512  # px; the longer side of the coarsest level is at most this


@dataclass(frozen=True)
class Level:
    """One array of the pyramid."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    factors: tuple[int, ...]  # full-resolution px along each axis of one of its pixels

    @property
    def file_shape(self) -> tuple[int, ...]:
        """Shape of what one file holds: the least that a task may write."""
        return self.shards or self.chunks

    @property
    def grid(self) -> tuple[int, ...]:
        """Files along each axis."""
        return tuple(-(-size // px) for size, px in zip(self.shape, self.file_shape, strict=True))


def cells_meeting(region: Region, cell: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the indices of the cells of a grid that a region meets, the last axis fastest.

    >>> list(cells_meeting((slice(30, 50), slice(60, 70)), (40, 50)))
    [(0, 1), (1, 1)]
    """
    ranges = [range(side.start // px, -(-side.stop // px)) for side, px in zip(region, cell, strict=True)]
    return itertools.product(*ranges)


def cell_region(index: Sequence[int], cell: Sequence[int], shape: Sequence[int]) -> Region:
    """Return the region of a cell of a grid, cut off at the end of the array.

    >>> cell_region((1, 1), (40, 50), (100, 70))
    (slice(40, 80, None), slice(50, 70, None))
    """
    return tuple(
        slice(i * px, min((i + 1) * px, size)) for i, px, size in zip(index, cell, shape, strict=True)
    )


def choose_chunks(spec: ImageSpec, requested: Mapping[str, int] | None = None) -> tuple[int, ...]:
    """Choose the shape of a chunk.

    The input's chunk is kept if it holds 256 KiB to 4 MiB and is neither a narrow strip nor
    several channels. Else planes are cut evenly to at most 1024 px a side, and several of them
    (along z, then t) share a chunk if one is below 1 MiB.

    `spec` has the input's chunks; `requested` is axis → px, for some axes or all. RequestError if
    an axis is not the image's, or a size is below 1 px.

    >>> import numpy as np
    >>> choose_chunks(ImageSpec("tyx", (100, 2048, 2048), np.dtype("uint16")))
    (1, 1024, 1024)
    >>> choose_chunks(ImageSpec("tyx", (100, 2160, 2560), np.dtype("uint16")))
    (1, 720, 864)
    """
    chunk = dict(zip(spec.axes, spec.chunks, strict=True)) if _keeps_chunks(spec) else _chunk_by_size(spec)
    for axis, px in _checked(spec, requested, "chunks").items():
        chunk[axis] = min(px, spec.sizes[axis])
    return tuple(chunk[axis] for axis in spec.axes)


def _checked(spec: ImageSpec, requested: Mapping[str, int] | None, field: str) -> Mapping[str, int]:
    for axis, px in (requested or {}).items():
        if axis not in spec.axes:
            raise RequestError(
                f"the output has no axis {axis!r}", f"its axes are {spec.axes}", f"output.{field}.{axis}"
            )
        if px < 1:
            raise RequestError(f"{px} is below 1 px", "give 1 px or more", f"output.{field}.{axis}")
    return requested or {}


def _keeps_chunks(spec: ImageSpec) -> bool:
    sizes = dict(zip(spec.axes, spec.chunks, strict=True))
    if any(not 1 <= px <= size for px, size in zip(spec.chunks, spec.shape, strict=True)):
        return False
    strip = any(sizes[axis] < min(64, spec.sizes[axis]) for axis in "yx")
    # Viewers show channels one by one; a chunk of several mostly comes from an array never chunked.
    mixed = sizes.get("c", 1) > 1
    return not strip and not mixed and math.prod(spec.chunks) * spec.dtype.itemsize in _KEPT_BYTES


def _chunk_by_size(spec: ImageSpec) -> dict[str, int]:
    chunk = dict.fromkeys(spec.axes, 1)
    for axis in "yx":
        chunk[axis] = size = spec.sizes[axis]
        if size > _LONGEST_SIDE:
            # Equal parts, rounded up to a multiple of 16 px.
            chunk[axis] = -(-size // (-(-size // _LONGEST_SIDE) * 16)) * 16
    for axis in "zt":
        nbytes = math.prod(chunk.values()) * spec.dtype.itemsize
        if axis in chunk and nbytes < _LEAST_BYTES:
            chunk[axis] = min(spec.sizes[axis], -(-_LEAST_BYTES // nbytes))
    return chunk


def choose_shards(
    spec: ImageSpec, chunks: tuple[int, ...], requested: Mapping[str, int] | None
) -> tuple[int, ...] | None:
    """Choose the shape of a shard: whole chunks, at most as many as the image has.

    `requested` is axis → px, one chunk along the axes left out; without it there are no shards.
    RequestError if an axis is not the image's, or a size is no multiple of the chunk's.
    """
    if not requested:
        return None
    requested = _checked(spec, requested, "shards")
    shards = []
    for axis, chunk, size in zip(spec.axes, chunks, spec.shape, strict=True):
        px = requested.get(axis, chunk)
        if px % chunk and px < size:
            raise RequestError(
                f"a shard of {px} px is not a multiple of the chunk's {chunk} px",
                f"give a multiple of {chunk}",
                f"output.shards.{axis}",
            )
        shards.append(min(-(-px // chunk), -(-size // chunk)) * chunk)
    return tuple(shards)


def make_levels(
    spec: ImageSpec, chunks: tuple[int, ...], shards: tuple[int, ...] | None, pyramid: bool
) -> tuple[Level, ...]:
    """Lay out the pyramid: y and x halved until both are at most 512 px."""
    levels = [Level(spec.shape, chunks, shards, (1,) * len(spec.axes))]
    while pyramid and max(levels[-1].shape[-2:]) > _SMALLEST_LEVEL:
        finer = levels[-1]
        # A long narrow image keeps its short side, rather than losing it altogether.
        steps = tuple(
            2 if axis in "yx" and size > _SMALLEST_LEVEL // 8 else 1
            for axis, size in zip(spec.axes, finer.shape, strict=True)
        )
        shape = tuple(-(-size // step) for size, step in zip(finer.shape, steps, strict=True))
        inner = tuple(map(min, chunks, shape))
        # A shard holds as many chunks as at full resolution, but none beyond the level's end.
        outer = shards and tuple(
            min(shard // chunk, -(-size // px)) * px
            for shard, chunk, px, size in zip(shards, chunks, inner, shape, strict=True)
        )
        factors = tuple(factor * step for factor, step in zip(finer.factors, steps, strict=True))
        levels.append(Level(shape, inner, outer, factors))
    return tuple(levels)
