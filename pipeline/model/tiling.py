"""Geometry of a run: an axis cut into windows, windows into blocks, blocks with their halo.

One axis of a window of three blocks; `=` is kept, `-` is read beside it as halo:

    image   0 ......................................................... size
    window            start |=========|=========|======| stop
    block 0             ----|=========|----
    block 1                       ----|=========|----
    block 2                                 ----|======|----

At the image's border there is no halo: the filter's own border mode works there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Cut:
    """One axis of a window, cut into blocks.

    Parameters
    ----------
    edges : tuple of int
        Where the blocks begin, and where the last one ends, in the image.
    reads : tuple of (int, int)
        What each block reads, its halo included, in the image.
    """

    edges: tuple[int, ...]
    reads: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        """Number of blocks."""
        return len(self.reads)

    @property
    def kept(self) -> tuple[int, ...]:
        """Pixels that each block keeps."""
        return tuple(stop - start for start, stop in itertools.pairwise(self.edges))

    @property
    def begin(self) -> int:
        """First pixel that the window reads."""
        return self.reads[0][0]

    @property
    def end(self) -> int:
        """One after the last pixel that the window reads."""
        return self.reads[-1][1]

    @property
    def chunks(self) -> tuple[int, ...]:
        """Pixels of each chunk of the array that the window reads: its own, and the outer halo at the ends.

        >>> cut_axis(100, 20, 80, block=30, halo=5).chunks
        (35, 35)
        """
        inner = list(self.edges)
        inner[0], inner[-1] = self.begin, self.end
        return tuple(stop - start for start, stop in itertools.pairwise(inner))


def spans(start: int, stop: int, step: int, least: int = 1) -> tuple[int, ...]:
    """Return the edges of [start, stop) cut every `step`.

    A piece shorter than `least` at the end joins the one before.

    >>> spans(0, 100, 40), spans(0, 100, 40, least=30)
    ((0, 40, 80, 100), (0, 40, 100))
    """
    edges = [*range(start, stop, step), stop]
    if len(edges) > 2 and edges[-1] - edges[-2] < least:
        del edges[-2]
    return tuple(edges)


def cut_axis(size: int, start: int, stop: int, block: int, halo: int) -> Cut:
    """Cut [start, stop) of an axis of `size` px into blocks, each read with its halo.

    >>> cut_axis(100, 20, 80, block=30, halo=5)
    Cut(edges=(20, 50, 80), reads=((15, 55), (45, 85)))
    >>> cut_axis(100, 0, 100, block=100, halo=5)
    Cut(edges=(0, 100), reads=((0, 100),))
    """
    edges = spans(start, stop, block, least=halo)
    reads = tuple((max(0, first - halo), min(size, last + halo)) for first, last in itertools.pairwise(edges))
    return Cut(edges, reads)


@dataclass(frozen=True)
class Tiling:
    """How an image is cut into windows of blocks.

    Parameters
    ----------
    sizes, block, window, halo : mapping of str to int
        Axis → px. A window is whole blocks, or ends at the border.
    """

    sizes: Mapping[str, int]
    block: Mapping[str, int]
    window: Mapping[str, int]
    halo: Mapping[str, int]

    def axis_windows(self, axis: str) -> Iterator[Cut]:
        """Yield the windows along one axis."""
        size, px = self.sizes[axis], self.window[axis]
        for start in range(0, size, px):
            yield cut_axis(size, start, min(size, start + px), self.block[axis], self.halo[axis])

    def _axis_kinds(self, axis: str) -> Iterator[tuple[Cut, int]]:
        """Yield the windows along one axis, and how often each is there: all far from the ends are alike.

        >>> tiling = Tiling({"x": 1000}, {"x": 10}, {"x": 10}, {"x": 15})
        >>> [(cut.begin, cut.end, times) for cut, times in tiling._axis_kinds("x")]
        [(0, 25, 1), (0, 35, 1), (5, 45, 96), (965, 1000, 1), (975, 1000, 1)]
        """
        size, px, halo = self.sizes[axis], self.window[axis], self.halo[axis]
        first, last = -(-halo // px), (size - halo) // px  # from and up to which the halo is whole
        alike = max(0, last - first)
        for number in (*range(min(first + 1, -(-size // px))), *range(max(last, first + 1), -(-size // px))):
            start = number * px
            cut = cut_axis(size, start, min(size, start + px), self.block[axis], halo)
            yield cut, alike if number == first and alike else 1

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of windows along each axis."""
        return tuple(-(-self.sizes[axis] // self.window[axis]) for axis in self.sizes)

    @property
    def windows(self) -> int:
        """Number of windows."""
        return math.prod(self.grid)

    @property
    def blocks(self) -> int:
        """Number of blocks of all windows."""
        return math.prod(
            sum(cut.count * times for cut, times in self._axis_kinds(axis)) for axis in self.sizes
        )

    @property
    def overhead(self) -> float:
        """Pixels processed ÷ pixels kept.

        >>> Tiling({"x": 100}, {"x": 50}, {"x": 100}, {"x": 10}).overhead
        1.2
        """
        shares = []
        for axis, size in self.sizes.items():
            kinds = self._axis_kinds(axis)
            total = sum(times * (stop - start) for cut, times in kinds for start, stop in cut.reads)
            shares.append(total / size)
        return math.prod(shares)

    def chunk_reads(self, chunks: Mapping[str, int]) -> float:
        """Return how often each stored chunk of the input is read, on average.

        More than once where a block ends inside a chunk, or a window reads its halo from one that
        belongs to its neighbour.

        Parameters
        ----------
        chunks : mapping of str to int
            Axis → px of a stored chunk.

        Examples
        --------
        >>> Tiling({"x": 100}, {"x": 50}, {"x": 50}, {"x": 10}).chunk_reads({"x": 50})
        2.0
        >>> Tiling({"x": 100}, {"x": 50}, {"x": 100}, {"x": 10}).chunk_reads({"x": 50})
        1.0
        """
        shares = []
        for axis, size in self.sizes.items():
            px, reads = chunks[axis], 0
            for cut in self.axis_windows(axis):
                begin = cut.begin
                for length in cut.chunks:
                    reads += -(-(begin + length) // px) - begin // px
                    begin += length
            shares.append(reads / -(-size // px))
        return math.prod(shares)

    def cuts(self, index: int) -> tuple[Cut, ...]:
        """Return one window by its number, the last axis counting fastest: a cut for each axis."""
        found = []
        for axis, count in reversed(list(zip(self.sizes, self.grid, strict=True))):
            index, place = divmod(index, count)
            start = place * self.window[axis]
            stop = min(self.sizes[axis], start + self.window[axis])
            found.append(cut_axis(self.sizes[axis], start, stop, self.block[axis], self.halo[axis]))
        return tuple(reversed(found))
