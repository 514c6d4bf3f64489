"""Opening arrays and groups of a Zarr, safe against FIFOs, endless files, huge and deeply nested metadata."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import zarr
from zarr.abc.store import ByteRequest
from zarr.abc.store import Store as Storage
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import LocalStore, WrapperStore

from pipeline.model.errors import DataError, RequestError
from pipeline.model.text import first_line
from pipeline.read.files import FIELD, listed, unreadable
from pipeline.read.zarr.remote import url_storage
from pipeline.storage.files import NoFileError, check_regular, file_kind, is_node

Node = zarr.Array | zarr.Group

# Bytes of a metadata file: 15 times that of a plate of 384 wells. As Python objects they take ten times more.
_MOST_METADATA = 16 << 20
_MOST_DEEP = 100  # nested lists and mappings in a metadata file

MOST_AXES = 16

# Warning filters are global: two threads that change them at a time would leave them changed.
_quiet = threading.RLock()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Suppress Python warnings, which quote a line of zarr's source and do not help a user."""
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # From 3.4 on, zarr-python reads chunks of 0 as chunks of 1, of which it then finds none.
        warnings.filterwarnings("error", message="(?s).*stored chunk shape .* is invalid")
        yield


class _CheckedFolder(LocalStore):
    """A folder whose metadata files are checked before zarr-python reads them."""

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        path = f"{self.root}/{key}"
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        check_regular(path, status)
        _check_size(path, status.st_size)
        prototype = prototype or default_buffer_prototype()
        text = await super().get(key, prototype, byte_range)
        if text is not None and key.rpartition("/")[2] == ".zarray":
            return prototype.buffer.from_bytes(_with_separator(text.to_bytes(), os.path.dirname(path)))
        return text


