"""Zarr and OME-Zarr: which array is the image, and what its metadata says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import zarr
from pydantic import ValidationError
from yaozarrs import v04, v05

from pipeline.axes import ORDER, SPACE
from pipeline.errors import RequestError
from pipeline.image import Channel
from pipeline.read.files import FIELD, listed
from pipeline.read.opened import UNKNOWN, Opened
from pipeline.read.zarr_store import ZarrStore, children, describe_arrays, open_node
from pipeline.units import unit_name

Multiscale = v04.Multiscale | v05.Multiscale
_MODELS: dict[str, type[v04.Multiscale] | type[v05.Multiscale]] = {
    "0.4": v04.Multiscale,
    "0.5": v05.Multiscale,
}


def open_array(array: zarr.Array, root: str) -> Opened:
    """Describe a plain array; its axes are known where its dimensions have names, or are two."""
    store = ZarrStore.of(array, root, "")
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    axes = "".join(_letter(name) for name in names) if isinstance(names, Sequence) else ""
    if len(axes) != array.ndim or UNKNOWN in axes:
        axes = "yx" if array.ndim == 2 and not axes else UNKNOWN * array.ndim
    return Opened(store, axes, root)


def _letter(name: object) -> str:
    text = str(name).strip().lower()
    text = {"time": "t", "channel": "c", "channels": "c"}.get(text, text)
    return text if text in tuple(ORDER) else UNKNOWN


def ome_attributes(group: zarr.Group) -> tuple[Mapping[str, Any], str]:
    """Return a group's OME attributes, wherever its version keeps them, and the version."""
    attributes: dict[str, Any] = group.attrs.asdict()
    if isinstance(attributes.get("ome"), Mapping):
        ome = dict(attributes["ome"])
        return ome, str(ome.get("version", "0.5"))
    multiscales = attributes.get("multiscales")
    first = multiscales[0] if isinstance(multiscales, list) and multiscales else {}
    version = first.get("version", "0.4") if isinstance(first, Mapping) else "0.4"
    return attributes, str(version)


def open_multiscale(root: str, path: str, group: zarr.Group, series: int | None, level: int) -> Opened:
    """Open one level of an image.

    Parameters
    ----------
    root : str
        Folder or URL that was opened.
    path : str
        Of the image's group within it; empty for the root itself.
    group : zarr.Group
        The image's group.
    series : int, optional
        Which of its images, where it holds several.
    level : int
        0 is the finest.

    Raises
    ------
    RequestError
        The metadata is not valid, or the image or level is not there.
    """
    attributes, version = ome_attributes(group)
    where = "/".join(part for part in (root, path) if part)
    multiscale = _multiscale(where, attributes["multiscales"], version, series, group)
    datasets: list[Any] = multiscale.datasets
    if not 0 <= level < len(datasets):
        paths = listed(f"{index} ({dataset.path})" for index, dataset in enumerate(datasets))
        raise RequestError(f"{where!r} has no level {level}", f"its levels are {paths}", "input.level")
    inner = "/".join(part for part in (path, datasets[level].path.strip("/")) if part)
    array = open_node(root, inner)
    if not isinstance(array, zarr.Array):
        raise RequestError(f"{where!r} names {inner!r}, which is no array", "write it again", FIELD)
    axes = _axes(multiscale)
    if len(axes) != array.ndim:
        text = f"has {len(axes)} axes in its metadata and {array.ndim} in its array"
        raise RequestError(f"{where!r} {text}", f"mend it, or give {root}/{inner} with input.axes", FIELD)
    scale, translation = _transforms(multiscale, level)
    units = {axis: unit for axis, entry in zip(axes, multiscale.axes, strict=True) if (unit := _unit(entry))}
    known = {a: s for a, s in zip(axes, scale, strict=True) if a in units or s != 1.0}
    return Opened(
        ZarrStore.of(array, root, inner), axes, where,
        scale=known, units=units, translation=dict(zip(axes, translation, strict=True)),
        channels=_channels(attributes.get("omero"), array.shape[axes.index("c")] if "c" in axes else 0),
        name=multiscale.name or "", extras=_extras(group, {d.path.split("/")[0] for d in datasets}),
    )  # fmt: skip


