"""A stack of planes in TIFF files: where each plane lies, and how it is read."""

from __future__ import annotations

import lzma
import math
import os
import pickle
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model.errors import DataError, StoppedError
from pipeline.model.image import Region, region_shape
from pipeline.model.machine import more_files, too_many_open
from pipeline.model.text import first_line
from pipeline.model.timing import spending
from pipeline.read.content import content_of
from pipeline.read.files import stamp
from pipeline.read.source import Store
from pipeline.read.tiff.handles import quiet_log, tiff_handle
from pipeline.read.tiff.page import SPAN, kind_text, page_kind, read_page, read_rows


@dataclass(frozen=True)
class Raw:
    """Planes stored raw, at positions known beforehand: they need no page header.

    Parameters
    ----------
    starts : numpy.ndarray
        int64, for each file the position of its plane 0.
    stride : int
        From one plane of a file to the next.
    byteorder : str
        < or >.
    """

    starts: NDArray
    stride: int
    byteorder: str


@dataclass(frozen=True)
class Planes:
    """Where the planes of a stack lie.

    Parameters
    ----------
    file : numpy.ndarray
        int32, for each plane which file holds it.
    page : numpy.ndarray
        int32, for each plane which page of the file it is (for raw ones, which plane).
    subifd : int
        -1, or which sub-page of that page: a coarser level.
    raw : Raw, optional
        Where they are stored raw, evenly spaced.
    """

    file: NDArray
    page: NDArray
    subifd: int = -1
    raw: Raw | None = None


@dataclass(frozen=True, eq=False)
class TiffStore(Store):
    """A stack of TIFF planes.

    Parameters
    ----------
    paths : tuple of str
        The files, absolute.
    planes : Planes
        Where each plane lies, in C order of the leading axes.
    shape : tuple of int
        The leading axes, then rows and columns of a plane.
    dtype : numpy.dtype
        Native byte order.
    chunks : tuple of int
        One plane, or part of one where planes are huge.
    note : str
        What tells this stack from others in the same files.
    segment : int
        Bytes that decoding one strip or tile takes; 0 where planes are stored raw.
    """

    paths: tuple[str, ...]
    planes: Planes
    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...]
    note: str = ""
    segment: int = 0

    def __post_init__(self) -> None:
        assert len(self.planes.file) == len(self.planes.page) == math.prod(self.shape[:-2])

    def beside(self, spans: tuple[int, ...]) -> int:
        """Return the most bytes that reading holds beside its pixels: strips as stored, one decoded."""
        row = self.shape[-1] * self.dtype.itemsize
        if not self.segment and spans[-1] == self.shape[-1]:
            return 0
        return min(max(SPAN, row), self.shape[-2] * row) + self.segment

    def read(self, region: Region) -> NDArray:
        """Return the pixels of a region."""
        *lead, ys, xs = region
        result = np.empty(region_shape(region), self.dtype)
        if not result.size:
            return result
        planes = self.planes
        index: tuple[Any, ...] = (*lead, ...)
        files, pages = (array.reshape(self.shape[:-2])[index] for array in (planes.file, planes.page))
        for position in np.ndindex(pages.shape):
            with spending("read"):
                self._read_plane(int(files[position]), int(pages[position]), ys, xs, result[position])
        return result

    def _read_plane(self, file: int, page: int, ys: slice, xs: slice, target: NDArray) -> None:
        path = self.paths[file]
        try:
            self._fill(file, page, ys, xs, target)
        except DataError:
            raise
        except EOFError as error:
            raise DataError(f"{path!r} is truncated: {error}", "copy or export it again") from error
        except OSError as error:
            reason, mend = "it is gone", "bring it back and run the same command again"
            if too_many_open(error):
                reason, mend = "too many files are open", f"{more_files()}, and run the same command again"
            elif os.path.exists(path):
                reason = error.strerror or str(error)
                mend = "make it readable and run the same command again"
            raise StoppedError(f"{path!r} cannot be read: {reason}", mend) from error
        # The decoders raise whatever their libraries do; each of them means that this page is damaged.
        except Exception as error:
            what = f"page {page} of {path!r} cannot be decoded: {first_line(error)}"
            raise DataError(what, "copy or export it again") from error

    def _fill(self, file: int, index: int, ys: slice, xs: slice, target: NDArray) -> None:
        path, raw = self.paths[file], self.planes.raw
        handle = tiff_handle(path)
        if raw is not None:
            dtype = self.dtype.newbyteorder(raw.byteorder)  # type: ignore[arg-type]  # "<" or ">"
            offset = int(raw.starts[file]) + index * raw.stride
            read_rows(handle, offset, self.shape[-1], dtype, ys, xs, target)
            return
        page = handle.page(index, self.planes.subifd)
        kind, expected = page_kind(page), (self.shape[-2:], self.dtype, 1)
        if kind != expected:
            raise DataError(
                f"page {index} of {path!r} is {kind_text(kind)}, and the others are {kind_text(expected)}",
                "leave it out, or convert it",
            )
        with quiet_log():
            read_page(handle, page, ys, xs, target)

    def files(self) -> tuple[str, ...]:
        """Return the files."""
        return self.paths

    def identity(self) -> dict[str, Any]:
        """Return name, size and time of change (ns) of each file, and a digest of what they hold."""
        folder = os.path.commonpath([os.path.dirname(path) for path in self.paths])
        stamps = [stamp(path) for path in self.paths]
        members = [
            {"name": os.path.relpath(path, folder), "bytes": size, "mtime_ns": time}
            for path, (size, time) in zip(self.paths, stamps, strict=True)
        ]
        content = content_of([(path, size) for path, (size, _) in zip(self.paths, stamps, strict=True)])
        return {"format": "tiff", "folder": folder, "stack": self.note, "files": members, **content}

    @cached_property
    def _packed(self) -> bytes:
        planes = self.planes
        # Neighbouring planes lie next to each other: their differences, and names that only
        # differ in a number, shrink to some bytes a thousand.
        steps = [np.diff(values, prepend=np.int32(0)) for values in (planes.file, planes.page)]
        places = ("\0".join(self.paths), steps, planes.subifd, planes.raw)
        rest = self.shape, self.dtype, self.chunks, self.note, self.segment
        return lzma.compress(pickle.dumps((places, *rest)), preset=1)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpack, (self._packed,)


@lru_cache(maxsize=16)
def _unpack(packed: bytes) -> TiffStore:
    """Return a store from its pickle; a process that gets many copies keeps one."""
    (names, steps, subifd, raw), *rest = pickle.loads(lzma.decompress(packed))
    file, page = (np.cumsum(values, dtype=np.int32) for values in steps)
    return TiffStore(tuple(names.split("\0")), Planes(file, page, subifd, raw), *rest)
