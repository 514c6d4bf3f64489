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

from pipeline.model.errors import RequestError
from pipeline.model.text import number_of
from pipeline.read.files import first_bytes, input_error, listed, unreadable
from pipeline.read.formats import COMPANION_SUFFIXES
from pipeline.read.tiff.handles import open_tiff
from pipeline.read.tiff.ome_xml import Block, OmeImage, decoded, metadata_file, parse

_DRIVE = re.compile(r"[A-Za-z]:|[\\/]")


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
        is_tiff = not path.lower().endswith(COMPANION_SUFFIXES)
        root = parse(_tiff_text(path, seen[0]) if is_tiff else _text(path), path)
        uuid = root.get("UUID", "").strip()
        if is_tiff and uuid:
            members.setdefault(uuid, path)
        name = metadata_file(root)
        if name is None:
            return OmeFile(path, root, is_tiff, members)
        path = _metadata_path(path, name)
        if path in seen:
            circle = listed(map(os.path.basename, seen[seen.index(path) :]))
            what = (
                f"the metadata of {seen[0]!r} are in none of its files: they point to each other ({circle})"
            )
            raise input_error(what, "export it again")


def _metadata_path(path: str, name: str) -> str:
    if not name:
        what = f"{path!r} is part of an OME-TIFF, and does not say which file holds the metadata"
        raise input_error(what, "give that file")
    target = _named_path(path, name)
    if not os.path.isfile(target):
        what = f"{path!r} is part of an OME-TIFF whose metadata file {name!r} is missing"
        raise input_error(what, "put it beside the TIFF")
    return target


def _tiff_text(path: str, first: str) -> str:
    with open_tiff(path) as tiff:
        text = tiff.ome_metadata
    if not text:
        what = f"{first!r} says that its metadata are in {os.path.basename(path)!r}, which has no OME-XML"
        raise input_error(what, "export it again")
    return text


def _text(path: str) -> str:
    first_bytes(path)
    try:
        with open(path, "rb") as file:
            return decoded(file.read())
    except OSError as error:
        raise unreadable(path, error) from None


def _named_path(path: str, name: str) -> str:
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
        what = f"{path!r} names the file {name!r}, which lies outside its folder"
        raise input_error(what, "put all files into one folder and export it again")
    literal = os.path.join(folder, name)
    return literal if os.path.isfile(literal) else os.path.join(folder, *parts)


class Members:
    """The files that hold the planes of an OME-TIFF's images.

    Parameters
    ----------
    described : OmeFile
        The file with the metadata.
    images : sequence of OmeImage
        All of its images.
    """

    def __init__(self, described: OmeFile, images: Sequence[OmeImage]) -> None:
        self._described = described
        self._several_images = len(images) > 1
        blocks = [block for image in images for block in image.blocks]
        pairs = {(block.file, block.uuid) for block in blocks if block.file and block.uuid}
        # A UUID that several files are said to have tells none of them.
        shared = Counter(uuid for _, uuid in pairs)
        self._file_of = {uuid: file for file, uuid in pairs if shared[uuid] == 1}
        names = {(block.file or self._file_of.get(block.uuid, ""), block.uuid) for block in blocks}
        self._uuids = Counter(uuid for _, uuid in names if uuid)
        self._names = {name for name, _ in names}
        self._one_file = len({name or uuid for name, uuid in names}) == 1
        self._paths: dict[tuple[str, str], str] = {}

    def find(self, image: OmeImage) -> list[str]:
        """Return the paths of the files of an image.

        Raises
        ------
        RequestError
            One is not there.
        """
        paths = {(block.file, block.uuid): self.path(block) for block in image.blocks}
        lost = sorted({name or uuid or "one" for (name, uuid), path in paths.items() if not path})
        if lost:
            consists = f"consists of {number_of(len(paths), 'file')}, and {listed(lost)} is missing"
            what = f"image {image.name!r} of {self._described.path!r} {consists}"
            raise input_error(what, "put all of them beside it, each under its own name")
        return list(dict.fromkeys(paths.values()))

    def path(self, block: Block) -> str:
        """Return the path of a block's file, or an empty text where it is not there."""
        key = (block.file, block.uuid)
        if key not in self._paths:
            self._paths[key] = self._find(block.file or self._file_of.get(block.uuid, ""), block.uuid)
        return self._paths[key]

    def _find(self, name: str, uuid: str) -> str:
        own = self._described.path if self._described.is_tiff else ""
        if not name and not uuid:
            return own
        itself = self._described.members.get(uuid, "") if self._uuids[uuid] == 1 else ""
        if itself and self._one_file:
            return itself
        path = _named_path(self._described.path, name) if name else ""
        if path and os.path.isfile(path):
            return path
        # It is one of the files looked at, under another name, only where nothing else can be meant.
        if itself:
            return "" if os.path.abspath(itself) in self._taken else itself
        alone = self._one_file and not self._several_images
        return own if alone and not (uuid and own in self._described.members.values()) else ""

    @cached_property
    def _taken(self) -> set[str]:
        """The files that are there under a name of their own."""
        taken = set()
        for name in self._names - {""}:
            with suppress(RequestError):
                taken.add(os.path.abspath(_named_path(self._described.path, name)))
        return taken
