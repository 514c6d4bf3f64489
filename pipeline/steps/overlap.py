"""Chains over Dask arrays: each block is filtered with its halo, which `map_overlap` brings."""

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
    """Return the halo along each axis, 0 where a window holds it in one block."""
    halo = chain_halo(chain.steps, chain.axes)
    return {
        index: halo[axis] if cut.count > 1 else 0
        for index, (axis, cut) in enumerate(zip(chain.axes, chain.cuts, strict=True))
    }


def overlapped(array: da.Array, chain: ApplyChain, call: Callable[..., NDArray], **result: Any) -> da.Array:
    """Return a function called on each block with its halo; the array's chunks are `chain.cuts`'."""
    return da.map_overlap(
        call, array, depth=overlap_depth(chain), boundary="none", trim=False, allow_rechunk=False, **result
    )


def merge_chunks(chunks: tuple[int, ...], least: int) -> tuple[int, ...]:
    """Merge neighbouring chunks until each holds `least` pixels, or there is one.

    >>> merge_chunks((4, 4, 4, 4, 2), 6)
    (8, 10)
    """
    merged: list[int] = []
    held = 0
    for chunk in chunks:
        held += chunk
        if held >= least:
            merged.append(held)
            held = 0
    if held:
        merged = [*merged[:-1], merged[-1] + held] if merged else [held]
    return tuple(merged)


def apply_to_dask(
    step: StepContract, array: da.Array, spec: ImageSpec, refuse_nan: bool, mend: str
) -> da.Array:
    """Apply a step to a Dask array, lazily.

    Chunks smaller than the halo are merged first, and an axis shorter than the halo becomes
    one chunk: the result's chunks show it.
    """
    if any(np.isnan(size) for size in array.shape):
        raise RequestError(
            "the Dask array has chunks of unknown size", "call compute_chunk_sizes() on it first"
        )
    steps = (step.resolve(spec),)
    halo = chain_halo(steps, spec.axes)
    cuts = tuple(
        _cut_of(merge_chunks(sizes, halo[axis]), halo[axis])
        for axis, sizes in zip(spec.axes, array.chunks, strict=True)
    )
    chunks = tuple(cut.kept for cut in cuts)
    native = array.astype(spec.dtype) if array.dtype != spec.dtype else array
    chain = ApplyChain(steps, spec.axes, cuts, refuse_nan, mend)
    dtype = chain_dtype(steps, spec.dtype)
    meta = np.empty((0,) * array.ndim, dtype)
    return overlapped(native.rechunk(chunks), chain, chain, chunks=chunks, dtype=dtype, meta=meta)


def _cut_of(chunks: tuple[int, ...], halo: int) -> Cut:
    edges = tuple(int(edge) for edge in np.cumsum((0, *chunks)))
    size = edges[-1]
    reads = tuple((max(0, start - halo), min(size, stop + halo)) for start, stop in itertools.pairwise(edges))
    return Cut(edges, reads)
