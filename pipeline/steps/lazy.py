"""Steps on Dask arrays: a lazy result, of the chunks that came in where they are no shorter than the halo."""

from __future__ import annotations

import itertools

import dask.array as da
import numpy as np

from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.tiling import Cut
from pipeline.steps.chain import ApplyChain
from pipeline.steps.overlap import filtered
from pipeline.steps.step import MEND, Step, chain_halo, register_applier


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


def apply_to_dask(step: Step, array: da.Array, spec: ImageSpec, refuse_nan: bool) -> da.Array:
    """Apply a step to a Dask array, lazily, whatever its chunks.

    Chunks smaller than the halo are merged first, and an axis shorter than the halo becomes
    one chunk: the result's chunks show it.
    """
    if any(np.isnan(size) for size in array.shape):
        raise RequestError(
            "the Dask array has chunks of unknown size", "call compute_chunk_sizes() on it first"
        )
    axes = spec.axes
    resolved = step.resolve(spec)
    halo = chain_halo((resolved,), axes)
    chunks = tuple(merge_chunks(sizes, halo[axis]) for axis, sizes in zip(axes, array.chunks, strict=True))
    native = array.astype(spec.dtype) if array.dtype != spec.dtype else array
    cuts = tuple(_cut_of(sizes, halo[axis]) for axis, sizes in zip(axes, chunks, strict=True))
    return filtered(native.rechunk(chunks), ApplyChain((resolved,), axes, cuts, refuse_nan, MEND))


def _cut_of(chunks: tuple[int, ...], halo: int) -> Cut:
    edges = tuple(int(edge) for edge in np.cumsum((0, *chunks)))
    size = edges[-1]
    reads = tuple((max(0, start - halo), min(size, stop + halo)) for start, stop in itertools.pairwise(edges))
    return Cut(edges, reads)


register_applier("dask", apply_to_dask)