def _multiscale(
    where: str, entries: object, version: str, series: int | None, group: zarr.Group
) -> Multiscale:
    if version not in _MODELS:
        raise RequestError(
            f"{where!r} is OME-Zarr {version}, and bgone reads 0.4 and 0.5",
            f"give one of its arrays with input.axes: {describe_arrays(group)}",
            FIELD,
        )
    found = entries if isinstance(entries, list) else [entries]
    names = listed(f"{index} ({_entry_name(entry)})" for index, entry in enumerate(found))
    if series is None and len(found) > 1:
        raise RequestError(
            f"{where!r} holds several images: {names}", "say which in input.series", "input.series"
        )
    index = series or 0
    if not 0 <= index < len(found):
        raise RequestError(f"{where!r} has no series {index}", f"it has {names}", "input.series")
    try:
        return _MODELS[version].model_validate(found[index])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in ("multiscales", index, *first["loc"]))
        reason = first["msg"].removeprefix("Value error, ").strip().splitlines()[0]
        raise RequestError(
            f"{where!r} has metadata that is not OME-Zarr {version}: {place}: {reason}",
            f"mend it, or give one of its arrays with input.axes: {describe_arrays(group)}",
            FIELD,
        ) from None


def _entry_name(entry: object) -> str:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return str(name or "unnamed")


def _axes(multiscale: Multiscale) -> str:
    letters = [_letter(axis.name) for axis in multiscale.axes]
    types = [getattr(axis, "type", None) for axis in multiscale.axes]
    if UNKNOWN in letters:
        # Names are free in OME-Zarr where the type says what an axis measures.
        space = iter(SPACE[-types.count("space") :])
        by_type = {"time": "t", "channel": "c"}
        letters = [next(space) if kind == "space" else by_type.get(kind or "", UNKNOWN) for kind in types]
    return "".join(letters)


def _unit(entry: object) -> str:
    unit = getattr(entry, "unit", None)
    if not unit:
        return ""
    try:
        return unit_name(str(unit))
    except RequestError:
        return ""


def _transforms(multiscale: Multiscale, level: int) -> tuple[list[float], list[float]]:
    """Return scale and translation: the level's own, then the whole pyramid's."""
    scale, translation = [1.0] * len(multiscale.axes), [0.0] * len(multiscale.axes)
    for transform in (
        *multiscale.datasets[level].coordinateTransformations,
        *(multiscale.coordinateTransformations or ()),
    ):
        if transform.type == "scale":
            scale = [old * new for old, new in zip(scale, transform.scale, strict=True)]
            translation = [old * new for old, new in zip(translation, transform.scale, strict=True)]
        else:
            translation = [old + new for old, new in zip(translation, transform.translation, strict=True)]
    return scale, translation


def _channels(omero: object, count: int) -> tuple[Channel, ...]:
    """Return names and colours; what is not of the right form is no reason to refuse the pixels."""
    entries = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(entries, list) or len(entries) != count:
        return ()
    entries = [entry if isinstance(entry, Mapping) else {} for entry in entries]
    return tuple(
        Channel(str(entry.get("label") or ""), str(entry.get("color") or "").lstrip("#").upper())
        for entry in entries
    )


def _extras(group: zarr.Group, levels: set[str]) -> tuple[str, ...]:
    found = []
    for name, node in children(group):
        if name in levels or name == "bgone":  # bgone's own notes on how the image was made
            continue
        inside = ome_attributes(node)[0].get(name, []) if isinstance(node, zarr.Group) else []
        names = [str(item) for item in inside] if isinstance(inside, list) else []
        found.append(f"{name} ({listed(names)})" if names else name)
    return tuple(found)
