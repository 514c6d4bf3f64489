"""What a Zarr is: an array, an image, several images, a plate, or something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import zarr

from pipeline.errors import RequestError
from pipeline.read.files import FIELD, listed
from pipeline.read.ome_zarr import ome_attributes, open_array, open_multiscale
from pipeline.read.opened import Opened
from pipeline.read.zarr_store import array_list, children, describe_arrays, open_node


def open_zarr(root: str, series: int | None, level: int) -> Opened:
    """Open a Zarr array, or one image of an OME-Zarr.

    Raises
    ------
    RequestError
        It is a plate, several images, a group without an image, or its metadata is not valid.
    """
    node = open_node(root)
    if isinstance(node, zarr.Array):
        _refuse_level(root, series, level)
        return open_array(node, root)
    attributes, _ = ome_attributes(node)
    if "plate" in attributes or "well" in attributes:
        raise _refuse_plate(root, node, attributes)
    if "multiscales" in attributes:
        return open_multiscale(root, "", node, series, level)
    if "bioformats2raw.layout" in attributes or "OME" in node:
        return _collection(root, node, series, level)
    raise _refuse_group(root, node)


def _refuse_level(root: str, series: int | None, level: int) -> None:
    if level:
        raise RequestError(
            f"{root!r} is a single array and has no level {level}", "leave it out", "input.level"
        )
    if series:
        raise RequestError(
            f"{root!r} is a single array and has no series {series}", "leave it out", "input.series"
        )


def _collection(root: str, group: zarr.Group, series: int | None, level: int) -> Opened:
    paths = _image_paths(group)
    if not paths:
        raise _refuse_group(root, group)
    if series is None and len(paths) > 1:
        raise RequestError(
            f"{root!r} holds several images (a multi-position store): {listed(paths)}",
            f"give one of them, such as {root}/{paths[0]}, or its number in input.series",
            FIELD,
        )
    index = series or 0
    if not 0 <= index < len(paths):
        raise RequestError(f"{root!r} has no series {index}", f"it has 0 to {len(paths) - 1}", "input.series")
    image = open_node(root, paths[index])
    if not isinstance(image, zarr.Group):
        raise RequestError(f"{root!r} lists an image {paths[index]!r}, which is none", "give another", FIELD)
    return open_multiscale(root, paths[index], image, None, level)


def _image_paths(group: zarr.Group) -> list[str]:
    """Return the images below a group: those it lists, else those that are there."""
    members = dict(children(group))
    listing = members.get("OME")
    if isinstance(listing, zarr.Group):
        series = ome_attributes(listing)[0].get("series")
        if isinstance(series, list) and series:
            return [str(path) for path in series]
    groups = {name: member for name, member in members.items() if isinstance(member, zarr.Group)}
    images = [name for name, member in groups.items() if "multiscales" in ome_attributes(member)[0]]
    return sorted(images, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))


def _refuse_plate(root: str, group: zarr.Group, attributes: Mapping[str, Any]) -> RequestError:
    plate, well = attributes.get("plate"), attributes.get("well")
    if isinstance(plate, Mapping):
        wells = plate.get("wells") or []
        paths = [
            f"{entry['path']}/{image}"
            for entry in wells[:12]
            if isinstance(entry, Mapping) and "path" in entry
            for image in _fields(group, str(entry["path"]))
        ]
        what = f"a plate of {len(wells)} wells"
    else:
        images = well.get("images") if isinstance(well, Mapping) else None
        paths = [
            str(image["path"]) for image in images or () if isinstance(image, Mapping) and "path" in image
        ]
        what = "a well of a plate"
    example = f", such as {root}/{paths[0]}" if paths else ""
    inside = f": {listed(paths)}" if paths else ""
    return RequestError(f"{root!r} is {what}{inside}", f"give one image of it{example}", FIELD)


def _fields(group: zarr.Group, path: str) -> list[str]:
    """Return the images of a well; an unreadable one is no reason not to list the others."""
    try:
        well = group[path]
    except (KeyError, ValueError, OSError):
        return []
    images = ome_attributes(well)[0].get("well", {}).get("images", []) if isinstance(well, zarr.Group) else []
    return [str(image["path"]) for image in images if "path" in image]


def _refuse_group(root: str, group: zarr.Group) -> RequestError:
    images = _image_paths(group)
    if images:
        return RequestError(
            f"{root!r} holds several images: {listed(images)}", f"give one, such as {root}/{images[0]}", FIELD
        )
    arrays = array_list(group)
    if not arrays:
        return RequestError(f"{root!r} is a Zarr group without an array", "give another", FIELD)
    return RequestError(
        f"{root!r} is a Zarr group and no OME-Zarr image; the arrays inside are {describe_arrays(group)}",
        f"give one of them, such as {root}/{arrays[0][0]}, with input.axes",
        FIELD,
    )
