"""A run that goes on with other workers or another memory than it began with.

Its windows stay as they were fixed at the first start, since the journal counts them. What
changes is how one is computed: in other blocks, and where it is too large, in several parts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.model.tiling import Cut, Tiling, cut_axis
from pipeline.planning.blocks import choose_window, refusal
from pipeline.planning.memory import Memory, memory_of
from pipeline.planning.workload import Resources, Workload


@dataclass(frozen=True)
class Windows:
    """The windows of a run, each computed in parts of whole blocks.

    Parameters
    ----------
    tiling : Tiling
        The windows, and the blocks in them.
    part : mapping of str to int
        Axis → px of a part, counted from the beginning of its window.
    memory : Memory
        What computing them takes.
    """

    tiling: Tiling
    part: Mapping[str, int]
    memory: Memory

    def parts(self, window: int) -> list[tuple[Cut, ...]]:
        """Return the parts of a window: for each a cut of each axis.

        >>> tiling = Tiling({"x": 100}, {"x": 10}, {"x": 60}, {"x": 2})
        >>> [part[0].edges[0] for part in Windows(tiling, {"x": 20}, Memory(0, 0, 0, 0)).parts(1)]
        [60, 80]
        """
        axes = [
            self._axis_parts(axis, cut.edges[0], cut.edges[-1])
            for axis, cut in zip(self.tiling.sizes, self.tiling.cuts(window), strict=True)
        ]
        return list(itertools.product(*axes))

    def _axis_parts(self, axis: str, begin: int, end: int) -> list[Cut]:
        size, block, halo = self.tiling.sizes[axis], self.tiling.block[axis], self.tiling.halo[axis]
        return [
            cut_axis(size, start, min(end, start + self.part[axis]), block, halo)
            for start in range(begin, end, self.part[axis])
        ]


def resume_tiling(
    workload: Workload, resources: Resources, planned: Tiling, window: Mapping[str, int]
) -> Windows:
    """Return the windows of a run's first start, to be computed with what there is now.

    Parameters
    ----------
    workload : Workload
        What is cut.
    resources : Resources
        Workers and memory of now.
    planned : Tiling
        How a new run would be cut.
    window : mapping of str to int
        Axis → px of the windows of the first start.

    Raises
    ------
    RequestError
        Not even one block after the other fits into the memory.
    """
    if dict(window) == dict(planned.window):
        return Windows(planned, window, memory_of(workload, planned.block, window, resources))
    block = {axis: _block(workload, axis, px, window[axis]) for axis, px in planned.block.items()}
    part = choose_window(workload, block, resources, window)
    memory = memory_of(workload, block, part, resources)
    if memory.predicted > resources.memory:
        raise refusal(workload, block, memory, resources, memory.predicted)
    return Windows(Tiling(workload.image.sizes, block, dict(window), workload.halo), part, memory)


def _block(workload: Workload, axis: str, planned: int, window: int) -> int:
    """Return the largest block up to the planned one that leaves no rest shorter than the halo."""
    if planned >= window:
        return window
    file, halo = workload.file_sizes[axis], workload.halo[axis]
    for px in range(planned // file * file, 0, -file):
        if px < halo:
            break
        rest = window % px
        if rest == 0 or rest >= halo:
            return px
    return min(window, math.ceil(max(planned, halo) / file) * file)
