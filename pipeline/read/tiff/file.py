"""One TIFF file: which of its images, where its planes are, what its metadata says."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import tifffile

from pipeline.model.errors import PipelineError, RequestError
from pipeline.read.files import FIELD, check_tiff, listed, unreadable
from pipeline.read.opened import UNKNOWN, Opened, shape_text
from pipeline.read.tiff.handles import quiet_log
from pipeline.read.tiff.imagej import imagej_fields, is_imagej, pixel_size
from pipeline.read.tiff.pages import (
    check_samples,
    complete,
    damaged,
    holes_note,
    locate,
    make_store,
    raw_planes,
    store_of,
)
from pipeline.read.tiff.series import all_series, full_axes, full_shape, said_axes
from pipeline.read.tiff.store import TiffStore

_CENTIMETRE = 3
_DESCRIPTION = "TiffTag 270 "
# A resolution tag in px per cm is often a printer's; a pixel this large (µm) is no microscope's.
_LARGEST_PIXEL = 100.0
_UNNAMED = {"Q": UNKNOWN, "I": UNKNOWN}


def open_stack(path: str, series: int | None, level: int) -> Opened:
    """Open a TIFF that is no OME-TIFF.

    Raises
    ------
    RequestError
        It is damaged, a colour picture, or holds several images.
    """
    with open_tiff(path) as tiff:
        images = all_series(tiff)
        found = [(part, part.levels) for part in images if not part.keyframe.is_reduced]
        if len(found) == 1:
            # Coarser copies that do not name their axes come as images of their own.
            smaller = [part for part in images if part.keyframe.is_reduced]
            found = [(found[0][0], [*found[0][1], *smaller])]
        found = found or [(part, part.levels) for part in images]
        index = choose(path, [(part.name, _shape_text(part)) for part, _ in found], series)
        part, levels = found[index]
        if tiff.is_imagej and part.kind != "imagej":
            raise damaged(path, "its ImageJ description does not fit its size")
        image = levels[_check_level(path, level, [_shape_text(item) for item in levels])]
        store, notes = _series_store(tiff, image, path, f"{index}/{level}")
        axes = _letters(part)
        if len(axes) != len(store.shape):
            raise damaged(path, f"its level {level} has {len(store.shape)} axes, and level 0 has {len(axes)}")
        fields = _fields(tiff, part, axes)
        full = dict(zip(axes, full_shape(part), strict=False))
    if level:
        sizes = dict(zip(axes, store.shape, strict=True))
        fields["scale"] = {
            a: value * full[a] / sizes[a] for a, value in fields["scale"].items() if a in sizes
        }
    optional = "tcz?" if said_axes(part)[0] != full_axes(part) else ""
    fields["notes"] = (*fields.get("notes", ()), *notes)
    return Opened(store, axes, path, optional=optional, **fields)


@contextmanager
def open_tiff(path: str) -> Iterator[tifffile.TiffFile]:
    """Open a file with tifffile, and turn what it raises and logs into refusals.

    Raises
    ------
    RequestError
        It is no TIFF, may not be read, or is damaged.
    """
    check_tiff(path)
    with quiet_log() as log:
        try:
            with tifffile.TiffFile(path) as tiff:
                if not tiff.pages:
                    raise damaged(path, "it has no pages")
                yield tiff
                _check_log(path, log)
        except PipelineError:
            # What tifffile said first is closer to the cause than what followed from it.
            _check_log(path, log)
            raise
        except OSError as error:
            raise unreadable(path, error) from error
        # tifffile raises many kinds (struct.error, IndexError, KeyError, …) for one and the same thing.
        except Exception as error:
            raise damaged(path, (str(error).strip() or type(error).__name__).splitlines()[0]) from error


def _check_log(path: str, log: Sequence[logging.LogRecord]) -> None:
    """Refuse what tifffile reads on after with a log line alone: pages lost, chains broken."""
    for record in log:
        text = record.getMessage()
        # Vendors write tags that nobody can parse, and pages without tifffile's description
        # follow some with it; the pixels depend on neither, but on the first page's description.
        harmless = ("TiffTag" in text and _DESCRIPTION not in text) or "shaped series" in text
        if record.levelno >= logging.ERROR and not harmless:
            detail = text.split("> ", 1)[-1] if text.startswith("<") else text
            detail = "its description cannot be read" if _DESCRIPTION in text else detail
            raise damaged(path, detail.splitlines()[0])


def choose(path: str, images: Sequence[tuple[str, str]], series: int | None) -> int:
    """Return which image of a file is meant, out of their names and shapes in words.

    Raises
    ------
    RequestError
        There are several and none is said, or it is not there.
    """
    listing = listed(f"{index} ({name or 'unnamed'}: {shape})" for index, (name, shape) in enumerate(images))
    if series is None and len(images) > 1:
        raise RequestError(
            f"{path!r} holds several images: {listing}", "say which in input.series", "input.series"
        )
    index = series or 0
    if not 0 <= index < len(images):
        raise RequestError(f"{path!r} has no series {index}", f"it has {listing}", "input.series")
    return index


def _check_level(path: str, level: int, shapes: Sequence[str]) -> int:
    if not 0 <= level < len(shapes):
        text = listed(f"{index} ({shape})" for index, shape in enumerate(shapes))
        raise RequestError(f"{path!r} has no level {level}", f"its levels are {text}", "input.level")
    return level


def _shape_text(series: tifffile.TiffPageSeries) -> str:
    axes, shape = said_axes(series)
    return shape_text(_named(axes), shape)


def _letters(series: tifffile.TiffPageSeries) -> str:
    """Return a letter for each axis, the unsaid ones as ?; samples, always last, are left out."""
    return _named(full_axes(series).removesuffix("S"))


def _named(letters: str) -> str:
    return "".join(_UNNAMED.get(letter, letter.lower()) for letter in letters)


def _series_store(
    tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: str, note: str
) -> tuple[TiffStore, tuple[str, ...]]:
    """Return the store of a series, and what is to be said of it."""
    keyframe = series.keyframe
    check_samples(keyframe, path)
    letters, shape = full_axes(series), full_shape(series)
    if letters.endswith("S"):
        letters, shape = letters[:-1], shape[:-1]
    if "S" in letters or shape[-2:] != (keyframe.imagelength, keyframe.imagewidth):
        raise RequestError(
            f"{path!r} is stored in pages that are not its planes", "convert it to OME-TIFF", FIELD
        )
    count = math.prod(shape[:-2])
    size = tiff.filehandle.size
    if not series.is_multifile and series.dataoffset is not None:
        planes = raw_planes(keyframe, series.dataoffset, count, path, size)
        return store_of((path,), planes, keyframe, shape[:-2], note), ()
    pages = complete(series, count, path)
    sizes = {path: size}
    located = []
    for page in pages:
        file = page.parent.filehandle.path if series.is_multifile else path
        if file not in sizes:
            sizes[file] = os.path.getsize(file)
        located.append(locate(page, sizes[file], os.path.abspath(file)))
    return make_store(located, keyframe, shape[:-2], note), holes_note(located)


def _fields(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, axes: str) -> dict[str, Any]:
    """Return scale, units, channels and so on, as far as the file says them."""
    if is_imagej(tiff):
        return imagej_fields(tiff, axes, full_shape(series))
    scale = centimetre_scale(tiff.pages.first)
    return {"scale": scale, "units": dict.fromkeys(scale, "micrometer")}


def centimetre_scale(page: tifffile.TiffPage) -> Mapping[str, float]:
    """Return the size of a pixel (µm) from tags in px per cm; resolutions in inches are printers'."""
    if page.tags.valueof("ResolutionUnit") != _CENTIMETRE:
        return {}
    sizes = {axis: pixel_size(page, tag) for axis, tag in (("y", "YResolution"), ("x", "XResolution"))}
    found = {axis: 1e4 * size for axis, size in sizes.items() if size is not None}
    return found if len(found) == 2 and max(found.values()) <= _LARGEST_PIXEL else {}
