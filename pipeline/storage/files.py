"""Files and folders of a Zarr on a disk: what is one, and bytes of one that are read in parts."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

METADATA_FILES = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
"""Files that hold the metadata of arrays and groups, of Zarr 3 and 2."""

_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}  # fmt: skip


class NoFileError(ValueError):
    """In the place of a file is something else, or a file that is far too large for what it should hold."""


def check_regular(path: str, status: os.stat_result) -> None:
    """Refuse what is no file, before somebody waits for ever for its first byte.

    Raises
    ------
    NoFileError
        It is a folder, a FIFO, a device.
    """
    if not stat.S_ISREG(status.st_mode):
        raise NoFileError(f"{path!r} is {file_kind(status)}, no file")


def file_kind(status: os.stat_result) -> str:
    """Return what a file is, where it is no regular file."""
    return _KINDS.get(stat.S_IFMT(status.st_mode), "something else")


def is_node(folder: str) -> bool:
    """Return whether a folder is a group or an array of a Zarr."""
    return any(os.path.lexists(f"{folder}/{name}") for name in METADATA_FILES[:3])


class Blob(NamedTuple):
    """Bytes that are read in parts: of a file, of an object behind a URL, or in memory.

    `read` takes a start and a length, and returns so many bytes, or fewer where there are no more.
    """

    size: int
    read: Callable[[int, int], bytes]
    close: Callable[[], object] = lambda: None


def blob_of(data: bytes) -> Blob:
    """Return bytes in memory as a blob."""
    return Blob(len(data), lambda start, length: data[start : start + length])


def open_blob(path: str) -> Blob | None:
    """Open a file to be read, or return None where there is none.

    Raises
    ------
    NoFileError
        Something else than a file is there.
    OSError
        It cannot be opened.
    """
    try:
        # Opening a FIFO would wait for somebody to write into it.
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
    # The system hands out 2 GiB at most, and some network file systems less.
    while len(data) < length and (more := os.pread(descriptor, length - len(data), start + len(data))):
        data += more
    return data
