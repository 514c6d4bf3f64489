"""The images that tifffile finds in a file, with every axis that the file has, whatever tifffile's version.

Up to 2026.3 `TiffFile.series` is a list whose members know two shapes; since 2026.5 it is called for one or
the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tifffile


def all_series(tiff: tifffile.TiffFile) -> Sequence[Any]:
    """Return the images of a file, the axes of length one included."""
    found = tiff.series
    return found(squeeze=False) if callable(found) else found


def full_axes(series: Any) -> str:
    """Return the letters that tifffile gives the axes, those of length one included."""
    return series.get_axes(squeeze=False) if hasattr(series, "get_axes") else series.axes


def full_shape(series: Any) -> tuple[int, ...]:
    """Return the length of every axis, those of length one included."""
    return series.get_shape(squeeze=False) if hasattr(series, "get_shape") else series.shape


def said_axes(series: Any) -> tuple[str, tuple[int, ...]]:
    """Return axes and shape as tifffile tells them to its users.

    Axes of length one are left out, those of a plane excepted, where the file's format writes all of its
    axes whether an image needs them or not; numpy arrays that tifffile wrote have the axes they were given.
    """
    axes, shape = full_axes(series), full_shape(series)
    if series.kind == "shaped":
        return axes, shape
    kept = [index for index, (a, n) in enumerate(zip(axes, shape, strict=True)) if n != 1 or a in "YX"]
    return "".join(axes[index] for index in kept), tuple(shape[index] for index in kept)
