"""OME-TIFF out, plane by plane: for sample data, never for results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from pipeline.model.image import ImageSpec, Region
from pipeline.model.units import short_unit
from pipeline.storage.durable import whole_file

# Classic TIFF counts bytes in 32 bits; some are left for metadata.
CLASSIC_BYTES = 2**32 - 2**25


def write_tiff(path: Path, spec: ImageSpec, parts: Iterable[tuple[Region, NDArray]]) -> None:
    """Write an OME-TIFF in the memory of one plane; it appears under its name when it is whole.

    Parameters
    ----------
    path : Path
        A file that does not exist yet.
    spec : ImageSpec
        Axes, shape, dtype, scale and channels.
    parts : iterable of (Region, numpy.ndarray)
        The pixels: bands of rows as wide as the image, in the order of the file.

    Raises
    ------
    FileExistsError
        Something stands under the name.
    OSError
        It cannot be written.
    """
    big = spec.nbytes > CLASSIC_BYTES
    with (
        whole_file(path, replace=False, field="path") as file,
        tifffile.TiffWriter(file, bigtiff=big, ome=True) as tiff,
    ):
        tiff.write(
            _planes(spec, parts),
            shape=spec.shape,
            dtype=spec.dtype,
            photometric="minisblack",
            metadata=_metadata(spec),
        )


def _planes(spec: ImageSpec, parts: Iterable[tuple[Region, NDArray]]) -> Iterator[NDArray]:
    """Yield planes out of bands of rows."""
    height, width = spec.shape[-2:]
    plane = np.empty((height, width), spec.dtype)
    for region, pixels in parts:
        rows = region[-2]
        plane[rows] = pixels.reshape(-1, width)
        if rows.stop == height:
            yield plane


def _metadata(spec: ImageSpec) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": spec.axes.upper(), "Name": spec.name or None}
    for axis in spec.scale:
        key = "TimeIncrement" if axis == "t" else f"PhysicalSize{axis.upper()}"
        metadata[key] = spec.scale[axis]
        if axis in spec.units:
            metadata[f"{key}Unit"] = short_unit(spec.units[axis])
    if spec.channels:
        # OME counts colours as signed RGBA.
        colors = [
            int.from_bytes(bytes.fromhex(f"{c.color or 'FFFFFF'}FF"), "big", signed=True)
            for c in spec.channels
        ]
        metadata["Channel"] = {"Name": list(spec.channel_names), "Color": colors}
    return metadata
