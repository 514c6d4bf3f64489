"""OME-TIFF, of one file or many: the pages that its OME-XML names for the planes of an image."""

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
from pipeline.read.tiff.ome_files import OmeFiles, find_metadata
from pipeline.read.tiff.ome_xml import OmeImage, ome_fields, read_images, type_note
from pipeline.read.tiff.page import kind_text, page_kind
from pipeline.read.tiff.pages import Plane, check_samples, locate, make_store, sparse_note

# A file, and the index of a page in it.
_Page = tuple[str, int]


def open_ome(path: str, series: int | None, level: int) -> Opened:
    """Open one image of an OME-TIFF.

    Raises
    ------
    RequestError
        A file or a plane is missing, planes are ambiguous, or it holds several images and none is chosen.
    """
    metadata = find_metadata(path)
    images = read_images(metadata.root, metadata.path)
    if not images:
        raise input_error(f"the OME-XML of {path!r} describes no image", "export it again")
    index = choose_series(path, [(image.name, _image_text(image)) for image in images], series)
    image = images[index]
    if image.samples > 1:
        message = f"{path!r} is a colour picture with {image.samples} samples a pixel"
        raise input_error(message, "split its colours into channels")
    pages = _find_pages(path, index, images, OmeFiles(metadata, images))
    files, planes, keyframe = _locate(image, pages, level)
    store = make_store(files, planes, image.lead, keyframe, f"{index}/{level}")
    fields = ome_fields(image)
    if level:
        for axis, size in zip("yx", store.shape[-2:], strict=True):
            if axis in fields["scale"]:
                fields["scale"][axis] *= image.sizes[axis.upper()] / size
    fields["notes"] += (
        *type_note(image, store.dtype),
        *_page_notes(path, files, pages),
        *sparse_note(store.planes),
    )
    # OME-XML always has all five axes; c of length 1 stays if a channel has a name.
    optional = "tz" if any(channel.name for channel in fields["channels"]) else "tcz"
    return Opened(store, f"{image.order.lower()}yx", path, optional=optional, **fields)


def _image_text(image: OmeImage) -> str:
    letters = "".join(axis for axis in image.order if image.sizes[axis] > 1) + "YX"
    return layout_text(letters.lower(), tuple(image.sizes[axis] for axis in letters))


def _page_notes(path: str, files: Sequence[str], pages: Sequence[_Page]) -> tuple[str, ...]:
    notes = []
    if len(files) == 1 and path.lower().endswith(TIFF_SUFFIXES) and not os.path.samefile(files[0], path):
        notes.append(f"the OME-XML says that its pixels are in {os.path.basename(files[0])!r}, which is read")
    # Micro-Manager gives planes that were not acquired the page of a neighbour.
    doubled = len(pages) - len(set(pages))
    if doubled:
        planes = f"{doubled} of {number_of(len(pages), 'plane')}"
        notes.append(f"the OME-XML gives {planes} the page of another plane, which is read for both")
    return tuple(notes)


@dataclass(frozen=True)
class _Claim:
    """Consecutive planes of an image on consecutive pages of a file."""

    plane: int
    file: str
    page: int
    count: int

    @property
    def planes(self) -> slice:
        return slice(self.plane, self.plane + self.count)

    @property
    def pages(self) -> slice:
        return slice(self.page, self.page + self.count)


def _find_pages(path: str, index: int, images: Sequence[OmeImage], files: OmeFiles) -> list[_Page]:
    """Return the page of each plane of the image with an index.

    Raises
    ------
    RequestError
        A page is missing, or is another image's too.
    """
    image = images[index]
    counts = {file: _count_pages(file) for file in files.of_image(image)}
    claims = _claims(image, files, counts)
    claimed = {file: np.zeros(count, bool) for file, count in counts.items()}
    for claim in claims:
        stop, count = claim.pages.stop, counts[claim.file]
        if stop > count:
            raise damaged(claim.file, f"its OME-XML says {stop} pages, and it has {count}")
        claimed[claim.file][claim.pages] = True
    for number, other in enumerate(images):
        others = () if number == index else _claims(other, files, counts)
        if any(claimed[claim.file][claim.pages].any() for claim in others):
            names = f"{index} ({image.name or 'unnamed'}) and {number} ({other.name or 'unnamed'})"
            raise damaged(path, f"its OME-XML gives the same pages to two images, {names}")
    return _assign_pages(path, image.planes, claims, counts)


