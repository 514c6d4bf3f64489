"""TIFF files open in this process, and tifffile's log lines turned into what they mean."""

from __future__ import annotations

import gc
import logging
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import tifffile
from numpy.typing import NDArray

from pipeline.model.errors import PipelineError
from pipeline.model.machine import open_files_limit, too_many_open
from pipeline.model.text import first_line
from pipeline.read.files import check_tiff, damaged, stamp, unreadable

MOST_OPEN = 64
"""How many files a process keeps open: well below the usual limit of 256 or 1024; fewer where it is low."""

_DESCRIPTION = "TiffTag 270 "
_T = TypeVar("_T")
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


@contextmanager
def open_tiff(path: str) -> Iterator[tifffile.TiffFile]:
    """Open a file with tifffile, and turn what it raises and logs into refusals.

    Raises
    ------
    RequestError
        It is no TIFF, may not be read, or is damaged.
    """
    check_tiff(path)
    with quiet_log() as log:
        try:
            with tifffile.TiffFile(path) as tiff:
                if not tiff.pages:
                    raise damaged(path, "it has no pages")
                yield tiff
                _check_log(path, log)
        except PipelineError:
            # What tifffile said first is closer to the cause than what followed from it.
            _check_log(path, log)
            raise
        except OSError as error:
            raise unreadable(path, error) from error
        # tifffile raises many kinds (struct.error, IndexError, KeyError, …) for one and the same thing.
        except Exception as error:
            raise damaged(path, first_line(error)) from error


def _check_log(path: str, log: Sequence[logging.LogRecord]) -> None:
    """Refuse what tifffile reads on after with a log line alone: pages lost, chains broken."""
    for record in log:
        text = record.getMessage()
        # Vendors write tags that nobody can parse, and pages without tifffile's description
        # follow some with it; the pixels depend on neither, but on the first page's description.
        harmless = ("TiffTag" in text and _DESCRIPTION not in text) or "shaped series" in text
        if record.levelno >= logging.ERROR and not harmless:
            detail = text.split("> ", 1)[-1] if text.startswith("<") else text
            detail = "its description cannot be read" if _DESCRIPTION in text else detail
            raise damaged(path, detail.splitlines()[0])


class TiffHandle:
    """A TIFF file open for reading by several threads.

    Bytes are read by position, so threads do not disturb each other; only the parsing of
    page headers takes turns.
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
            page = get_page(self._tiff, index, subifd)
            # The decoder is built on first use, which is not safe between threads.
            page.init_decode()
            return page

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from a position, or raise EOFError where the file ends before."""
        data = os.pread(self._descriptor, count, offset)
        if len(data) == count:
            return data
        # One call reads at most 2 GiB, and less where a signal comes in between.
        whole = bytearray(count)
        whole[: len(data)] = data
        self._fill(memoryview(whole), offset, len(data))
        return bytes(whole)

    def read_into(self, target: NDArray, offset: int) -> None:
        """Fill a C-contiguous array with bytes from a position, or raise EOFError."""
        self._fill(memoryview(target).cast("B"), offset)  # type: ignore[arg-type]  # numpy's stubs lack the buffer

    def _fill(self, view: memoryview, offset: int, done: int = 0) -> None:
        while done < len(view):
            count = os.preadv(self._descriptor, [view[done:]], offset + done)
            if not count:
                raise EOFError(f"the file ends at byte {offset + done}, before {offset + len(view)}")
            done += count


def get_page(tiff: tifffile.TiffFile, index: int, subifd: int = -1) -> tifffile.TiffPage:
    """Return a page with all its tags; `subifd` is -1, or which of the page's own sub-pages."""
    page = tiff.pages.get(index, aspage=True)
    if subifd < 0:
        return page
    tiff.filehandle.seek(page.subifds[subifd])
    return tifffile.TiffPage(tiff, (index, subifd))


def _with_room(opening: Callable[[], _T]) -> _T:
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
        self.files: OrderedDict[tuple[str, int, int], TiffHandle] = OrderedDict()


_cache = _Cache()


def tiff_handle(path: str) -> TiffHandle:
    """Return a file, open, from this process's cache; one written anew is opened anew."""
    key = (path, *stamp(path))
    with _cache.lock:
        handle = _cache.files.get(key)
        if handle is None:
            handle = _cache.files[key] = TiffHandle(path)
        _cache.files.move_to_end(key)
        # Each may hold two descriptors; others have some too.
        while len(_cache.files) > max(1, min(MOST_OPEN, open_files_limit() // 4 - 8)):
            _cache.files.popitem(last=False)
    return handle


def _fresh_cache() -> None:
    """Start anew in a forked child: its parent may have held the lock, and shares the position."""
    global _cache
    _cache = _Cache()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fresh_cache)
