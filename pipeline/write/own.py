"""Work folders and OME-Zarrs that bgone may remove, and what in them is somebody else's."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipeline.model.errors import Problem, RequestError
from pipeline.storage import durable
from pipeline.storage.files import METADATA_FILES, is_node
from pipeline.write.metadata import BGONE

FINGERPRINT = re.compile(r"[0-9a-f]{16}")
"""How the name of a work folder ends."""

_MARKS = ("lock", "journal", "inputs.json", "windows.json", "sealed")
"""A folder with none of these, nor drafts, is no work folder: `lock` comes first, `sealed` goes last."""

_NOTES = (*_MARKS, "above", "probe")
_IMAGES = ("image", "background")
_REPLACED = tuple(f"replaced-{name}" for name in _IMAGES)
_DRAFT = re.compile(r"[0-9a-f]{32}|[0-9a-f]{16}\.probe")
_CHUNK = re.compile(r"c|(c\.)?[0-9]+(\.[0-9]+)*")
_LITTER = re.compile(r"\.zmetadata|\.DS_Store|Thumbs\.db|desktop\.ini|\._.*")
_LARGEST = 64 << 20
"""Bytes of a metadata file; what is larger is none."""


def holds_run(folder: str) -> bool:
    """Return whether a folder is the work folder of a run: it holds its notes, or nothing as yet."""
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    if not names or any(mark in names for mark in _MARKS):
        return True
    return "drafts" in names and not _no_drafts(f"{folder}/drafts")


def remove_own(folder: str) -> None:
    """Remove a work folder and what bgone put into it; what else is there stays where it is."""
    if os.path.islink(folder) or not os.path.isdir(folder):
        return
    kept = {f"{folder}/{name}" for name in strangers(folder)}
    if kept:
        _remove_but(folder, kept)
    else:
        durable.remove_tree(folder)


def clear_drafts(folder: str) -> None:
    """Remove the files of `drafts` that a run which died left there."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for name in sorted(os.listdir(folder)):
            if _DRAFT.fullmatch(name):
                durable.remove_file(f"{folder}/{name}")


def _remove_but(folder: str, kept: Iterable[str]) -> None:
    """Remove what a folder holds but these paths and the folders above them; `sealed` last."""
    for name in sorted(os.listdir(folder), key=lambda name: (name == "sealed", name)):
        path = f"{folder}/{name}"
        if path in kept:
            continue
        if any(other.startswith(f"{path}/") for other in kept):
            _remove_but(path, kept)
        else:
            durable.remove_tree(path)


def strangers(work: str) -> list[str]:
    """Return what a work folder holds that bgone did not put there, as paths inside it."""
    found: list[str] = []
    for entry in _entries(work):
        folder = entry.is_dir(follow_symlinks=False)
        if entry.name in _IMAGES and folder:
            found += [f"{entry.name}/{name}" for name in foreign(entry.path, own=True)]
        elif entry.name == "drafts" and folder:
            found += [f"drafts/{name}" for name in _no_drafts(entry.path)]
        elif not (entry.name in _NOTES or entry.name in _REPLACED or _LITTER.fullmatch(entry.name)):
            found.append(entry.name)
    return found


def _no_drafts(folder: str) -> list[str]:
    names = [entry.name for entry in _entries(folder)]
    return [name for name in names if not (_DRAFT.fullmatch(name) or _LITTER.fullmatch(name))]


def why_kept(path: str) -> str:
    """Return why something is not to be replaced by an output, in words; nothing where it may be.

    An OME-Zarr of one image may be, whoever wrote it, and an empty folder.
    """
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return f"is a link to {os.readlink(path)}"
    if not stat.S_ISDIR(mode):
        return "is a file" if stat.S_ISREG(mode) else "is neither a file nor a folder"
    try:
        if not os.listdir(path):
            return ""
        if not (own := _is_own(path)) and (reason := _no_image(path)):
            return reason
        others = foreign(path, own=own)
    except OSError as error:
        return f"cannot be looked into ({error.strerror})"
    if not others:
        return ""
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return f"holds {others[0]}{more}, which {'bgone did not write' if own else 'is no part of an OME-Zarr'}"


def _is_own(path: str) -> bool:
    """Return whether bgone wrote an output: a damaged one may lack either of these."""
    return os.path.isfile(f"{path}/{BGONE}/manifest.txt") or BGONE in _attributes(f"{path}/{BGONE}")


