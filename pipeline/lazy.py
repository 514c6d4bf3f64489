"""Steps on Dask arrays: a lazy result, of the chunks that came in where they are no shorter than the halo."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np

from pipeline.errors import RequestError
from pipeline.graph import filtered
from pipeline.image import Image, ImageSpec
from pipeline.step import MEND, Step, chain_halo, register_applier
from pipeline.task import ApplyChain
from pipeline.tiling import Cut


@dataclass(frozen=True)
class LazySource:
    """A lazy image in the place of an input: `save` runs over it.

    Parameters
    ----------
    image : Image
        From `open_image`, and steps called on it.
    """

    image: Image

    @property
    def spec(self) -> ImageSpec:
        """What it is; its chunks are the largest of the Dask array's."""
        data = self.image.data
        return self.image.spec.with_(dtype=data.dtype, chunks=tuple(max(sizes) for sizes in data.chunks))

    @property
    def path(self) -> str:
        """For the reader."""
        return f"a lazy image, {self.image.data.name}"

    def window(self, cuts: tuple[Cut, ...]) -> da.Array:
        """Return the pixels of a window, one chunk a block."""
        part = self.image.data[tuple(slice(cut.edges[0], cut.edges[-1]) for cut in cuts)]
        return part.rechunk(tuple(cut.kept for cut in cuts))

    def files(self) -> tuple[str, ...]:
        """Return none: what it is made of is not known."""
        return ()

    def beside(self, shape: tuple[int, ...]) -> int:
        """Return what two chunks of the Dask array take: of what it is made of nothing is known."""
        return 2 * math.prod(self.spec.chunks) * self.spec.dtype.itemsize

    def identity(self) -> dict[str, Any]:
        """Return the name of the Dask array, which is made of all that it is computed from."""
        return {"array": self.image.data.name}

    def extras(self) -> tuple[str, ...]:
        """Return nothing."""
        return ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing is assumed."""
        return ()


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
