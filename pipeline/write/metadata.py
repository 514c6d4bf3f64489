"""An output's metadata: NGFF and provenance."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from pipeline.model.axes import kind
from pipeline.model.errors import StoppedError
from pipeline.model.image import Channel
from pipeline.write.layout import Layout

# Seen against black and against each other; a channel's own colour comes first.
_COLORS = ("00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")
BGONE = "bgone"


@dataclass(frozen=True)
class ContrastLimits:
    """Contrast of a channel: what is shown black and white, and what values there are."""

    start: float
    end: float
    low: float
    high: float


def image_attributes(layout: Layout, limits: Sequence[ContrastLimits] | None = None) -> dict[str, Any]:
    """Return the NGFF attributes of the image's group, validated.

    Parameters
    ----------
    layout : Layout
        The output.
    limits : sequence of ContrastLimits, optional
        One for each channel (one in all without an axis c); without them there is no `omero` part
        unless channels are named.

    Raises
    ------
    StoppedError
        The metadata is not valid NGFF.
    """
    from yaozarrs import v04, v05

    _check_scale(layout)
    name = layout.spec.name or layout.path.rpartition("/")[2].removesuffix(".zarr").removesuffix(".ome")
    multiscale = {
        "name": name,
        "axes": [_axis(layout, axis) for axis in layout.spec.axes],
        "datasets": [_dataset(layout, level) for level in range(len(layout.levels))],
        "type": "mean",
        "metadata": {"description": "mean of the level before, integers rounded half to even"},
    }
    if len(layout.levels) == 1:
        del multiscale["type"], multiscale["metadata"]
    if layout.version == "0.4":
        multiscale["version"] = "0.4"
    image: dict[str, Any] = {"multiscales": [multiscale]}
    omero = _omero(layout, limits, name)
    if omero is not None:
        image["omero"] = omero
    try:
        # A unit that NGFF does not list is allowed, and what the data says.
        with warnings.catch_warnings(action="ignore"):
            if layout.version == "0.4":
                v04.Image.model_validate(image)
                return image
            image["version"] = "0.5"
            v05.Image.model_validate(image)
    except ValidationError as error:
        raise StoppedError(f"the metadata of {layout.path} is not valid NGFF: {error}") from error
    return {"ome": image}


def _check_scale(layout: Layout) -> None:
    for axis, size in layout.spec.scale.items():
        if not (math.isfinite(size) and size > 0):
            raise StoppedError(
                f"a pixel of {size} along {axis} is no size", "give it in input.scale", "input.scale"
            )
    for axis, place in layout.spec.translation.items():
        if not math.isfinite(place):
            raise StoppedError(
                f"the first pixel lies at {place} along {axis}, which is no place",
                "mend the input's metadata",
                "input.path",
            )


def _axis(layout: Layout, axis: str) -> dict[str, str]:
    entry = {"name": axis, "type": kind(axis)}
    if unit := layout.spec.units.get(axis):
        entry["unit"] = unit
    return entry


def _dataset(layout: Layout, level: int) -> dict[str, Any]:
    """Return scale and translation of a level.

    A pixel's coordinate is that of its centre, so the first pixel of a level that halves
    lies half a fine pixel further in: ½ × (factor − 1) pixels of full resolution.
    """
    spec, factors = layout.spec, layout.levels[level].factors
    scale, translation = [], []
    for axis, factor in zip(spec.axes, factors, strict=True):
        size = float(spec.scale.get(axis, 1.0))
        scale.append(size * factor)
        translation.append(float(spec.translation.get(axis, 0.0)) + size * (factor - 1) / 2)
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if any(translation):
        transforms.append({"type": "translation", "translation": translation})
    return {"path": str(level), "coordinateTransformations": transforms}


def _omero(layout: Layout, limits: Sequence[ContrastLimits] | None, name: str) -> dict[str, Any] | None:
    count = layout.spec.sizes.get("c", 1)
    channels = layout.spec.channels
    if limits is None and not channels:
        return None
    shown = list(limits or [default_limits(layout.spec.dtype)] * count)
    single = "FFFFFF" if count == 1 else ""
    entries = []
    for index in range(count):
        channel = channels[index] if index < len(channels) else None
        entry: dict[str, Any] = {
            "active": True,
            "color": _color(channel) or single or _COLORS[index % len(_COLORS)],
            "coefficient": 1,
            "family": "linear",
            "inverted": False,
            "label": (channel.name if channel else "") or f"channel {index}",
            "window": _omero_window(shown[min(index, len(shown) - 1)]),
        }
        entries.append(entry)
    model = "greyscale" if count == 1 else "color"
    return {"name": name, "channels": entries, "rdefs": {"defaultT": 0, "defaultZ": 0, "model": model}}


def _color(channel: Channel | None) -> str:
    color = channel.color.lstrip("#").upper() if channel else ""
    return color if re.fullmatch("[0-9A-F]{6}", color) else ""


def _omero_window(limits: ContrastLimits) -> dict[str, float]:
    return {"start": limits.start, "end": limits.end, "min": limits.low, "max": limits.high}


def default_limits(dtype: np.dtype) -> ContrastLimits:
    """Return the whole range of an integer type, or 0 to 1."""
    if dtype.kind == "f":
        return ContrastLimits(0.0, 1.0, 0.0, 1.0)
    info = np.iinfo(dtype)
    return ContrastLimits(float(max(info.min, 0)), float(info.max), float(info.min), float(info.max))


def group_files(layout: Layout, folder: str, attributes: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the metadata files of a group: path inside the image → bytes."""
    prefix = f"{folder}/" if folder else ""
    if layout.version == "0.5":
        group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        return {f"{prefix}zarr.json": _json(group)}
    return {f"{prefix}.zattrs": _json(attributes), f"{prefix}.zgroup": _json({"zarr_format": 2})}


def _json(value: object) -> bytes:
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    # A name on a disk need not be UTF-8, and is a valid escape so.
    return text.encode(errors="backslashreplace") + b"\n"


def _plain(value: Any) -> Any:
    """Return what JSON can hold, so that a run of days does not end in an odd value of its provenance."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
