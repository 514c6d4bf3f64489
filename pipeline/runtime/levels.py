"""The coarser levels of a run: built in groups of regions, from files that are checked as they are read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import dask.array as da

from pipeline.model.image import Region
from pipeline.model.tiling import Tiling
from pipeline.runtime.store import BuildLevel
from pipeline.runtime.windows import call_tasks
from pipeline.write import Layout, LevelRegions, numbers_meeting
from pipeline.write.journal import Journal

LEVEL_BYTES = 64 << 20
"""Bytes of the finer level that one task reads at the most, where a file allows."""

LEVEL_TASKS = 8
"""Regions in a group: computed and journalled together."""


Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


def _as_it_is(call: Callable[..., Any]) -> Callable[..., Any]:
    return call


@dataclass(frozen=True)
class Levels:
    """Which groups the levels of a run are built in, and what each of them reads.

    Parameters
    ----------
    layout : Layout
        The output on disk.
    tiling : Tiling
        The windows of the full resolution.
    """

    layout: Layout
    tiling: Tiling

    def groups(self, level: int) -> int:
        """Return how many groups a level has."""
        return -(-self._regions(level).count // LEVEL_TASKS)

    def tasks(self, journal: Journal, level: int, group: int, wrap: Wrap = _as_it_is) -> da.Array:
        """Return the building of a group, lazily; the level before it is journalled whole.

        `wrap` makes of the call that builds a region the one that a task makes.
        """
        regions = self._regions(level)
        first = group * LEVEL_TASKS
        wanted = [regions.region(number) for number in range(first, min(first + LEVEL_TASKS, regions.count))]
        sources = [self.layout.source_region(level, region) for region in wanted]
        names = {name for source in sources for name in self.names(level - 1, source)}
        known = [
            {record.key: record for record in journal.records(names, background=background)}
            for background in (False, True)
        ]
        arguments = [
            (
                region,
                *(
                    tuple(records[key] for key in self._keys(level - 1, source) if key in records)
                    for records in known
                ),
            )
            for region, source in zip(wanted, sources, strict=True)
        ]
        return call_tasks(wrap(BuildLevel(self.layout, level)), arguments)

    def names(self, level: int, region: Region) -> list[str]:
        """Return the names under which what a region of a level holds is journalled."""
        if level:
            numbers: Iterable[int] = {
                number // LEVEL_TASKS for number in self._regions(level).meeting(region)
            }
        else:
            parts = dict(zip(self.layout.spec.axes, region, strict=True))
            pixels = tuple(parts[axis] for axis in self.tiling.sizes)
            window = [self.tiling.window[axis] for axis in self.tiling.sizes]
            numbers = numbers_meeting(self.tiling.grid, window, pixels)
        return [f"{level}/{number}" for number in sorted(numbers)]

    def _regions(self, level: int) -> LevelRegions:
        return LevelRegions.of(self.layout, level, LEVEL_BYTES)

    def _keys(self, level: int, region: Region) -> Iterable[str]:
        unit = self.layout.levels[level].unit
        files = [range(part.start // px, -(-part.stop // px)) for part, px in zip(region, unit, strict=True)]
        return (self.layout.chunk_key(level, index) for index in itertools.product(*files))


def unread_since(before: Iterable[str], levels: int) -> list[str]:
    """Return the windows of an earlier start that building the coarser levels does not read again.

    Parameters
    ----------
    before : iterable of str
        What was done when this start began.
    levels : int
        How many levels there are.

    Examples
    --------
    >>> unread_since(["0/0", "0/1"], levels=2), unread_since(["0/0", "0/1", "1/0"], levels=2)
    ([], ['0/0', '0/1', '1/0'])
    """
    names = sorted(before)
    begun = {int(name.partition("/")[0]) for name in names}
    return [
        name for name in names if (level := int(name.partition("/")[0])) + 1 == levels or level + 1 in begun
    ]
