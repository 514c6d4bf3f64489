"""A plan's window as a lazy array: read, overlap, filter, trim, store.

The only caller of `map_overlap`. A block that needs no neighbour (whole planes) is one task
from file to file. Where a plane is cut, parts of it are read once, and `map_overlap` hands each
block the halo of its neighbours; a block is then filtered, trimmed and stored in one task.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from pipeline.model.image import Region
from pipeline.model.tiling import Cut
from pipeline.runtime.task import FilterAndStore, InTurn, ReadFilterStore, Store, StoreBlock
from pipeline.steps.chain import ApplyChain, BlockId
from pipeline.steps.overlap import overlap_depth, overlapped

if TYPE_CHECKING:
    from pipeline.read import Source


@dataclass(frozen=True)
class WindowReader:
    """A window with its outer halo, as something that dask can slice.

    Parameters
    ----------
    source : Source
        Where the pixels are.
    cuts : tuple of Cut
        How each axis of the window is cut.
    """

    source: Source
    cuts: tuple[Cut, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis, the outer halo included."""
        return tuple(cut.end - cut.begin for cut in self.cuts)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.cuts)

    @property
    def dtype(self) -> np.dtype:
        """Type of a pixel."""
        return self.source.spec.dtype

    def __getitem__(self, part: Region) -> NDArray:
        """Read one chunk."""
        region = tuple(
            slice(cut.begin + wanted.start, cut.begin + wanted.stop)
            for cut, wanted in zip(self.cuts, part, strict=True)
        )
        return self.source.read(region)


def window_array(source: Source, cuts: tuple[Cut, ...]) -> da.Array:
    """Return the pixels that a window reads, lazily, cut where its blocks are."""
    reader = WindowReader(source, cuts)
    return da.from_array(
        reader,
        chunks=tuple(cut.chunks for cut in cuts),
        asarray=False,
        inline_array=True,
        lock=False,
        name=False,
        meta=np.empty((0,) * reader.ndim, reader.dtype),
    )


def _receipts(cuts: tuple[Cut, ...]) -> dict[str, Any]:
    """Return what dask is told of an array of receipts, one a block."""
    ones = tuple((1,) * cut.count for cut in cuts)
    return {"chunks": ones, "dtype": object, "meta": np.empty((0,) * len(cuts), object)}


def window_tasks(source: Source, chain: ApplyChain, store: Store, batch: int = 1) -> da.Array:
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
        Computed, an array of one receipt a block, in the order of the blocks.
    """
    then = FilterAndStore(chain, store)
    if any(overlap_depth(chain).values()):
        return overlapped(window_array(source, chain.cuts), chain, then, **_receipts(chain.cuts))
    call = ReadFilterStore(source, then)
    if batch == 1:
        return da.map_blocks(call, **_receipts(chain.cuts))
    grid = tuple(cut.count for cut in chain.cuts)
    count = math.prod(grid)
    sizes = tuple(min(batch, count - first) for first in range(0, count, batch))
    turns = InTurn(call, grid, batch)
    return da.map_blocks(turns, chunks=(sizes,), dtype=object, meta=np.empty(0, object))


def store_tasks(pixels: da.Array, cuts: tuple[Cut, ...], store: Store) -> da.Array:
    """Return the storing of pixels that are computed elsewhere, one chunk a block, lazily."""
    return da.map_blocks(StoreBlock(store, cuts), pixels, **_receipts(cuts))


@dataclass(frozen=True)
class CallWith:
    """Call a function with one of several arguments, by the block's number."""

    call: Callable[[Any], Any]
    arguments: tuple[Any, ...]

    def __call__(self, block: NDArray, block_id: BlockId | None = None) -> NDArray:
        """Return the function's result in an array of one."""
        assert block_id is not None
        receipt = np.empty(1, object)
        receipt[0] = self.call(self.arguments[block_id[0]])
        return receipt


def call_tasks(call: Callable[[Any], Any], arguments: Sequence[Any]) -> da.Array:
    """Return the calls of a function, lazily: computed, an array of their results."""
    numbers = da.zeros(len(arguments), chunks=1, dtype=np.uint8)
    calls = CallWith(call, tuple(arguments))
    return numbers.map_blocks(calls, dtype=object, meta=np.empty(0, object))
