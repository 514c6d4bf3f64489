"""OME-Zarr images: their arrays, and the metadata of the one that is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import zarr

from pipeline.model.errors import RequestError
from pipeline.read.files import FIELD, listed
from pipeline.read.opened import UNKNOWN, Opened, read_dtype
from pipeline.read.zarr.ngff import (
    MetadataError,
    axes_of,
    channels_of,
    dataset_paths,
    letter_of,
    quoted,
    too_new,
    transforms_of,
)
from pipeline.read.zarr.nodes import MOST_AXES, array_list, children, describe_arrays, joined_path, open_node
from pipeline.read.zarr.store import ZarrStore

KEYS = ("multiscales", "plate", "well", "series", "labels", "bioformats2raw.layout")
"""What a group says of itself where it is more than a group."""


def open_array(array: zarr.Array, root: str) -> Opened:
    """Describe a plain array; its axes are known where its dimensions have names, or are two."""
    # Before its axes: who has just named them should not hear then that it was in vain.
    read_dtype(array.dtype, repr(root))
    store = ZarrStore.of(array, root, "")
    names: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    axes = "".join(letter_of(name) for name in names) if isinstance(names, list | tuple) else ""
    if len(axes) != array.ndim or UNKNOWN in axes:
        axes = "yx" if array.ndim == 2 and not axes else UNKNOWN * array.ndim
    return Opened(store, axes, root)


def ome_attributes(group: zarr.Group) -> Mapping[str, Any]:
    """Return a group's OME attributes, wherever its writer keeps them."""
    attributes: dict[str, Any] = group.attrs.asdict()
    ome = attributes.get("ome")
    if isinstance(ome, Mapping) and (any(key in ome for key in KEYS) or not any(map(attributes.get, KEYS))):
        return ome
    return attributes


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
    attributes, where = ome_attributes(group), joined_path(root, path)
    index, entry = _entry(attributes, where, series, root, group)
    place = f"multiscales.{index}"

    def understood(read: Callable[..., Any], *given: Any) -> Any:
        try:
            return read(*given)
        except MetadataError as error:
            raise _invalid(where, str(error), _instead(root, path, group)) from None

    paths = understood(dataset_paths, entry, place)
    array, inner = _array(root, path, paths, level, group)
    axes = understood(axes_of, entry, array.ndim, place)
    scale, translation = understood(
        transforms_of, entry, level, axes, place, lambda name: _stored(root, joined_path(path, name))
    )
    by_axis = dict(zip(axes.letters, scale, strict=True))
    known = {axis: size for axis, size in by_axis.items() if axis in axes.units or size != 1.0}
    name = entry.get("name")
    return Opened(
        ZarrStore.of(array, root, inner),
        axes.letters,
        where,
        scale=known,
        units=axes.units,
        translation=dict(zip(axes.letters, translation, strict=True)),
        channels=channels_of(
            attributes.get("omero"), array.shape[axes.letters.index("c")] if "c" in axes.letters else 0
        ),
        name=name if isinstance(name, str) else "",
        not_carried=_extras(root, group, {each.split("/")[0] for each in paths if each}),
        notes=axes.notes,
    )


def _entry(
    attributes: Mapping[str, Any], where: str, series: int | None, root: str, group: zarr.Group
) -> tuple[int, Mapping[str, Any]]:
    """Return the image that is asked for, of those that a group lists, and its number."""
    entries = attributes["multiscales"]
    found = entries if isinstance(entries, list) else [entries]
    instead = _instead(root, group.path, group)
    if not found:
        raise _invalid(where, "multiscales: an empty list, without an image", instead)
    names = listed(f"{index} ({_entry_name(entry)})" for index, entry in enumerate(found))
    if series is None and len(found) > 1:
        # Inside a collection input.series is the number of one of its images already.
        way = (
            f"give {where} itself, and say which in input.series"
            if group.path
            else "say which in input.series"
        )
        raise RequestError(f"{where!r} holds several images: {names}", way, "input.series")
    index = series or 0
    if not 0 <= index < len(found):
        raise RequestError(f"{where!r} has no series {index}", f"it has {names}", "input.series")
    entry = found[index]
    if not isinstance(entry, Mapping):
        raise _invalid(where, f"multiscales.{index}: {quoted(entry)} in the place of an image", instead)
    version = next((each for each in (entry.get("version"), attributes.get("version")) if each), None)
    if too_new(version):
        raise RequestError(f"{where!r} is OME-Zarr {version}, and bgone reads 0.1 to 0.5", instead, FIELD)
    return index, entry


def _array(
    root: str, path: str, paths: Sequence[str | None], level: int, group: zarr.Group
) -> tuple[zarr.Array, str]:
    """Return the array of a level, and its path."""
    where = joined_path(root, path)
    if not 0 <= level < len(paths):
        found = listed(f"{index} ({name})" for index, name in enumerate(paths))
        raise RequestError(f"{where!r} has no level {level}", f"its levels are {found}", "input.level")
    name = paths[level]
    if name is None:
        raise _invalid(
            where, f"multiscales.datasets.{level}.path: missing or no text", _instead(root, path, group)
        )
    inner = joined_path(path, name) if path else name
    try:
        array = open_node(root, inner)
    except RequestError as error:
        problem = error.problems[0]
        others = {each for each, _ in array_list(root, group)}
        there = listed(str(number) for number, each in enumerate(paths) if each in others)
        hint = f"say one that is there in input.level: {there}" if there else problem.hint
        raise RequestError(f"level {level} of {where!r}: {problem.message}", hint, FIELD) from None
    if not isinstance(array, zarr.Array):
        raise RequestError(f"{where!r} names {inner!r}, which is no array", "write it again", FIELD)
    return array, inner


def _stored(root: str, path: str) -> object:
    """Return numbers that a transformation keeps in an array of its own."""
    node = open_node(root, path)
    if not isinstance(node, zarr.Array) or node.ndim != 1 or node.size > MOST_AXES:
        return None
    if node.dtype.kind not in "iuf":
        return None
    return ZarrStore.of(node, root, path).read((slice(0, node.shape[0]),)).tolist()


def _invalid(where: str, reason: str, instead: str) -> RequestError:
    return RequestError(f"{where!r} has metadata that is not OME-Zarr: {reason}", instead, FIELD)


def _instead(root: str, path: str, group: zarr.Group) -> str:
    """Return what may be given in the place of an image whose metadata cannot be understood."""
    arrays = array_list(root, group)
    if not arrays:
        return "mend it, or give another"
    example = joined_path(root, path, arrays[0][0])
    inside = describe_arrays(root, group)
    return f"mend it, or give one of its arrays with input.axes and input.scale, such as {example}: {inside}"


def _entry_name(entry: object) -> str:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return str(name or "unnamed")[:60]


def _extras(root: str, group: zarr.Group, levels: set[str]) -> tuple[str, ...]:
    found = []
    for name, node in children(root, group):
        if name in levels or name == "bgone":  # bgone's own notes on how the image was made
            continue
        inside = ome_attributes(node).get(name, []) if isinstance(node, zarr.Group) else []
        names = [str(item) for item in inside] if isinstance(inside, list) else []
        found.append(f"{name} ({listed(names)})" if names else name)
    return tuple(found)
