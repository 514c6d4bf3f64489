"""The interface of an input: `Store`, pixels in a file format, and `Source`, the image a user asked for."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model.errors import StoppedError
from pipeline.model.image import ImageSpec, Region, region_shape
from pipeline.read.spans import IndexSpan, Pick, index_spans, longest_span


@dataclass(frozen=True)
class Missing:
    """Chunks that are read as the fill value because no file holds them."""

    chunks: int
    of: int  # chunks looked at
    first: str  # grid index of the first missing chunk
    fill: str

    def __str__(self) -> str:
        return (
            f"{self.chunks} of {self.of} chunks are not there and are read as {self.fill} (the fill value), "
            f"chunk {self.first} the first"
        )


class Store(ABC):
    """Pixels in a file format, with the axes and dtype of the file.

    Implementations are frozen and pickle small: open files stay in their process. `read` is called
    from several threads and processes at once.

    Attributes
    ----------
    shape : tuple of int
        Pixels along each stored axis.
    dtype : numpy.dtype
        Of what `read` returns, in native byte order.
    chunks : tuple of int
        Shape of the smallest piece that can be read.
    shards : tuple of int or None
        Shape of a file with several chunks, where the format has such files.
    compression : str
        Name of the compression of a format where some take long to decode; else empty.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None = None
    compression: str = ""

    @abstractmethod
    def read(self, region: Region) -> NDArray:
        """Read a region of the stored axes."""

    def bytes_beside(self, spans: tuple[int, ...]) -> int:
        """Return the most bytes that `read` holds besides its result: chunks as stored and decoded.

        `spans` is the region's length in px along each stored axis; it may lie anywhere.
        """
        return 2 * math.prod(self.chunks) * self.dtype.itemsize

    @abstractmethod
    def files(self) -> tuple[str, ...]:
        """Return the files and folders that hold the pixels."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return, as plain data, what the pixels depend on: sizes, times and metadata as they are now."""

    def missing(self, kept: Sequence[Pick]) -> Missing | None:
        """Count chunks without a file among those that hold the `kept` indices of each stored axis."""
        return None


@dataclass(frozen=True)
class Source:
    """An opened image: its spec, and its pixels on demand.

    Parameters
    ----------
    spec : ImageSpec
        The image after the user's axes, scale, series, level and selection.
    path : str
        Absolute path or URL.
    store : Store
        The stored pixels.
    stored : tuple of int
        The stored axis of each axis of `spec`. Stored axes that are left out have length 1.
    picks : tuple of range or tuple of int
        The stored indices of each axis of `spec`.
    not_carried : tuple of str
        What the data holds and an output will not, such as labels, in words.
    notes : tuple of str
        What was assumed where the data does not say it.
    """

    spec: ImageSpec
    path: str
    store: Store
    stored: tuple[int, ...]
    picks: tuple[Pick, ...]
    not_carried: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def shards(self) -> tuple[int, ...] | None:
        """Shape of a file with several chunks along the axes of `spec`, or None."""
        shards = self.store.shards
        return None if shards is None else tuple(shards[axis] for axis in self.stored)

    @property
    def compression(self) -> str:
        """Name of the compression of the pixels, see `Store`."""
        return self.store.compression

    def files(self) -> tuple[str, ...]:
        """Return the files and folders that hold the pixels."""
        return self.store.files()

    def identity(self) -> dict[str, Any]:
        """Return, as plain data, what the pixels depend on, looked up anew.

        Raises
        ------
        StoppedError
            A file is gone.
        """
        spec = self.spec
        image = {
            "path": self.path,
            "axes": spec.axes,
            "shape": list(spec.shape),
            "dtype": spec.dtype.name,
            "scale": dict(spec.scale),
            "units": dict(spec.units),
            "stored": list(self.stored),
            "picks": [
                [pick.start, pick.stop, pick.step] if isinstance(pick, range) else list(pick)
                for pick in self.picks
            ],
        }
        try:
            return {**image, **self.store.identity()}
        except OSError as error:
            raise StoppedError(
                f"{error.filename!r} cannot be read: {error.strerror}",
                "make it reachable and run the same command again",
            ) from error

    def missing(self) -> Missing | None:
        """Count the chunks of this image that no file holds, so that a fill value is read instead.

        Raises
        ------
        DataError
            Such a chunk is known to have existed, or there is no fill value.
        """
        kept: list[Pick] = [range(1)] * len(self.store.shape)
        for pick, axis in zip(self.picks, self.stored, strict=True):
            kept[axis] = pick
        return self.store.missing(kept)

    def read(self, region: Region) -> NDArray:
        """Read a box of pixels.

        Parameters
        ----------
        region : tuple of slice
            Start and stop inside the image for each axis of `spec.axes`.

        Returns
        -------
        numpy.ndarray
            Of the region's shape, `spec.dtype` in native byte order, C-contiguous.

        Raises
        ------
        IndexError
            The region reaches outside the image.
        DataError
            A file has changed since it was opened, or cannot be decoded.
        StoppedError
            A file cannot be reached.
        """
        self._check_inside(region)
        spans = [
            index_spans(pick[cut.start : cut.stop], self.store.chunks[axis])
            for pick, cut, axis in zip(self.picks, region, self.stored, strict=True)
        ]
        if all(len(axis_spans) == 1 for axis_spans in spans):
            block = self._read_spans([axis_spans[0] for axis_spans in spans])
            return np.ascontiguousarray(block, dtype=self.spec.dtype)
        result = np.empty(region_shape(region), self.spec.dtype)
        for box in product(*spans):
            result[tuple(span.target for span in box)] = self._read_spans(box)
        return result

    def bytes_beside(self, shape: tuple[int, ...]) -> int:
        """Return the most bytes that reading a box of this shape holds besides its result."""
        store = self.store
        spans = [1] * len(store.shape)
        for pick, axis, px in zip(self.picks, self.stored, shape, strict=True):
            spans[axis] = longest_span(pick, px, store.chunks[axis])
        stored = store.bytes_beside(tuple(spans))
        transposed = list(self.stored) != sorted(self.stored)
        contiguous = all(isinstance(pick, range) and pick.step == 1 for pick in self.picks)
        if contiguous and not transposed and store.dtype == self.spec.dtype:
            return stored
        # The result is a copy: of all that was read, or of the pixels taken from that.
        taken = 0 if contiguous else math.prod(shape) * store.dtype.itemsize
        return math.prod(spans) * store.dtype.itemsize + max(stored, taken)

    def _check_inside(self, region: Region) -> None:
        inside = len(region) == len(self.spec.shape) and all(
            cut.step in (None, 1) and 0 <= cut.start <= cut.stop <= size
            for cut, size in zip(region, self.spec.shape, strict=True)
        )
        if not inside:
            raise IndexError(f"{region} reaches outside {self.spec.shape}")

    def _read_spans(self, box: Sequence[IndexSpan]) -> NDArray:
        region = [slice(0, 1)] * len(self.store.shape)
        for span, axis in zip(box, self.stored, strict=True):
            region[axis] = span.read
        raw = self.store.read(tuple(region))
        # Stored axes that are left out have length 1: they go last and are dropped.
        left_out = tuple(axis for axis in range(raw.ndim) if axis not in self.stored)
        shape = tuple(raw.shape[axis] for axis in self.stored)
        block = raw.transpose(*self.stored, *left_out).reshape(shape)
        return block[np.ix_(*(span.take for span in box))] if any(span.thinned for span in box) else block
