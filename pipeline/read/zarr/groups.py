"""Finding the image in a Zarr: an array, an image, one of several, a plate, or something else."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import zarr

from pipeline.model.errors import RequestError
from pipeline.read.files import FIELD, listed, natural_key
from pipeline.read.opened import UNKNOWN, Opened
from pipeline.read.zarr.multiscale import ome_attributes, open_array, open_multiscale
from pipeline.read.zarr.ngff import MetadataError, dataset_paths
from pipeline.read.zarr.nodes import array_list, children, describe_arrays, joined_path, open_node
from pipeline.storage.files import is_node

_WELLS_SHOWN = 12


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
        opened = open_array(node, root)
        return opened if UNKNOWN not in opened.axes else _axes_from_parent(opened, root)
    attributes = ome_attributes(node)
    if "plate" in attributes:
        raise _refuse_plate(root, attributes["plate"])
    if "well" in attributes:
        raise _refuse_well(root, node)
    if "multiscales" in attributes:
        return open_multiscale(root, "", node, series, level)
    if "bioformats2raw.layout" in attributes or _listed_series(root):
        return _open_collection(root, node, series, level)
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


def _axes_from_parent(opened: Opened, root: str) -> Opened:
    """Take the axes, scale and channels of an array from the image of which it is a level, if it is one."""
    parent, _, name = root.rpartition("/")
    if "://" in root or not is_node(parent):
        return opened
    with contextlib.suppress(RequestError, MetadataError):
        group = open_node(parent)
        entries = ome_attributes(group).get("multiscales") if isinstance(group, zarr.Group) else None
        for series, entry in enumerate(entries if isinstance(entries, list) else []):
            paths = dataset_paths(entry, parent) if isinstance(entry, Mapping) else []
            if name in paths and isinstance(group, zarr.Group):
                level = paths.index(name)
                image = open_multiscale(parent, "", group, series, level)
                note = f"axes and scale are those of {parent!r}, of which this is level {level}"
                return replace(
                    opened,
                    axes=image.axes,
                    scale=image.scale,
                    units=image.units,
                    translation=image.translation,
                    channels=image.channels,
                    notes=(note, *image.notes),
                )
    return opened


def _open_collection(root: str, group: zarr.Group, series: int | None, level: int) -> Opened:
    paths = _listed_series(root) or _image_paths(root, group, depth=0)
    if not paths:
        raise _refuse_group(root, group)
    if series is None and len(paths) > 1:
        raise RequestError(
            f"{root!r} holds several images (a multi-position store): {listed(paths)}",
            f"give one of them, such as {joined_path(root, paths[0])}, or its number in input.series",
            FIELD,
        )
    index = series or 0
    if not 0 <= index < len(paths):
        raise RequestError(f"{root!r} has no series {index}", f"it has 0 to {len(paths) - 1}", "input.series")
    image = open_node(root, paths[index])
    if not isinstance(image, zarr.Group):
        raise RequestError(f"{root!r} lists an image {paths[index]!r}, which is none", "give another", FIELD)
    if "multiscales" not in ome_attributes(image):
        raise _refuse_group(joined_path(root, paths[index]), image)
    return open_multiscale(root, paths[index], image, None, level)


def _listed_series(root: str) -> list[str]:
    """Return the paths of the images that a collection lists in its group OME."""
    try:
        listing = open_node(root, "OME")
    except RequestError:
        return []
    series = ome_attributes(listing).get("series") if isinstance(listing, zarr.Group) else None
    return _texts(series)


def _texts(value: object) -> list[str]:
    """Return the paths in a list of anything; some writers give numbers."""
    entries = value if isinstance(value, list) else []
    texts = [str(entry).strip("/") for entry in entries if isinstance(entry, str | int)]
    return [text for text in texts if text]


def _image_paths(root: str, group: zarr.Group, depth: int = 3) -> list[str]:
    """Return the paths of the images below a group, in natural order."""
    images: list[str] = []
    for name, member in children(root, group):
        if not isinstance(member, zarr.Group):
            continue
        if "multiscales" in ome_attributes(member):
            images.append(name)
        elif depth:
            images += [f"{name}/{path}" for path in _image_paths(root, member, depth - 1)]
    return sorted(images, key=natural_key)


def _refuse_plate(root: str, plate: object) -> RequestError:
    wells = plate.get("wells") if isinstance(plate, Mapping) else None
    named = (
        [well.get("path") for well in wells if isinstance(well, Mapping)] if isinstance(wells, list) else []
    )
    paths: list[str] = []
    for well in _texts(named)[:_WELLS_SHOWN]:
        # A well that cannot be read must not hide the others.
        with contextlib.suppress(RequestError):
            node = open_node(root, well)
            paths += [f"{well}/{image}" for image in _fields(root, node)]
    return _refuse_images(root, f"a plate of {len(named)} wells", paths)


def _refuse_well(root: str, group: zarr.Group) -> RequestError:
    return _refuse_images(root, "a well of a plate", _fields(root, group))


def _fields(root: str, well: Any) -> list[str]:
    """Return the paths of a well's images: those it lists, or else all in it."""
    if not isinstance(well, zarr.Group):
        return []
    metadata = ome_attributes(well).get("well")
    images = metadata.get("images") if isinstance(metadata, Mapping) else None
    entries = images if isinstance(images, list) else []
    paths = _texts([entry.get("path") for entry in entries if isinstance(entry, Mapping)])
    return paths or _image_paths(root, well, depth=0)


def _refuse_images(root: str, kind: str, paths: list[str]) -> RequestError:
    if not paths:
        return RequestError(f"{root!r} is {kind} in which no image is found", "give another", FIELD)
    return RequestError(
        f"{root!r} is {kind}: {listed(paths)}",
        f"give one image of it, such as {_first_openable(root, paths)}",
        FIELD,
    )


def _first_openable(root: str, paths: list[str]) -> str:
    """Return the path of the first image that can be opened, for a hint that works."""
    for path in paths[:_WELLS_SHOWN]:
        with contextlib.suppress(RequestError):
            open_node(root, path)
            return joined_path(root, path)
    return joined_path(root, paths[0])


def _refuse_group(root: str, group: zarr.Group) -> RequestError:
    """Return the error for a group that is no image; `root` is its own folder."""
    inside = open_node(root)
    group = inside if isinstance(inside, zarr.Group) else group
    images = _image_paths(root, group)
    if images:
        count = "an image" if len(images) == 1 else "several images"
        return RequestError(
            f"{root!r} is a Zarr group that holds {count}: {listed(images)}",
            f"give one, such as {_first_openable(root, images)}",
            FIELD,
        )
    arrays = array_list(root, group)
    if arrays:
        return RequestError(
            f"{root!r} is a Zarr group and no OME-Zarr image; "
            f"the arrays inside are {describe_arrays(root, group)}",
            f"give one of them, such as {joined_path(root, arrays[0][0])}, with input.axes",
            FIELD,
        )
    if "://" in root:
        return RequestError(
            f"{root!r} is a Zarr group and no OME-Zarr image, and what is in it is not told",
            "give the address of an image or array in it",
            FIELD,
        )
    return RequestError(f"{root!r} is a Zarr group without an array", "give another", FIELD)
