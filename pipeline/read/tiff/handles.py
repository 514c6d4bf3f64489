"""TIFF files open in this process, and tifffile's log lines turned into what they mean."""

from __future__ import annotations

import gc
import logging
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import tifffile
from numpy.typing import NDArray

from pipeline.model.machine import open_files_limit, too_many_open
from pipeline.read.files import stamp

MOST_OPEN = 64
"""How many files a process keeps open: well below the usual limit of 256 or 1024; fewer where it is low."""

_local = threading.local()


def _keep_record(record: logging.LogRecord) -> bool:
    """Keep what tifffile logs while this thread asked for it, away from the user's terminal."""
    kept: list[logging.LogRecord] | None = getattr(_local, "records", None)
    if kept is None:
        return True
    kept.append(record)
    return False


logging.getLogger("tifffile").addFilter(_keep_record)


@contextmanager
def quiet_log() -> Iterator[list[logging.LogRecord]]:
    """Collect what tifffile logs in this thread, instead of printing it."""
    outer = getattr(_local, "records", None)
    records: list[logging.LogRecord] = []
    _local.records = records
    try:
        yield records
    finally:
        _local.records = outer


class OpenFile:
    """A TIFF file open for reading by several threads.

    Bytes are read by position, so threads do not disturb each other; only the parsing of
    page headers takes turns.

    Parameters
    ----------
    path : str
        The file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._tiff: tifffile.TiffFile | None = None
        self._descriptor = _with_room(lambda: os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)))
        # Closed when the last reader lets go, also after the cache has dropped it.
        weakref.finalize(self, os.close, self._descriptor)

    def page(self, index: int, subifd: int) -> tifffile.TiffPage:
        """Return a page with all its tags; `subifd` is -1, or which of the page's own sub-pages."""
        with self._lock, quiet_log():
            if self._tiff is None:
                self._tiff = _with_room(lambda: tifffile.TiffFile(self.path))
                weakref.finalize(self, self._tiff.close)
            page = self._tiff.pages.get(index, aspage=True)
            if subifd >= 0:
                page = self._subpage(page, subifd)
            # The decoder is built on first use, which is not safe between threads.
            page.init_decode()
            return page

    def _subpage(self, page: tifffile.TiffPage, subifd: int) -> tifffile.TiffPage:
        assert self._tiff is not None
        self._tiff.filehandle.seek(page.subifds[subifd])
        return tifffile.TiffPage(self._tiff, (page.index, subifd))

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from a position.

        Raises
        ------
        EOFError
            The file ends before.
        """
        data = os.pread(self._descriptor, count, offset)
        if len(data) < count:
            # One call reads at most 2 GiB, and less where a signal comes in between.
            parts = [data]
            while (have := sum(map(len, parts))) < count:
                parts.append(os.pread(self._descriptor, count - have, offset + have))
                if not parts[-1]:
                    raise EOFError(f"the file ends at byte {offset + have}, before {offset + count}")
            data = b"".join(parts)
        return data

    def read_into(self, target: NDArray, offset: int) -> None:
        """Fill a C-contiguous array with bytes from a position.

        Raises
        ------
        EOFError
            The file ends before.
        """
        view = memoryview(target).cast("B")  # type: ignore[arg-type]  # numpy's stubs lack the buffer
        done = 0
        while done < len(view):
            count = os.preadv(self._descriptor, [view[done:]], offset + done)
            if not count:
                raise EOFError(f"the file ends at byte {offset + done}, before {offset + len(view)}")
            done += count


T = TypeVar("T")


def _with_room(opening: Callable[[], T]) -> T:
    """Open something; where too many files are open, let go of those kept open and try again."""
    try:
        return opening()
    except OSError as error:
        if not too_many_open(error):
            raise
    _cache.files.clear()
    gc.collect()
    return opening()


class _Cache:
    """The files last used, in the order of use."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.files: OrderedDict[tuple[str, int, int], OpenFile] = OrderedDict()


_cache = _Cache()


def open_file(path: str) -> OpenFile:
    """Return a file, open, from this process's cache; one written anew is opened anew."""
    key = (path, *stamp(path))
    with _cache.lock:
        found = _cache.files.get(key)
        if found is None:
            found = _cache.files[key] = OpenFile(path)
        _cache.files.move_to_end(key)
        # Each may hold two descriptors; others have some too.
        while len(_cache.files) > max(1, min(MOST_OPEN, open_files_limit() // 4 - 8)):
            _cache.files.popitem(last=False)
    return found


def _fresh_cache() -> None:
    """Start anew in a forked child: its parent may have held the lock, and shares the position."""
    global _cache
    _cache = _Cache()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fresh_cache)
