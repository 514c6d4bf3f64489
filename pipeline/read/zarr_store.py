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
from zarr.abc.store import Store as Storage
from zarr.storage import LocalStore

from pipeline.clock import spending
from pipeline.errors import DataError, RequestError, StoppedError
from pipeline.image import Region, region_shape
from pipeline.read.content import content_of, listing_of
from pipeline.read.files import FIELD, ZARR_FILES, listed, stamp, unreadable
from pipeline.read.missing import Missing, missing_chunks
from pipeline.read.remote import objects_of, url_storage
from pipeline.read.source import Pick, Store
from pipeline.read.zarr_chunks import ChunkFiles, chunk_files
from pipeline.read.zarr_fast import FastArray, fast_array

Node = zarr.Array | zarr.Group
_opening = threading.Lock()


@dataclass(frozen=True)
class ZarrStore(Store):
    """A Zarr array, v2 or v3, whole or sharded.

    Parameters
    ----------
    root : str
        Folder or URL that was opened.
    path : str
        Of the array within it; empty for the root itself.
    shape, dtype, chunks, shards
        Of the array; `chunks` are the inner ones where it is sharded.
    """

    root: str
    path: str
    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None = None

    @classmethod
    def of(cls, array: zarr.Array, root: str, path: str) -> ZarrStore:
        """Describe an open array."""
        return cls(root, path, array.shape, array.dtype.newbyteorder("="), array.chunks, array.shards)

    @property
    def where(self) -> str:
        """Folder or URL of the array."""
        return "/".join(part for part in (self.root.rstrip("/"), self.path) if part)

    def read(self, region: Region) -> NDArray:
        """Return the pixels of a region."""
        try:
            with _opening:
                array, files = _array(self.root, self.path, _array_stamp(self.where))
            if files is not None:
                block = files.read(region)
            else:
                with spending("read"):
                    block = np.asarray(array[region])
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoppedError(
                f"{self.where!r} cannot be read: {reason}", "make it reachable and run the same command again"
            ) from error
        # Codecs raise whatever their libraries do; each of them means that this chunk is damaged.
        except Exception as error:
            raise DataError(
                f"{self.where!r} cannot be decoded at {_place(region)}: {_first_line(error)}",
                "copy or export it again",
            ) from error
        if block.shape != region_shape(region) or array.shape != self.shape:
            raise DataError(f"{self.where!r} has changed since it was opened", "run the command again")
        return block.astype(self.dtype, copy=False)

    def files(self) -> tuple[str, ...]:
        """Return the folder."""
        return (self.root,)

    def identity(self) -> dict[str, Any]:
        """Return digests of the metadata, and of the chunks: names with sizes, times, what they hold."""
        what: dict[str, Any] = {"format": "zarr", "array": self.path, "metadata": self._metadata_digest()}
        if "://" in self.root:
            return {**what, **objects_of(self.where)}
        found = listing_of(_files_below(self.where))
        some = [(f"{self.where}/{name}", size) for name, size in found.some]
        return {
            **what,
            "files": found.files,
            "bytes": found.nbytes,
            "sizes": found.sizes,
            "times": found.times,
            **content_of(some, complete=found.complete),
        }

    def missing(self, kept: Sequence[Pick]) -> Missing | None:
        """Return how many chunks of some indices no file holds."""
        array = open_node(self.root, self.path)
        return missing_chunks(array, self.where, kept) if isinstance(array, zarr.Array) else None

    def _metadata_digest(self) -> str:
        array = open_node(self.root, self.path)
        return hashlib.sha256(
            json.dumps(array.metadata.to_dict(), sort_keys=True, default=str).encode()
        ).hexdigest()


def open_node(root: str, path: str = "") -> Node:
    """Open the array or group at a path of a Zarr, read only.

    Raises
    ------
    RequestError
        It cannot be opened.
    """
    where = "/".join(part for part in (root, path) if part)
    try:
        return zarr.open(store=storage(root), path=path, mode="r")
    except PermissionError as error:
        raise unreadable(where, error) from None
    except RequestError:
        raise
    # zarr raises its own errors, KeyError, ValueError and what json and the codecs do, for one
    # and the same thing: metadata that it cannot make an array of.
    except Exception as error:
        if "://" in root and isinstance(error, FileNotFoundError):
            raise RequestError(
                f"there is no Zarr at {where!r}", "correct the address, or copy TIFF files here", FIELD
            ) from None
        raise RequestError(
            f"{where!r} cannot be opened as Zarr: {_first_line(error)}",
            "see to the address, the network and what it asks for to let you in"
            if "://" in root
            else "write it again, or give another",
            FIELD,
        ) from error


def storage(root: str) -> Storage:
    """Return the storage of a folder or URL, read only.

    Raises
    ------
    RequestError
        It is a URL and the extra `remote` is not installed.
    """
    return url_storage(root) if "://" in root else LocalStore(root, read_only=True)


def children(group: zarr.Group) -> list[tuple[str, Node]]:
    """Return the members of a group by name; what cannot be opened is left out."""
    found = []
    for name in sorted(_names_below(group)):
        try:
            found.append((name, group[name]))
        except (KeyError, ValueError, TypeError, OSError):
            continue
    return found


def array_list(group: zarr.Group, depth: int = 3) -> list[tuple[str, zarr.Array]]:
    """Return the arrays below a group, with their paths."""
    found: list[tuple[str, zarr.Array]] = []
    for name, node in children(group):
        if isinstance(node, zarr.Array):
            found.append((name, node))
        elif depth:
            found += [(f"{name}/{path}", array) for path, array in array_list(node, depth - 1)]
    return found


def is_zarr(path: str) -> bool:
    """Return whether a folder holds Zarr metadata."""
    return any(os.path.isfile(os.path.join(path, name)) for name in ZARR_FILES[:3])


def describe_arrays(group: zarr.Group) -> str:
    """Return the arrays below a group in one line, or an empty text."""
    return listed(f"{path} ({' × '.join(map(str, array.shape))})" for path, array in array_list(group))


def _names_below(group: zarr.Group) -> list[str]:
    try:
        return list(group.keys())
    # Foreign files beside the members make zarr raise several errors; there is nothing to list then.
    except Exception:
        return []


def _array_stamp(where: str) -> tuple[int, int]:
    if "://" in where:
        return (0, 0)
    for name in ZARR_FILES[:2]:
        try:
            return stamp(os.path.join(where, name))
        except FileNotFoundError:
            continue
    raise FileNotFoundError(2, "its metadata is gone", where)


@lru_cache(maxsize=32)
def _array(
    root: str, path: str, changed: tuple[int, int]
) -> tuple[zarr.Array, ChunkFiles | FastArray | None]:
    """Return an open array, and what reads it faster; one written anew is opened anew, by `changed`."""
    array = zarr.open_array(store=storage(root), path=path, mode="r")
    if "://" in root:
        return array, None
    return array, chunk_files(array, "/".join(part for part in (root.rstrip("/"), path) if part)) or (
        fast_array(array)
    )


def _files_below(folder: str) -> Iterator[tuple[str, int, int]]:
    folders = [folder]
    while folders:
        current = folders.pop()
        with os.scandir(current) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=True):
                    folders.append(entry.path)
                else:
                    status = entry.stat()
                    yield os.path.relpath(entry.path, folder), status.st_size, status.st_mtime_ns


def _place(region: Region) -> str:
    return f"[{', '.join(f'{part.start}:{part.stop}' for part in region)}]"


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
