"""Axes, scale and channels of an ImageJ TIFF."""

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
    """Return whether a file has ImageJ's metadata."""
    return bool(tiff.is_imagej) and tiff.imagej_metadata is not None


def imagej_fields(tiff: tifffile.TiffFile, axes: str, shape: Sequence[int]) -> dict[str, Any]:
    """Return scale, units, channels and extras of a file with the given axes, as keywords of `Opened`."""
    metadata, page = tiff.imagej_metadata, tiff.pages.first
    common, spacing = metadata.get("unit", ""), _number(metadata.get("spacing"))
    x, y = pixel_spacing(page, "XResolution"), pixel_spacing(page, "YResolution")
    sizes = {
        "x": (x, metadata.get("xunit", common), f"XResolution={1 / x:g}" if x else ""),
        "y": (y, metadata.get("yunit", common), f"YResolution={1 / y:g}" if y else ""),
        "z": (spacing, metadata.get("zunit", common), f"spacing={spacing or 0:g}"),
    }
    scale: dict[str, float] = {}
    units: dict[str, str] = {}
    scale_source: dict[str, str] = {}
    for axis, (size, word, source) in sizes.items():
        unit = _unit(word)
        # Without a unit, the size is a mere 1 px.
        if unit and size is not None:
            scale[axis], units[axis], scale_source[axis] = size, unit, source
    notes: tuple[str, ...] = ()
    if "z" in scale:
        # The sign is the direction of the stage, which ImageJ ignores too.
        if -math.inf < scale["z"] < 0:
            notes = (f"{scale_source['z']} is taken as {-scale['z']:g}, as ImageJ does",)
        scale["z"] = abs(scale["z"])
    interval = _number(metadata.get("finterval"))
    if interval is not None:
        scale["t"], units["t"] = interval, _unit(metadata.get("tunit", "sec")) or "second"
        scale_source["t"] = f"finterval={interval:g}"
    return {
        "scale": scale,
        "units": units,
        "scale_source": scale_source,
        "channels": _channels(metadata, axes, shape) if "c" in axes else (),
        "not_carried": tuple(name for key, name in _NOT_CARRIED.items() if metadata.get(key)),
        "notes": notes,
    }


def pixel_spacing(page: tifffile.TiffPage, tag: str) -> float | None:
    """Return the inverse of a resolution tag, or None if it is missing, 0 or no fraction."""
    value = page.tags.valueof(tag)
    fraction = (
        isinstance(value, tuple) and len(value) == 2 and all(isinstance(number, int) for number in value)
    )
    return value[1] / value[0] if fraction and value[0] and value[1] else None


def _unit(raw: object) -> str:
    """Return the NGFF name of a unit, or an empty string: ImageJ takes any word."""
    text = str(raw).strip()
    for escaped in ("\\u00B5", "\\u00b5", "\\u03BC", "\\u03bc"):
        text = text.replace(escaped, "µ")
    try:
        return unit_name(text) if text else ""
    except RequestError:
        return ""


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _channels(metadata: dict[str, Any], axes: str, shape: Sequence[int]) -> tuple[Channel, ...]:
    names, colors = _names(metadata, axes, shape), _colors(metadata, shape[axes.index("c")])
    if not any(names) and not any(colors):
        return ()
    return tuple(Channel(name, color) for name, color in zip(names, colors, strict=True))


def _names(metadata: dict[str, Any], axes: str, shape: Sequence[int]) -> list[str]:
    """Return channel names from the slice labels, if these depend on the channel only; else empty names."""
    count = shape[axes.index("c")]
    labels = [str(label) for label in metadata.get("Labels") or ()]
    lead = [size for axis, size in zip(axes, shape, strict=False) if axis not in "yx"]
    names = [""]
    if len(labels) == count:
        names = labels
    elif len(labels) == math.prod(lead):
        order = [axis for axis in axes if axis not in "yx"].index("c")
        by_channel = np.moveaxis(np.array(labels, dtype=object).reshape(lead), order, 0).reshape(count, -1)
        if (by_channel == by_channel[:, :1]).all():
            names = [str(name) for name in by_channel[:, 0]]
    return names if len(set(names)) == count else [""] * count


def _colors(metadata: dict[str, Any], count: int) -> list[str]:
    """Return RRGGBB of the brightest entry of each channel's look-up table, or empty strings."""
    tables = metadata.get("LUTs") or ()
    if len(tables) != count or metadata.get("mode") == "grayscale":
        return [""] * count
    return ["".join(f"{int(value):02X}" for value in np.asarray(table)[:, -1]) for table in tables]
