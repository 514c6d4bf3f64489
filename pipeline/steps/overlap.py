"""Chains of steps on Dask arrays, through `dask.array.map_overlap`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.tiling import Cut
from pipeline.steps.chain import ApplyChain, chain_dtype, chain_halo
from pipeline.steps.contract import StepContract


def overlap_depth(chain: ApplyChain) -> dict[int, int]:
    """Return the halo along each axis, 0 along axes that are not cut."""
    halo = chain_halo(chain.steps, chain.axes)
    # At depth 0 map_overlap is a map_blocks, and Dask fuses reading, filtering and writing into one task.
    return {
        index: halo[axis] if cut.count > 1 else 0
        for index, (axis, cut) in enumerate(zip(chain.axes, chain.cuts, strict=True))
    }


def map_chain(array: da.Array, chain: ApplyChain, call: Callable[..., NDArray], **result: Any) -> da.Array:
    """Call a function on each block of an array and its halo.

    The array's chunks are those of `chain.cuts`; `result` is handed to `map_overlap`.
    """
    return da.map_overlap(
        call, array, depth=overlap_depth(chain), boundary="none", trim=False, allow_rechunk=False, **result
    )


def merge_chunks(chunks: tuple[int, ...], least: int) -> tuple[int, ...]:
    """Merge neighbouring chunks until each holds `least` pixels, or there is one.

    >>> merge_chunks((4, 4, 4, 4, 2), 6)
    (8, 10)
    """
    merged: list[int] = []
    size = 0
    for chunk in chunks:
        size += chunk
        if size >= least:
            merged.append(size)
            size = 0
    if size:
        merged = [*merged[:-1], merged[-1] + size] if merged else [size]
    return tuple(merged)


def apply_to_dask(
    step: StepContract, array: da.Array, spec: ImageSpec, refuse_nan: bool, hint: str
) -> da.Array:
    """Apply a step to a Dask array, lazily.

    Chunks smaller than the halo are merged, so the result may have fewer and larger chunks.
    """
    if any(np.isnan(size) for size in array.shape):
        raise RequestError(
            "the Dask array has chunks of unknown size", "call compute_chunk_sizes() on it first"
        )
    steps = (step.resolve(spec),)
    halo = chain_halo(steps, spec.axes)
    cuts = tuple(
        _cut(merge_chunks(sizes, halo[axis]), halo[axis])
        for axis, sizes in zip(spec.axes, array.chunks, strict=True)
    )
    chunks = tuple(cut.kept for cut in cuts)
    native = array.astype(spec.dtype) if array.dtype != spec.dtype else array
    chain = ApplyChain(steps, spec.axes, cuts, refuse_nan, hint)
    dtype = chain_dtype(steps, spec.dtype)
    meta = np.empty((0,) * array.ndim, dtype)
    return map_chain(native.rechunk(chunks), chain, chain, chunks=chunks, dtype=dtype, meta=meta)


def _cut(chunks: tuple[int, ...], halo: int) -> Cut:
    edges = tuple(int(edge) for edge in np.cumsum((0, *chunks)))
    size = edges[-1]
    reads = tuple((max(0, start - halo), min(size, stop + halo)) for start, stop in itertools.pairwise(edges))
    return Cut(edges, reads)
