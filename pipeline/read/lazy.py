"""A source as a lazy Dask array."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from itertools import pairwise, product

import dask.array as da
import numpy as np
from dask.highlevelgraph import HighLevelGraph

from pipeline.model.image import Image
from pipeline.model.units import Quantity
from pipeline.read.open import open_source
from pipeline.read.select import Wanted
from pipeline.read.source import Pick, Source


def lazy_array(source: Source, chunks: tuple[tuple[int, ...], ...]) -> da.Array:
    """Return a source's pixels as a Dask array, one read a chunk.

    Parameters
    ----------
    source : Source
        Where from.
    chunks : tuple of tuple of int
        Lengths of the chunks along each axis.
    """
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


def stored_chunks(source: Source) -> tuple[tuple[int, ...], ...]:
    """Return chunks of the image that do not share a stored chunk.

    A selection that begins inside a stored chunk has a short first one.
    """
    return tuple(
        _chunk_lengths(pick, source.store.chunks[axis])
        for pick, axis in zip(source.picks, source.stored, strict=True)
    )


def _chunk_lengths(pick: Pick, chunk: int) -> tuple[int, ...]:
    homes = np.asarray(pick) // chunk
    edges = np.flatnonzero(np.diff(homes)) + 1
    return tuple(np.diff([0, *edges.tolist(), len(homes)]).tolist())


def open_image(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    scale: Mapping[str, Quantity] | None = None,
    select: Mapping[str, Wanted] | None = None,
    series: int | None = None,
    level: int = 0,
) -> Image:
    """Open an image lazily: its data is a Dask array with one chunk a stored chunk.

    Parameters and errors are those of `open_source`.

    Examples
    --------
    >>> image = open_image("movie.ome.zarr")  # doctest: +SKIP
    >>> image.data, image.axes, image.scale  # doctest: +SKIP
    """
    source = open_source(path, axes=axes, scale=scale, select=select, series=series, level=level)
    return Image(lazy_array(source, stored_chunks(source)), source.spec)
