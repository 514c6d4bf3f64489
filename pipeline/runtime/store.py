"""The end of a task: a finished block is cast to the output's dtype and written."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.cast import cast, first_outside
from pipeline.model.errors import DataError
from pipeline.model.image import Region
from pipeline.model.timing import Seconds, collect_seconds, spending
from pipeline.runtime.planes import PlaneSums, plane_sums
from pipeline.steps.background import background_pixels
from pipeline.steps.contract import Background
from pipeline.write import ChunkRecord, Layout, build_level, write_levels

Records = tuple[ChunkRecord, ...]


@dataclass(frozen=True)
class BlockResult:
    """Files of a stored block, and what the journal and the report need to know of it."""

    records: Records
    clipped: int  # pixels that the output's dtype cannot hold
    planes: tuple[PlaneSums, ...] = ()
    seconds: Seconds = field(default_factory=dict)
    background: Records = ()  # its files of the second output


@dataclass(frozen=True)
class StoreRegion:
    """Writer of finished blocks; picklable, runs in workers."""

    layout: Layout
    offset: float  # added before the cast
    overflow: str  # "fits", "clip" or "error"
    meanings: tuple[Background, ...] = ()  # for each channel, how the background comes from input and result
    levels: int = 0  # coarser levels that are made of each block

    def __call__(self, region: Region, before: NDArray | None, block: NDArray) -> BlockResult:
        """Write one block, given its pixels as read, if they are known, and as the chain gives them.

        Raises
        ------
        DataError
            The output's dtype cannot hold a pixel, and `overflow` is "error".
        """
        with spending("cast"):
            pixels, clipped = cast(block, self.layout.spec.dtype, self.offset)
            if clipped and self.overflow == "error":
                raise self._overflow_error(region, block, clipped)
            planes = plane_sums(region, before, block, clipped)
        records = write_levels(self.layout, region, pixels, self.levels)
        background: Records = ()
        if (second := self.layout.background) is not None:
            assert before is not None
            with spending("cast"):
                pixels = self._background(region, before, block, second.spec.dtype)
            background = write_levels(second, region, pixels, self.levels)
        return BlockResult(records, clipped, planes, collect_seconds(), background)

    def _background(self, region: Region, before: NDArray, block: NDArray, dtype: np.dtype) -> NDArray:
        if len(set(self.meanings)) == 1:
            return background_pixels(self.meanings[0], before, block, dtype)
        axis = self.layout.axes.index("c")
        channels = []
        for index, channel in enumerate(range(region[axis].start, region[axis].stop)):
            plane = (*(slice(None),) * axis, slice(index, index + 1))
            channels.append(background_pixels(self.meanings[channel], before[plane], block[plane], dtype))
        return np.concatenate(channels, axis)

    def _overflow_error(self, region: Region, block: NDArray, clipped: int) -> DataError:
        dtype = self.layout.spec.dtype
        index = first_outside(block, dtype, self.offset)
        sides = list(zip(self.layout.axes, region, index, strict=True))
        pixel = ", ".join(f"{axis} {side.start + i}" for axis, side, i in sides)
        begin = ", ".join(f"{axis} {side.start}" for axis, side, _ in sides)
        value = np.float64(block[index]) + self.offset
        return DataError(
            f"{value:g} at {pixel} is outside {dtype} ({clipped} such pixels in the block at {begin})",
            "say overflow: clip, add an offset, or take a wider dtype; then begin anew with --overwrite",
            "output.overflow",
        )


@dataclass(frozen=True)
class BuildLevel:
    """Builder of regions of a coarser level; picklable, runs in workers."""

    layout: Layout
    level: int

    def __call__(self, target: tuple[Region, Records, Records]) -> BlockResult:
        """Build a region from the finer level's files of the output, and of its background.

        Raises
        ------
        DamagedChunksError
            The files are not as the records of `target` say.
        """
        region, records, background_records = target
        second = self.layout.background
        with spending("pyramid"):
            files = build_level(self.layout, self.level, region, records)
            background = () if second is None else build_level(second, self.level, region, background_records)
        return BlockResult(files, 0, (), collect_seconds(), background)
