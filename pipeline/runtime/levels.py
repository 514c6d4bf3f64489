"""Coarser levels of a run, built in groups of regions from files that are checked as they are read."""

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
from pipeline.write import ChunkRecord, Layout, LevelRegions, cells_of_region
from pipeline.write.journal import Journal
from pipeline.write.offsets import WindowKey

LEVEL_BYTES = 64 << 20  # of the finer level, read by one task at the most; a file may need more
LEVEL_TASKS = 8  # regions in a group, which are computed and journalled together

Call = Callable[..., Any]


@dataclass(frozen=True)
class Levels:
    """Groups in which the coarser levels of a run are built."""

    layout: Layout
    tiling: Tiling  # the windows of the full resolution
    journal: Journal

    def groups(self, level: int) -> Iterable[WindowKey]:
        """Return the groups of a level."""
        count = -(-self._regions(level).count // LEVEL_TASKS)
        return (WindowKey(level, number) for number in range(count))

    def tasks(self, group: WindowKey, wrap: Callable[[Call], Call]) -> da.Array:
        """Return the building of a group, lazily; all of the finer level is journalled.

        `wrap` makes what a task calls out of the function that builds a region.
        """
        finer = group.level - 1
        regions = self._regions(group.level)
        first = group.number * LEVEL_TASKS
        targets = [regions.region(number) for number in range(first, min(first + LEVEL_TASKS, regions.count))]
        sources = [self.layout.source_region(group.level, target) for target in targets]
        keys = {key for source in sources for key in self._keys(finer, source)}
        outputs = [
            {record.key: record for record in self.journal.records(keys, background=background)}
            for background in (False, True)
        ]

        def records_of(source: Region) -> Iterable[tuple[ChunkRecord, ...]]:
            files = self._files(finer, source)
            return (tuple(records[file] for file in files if file in records) for records in outputs)

        arguments = [(target, *records_of(source)) for target, source in zip(targets, sources, strict=True)]
        return call_tasks(wrap(BuildLevel(self.layout, group.level)), arguments)

    def _keys(self, level: int, region: Region) -> set[WindowKey]:
        """Return the windows or groups whose journal entries hold the files of a region."""
        if level:
            numbers = [number // LEVEL_TASKS for number in self._regions(level).meeting(region)]
        else:
            tiling, sides = self.tiling, dict(zip(self.layout.spec.axes, region, strict=True))
            window = [tiling.window[axis] for axis in tiling.sizes]
            numbers = cells_of_region(tiling.grid, window, tuple(sides[axis] for axis in tiling.sizes))
        return {WindowKey(level, number) for number in numbers}

    def _regions(self, level: int) -> LevelRegions:
        return LevelRegions.of(self.layout, level, LEVEL_BYTES)

    def _files(self, level: int, region: Region) -> list[str]:
        shape = self.layout.levels[level].file_shape
        ranges = [
            range(side.start // px, -(-side.stop // px)) for side, px in zip(region, shape, strict=True)
        ]
        return [self.layout.chunk_key(level, index) for index in itertools.product(*ranges)]


def unread_since(before: Iterable[WindowKey], levels: int) -> list[WindowKey]:
    """Return the windows done `before` this start whose files building the levels does not read again.

    Examples
    --------
    >>> keys = [WindowKey(0, 0), WindowKey(0, 1)]
    >>> len(unread_since(keys, levels=2)), len(unread_since([*keys, WindowKey(1, 0)], levels=2))
    (0, 3)
    """
    keys = sorted(before)
    begun = {key.level for key in keys}
    return [key for key in keys if key.level + 1 == levels or key.level + 1 in begun]
