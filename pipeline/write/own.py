"""What bgone may remove: its work folders, and outputs that `--overwrite` replaces."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.model.errors import Problem, RequestError, StoppedError
from pipeline.storage import durable
from pipeline.storage.files import METADATA_FILES, is_node
from pipeline.write.layout import Layout
from pipeline.write.metadata import BGONE
from pipeline.write.region import read_file

FINGERPRINT = re.compile(r"[0-9a-f]{16}")  # the end of a work folder's name
_GONE = re.compile(r"[0-9a-f]{16}\.gone")  # the same while it is removed
ABOVE = "above"  # lists the folders made for the work folder, which go with it if they are empty
SEALED = "sealed"  # holds the id of the run whose result is complete

# A work folder always has one of these: `lock` comes first and `sealed` goes last.
_MARKS = ("lock", "journal", "inputs.json", "windows.json", SEALED)
_NOTES = (*_MARKS, ABOVE, "probe", "replaced-image", "replaced-background")
_IMAGES = ("image", "background")
_DRAFT = re.compile(r"[0-9a-f]{32}|[0-9a-f]{16}\.probe")
_CHUNK = re.compile(r"c|(c\.)?[0-9]+(\.[0-9]+)*")
# Files that desktops and zarr leave in any folder.
_LITTER = re.compile(r"\.zmetadata|\.DS_Store|Thumbs\.db|desktop\.ini|\._.*")
_METADATA_BYTES = 64 << 20


def write_note(layout: Layout, name: str, data: bytes) -> None:
    """Write a file of the work folder, complete and flushed to the disk."""
    path = f"{layout.work}/{name}"
    durable.write_file(path, data, layout.drafts)
    durable.sync_all([path], layout.work)


def holds_run(folder: str) -> bool:
    """Check whether a folder is a work folder: one with a run's notes, or empty as yet."""
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    if not names or any(mark in names for mark in _MARKS):
        return True
    return "drafts" in names and not _foreign_drafts(f"{folder}/drafts")


def discard_work(folder: str) -> None:
    """Remove a work folder; files in it that bgone did not write stay, and keep the folder."""
    # Renamed first, so that no run finds half of it; a run that died here left the new name.
    gone = f"{folder}.gone"
    remove_work(gone)
    if not os.path.isdir(folder) or os.path.islink(folder):
        return
    above = (read_file(f"{folder}/{ABOVE}") or b"").decode(errors="replace").splitlines()
    if foreign_files(folder) or os.path.lexists(gone):
        remove_work(folder)
    else:
        durable.rename_new(folder, gone)
        durable.sync_path(os.path.dirname(folder) or ".")
        remove_work(gone)
    for parent in reversed(above):
        if folder.startswith(f"{parent}{os.sep}"):
            durable.remove_empty(parent)


def remove_gone(prefix: str) -> None:
    """Finish the removals of work folders, of any config, that killed runs of an output began.

    `prefix` is the path of its work folders up to the fingerprint.
    """
    parent, start = os.path.split(prefix)
    # What cannot be removed is no reason for the run that finds it to fail.
    with contextlib.suppress(OSError, StoppedError):
        for name in sorted(os.listdir(parent or ".")):
            if name.startswith(start) and _GONE.fullmatch(name, len(start)):
                remove_work(os.path.join(parent, name))


def remove_work(folder: str) -> None:
    """Remove what bgone put into a work folder, and the folder if nothing else is in it."""
    if os.path.islink(folder) or not os.path.isdir(folder):
        return
    foreign = {f"{folder}/{name}" for name in foreign_files(folder)}
    if foreign:
        _remove_except(folder, foreign)
    else:
        durable.remove_tree(folder)


def _remove_except(folder: str, kept: set[str]) -> None:
    """Remove what a folder holds except some paths and the folders above them."""
    # `sealed` last: without it the next start would compute again what was published.
    for name in sorted(os.listdir(folder), key=lambda name: (name == SEALED, name)):
        path = f"{folder}/{name}"
        if any(other.startswith(f"{path}/") for other in kept):
            _remove_except(path, kept)
        elif path not in kept:
            durable.remove_tree(path)


