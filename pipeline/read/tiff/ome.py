"""OME-TIFF, of one file or many: from its OME-XML to the pages that hold its planes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tifffile

from pipeline.model.errors import RequestError
from pipeline.model.text import number_of
from pipeline.read.files import FIELD, TIFF_SUFFIXES, check_exists, check_tiff
from pipeline.read.opened import Opened, shape_text
from pipeline.read.tiff.file import choose, open_tiff
from pipeline.read.tiff.ome_fields import fields, type_note
from pipeline.read.tiff.ome_files import Members, describing_file
from pipeline.read.tiff.ome_xml import Block, OmeImage, images
from pipeline.read.tiff.page import kind_text, page_kind
from pipeline.read.tiff.pages import Located, check_samples, damaged, holes_note, locate, make_store

Place = tuple[str, int]
"""File, and page of it."""


def open_ome(path: str, series: int | None, level: int) -> Opened:
    """Open one image of an OME-TIFF.

    Raises
    ------
    RequestError
        A file of it is missing, planes are missing or cannot be told from others, or it holds several images.
    """
    described = describing_file(path)
    found = images(described.root, described.path)
    if not found:
        raise RequestError(f"the OME-XML of {path!r} describes no image", "export it again", FIELD)
    index = choose(path, [(image.name, _shape_text(image)) for image in found], series)
    image = found[index]
    if image.samples > 1:
        raise RequestError(
            f"{path!r} is a colour picture with {image.samples} samples a pixel",
            "split its colours into channels",
            FIELD,
        )
    claims = Claims(path, image, Members(described, found))
    claims.check_others(index, found)
    places = claims.places()
    located, keyframe, full = _locate(image, places, level)
    metadata = fields(image)
    if level:
        for axis, was, now in zip("yx", full, (keyframe.imagelength, keyframe.imagewidth), strict=True):
            if axis in metadata["scale"]:
                metadata["scale"][axis] *= was / now
    store = make_store(located, keyframe, image.lead, f"{index}/{level}")
    metadata["notes"] += (*type_note(image, store.dtype), *_notes(path, places), *holes_note(located))
    # All five axes are always there; c of length 1 stays where its name says something.
    optional = "tz" if any(channel.name for channel in metadata["channels"]) else "tcz"
    return Opened(store, f"{image.order.lower()}yx", path, optional=optional, **metadata)


def _shape_text(image: OmeImage) -> str:
    letters = "".join(axis for axis in image.order if image.sizes[axis] > 1) + "YX"
    return shape_text(letters.lower(), tuple(image.sizes[axis] for axis in letters))


def _notes(path: str, places: Sequence[Place]) -> tuple[str, ...]:
    """Return what the layout of an image takes for granted."""
    notes = []
    files = list(dict.fromkeys(file for file, _ in places))
    if len(files) == 1 and path.lower().endswith(TIFF_SUFFIXES) and not os.path.samefile(files[0], path):
        notes.append(f"the OME-XML says that its pixels are in {os.path.basename(files[0])!r}, which is read")
    doubled = len(places) - len(set(places))
    if doubled:
        planes = f"{doubled} of {number_of(len(places), 'plane')}"
        # Micro-Manager fills planes that were not taken so.
        notes.append(f"the OME-XML gives {planes} the page of another plane, which is read for both")
    return tuple(notes)


@dataclass(frozen=True)
class _Span:
    """Planes of an image that follow each other, and pages of a file that hold them."""

    start: int
    file: str
    ifd: int
    count: int


class Claims:
    """Which pages an image of an OME-XML says are its planes.

    Parameters
    ----------
    path : str
        What was opened.
    image : OmeImage
        The image.
    members : Members
        The files there are.
    """

    def __init__(self, path: str, image: OmeImage, members: Members) -> None:
        self._path, self._image, self._members = path, image, members
        self._files = members.find(image)
        self._pages = {file: _page_count(file) for file in dict.fromkeys(self._files.values())}
        self._spans = self._spans_of(image)
        for span in self._spans:
            if span.ifd + span.count > self._pages[span.file]:
                raise damaged(
                    span.file,
                    f"its OME-XML says {span.ifd + span.count} pages, and it has {self._pages[span.file]}",
                )

    def places(self) -> list[Place]:
        """Return file and page of each plane.

        Raises
        ------
        RequestError
            A plane is on no page, or on two.
        """
        count = self._image.planes
        claimed, pages = sum(span.count for span in self._spans), sum(self._pages.values())
        if claimed < count:
            raise damaged(self._path, f"its OME-XML says {count} planes, and where {claimed} of them are")
        # A plane more than there are pages needs a block of its own, which names a page again.
        if count > pages + len(self._spans):
            raise damaged(self._path, f"its OME-XML says {count} planes, and its files hold {pages} pages")
        files = list(self._pages)
        file, page = np.full(count, -1, np.int32), np.full(count, -1, np.int32)
        for span in self._spans:
            part = slice(span.start, span.start + span.count)
            of_file, of_page = files.index(span.file), span.ifd + np.arange(span.count, dtype=np.int32)
            free = file[part] < 0
            if not (free | ((file[part] == of_file) & (page[part] == of_page))).all():
                raise damaged(self._path, "its OME-XML says of a plane that it is on two different pages")
            file[part], page[part] = of_file, of_page
        there = int((file >= 0).sum())
        if there < count:
            raise damaged(self._path, f"its OME-XML says {count} planes, and where {there} of them are")
        return [(files[at], number) for at, number in zip(file.tolist(), page.tolist(), strict=True)]

    def check_others(self, index: int, found: Sequence[OmeImage]) -> None:
        """Refuse an image whose pages are said to be another image's too.

        Raises
        ------
        RequestError
            Which image they are cannot be told.
        """
        mine = {file: np.zeros(count, bool) for file, count in self._pages.items()}
        for span in self._spans:
            mine[span.file][span.ifd : span.ifd + span.count] = True
        for other, image in enumerate(found):
            if other != index and any(
                mine[span.file][span.ifd : span.ifd + span.count].any() for span in self._spans_of(image)
            ):
                names = f"{index} ({self._image.name or 'unnamed'}) and {other} ({image.name or 'unnamed'})"
                raise damaged(self._path, f"its OME-XML gives the same pages to two images, {names}")

    def _spans_of(self, image: OmeImage) -> list[_Span]:
        """Return where an image's planes are said to be, as far as they are in the files looked at."""
        spans = []
        for block in image.blocks:
            start, file = image.start(block), self._path_of(block)
            if start is None or file not in self._pages:
                continue
            wanted = self._pages[file] - block.ifd if block.count is None else block.count
            spans.append(_Span(start, file, block.ifd, max(0, min(wanted, image.planes - start))))
        return list(dict.fromkeys(spans))

    def _path_of(self, block: Block) -> str:
        try:
            return self._members.path(block.file, block.uuid)
        except RequestError:  # another image's, outside the folder
            return ""


