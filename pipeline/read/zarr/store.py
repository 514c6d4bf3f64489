"""Zarr arrays: opened once in each process, read region by region."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.model.errors import DataError, StoppedError
from pipeline.model.image import Region
from pipeline.model.text import first_line
from pipeline.read.content import content_of, listing_of
from pipeline.read.files import stamp, unreadable
from pipeline.read.source import Missing, Pick, Store
from pipeline.read.zarr.missing import missing_chunks
from pipeline.read.zarr.nodes import check_shape, files_below, joined_path, open_node, quietly, storage
from pipeline.read.zarr.remote import object_in_parts, objects_of, url_storage, whole_object
from pipeline.storage.chunks import ChunkArray, ChunkError
from pipeline.storage.files import METADATA_FILES, open_blob
from pipeline.storage.from_zarr import chunk_array

_CONCURRENT_REQUESTS = 10  # for objects behind a URL, each of which waits for an answer

_opening = threading.Lock()


@dataclass(frozen=True)
class ZarrStore(Store):
    """An array of Zarr 2 or 3, sharded or not."""

    root: str  # folder or URL of the Zarr
    path: str  # of the array in it; empty for the root itself
    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...]  # of the shards, if there are any
    shards: tuple[int, ...] | None = None

    @classmethod
    def of(cls, array: zarr.Array, root: str, path: str) -> ZarrStore:
        """Describe an open array."""
        return cls(root, path, array.shape, array.dtype.newbyteorder("="), array.chunks, array.shards)

    @property
    def where(self) -> str:
        """Folder or URL of the array."""
        return joined_path(self.root, self.path)

    def bytes_beside(self, spans: tuple[int, ...]) -> int:
        """Return the most bytes that reading a region holds beside its pixels."""
        return self._opened().bytes_beside(spans)

    def read(self, region: Region) -> NDArray:
        """Return the pixels of a region."""
        try:
            array = self._opened()
            if array.shape != self.shape:
                raise DataError(f"{self.where!r} has changed since it was opened", "run the command again")
            block = array.read(region)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoppedError(
                f"{self.where!r} cannot be read: {reason}", "make it reachable and run the same command again"
            ) from error
        except ChunkError as error:
            edges = ", ".join(f"{part.start}:{part.stop}" for part in region)
            raise DataError(
                f"{self.where!r} cannot be decoded at [{edges}]: {error}", "copy or export it again"
            ) from error
        return _native(block).astype(self.dtype, copy=False)

    def _opened(self) -> ChunkArray:
        stamped = _array_stamp(self.where)
        try:
            with _opening:
                return _array(self.root, self.path, stamped)
        except OSError:
            raise
        # Its metadata was valid before, so it has changed; zarr raises all kinds of errors then.
        except Exception as error:
            raise DataError(
                f"{self.where!r} has changed since it was opened: {first_line(error)}",
                "run the command again",
            ) from error

    def files(self) -> tuple[str, ...]:
        """Return the folder."""
        return (self.root,)

    def identity(self) -> dict[str, Any]:
        """Return digests of the metadata, and of the names, sizes, times and content of the chunks."""
        array: dict[str, Any] = {"format": "zarr", "array": self.path, "metadata": self._metadata_digest()}
        if "://" in self.root:
            return {**array, **objects_of(self.where)}
        found = listing_of(_stamped_files(self.where))
        some = [(f"{self.where}/{name}", size) for name, size in found.some]
        return {
            **array,
            "files": found.files,
            "bytes": found.nbytes,
            "sizes": found.sizes,
            "times": found.times,
            **content_of(some, complete=found.complete),
        }

    def missing(self, kept: Sequence[Pick]) -> Missing | None:
        """Count the chunks of the given indices that are not stored."""
        array = open_node(self.root, self.path)
        try:
            if not isinstance(array, zarr.Array):
                return None
            return missing_chunks(self._opened(), self.where, kept, array.metadata.fill_value)
        except OSError as error:
            raise unreadable(error.filename or self.where, error) from None

    def _metadata_digest(self) -> str:
        array = open_node(self.root, self.path)
        return hashlib.sha256(
            json.dumps(array.metadata.to_dict(), sort_keys=True, default=str).encode()
        ).hexdigest()


def _array_stamp(where: str) -> tuple[int, int]:
    if "://" in where:
        return (0, 0)
    for name in METADATA_FILES[:2]:
        try:
            return stamp(os.path.join(where, name))
        except FileNotFoundError:
            continue
    raise FileNotFoundError(2, "its metadata is gone", where)


@lru_cache(maxsize=32)
def _array(root: str, path: str, changed: tuple[int, int]) -> ChunkArray:
    """Open an array; `changed`, its time and size, makes the cache forget one that was written again."""
    with quietly():
        array = zarr.open_array(store=storage(root), path=path, mode="r")
        check_shape(array)
        where = joined_path(root, path)
        if "://" not in root:
            return chunk_array(array, lambda key: open_blob(f"{where}/{key}"))
        # Whole objects are fetched without asking for a size: some web servers give neither that nor ranges.
        fetch, store = object_in_parts if array.shards else whole_object, url_storage(root)
        return chunk_array(array, lambda key: fetch(store, joined_path(path, key)), _CONCURRENT_REQUESTS)


def _native(block: NDArray) -> NDArray:
    """Convert pixels to native byte order, in place if they are writeable."""
    if block.dtype.isnative or not block.flags.writeable:
        return block
    return block.byteswap(inplace=True).view(block.dtype.newbyteorder("="))


def _stamped_files(folder: str) -> Iterator[tuple[str, int, int]]:
    for path, entry in files_below(folder):
        status = entry.stat()
        yield path, status.st_size, status.st_mtime_ns
