"""Tiling of an image: axes are cut into windows, windows into blocks, which are read with a halo.

One axis of a window of three blocks. `=` is kept, `-` is the halo, read too:

    image   0 ......................................................... size
    window            start |=========|=========|======| stop
    block 0             ----|=========|----
    block 1                       ----|=========|----
    block 2                                 ----|======|----

There is no halo beyond the border of the image, where the filter's border mode applies.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cut:
    """One axis of a window, cut into blocks."""

    edges: tuple[int, ...]  # first pixel of each block in the image, and the end of the last one
    reads: tuple[tuple[int, int], ...]  # start and stop of what each block reads, with its halo

    @property
    def count(self) -> int:
        """Number of blocks."""
        return len(self.reads)

    @property
    def kept(self) -> tuple[int, ...]:
        """Number of pixels of each block, without its halo."""
        return tuple(stop - start for start, stop in itertools.pairwise(self.edges))

    @property
    def begin(self) -> int:
        """First pixel that the window reads."""
        return self.reads[0][0]

    @property
    def end(self) -> int:
        """End of what the window reads, exclusive."""
        return self.reads[-1][1]

    @property
    def chunks(self) -> tuple[int, ...]:
        """Number of pixels of each block; those at the ends include the outer halo.

        >>> cut_axis(100, 20, 80, block=30, halo=5).chunks
        (35, 35)
        """
        edges = (self.begin, *self.edges[1:-1], self.end)
        return tuple(stop - start for start, stop in itertools.pairwise(edges))


def spans(start: int, stop: int, step: int, least: int = 1) -> tuple[int, ...]:
    """Return the edges of [start, stop) cut every `step`; a rest below `least` joins the span before.

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
    # Dask's map_overlap would rechunk blocks that are shorter than their halo.
    edges = spans(start, stop, block, least=halo)
    reads = tuple((max(0, first - halo), min(size, last + halo)) for first, last in itertools.pairwise(edges))
    return Cut(edges, reads)


@dataclass(frozen=True)
class Tiling:
    """An image cut into windows of blocks.

    All fields map an axis to px. A window is a whole number of blocks, or ends at the border.
    """

    sizes: Mapping[str, int]
    block: Mapping[str, int]
    window: Mapping[str, int]
    halo: Mapping[str, int]

    def axis_windows(self, axis: str) -> Iterator[Cut]:
        """Yield the windows along one axis."""
        for start in range(0, self.sizes[axis], self.window[axis]):
            yield self._window(axis, start)

    def _window(self, axis: str, start: int) -> Cut:
        stop = min(self.sizes[axis], start + self.window[axis])
        return cut_axis(self.sizes[axis], start, stop, self.block[axis], self.halo[axis])

    def _distinct_windows(self, axis: str) -> Iterator[tuple[Cut, int]]:
        """Yield windows along one axis and their number: those away from the ends differ in place only.

        >>> tiling = Tiling({"x": 1000}, {"x": 10}, {"x": 10}, {"x": 15})
        >>> [(cut.begin, cut.end, times) for cut, times in tiling._distinct_windows("x")]
        [(0, 25, 1), (0, 35, 1), (5, 45, 96), (965, 1000, 1), (975, 1000, 1)]
        """
        size, px, halo = self.sizes[axis], self.window[axis], self.halo[axis]
        count = -(-size // px)
        # An axis may have millions of windows: those with a whole halo on both sides are only counted.
        first, last = -(-halo // px), (size - halo) // px
        inner = max(0, last - first)
        for index in (*range(min(first + 1, count)), *range(max(last, first + 1), count)):
            yield self._window(axis, index * px), inner if index == first and inner else 1

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
        """Number of blocks in all windows."""
        return math.prod(
            sum(cut.count * times for cut, times in self._distinct_windows(axis)) for axis in self.sizes
        )

    @property
    def overhead(self) -> float:
        """Ratio of the pixels that are read to those that are kept.

        >>> Tiling({"x": 100}, {"x": 50}, {"x": 100}, {"x": 10}).overhead
        1.2
        """
        ratios = []
        for axis, size in self.sizes.items():
            windows = self._distinct_windows(axis)
            total = sum(times * (stop - start) for cut, times in windows for start, stop in cut.reads)
            ratios.append(total / size)
        return math.prod(ratios)

    def chunk_reads(self, chunks: Mapping[str, int]) -> float:
        """Return how often a stored chunk of the input is read, on average; `chunks` is their shape in px.

        More than once if a block ends inside it, or if it lies in the halo of another window.

        >>> Tiling({"x": 100}, {"x": 50}, {"x": 50}, {"x": 10}).chunk_reads({"x": 50})
        2.0
        >>> Tiling({"x": 100}, {"x": 50}, {"x": 100}, {"x": 10}).chunk_reads({"x": 50})
        1.0
        """
        ratios = []
        for axis, size in self.sizes.items():
            px, reads = chunks[axis], 0
            for cut in self.axis_windows(axis):
                edges = itertools.accumulate(cut.chunks, initial=cut.begin)
                reads += sum(-(-stop // px) - start // px for start, stop in itertools.pairwise(edges))
            ratios.append(reads / -(-size // px))
        return math.prod(ratios)

    def cuts(self, index: int) -> tuple[Cut, ...]:
        """Return the window of this index, a cut for each axis; the last axis counts fastest."""
        positions = map(int, np.unravel_index(index, self.grid))
        return tuple(
            self._window(axis, position * self.window[axis])
            for axis, position in zip(self.sizes, positions, strict=True)
        )
