"""What an OME-XML says beside where planes are: sizes of pixels, intervals, channels."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import numpy as np

from pipeline.model.errors import RequestError
from pipeline.model.image import Channel
from pipeline.model.units import convertible, ratio, unit_name
from pipeline.read.tiff.ome_xml import OmeImage, below, whole_number

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?INF")
_SIZES = {"z": "PhysicalSizeZ", "y": "PhysicalSizeY", "x": "PhysicalSizeX", "t": "TimeIncrement"}
_MEASURES = {"t": ("s", "second"), "z": ("µm", "meter"), "y": ("µm", "meter"), "x": ("µm", "meter")}
# OME's own words for a size that is not known.
_NO_UNITS = ("pixel", "reference frame")
_TYPES = {"float": "float32", "double": "float64", "bit": "bool", "complex": "complex64",
          "double-complex": "complex128"}  # fmt: skip


@dataclass
class Measures:
    """Sizes of an image's pixels, by axis.

    Parameters
    ----------
    scale, units, said_by : dict
        As in `Opened`.
    notes : list of str
        What says nothing although it is there.
    """

    scale: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    said_by: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, axis: str, element: ElementTree.Element) -> None:
        """Take the size along an axis from the attributes of Pixels."""
        name = _SIZES[axis]
        raw = element.get(name, "").strip()
        if not raw:
            return
        said = element.get(f"{name}Unit", _MEASURES[axis][0]).strip()
        unit = _unit(axis, said)
        if unit:
            self.scale[axis], self.units[axis] = _number(raw), unit
            self.said_by[axis] = f'{name}="{raw[:20]}"'
        elif said not in _NO_UNITS:
            measure = "time" if axis == "t" else "length"
            self.notes.append(f"{name} is in {said[:20]!r}, no {measure}, and is taken as unknown")


def fields(image: OmeImage) -> dict[str, Any]:
    """Return scale, units, channels and name of an image, and what was assumed of them."""
    found = Measures()
    for axis in _SIZES:
        found.add(axis, image.element)
    if not found.scale.get("t"):
        interval = _interval(image, found)
        if interval:
            found.scale["t"], found.units["t"] = interval, "second"
            found.said_by["t"] = "DeltaT"
    return {
        "scale": found.scale,
        "units": found.units,
        "said_by": found.said_by,
        "channels": _channels(image.element),
        "name": image.name,
        "notes": tuple(found.notes),
    }


def type_note(image: OmeImage, dtype: np.dtype) -> tuple[str, ...]:
    """Return what is to be said where the OME-XML and the pages disagree about what a pixel is."""
    said = image.element.get("Type", "").strip()
    if not said or _TYPES.get(said, said) == dtype.name:
        return ()
    return (f'the OME-XML says Type="{said[:20]}", and the pages hold {dtype.name}, which is taken',)


def _number(text: str) -> float:
    """Return an XML Schema float; NaN for what is none."""
    return float(text) if _NUMBER.fullmatch(text) else float("nan")


def _unit(axis: str, said: str) -> str:
    """Return a unit by its NGFF name, or an empty text where it measures something else."""
    try:
        unit = unit_name(said)
    except RequestError:
        return ""
    return unit if convertible(unit, _MEASURES[axis][1]) else ""


def _channels(pixels: ElementTree.Element) -> tuple[Channel, ...]:
    found = tuple(
        Channel(channel.get("Name", ""), _color(channel.get("Color", "")))
        for channel in below(pixels, "Channel")
    )
    return found if any(channel.name or channel.color for channel in found) else ()


def _color(text: str) -> str:
    """Return RRGGBB of a signed RGBA; OME's own default, opaque white, says nothing."""
    try:
        value = int(text) & 0xFFFFFFFF
    except ValueError:
        return ""
    color = f"{value >> 8:06X}"
    return "" if color == "FFFFFF" else color


def _interval(image: OmeImage, found: Measures) -> float | None:
    """Return the median time between frames (s), where each plane says when it was taken."""
    times: dict[int, float] = {}
    for plane in below(image.element, "Plane"):
        raw = plane.get("DeltaT", "").strip()
        if not raw or not plane.get("TheC") == plane.get("TheZ") == "0":
            continue
        said = plane.get("DeltaTUnit", "s").strip()
        unit, time = _unit("t", said), _number(raw)
        try:
            frame = whole_number(plane, "TheT", 0, 0)
        except ValueError:
            frame = image.sizes["T"]
        if not unit or not np.isfinite(time) or frame >= image.sizes["T"]:
            wrong = f'DeltaT="{raw[:20]}" {said[:20]} at TheT="{plane.get("TheT", "")[:20]}"'
            found.notes.append(f"{wrong} is no time of a frame, so the interval is unknown")
            return None
        times[frame] = time * ratio(unit, "second")
    if len(times) < max(2, image.sizes["T"]):
        return None
    steps = np.diff([times[frame] for frame in sorted(times)])
    return float(np.median(steps)) if (steps > 0).all() else None