class _CheckedRemote(WrapperStore[Storage]):
    """A URL whose metadata files must not be too large."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        data = await self._store.get(key, prototype, byte_range)
        if data is not None:
            _check_size(key, len(data))
        return data


def _check_size(path: str, size: int) -> None:
    if size > _MOST_METADATA:
        raise NoFileError(f"{path!r} has {size >> 20} MiB, and metadata has at most {_MOST_METADATA >> 20}")


def _with_separator(text: bytes, folder: str) -> bytes:
    """Add the separator of chunk names to a `.zarray` that lacks it, as found in the folder.

    Writers of the first OME-Zarrs nested chunks in folders without saying so. With the default, names
    with dots, no chunk would be found, and all pixels would be the fill value.
    """
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(metadata, dict) or metadata.get("dimension_separator") is not None:
        return text
    with os.scandir(folder) as entries:
        if not any(entry.name.isdigit() and entry.is_dir() for entry in entries):
            return text
    return json.dumps(metadata | {"dimension_separator": "/"}).encode()


def storage(root: str) -> Storage:
    """Return a read-only storage; raise RequestError for a URL without the extra `remote`."""
    return _CheckedRemote(url_storage(root)) if "://" in root else _CheckedFolder(root, read_only=True)


def joined_path(*parts: str) -> str:
    """Join a folder or URL and paths below it.

    >>> joined_path("/data/a.zarr/", "", "0")
    '/data/a.zarr/0'
    """
    return "/".join(
        part.strip("/") if number else part.rstrip("/") for number, part in enumerate(parts) if part
    )


def open_node(root: str, path: str = "") -> Node:
    """Open the array or group at a path of a Zarr, read only.

    Raises
    ------
    RequestError
        It cannot be opened, or its shape or chunks are impossible.
    """
    where = joined_path(root, path)
    if ".." in path.split("/"):
        raise RequestError(f"{where!r} leads out of {root!r}", "give the folder it leads to", FIELD)
    try:
        with quietly():
            node = zarr.open(store=storage(root), path=path, mode="r")
            _check(node)
            return node
    except PermissionError as error:
        raise unreadable(where, error) from None
    except RequestError:
        raise
    # zarr raises its own errors, KeyError, ValueError, and those of json and the codecs, all for
    # metadata that it cannot use.
    except Exception as error:
        if "://" in root and isinstance(error, FileNotFoundError):
            raise RequestError(
                f"there is no Zarr at {where!r}", "correct the address, or copy TIFF files here", FIELD
            ) from None
        reason = _reason(error)
        raise RequestError(
            f"{where!r} cannot be opened as Zarr: {reason}", _hint(root, reason), FIELD
        ) from error


def _check(node: Node) -> None:
    """Raise NoFileError for nodes that zarr-python opens but that cannot be read."""
    attributes: object = node.metadata.attributes
    if not isinstance(attributes, dict):
        raise NoFileError("its attributes are no mapping")
    if not _flat_enough(attributes):
        raise NoFileError(f"its attributes lie more than {_MOST_DEEP} levels within each other")
    if isinstance(node, zarr.Array):
        check_shape(node)


def check_shape(array: zarr.Array) -> None:
    """Raise NoFileError for an impossible shape or chunk shape."""
    if not 0 < array.ndim <= MOST_AXES:
        raise NoFileError(f"it has {array.ndim} axes")
    for name, lengths, least in (("shape", array.shape, 0), ("chunks", array.chunks, 1)):
        text = " × ".join(map(str, lengths))
        if any(length < least for length in lengths):
            raise NoFileError(f"its {name}, {text[:80]}, cannot be: a length is below {least}")
        nbytes = array.dtype.itemsize
        for length in lengths:
            nbytes *= max(1, length)
        if nbytes >= 1 << 63:
            raise NoFileError(f"its {name}, {text[:80]}, cannot be: no computer holds so many pixels")


def _flat_enough(value: Any) -> bool:
    level = [value]
    for _ in range(_MOST_DEEP):
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
        ]
        if not level:
            return True
    return False


def _reason(error: Exception) -> str:
    """Explain in one line an error of zarr-python."""
    if isinstance(error, RecursionError):
        return "its metadata lie too many levels within each other"
    if isinstance(error, UnicodeDecodeError):
        return "its metadata are no UTF-8 text"
    if isinstance(error, json.JSONDecodeError):
        return f"its metadata are no JSON: {error}"
    if isinstance(error, UserWarning):
        return first_line(error).partition(". It is read as")[0]
    if isinstance(error, AttributeError | LookupError | ArithmeticError):
        return f"its metadata are not as Zarr has them ({type(error).__name__}: {first_line(error)})"
    return first_line(error)


def _hint(root: str, reason: str) -> str:
    if "://" in root:
        return "see to the address, the network and what it asks for to let you in"
    if re.search("codec not available|Unknown codec|registers a codec", reason):
        return "write it again with blosc, zstd, gzip, zlib, lz4 or none"
    return "write it again, or give another"


def children(root: str, group: zarr.Group) -> list[tuple[str, Node]]:
    """Return the members of a group that can be opened, sorted by name."""
    members = []
    for name in sorted(_names_below(root, group)):
        with contextlib.suppress(RequestError):
            members.append((name, open_node(root, joined_path(group.path, name) if group.path else name)))
    return members


def array_list(root: str, group: zarr.Group, depth: int = 3) -> list[tuple[str, zarr.Array]]:
    """Return the arrays below a group, with their paths."""
    arrays: list[tuple[str, zarr.Array]] = []
    for name, node in children(root, group):
        if isinstance(node, zarr.Array):
            arrays.append((name, node))
        elif depth:
            arrays += [(f"{name}/{path}", array) for path, array in array_list(root, node, depth - 1)]
    return arrays


def describe_arrays(root: str, group: zarr.Group) -> str:
    """List the arrays below a group in one line."""
    return listed(f"{path} ({' × '.join(map(str, array.shape))})" for path, array in array_list(root, group))


def _names_below(root: str, group: zarr.Group) -> list[str]:
    if "://" not in root:
        folder = joined_path(root, group.path)
        with contextlib.suppress(OSError):
            return [name for name in os.listdir(folder) if is_node(f"{folder}/{name}")]
        return []
    try:
        with quietly():
            return list(group.keys())
    # Web servers cannot list, and zarr raises several errors at foreign objects among the members.
    except Exception:
        return []


def files_below(folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the files below a folder by their paths in it.

    Raises
    ------
    DataError
        One is a FIFO or a device, reading which may never end.
    OSError
        A folder cannot be listed.
    """
    below, entered = [""], set()
    while below:
        inside = below.pop()
        with os.scandir(f"{folder}/{inside}") as entries:
            for entry in entries:
                if entry.is_dir():
                    # Symbolic links may form a cycle.
                    linked = os.path.realpath(entry.path) if entry.is_symlink() else ""
                    if not linked or linked not in entered:
                        entered.add(linked)
                        below.append(f"{inside}{entry.name}/")
                elif entry.is_file():
                    yield f"{inside}{entry.name}", entry
                elif os.path.exists(entry.path):  # not a broken link
                    message = f"{entry.path!r} is {file_kind(entry.stat())}, no file"
                    raise DataError(message, "remove it, or give a copy", FIELD)
