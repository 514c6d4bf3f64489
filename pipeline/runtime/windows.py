"""Dask graphs of a window: read, overlap, filter, trim, store.

Blocks that need no neighbour (whole planes) are tasks from file to file. Where planes are cut, each
chunk is read once, `map_overlap` brings every block the halo of its neighbours, and one task filters,
trims and stores it. Computed, the arrays hold one result of `store` a block.
"""

from __future__ import annotations

import itertools
import math
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from pipeline.model.image import ImageSpec, Region
from pipeline.model.tiling import Cut
from pipeline.steps.chain import ApplyChain, BlockId
from pipeline.steps.overlap import map_chain, overlap_depth

# `(region, pixels read, pixels made) → result`: writes a finished block. Picklable.
StoreBlock = Callable[[Region, "NDArray | None", NDArray], Any]


class Reader(Protocol):
    """Image that tasks read regions of. Picklable."""

    @property
    def spec(self) -> ImageSpec:
        """The image."""

    def read(self, region: Region) -> NDArray:
        """Return the pixels of a region."""


def window_tasks(source: Reader, chain: ApplyChain, store: StoreBlock, batch: int = 1) -> da.Array:
    """Return the reading, filtering and storing of a window's blocks, lazily.

    Where no block needs its neighbours, a task does `batch` of them. The array holds the results of
    `store`, in the order of the blocks.
    """
    cuts = chain.cuts
    if not any(overlap_depth(chain).values()):
        count = math.prod(cut.count for cut in cuts)
        batches = tuple(min(batch, count - first) for first in range(0, count, batch))
        return _map_blocks(partial(_read_filter_store, source, chain, store, batch), chunks=(batches,))
    chunks, dtype = tuple(cut.chunks for cut in cuts), source.spec.dtype
    pixels = _map_blocks(partial(_read_chunk, source, cuts), chunks=chunks, dtype=dtype)
    call = partial(_filter_store, chain, store)
    meta = _meta(len(cuts), object)
    return map_chain(
        pixels, chain, call, name=_unique_name(call), chunks=_ones(cuts), dtype=object, meta=meta
    )


def store_tasks(pixels: da.Array, cuts: tuple[Cut, ...], store: StoreBlock) -> da.Array:
    """Return the storing of a window that another Dask graph computes, one chunk a block, lazily."""

    def store_result(region: Region, before: NDArray | None, after: NDArray) -> Any:
        return store(region, None, after)  # the pixels before the filters are not known here

    return _map_blocks(
        partial(_filter_store, ApplyChain((), "", cuts), store_result), pixels, chunks=_ones(cuts)
    )


def call_tasks(call: Callable[[Any], Any], arguments: Sequence[Any]) -> da.Array:
    """Return the calls of a function, each with one of the arguments, lazily."""
    return _map_blocks(partial(_call, call, tuple(arguments)), chunks=((1,) * len(arguments),))


# The functions of the tasks. Dask passes `block_id`, the number of the block along each axis.


def _read_chunk(source: Reader, cuts: tuple[Cut, ...], *, block_id: BlockId) -> NDArray:
    """Read a chunk of a window: each pixel once, with the window's outer halo at its ends."""
    region = []
    for cut, index in zip(cuts, block_id, strict=True):
        start = cut.begin + sum(cut.chunks[:index])
        region.append(slice(start, start + cut.chunks[index]))
    return source.read(tuple(region))


def _filter_store(chain: ApplyChain, store: StoreBlock, block: NDArray, *, block_id: BlockId) -> NDArray:
    """Filter a block that carries its halo, and store it without."""
    before, after = chain.pixels(block, block_id)
    region = tuple(
        slice(cut.edges[index], cut.edges[index + 1]) for cut, index in zip(chain.cuts, block_id, strict=True)
    )
    return _array_of_one(store(region, before, after), after.ndim)


def _read_filter_store(
    source: Reader, chain: ApplyChain, store: StoreBlock, batch: int, *, block_id: BlockId
) -> NDArray:
    """Read, filter and store a batch of blocks, from file to file."""
    first = block_id[0] * batch
    blocks = itertools.product(*(range(cut.count) for cut in chain.cuts))
    results = []
    # One after the other: a batch takes the memory of one block and the scheduling of one task.
    for index in itertools.islice(blocks, first, first + batch):
        region = tuple(slice(*cut.reads[i]) for cut, i in zip(chain.cuts, index, strict=True))
        result = _filter_store(chain, store, source.read(region), block_id=index)
        results.append(result.reshape(-1))
    return np.concatenate(results)


def _call(call: Callable[[Any], Any], arguments: tuple[Any, ...], *, block_id: BlockId) -> NDArray:
    return _array_of_one(call(arguments[block_id[0]]), 1)


def _map_blocks(
    call: partial[NDArray], *arrays: da.Array, chunks: tuple[tuple[int, ...], ...], dtype: Any = object
) -> da.Array:
    meta = _meta(len(chunks), dtype)
    return da.map_blocks(call, *arrays, name=_unique_name(call), chunks=chunks, dtype=dtype, meta=meta)


def _unique_name(call: partial[NDArray]) -> str:
    # Without a name Dask pickles and unpickles the call to hash it: a third of the time that a window
    # costs the driver. By the part before the hyphen the scheduler knows tasks of a kind.
    return f"{call.func.__name__.strip('_')}-{uuid.uuid4().hex}"


def _meta(ndim: int, dtype: Any) -> NDArray:
    return np.empty((0,) * ndim, dtype)


def _ones(cuts: tuple[Cut, ...]) -> tuple[tuple[int, ...], ...]:
    return tuple((1,) * cut.count for cut in cuts)


def _array_of_one(result: Any, ndim: int) -> NDArray:
    # Not np.array([result]), which would take a result that is a sequence apart.
    array = np.empty((1,) * ndim, object)
    array[(0,) * ndim] = result
    return array
