"""A synthetic time-lapse on disk, to try bgone on: as OME-TIFF or as OME-Zarr."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.explore.embryo import BAND, Sample
from pipeline.explore.sample_tiff import write_tiff
from pipeline.explore.sample_zarr import write_zarr
from pipeline.model.errors import RequestError
from pipeline.model.image import Region
from pipeline.model.text import size_text


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
    """Return the truth about the time-lapse that `make_sample` writes for the same arguments.

    Raises
    ------
    RequestError
        An argument makes no sense.

    Examples
    --------
    >>> truth = sample_truth(frames=3, size=64, object_radius=4)
    >>> truth.background(t=2).shape, truth.signal(t=2).max() > 200, truth.positions(t=0).shape[1]
    ((64, 64), np.True_, 3)
    """
    shape = (size, size) if isinstance(size, int) else (size[0], size[1])
    return Sample(frames, shape, channels, z, seed, np.dtype(dtype).name, float(object_radius))


def make_sample(
    path: str | Path,
    *,
    frames: int = 12,
    size: int | tuple[int, int] = 512,
    channels: int = 1,
    z: int = 1,
    seed: int = 0,
    dtype: str = "uint16",
    object_radius: float = 8.0,
    progress: Callable[[int, int], None] | None = None,
) -> Sample:
    """Write a synthetic embryo time-lapse: nuclei that wander slowly over an uneven background.

    It is written band by band, so it may be larger than the memory, and appears under its name
    only when it is whole.

    Parameters
    ----------
    path : str or Path
        A new file ending in .tif or .tiff (OME-TIFF), or a new folder ending in .zarr (OME-Zarr).
    frames, channels, z : int
        Time points, channels and planes.
    size : int or tuple of int
        Rows and columns in px.
    seed : int
        The same seed gives the same pixels.
    dtype : str
        uint8, uint16, float32 and so on.
    object_radius : float
        Radius of a nucleus in px.
    progress : callable, optional
        Called with the bands written and the bands there are.

    Returns
    -------
    Sample
        The truth about it.

    Raises
    ------
    RequestError
        An argument makes no sense, the name says no format, or the path exists.
    """
    truth = sample_truth(
        frames=frames, size=size, channels=channels, z=z, seed=seed, dtype=dtype, object_radius=object_radius
    )
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".tif", ".tiff", ".zarr"):
        raise RequestError(
            f"{path.name!r} says no format", "let it end in .tif, .ome.tif or .ome.zarr", "path"
        )
    if os.path.lexists(path):
        raise RequestError(f"{path} exists", "choose another name, or remove it first", "path")
    _check_space(path, truth.spec.nbytes)
    try:
        write = write_zarr if suffix == ".zarr" else write_tiff
        write(path, truth.spec, _counted(truth, progress))
    except FileExistsError as error:
        raise RequestError(f"{error.filename} is in the way", "choose another name", "path") from None
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror or error}", "", "path") from None
    return truth


def _check_space(path: Path, nbytes: int) -> None:
    folder = next(each for each in path.absolute().parents if each.exists())
    free = shutil.disk_usage(folder).free
    if nbytes > free:
        raise RequestError(
            f"it would take {size_text(nbytes)} and {folder} has {size_text(free)} left",
            "ask for fewer frames, planes or pixels", "path",
        )  # fmt: skip


def _counted(truth: Sample, progress: Callable[[int, int], None] | None) -> Iterator[tuple[Region, NDArray]]:
    bands = truth.frames * truth.channels * truth.z * math.ceil(truth.size[0] / BAND)
    for done, part in enumerate(truth.regions(), start=1):
        yield part
        if progress is not None:
            progress(done, bands)
