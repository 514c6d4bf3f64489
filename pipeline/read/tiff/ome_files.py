"""The files of an OME-TIFF: which of them holds the metadata, and which is meant by a name or a UUID."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from xml.etree import ElementTree

import tifffile

from pipeline.model.errors import RequestError
from pipeline.model.text import number_of
from pipeline.read.files import FIELD, listed, unreadable
from pipeline.read.tiff.file import open_tiff
from pipeline.read.tiff.handles import quiet_log
from pipeline.read.tiff.ome_xml import Block, OmeImage, all_blocks, decoded, metadata_file, parse

_DRIVE = re.compile(r"[A-Za-z]:|[\\/]")


def is_companion(path: str) -> bool:
    """Return whether a file holds OME-XML alone, for TIFF files beside it."""
    return path.lower().endswith((".companion.ome", ".ome.xml"))


def is_ome(path: str) -> bool:
    """Return whether a TIFF has OME-XML; False also for what is no TIFF."""
    with quiet_log():
        try:
            with tifffile.TiffFile(path) as tiff:
                return bool(tiff.is_ome)
        except OSError as error:
            raise unreadable(path, error) from None
        # Whatever is wrong with it is said where it is opened in earnest.
        except Exception:
            return False


@dataclass(frozen=True)
class OmeFile:
    """A file whose OME-XML describes images.

    Parameters
    ----------
    path : str
        The file.
    root : xml.etree.ElementTree.Element
        Its OME-XML.
    is_tiff : bool
        Whether it may hold planes too.
    members : dict of str to str
        UUID → path of each TIFF that was looked at on the way here.
    """

    path: str
    root: ElementTree.Element
    is_tiff: bool
    members: dict[str, str]


def describing_file(path: str) -> OmeFile:
    """Return the file that describes the images of a file: itself, or the one that it points to.

    Raises
    ------
    RequestError
        A file with the metadata is missing, or files point to each other.
    """
    seen: list[str] = []
    members: dict[str, str] = {}
    while True:
        seen.append(path)
        is_tiff = not is_companion(path)
        root = parse(_tiff_text(path, seen[0]) if is_tiff else _text(path), path)
        uuid = root.get("UUID", "").strip()
        if is_tiff and uuid:
            members.setdefault(uuid, path)
        name = metadata_file(root)
        if name is None:
            return OmeFile(path, root, is_tiff, members)
        there = _metadata_path(path, name)
        if there in seen:
            circle = listed(map(os.path.basename, seen[seen.index(there) :]))
            raise RequestError(
                f"the metadata of {seen[0]!r} are in none of its files: they point to each other ({circle})",
                "export it again",
                FIELD,
            )
        path = there


def _metadata_path(path: str, name: str) -> str:
    if not name:
        raise RequestError(
            f"{path!r} is part of an OME-TIFF, and does not say which file holds the metadata",
            "give that file",
            FIELD,
        )
    there = beside(path, name)
    if not os.path.isfile(there):
        raise RequestError(
            f"{path!r} is part of an OME-TIFF whose metadata file {name!r} is missing",
            "put it beside the TIFF",
            FIELD,
        )
    return there


def _tiff_text(path: str, first: str) -> str:
    with open_tiff(path) as tiff:
        text = tiff.ome_metadata
    if not text:
        raise RequestError(
            f"{first!r} says that its metadata are in {os.path.basename(path)!r}, which has no OME-XML",
            "export it again",
            FIELD,
        )
    return text


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return decoded(file.read())
    except OSError as error:
        raise unreadable(path, error) from None


def beside(path: str, name: str) -> str:
    """Return the path of a file that another one names: in the same folder, or below it.

    A full path is that of the machine that wrote the file: its last part counts.

    Raises
    ------
    RequestError
        The name leads out of the folder.
    """
    folder = os.path.dirname(path)
    parts = [part for part in re.split(r"[\\/]", name) if part not in ("", ".")]
    if _DRIVE.match(name):
        return os.path.join(folder, parts[-1] if parts else "")
    if ".." in parts:
        raise RequestError(
            f"{path!r} names the file {name!r}, which lies outside its folder",
            "put all files into one folder and export it again",
            FIELD,
        )
    literal = os.path.join(folder, name)
    return literal if os.path.isfile(literal) else os.path.join(folder, *parts)


class Members:
    """The files that hold the planes of an OME-TIFF's images.

    Parameters
    ----------
    described : OmeFile
        The file with the metadata.
    found : sequence of OmeImage
        All of its images.
    """

    def __init__(self, described: OmeFile, found: Sequence[OmeImage]) -> None:
        self._described = described
        self._several_images = len(found) > 1
        blocks = list(all_blocks(found))
        said = {(block.file, block.uuid) for block in blocks if block.file and block.uuid}
        # A UUID that several files are said to have tells none of them.
        shared = Counter(uuid for _, uuid in said)
        self._named = {uuid: file for file, uuid in said if shared[uuid] == 1}
        names = {(self._name(block), block.uuid) for block in blocks}
        self._uuids = Counter(uuid for _, uuid in names if uuid)
        self._names = {name for name, _ in names}
        self._one_file = len({name or uuid for name, uuid in names}) == 1
        self._paths: dict[tuple[str, str], str] = {}

    def find(self, image: OmeImage) -> dict[tuple[str, str], str]:
        """Return the path of each file of an image, by name and UUID.

        Raises
        ------
        RequestError
            One is not there.
        """
        keys = dict.fromkeys((block.file, block.uuid) for block in image.blocks)
        paths = {key: self.path(*key) for key in keys}
        lost = sorted({name or uuid or "one" for (name, uuid), path in paths.items() if not path})
        if lost:
            consists = f"consists of {number_of(len(keys), 'file')}, and {listed(lost)} is missing"
            raise RequestError(
                f"image {image.name!r} of {self._described.path!r} {consists}",
                "put all of them beside it, each under its own name",
                FIELD,
            )
        return paths

    def path(self, file: str, uuid: str) -> str:
        """Return the path of a file, or an empty text where it is not there."""
        key = (file, uuid)
        if key not in self._paths:
            self._paths[key] = self._find(file or self._named.get(uuid, ""), uuid)
        return self._paths[key]

    def _name(self, block: Block) -> str:
        return block.file or self._named.get(block.uuid, "")

    def _find(self, name: str, uuid: str) -> str:
        own = self._described.path if self._described.is_tiff else ""
        if not name and not uuid:
            return own
        itself = self._described.members.get(uuid, "") if self._uuids[uuid] == 1 else ""
        if itself and self._one_file:
            return itself
        there = beside(self._described.path, name) if name else ""
        if there and os.path.isfile(there):
            return there
        # It is one of the files looked at, under another name, only where nothing else can be meant.
        if itself:
            return "" if os.path.abspath(itself) in self._taken else itself
        others = [known for known, path in self._described.members.items() if path == own]
        alone = self._one_file and not self._several_images
        return own if alone and not (uuid and others) else ""

    @cached_property
    def _taken(self) -> set[str]:
        """The files that are there under a name of their own."""
        taken = set()
        for name in self._names - {""}:
            with suppress(RequestError):
                taken.add(os.path.abspath(beside(self._described.path, name)))
        return taken
