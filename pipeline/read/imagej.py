"""What an ImageJ TIFF says about its image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tifffile

from pipeline.errors import RequestError
from pipeline.image import Channel
from pipeline.units import unit_name

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
    scale, units = _space(tiff.pages.first, metadata)
    interval = _positive(metadata.get("finterval"))
    if interval:
        scale["t"], units["t"] = interval, _unit(metadata.get("tunit", "sec")) or "second"
    extras = tuple(words for key, words in _NOT_CARRIED.items() if metadata.get(key))
    channels = _channels(metadata, axes, shape)
    return {"scale": scale, "units": units, "channels": channels, "extras": extras}


def _space(page: tifffile.TiffPage, metadata: dict[str, Any]) -> tuple[dict[str, float], dict[str, str]]:
    common = metadata.get("unit", "")
    scale: dict[str, float] = {}
    units: dict[str, str] = {}
    for axis, tag in (("x", "XResolution"), ("y", "YResolution")):
        unit = _unit(metadata.get(f"{axis}unit", common))
        value = page.tags.valueof(tag)
        # Both are written as 1 px where the image has no scale.
        if unit and value and value[0] and value[1]:
            scale[axis], units[axis] = value[1] / value[0], unit
    spacing, unit = _positive(metadata.get("spacing")), _unit(metadata.get("zunit", common))
    if unit and spacing:
        scale["z"], units["z"] = spacing, unit
    return scale, units


def _unit(raw: object) -> str:
    """Return a unit by its NGFF name, or an empty text: ImageJ takes any word, and escapes the µ."""
    text = str(raw).strip()
    for escaped in ("\\u00B5", "\\u00b5", "\\u03BC", "\\u03bc"):
        text = text.replace(escaped, "µ")
    try:
        return unit_name(text) if text else ""
    except RequestError:
        return ""


def _positive(value: object) -> float:
    """Return a number above 0, or 0: ImageJ writes 0 for what it does not know."""
    known = isinstance(value, int | float) and math.isfinite(value) and value > 0
    return float(value) if known else 0.0  # type: ignore[arg-type]  # a number where known


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
