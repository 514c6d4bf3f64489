"""Sources as lazy Dask arrays, and lazy images as sources."""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.model.image import Image, ImageSpec
from pipeline.model.tiling import Cut
from pipeline.model.units import Quantity
from pipeline.read.open import open_source
from pipeline.read.select import Selector
from pipeline.read.source import Source
from pipeline.read.spans import Pick

if TYPE_CHECKING:
    import dask.array as da


def lazy_array(source: Source, chunks: tuple[tuple[int, ...], ...]) -> da.Array:
    """Return a source's pixels as a Dask array of the given chunk lengths, one read per chunk."""
    # Dask takes a quarter of a second to import, which a plan of a run does not need.
    import dask.array as da
    from dask.highlevelgraph import HighLevelGraph

    if tuple(map(sum, chunks)) != source.spec.shape:
        raise ValueError(f"chunks {chunks} do not add up to {source.spec.shape}")
    name = f"read-{uuid.uuid4().hex}"
    edges = [tuple(pairwise(np.cumsum((0, *lengths)).tolist())) for lengths in chunks]
    tasks = {
        (name, *(index for index, _ in box)): (source.read, tuple(slice(*edge) for _, edge in box))
        for box in product(*map(enumerate, edges))
    }
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=())
    return da.Array(graph, name, chunks, dtype=source.spec.dtype, shape=source.spec.shape)


def open_image(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    scale: Mapping[str, Quantity] | None = None,
    select: Mapping[str, Selector] | None = None,
    series: int | None = None,
    level: int = 0,
) -> Image:
    """Open an image lazily: its data is a Dask array, chunked as stored.

    Parameters and errors are those of `pipeline.read.open_source`.

    Examples
    --------
    >>> image = open_image("movie.ome.zarr")  # doctest: +SKIP
    >>> image.data, image.axes, image.scale  # doctest: +SKIP
    """
    source = open_source(path, axes=axes, scale=scale, select=select, series=series, level=level)
    chunks = source.store.chunks
    lengths = (_chunk_lengths(pick, chunks[at]) for pick, at in zip(source.picks, source.stored, strict=True))
    return Image(lazy_array(source, tuple(lengths)), source.spec)


def _chunk_lengths(pick: Pick, chunk: int) -> tuple[int, ...]:
    """Return lengths of Dask chunks that end where stored chunks do; a selection may begin inside of one."""
    stored_chunks = np.asarray(pick) // chunk
    edges = np.flatnonzero(np.diff(stored_chunks)) + 1
    return tuple(np.diff([0, *edges.tolist(), len(stored_chunks)]).tolist())


@dataclass(frozen=True)
class LazySource:
    """A lazy image, from `open_image` and steps called on it, that `save` uses as a source."""

    image: Image
    not_carried: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    compression: str = ""

    @property
    def spec(self) -> ImageSpec:
        """The image's spec, with the largest chunks of the Dask array."""
        data = self.image.data
        return self.image.spec.with_(dtype=data.dtype, chunks=tuple(max(sizes) for sizes in data.chunks))

    @property
    def path(self) -> str:
        """A name for messages."""
        return f"a lazy image, {self.image.data.name}"

    def window(self, cuts: tuple[Cut, ...]) -> da.Array:
        """Return the pixels of a window, one Dask chunk per block."""
        pixels = self.image.data[tuple(slice(cut.edges[0], cut.edges[-1]) for cut in cuts)]
        return pixels.rechunk(tuple(cut.kept for cut in cuts))

    def files(self) -> tuple[str, ...]:
        """Return no files: the graph does not tell which it reads."""
        return ()

    def bytes_beside(self, shape: tuple[int, ...]) -> int:
        """Estimate the bytes held besides a block: two chunks of the Dask array."""
        return 2 * math.prod(self.spec.chunks) * self.spec.dtype.itemsize

    def identity(self) -> dict[str, Any]:
        """Return the name of the Dask array, a digest of its graph."""
        return {"array": self.image.data.name}
