"""A lazy image in the place of an input file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import dask.array as da

from pipeline.model.image import Image, ImageSpec
from pipeline.model.tiling import Cut


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