def require_output(path: str) -> None:
    """Refuse what is no output of bgone, damaged or not.

    Raises
    ------
    RequestError
        It is not: what it is.
    """
    what, mend = "", "name an OME-Zarr that bgone wrote"
    if "://" in path:
        what, mend = "is a URL, and outputs are checked on a disk", "copy it to this machine"
    elif not os.path.lexists(path):
        what, mend = "is not there", "name an output of bgone"
    elif not os.path.isdir(path):
        what = "is a file, and an output of bgone is a folder"
    elif not (_is_own(path) or (not _no_image(path) and os.path.isdir(f"{path}/{BGONE}"))):
        what = "is not an output of bgone"
        if holds_run(path) and os.listdir(path):
            what, mend = f"{what}: an unfinished run lives in it", "run its command again"
        elif not (reason := _no_image(path)):
            what += ": another program wrote this OME-Zarr, so there is nothing to check it against"
        else:
            what += f": it {reason}"
    if what:
        raise RequestError([Problem(what, mend, file=path)])


def lost_metadata(output: str) -> list[str]:
    """Return the metadata files of an output of bgone that are missing, or say nothing any more."""
    third = any(os.path.lexists(f"{output}/{folder}/zarr.json") for folder in (".", "0", BGONE))
    name = "zarr.json" if third else ".zattrs"
    lost = [name] if _no_image(output) else []
    return lost if BGONE in _attributes(f"{output}/{BGONE}") else [*lost, f"{BGONE}/{name}"]


def _no_image(path: str) -> str:
    """Return why a folder is not an OME-Zarr of one image; nothing where it is."""
    attributes = _attributes(path)
    inner = attributes.get("ome", attributes)
    if isinstance(inner, Mapping) and inner.get("multiscales"):
        return ""
    if isinstance(inner, Mapping) and any(key in inner for key in ("plate", "well", "bioformats2raw.layout")):
        return "is an OME-Zarr of many images"
    if is_node(path):
        return "is a Zarr that no OME-Zarr writer made"
    return "is a folder that holds no OME-Zarr"


def foreign(folder: str, *, own: bool) -> list[str]:
    """Return what a Zarr group holds that is no part of it, as paths inside it.

    Folders of chunks are not gone through: they may hold millions of files.

    Parameters
    ----------
    folder : str
        The group.
    own : bool
        Whether bgone wrote it: then groups that others added, such as labels, are no part of it.
    """
    return list(_foreign_in_group(folder, "", own))


def _foreign_in_group(folder: str, prefix: str, own: bool) -> Iterator[str]:
    for entry in _entries(folder):
        name = f"{prefix}{entry.name}"
        if _is_metadata(entry):
            continue
        if not entry.is_dir(follow_symlinks=False):
            # bioformats2raw keeps the file's own metadata there.
            if name != "OME/METADATA.ome.xml":
                yield name
        elif own and not entry.name.isdecimal():
            if name != BGONE:
                yield name
        elif _is_group(entry.path):
            yield from _foreign_in_group(entry.path, f"{name}/", own)
        elif is_node(entry.path) or entry.name.isdecimal():
            yield from (
                f"{name}/{inner.name}"
                for inner in _entries(entry.path)
                if not (_CHUNK.fullmatch(inner.name) or _is_metadata(inner))
            )
        else:
            yield name


def _is_metadata(entry: os.DirEntry[str]) -> bool:
    known = entry.name in METADATA_FILES or _LITTER.fullmatch(entry.name)
    return bool(known) and entry.is_file(follow_symlinks=False)


def _is_group(folder: str) -> bool:
    return os.path.lexists(f"{folder}/.zgroup") or _json(f"{folder}/zarr.json").get("node_type") == "group"


def _attributes(group: str) -> dict[str, Any]:
    """Return the attributes of a group, of Zarr 3 or 2; none where they cannot be read."""
    found = _json(f"{group}/zarr.json").get("attributes", {})
    return (found if isinstance(found, dict) else {}) or _json(f"{group}/.zattrs")


def _json(path: str) -> dict[str, Any]:
    try:
        if os.path.getsize(path) > _LARGEST:
            return {}
        with open(path, "rb") as file:
            found = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
