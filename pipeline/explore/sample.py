"""`bgone sample`: a synthetic time-lapse as OME-TIFF or OME-Zarr."""

from __future__ import annotations

import math
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from pipeline.explore.embryo import BAND_ROWS, Sample
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec, Region
from pipeline.model.text import size_text
from pipeline.model.units import short_unit
from pipeline.storage.whole_file import whole_file
from pipeline.write import (
    build_level,
    create,
    discard,
    level_windows,
    make_layout,
    publish,
    seal,
    sync,
    write_region,
)

# Classic TIFF has offsets of 32 bits; 32 MiB are left for metadata.
_CLASSIC_BYTES = 2**32 - 2**25

# Bands of rows as wide as the image, in file order, each with its region.
Bands = Iterable[tuple[Region, NDArray]]


def sample_truth(
    *,
    frames: int = 12,
    size: int | tuple[int, int] = 512,
    channels: int = 1,
    z: int = 1,
    seed: int = 0,
    dtype: str = "uint16",
    object_radius: float = 8.0,
) -> Sample:
    """Return the ground truth of a synthetic embryo time-lapse: nuclei that move over an uneven background.

    Parameters
    ----------
    frames, channels, z : int
        Number of time points, channels and planes; 1 channel or plane makes no axis.
    size : int or tuple of int
        Rows and columns in px.
    seed : int
        The same seed gives the same pixels.
    dtype : str
        Any dtype of bgone but int8, int64 and uint64.
    object_radius : float
        Radius of a nucleus in px.

    Raises
    ------
    RequestError
        An argument is invalid.

    Examples
    --------
    >>> truth = sample_truth(frames=3, size=64, object_radius=4)
    >>> truth.background(t=2).shape, truth.signal(t=2).max() > 200, truth.positions(t=0).shape[1]
    ((64, 64), np.True_, 3)
    """
    shape = (size, size) if isinstance(size, int) else (size[0], size[1])
    return Sample(frames, shape, channels, z, seed, np.dtype(dtype).name, float(object_radius))


def make_sample(
    path: str | Path, *, progress: Callable[[int, int], None] | None = None, **arguments: Any
) -> Sample:
    """Write a synthetic embryo time-lapse, band by band and atomically; it may be larger than the memory.

    Parameters
    ----------
    path : str or Path
        A new file ending in .tif or .tiff (OME-TIFF), or a new folder ending in .zarr (OME-Zarr).
    progress : callable, optional
        Called with the number of bands written and of all bands.
    **arguments
        As `sample_truth` takes them.

    Returns
    -------
    Sample
        The ground truth.

    Raises
    ------
    RequestError
        An argument is invalid, the suffix is unknown, or the path exists or cannot be written.
    """
    truth = sample_truth(**arguments)
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".tif", ".tiff", ".zarr"):
        raise RequestError(
            f"{path.name!r} says no format", "let it end in .tif, .ome.tif or .ome.zarr", "path"
        )
    if os.path.lexists(path):
        raise RequestError(f"{path} exists", "choose another name, or remove it first", "path")
    _check_space(path, truth.spec.nbytes)
    write = write_zarr if suffix == ".zarr" else write_tiff
    write(path, truth.spec, _counted(truth, progress))
    return truth


def _check_space(path: Path, nbytes: int) -> None:
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if nbytes > free:
        message = f"it would take {size_text(nbytes)} and {folder} has {size_text(free)} left"
        raise RequestError(message, "ask for fewer frames, planes or pixels", "path")


def _counted(truth: Sample, progress: Callable[[int, int], None] | None) -> Bands:
    count = truth.frames * truth.channels * truth.z * math.ceil(truth.size[0] / BAND_ROWS)
    for done, band in enumerate(truth.regions(), start=1):
        yield band
        if progress is not None:
            progress(done, count)


def write_tiff(path: Path, spec: ImageSpec, bands: Bands) -> None:
    """Write an OME-TIFF, with one plane in memory."""
    with (
        whole_file(path, replace=False, field="path") as file,
        tifffile.TiffWriter(file, bigtiff=spec.nbytes > _CLASSIC_BYTES, ome=True) as tiff,
    ):
        tiff.write(
            _planes(spec, bands),
            shape=spec.shape,
            dtype=spec.dtype,
            photometric="minisblack",
            metadata=_ome_metadata(spec),
        )


def _planes(spec: ImageSpec, bands: Bands) -> Iterator[NDArray]:
    plane = np.empty(spec.shape[-2:], spec.dtype)
    for region, pixels in bands:
        plane[region[-2]] = pixels.reshape(-1, plane.shape[1])
        if region[-2].stop == plane.shape[0]:
            yield plane


def _ome_metadata(spec: ImageSpec) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": spec.axes.upper(), "Name": spec.name or None}
    for axis in spec.scale:
        key = "TimeIncrement" if axis == "t" else f"PhysicalSize{axis.upper()}"
        metadata[key] = spec.scale[axis]
        if axis in spec.units:
            metadata[f"{key}Unit"] = short_unit(spec.units[axis])
    if spec.channels:
        # OME counts colours as signed RGBA.
        colors = [bytes.fromhex(f"{channel.color or 'FFFFFF'}FF") for channel in spec.channels]
        signed = [int.from_bytes(color, "big", signed=True) for color in colors]
        metadata["Channel"] = {"Name": list(spec.channel_names), "Color": signed}
    return metadata


def write_zarr(path: Path, spec: ImageSpec, bands: Bands) -> None:
    """Write an OME-Zarr, with one band in memory; each band must consist of whole chunks of `spec.chunks`."""
    chunks = dict(zip(spec.axes, spec.chunks, strict=True))
    layout = make_layout(spec, os.path.abspath(path), chunks=chunks, fingerprint=uuid.uuid4().hex[:16])
    try:
        create(layout)
        records = [record for region, pixels in bands for record in write_region(layout, 0, region, pixels)]
        for level in range(1, len(layout.levels)):
            for region in level_windows(layout, level):
                records += build_level(layout, level, region)
        sync(layout, records)
        seal(layout, records, {"kind": "synthetic sample"})
        publish(layout)
    except BaseException:
        discard(layout)
        raise
