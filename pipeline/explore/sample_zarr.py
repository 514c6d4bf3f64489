"""An OME-Zarr written at one go, from pixels that come in order: for sample data, never for results."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from pathlib import Path

from numpy.typing import NDArray

from pipeline.model.image import ImageSpec, Region
from pipeline.write.create import create
from pipeline.write.layout import make_layout
from pipeline.write.publish import discard, publish, seal
from pipeline.write.pyramid import build_level, level_windows
from pipeline.write.region import ChunkRecord, sync, write_region


def write_zarr(path: Path, spec: ImageSpec, parts: Iterable[tuple[Region, NDArray]]) -> None:
    """Write an OME-Zarr in the memory of one part; it appears under its name when it is whole.

    Parameters
    ----------
    path : Path
        A folder that does not exist yet.
    spec : ImageSpec
        Axes, shape, dtype, chunks, scale and channels.
    parts : iterable of (Region, numpy.ndarray)
        The pixels, each part made of whole chunks of `spec.chunks`.

    Raises
    ------
    RequestError
        It cannot be written there.
    """
    chunks = dict(zip(spec.axes, spec.chunks, strict=True))
    layout = make_layout(spec, os.path.abspath(path), chunks=chunks, fingerprint=uuid.uuid4().hex[:16])
    try:
        create(layout)
        records: list[ChunkRecord] = []
        for region, pixels in parts:
            records += write_region(layout, 0, region, pixels)
        for level in range(1, len(layout.levels)):
            for region in level_windows(layout, level):
                records += build_level(layout, level, region)
        sync(layout, records)
        seal(layout, records, {"kind": "synthetic sample"})
        publish(layout)
    except BaseException:
        discard(layout)
        raise
