"""TIFF files kept open in this process, and errors out of what tifffile logs."""

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
from pipeline.model.machine import is_too_many_files, open_files_limit
from pipeline.model.text import first_line
from pipeline.read.files import check_tiff, damaged, stamp, unreadable

# Files that a process keeps open: well below the usual limit of 256 or 1024, and fewer if it is lower.
MOST_OPEN = 64
_DESCRIPTION = "TiffTag 270 "
_T = TypeVar("_T")
_local = threading.local()


def _filter_record(record: logging.LogRecord) -> bool:
    """Collect a record for this thread, or let it through to the user if no one collects here."""
    records: list[logging.LogRecord] | None = getattr(_local, "records", None)
    if records is None:
        return True
    records.append(record)
    return False


logging.getLogger("tifffile").addFilter(_filter_record)


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
    """Open a file with tifffile; whatever that raises or logs as an error becomes a RequestError."""
    check_tiff(path)
    with quiet_log() as log:
        try:
            with tifffile.TiffFile(path) as tiff:
                if not tiff.pages:
                    raise damaged(path, "it has no pages")
                yield tiff
                _check_log(path, log)
        except PipelineError:
            # What tifffile logged first is closer to the cause than the error that followed.
            _check_log(path, log)
            raise
        except OSError as error:
            raise unreadable(path, error) from error
        # tifffile raises struct.error, IndexError, KeyError and more for damaged files.
        except Exception as error:
            raise damaged(path, first_line(error)) from error


def _check_log(path: str, log: Sequence[logging.LogRecord]) -> None:
    """Refuse a file of which tifffile logs that pages are lost or chains of pages are broken."""
    for record in log:
        text = record.getMessage()
        # Vendors write tags that tifffile cannot parse, and pages without its description follow pages
        # with one. Pixels depend on neither of them, but on the first page's description.
        harmless = ("TiffTag" in text and _DESCRIPTION not in text) or "shaped series" in text
        if record.levelno >= logging.ERROR and not harmless:
            detail = text.split("> ", 1)[-1] if text.startswith("<") else text
            detail = "its description cannot be read" if _DESCRIPTION in text else detail
            raise damaged(path, detail.splitlines()[0])


class TiffHandle:
    """A TIFF file open for several threads: they read bytes by position, and parse headers in turn."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._tiff: tifffile.TiffFile | None = None
        self._descriptor = _with_room(lambda: os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)))
        # A reader may still use the handle after the cache has dropped it.
        weakref.finalize(self, os.close, self._descriptor)

    def page(self, index: int, subifd: int) -> tifffile.TiffPage:
        """Return a page with all its tags, or the sub-page with index `subifd` unless that is -1."""
        with self._lock, quiet_log():
            if self._tiff is None:
                self._tiff = _with_room(lambda: tifffile.TiffFile(self.path))
                weakref.finalize(self, self._tiff.close)
            page = get_page(self._tiff, index, subifd)
            # tifffile builds the decoder on first use, which is not safe between threads.
            page.init_decode()
            return page

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from a position, or raise EOFError if the file ends before."""
        data = os.pread(self._descriptor, count, offset)
        if len(data) == count:
            return data
        # Linux reads at most 2 GiB in one call, and less if a signal arrives.
        whole = bytearray(count)
        self.read_into(whole, offset)
        return bytes(whole)

    def read_into(self, target: NDArray | bytearray, offset: int) -> None:
        """Fill a C-contiguous array with bytes from a position, or raise EOFError."""
        view = memoryview(target).cast("B")  # type: ignore[arg-type]  # numpy's stubs lack the buffer
        done = 0
        while done < len(view):
            count = os.preadv(self._descriptor, [view[done:]], offset + done)
            if not count:
                raise EOFError(f"the file ends at byte {offset + done}, before {offset + len(view)}")
            done += count


def get_page(tiff: tifffile.TiffFile, index: int, subifd: int = -1) -> tifffile.TiffPage:
    """Return a page with all its tags, or the sub-page with index `subifd` unless that is -1."""
    page = tiff.pages.get(index, aspage=True)
    if subifd < 0:
        return page
    tiff.filehandle.seek(page.subifds[subifd])
    return tifffile.TiffPage(tiff, (index, subifd))


# The files used last, by path, size and modification time, in the order of use.
_open_files: OrderedDict[tuple[str, int, int], TiffHandle] = OrderedDict()
_lock = threading.Lock()


def tiff_handle(path: str) -> TiffHandle:
    """Return an open file, which stays open for the next call."""
    # A file that was written anew has another key.
    key = (path, *stamp(path))
    with _lock:
        handle = _open_files.get(key)
        if handle is None:
            handle = _open_files[key] = TiffHandle(path)
        _open_files.move_to_end(key)
        # Each may hold two descriptors, and the rest of the process needs some too.
        while len(_open_files) > max(1, min(MOST_OPEN, open_files_limit() // 4 - 8)):
            _open_files.popitem(last=False)
    return handle


def _with_room(open_file: Callable[[], _T]) -> _T:
    """Open a file; if the process has too many open, close those in the cache and try again."""
    try:
        return open_file()
    except OSError as error:
        if not is_too_many_files(error):
            raise
    _open_files.clear()
    gc.collect()
    return open_file()


def _reset() -> None:
    # In a forked child: another thread of the parent may have held a lock, and file positions are shared.
    global _lock
    _lock = threading.Lock()
    _open_files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset)
