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
from pipeline.write.offsets import WindowKey

LEVEL_BYTES = 64 << 20
"""Bytes of the finer level that one task reads at the most, where a file allows."""

LEVEL_TASKS = 8
"""Regions in a group: computed and journalled together."""

Call = Callable[..., Any]


@dataclass(frozen=True)
class Levels:
    """Which groups the levels of a run are built in, and what each of them reads."""

    layout: Layout
    tiling: Tiling
    """The windows of the full resolution."""
    journal: Journal

    def groups(self, level: int) -> Iterable[WindowKey]:
        """Return the groups of a level."""
        count = -(-self._regions(level).count // LEVEL_TASKS)
        return (WindowKey(level, number) for number in range(count))

    def tasks(self, group: WindowKey, wrap: Callable[[Call], Call]) -> da.Array:
        """Return the building of a group, lazily; the level before it is journalled whole.

        `wrap` makes of the call that builds a region the one that a task makes.
        """
        finer = group.level - 1
        regions = self._regions(group.level)
        first = group.number * LEVEL_TASKS
        targets = [regions.region(number) for number in range(first, min(first + LEVEL_TASKS, regions.count))]
        sources = [self.layout.source_region(group.level, region) for region in targets]
        keys = {key for source in sources for key in self.keys(finer, source)}
        outputs = [
            {record.key: record for record in self.journal.records(keys, background=background)}
            for background in (False, True)
        ]

        def files_of(source: Region) -> Iterable[tuple[Any, ...]]:
            files = list(self._files(finer, source))
            return (tuple(records[file] for file in files if file in records) for records in outputs)

        arguments = [(target, *files_of(source)) for target, source in zip(targets, sources, strict=True)]
        return call_tasks(wrap(BuildLevel(self.layout, group.level)), arguments)

    def keys(self, level: int, region: Region) -> list[WindowKey]:
        """Return the keys under which what a region of a level holds is journalled."""
        if level:
            numbers: Iterable[int] = {
                number // LEVEL_TASKS for number in self._regions(level).meeting(region)
            }
        else:
            sides = dict(zip(self.layout.spec.axes, region, strict=True))
            window = [self.tiling.window[axis] for axis in self.tiling.sizes]
            numbers = numbers_meeting(
                self.tiling.grid, window, tuple(sides[axis] for axis in self.tiling.sizes)
            )
        return [WindowKey(level, number) for number in sorted(numbers)]

    def _regions(self, level: int) -> LevelRegions:
        return LevelRegions.of(self.layout, level, LEVEL_BYTES)

    def _files(self, level: int, region: Region) -> Iterable[str]:
        unit = self.layout.levels[level].file_shape
        files = [range(side.start // px, -(-side.stop // px)) for side, px in zip(region, unit, strict=True)]
        return (self.layout.chunk_key(level, index) for index in itertools.product(*files))


def unread_since(before: Iterable[WindowKey], levels: int) -> list[WindowKey]:
    """Return the windows of an earlier start that building the coarser levels does not read again.

    Parameters
    ----------
    before : iterable of WindowKey
        What was done when this start began.
    levels : int
        How many levels there are.

    Examples
    --------
    >>> keys = [WindowKey(0, 0), WindowKey(0, 1)]
    >>> len(unread_since(keys, levels=2)), len(unread_since([*keys, WindowKey(1, 0)], levels=2))
    (0, 3)
    """
    keys = sorted(before)
    begun = {key.level for key in keys}
    return [key for key in keys if key.level + 1 == levels or key.level + 1 in begun]
