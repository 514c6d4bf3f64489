"""OME-TIFF, of one file or many: from its OME-XML to the pages that hold its planes."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import numpy as np
import tifffile

from pipeline.errors import RequestError
from pipeline.read.files import FIELD, check_exists, check_tiff, listed, unreadable
from pipeline.read.ome_xml import Block, OmeImage, companion_named, fields, images, parse
from pipeline.read.opened import Opened, shape_text
from pipeline.read.tiff import choose, open_tiff
from pipeline.read.tiff_files import quiet_log
from pipeline.read.tiff_page import kind_text, page_kind
from pipeline.read.tiff_pages import Located, check_samples, damaged, locate, make_store

Place = tuple[str, int]
"""File, and page of it."""


def is_companion(path: str) -> bool:
    """Return whether a file holds OME-XML alone, for TIFF files beside it."""
    return path.lower().endswith((".companion.ome", ".ome.xml"))


def is_ome(path: str) -> bool:
    """Return whether a TIFF has OME-XML; False also for what is no TIFF."""
    with quiet_log():
        try:
            with tifffile.TiffFile(path) as tiff:
                return bool(tiff.is_ome)
        # Whatever is wrong with it is said where it is opened in earnest.
        except Exception:
            return False


def open_ome(path: str, series: int | None, level: int) -> Opened:
    """Open one image of an OME-TIFF.

    Raises
    ------
    RequestError
        A file of it is missing, planes are missing, or it holds several images.
    """
    text, own = _xml(path)
    root = parse(text, path)
    companion = companion_named(root)
    if companion:
        where = os.path.join(os.path.dirname(path), companion)
        if not os.path.exists(where):
            raise RequestError(
                f"{path!r} is part of an OME-TIFF whose metadata file {companion!r} is missing",
                "put it beside the TIFF",
                FIELD,
            )
        root = parse(_text(where), where)
    found = images(root, path)
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
    places = _places(image, path, own, root.get("UUID", ""))
    located, keyframe, full = _locate(image, places, level)
    metadata = fields(image, path)
    if level:
        for axis, was, now in zip("yx", full, (keyframe.imagelength, keyframe.imagewidth), strict=True):
            if axis in metadata["scale"]:
                metadata["scale"][axis] *= was / now
    store = make_store(located, keyframe, image.lead, f"{index}/{level}")
    # All five axes are always there; c of length 1 stays where its name says something.
    optional = "tz" if any(channel.name for channel in metadata["channels"]) else "tcz"
    return Opened(store, f"{image.order.lower()}yx", path, optional=optional, **metadata)


def _shape_text(image: OmeImage) -> str:
    letters = "".join(axis for axis in image.order if image.sizes[axis] > 1) + "YX"
    return shape_text(letters.lower(), tuple(image.sizes[axis] for axis in letters))


def _xml(path: str) -> tuple[str, str]:
    """Return the OME-XML of a file, and the TIFF it stands in, or an empty text."""
    if is_companion(path):
        return _text(path), ""
    with open_tiff(path) as tiff:
        return tiff.ome_metadata or "", path


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError as error:
        raise unreadable(path, error) from None


def _places(image: OmeImage, path: str, own: str, uuid: str) -> list[Place]:
    """Return file and page of each plane.

    Raises
    ------
    RequestError
        Planes are in no file, or in one that is not there.
    """
    files = _files(image, path, own, uuid)
    count = math.prod(image.lead)
    places: list[Place | None] = [None] * count
    for block in image.blocks:
        first = [block.first[axis] for axis in image.order]
        if any(not 0 <= at < size for at, size in zip(first, image.lead, strict=True)):
            continue
        start = int(np.ravel_multi_index(first, image.lead))
        file = files[block.file]
        number = _page_count(file) - block.ifd if block.count is None else block.count
        for step in range(min(number, count - start)):
            places[start + step] = (file, block.ifd + step)
    there = [place for place in places if place is not None]
    if len(there) < count:
        raise damaged(path, f"its OME-XML says {count} planes, and where {len(there)} of them are")
    return there


def _files(image: OmeImage, path: str, own: str, uuid: str) -> Mapping[str, str]:
    """Return the path of each file that an image names.

    Raises
    ------
    RequestError
        One is not there.
    """
    folder = os.path.dirname(path)
    blocks = {block.file: block for block in image.blocks}
    files = {name: os.path.join(folder, name) if name else own for name in blocks}
    missing = [name for name, file in files.items() if not os.path.isfile(file)]
    renamed = [name for name in missing if own and (len(blocks) == 1 or _is_own(blocks[name], uuid))]
    files |= dict.fromkeys(renamed, own)
    lost = sorted(set(missing) - set(renamed))
    if lost:
        raise RequestError(
            f"{path!r} consists of {len(files)} files, and {listed(lost) if all(lost) else 'one'} is missing",
            "put all of them beside it",
            FIELD,
        )
    return files


def _is_own(block: Block, uuid: str) -> bool:
    return bool(uuid) and block.uuid == uuid


def _page_count(path: str) -> int:
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
        check_exists(file)
        check_tiff(file)
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
    count = len(tiff.pages)
    if max(indices) >= count:
        raise damaged(path, f"its OME-XML says {max(indices) + 1} pages, and it has {count}")
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
