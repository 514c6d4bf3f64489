"""The input of a plan: a chain bound to its image, the output on disk, and what the run may use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from pipeline.model.image import ImageSpec
from pipeline.steps.chain import BoundChain
from pipeline.steps.step import Step
from pipeline.write.layout import Layout


@dataclass(frozen=True)
class Resources:
    """What a run may use.

    Parameters
    ----------
    workers : int
        Blocks at a time.
    memory : int
        Bytes for all processes on this machine.
    cluster : str
        "threads", "local" or "remote".
    held : int
        Bytes that this process holds while it plans, where that is known.
    """

    workers: int
    memory: int
    cluster: str = "threads"
    held: int = 0

    @property
    def processes(self) -> bool:
        """Whether the workers are processes of this machine, started by the run."""
        return self.cluster == "local"


@dataclass(frozen=True)
class Workload:
    """What is to be cut into blocks and windows.

    Parameters
    ----------
    chain : BoundChain
        The steps, bound to the image.
    layout : Layout
        The output on disk; one task writes whole files of it.
    offset : float
        Added before the cast to the output's dtype.
    reading : callable, optional
        Shape of a region of the image → bytes that reading it takes beside its pixels; default: one stored
        chunk, as stored and decoded.
    """

    chain: BoundChain
    layout: Layout
    offset: float = 0.0
    reading: Callable[[tuple[int, ...]], int] | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """The chain's steps, resolved."""
        return self.chain.steps

    @property
    def image(self) -> ImageSpec:
        """What comes in."""
        return self.chain.image

    @property
    def halo(self) -> Mapping[str, int]:
        """The chain's halo, axis → px."""
        return self.chain.halo

    @cached_property
    def file_sizes(self) -> Mapping[str, int]:
        """One file of the output, axis → px: the least that a task may write."""
        return self.layout.file_sizes

    @property
    def mixed(self) -> bool:
        """Whether the background of some channels is another than that of others."""
        return "c" in self.image.axes and any(step.channels is not None for step in self.steps)

    def beside(self, shape: tuple[int, ...]) -> int:
        """Return the bytes that reading a region of this shape takes beside its pixels."""
        if self.reading is not None:
            return self.reading(shape)
        return 2 * math.prod(self.image.chunks) * self.image.dtype.itemsize

    def least(self, axis: str) -> int:
        """Return the smallest block along an axis that is whole files and holds a neighbour's halo."""
        size, file = self.image.sizes[axis], self.file_sizes[axis]
        return min(size, -(-max(file, self.halo[axis]) // file) * file)

    def block_bytes(self, block: Mapping[str, int]) -> int:
        """Return the bytes of a block of the input."""
        return math.prod(block.values()) * self.image.dtype.itemsize

    def count(self, block: Mapping[str, int]) -> int:
        """Return how many blocks of a size the image has."""
        return math.prod(-(-size // block[axis]) for axis, size in self.image.sizes.items())

    def cut_axes(self, block: Mapping[str, int]) -> list[str]:
        """Return the axes with a halo along which blocks have neighbours."""
        return [axis for axis in block if self.halo[axis] and block[axis] < self.image.sizes[axis]]