def _page_count(path: str) -> int:
    check_exists(path)
    check_tiff(path)
    with open_tiff(path) as tiff:
        return len(tiff.pages)


def _locate(
    image: OmeImage, places: list[Place], level: int
) -> tuple[list[Located], tifffile.TiffPage, tuple[int, int]]:
    """Return where the planes of a level are, what they are like, and the size of a full plane."""
    by_file: dict[str, list[int]] = {}
    for file, index in places:
        by_file.setdefault(file, []).append(index)
    found: dict[Place, Located] = {}
    reference: tifffile.TiffPage | None = None
    full = (image.sizes["Y"], image.sizes["X"])
    for file, indices in by_file.items():
        with open_tiff(file) as tiff:
            keyframe = _first(tiff, file, indices, level)
            expected = page_kind(reference) if reference is not None else None
            if reference is None:
                check_samples(keyframe, file)
                _check_plane(file, tiff.pages.get(indices[0], aspage=True), full)
                reference = keyframe
            elif page_kind(keyframe) != expected:
                raise RequestError(
                    f"{file!r} holds planes of {kind_text(page_kind(keyframe))}, and others hold "
                    f"{kind_text(page_kind(reference))}",
                    "export it again",
                    FIELD,
                )
            size = os.path.getsize(file)
            tiff.pages.useframes = level == 0
            tiff.pages.set_keyframe(indices[0])
            for index in dict.fromkeys(indices):
                page = tiff.pages[index] if level == 0 else _subpage(tiff, file, index, level)
                found[file, index] = locate(page, size, os.path.abspath(file))
    assert reference is not None
    return [found[place] for place in places], reference, full


def _first(tiff: tifffile.TiffFile, path: str, indices: list[int], level: int) -> tifffile.TiffPage:
    return _subpage(tiff, path, indices[0], level) if level else tiff.pages.get(indices[0], aspage=True)


def _check_plane(path: str, page: tifffile.TiffPage, full: tuple[int, int]) -> None:
    if (page.imagelength, page.imagewidth) != full:
        raise damaged(
            path,
            f"its OME-XML says planes of {full[0]} × {full[1]}, its pages are "
            f"{page.imagelength} × {page.imagewidth}",
        )


def _subpage(tiff: tifffile.TiffFile, path: str, index: int, level: int) -> tifffile.TiffPage:
    page = tiff.pages.get(index, aspage=True)
    coarser = page.subifds or ()
    if not 0 < level <= len(coarser):
        raise RequestError(
            f"{path!r} has no level {level}", f"it has {1 + len(coarser)}, from 0", "input.level"
        )
    tiff.filehandle.seek(coarser[level - 1])
    return tifffile.TiffPage(tiff, (index, level - 1))
