"""Open an image of any format that bgone reads."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from pipeline.model.axes import axis_names
from pipeline.model.errors import RequestError
from pipeline.model.paths import check_name
from pipeline.model.units import Quantity
from pipeline.read.files import (
    FIELD,
    check_exists,
    first_bytes,
    glob_files,
    input_error,
    is_pattern,
    listed,
    tiffs_in,
    unread_format,
)
from pipeline.read.formats import format_of
from pipeline.read.opened import Opened
from pipeline.read.overrides import make_source
from pipeline.read.select import Selector
from pipeline.read.source import Source
from pipeline.storage.files import is_node

# Ten times what 10 TB in chunks of 64 kB have.
MOST_CHUNKS = 1 << 31


def open_source(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    scale: Mapping[str, Quantity] | None = None,
    select: Mapping[str, Selector] | None = None,
    series: int | None = None,
    level: int = 0,
) -> Source:
    """Open an image without reading a pixel.

    Parameters
    ----------
    path : str or path
        A Zarr or OME-Zarr (folder or URL), a TIFF, an OME-TIFF or its companion file, a folder of
        TIFF files or a glob of them: one file per frame, in natural order.
    axes : str, optional
        The axes, such as "tyx", where the data does not say them, or to rename them.
    scale : mapping of str to Quantity, optional
        Pixel size along each axis with its unit, where the data does not say it, or to override it.
        A text such as "0.325 um" will do.
    select : mapping, optional
        What to keep of each axis: a slice as text ("0:100"), an index, or a list of indices or
        channel names.
    series : int, optional
        Number of the image in a file with several.
    level : int
        Level of a pyramid, 0 for the full resolution.

    Returns
    -------
    Source
        The image's spec, and `read(region)`.

    Raises
    ------
    RequestError
        The path does not exist, is damaged or of a format that bgone does not read, or the other
        arguments do not fit it.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        raise RequestError(f"{path!r} is no path", "give a file, a folder, a glob or a URL", FIELD)
    axes = None if axes is None else axis_names(axes)
    opened = _open(os.fsdecode(path), axes, series, level)
    source = make_source(opened, axes, _lowered(scale), _lowered(select))
    _check_chunks(source)
    return source


def _lowered(by_axis: Mapping[str, Any] | None) -> dict[str, Any]:
    return {axis_names(axis): value for axis, value in (by_axis or {}).items()}


def _check_chunks(source: Source) -> None:
    """Raise RequestError for more chunks than bgone can keep count of: mostly a mistake in the shape."""
    grid = [-(-size // px) for size, px in zip(source.spec.shape, source.spec.chunks, strict=True)]
    if math.prod(grid) > MOST_CHUNKS:
        shape = " × ".join(map(str, source.spec.shape))
        raise input_error(
            f"{source.path!r}, of shape {shape}, has {math.prod(grid):.2g} chunks, "
            f"and bgone keeps count of {MOST_CHUNKS:.2g}",
            "mend its metadata if it has another, write it with larger chunks, or cut it by input.select",
        )


def _open_files(path: str, files: list[str], axes: str | None, series: int | None, level: int) -> Opened:
    # Importing tifffile takes as long as a plan of a Zarr.
    from pipeline.read.sequence.folder import open_folder

    return open_folder(path, files, axes, series, level)


def _open(path: str, axes: str | None, series: int | None, level: int) -> Opened:
    remote = "://" in path and not path.startswith("file://")
    if not remote:
        path = os.path.abspath(os.path.expanduser(path.removeprefix("file://")))
        check_name(path, FIELD)
        if is_pattern(path):
            return _open_files(path, glob_files(path), axes, series, level)
        check_exists(path)
    if remote or is_node(path):
        # Importing zarr takes 0.4 s, which other formats need not wait for.
        from pipeline.read.zarr.groups import open_zarr

        return open_zarr(path, series, level)
    if not os.path.isdir(path):
        start = first_bytes(path)
        file_format = format_of(path, start)
        if file_format is None or file_format.conversion:
            raise unread_format(path, start)
        return file_format.open(path, series, level)
    if path.lower().endswith(".zarr"):
        inside = listed(sorted(os.listdir(path))[:4]) or "nothing"
        message = f"{path!r} is no Zarr: it has no zarr.json, .zgroup or .zarray, and inside is {inside}"
        raise input_error(message, "write it again, or give another")
    return _open_files(path, tiffs_in(path), axes, series, level)
