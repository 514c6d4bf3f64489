"""What an ImageJ TIFF says about its image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tifffile

from pipeline.model.errors import RequestError
from pipeline.model.image import Channel
from pipeline.model.units import unit_name

_NOT_CARRIED = {"ROI": "an ImageJ selection", "Overlays": "ImageJ overlays"}


def is_imagej(tiff: tifffile.TiffFile) -> bool:
    """Return whether ImageJ, or something that writes as it does, wrote a file."""
    return bool(tiff.is_imagej) and tiff.imagej_metadata is not None


def imagej_fields(tiff: tifffile.TiffFile, axes: str, shape: Sequence[int]) -> dict[str, Any]:
    """Return scale, units, channels and what is not carried over.

    Parameters
    ----------
    tiff : tifffile.TiffFile
        The file.
    axes : str
        A letter for each stored axis.
    shape : sequence of int
        Their lengths.
    """
    metadata = tiff.imagej_metadata
    scale, units, said_by = _space(tiff.pages.first, metadata)
    notes = _depth(metadata, scale, units, said_by)
    interval = _number(metadata.get("finterval"))
    if interval is not None:
        scale["t"], units["t"] = interval, _unit(metadata.get("tunit", "sec")) or "second"
        said_by["t"] = f"finterval={interval:g}"
    extras = tuple(words for key, words in _NOT_CARRIED.items() if metadata.get(key))
    channels = _channels(metadata, axes, shape)
    return {
        "scale": scale, "units": units, "said_by": said_by, "channels": channels,
        "extras": extras, "notes": notes,
    }  # fmt: skip


Words = dict[str, str]


def _space(page: tifffile.TiffPage, metadata: dict[str, Any]) -> tuple[dict[str, float], Words, Words]:
    common = metadata.get("unit", "")
    scale: dict[str, float] = {}
    units: Words = {}
    said_by: Words = {}
    for axis, tag in (("x", "XResolution"), ("y", "YResolution")):
        unit, size = _unit(metadata.get(f"{axis}unit", common)), pixel_size(page, tag)
        # Both are written as 1 px where the image has no scale.
        if unit and size is not None:
            scale[axis], units[axis], said_by[axis] = size, unit, f"{tag}={1 / size:g}"
    return scale, units, said_by


def _depth(
    metadata: dict[str, Any], scale: dict[str, float], units: Words, said_by: Words
) -> tuple[str, ...]:
    """Take the distance between planes, and return what is to be said of it."""
    spacing, unit = _number(metadata.get("spacing")), _unit(metadata.get("zunit", metadata.get("unit", "")))
    if not unit or spacing is None:
        return ()
    scale["z"], units["z"], said_by["z"] = abs(spacing), unit, f"spacing={spacing:g}"
    # The sign tells in which direction the stage went, and ImageJ leaves it out too.
    return (
        (f"spacing={spacing:g} is taken as {-spacing:g}, as ImageJ does",) if -math.inf < spacing < 0 else ()
    )


def pixel_size(page: tifffile.TiffPage, tag: str) -> float | None:
    """Return one over a resolution, or None where the tag is not there, is 0 or no fraction."""
    value = page.tags.valueof(tag)
    fraction = isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, int) for part in value)
    return value[1] / value[0] if fraction and value[0] and value[1] else None


def _unit(raw: object) -> str:
    """Return a unit by its NGFF name, or an empty text: ImageJ takes any word, and escapes the µ."""
    text = str(raw).strip()
    for escaped in ("\\u00B5", "\\u00b5", "\\u03BC", "\\u03bc"):
        text = text.replace(escaped, "µ")
    try:
        return unit_name(text) if text else ""
    except RequestError:
        return ""


def _number(value: object) -> float | None:
    """Return a number, or None for what is none."""
    return float(value) if isinstance(value, int | float) else None


def _channels(metadata: dict[str, Any], axes: str, shape: Sequence[int]) -> tuple[Channel, ...]:
    if "c" not in axes:
        return ()
    count = shape[axes.index("c")]
    names, colors = _names(metadata, axes, shape), _colors(metadata, count)
    if not any(names) and not any(colors):
        return ()
    return tuple(Channel(name, color) for name, color in zip(names, colors, strict=True))


def _names(metadata: dict[str, Any], axes: str, shape: Sequence[int]) -> list[str]:
    """Return names of channels out of the slice labels, where a label depends on the channel alone."""
    count = shape[axes.index("c")]
    labels = [str(label) for label in metadata.get("Labels") or ()]
    lead = [size for axis, size in zip(axes, shape, strict=False) if axis not in "yx"]
    if len(labels) == count:
        return labels if len(set(labels)) == count else [""] * count
    if len(labels) != math.prod(lead):
        return [""] * count
    order = [axis for axis in axes if axis not in "yx"].index("c")
    by_channel = np.moveaxis(np.array(labels, dtype=object).reshape(lead), order, 0).reshape(count, -1)
    names = [str(row[0]) for row in by_channel]
    constant = all((row == row[0]).all() for row in by_channel)
    return names if constant and len(set(names)) == count else [""] * count


def _colors(metadata: dict[str, Any], count: int) -> list[str]:
    """Return the brightest entry of each channel's look-up table."""
    tables = metadata.get("LUTs") or ()
    if len(tables) != count or metadata.get("mode") == "grayscale":
        return [""] * count
    return ["".join(f"{int(value):02X}" for value in np.asarray(table)[:, -1]) for table in tables]
