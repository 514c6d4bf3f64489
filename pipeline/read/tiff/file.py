"""One TIFF file: which of its images to read, where its planes are, and what its metadata says."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tifffile

from pipeline.model.errors import RequestError
from pipeline.read.files import damaged, input_error, listed
from pipeline.read.formats import COMPANION_SUFFIXES
from pipeline.read.opened import UNKNOWN, Opened, choose_series, layout_text
from pipeline.read.tiff.handles import open_tiff
from pipeline.read.tiff.imagej import imagej_fields, is_imagej, pixel_spacing
from pipeline.read.tiff.ome import open_ome
from pipeline.read.tiff.pages import check_samples, contiguous_planes, locate, make_store, sparse_note
from pipeline.read.tiff.store import TiffStore

_CENTIMETRE = 3  # of the tag ResolutionUnit
# A resolution in px per cm is often a printer's; no microscope has pixels larger than this (µm).
_LARGEST_PIXEL = 100.0
# tifffile's letters for axes whose meaning the file does not say.
_UNNAMED = {"Q": UNKNOWN, "I": UNKNOWN}


def open_tiff_file(path: str, series: int | None, level: int) -> Opened:
    """Open a TIFF of any kind, or the companion file of an OME-TIFF.

    Raises
    ------
    RequestError
        It is no TIFF, is damaged, or is of a kind that bgone does not read.
    """
    if path.lower().endswith(COMPANION_SUFFIXES):
        return open_ome(path, series, level)
    with open_tiff(path) as tiff:
        if not tiff.is_ome:
            return _open_plain(tiff, path, series, level)
    return open_ome(path, series, level)


def _open_plain(tiff: tifffile.TiffFile, path: str, series: int | None, level: int) -> Opened:
    """Open a TIFF that is no OME-TIFF."""
    images = _all_series(tiff)
    pyramids = [(image, image.levels) for image in images if not image.keyframe.is_reduced]
    if len(pyramids) == 1:
        # Coarser copies that do not name their axes come as images of their own.
        smaller = [image for image in images if image.keyframe.is_reduced]
        pyramids = [(pyramids[0][0], [*pyramids[0][1], *smaller])]
    pyramids = pyramids or [(image, image.levels) for image in images]
    index = choose_series(path, [(image.name, _series_text(image)) for image, _ in pyramids], series)
    image, levels = pyramids[index]
    if tiff.is_imagej and image.kind != "imagej":
        raise damaged(path, "its ImageJ description does not fit its size")
    if not 0 <= level < len(levels):
        text = listed(f"{number} ({_series_text(item)})" for number, item in enumerate(levels))
        raise RequestError(f"{path!r} has no level {level}", f"its levels are {text}", "input.level")
    store = _series_store(tiff, levels[level], path, f"{index}/{level}")
    # The store has no axis of samples, which is always the last.
    axes = _letters(_full_axes(image).removesuffix("S"))
    if len(axes) != len(store.shape):
        raise damaged(path, f"its level {level} has {len(store.shape)} axes, and level 0 has {len(axes)}")
    fields = _fields(tiff, image, axes)
    if level:
        full, sizes = (dict(zip(axes, shape, strict=False)) for shape in (_full_shape(image), store.shape))
        fields["scale"] = {
            axis: value * full[axis] / sizes[axis] for axis, value in fields["scale"].items() if axis in sizes
        }
    optional = "tcz?" if _short_axes(image)[0] != _full_axes(image) else ""
    fields["notes"] = (*fields.get("notes", ()), *sparse_note(store.planes))
    return Opened(store, axes, path, optional=optional, **fields)


# Up to tifffile 2026.3 `TiffFile.series` is a list whose members have two shapes, one of them without the
# axes of length one; since 2026.5 it is called for one or the other.


def _all_series(tiff: tifffile.TiffFile) -> Sequence[Any]:
    return tiff.series(squeeze=False) if callable(tiff.series) else tiff.series


def _full_axes(series: Any) -> str:
    return series.get_axes(squeeze=False) if hasattr(series, "get_axes") else series.axes


def _full_shape(series: Any) -> tuple[int, ...]:
    return series.get_shape(squeeze=False) if hasattr(series, "get_shape") else series.shape


def _short_axes(series: Any) -> tuple[str, tuple[int, ...]]:
    """Return axes and shape without those of length one, y and x excepted, as tifffile squeezes them."""
    axes, shape = _full_axes(series), _full_shape(series)
    # Arrays that tifffile wrote have the axes they were given; other formats always write all of theirs.
    if series.kind == "shaped":
        return axes, shape
    indices = [index for index, axis in enumerate(axes) if shape[index] != 1 or axis in "YX"]
    return "".join(axes[index] for index in indices), tuple(shape[index] for index in indices)


def _series_text(series: Any) -> str:
    axes, shape = _short_axes(series)
    return layout_text(_letters(axes), shape)


def _letters(axes: str) -> str:
    return "".join(_UNNAMED.get(letter, letter.lower()) for letter in axes)


def _series_store(
    tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: str, note: str
) -> TiffStore:
    keyframe = series.keyframe
    check_samples(keyframe, path)
    letters, shape = _full_axes(series), _full_shape(series)
    if letters.endswith("S"):
        letters, shape = letters[:-1], shape[:-1]
    if "S" in letters or shape[-2:] != (keyframe.imagelength, keyframe.imagewidth):
        raise input_error(f"{path!r} is stored in pages that are not its planes", "convert it to OME-TIFF")
    lead, count, size = shape[:-2], math.prod(shape[:-2]), tiff.filehandle.size
    if not series.is_multifile and series.dataoffset is not None:
        planes = contiguous_planes(keyframe, series.dataoffset, count, path, size)
        return make_store((path,), planes, lead, keyframe, note)
    pages = [page for page in series if page is not None]
    if len(pages) != count:
        raise damaged(path, f"it says {count} planes, and holds {len(pages)}")
    files = [page.parent.filehandle.path if series.is_multifile else path for page in pages]
    sizes = {file: size if file == path else os.path.getsize(file) for file in dict.fromkeys(files)}
    numbers = {file: number for number, file in enumerate(sizes)}
    located = [
        locate(page, file, sizes[file], numbers[file]) for page, file in zip(pages, files, strict=True)
    ]
    return make_store(tuple(sizes), located, lead, keyframe, note)


def _fields(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, axes: str) -> dict[str, Any]:
    """Return scale, units, channels and so on as keywords of `Opened`, if the file has them."""
    if is_imagej(tiff):
        return imagej_fields(tiff, axes, _full_shape(series))
    scale = _centimetre_scale(tiff.pages.first)
    return {"scale": scale, "units": dict.fromkeys(scale, "micrometer")}


def _centimetre_scale(page: tifffile.TiffPage) -> Mapping[str, float]:
    """Return the size of a pixel (µm) from tags in px per cm; resolutions in inches are printers'."""
    if page.tags.valueof("ResolutionUnit") != _CENTIMETRE:
        return {}
    sizes = {"y": pixel_spacing(page, "YResolution"), "x": pixel_spacing(page, "XResolution")}
    scale = {axis: 1e4 * size for axis, size in sizes.items() if size is not None}
    return scale if len(scale) == 2 and max(scale.values()) <= _LARGEST_PIXEL else {}
