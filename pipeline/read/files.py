"""Paths and files: what is there, and the line that says what is wrong with it."""

from __future__ import annotations

import difflib
import glob
import os
import re
import shlex
import stat
from collections.abc import Iterable

from pipeline.model.errors import RequestError
from pipeline.model.machine import more_files, too_many_open
from pipeline.model.paths import check_name
from pipeline.read.formats import START, commonest, format_of
from pipeline.storage.files import METADATA_FILES

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf2", ".tf8", ".lsm", ".stk")
FIELD = "input.path"
_WILD = re.compile(r"[*?\[]")
_LISTED = 8
_DIGITS = "0123456789"
_LITTER = {"thumbs.db", "desktop.ini"}
"""What Windows puts into folders of pictures."""
TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def natural_key(name: str) -> tuple[tuple[bool, int, str], ...]:
    """Return a key that sorts numbers in names by value.

    >>> sorted(["t10.tif", "t9.tif"], key=natural_key)
    ['t9.tif', 't10.tif']
    """
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return tuple((True, int(part), part) if part[0] in _DIGITS else (False, 0, part) for part in parts)


def listed(names: Iterable[str], most: int = _LISTED) -> str:
    """Return names in one line, cut short after some.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    shown = list(names)
    rest = len(shown) - most
    return ", ".join(shown) if rest <= 0 else f"{', '.join(shown[:most])} and {rest} more"


def is_pattern(path: str) -> bool:
    """Return whether a path is a glob: it has a wildcard and no file of that very name is there."""
    return _WILD.search(path) is not None and not os.path.lexists(path)


def matches(pattern: str) -> list[str]:
    """Return the files that a glob matches, in natural order.

    Whatever is no folder counts, so that a link to nothing is refused by its name.

    Raises
    ------
    RequestError
        There are none, or a folder may not be looked into.
    """
    folder = os.path.dirname(pattern)
    for each in glob.glob(folder) if _WILD.search(folder) else ():
        if os.path.isdir(each):
            _names(each)
    found = [path for path in glob.glob(pattern) if os.path.basename(path).lower() not in _LITTER]
    files = [path for path in found if not os.path.isdir(path)]
    if files:
        return sorted(files, key=natural_key)
    if found:
        folders = sorted(found, key=natural_key)
        raise RequestError(
            f"{pattern!r} matches no file, but folders: {listed(map(repr, folders))}",
            f"give one of them, such as {folders[0]!r}",
            FIELD,
        )
    if not _WILD.search(folder):
        check_exists(folder)
    raise RequestError(f"no file matches {pattern!r}", f"{_inside(folder)}mend the pattern", FIELD)


def tiffs_in(folder: str) -> list[str]:
    """Return the TIFF files of a folder, in natural order, hidden ones left out.

    Raises
    ------
    RequestError
        There are none, or the folder may not be read.
    """
    names = _names(folder)
    found = [name for name in names if name.lower().endswith(TIFF_SUFFIXES)]
    if not found:
        raise _no_tiffs(folder, names)
    return [os.path.join(folder, name) for name in sorted(found, key=natural_key)]


def _no_tiffs(folder: str, names: list[str]) -> RequestError:
    own, files = format_of(folder), commonest(names)
    if own is not None:
        return RequestError(f"{folder!r} is {own.name}, which bgone does not read", own.hint(folder), FIELD)
    mend = f"{_inside(folder)}give a folder of TIFF files, a TIFF file or a Zarr"
    if files is not None:
        first = min((name for name in names if format_of(name) == files), key=natural_key)
        return RequestError(
            f"the folder {folder!r} holds {files.name} files, which bgone does not read",
            files.hint(first),
            FIELD,
        )
    zarrs = [name for name in names if name.lower().endswith(".zarr")]
    below = [name for name in names if os.path.isdir(os.path.join(folder, name))]
    inside = sorted(zarrs or below, key=natural_key)
    if inside:
        mend = f"{_inside(folder)}give one of the folders inside, such as {os.path.join(folder, inside[0])!r}"
    return RequestError(f"the folder {folder!r} holds no TIFF file and is no Zarr", mend, FIELD)


def check_exists(path: str) -> None:
    """Refuse a path where nothing is.

    Raises
    ------
    RequestError
        Nothing is there, or it may not be looked at.
    """
    check_name(path, FIELD)
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        folder, name = os.path.split(path)
        mend = "give the path of an existing file or folder"
        if os.path.isdir(folder):
            near = difflib.get_close_matches(name, _names(folder), n=1)
            mend = f"did you mean {near[0]!r}?" if near else mend
        elif folder:
            mend = f"the folder {folder!r} does not exist either"
        raise RequestError(f"{path!r} does not exist", mend, FIELD) from None
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: str, error: OSError) -> RequestError:
    """Return the refusal of a file that the system does not hand out."""
    if isinstance(error, PermissionError):
        return RequestError(f"{path!r} may not be read: permission denied", "ask for read access", FIELD)
    if isinstance(error, FileNotFoundError):
        what = "is a link to a file that is not there" if os.path.islink(path) else "is gone"
        return RequestError(f"{path!r} {what}", "bring it back, or take it away", FIELD)
    if too_many_open(error):
        return RequestError(f"{path!r} cannot be opened: too many files are open", more_files(), FIELD)
    reason = error.strerror or str(error)
    return RequestError(f"{path!r} cannot be read: {reason}", "check the disk or network", FIELD)


def check_file(path: str) -> None:
    """Refuse what is no ordinary file, such as a pipe, which would be waited for.

    Raises
    ------
    RequestError
        It is a pipe, socket or device, has a name that is no text, is not there, or may not be looked at.
    """
    check_name(path, FIELD)
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise unreadable(path, error) from None
    if not stat.S_ISREG(mode):
        kinds = {
            stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder",
            stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
        }  # fmt: skip
        what = kinds.get(stat.S_IFMT(mode), "no ordinary file")
        mend = "give a folder of files, or one file" if stat.S_ISDIR(mode) else "give a file on a disk"
        raise RequestError(f"{path!r} is {what}, not a file", mend, FIELD)


def check_tiff(path: str) -> None:
    """Refuse a file that is no TIFF, by the name of what it is.

    Raises
    ------
    RequestError
        It is empty, another format, no ordinary file, or may not be read.
    """
    check_file(path)
    try:
        with open(path, "rb") as file:
            start = file.read(START)
    except OSError as error:
        raise unreadable(path, error) from None
    if not start:
        raise RequestError(f"{path!r} is empty (0 bytes)", "copy or export it again", FIELD)
    if start.startswith(TIFF_MAGIC):
        return
    folder, name = os.path.split(path)
    if name.lower().endswith((".yaml", ".yml")):
        raise RequestError(
            f"{path!r} is a config, not an image",
            f"give the image that its input.path names, or use bgone plan {shlex.quote(path)}",
            FIELD,
        )
    other = format_of(name, start)
    if other is not None:
        raise RequestError(f"{path!r} is {other.name}, which bgone does not read", other.hint(name), FIELD)
    mend = "give a TIFF, a folder of TIFF files or a Zarr"
    if name in METADATA_FILES:
        mend = f"give the folder it is in, {folder!r}"
    raise RequestError(f"{path!r} is neither a TIFF nor a Zarr", mend, FIELD)


def stamp(path: str) -> tuple[int, int]:
    """Return a file's size and time of change (ns)."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def _names(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder or ".") if not name.startswith(".")]
    except OSError as error:
        raise unreadable(folder, error) from None


def _inside(folder: str) -> str:
    names = sorted(_names(folder), key=natural_key) if os.path.isdir(folder or ".") else []
    return f"inside are {listed(names, 4)}: " if names else ""
