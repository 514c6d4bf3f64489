"""The functions of a window's tasks. Dask passes `block_id`, the number of the block along each axis.

Workers import this module, so it does without Dask's arrays, which take as long to import as the rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.model.image import ImageSpec, Region
from pipeline.model.tiling import Cut
from pipeline.steps.chain import ApplyChain, BlockId

# `(region, pixels read, pixels made) → result`: writes a finished block. Picklable.
StoreBlock = Callable[[Region, "NDArray | None", NDArray], Any]


class Reader(Protocol):
    """Image that tasks read regions of. Picklable."""

    @property
    def spec(self) -> ImageSpec:
        """The image."""

    def read(self, region: Region) -> NDArray:
        """Return the pixels of a region."""


def read_chunk(source: Reader, cuts: tuple[Cut, ...], *, block_id: BlockId) -> NDArray:
    """Read a chunk of a window: each pixel once, with the window's outer halo at its ends."""
    region = []
    for cut, index in zip(cuts, block_id, strict=True):
        start = cut.begin + sum(cut.chunks[:index])
        region.append(slice(start, start + cut.chunks[index]))
    return source.read(tuple(region))


def filter_store(chain: ApplyChain, store: StoreBlock, block: NDArray, *, block_id: BlockId) -> NDArray:
    """Filter a block that carries its halo, and store it without."""
    before, after = chain.pixels(block, block_id)
    region = tuple(
        slice(cut.edges[index], cut.edges[index + 1]) for cut, index in zip(chain.cuts, block_id, strict=True)
    )
    return _array_of_one(store(region, before, after), after.ndim)


def read_filter_store(
    source: Reader, chain: ApplyChain, store: StoreBlock, batch: int, *, block_id: BlockId
) -> NDArray:
    """Read, filter and store a batch of blocks, from file to file."""
    first = block_id[0] * batch
    blocks = itertools.product(*(range(cut.count) for cut in chain.cuts))
    results = []
    # One after the other: a batch takes the memory of one block and the scheduling of one task.
    for index in itertools.islice(blocks, first, first + batch):
        region = tuple(slice(*cut.reads[i]) for cut, i in zip(chain.cuts, index, strict=True))
        result = filter_store(chain, store, source.read(region), block_id=index)
        results.append(result.reshape(-1))
    return np.concatenate(results)


def call_one(call: Callable[[Any], Any], arguments: tuple[Any, ...], *, block_id: BlockId) -> NDArray:
    """Call a function with the argument of a block."""
    return _array_of_one(call(arguments[block_id[0]]), 1)


def _array_of_one(result: Any, ndim: int) -> NDArray:
    # Not np.array([result]), which would take a result that is a sequence apart.
    array = np.empty((1,) * ndim, object)
    array[(0,) * ndim] = result
    return array
