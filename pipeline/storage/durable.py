"""Every change to a disk, each between two points at which a test may stop the process.

Nothing else in bgone writes, syncs, renames or removes a file of an output or of its work folder.
An OSError becomes a `StoppedError` that says what to do.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import stat
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from pipeline.model.errors import PipelineError, RequestError, StoppedError
from pipeline.model.machine import is_too_many_files, open_files_hint

# Called with an event, such as "before write", and its path.
Hook = Callable[[str, str], None]
hook: Hook | None = None  # set by tests that kill a run at each event

# Constants of renameat2(2).
_AT_FDCWD = -100
_NOREPLACE, _EXCHANGE = 1, 2
_SYNC_THREADS = 8
_REMOVAL_TRIES = 5

_AGAIN = "run the same command again"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def disk_error(error: OSError, path: str, kind: type[PipelineError] = StoppedError) -> PipelineError:
    """Return an error that says what happened to `path`, and how to go on."""
    then = _AGAIN if kind is StoppedError else ""
    if error.errno in _FULL:
        message, hint = f"no space left on the disk for {path}", "free some space"
    elif error.errno in _FORBIDDEN:
        message, hint = (
            f"no permission to write {path}",
            "give write permission to it, or choose another output",
        )
    elif error.errno == errno.ENOENT:
        message, hint = f"{path} has vanished during the run", "leave the work folder alone"
    elif is_too_many_files(error):
        message, hint = f"cannot write {path}: too many files are open", open_files_hint()
    else:
        message, hint = f"cannot write {path}: {os.strerror(error.errno or 0)}", "look after the disk"
    return kind(message, ", then ".join(part for part in (hint, then) if part))


@contextlib.contextmanager
def before_start() -> Iterator[None]:
    """Turn a StoppedError into a RequestError, for what is written before a run has started."""
    try:
        yield
    except StoppedError as error:
        raise RequestError(
            replace(
                problem,
                # There is no run yet that the same command could resume.
                hint=problem.hint.removesuffix(f", then {_AGAIN}"),
                field=problem.field or "output.path",
            )
            for problem in error.problems
        ) from error


@contextlib.contextmanager
def _point(event: str, path: str) -> Iterator[None]:
    """Let `hook` see a change before and after it, and turn an OSError into a StoppedError."""
    if hook is not None:
        hook(f"before {event}", path)
    try:
        yield
    except FileExistsError:  # the caller decides what that means
        raise
    except OSError as error:
        raise disk_error(error, path) from error
    if hook is not None:
        hook(f"after {event}", path)


def write_file(path: str, data: bytes | Iterable[bytes], temporary: str) -> None:
    """Write a file into the folder `temporary`, and rename it to `path`.

    A task of a cancelled run may still write the same bytes again: readers see the file complete
    either way. Missing folders are made below the one that holds `temporary`. That one itself is
    not, so that a work folder that was removed does not come back.
    """
    draft = f"{temporary}/{uuid.uuid4().hex}"
    with _point("write", path):
        try:
            with open(draft, "wb", buffering=0) as file:
                for part in (data,) if isinstance(data, bytes) else data:
                    rest = memoryview(part)
                    while rest:
                        rest = rest[file.write(rest) :]
            _move(draft, path, os.path.dirname(temporary))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise


def _move(draft: str, path: str, root: str) -> None:
    try:
        os.replace(draft, path)
    except FileNotFoundError:
        _make_parents(path, root)
        os.replace(draft, path)


def _make_parents(path: str, root: str) -> None:
    missing = []
    folder = os.path.dirname(path)
    while folder != root and not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)


def make_folder(path: str) -> list[str]:
    """Make a folder and its parents, flushed to the disk; return those that were missing, outermost first.

    If one cannot be made, none is left behind.
    """
    missing = []
    folder = path
    while folder and not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    made: list[str] = []
    try:
        for folder in reversed(missing):
            with _point("mkdir", folder), contextlib.suppress(FileExistsError):
                os.mkdir(folder)
                made.append(folder)
            sync_path(os.path.dirname(folder) or ".")
    except StoppedError:
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        raise
    return missing[::-1]


def remove_empty(path: str) -> None:
    """Remove a folder if it is there and holds nothing."""
    with _point("rmdir", path), contextlib.suppress(OSError):
        os.rmdir(path)


def append(path: str, data: bytes) -> int:
    """Append bytes to a file, flush them to the disk, and return the file's new size."""
    with _point("append", path):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
            end = os.lseek(descriptor, 0, os.SEEK_CUR)
        finally:
            os.close(descriptor)
    return end