def _count_pages(path: str) -> int:
    check_exists(path)
    with open_tiff(path) as tiff:
        return len(tiff.pages)


def _claims(image: OmeImage, files: OmeFiles, counts: Mapping[str, int]) -> list[_Claim]:
    """Return the pages that an image claims in the files whose page counts are known."""
    claims = []
    for block in image.blocks:
        start, file = image.plane_index(block), ""
        # Another image's file may lie outside the folder.
        with suppress(RequestError):
            file = files.path(block)
        if start is None or file not in counts:
            continue
        count = counts[file] - block.ifd if block.count is None else block.count
        claims.append(_Claim(start, file, block.ifd, max(0, min(count, image.planes - start))))
    return list(dict.fromkeys(claims))


def _assign_pages(path: str, planes: int, claims: Sequence[_Claim], counts: Mapping[str, int]) -> list[_Page]:
    """Return the page of each plane, and refuse planes that are on no page or on two."""
    says = f"its OME-XML says {planes} planes"
    claimed, total = sum(claim.count for claim in claims), sum(counts.values())
    # Both before an array of that many planes is made: the number is only what the XML says. More
    # planes than pages are possible if claims share pages, each claim with at least one of its own.
    if claimed < planes:
        raise damaged(path, f"{says}, and where {claimed} of them are")
    if planes > total + len(claims):
        raise damaged(path, f"{says}, and its files hold {total} pages")
    numbers = {file: number for number, file in enumerate(counts)}
    file, page = np.full(planes, -1, np.int32), np.full(planes, -1, np.int32)
    for claim in claims:
        number, indices = numbers[claim.file], np.arange(claim.page, claim.pages.stop, dtype=np.int32)
        same = (file[claim.planes] == number) & (page[claim.planes] == indices)
        if not ((file[claim.planes] < 0) | same).all():
            raise damaged(path, "its OME-XML says of a plane that it is on two different pages")
        file[claim.planes], page[claim.planes] = number, indices
    known = int((file >= 0).sum())
    if known < planes:
        raise damaged(path, f"{says}, and where {known} of them are")
    files = list(counts)
    return [(files[number], index) for number, index in zip(file.tolist(), page.tolist(), strict=True)]


def _locate(
    image: OmeImage, pages: Sequence[_Page], level: int
) -> tuple[list[str], list[Plane], tifffile.TiffPage]:
    """Return the files, the planes of a level, and a page that all of them are like."""
    by_file: dict[str, dict[int, None]] = {}
    for file, index in pages:
        by_file.setdefault(file, {})[index] = None
    located: dict[_Page, Plane] = {}
    reference: tifffile.TiffPage | None = None
    for number, (file, indices) in enumerate(by_file.items()):
        first = next(iter(indices))
        with open_tiff(file) as tiff:
            keyframe = _level_page(tiff, file, first, level)
            if reference is None:
                check_samples(keyframe, file)
                _check_size(image, file, get_page(tiff, first))
                reference = keyframe
            kind, expected = page_kind(keyframe), page_kind(reference)
            if kind != expected:
                message = f"{file!r} holds planes of {kind_text(kind)}, and others hold {kind_text(expected)}"
                raise input_error(message, "export it again")
            size = os.path.getsize(file)
            tiff.pages.useframes = level == 0
            tiff.pages.set_keyframe(first)
            for index in indices:
                page = _level_page(tiff, file, index, level) if level else tiff.pages[index]
                located[file, index] = locate(page, os.path.abspath(file), size, number)
    assert reference is not None
    return list(by_file), [located[page] for page in pages], reference


def _check_size(image: OmeImage, path: str, page: tifffile.TiffPage) -> None:
    rows, columns = page.imagelength, page.imagewidth
    full = image.sizes["Y"], image.sizes["X"]
    if (rows, columns) != full:
        says = f"its OME-XML says planes of {full[0]} × {full[1]}, its pages are {rows} × {columns}"
        raise damaged(path, says)


def _level_page(tiff: tifffile.TiffFile, path: str, index: int, level: int) -> tifffile.TiffPage:
    page = get_page(tiff, index)
    count = 1 + len(page.subifds or ())
    if not 0 <= level < count:
        raise RequestError(f"{path!r} has no level {level}", f"it has {count}, from 0", "input.level")
    return get_page(tiff, index, level - 1) if level else page
