"""A plan's window as a lazy array: read, overlap, filter, trim, store.

A block that needs no neighbour (whole planes) is one task from file to file. Where a plane is cut, parts
of it are read once, and `map_overlap` hands each block the halo of its neighbours; a block is then
filtered, trimmed and stored in one task. Computed, each of the arrays holds one receipt a block.
"""

from __future__ import annotations

import itertools
import math
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from pipeline.model.image import Region
from pipeline.model.tiling import Cut
from pipeline.steps.chain import ApplyChain, BlockId
from pipeline.steps.overlap import overlap_depth, overlapped

if TYPE_CHECKING:
    from pipeline.read import Source

StoreBlock = Callable[[Region, "NDArray | None", NDArray], Any]
"""`(region, pixels read, pixels made) → receipt`, picklable: writes a finished block."""


@dataclass(frozen=True)
class ReadChunk:
    """Read one chunk of the pixels that a window reads, each of them once."""

    source: Source
    cuts: tuple[Cut, ...]

    def __call__(self, block_id: BlockId | None = None) -> NDArray:
        """Return the pixels of a chunk, which holds the outer halo at the window's ends."""
        assert block_id is not None
        region = []
        for cut, index in zip(self.cuts, block_id, strict=True):
            start = cut.begin + sum(cut.chunks[:index])
            region.append(slice(start, start + cut.chunks[index]))
        return self.source.read(tuple(region))


@dataclass(frozen=True)
class FilterAndStore:
    """Filter a block that carries its halo, and store what is kept of it."""

    chain: ApplyChain
    store: StoreBlock

    def __call__(self, block: NDArray, block_id: BlockId | None = None) -> NDArray:
        """Return the receipt, in an array of one."""
        assert block_id is not None
        before, after = self.chain.pixels(block, block_id)
        region = tuple(
            slice(cut.edges[index], cut.edges[index + 1])
            for cut, index in zip(self.chain.cuts, block_id, strict=True)
        )
        return _array_of_one(self.store(region, before, after), after.ndim)


@dataclass(frozen=True)
class ReadFilterStore:
    """Read blocks that no other needs a part of, filter and store them: one task from file to file.

    Several of them are done one after the other: one block's memory, one task's scheduling.
    """

    source: Source
    then: FilterAndStore
    batch: int

    def __call__(self, block_id: BlockId | None = None) -> NDArray:
        """Return the receipts of a batch, by its number."""
        assert block_id is not None
        cuts = self.then.chain.cuts
        grid = [range(cut.count) for cut in cuts]
        first = block_id[0] * self.batch
        receipts = []
        for index in itertools.islice(itertools.product(*grid), first, first + self.batch):
            reads = [cut.reads[at] for cut, at in zip(cuts, index, strict=True)]
            block = self.source.read(tuple(slice(*read) for read in reads))
            receipts.append(self.then(block, index).reshape(-1))
        return np.concatenate(receipts)


@dataclass(frozen=True)
class CallWith:
    """Call a function with one of several arguments, by its number."""

    call: Callable[[Any], Any]
    arguments: tuple[Any, ...]

    def __call__(self, block_id: BlockId | None = None) -> NDArray:
        """Return the function's result in an array of one."""
        assert block_id is not None
        return _array_of_one(self.call(self.arguments[block_id[0]]), 1)


def window_tasks(source: Source, chain: ApplyChain, store: StoreBlock, batch: int = 1) -> da.Array:
    """Return a window's blocks read, filtered and stored, lazily.

    Parameters
    ----------
    source : Source
        Where the pixels are.
    chain : ApplyChain
        The filters, and how the window is cut.
    store : callable
        The writer.
    batch : int
        Blocks in a task, where none needs a part of another.

    Returns
    -------
    dask.array.Array
        The receipts, in the order of the blocks.
    """
    then, cuts = FilterAndStore(chain, store), chain.cuts
    if not any(overlap_depth(chain).values()):
        count = math.prod(cut.count for cut in cuts)
        sizes = tuple(min(batch, count - first) for first in range(0, count, batch))
        return _map_blocks(ReadFilterStore(source, then, batch), chunks=(sizes,))
    dtype = source.spec.dtype
    chunks = tuple(cut.chunks for cut in cuts)
    pixels = _map_blocks(ReadChunk(source, cuts), chunks=chunks, dtype=dtype)
    return overlapped(
        pixels, chain, then, name=_name(then), chunks=_ones(cuts), dtype=object, meta=_meta(len(cuts), object)
    )


def store_tasks(pixels: da.Array, cuts: tuple[Cut, ...], store: StoreBlock) -> da.Array:
    """Return the storing of pixels that are computed elsewhere, one chunk a block, lazily."""
    then = FilterAndStore(ApplyChain((), "", cuts), partial(_store_alone, store))
    return _map_blocks(then, pixels, chunks=_ones(cuts))


def _store_alone(store: StoreBlock, region: Region, before: NDArray, after: NDArray) -> Any:
    """Store pixels that this run did not filter: what they were before is not known."""
    return store(region, None, after)


def call_tasks(call: Callable[[Any], Any], arguments: Sequence[Any]) -> da.Array:
    """Return the calls of a function, lazily: computed, an array of their results."""
    return _map_blocks(CallWith(call, tuple(arguments)), chunks=((1,) * len(arguments),))


def _map_blocks(
    call: Callable[..., NDArray], *arrays: da.Array, chunks: tuple[tuple[int, ...], ...], dtype: Any = object
) -> da.Array:
    return da.map_blocks(
        call, *arrays, name=_name(call), chunks=chunks, dtype=dtype, meta=_meta(len(chunks), dtype)
    )


def _name(call: object) -> str:
    """Return a name that no other array has.

    Without one Dask pickles the call, and unpickles it, to make a name of what it does: a third of the time
    that a window costs the driver.
    """
    return f"{type(call).__name__.lower()}-{uuid.uuid4().hex}"


def _meta(ndim: int, dtype: Any) -> NDArray:
    return np.empty((0,) * ndim, dtype)


def _ones(cuts: tuple[Cut, ...]) -> tuple[tuple[int, ...], ...]:
    return tuple((1,) * cut.count for cut in cuts)


def _array_of_one(receipt: Any, ndim: int) -> NDArray:
    array = np.empty((1,) * ndim, object)
    array[(0,) * ndim] = receipt
    return array
