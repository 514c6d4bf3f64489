"""Tiling of a resumed run, which may have other workers or another memory than at its first start.

Its windows stay, since the journal counts them. Each is computed in blocks that fit now, and where it is
too large in several parts.
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
    """Windows of a run, each computed in parts of whole blocks."""

    tiling: Tiling
    part: Mapping[str, int]  # size of a part, axis → px
    memory: Memory

    def parts(self, window: int) -> list[tuple[Cut, ...]]:
        """Return the parts of a window, each as a cut of every axis.

        >>> tiling = Tiling({"x": 100}, {"x": 10}, {"x": 60}, {"x": 2})
        >>> [part[0].edges[0] for part in Windows(tiling, {"x": 20}, Memory(0, 0, 0, 0)).parts(1)]
        [60, 80]
        """
        cuts: list[list[Cut]] = []
        for (axis, size), cut in zip(self.tiling.sizes.items(), self.tiling.cuts(window), strict=True):
            block, halo, part = self.tiling.block[axis], self.tiling.halo[axis], self.part[axis]
            begin, end = cut.edges[0], cut.edges[-1]
            starts = range(begin, end, part)
            cuts.append([cut_axis(size, start, min(end, start + part), block, halo) for start in starts])
        return list(itertools.product(*cuts))


def resume_tiling(
    workload: Workload, resources: Resources, planned: Tiling, window: Mapping[str, int]
) -> Windows:
    """Cut the windows of a run's first start for the present resources.

    `planned` is the tiling of a new run with them. Raises RequestError where not even one block at a time
    fits into the memory.
    """
    if dict(window) == dict(planned.window):
        return Windows(planned, window, memory_of(workload, planned.block, window, resources))
    block = {axis: _side(workload, axis, px, window[axis]) for axis, px in planned.block.items()}
    part = choose_window(workload, block, resources, window)
    memory = memory_of(workload, block, part, resources)
    if memory.predicted > resources.memory:
        raise refusal(workload, block, memory, resources, memory.predicted)
    return Windows(Tiling(workload.image.sizes, block, dict(window), workload.halo), part, memory)


def _side(workload: Workload, axis: str, planned: int, window: int) -> int:
    """Return the largest side up to the planned one that leaves no rest shorter than the halo."""
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