def clear_drafts(folder: str) -> None:
    """Remove the files that a killed run was writing."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for name in sorted(os.listdir(folder)):
            if _DRAFT.fullmatch(name):
                durable.remove_file(f"{folder}/{name}")


def foreign_files(work: str) -> list[str]:
    """Return the files and folders in a work folder that bgone did not write, as relative paths."""
    foreign: list[str] = []
    for entry in _entries(work):
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.name in _IMAGES and is_folder:
            foreign += [f"{entry.name}/{name}" for name in _foreign_in_group(entry.path, "", own=True)]
        elif entry.name == "drafts" and is_folder:
            foreign += [f"drafts/{name}" for name in _foreign_drafts(entry.path)]
        elif entry.name not in _NOTES and not _LITTER.fullmatch(entry.name):
            foreign.append(entry.name)
    return foreign


def _foreign_drafts(folder: str) -> list[str]:
    names = [entry.name for entry in _entries(folder)]
    return [name for name in names if not (_DRAFT.fullmatch(name) or _LITTER.fullmatch(name))]


def overwrite_refusal(path: str) -> str:
    """Explain why `path` must not be overwritten, or return an empty string.

    Only an empty folder or an OME-Zarr of one image, by whatever program, may be overwritten.
    """
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return f"is a link to {os.readlink(path)}"
    if not stat.S_ISDIR(mode):
        return "is a file" if stat.S_ISREG(mode) else "is neither a file nor a folder"
    try:
        if not os.listdir(path):
            return ""
        own = _is_own(path)
        if not own and (fault := _image_fault(path)):
            return fault
        foreign = list(_foreign_in_group(path, "", own=own))
    except OSError as error:
        return f"cannot be looked into ({error.strerror})"
    if not foreign:
        return ""
    more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
    whose = "bgone did not write" if own else "is no part of an OME-Zarr"
    return f"holds {foreign[0]}{more}, which {whose}"


def require_output(path: str) -> None:
    """Raise RequestError unless `path` is an output of bgone, damaged or not."""
    fault, hint = "", "name an OME-Zarr that bgone wrote"
    if "://" in path:
        fault, hint = "is a URL, and outputs are checked on a disk", "copy it to this machine"
    elif not os.path.lexists(path):
        fault, hint = "is not there", "name an output of bgone"
    elif not os.path.isdir(path):
        fault = "is a file, and an output of bgone is a folder"
    elif not _is_own(path):
        image_fault = _image_fault(path)
        if not image_fault and os.path.isdir(f"{path}/{BGONE}"):
            return
        fault = "is not an output of bgone"
        if holds_run(path) and os.listdir(path):
            fault, hint = f"{fault}: an unfinished run lives in it", "run its command again"
        elif image_fault:
            fault += f": it {image_fault}"
        else:
            fault += ": another program wrote this OME-Zarr, so there is nothing to check it against"
    if fault:
        raise RequestError([Problem(fault, hint, file=path)])


def lost_metadata(output: str) -> list[str]:
    """Return the groups' metadata files that an output of bgone lacks, or whose content is lost."""
    zarr3 = any(os.path.lexists(f"{output}/{folder}/zarr.json") for folder in (".", "0", BGONE))
    name = "zarr.json" if zarr3 else ".zattrs"
    lost = [name] if _image_fault(output) else []
    return lost if BGONE in _attributes(f"{output}/{BGONE}") else [*lost, f"{BGONE}/{name}"]


def _is_own(path: str) -> bool:
    # A damaged output may lack either.
    return os.path.isfile(f"{path}/{BGONE}/manifest.txt") or BGONE in _attributes(f"{path}/{BGONE}")


def _image_fault(path: str) -> str:
    """Explain why a folder is no OME-Zarr of one image, or return an empty string."""
    attributes = _attributes(path)
    ome = attributes.get("ome", attributes)
    if isinstance(ome, Mapping):
        if ome.get("multiscales"):
            return ""
        if any(key in ome for key in ("plate", "well", "bioformats2raw.layout")):
            return "is an OME-Zarr of many images"
    return "is a Zarr that no OME-Zarr writer made" if is_node(path) else "is a folder that holds no OME-Zarr"


def _foreign_in_group(folder: str, prefix: str, *, own: bool) -> Iterator[str]:
    """Yield what is no part of a Zarr group, as relative paths.

    With `own` (an image of bgone) that includes groups which others added, such as labels.
    """
    for entry in _entries(folder):
        name = f"{prefix}{entry.name}"
        if _is_metadata(entry):
            continue
        if not entry.is_dir(follow_symlinks=False):
            # bioformats2raw keeps the metadata of the original file there.
            if name != "OME/METADATA.ome.xml":
                yield name
        elif own and not entry.name.isdecimal():
            if name != BGONE:
                yield name
        elif _is_group(entry.path):
            yield from _foreign_in_group(entry.path, f"{name}/", own=own)
        elif is_node(entry.path) or entry.name.isdecimal():
            # Folders of chunks are not searched: they may hold millions of files.
            for inner in _entries(entry.path):
                if not (_CHUNK.fullmatch(inner.name) or _is_metadata(inner)):
                    yield f"{name}/{inner.name}"
        else:
            yield name


def _is_metadata(entry: os.DirEntry[str]) -> bool:
    known = entry.name in METADATA_FILES or _LITTER.fullmatch(entry.name)
    return bool(known) and entry.is_file(follow_symlinks=False)


def _is_group(folder: str) -> bool:
    return os.path.lexists(f"{folder}/.zgroup") or _json(f"{folder}/zarr.json").get("node_type") == "group"


def _attributes(group: str) -> dict[str, Any]:
    """Return the attributes of a Zarr 3 or 2 group; none if they cannot be read."""
    attributes = _json(f"{group}/zarr.json").get("attributes", {})
    return (attributes if isinstance(attributes, dict) else {}) or _json(f"{group}/.zattrs")


def _json(path: str) -> dict[str, Any]:
    # Only bgone's own provenance, with an entry for each input file, may be larger.
    own = os.path.basename(os.path.dirname(path)) == BGONE
    try:
        if not own and os.path.getsize(path) > _METADATA_BYTES:
            return {}
        with open(path, "rb") as file:
            value = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
