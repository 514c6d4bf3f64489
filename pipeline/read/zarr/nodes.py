"""Arrays and groups of a Zarr, opened so that nothing on the disk makes that hang or take all memory."""

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

_MOST_METADATA = 16 << 20
"""Bytes of one metadata file: some 15 times what a plate of 384 wells has. They become ten times as much."""

_MOST_DEEP = 100
"""Levels within levels of what a metadata file holds."""

MOST_AXES = 16

# Filters of warnings belong to the whole process: two threads that change them would mix them up.
_quiet = threading.RLock()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep Python's warnings from the user, who can do nothing with a line of zarr's source."""
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # zarr-python from 3.4 on takes chunks of 0 for chunks of 1, in which no file of the array is found.
        warnings.filterwarnings("error", message="(?s).*stored chunk shape .* is invalid")
        yield


class _CheckedFolder(LocalStore):
    """The metadata of a folder as zarr-python reads them, with a look at each file before."""

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
    """A URL as zarr-python reads it; metadata that are far too large are not looked at."""

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
    """Return the text of a `.zarray`, with the separator of its chunks' names where it does not say it.

    Writers of the first OME-Zarrs nested the chunks in folders and did not say so; read as files whose
    names have dots in them, none of them would be there, and all pixels would be the fill value.
    """
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(said, dict) or said.get("dimension_separator") is not None:
        return text
    with os.scandir(folder) as entries:
        if not any(entry.name.isdigit() and entry.is_dir() for entry in entries):
            return text
    return json.dumps(said | {"dimension_separator": "/"}).encode()


def storage(root: str) -> Storage:
    """Return the storage of a folder or URL, read only.

    Raises
    ------
    RequestError
        It is a URL and the extra `remote` is not installed.
    """
    return _CheckedRemote(url_storage(root)) if "://" in root else _CheckedFolder(root, read_only=True)


def joined_path(*parts: str) -> str:
    """Return a folder or URL and paths below it as one.

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
        It cannot be opened, or is an array that nobody can have written.
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
    # zarr raises its own errors, KeyError, ValueError and what json and the codecs do, for one
    # and the same thing: metadata that it cannot make an array of.
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
    """Refuse what zarr-python opens and nothing can be done with."""
    attributes: object = node.metadata.attributes
    if not isinstance(attributes, dict):
        raise NoFileError("its attributes are no mapping")
    if not _flat_enough(attributes):
        raise NoFileError(f"its attributes lie more than {_MOST_DEEP} levels within each other")
    if isinstance(node, zarr.Array):
        check_shape(node)


def check_shape(array: zarr.Array) -> None:
    """Refuse an array whose shape or chunks are none.

    Raises
    ------
    NoFileError
        A length is negative or beyond what there can be, or there are far too many axes.
    """
    if not 0 < array.ndim <= MOST_AXES:
        raise NoFileError(f"it has {array.ndim} axes")
    for message, lengths, least in (("shape", array.shape, 0), ("chunks", array.chunks, 1)):
        text = " × ".join(map(str, lengths))
        if any(length < least for length in lengths):
            raise NoFileError(f"its {message}, {text[:80]}, cannot be: a length is below {least}")
        nbytes = array.dtype.itemsize
        for length in lengths:
            nbytes *= max(1, length)
        if nbytes >= 1 << 63:
            raise NoFileError(f"its {message}, {text[:80]}, cannot be: no computer holds so many pixels")


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
    """Return in a line why zarr-python could not open something."""
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
    """Return the members of a group by name; what cannot be opened is left out."""
    found = []
    for name in sorted(_names_below(root, group)):
        with contextlib.suppress(RequestError):
            found.append((name, open_node(root, joined_path(group.path, name) if group.path else name)))
    return found


def array_list(root: str, group: zarr.Group, depth: int = 3) -> list[tuple[str, zarr.Array]]:
    """Return the arrays below a group, with their paths."""
    found: list[tuple[str, zarr.Array]] = []
    for name, node in children(root, group):
        if isinstance(node, zarr.Array):
            found.append((name, node))
        elif depth:
            found += [(f"{name}/{path}", array) for path, array in array_list(root, node, depth - 1)]
    return found


def describe_arrays(root: str, group: zarr.Group) -> str:
    """Return the arrays below a group in one line, or an empty text."""
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
    # A web server lists nothing, and foreign objects beside the members make zarr raise several errors.
    except Exception:
        return []


def files_below(folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the files below a folder by their paths in it.

    Raises
    ------
    DataError
        One is a FIFO or a device, which nobody can read to its end.
    OSError
        A folder cannot be listed.
    """
    below, entered = [""], set()
    while below:
        inside = below.pop()
        with os.scandir(f"{folder}/{inside}") as entries:
            for entry in entries:
                if entry.is_dir():
                    # Links may lead round in circles.
                    linked = os.path.realpath(entry.path) if entry.is_symlink() else ""
                    if not linked or linked not in entered:
                        entered.add(linked)
                        below.append(f"{inside}{entry.name}/")
                elif entry.is_file():
                    yield f"{inside}{entry.name}", entry
                elif os.path.exists(entry.path):  # a link to nothing is nothing
                    message = f"{entry.path!r} is {file_kind(entry.stat())}, no file"
                    raise DataError(message, "remove it, or give a copy", FIELD)
