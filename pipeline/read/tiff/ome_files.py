"""The files of an OME-TIFF: the one with the metadata, and those named by file name or UUID."""

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
from pipeline.read.tiff.ome_xml import Block, OmeImage, decode_xml, metadata_file, parse

_FULL_PATH = re.compile(r"[A-Za-z]:|[\\/]")


@dataclass(frozen=True)
class Metadata:
    """A file whose OME-XML describes images."""

    path: str
    root: ElementTree.Element
    is_tiff: bool  # so that it may hold planes too
    visited: dict[str, str]  # by UUID, the TIFFs that led to this file, and itself


def find_metadata(path: str) -> Metadata:
    """Return the file with the metadata of an OME-TIFF: the given one, or the one it points to.

    Raises
    ------
    RequestError
        The file with the metadata is missing, or files point to each other.
    """
    seen: list[str] = []
    visited: dict[str, str] = {}
    while True:
        seen.append(path)
        is_tiff = not path.lower().endswith(COMPANION_SUFFIXES)
        root = parse(_tiff_xml(path, seen[0]) if is_tiff else _companion_xml(path), path)
        uuid = root.get("UUID", "").strip()
        if is_tiff and uuid:
            visited.setdefault(uuid, path)
        name = metadata_file(root)
        if name is None:
            return Metadata(path, root, is_tiff, visited)
        path = _metadata_path(path, name)
        if path in seen:
            circle = listed(map(os.path.basename, seen[seen.index(path) :]))
            message = f"the metadata of {seen[0]!r} are in none of its files: they point to each other"
            raise input_error(f"{message} ({circle})", "export it again")


def _metadata_path(path: str, name: str) -> str:
    if not name:
        message = f"{path!r} is part of an OME-TIFF, and does not say which file holds the metadata"
        raise input_error(message, "give that file")
    target = _named_path(path, name)
    if not os.path.isfile(target):
        message = f"{path!r} is part of an OME-TIFF whose metadata file {name!r} is missing"
        raise input_error(message, "put it beside the TIFF")
    return target


def _tiff_xml(path: str, first: str) -> str:
    with open_tiff(path) as tiff:
        text = tiff.ome_metadata
    if not text:
        message = f"{first!r} says that its metadata are in {os.path.basename(path)!r}, which has no OME-XML"
        raise input_error(message, "export it again")
    return text


def _companion_xml(path: str) -> str:
    first_bytes(path)
    try:
        with open(path, "rb") as file:
            return decode_xml(file.read())
    except OSError as error:
        raise unreadable(path, error) from None


def _named_path(path: str, name: str) -> str:
    """Return the path of the file that `path` names, which must lie in the same folder or below it."""
    folder = os.path.dirname(path)
    parts = [part for part in re.split(r"[\\/]", name) if part not in ("", ".")]
    # A full path is one on the computer that wrote the file: only its last part means something here.
    if _FULL_PATH.match(name):
        return os.path.join(folder, parts[-1] if parts else "")
    if ".." in parts:
        message = f"{path!r} names the file {name!r}, which lies outside its folder"
        raise input_error(message, "put all files into one folder and export it again")
    literal = os.path.join(folder, name)
    return literal if os.path.isfile(literal) else os.path.join(folder, *parts)


class OmeFiles:
    """The files that hold the planes of an OME-TIFF's images."""

    def __init__(self, metadata: Metadata, images: Sequence[OmeImage]) -> None:
        self._metadata = metadata
        self._several_images = len(images) > 1
        blocks = [block for image in images for block in image.blocks]
        pairs = {(block.file, block.uuid) for block in blocks if block.file and block.uuid}
        # A UUID that several files share identifies none of them.
        shared = Counter(uuid for _, uuid in pairs)
        self._name_of = {uuid: file for file, uuid in pairs if shared[uuid] == 1}
        names = {(block.file or self._name_of.get(block.uuid, ""), block.uuid) for block in blocks}
        self._uuids = Counter(uuid for _, uuid in names if uuid)
        self._names = {name for name, _ in names}
        self._one_file = len({name or uuid for name, uuid in names}) == 1
        self._paths: dict[tuple[str, str], str] = {}

    def of_image(self, image: OmeImage) -> list[str]:
        """Return the paths of an image's files, or raise RequestError if one is missing."""
        paths = {(block.file, block.uuid): self.path(block) for block in image.blocks}
        missing = sorted({name or uuid or "one" for (name, uuid), path in paths.items() if not path})
        if missing:
            consists = f"consists of {number_of(len(paths), 'file')}, and {listed(missing)} is missing"
            message = f"image {image.name!r} of {self._metadata.path!r} {consists}"
            raise input_error(message, "put all of them beside it, each under its own name")
        return list(dict.fromkeys(paths.values()))

    def path(self, block: Block) -> str:
        """Return the path of a block's file, or an empty string if it is missing."""
        key = (block.file, block.uuid)
        if key not in self._paths:
            self._paths[key] = self._find(block.file or self._name_of.get(block.uuid, ""), block.uuid)
        return self._paths[key]

    def _find(self, name: str, uuid: str) -> str:
        own = self._metadata.path if self._metadata.is_tiff else ""
        if not name and not uuid:
            return own
        visited = self._metadata.visited.get(uuid, "") if self._uuids[uuid] == 1 else ""
        if visited and self._one_file:
            return visited
        path = _named_path(self._metadata.path, name) if name else ""
        if path and os.path.isfile(path):
            return path
        # The file was renamed. A visited one stands in for it if the UUID says so and it is no other
        # named file; the metadata's own if there is one image in one file, so that it can only be this.
        # Of several files that UUIDs alone tell apart no name confirms which this is, and some writers
        # give all of them one UUID.
        if visited and name:
            return "" if os.path.abspath(visited) in self._named_files else visited
        alone = self._one_file and not self._several_images
        return own if alone and not (uuid and own in self._metadata.visited.values()) else ""

    @cached_property
    def _named_files(self) -> set[str]:
        paths = set()
        for name in self._names - {""}:
            with suppress(RequestError):
                paths.add(os.path.abspath(_named_path(self._metadata.path, name)))
        return paths
