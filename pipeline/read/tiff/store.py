"""A stack of planes in TIFF files: where each plane is stored, and how a region is read."""

from __future__ import annotations

import lzma
import os
import pickle
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model.errors import DataError, StoppedError
from pipeline.model.image import Region, region_shape
from pipeline.model.machine import is_too_many_files, open_files_hint
from pipeline.model.text import first_line
from pipeline.model.timing import spending
from pipeline.read.content import content_of
from pipeline.read.files import stamp
from pipeline.read.source import Store
from pipeline.read.tiff.handles import quiet_log, tiff_handle
from pipeline.read.tiff.page import SPAN, kind_text, page_kind, read_page, read_rows

# Where a plane is stored; one record a plane, since a movie may have a million of them.
PLANE_DTYPE = np.dtype(
    [
        ("file", "i4"),  # index of its file
        ("page", "i4"),  # index of its page in that file
        ("subifd", "i4"),  # index of a sub-page of that page, which holds a coarser level, or -1
        ("offset", "i8"),  # position of the pixels if they are uncompressed and in one piece, or -1
        ("big_endian", "i1"),
        ("sparse", "i1"),  # strips or tiles are missing, and read as 0
    ]
)


@dataclass(frozen=True, eq=False)
class TiffStore(Store):
    """A stack of TIFF planes."""

    paths: tuple[str, ...]  # absolute
    planes: NDArray  # of PLANE_DTYPE, in the shape of the leading axes
    shape: tuple[int, ...]  # the leading axes, then rows and columns of a plane
    dtype: np.dtype  # in native byte order
    chunks: tuple[int, ...]
    note: str = ""  # tells stacks in the same files apart
    segment: int = 0  # bytes that decoding one strip or tile takes; 0 if all planes are uncompressed
    compression: str = ""  # its name, empty if all planes are uncompressed

    def __post_init__(self) -> None:
        assert self.planes.shape == self.shape[:-2]

    def bytes_beside(self, spans: tuple[int, ...]) -> int:
        """Return the most bytes that a read holds beside its result: strips as stored, one decoded."""
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
        index: tuple[Any, ...] = (*lead, ...)
        planes = self.planes[index]
        for position in np.ndindex(planes.shape):
            with spending("read"):
                self._read_plane(planes[position], ys, xs, result[position])
        return result

    def _read_plane(self, plane: Any, ys: slice, xs: slice, target: NDArray) -> None:
        """Read a region of the plane that a record of PLANE_DTYPE describes."""
        path = self.paths[plane["file"]]
        try:
            self._fill(plane, ys, xs, target)
        except DataError:
            raise
        except EOFError as error:
            raise DataError(f"{path!r} is truncated: {error}", "copy or export it again") from error
        except OSError as error:
            reason, hint = "it is gone", "bring it back and run the same command again"
            if is_too_many_files(error):
                reason, hint = (
                    "too many files are open",
                    f"{open_files_hint()}, and run the same command again",
                )
            elif os.path.exists(path):
                reason = error.strerror or str(error)
                hint = "make it readable and run the same command again"
            raise StoppedError(f"{path!r} cannot be read: {reason}", hint) from error
        # Each codec raises errors of its own library; all of them mean that the page is damaged.
        except Exception as error:
            message = f"page {plane['page']} of {path!r} cannot be decoded: {first_line(error)}"
            raise DataError(message, "copy or export it again") from error

    def _fill(self, plane: Any, ys: slice, xs: slice, target: NDArray) -> None:
        path, index, offset = self.paths[plane["file"]], int(plane["page"]), int(plane["offset"])
        handle = tiff_handle(path)
        if offset >= 0:
            # Without its header: a movie may have a page a plane, and each header costs a read and a parse.
            dtype = self.dtype.newbyteorder(">" if plane["big_endian"] else "<")
            read_rows(handle, offset, self.shape[-1], dtype, ys, xs, target)
            return
        page = handle.page(index, int(plane["subifd"]))
        kind, expected = page_kind(page), (self.shape[-2:], self.dtype, 1)
        if kind != expected:
            raise DataError(
                f"page {index} of {path!r} is {kind_text(kind)}, and the others are {kind_text(expected)}",
                "leave it out, or convert it",
            )
        with quiet_log():
            read_page(handle, page, ys, xs, target)

    def files(self) -> tuple[str, ...]:
        """Return the paths of the files."""
        return self.paths

    def identity(self) -> dict[str, Any]:
        """Return name, size and modification time (ns) of each file, and a digest of their content."""
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
        # A store travels with every task. Differences of neighbouring planes are mostly the same
        # number, and names differ in a number only: a thousand planes compress to some bytes.
        flat = self.planes.ravel()
        steps = [np.diff(flat[name], prepend=flat[name].dtype.type(0)) for name in PLANE_DTYPE.names or ()]
        rest = self.shape, self.dtype, self.chunks, self.note, self.segment, self.compression
        return lzma.compress(pickle.dumps(("\0".join(self.paths), steps, *rest)), preset=1)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpack, (self._packed,)


@lru_cache(maxsize=16)
def _unpack(packed: bytes) -> TiffStore:
    """Return a store from its pickle; a process that gets many copies keeps one."""
    names, steps, shape, *rest = pickle.loads(lzma.decompress(packed))
    planes = np.empty(shape[:-2], PLANE_DTYPE)
    for name, values in zip(PLANE_DTYPE.names or (), steps, strict=True):
        planes[name] = np.cumsum(values, dtype=values.dtype).reshape(planes.shape)
    return TiffStore(tuple(names.split("\0")), planes, shape, *rest)
