"""The coarser levels: each the mean of the next finer one.

Those of which a block holds whole files are written with it (`write_levels`). The others are read back
from the disk (`build_level`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.halve import halve
from pipeline.model.image import Region, region_shape
from pipeline.model.timing import spending
from pipeline.write.chunks import cell_region, cells_meeting
from pipeline.write.layout import Layout
from pipeline.write.region import ChunkRecord, read_region, write_region


def write_levels(layout: Layout, region: Region, block: NDArray[Any], levels: int) -> tuple[ChunkRecord, ...]:
    """Write a block of the full resolution, and its part of the first coarser levels.

    Parameters
    ----------
    layout : Layout
    region : tuple of slice
        Where the block lies, as in `write_region`.
    block : ndarray
        Its pixels, of the output's dtype.
    levels : int
        Number of coarser levels, as `Layout.whole_levels` counts them.

    Returns
    -------
    tuple of ChunkRecord
        One for each file written, of all levels.
    """
    written = write_region(layout, 0, region, block)
    if levels and len(region) != len(layout.spec.axes):
        region = layout.padded(region)
        block = block.reshape(region_shape(region))
    with spending("pyramid"):
        for level in range(1, levels + 1):
            region = layout.coarser_region(level, region)
            block = mean_blocks(block, layout.steps(level))
            written += write_region(layout, level, region, block)
    return written


def build_level(
    layout: Layout, level: int, region: Region, records: Iterable[ChunkRecord] | None = None
) -> tuple[ChunkRecord, ...]:
    """Compute whole files of a coarser level from the next finer level, one file at a time.

    Needs the memory of one file of this level, of its source (4 ×), and some temporaries.

    Parameters
    ----------
    layout : Layout
    level : int
        1 or more; the next finer level is written as far as `region` needs it.
    region : tuple of slice
        Of that level, along the axes as stored; whole files, as from `level_windows`.
    records : iterable of ChunkRecord, optional
        Of the finer level, to check the files read against.

    Returns
    -------
    tuple of ChunkRecord
        One for each file written.

    Raises
    ------
    DamagedChunksError
        Files of the finer level do not match their records.
    """
    expected = None if records is None else tuple(records)
    written: list[ChunkRecord] = []
    for _, file_region in layout.file_regions(level, region):
        source = read_region(layout, level - 1, layout.source_region(level, file_region), expected)
        written += write_region(layout, level, file_region, mean_blocks(source, layout.steps(level)))
    return tuple(written)


def level_windows(layout: Layout, level: int, max_bytes: int = 256 << 20) -> Iterator[Region]:
    """Yield the regions in which to build a level, see `LevelRegions.of`."""
    regions = LevelRegions.of(layout, level, max_bytes)
    return map(regions.region, range(regions.count))


@dataclass(frozen=True)
class LevelRegions:
    """The regions in which a level is built, computed from their numbers."""

    shape: tuple[int, ...]  # of the level
    px: tuple[int, ...]  # of a region that is not cut off at the level's end

    @classmethod
    def of(cls, layout: Layout, level: int, max_bytes: int) -> LevelRegions:
        """Cut a level into regions of whole files.

        A region is the mean of at most about `max_bytes` (uncompressed) of the finer level,
        unless one file alone needs more.
        """
        array = layout.levels[level]
        source_px = math.prod(array.file_shape) * math.prod(layout.steps(level))
        most = max(1, max_bytes // (source_px * layout.spec.dtype.itemsize))
        counts = []
        for count in reversed(array.grid):
            counts.append(min(count, most))
            most = max(1, most // count)
        px = tuple(count * px for count, px in zip(reversed(counts), array.file_shape, strict=True))
        return cls(array.shape, px)

    @property
    def grid(self) -> tuple[int, ...]:
        """Regions along each axis."""
        return tuple(-(-size // px) for size, px in zip(self.shape, self.px, strict=True))

    @property
    def count(self) -> int:
        """Number of regions."""
        return math.prod(self.grid)

    def region(self, number: int) -> Region:
        """Return a region by its number, the last axis fastest."""
        index = [int(i) for i in np.unravel_index(number, self.grid)]
        return cell_region(index, self.px, self.shape)

    def meeting(self, region: Region) -> list[int]:
        """Return the numbers of the regions that overlap a region of the level.

        >>> LevelRegions((100, 100), (40, 50)).meeting((slice(30, 50), slice(60, 70)))
        [1, 3]
        """
        return cells_of_region(self.grid, self.px, region)


def cells_of_region(grid: Sequence[int], px: Sequence[int], region: Region) -> list[int]:
    """Return the numbers of the cells of a grid that a region overlaps, the last axis fastest."""
    return [int(np.ravel_multi_index(index, tuple(grid))) for index in cells_meeting(region, px)]


def mean_blocks(block: NDArray[Any], steps: tuple[int, ...]) -> NDArray[Any]:
    """Return the mean of blocks of `steps` pixels; a block cut off at the end has fewer.

    Parameters
    ----------
    block : ndarray
        Integers or floats.
    steps : tuple of int
        For each axis; 1 or 2 along y and x, else 1.

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
    planes = halve(block.reshape(-1, *block.shape[-2:]), *steps[-2:])
    return planes.reshape(*block.shape[:-2], *planes.shape[1:])
