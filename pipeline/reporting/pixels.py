"""Pixels that a report shows: of the input and of the output, a plane or a crop at a time, never much."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from numpy.typing import NDArray

from pipeline.model.image import Region, region_shape
from pipeline.read import Source
from pipeline.write import Layout, read_region

MOST = 128 * 2**20
"""Bytes that may have to be read and unpacked for one picture, whole chunks counted."""


class Pixels(Protocol):
    """Something that gives boxes of pixels."""

    def read(self, region: Region) -> NDArray:
        """Return a box, along the axes of the image that was filtered."""

    def reads(self, region: Region) -> int:
        """Return the bytes that must be read and unpacked for it."""


class Result(Pixels, Protocol):
    """An output: its coarsest level can be had too."""

    def overview(self, region: Region) -> NDArray | None:
        """Return the whole plane that a box lies in, at the coarsest level; None where there is none."""


@dataclass(frozen=True)
class InputPixels:
    """The input, still where it was."""

    source: Source

    def read(self, region: Region) -> NDArray:
        """Return a box."""
        return self.source.read(region)

    def reads(self, region: Region) -> int:
        """Return the bytes of the chunks that a box meets."""
        spec = self.source.spec
        # Of a stored chunk that `select` has cut, the spec knows what is left.
        decoded = self.source.beside(region_shape(region))
        return max(decoded, touched(region, spec.chunks, spec.dtype.itemsize))


@dataclass(frozen=True)
class UnfinishedPixels:
    """The output of a run that is about to be sealed."""

    layout: Layout

    def read(self, region: Region) -> NDArray:
        """Return a box."""
        shape = tuple(part.stop - part.start for part in region)
        return read_region(self.layout, 0, self.layout.padded(region)).reshape(shape)

    def reads(self, region: Region) -> int:
        """Return the bytes of the files that a box meets."""
        return touched(self.layout.padded(region), self.layout.file_shape, self.layout.spec.dtype.itemsize)

    def overview(self, region: Region) -> NDArray | None:
        """Return the whole plane that a box lies in, at the coarsest level."""
        layout, level = self.layout, self.layout.levels[-1]
        whole = _whole(layout.padded(region), level.shape)
        if len(layout.levels) == 1 or touched(whole, level.file_shape, layout.spec.dtype.itemsize) > MOST:
            return None
        return read_region(layout, len(layout.levels) - 1, whole).reshape(level.shape[-2:])


@dataclass(frozen=True)
class FinishedPixels:
    """An output that is there.

    Parameters
    ----------
    source : Source
        The output, opened.
    axes : str
        The axes of the image that was filtered; the output may have more, of length 1.
    coarsest : Source, optional
        Its coarsest level, opened.
    """

    source: Source
    axes: str
    coarsest: Source | None = None

    def read(self, region: Region) -> NDArray:
        """Return a box."""
        shape = tuple(part.stop - part.start for part in region)
        return self.source.read(self._padded(region)).reshape(shape)

    def reads(self, region: Region) -> int:
        """Return the bytes of the chunks that a box meets."""
        spec = self.source.spec
        return touched(self._padded(region), spec.chunks, spec.dtype.itemsize)

    def overview(self, region: Region) -> NDArray | None:
        """Return the whole plane that a box lies in, at the coarsest level."""
        if self.coarsest is None:
            return None
        spec = self.coarsest.spec
        whole = _whole(self._padded(region), spec.shape)
        if touched(whole, spec.chunks, spec.dtype.itemsize) > MOST:
            return None
        return self.coarsest.read(whole).reshape(spec.shape[-2:])

    def _padded(self, region: Region) -> Region:
        parts = dict(zip(self.axes, region, strict=True))
        return tuple(parts.get(axis, slice(0, 1)) for axis in self.source.spec.axes)


def _whole(region: Region, shape: tuple[int, ...]) -> Region:
    """Return a region of all rows and columns."""
    return (*region[:-2], *(slice(0, size) for size in shape[-2:]))


def touched(region: Region, chunks: tuple[int, ...], itemsize: int) -> int:
    """Return the bytes of the chunks that a region meets.

    >>> touched((slice(0, 1), slice(5, 15)), (4, 10), 2)
    160
    """
    lengths = [(-(-part.stop // px) - part.start // px) * px for part, px in zip(region, chunks, strict=True)]
    return math.prod(lengths) * itemsize
