"""What a plan is made for: the work (chain, image, output) and the resources."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from pipeline.model.image import ImageSpec
from pipeline.planning.warmup import WarmUp
from pipeline.steps.chain import BoundChain
from pipeline.steps.step import Step
from pipeline.write.layout import Layout


@dataclass(frozen=True)
class Resources:
    """Workers and memory that a run may use."""

    workers: int  # blocks at a time
    memory: int  # bytes for all processes on this machine
    cluster: str = "threads"  # or "local" or "remote"
    held: int = 0  # bytes that this process holds while it plans

    @property
    def processes(self) -> bool:
        """Whether the run starts processes on this machine as workers."""
        return self.cluster == "local"


@dataclass(frozen=True)
class Workload:
    """The work to be cut into blocks and windows."""

    chain: BoundChain
    layout: Layout  # one task writes whole files of it
    offset: float = 0.0  # added before the cast to the output's dtype
    reading: Callable[[tuple[int, ...]], int] | None = None  # see `bytes_beside`

    @property
    def steps(self) -> tuple[Step, ...]:
        """The resolved chain."""
        return self.chain.steps

    @property
    def image(self) -> ImageSpec:
        """The input."""
        return self.chain.image

    @property
    def halo(self) -> Mapping[str, int]:
        """The chain's halo, axis → px."""
        return self.chain.halo

    @cached_property
    def file_sizes(self) -> Mapping[str, int]:
        """Size of one file of the output, axis → px: the least that a task may write."""
        return self.layout.file_sizes

    @property
    def warm_up(self) -> WarmUp:
        """Compiles the kernels of the run, or loads them."""
        coarser = tuple(output.spec.dtype for output in self.layout.outputs if len(output.levels) > 1)
        return WarmUp(self.steps, self.image, self.layout.spec.dtype, self.offset, coarser)

    @property
    def mixed(self) -> bool:
        """Whether channels may have different kinds of background."""
        return "c" in self.image.axes and any(step.channels is not None for step in self.steps)

    def bytes_beside(self, shape: tuple[int, ...]) -> int:
        """Return the bytes that reading a region of this shape takes beside its pixels."""
        if self.reading is not None:
            return self.reading(shape)
        # One chunk as stored and one decoded.
        return 2 * math.prod(self.image.chunks) * self.image.dtype.itemsize

    def least(self, axis: str) -> int:
        """Return the smallest block along an axis: whole files, and no shorter than the halo."""
        size, file = self.image.sizes[axis], self.file_sizes[axis]
        return min(size, -(-max(file, self.halo[axis]) // file) * file)

    def block_bytes(self, block: Mapping[str, int]) -> int:
        """Return the bytes of a block of the input."""
        return math.prod(block.values()) * self.image.dtype.itemsize

    def count(self, block: Mapping[str, int]) -> int:
        """Count the blocks of this size in the image."""
        return math.prod(-(-size // block[axis]) for axis, size in self.image.sizes.items())

    def cut_axes(self, block: Mapping[str, int]) -> list[str]:
        """Return the axes with a halo along which blocks have neighbours."""
        return [axis for axis in block if self.halo[axis] and block[axis] < self.image.sizes[axis]]
