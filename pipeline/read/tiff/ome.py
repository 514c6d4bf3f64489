"""OME-TIFF, of one file or many: from its OME-XML to the pages that hold its planes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import tifffile

from pipeline.model.errors import RequestError
from pipeline.model.text import number_of
from pipeline.read.files import check_exists, damaged, input_error
from pipeline.read.formats import TIFF_SUFFIXES
from pipeline.read.opened import Opened, choose_series, layout_text
from pipeline.read.tiff.handles import get_page, open_tiff
from pipeline.read.tiff.ome_files import Members, describing_file
from pipeline.read.tiff.ome_xml import OmeImage, images, ome_fields, type_note
from pipeline.read.tiff.page import kind_text, page_kind
from pipeline.read.tiff.pages import Located, check_samples, holes_note, locate, make_store

PagePlace = tuple[str, int]
"""File, and page of it."""


def open_ome(path: str, series: int | None, level: int) -> Opened:
    """Open one image of an OME-TIFF.

    Raises
    ------
    RequestError
        A file of it is missing, planes are missing or cannot be told from others, or it holds several images.
    """
    described = describing_file(path)
    all_images = images(described.root, described.path)
    if not all_images:
        raise input_error(f"the OME-XML of {path!r} describes no image", "export it again")
    index = choose_series(path, [(image.name, _image_text(image)) for image in all_images], series)
    image = all_images[index]
    if image.samples > 1:
        what = f"{path!r} is a colour picture with {image.samples} samples a pixel"
        raise input_error(what, "split its colours into channels")
    places = _claim_pages(path, index, all_images, Members(described, all_images))
    located, keyframe = _locate(image, places, level)
    fields = ome_fields(image)
    if level:
        for axis, px in (("y", keyframe.imagelength), ("x", keyframe.imagewidth)):
            if axis in fields["scale"]:
                fields["scale"][axis] *= image.sizes[axis.upper()] / px
    store = make_store(located, keyframe, image.lead, f"{index}/{level}")
    fields["notes"] += (*type_note(image, store.dtype), *_notes(path, places), *holes_note(located))
    # All five axes are always there; c of length 1 stays where its name says something.
    optional = "tz" if any(channel.name for channel in fields["channels"]) else "tcz"
    return Opened(store, f"{image.order.lower()}yx", path, optional=optional, **fields)


def _image_text(image: OmeImage) -> str:
    letters = "".join(axis for axis in image.order if image.sizes[axis] > 1) + "YX"
    return layout_text(letters.lower(), tuple(image.sizes[axis] for axis in letters))


def _notes(path: str, places: Sequence[PagePlace]) -> tuple[str, ...]:
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
class _PageRange:
    """Planes of an image that follow each other, and pages of a file that hold them."""

    start: int
    file: str
    ifd: int
    count: int

    @property
    def planes(self) -> slice:
        return slice(self.start, self.start + self.count)

    @property
    def pages(self) -> slice:
        return slice(self.ifd, self.ifd + self.count)


def _ranges_of(image: OmeImage, members: Members, pages: Mapping[str, int]) -> list[_PageRange]:
    """Return where an image's planes are said to be, as far as they are in files of known length."""
    ranges = []
    for block in image.blocks:
        start, file = image.start(block), ""
        # Another image's file may lie outside the folder.
        with suppress(RequestError):
            file = members.path(block)
        if start is None or file not in pages:
            continue
        count = pages[file] - block.ifd if block.count is None else block.count
        ranges.append(_PageRange(start, file, block.ifd, max(0, min(count, image.planes - start))))
    return list(dict.fromkeys(ranges))


