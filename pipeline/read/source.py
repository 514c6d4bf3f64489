"""An image to read from: cheap to send, and it reads any box of pixels."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model.errors import StoppedError
from pipeline.model.image import ImageSpec, Region, region_shape
from pipeline.read.spans import IndexSpan, Pick, index_spans, longest_span

if TYPE_CHECKING:
    from pipeline.read.missing import Missing


class Store(ABC):
    """Pixels as a format keeps them: its own axes, its own dtype.

    Implementations are frozen and pickle small; what is open stays in the process. `read` is
    called from several threads and processes at once.

    Attributes
    ----------
    shape : tuple of int
        Pixels along each stored axis.
    dtype : numpy.dtype
        What `read` gives, native byte order.
    chunks : tuple of int
        The least that can be read at once.
    shards : tuple of int or None
        Shape of one file of chunks, where the format has such.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None = None

    @abstractmethod
    def read(self, region: Region) -> NDArray:
        """Return the pixels of a region, in the stored axes."""

    def beside(self, spans: tuple[int, ...]) -> int:
        """Return the most bytes that `read` holds beside its pixels: chunks as stored and decoded.

        `spans` is the region's px along each stored axis, wherever it lies.
        """
        return 2 * math.prod(self.chunks) * self.dtype.itemsize

    @abstractmethod
    def files(self) -> tuple[str, ...]:
        """Return the files and folders that hold the pixels."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return, as plain data, what decides the pixels: sizes, times and metadata as they are now."""

    def missing(self, kept: Sequence[Pick]) -> Missing | None:
        """Return what is read as a fill value since no file holds it, of some indices of each axis."""
        return None


@dataclass(frozen=True)
class Source:
    """An image on disk, opened: its spec, and its pixels on demand.

    Parameters
    ----------
    spec : ImageSpec
        With everything applied that the user asked for: axes, scale, series, level, select.
    path : str
        Absolute path or URL of what was opened.
    store : Store
        The pixels as they are kept.
    stored : tuple of int
        For each axis of `spec`, which axis of the store it is. Those left out have length 1.
    picks : tuple of range or tuple of int
        For each axis of `spec`, which stored indices it has.
    extras : tuple of str
        In words, what the data holds and is not carried over, such as labels.
    notes : tuple of str
        What was assumed of the data where it does not say it.
    """

    spec: ImageSpec
    path: str
    store: Store
    stored: tuple[int, ...]
    picks: tuple[Pick, ...]
    extras: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def shards(self) -> tuple[int, ...] | None:
        """Pixels along each axis of one file of chunks, where the input has such."""
        shards = self.store.shards
        return None if shards is None else tuple(shards[axis] for axis in self.stored)

    def files(self) -> tuple[str, ...]:
        """Return the files and folders on disk that hold the pixels."""
        return self.store.files()

    def identity(self) -> dict[str, Any]:
        """Return, as plain data, what decides the pixels, looked up afresh.

        Raises
        ------
        StoppedError
            A file is gone.
        """
        spec = self.spec
        picks = [[p.start, p.stop, p.step] if isinstance(p, range) else list(p) for p in self.picks]
        image = {
            "path": self.path,
            "axes": spec.axes,
            "shape": list(spec.shape),
            "dtype": spec.dtype.name,
            "scale": dict(spec.scale),
            "units": dict(spec.units),
            "stored": list(self.stored),
            "picks": picks,
        }
        try:
            return {**image, **self.store.identity()}
        except OSError as error:
            raise StoppedError(
                f"{error.filename!r} cannot be read: {error.strerror}",
                "make it reachable and run the same command again",
            ) from error

    def missing(self) -> Missing | None:
        """Return how much of this image no file holds, so that a fill value is read instead.

        Raises
        ------
        DataError
            The data says that it was there once, or does not say what it would be.
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
            A start and a stop inside the image for each axis of `spec.axes`.

        Returns
        -------
        numpy.ndarray
            Of the region's shape, `spec.dtype` in native byte order, C-contiguous.

        Raises
        ------
        IndexError
            The region reaches outside the image.
        DataError
            A file does not hold what it did when it was opened, or cannot be decoded.
        StoppedError
            A file cannot be reached.
        """
        self._check(region)
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

    def beside(self, shape: tuple[int, ...]) -> int:
        """Return the most bytes that reading a box of this shape holds beside its pixels, wherever it lies.

        That is the stored chunks that it cuts, also along axes that `select` has cut or thinned, one after
        the other, as stored and decoded; where pixels are left out, moved or widened, what they come from.
        """
        store = self.store
        spans = [1] * len(store.shape)
        for pick, axis, px in zip(self.picks, self.stored, shape, strict=True):
            spans[axis] = longest_span(pick, px, store.chunks[axis])
        beside = store.beside(tuple(spans))
        moved = list(self.stored) != sorted(self.stored)
        whole = all(isinstance(pick, range) and pick.step == 1 for pick in self.picks)
        if whole and not moved and store.dtype == self.spec.dtype:
            return beside
        taken = 0 if whole else math.prod(shape) * store.dtype.itemsize
        return math.prod(spans) * store.dtype.itemsize + max(beside, taken)

    def _check(self, region: Region) -> None:
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
        dropped = tuple(axis for axis in range(raw.ndim) if axis not in self.stored)
        shape = tuple(raw.shape[axis] for axis in self.stored)
        block = raw.transpose(*self.stored, *dropped).reshape(shape)
        return block[np.ix_(*(span.take for span in box))] if any(span.thinned for span in box) else block