def rewrite(descriptor: int, path: str, data: bytes) -> None:
    """Replace the content of an open file, and flush it to the disk."""
    with _point("rewrite", path):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, data, 0)
        os.fsync(descriptor)


def copy_file(source: str, target: str) -> None:
    """Copy a file into a folder that exists."""
    with _point("copy", target):
        shutil.copyfile(source, target)


def sync_path(path: str) -> None:
    """Flush a file's bytes, or a folder's entries, to the disk."""
    with _point("fsync", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some network file systems cannot sync a folder, and need not.
            if error.errno != errno.EINVAL or not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise
        finally:
            os.close(descriptor)


def sync_all(files: Iterable[str], root: str) -> None:
    """Flush files below `root` to the disk, and the entries of `root` and of all folders between."""
    paths = list(files)
    folders: set[str] = set()
    for path in paths:
        folder = os.path.dirname(path)
        while folder not in folders and len(folder) >= len(root):
            folders.add(folder)
            folder = os.path.dirname(folder)
    ordered = sorted(folders, key=len, reverse=True)
    if len(paths) < 3:
        for path in [*paths, *ordered]:
            sync_path(path)
        return
    with ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="bgone-sync") as pool:
        for group in (paths, ordered):
            for done in [pool.submit(sync_path, path) for path in group]:
                done.result()


def remove_file(path: str) -> None:
    """Remove a file if it is there."""
    if not os.path.lexists(path):
        return
    with _point("remove", path), contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def remove_tree(path: str) -> None:
    """Remove a folder with all in it, or a file, if it is there."""
    if not os.path.lexists(path):
        return
    with _point("remove", path):
        if not os.path.isdir(path) or os.path.islink(path):
            os.unlink(path)
            return
        for left in reversed(range(_REMOVAL_TRIES)):
            try:
                shutil.rmtree(path)
                return
            except OSError as error:
                # A task of a cancelled run put a file into a folder that had just been emptied.
                if error.errno != errno.ENOTEMPTY or not left:
                    raise


def rename_new(source: str, target: str) -> None:
    """Rename without replacing anything, not even an empty folder.

    Raises
    ------
    FileExistsError
        Something lies at `target`.
    StoppedError
        The rename failed for another reason.
    """
    with _point("rename", target):
        if not _rename_with(source, target, _NOREPLACE):
            # Without the kernel's help a folder made at this very moment is replaced if empty.
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
            os.rename(source, target)


def exchange(source: str, target: str, aside: str) -> None:
    """Rename `source` to `target`, and what was there to `aside`.

    One step if the file system supports it. Otherwise the old one is moved aside first: for a
    moment nothing is at `target`, and nothing is lost.
    """
    with _point("exchange", target):
        swapped = _rename_with(source, target, _EXCHANGE)
    if swapped:
        with _point("rename", aside):
            os.rename(source, aside)
        return
    with _point("rename", aside):
        os.rename(target, aside)
    rename_new(source, target)


def _rename_with(source: str, target: str, flags: int) -> bool:
    """Call renameat2; False where the system or the file system does not have it."""
    function = _renameat2()
    if function is None:
        return False
    if function(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM):
        return False
    raise OSError(code, os.strerror(code), target)


def _renameat2() -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