def _places(
    path: str, image: OmeImage, ranges: Sequence[_PageRange], pages: Mapping[str, int]
) -> list[PagePlace]:
    """Return file and page of each plane of an image.

    Raises
    ------
    RequestError
        A plane is on no page, or on two.
    """
    count, says = image.planes, f"its OME-XML says {image.planes} planes"
    claimed, total = sum(claim.count for claim in ranges), sum(pages.values())
    if claimed < count:
        raise damaged(path, f"{says}, and where {claimed} of them are")
    # A plane more than there are pages needs a block of its own, which names a page again.
    if count > total + len(ranges):
        raise damaged(path, f"{says}, and its files hold {total} pages")
    files = list(pages)
    file, page = np.full(count, -1, np.int32), np.full(count, -1, np.int32)
    for claim in ranges:
        planes = claim.planes
        number, ifds = files.index(claim.file), np.arange(claim.ifd, claim.pages.stop, dtype=np.int32)
        if not ((file[planes] < 0) | ((file[planes] == number) & (page[planes] == ifds))).all():
            raise damaged(path, "its OME-XML says of a plane that it is on two different pages")
        file[planes], page[planes] = number, ifds
    known = int((file >= 0).sum())
    if known < count:
        raise damaged(path, f"{says}, and where {known} of them are")
    return [(files[number], ifd) for number, ifd in zip(file.tolist(), page.tolist(), strict=True)]


def _claim_pages(path: str, index: int, all_images: Sequence[OmeImage], members: Members) -> list[PagePlace]:
    """Return file and page of each plane of one of the images.

    Raises
    ------
    RequestError
        A page is not there, or is said to be another image's too: which it is cannot be told.
    """
    image = all_images[index]
    pages = {file: _page_count(file) for file in members.find(image)}
    ranges = _ranges_of(image, members, pages)
    mine = {file: np.zeros(count, bool) for file, count in pages.items()}
    for claim in ranges:
        stop, count = claim.pages.stop, pages[claim.file]
        if stop > count:
            raise damaged(claim.file, f"its OME-XML says {stop} pages, and it has {count}")
        mine[claim.file][claim.pages] = True
    for number, other in enumerate(all_images):
        claims = () if number == index else _ranges_of(other, members, pages)
        if any(mine[claim.file][claim.pages].any() for claim in claims):
            names = f"{index} ({image.name or 'unnamed'}) and {number} ({other.name or 'unnamed'})"
            raise damaged(path, f"its OME-XML gives the same pages to two images, {names}")
    return _places(path, image, ranges, pages)


def _page_count(path: str) -> int:
    check_exists(path)
    with open_tiff(path) as tiff:
        return len(tiff.pages)


def _locate(image: OmeImage, places: list[PagePlace], level: int) -> tuple[list[Located], tifffile.TiffPage]:
    """Return where the planes of a level are, and what they are like."""
    by_file: dict[str, list[int]] = {}
    for file, index in places:
        by_file.setdefault(file, []).append(index)
    located: dict[PagePlace, Located] = {}
    reference: tifffile.TiffPage | None = None
    for file, indices in by_file.items():
        with open_tiff(file) as tiff:
            keyframe = _level_page(tiff, file, indices[0], level)
            if reference is None:
                check_samples(keyframe, file)
                _check_plane(file, get_page(tiff, indices[0]), (image.sizes["Y"], image.sizes["X"]))
                reference = keyframe
            kind, expected = page_kind(keyframe), page_kind(reference)
            if kind != expected:
                what = f"{file!r} holds planes of {kind_text(kind)}, and others hold {kind_text(expected)}"
                raise input_error(what, "export it again")
            size = os.path.getsize(file)
            tiff.pages.useframes = level == 0
            tiff.pages.set_keyframe(indices[0])
            for index in dict.fromkeys(indices):
                page = _level_page(tiff, file, index, level) if level else tiff.pages[index]
                located[file, index] = locate(page, size, os.path.abspath(file))
    assert reference is not None
    return [located[place] for place in places], reference


def _check_plane(path: str, page: tifffile.TiffPage, full: tuple[int, int]) -> None:
    rows, columns = page.imagelength, page.imagewidth
    if (rows, columns) != full:
        says = f"its OME-XML says planes of {full[0]} × {full[1]}, its pages are {rows} × {columns}"
        raise damaged(path, says)


def _level_page(tiff: tifffile.TiffFile, path: str, index: int, level: int) -> tifffile.TiffPage:
    page = get_page(tiff, index)
    count = 1 + len(page.subifds or ())
    if not 0 <= level < count:
        raise RequestError(f"{path!r} has no level {level}", f"it has {count}, from 0", "input.level")
    return get_page(tiff, index, level - 1) if level else page
