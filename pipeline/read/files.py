"""Paths and files: what is there, and the line that says what is wrong with it."""

from __future__ import annotations

import difflib
import glob
import os
import re
from collections.abc import Iterable

from pipeline.errors import RequestError

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf2", ".tf8", ".lsm", ".stk")
ZARR_FILES = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
FIELD = "input.path"
_WILD = re.compile(r"[*?\[]")
_LISTED = 8
_OTHERS = {
    ".nd2": "Nikon ND2", ".czi": "Zeiss CZI", ".lif": "Leica LIF", ".oir": "Olympus OIR",
    ".vsi": "Olympus VSI", ".ims": "Imaris HDF5",
    ".h5": "HDF5", ".hdf5": "HDF5", ".hdf": "HDF5", ".he5": "HDF5", ".n5": "N5",
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".npy": "NumPy", ".npz": "NumPy", ".mp4": "video",
    ".avi": "video", ".mov": "video", ".zip": "ZIP archive", ".dcm": "DICOM", ".nii": "NIfTI",
}  # fmt: skip
_SIGNATURES = {
    b"\x89HDF\r\n\x1a\n": "HDF5", b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"PK\x03\x04": "ZIP archive",
    b"\x93NUMPY": "NumPy", b"ZISRAWFILE": "Zeiss CZI", b"\xda\xce\xbe\n": "Nikon ND2",
}  # fmt: skip
_TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def natural_key(name: str) -> tuple[tuple[bool, int, str], ...]:
    """Return a key that sorts numbers in names by value.

    >>> sorted(["t10.tif", "t9.tif"], key=natural_key)
    ['t9.tif', 't10.tif']
    """
    parts = re.findall(r"\d+|\D+", name)
    return tuple((part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts)


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

    Raises
    ------
    RequestError
        There are none.
    """
    found = [path for path in glob.glob(pattern) if os.path.isfile(path)]
    if not found:
        folder = os.path.dirname(pattern)
        if not _WILD.search(folder):
            check_exists(folder)
        raise RequestError(f"no file matches {pattern!r}", f"{_inside(folder)}mend the pattern", FIELD)
    return sorted(found, key=natural_key)


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
        raise RequestError(
            f"the folder {folder!r} holds no TIFF file and is no Zarr",
            f"{_inside(folder)}give a folder of TIFF files, a TIFF file or a Zarr",
            FIELD,
        )
    return [os.path.join(folder, name) for name in sorted(found, key=natural_key)]


def check_exists(path: str) -> None:
    """Refuse a path where nothing is.

    Raises
    ------
    RequestError
        Nothing is there, or it may not be looked at.
    """
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
    reason = error.strerror or str(error)
    return RequestError(f"{path!r} cannot be read: {reason}", "check the disk or network", FIELD)


def check_tiff(path: str) -> None:
    """Refuse a file that is no TIFF, by the name of what it is.

    Raises
    ------
    RequestError
        It is empty, another format, or may not be read.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError as error:
        raise unreadable(path, error) from None
    if not start:
        raise RequestError(f"{path!r} is empty (0 bytes)", "copy or export it again", FIELD)
    if start.startswith(_TIFF_MAGIC):
        return
    kinds = [kind for signature, kind in _SIGNATURES.items() if start.startswith(signature)]
    suffix = os.path.splitext(path)[1].lower()
    kind = kinds[0] if kinds else _OTHERS.get(suffix, "")
    if kind:
        raise RequestError(
            f"{path!r} is {kind}, which bgone does not read",
            "convert it to OME-Zarr or OME-TIFF",
            FIELD,
        )
    folder, name = os.path.split(path)
    mend = "give a TIFF, a folder of TIFF files or a Zarr"
    if name in ZARR_FILES:
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
