"""Metadata of an output's groups: NGFF, and JSON for whatever the provenance holds."""

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

BGONE = "bgone"  # group of the manifest and the provenance

# For channels that bring no colour: distinct on black, and from each other.
_COLORS = ("00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")


@dataclass(frozen=True)
class ContrastLimits:
    """Contrast limits of a channel, as in napari and in NGFF's `omero.channels.window`."""

    start: float  # shown black
    end: float  # shown white
    low: float  # ends of a viewer's slider
    high: float


def image_attributes(layout: Layout, limits: Sequence[ContrastLimits] | None = None) -> dict[str, Any]:
    """Return the NGFF attributes of the image's group; StoppedError if the scale cannot be expressed.

    `limits` has one for each channel (one in all without an axis c). Without limits and channel
    names there is no `omero` part.
    """
    _check_scale(layout)
    name = layout.spec.name or layout.path.rpartition("/")[2].removesuffix(".zarr").removesuffix(".ome")
    multiscale: dict[str, Any] = {
        "name": name,
        "axes": [_axis(layout, axis) for axis in layout.spec.axes],
        "datasets": [_dataset(layout, level) for level in range(len(layout.levels))],
    }
    if len(layout.levels) > 1:
        multiscale["type"] = "mean"
        multiscale["metadata"] = {"description": "mean of the level before, integers rounded half to even"}
    image: dict[str, Any] = {"multiscales": [multiscale]}
    if limits is not None or layout.spec.channels:
        image["omero"] = _omero(layout, limits, name)
    if layout.version == "0.4":
        multiscale["version"] = "0.4"
        return image
    return {"ome": {**image, "version": "0.5"}}


def check_attributes(layout: Layout, attributes: Mapping[str, Any]) -> None:
    """Raise StoppedError if attributes from `image_attributes` are not valid NGFF."""
    # Importing yaozarrs takes a tenth of a second, which a plan need not wait for.
    from yaozarrs import v04, v05

    model: type[v04.Image] | type[v05.Image]
    model, image = (v04.Image, attributes) if layout.version == "0.4" else (v05.Image, attributes["ome"])
    try:
        # yaozarrs warns of units that NGFF does not list, which are allowed.
        with warnings.catch_warnings(action="ignore"):
            model.model_validate(image)
    except ValidationError as error:
        raise StoppedError(f"the metadata of {layout.path} is not valid NGFF: {error}") from error


def _check_scale(layout: Layout) -> None:
    for axis, size in layout.spec.scale.items():
        if not (math.isfinite(size) and size > 0):
            raise StoppedError(
                f"a pixel of {size} along {axis} is no size", "give it in input.scale", "input.scale"
            )
    for axis, origin in layout.spec.translation.items():
        if not math.isfinite(origin):
            raise StoppedError(
                f"the first pixel lies at {origin} along {axis}, which is no place",
                "mend the input's metadata",
                "input.path",
            )


def _axis(layout: Layout, axis: str) -> dict[str, str]:
    unit = layout.spec.units.get(axis)
    return {"name": axis, "type": kind(axis)} | ({"unit": unit} if unit else {})


def _dataset(layout: Layout, level: int) -> dict[str, Any]:
    spec, scale, translation = layout.spec, [], []
    for axis, factor in zip(spec.axes, layout.levels[level].factors, strict=True):
        size = float(spec.scale.get(axis, 1.0))
        scale.append(size * factor)
        # A coordinate is that of a pixel's centre, so the first pixel of a coarser level lies
        # ½ × (factor − 1) pixels of full resolution further in.
        translation.append(float(spec.translation.get(axis, 0.0)) + size * (factor - 1) / 2)
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if any(translation):
        transforms.append({"type": "translation", "translation": translation})
    return {"path": str(level), "coordinateTransformations": transforms}


def _omero(layout: Layout, limits: Sequence[ContrastLimits] | None, name: str) -> dict[str, Any]:
    count = layout.spec.sizes.get("c", 1)
    limits = list(limits or [default_limits(layout.spec.dtype)])
    channels = []
    for index in range(count):
        channel = layout.spec.channels[index] if index < len(layout.spec.channels) else Channel("")
        shown = limits[min(index, len(limits) - 1)]
        color = channel.color.lstrip("#").upper()
        if not re.fullmatch("[0-9A-F]{6}", color):
            color = "FFFFFF" if count == 1 else _COLORS[index % len(_COLORS)]
        channels.append(
            {
                "active": True,
                "color": color,
                "coefficient": 1,
                "family": "linear",
                "inverted": False,
                "label": channel.name or f"channel {index}",
                "window": {"start": shown.start, "end": shown.end, "min": shown.low, "max": shown.high},
            }
        )
    model = "greyscale" if count == 1 else "color"
    return {"name": name, "channels": channels, "rdefs": {"defaultT": 0, "defaultZ": 0, "model": model}}


def default_limits(dtype: np.dtype) -> ContrastLimits:
    """Return the range of an integer type from 0 on, or 0 to 1 for floats."""
    if dtype.kind == "f":
        return ContrastLimits(0.0, 1.0, 0.0, 1.0)
    info = np.iinfo(dtype)
    return ContrastLimits(float(max(info.min, 0)), float(info.max), float(info.min), float(info.max))


def group_files(layout: Layout, folder: str, attributes: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the metadata files of a group, by their path inside the image."""
    prefix = f"{folder}/" if folder else ""
    if layout.version == "0.5":
        group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        return {f"{prefix}zarr.json": _json(group)}
    return {f"{prefix}.zattrs": _json(attributes), f"{prefix}.zgroup": _json({"zarr_format": 2})}


def _json(value: object) -> bytes:
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    # A file name need not be UTF-8; its surrogates become valid JSON escapes.
    return text.encode(errors="backslashreplace") + b"\n"


def _plain(value: Any) -> Any:
    """Convert a value to what JSON can hold."""
    # Lenient: an odd value of the provenance must not end a run of days at its last step.
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
