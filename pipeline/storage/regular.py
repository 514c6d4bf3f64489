"""Files that are files: a FIFO or a folder in the place of one is refused before it is opened."""

from __future__ import annotations

import os
import stat

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
