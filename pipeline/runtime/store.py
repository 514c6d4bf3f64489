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
from pipeline.write import ChunkRecord, Layout, build_level, write_region

Records = tuple[ChunkRecord, ...]


@dataclass(frozen=True)
class BlockResult:
    """What became of one block: its files, pixels clipped, figures of its planes, seconds by kind of work.

    `background` are its files of the background, where there is one.
    """

    records: tuple[ChunkRecord, ...]
    clipped: int
    planes: tuple[PlaneSums, ...] = ()
    seconds: Seconds = field(default_factory=dict)
    background: tuple[ChunkRecord, ...] = ()


@dataclass(frozen=True)
class StoreRegion:
    """Writes finished blocks; picklable, runs in workers."""

    layout: Layout
    offset: float
    """Added before the cast."""
    overflow: str
    """"fits", "clip" or "error"."""
    meanings: tuple[Background, ...] = ()
    """What of input and result is the background, for each channel; where there is one."""

    def __call__(self, region: Region, before: NDArray | None, block: NDArray) -> BlockResult:
        """Write one block.

        Parameters
        ----------
        region : tuple of slice
            Where it lies in the image.
        before, block : ndarray
            Its pixels as read (None where they are not known), and as the chain gives them.

        Raises
        ------
        DataError
            A pixel cannot be held by the output's dtype, and `overflow` is "error".
        """
        with spending("cast"):
            pixels, clipped = cast(block, self.layout.spec.dtype, self.offset)
            if clipped and self.overflow == "error":
                raise self._refusal(region, block, clipped)
            planes = plane_sums(region, before, block, clipped)
        files = write_region(self.layout, 0, region, pixels)
        return BlockResult(
            files,
            clipped,
            planes,
            background=self._background(region, before, block),
            seconds=collect_seconds(),
        )

    def _background(self, region: Region, before: NDArray | None, block: NDArray) -> tuple[ChunkRecord, ...]:
        """Write what was taken off a block, where it is wanted."""
        second = self.layout.background
        if second is None:
            return ()
        assert before is not None
        with spending("cast"):
            pixels = self._taken_off(region, before, block, second.spec.dtype)
        return write_region(second, 0, region, pixels)

    def _taken_off(self, region: Region, before: NDArray, block: NDArray, dtype: np.dtype) -> NDArray:
        if len(set(self.meanings)) == 1:
            return background_pixels(self.meanings[0], before, block, dtype)
        axis = self.layout.axes.index("c")
        channels = []
        for index, channel in enumerate(range(region[axis].start, region[axis].stop)):
            at = (*(slice(None),) * axis, slice(index, index + 1))
            channels.append(background_pixels(self.meanings[channel], before[at], block[at], dtype))
        return np.concatenate(channels, axis)

    def _refusal(self, region: Region, block: NDArray, clipped: int) -> DataError:
        dtype = self.layout.spec.dtype
        pixel = first_outside(block, dtype, self.offset)
        sides = list(zip(self.layout.axes, region, pixel, strict=True))
        where = ", ".join(f"{axis} {side.start + at}" for axis, side, at in sides)
        begin = ", ".join(f"{axis} {side.start}" for axis, side, _ in sides)
        value = np.float64(block[pixel]) + self.offset
        return DataError(
            f"{value:g} at {where} is outside {dtype} ({clipped} such pixels in the block at {begin})",
            "say overflow: clip, add an offset, or take a wider dtype; then begin anew with --overwrite",
            "output.overflow",
        )  # fmt: skip


@dataclass(frozen=True)
class BuildLevel:
    """Builds regions of a coarser level from the finished one before it; picklable, runs in workers."""

    layout: Layout
    level: int

    def __call__(self, target: tuple[Region, Records, Records]) -> BlockResult:
        """Build one region, given what the files of the finer level that it reads ought to hold.

        Those of the output, then those of its background.

        Raises
        ------
        DamagedChunksError
            They do not.
        """
        region, records, others = target
        second = self.layout.background
        with spending("pyramid"):
            files = build_level(self.layout, self.level, region, records)
            more = () if second is None else build_level(second, self.level, region, others)
        return BlockResult(files, 0, (), collect_seconds(), more)
