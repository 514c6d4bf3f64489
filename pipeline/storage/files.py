"""Files of a Zarr on a disk, and bytes that are read in parts."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

METADATA_FILES = ("zarr.json", ".zarray", ".zgroup", ".zattrs")  # of arrays and groups, Zarr 3 and 2

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NoFileError(ValueError):
    """A path is no regular file, or the file is far too large for what it should hold."""


def check_regular(path: str, status: os.stat_result) -> None:
    """Raise NoFileError unless `path` is a regular file: reading a FIFO or a device may never end."""
    if not stat.S_ISREG(status.st_mode):
        raise NoFileError(f"{path!r} is {file_kind(status)}, no file")


def file_kind(status: os.stat_result) -> str:
    """Return in words what an irregular file is."""
    return _KINDS.get(stat.S_IFMT(status.st_mode), "something else")


def is_node(folder: str) -> bool:
    """Check whether a folder is a group or an array of a Zarr."""
    return any(os.path.lexists(f"{folder}/{name}") for name in METADATA_FILES[:3])


class Blob(NamedTuple):
    """Bytes of a file, of an object behind a URL, or in memory, which are read in parts."""

    size: int
    read: Callable[[int, int], bytes]  # (start, length) → bytes, fewer at the end
    close: Callable[[], object] = lambda: None


def blob_of(data: bytes) -> Blob:
    """Return bytes in memory as a blob."""
    return Blob(len(data), lambda start, length: data[start : start + length])


def open_blob(path: str) -> Blob | None:
    """Open a file for reading, or return None if there is none.

    Raises
    ------
    NoFileError
        It is no regular file.
    OSError
        It cannot be opened.
    """
    try:
        # Without O_NONBLOCK, opening a FIFO waits for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    status = os.fstat(descriptor)
    try:
        check_regular(path, status)
    except NoFileError:
        os.close(descriptor)
        raise
    return Blob(status.st_size, partial(_read, descriptor), partial(os.close, descriptor))


def _read(descriptor: int, start: int, length: int) -> bytes:
    data = os.pread(descriptor, length, start)
    # Linux reads 2 GiB at most in one call, and some network file systems less.
    while len(data) < length and (more := os.pread(descriptor, length - len(data), start + len(data))):
        data += more
    return data
