"""Input paths: globs, folders and first bytes, and the errors for what is wrong with them."""

from __future__ import annotations

import difflib
import glob
import os
import re
import shlex
import stat
from collections.abc import Iterable

from pipeline.model.errors import RequestError
from pipeline.model.machine import is_too_many_files, open_files_hint
from pipeline.model.paths import check_name
from pipeline.read.formats import START, TIFF_MAGIC, TIFF_SUFFIXES, commonest, format_of
from pipeline.storage.files import METADATA_FILES

FIELD = "input.path"
_WILD = re.compile(r"[*?\[]")
_DIGITS = "0123456789"
# Files that Windows adds to folders of pictures.
_LITTER = {"thumbs.db", "desktop.ini"}
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def input_error(message: str, hint: str) -> RequestError:
    """Return an error about `input.path`."""
    return RequestError(message, hint, FIELD)


def damaged(path: str, detail: str) -> RequestError:
    """Return the error for a file that does not hold what its header promises."""
    return input_error(f"{path!r} is truncated or damaged: {detail}", "copy or export it again")


def unreadable(path: str, error: OSError) -> RequestError:
    """Return the error for a file that the operating system refuses to open or read."""
    if isinstance(error, PermissionError):
        return input_error(f"{path!r} may not be read: permission denied", "ask for read access")
    if isinstance(error, FileNotFoundError):
        message = "is a link to a file that is not there" if os.path.islink(path) else "is gone"
        return input_error(f"{path!r} {message}", "bring it back, or take it away")
    if is_too_many_files(error):
        return input_error(f"{path!r} cannot be opened: too many files are open", open_files_hint())
    return input_error(f"{path!r} cannot be read: {error.strerror or error}", "check the disk or network")


def natural_key(name: str) -> tuple[tuple[bool, int, str], ...]:
    """Return a sort key that orders numbers in names by value.

    >>> sorted(["t10.tif", "t9.tif"], key=natural_key)
    ['t9.tif', 't10.tif']
    """
    pieces = re.findall(r"[0-9]+|[^0-9]+", name)
    return tuple((True, int(text), text) if text[0] in _DIGITS else (False, 0, text) for text in pieces)


def listed(names: Iterable[str], most: int = 8) -> str:
    """Join names into one line, at most `most` of them.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    names = list(names)
    rest = len(names) - most
    return ", ".join(names) if rest <= 0 else f"{', '.join(names[:most])} and {rest} more"


def is_pattern(path: str) -> bool:
    """Return whether a path is a glob: it has wildcards, and no file has exactly this name."""
    return _WILD.search(path) is not None and not os.path.lexists(path)


def glob_files(pattern: str) -> list[str]:
    """Return the files that a glob matches, in natural order; RequestError where there are none."""
    parent = os.path.dirname(pattern)
    for folder in glob.glob(parent) if _WILD.search(parent) else ():
        if os.path.isdir(folder):
            _names(folder)  # glob passes over folders that may not be listed; this raises
    paths = [path for path in glob.glob(pattern) if os.path.basename(path).lower() not in _LITTER]
    # Dangling links stay, so that opening them fails by name instead of leaving out a frame.
    files = [path for path in paths if not os.path.isdir(path)]
    if files:
        return sorted(files, key=natural_key)
    if paths:
        folders = [repr(path) for path in sorted(paths, key=natural_key)]
        message = f"{pattern!r} matches no file, but folders: {listed(folders)}"
        raise input_error(message, f"give one of them, such as {folders[0]}")
    if not _WILD.search(parent):
        check_exists(parent)
    raise input_error(f"no file matches {pattern!r}", f"{_inside(parent)}mend the pattern")


def tiffs_in(folder: str) -> list[str]:
    """Return the visible TIFF files of a folder in natural order; RequestError where there are none."""
    names = _names(folder)
    tiffs = [name for name in names if name.lower().endswith(TIFF_SUFFIXES)]
    if not tiffs:
        raise _no_tiffs(folder, names)
    return [os.path.join(folder, name) for name in sorted(tiffs, key=natural_key)]


def _no_tiffs(folder: str, names: list[str]) -> RequestError:
    folder_format, file_format = format_of(folder), commonest(names)
    if folder_format is not None and folder_format.conversion:
        message = f"{folder!r} is {folder_format.name}, which bgone does not read"
        return input_error(message, folder_format.hint(folder))
    if file_format is not None and file_format.conversion:
        first = min((name for name in names if format_of(name) == file_format), key=natural_key)
        message = f"the folder {folder!r} holds {file_format.name} files, which bgone does not read"
        return input_error(message, file_format.hint(first))
    zarrs = [name for name in names if name.lower().endswith(".zarr")]
    folders = zarrs or [name for name in names if os.path.isdir(f"{folder}/{name}")]
    hint = "give a folder of TIFF files, a TIFF file or a Zarr"
    if folders:
        first = os.path.join(folder, min(folders, key=natural_key))
        hint = f"give one of the folders inside, such as {first!r}"
    return input_error(f"the folder {folder!r} holds no TIFF file and is no Zarr", f"{_inside(folder)}{hint}")


def check_exists(path: str) -> None:
    """Raise RequestError where nothing exists at a path, or it may not be accessed."""
    check_name(path, FIELD)
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        folder, name = os.path.split(path)
        hint = "give the path of an existing file or folder"
        if os.path.isdir(folder):
            near = difflib.get_close_matches(name, _names(folder), n=1)
            hint = f"did you mean {near[0]!r}?" if near else hint
        elif folder:
            hint = f"the folder {folder!r} does not exist either"
        raise input_error(f"{path!r} does not exist", hint) from None
    except OSError as error:
        raise unreadable(path, error) from None


def first_bytes(path: str) -> bytes:
    """Return the bytes of a file that tell its format.

    Raises
    ------
    RequestError
        The file is empty, unreadable or not a regular file.
    """
    check_name(path, FIELD)
    try:
        mode = os.stat(path).st_mode
        # Opening a pipe would wait for a writer.
        if not stat.S_ISREG(mode):
            message = _KINDS.get(stat.S_IFMT(mode), "no ordinary file")
            hint = "give a folder of files, or one file" if stat.S_ISDIR(mode) else "give a file on a disk"
            raise input_error(f"{path!r} is {message}, not a file", hint)
        with open(path, "rb") as file:
            start = file.read(START)
    except OSError as error:
        raise unreadable(path, error) from None
    if not start:
        raise input_error(f"{path!r} is empty (0 bytes)", "copy or export it again")
    return start


def check_tiff(path: str) -> None:
    """Raise RequestError for a file that is no TIFF, naming its actual format."""
    start = first_bytes(path)
    if not start.startswith(TIFF_MAGIC):
        raise unread_format(path, start)


def unread_format(path: str, start: bytes) -> RequestError:
    """Return the error for a file that is neither TIFF nor Zarr, by its name and first bytes."""
    folder, name = os.path.split(path)
    if name.lower().endswith((".yaml", ".yml")):
        hint = f"give the image that its input.path names, or use bgone plan {shlex.quote(path)}"
        return input_error(f"{path!r} is a config, not an image", hint)
    known = format_of(name, start)
    if known is not None and known.conversion:
        return input_error(f"{path!r} is {known.name}, which bgone does not read", known.hint(name))
    hint = "give a TIFF, a folder of TIFF files or a Zarr"
    if name in METADATA_FILES:
        hint = f"give the folder it is in, {folder!r}"
    return input_error(f"{path!r} is neither a TIFF nor a Zarr", hint)


def stamp(path: str) -> tuple[int, int]:
    """Return a file's size and modification time in ns."""
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
