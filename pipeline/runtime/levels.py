"""Coarser levels of which blocks hold no whole files, built in groups from files that are checked as read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
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
    with_windows: int  # coarser levels that are written with the windows, and need no groups

    def groups(self) -> Iterator[WindowKey | None]:
        """Yield, without end, a group that can be built now, or None if there is none.

        Each group is yielded once, in their order within a level, and coarser levels first.
        """
        coarsest = len(self.layout.levels) - 1
        waiting = [self._groups(level) for level in range(coarsest, self.with_windows, -1)]
        firsts = [next(groups, None) for groups in waiting]
        while True:
            for position, group in enumerate(firsts):
                if group is not None and self._is_ready(group):
                    firsts[position] = next(waiting[position], None)
                    yield group
                    break
            else:
                yield None

    def _groups(self, level: int) -> Iterator[WindowKey]:
        """Yield the groups of a level that are not journalled."""
        count = -(-self._regions(level).count // LEVEL_TASKS)
        keys = (WindowKey(level, number) for number in range(count))
        return (key for key in keys if key not in self.journal)

    def tasks(self, group: WindowKey, wrap: Callable[[Call], Call]) -> da.Array:
        """Return the building of a group, lazily; all of the finer level that it needs is journalled.

        `wrap` makes what a task calls out of the function that builds a region.
        """
        targets = self._targets(group)
        sources = [self.layout.source_region(group.level, target) for target in targets]
        keys = {key for source in sources for key in self._keys(group.level - 1, source)}
        outputs = [
            {record.key: record for record in self.journal.records(keys, background=background)}
            for background in (False, True)
        ]

        def records_of(source: Region) -> Iterable[tuple[ChunkRecord, ...]]:
            files = self._files(group.level - 1, source)
            return (tuple(records[file] for file in files if file in records) for records in outputs)

        arguments = [(target, *records_of(source)) for target, source in zip(targets, sources, strict=True)]
        return call_tasks(wrap(BuildLevel(self.layout, group.level)), arguments)

    def _is_ready(self, group: WindowKey) -> bool:
        sources = (self.layout.source_region(group.level, target) for target in self._targets(group))
        return all(key in self.journal for source in sources for key in self._keys(group.level - 1, source))

    def _targets(self, group: WindowKey) -> list[Region]:
        """Return the regions of a group."""
        regions = self._regions(group.level)
        first = group.number * LEVEL_TASKS
        return [regions.region(number) for number in range(first, min(first + LEVEL_TASKS, regions.count))]

    def _keys(self, level: int, region: Region) -> set[WindowKey]:
        """Return the windows or groups whose journal entries hold the files of a region."""
        if level > self.with_windows:
            numbers = self._regions(level).meeting(region)
            return {WindowKey(level, number // LEVEL_TASKS) for number in numbers}
        factors = dict(zip(self.layout.spec.axes, self.layout.levels[level].factors, strict=True))
        sides = dict(zip(self.layout.spec.axes, region, strict=True))
        tiling = self.tiling
        full = tuple(
            slice(sides[axis].start * factors[axis], min(sides[axis].stop * factors[axis], size))
            for axis, size in tiling.sizes.items()
        )
        window = [tiling.window[axis] for axis in tiling.sizes]
        return {WindowKey(0, number) for number in cells_of_region(tiling.grid, window, full)}

    def _regions(self, level: int) -> LevelRegions:
        return LevelRegions.of(self.layout, level, LEVEL_BYTES)

    def _files(self, level: int, region: Region) -> list[str]:
        shape = self.layout.levels[level].file_shape
        ranges = [
            range(side.start // px, -(-side.stop // px)) for side, px in zip(region, shape, strict=True)
        ]
        return [self.layout.chunk_key(level, index) for index in itertools.product(*ranges)]


def unread_since(before: Iterable[WindowKey], with_windows: int, levels: int) -> list[WindowKey]:
    """Return the windows done `before` this start whose files building the levels does not read again.

    `with_windows` coarser levels were written with the windows, so that of their files only those of the
    last of these levels are read to build the next one.

    Examples
    --------
    >>> keys = [WindowKey(0, 0), WindowKey(0, 1)]
    >>> len(unread_since(keys, 0, levels=2)), len(unread_since([*keys, WindowKey(1, 0)], 0, levels=2))
    (0, 3)
    >>> len(unread_since(keys, 1, levels=3))
    2
    """
    keys = sorted(before)
    begun = {key.level for key in keys}

    def is_read(key: WindowKey) -> bool:
        if key.level == 0 and with_windows:
            return False
        return key.level + 1 < levels and key.level + 1 not in begun

    return [key for key in keys if not is_read(key)]
