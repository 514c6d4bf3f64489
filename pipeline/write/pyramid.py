"""The coarser levels: each the mean of the one before, read back from the disk."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.halve import halve
from pipeline.model.image import Region
from pipeline.write.layout import Layout
from pipeline.write.region import ChunkRecord, read_region, write_region


def build_level(
    layout: Layout, level: int, region: Region, records: Iterable[ChunkRecord] | None = None
) -> tuple[ChunkRecord, ...]:
    """Compute whole files of a coarser level from the level before it, one file after the other.

    Parameters
    ----------
    layout : Layout
        The output; the level before is written where `region` needs it.
    level : int
        1 or more.
    region : tuple of slice
        Of that level, along the axes as stored; whole files, as `level_windows` gives them.
    records : iterable of ChunkRecord, optional
        Of the level before: what it reads is checked by them.

    Returns
    -------
    tuple of ChunkRecord
        One for each file written.

    Raises
    ------
    DamagedChunksError
        Files of the level before are not what was written.

    Notes
    -----
    Needs the memory of one file of this level, of its source (4 ×), and some temporaries.
    """
    finer, coarser = layout.levels[level - 1].factors, layout.levels[level].factors
    steps = tuple(c // f for c, f in zip(coarser, finer, strict=True))
    known = None if records is None else tuple(records)
    written: list[ChunkRecord] = []
    for _, file_region in layout.file_regions(level, region):
        source = read_region(layout, level - 1, layout.source_region(level, file_region), known)
        written += write_region(layout, level, file_region, mean_blocks(source, steps))
    return tuple(written)


def level_windows(layout: Layout, level: int, max_bytes: int = 256 << 20) -> Iterator[Region]:
    """Yield the regions in which to build a level: whole files, each of at most about `max_bytes`.

    Parameters
    ----------
    layout : Layout
        The output.
    level : int
        1 or more.
    max_bytes : int
        Uncompressed bytes of the level before that one region is made of; one file may need more.
    """
    regions = LevelRegions.of(layout, level, max_bytes)
    for number in range(regions.count):
        yield regions.region(number)


@dataclass(frozen=True)
class LevelRegions:
    """The regions in which a level is built, by their numbers; as few bytes as the level is large.

    Parameters
    ----------
    shape : tuple of int
        Of the level.
    px : tuple of int
        Of a region that is not at the level's end.
    """

    shape: tuple[int, ...]
    px: tuple[int, ...]

    @classmethod
    def of(cls, layout: Layout, level: int, max_bytes: int) -> LevelRegions:
        """Return those of `level_windows`."""
        array = layout.levels[level]
        shares = np.prod(array.factors) / np.prod(layout.levels[level - 1].factors)
        most = max(1, int(max_bytes / shares / layout.spec.dtype.itemsize / np.prod(array.file_shape)))
        files = []
        for count in reversed(array.grid):
            files.append(min(count, most))
            most = max(1, most // count)
        return cls(
            array.shape,
            tuple(count * part for count, part in zip(reversed(files), array.file_shape, strict=True)),
        )

    @property
    def grid(self) -> tuple[int, ...]:
        """Regions along each axis."""
        return tuple(-(-size // px) for size, px in zip(self.shape, self.px, strict=True))

    @property
    def count(self) -> int:
        """How many there are."""
        return math.prod(self.grid)

    def region(self, number: int) -> Region:
        """Return one of them, the last axis counting fastest."""
        return tuple(
            slice(int(i) * px, min((int(i) + 1) * px, size))
            for i, px, size in zip(np.unravel_index(number, self.grid), self.px, self.shape, strict=True)
        )

    def meeting(self, region: Region) -> list[int]:
        """Return the numbers of those that a region of the level has pixels of.

        >>> LevelRegions((100, 100), (40, 50)).meeting((slice(30, 50), slice(60, 70)))
        [1, 3]
        """
        return numbers_meeting(self.grid, self.px, region)


def numbers_meeting(grid: Sequence[int], px: Sequence[int], region: Region) -> list[int]:
    """Return the numbers of the cells of a grid that a region meets, the last axis counting fastest."""
    ranges = [range(part.start // step, -(-part.stop // step)) for part, step in zip(region, px, strict=True)]
    return [int(np.ravel_multi_index(index, tuple(grid))) for index in itertools.product(*ranges)]


def mean_blocks(block: NDArray[Any], steps: tuple[int, ...]) -> NDArray[Any]:
    """Return the mean of blocks of `steps` pixels, at the end of an axis of those there are.

    Parameters
    ----------
    block : ndarray
        Integers or floats.
    steps : tuple of int
        1 or 2 for each axis.

    Returns
    -------
    ndarray
        Of the same dtype. Integers: the exact mean, rounded half to even. Floats: summed in
        float64, rounded once.

    Examples
    --------
    >>> mean_blocks(np.array([[1, 2, 9], [2, 1, 4]], "uint8"), (2, 2))
    array([[2, 6]], dtype=uint8)
    """
    if set(steps[:-2]) <= {1} and steps[-2:] == (2, 2) and _compiled(block.dtype):
        planes = halve(np.ascontiguousarray(block).reshape(-1, *block.shape[-2:]))
        return planes.reshape(*block.shape[:-2], *planes.shape[1:])
    halved = [axis for axis, step in enumerate(steps) if step == 2]
    for axis in halved:
        if block.shape[axis] % 2:
            # A pixel twice is the mean of that pixel alone.
            block = np.concatenate([block, np.take(block, [-1], axis)], axis)
    shape = [size // step for size, step in zip(block.shape, steps, strict=True)]
    parts = [block[corner] for corner in _corners(steps)]
    if block.dtype.kind == "f":
        total = np.zeros(shape, np.float64)
        for part in parts:
            total += part
        return (total / len(parts)).astype(block.dtype)
    return _integer_mean(parts, shape)


def _compiled(dtype: np.dtype) -> bool:
    return dtype.kind == "f" or dtype.itemsize <= 4


def _corners(steps: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    for offsets in np.ndindex(*steps):
        yield tuple(slice(offset, None, step) for offset, step in zip(offsets, steps, strict=True))


def _integer_mean(parts: list[NDArray[Any]], shape: list[int]) -> NDArray[Any]:
    """Return the mean, half to even, without leaving the dtype.

    What all parts have in whole n-ths is summed apart from the remainders, so nothing overflows.
    """
    dtype = parts[0].dtype
    shift = dtype.type(len(parts).bit_length() - 1)
    mask = dtype.type(len(parts) - 1)
    quotient, remainder = np.zeros(shape, dtype), np.zeros(shape, dtype)
    for part in parts:
        quotient += part >> shift
        remainder += part & mask
    quotient += remainder >> shift
    remainder &= mask
    twice = remainder + remainder
    count = dtype.type(len(parts))
    up = (twice > count) | ((twice == count) & ((quotient & dtype.type(1)) == 1))
    quotient += up
    return quotient
