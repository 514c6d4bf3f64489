"""What a task does with a block: read, filter, trim, store."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model.image import Region
from pipeline.model.tiling import Cut
from pipeline.steps.chain import ApplyChain, BlockId

if TYPE_CHECKING:
    from pipeline.read import Source


Store = Callable[[Region, "NDArray | None", NDArray], Any]
"""`(region, pixels read, pixels made) → receipt`, picklable: writes a finished block."""


@dataclass(frozen=True)
class StoreBlock:
    """Hand a finished block to the writer, with its place in the image.

    Parameters
    ----------
    store : callable
        The writer.
    cuts : tuple of Cut
        How each axis of the window is cut.
    """

    store: Store
    cuts: tuple[Cut, ...]

    def __call__(self, block: NDArray, block_id: BlockId | None = None) -> NDArray:
        """Store the block and return its receipt, in an array of one."""
        assert block_id is not None
        return self.put(None, block, block_id)

    def put(self, before: NDArray | None, after: NDArray, block_id: BlockId) -> NDArray:
        """Store a block of which the input is known, and return its receipt, in an array of one."""
        region = tuple(
            slice(cut.edges[index], cut.edges[index + 1])
            for cut, index in zip(self.cuts, block_id, strict=True)
        )
        receipt = np.empty((1,) * after.ndim, object)
        receipt[(0,) * after.ndim] = self.store(region, before, after)
        return receipt


@dataclass(frozen=True)
class FilterAndStore:
    """Filter a block that carries its halo, and store what is kept of it.

    Parameters
    ----------
    chain : ApplyChain
        The filters.
    store : callable
        The writer.
    """

    chain: ApplyChain
    store: Store

    def __call__(self, block: NDArray, block_id: BlockId | None = None) -> NDArray:
        """Return the receipt, in an array of one."""
        assert block_id is not None
        before, after = self.chain.pixels(block, block_id)
        return StoreBlock(self.store, self.chain.cuts).put(before, after, block_id)


@dataclass(frozen=True)
class ReadFilterStore:
    """Read a block that no other needs a part of, filter and store it: one task from file to file.

    Parameters
    ----------
    source : Source
        Where the pixels are.
    then : FilterAndStore
        What becomes of them.
    """

    source: Source
    then: FilterAndStore

    def __call__(self, block_id: BlockId | None = None) -> NDArray:
        """Return the receipt, in an array of one."""
        assert block_id is not None
        reads = [cut.reads[index] for cut, index in zip(self.then.chain.cuts, block_id, strict=True)]
        return self.then(self.source.read(tuple(slice(*read) for read in reads)), block_id)


@dataclass(frozen=True)
class InTurn:
    """Do several blocks one after the other in one task: one block's memory, one task's scheduling.

    Parameters
    ----------
    call : callable
        Does the block of a given number along each axis, and returns its receipt in an array of one.
    grid : tuple of int
        Blocks along each axis.
    batch : int
        Blocks in a task.
    """

    call: Callable[..., NDArray]
    grid: tuple[int, ...]
    batch: int

    def __call__(self, block_id: BlockId | None = None) -> NDArray:
        """Return the receipts."""
        assert block_id is not None
        first = block_id[0] * self.batch
        numbers = range(first, min(first + self.batch, math.prod(self.grid)))
        places = (tuple(map(int, np.unravel_index(number, self.grid))) for number in numbers)
        return np.concatenate([self.call(block_id=place).reshape(-1) for place in places])
