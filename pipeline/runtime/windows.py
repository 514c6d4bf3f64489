"""Dask graphs of a window: read, overlap, filter, trim, store.

Blocks that need no neighbour (whole planes) are tasks from file to file. Where planes are cut, each
chunk is read once, `map_overlap` brings every block the halo of its neighbours, and one task filters,
trims and stores it. Computed, the arrays hold one result of `store` a block.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from pipeline.model.image import Region
from pipeline.model.tiling import Cut
from pipeline.runtime.tasks import Reader, StoreBlock, call_one, filter_store, read_chunk, read_filter_store
from pipeline.steps.chain import ApplyChain
from pipeline.steps.overlap import map_chain, overlap_depth


def window_tasks(source: Reader, chain: ApplyChain, store: StoreBlock, batch: int = 1) -> da.Array:
    """Return the reading, filtering and storing of a window's blocks, lazily.

    Where no block needs its neighbours, a task does `batch` of them. The array holds the results of
    `store`, in the order of the blocks.
    """
    cuts = chain.cuts
    if not any(overlap_depth(chain).values()):
        count = math.prod(cut.count for cut in cuts)
        batches = tuple(min(batch, count - first) for first in range(0, count, batch))
        return _calls(partial(read_filter_store, source, chain, store, batch), batches)
    chunks, dtype = tuple(cut.chunks for cut in cuts), source.spec.dtype
    pixels = _map_blocks(partial(read_chunk, source, cuts), chunks=chunks, dtype=dtype)
    call = partial(filter_store, chain, store)
    meta = _meta(len(cuts), object)
    return map_chain(
        pixels, chain, call, name=_unique_name(call), chunks=_ones(cuts), dtype=object, meta=meta
    )


def store_tasks(pixels: da.Array, cuts: tuple[Cut, ...], store: StoreBlock) -> da.Array:
    """Return the storing of a window that another Dask graph computes, one chunk a block, lazily."""

    def store_result(region: Region, before: NDArray | None, after: NDArray) -> Any:
        return store(region, None, after)  # the pixels before the filters are not known here

    return _map_blocks(
        partial(filter_store, ApplyChain((), "", cuts), store_result), pixels, chunks=_ones(cuts)
    )


def call_tasks(call: Callable[[Any], Any], arguments: Sequence[Any]) -> da.Array:
    """Return the calls of a function, each with one of the arguments, lazily."""
    return _calls(partial(call_one, call, tuple(arguments)), (1,) * len(arguments))


def _calls(call: partial[NDArray], lengths: tuple[int, ...]) -> da.Array:
    """Return an array of one axis whose chunks are the results of calls."""
    # `map_blocks` would do, but its tasks make each worker import Dask's arrays: a quarter of its start.
    name = _unique_name(call)
    tasks = {(name, i): (partial(call, block_id=(i,)),) for i in range(len(lengths))}
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=())
    return da.Array(graph, name, (lengths,), meta=_meta(1, object))


def _map_blocks(
    call: partial[NDArray], *arrays: da.Array, chunks: tuple[tuple[int, ...], ...], dtype: Any = object
) -> da.Array:
    meta = _meta(len(chunks), dtype)
    return da.map_blocks(call, *arrays, name=_unique_name(call), chunks=chunks, dtype=dtype, meta=meta)


def _unique_name(call: partial[NDArray]) -> str:
    # Without a name Dask pickles and unpickles the call to hash it: a third of the time that a window
    # costs the driver. By the part before the hyphen the scheduler knows tasks of a kind.
    return f"{call.func.__name__}-{uuid.uuid4().hex}"


def _meta(ndim: int, dtype: Any) -> NDArray:
    return np.empty((0,) * ndim, dtype)


def _ones(cuts: tuple[Cut, ...]) -> tuple[tuple[int, ...], ...]:
    return tuple((1,) * cut.count for cut in cuts)
