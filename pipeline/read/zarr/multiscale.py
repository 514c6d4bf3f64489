"""OME-Zarr images: the array of a level, with its axes, scale and channels."""

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
)
from pipeline.read.zarr.nodes import MOST_AXES, array_list, children, describe_arrays, joined_path, open_node
from pipeline.read.zarr.store import ZarrStore
from pipeline.read.zarr.transforms import transforms_of

# The OME attributes of a group.
KEYS = ("multiscales", "plate", "well", "series", "labels", "bioformats2raw.layout")


def open_array(array: zarr.Array, root: str) -> Opened:
    """Describe a plain array. Its axes are known if its dimensions are named, or if there are only two."""
    # Checked before the axes, so that nobody is asked to name them in vain.
    read_dtype(array.dtype, repr(root))
    store = ZarrStore.of(array, root, "")
    names: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    axes = "".join(letter_of(name) for name in names) if isinstance(names, list | tuple) else ""
    if len(axes) != array.ndim or UNKNOWN in axes:
        axes = "yx" if array.ndim == 2 and not axes else UNKNOWN * array.ndim
    return Opened(store, axes, root)


def ome_attributes(group: zarr.Group) -> Mapping[str, Any]:
    """Return a group's OME attributes: those under `ome` (0.5), or all."""
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

    def parsed(read: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return read(*arguments)
        except MetadataError as error:
            raise _invalid(where, str(error), _instead(root, path, group)) from None

    paths = parsed(dataset_paths, entry, place)
    array, inner = _array(root, path, paths, level, group)
    axes = parsed(axes_of, entry, array.ndim, place)
    scale, translation = parsed(
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
        not_carried=_extras(root, group, {path.split("/")[0] for path in paths if path}),
        notes=axes.notes,
    )


def _entry(
    attributes: Mapping[str, Any], where: str, series: int | None, root: str, group: zarr.Group
) -> tuple[int, Mapping[str, Any]]:
    """Return the index and the metadata of the requested image of a group."""
    multiscales = attributes["multiscales"]
    entries = multiscales if isinstance(multiscales, list) else [multiscales]
    instead = _instead(root, group.path, group)
    if not entries:
        raise _invalid(where, "multiscales: an empty list, without an image", instead)
    names = listed(f"{index} ({_entry_name(entry)})" for index, entry in enumerate(entries))
    if series is None and len(entries) > 1:
        # In a collection, input.series has already selected one of its images.
        way = (
            f"give {where} itself, and say which in input.series"
            if group.path
            else "say which in input.series"
        )
        raise RequestError(f"{where!r} holds several images: {names}", way, "input.series")
    index = series or 0
    if not 0 <= index < len(entries):
        raise RequestError(f"{where!r} has no series {index}", f"it has {names}", "input.series")
    entry = entries[index]
    if not isinstance(entry, Mapping):
        raise _invalid(where, f"multiscales.{index}: {quoted(entry)} in the place of an image", instead)
    version = entry.get("version") or attributes.get("version")
    if too_new(version):
        raise RequestError(f"{where!r} is OME-Zarr {version}, and bgone reads 0.1 to 0.5", instead, FIELD)
    return index, entry


def _array(
    root: str, path: str, paths: Sequence[str | None], level: int, group: zarr.Group
) -> tuple[zarr.Array, str]:
    """Return the array of a level, and its path."""
    where = joined_path(root, path)
    if not 0 <= level < len(paths):
        levels = listed(f"{index} ({name})" for index, name in enumerate(paths))
        raise RequestError(f"{where!r} has no level {level}", f"its levels are {levels}", "input.level")
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
        arrays = {path for path, _ in array_list(root, group)}
        levels = listed(str(number) for number, path in enumerate(paths) if path in arrays)
        hint = f"say one that is there in input.level: {levels}" if levels else problem.hint
        raise RequestError(f"level {level} of {where!r}: {problem.message}", hint, FIELD) from None
    if not isinstance(array, zarr.Array):
        raise RequestError(f"{where!r} names {inner!r}, which is no array", "write it again", FIELD)
    return array, inner


def _stored(root: str, path: str) -> object:
    """Return the numbers of a transformation that are stored in an array."""
    node = open_node(root, path)
    if not isinstance(node, zarr.Array) or node.ndim != 1 or node.size > MOST_AXES:
        return None
    if node.dtype.kind not in "iuf":
        return None
    return ZarrStore.of(node, root, path).read((slice(0, node.shape[0]),)).tolist()


def _invalid(where: str, reason: str, instead: str) -> RequestError:
    return RequestError(f"{where!r} has metadata that is not OME-Zarr: {reason}", instead, FIELD)


def _instead(root: str, path: str, group: zarr.Group) -> str:
    """Return a hint on what to read instead of an image with invalid metadata."""
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
    extras = []
    for name, node in children(root, group):
        if name in levels or name == "bgone":  # the provenance of an output of bgone
            continue
        inside = ome_attributes(node).get(name, []) if isinstance(node, zarr.Group) else []
        names = [str(item) for item in inside] if isinstance(inside, list) else []
        extras.append(f"{name} ({listed(names)})" if names else name)
    return tuple(extras)
