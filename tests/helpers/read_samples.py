"""Tiny images whose pixels encode their position, and files with them."""

import re

import numpy as np
import pytest
import tifffile
import zarr

from pipeline.model.errors import RequestError
from pipeline.read import open_source


def coded(shape, dtype=np.uint16):
    """Return pixels that are their flat index, so that misplaced data shows."""
    return np.arange(np.prod(shape), dtype=np.int64).reshape(shape).astype(dtype)


def whole(source):
    """Read all pixels of a source."""
    return source.read(tuple(slice(0, size) for size in source.spec.shape))


def check_pixels(source, expected):
    """Compare all pixels, then random regions, with an array."""
    assert source.spec.shape == expected.shape
    assert source.spec.dtype.isnative
    pixels = whole(source)
    assert pixels.dtype == source.spec.dtype
    np.testing.assert_array_equal(pixels, expected)
    rng = np.random.default_rng(1)
    for _ in range(8):
        region = tuple(
            slice(*np.sort(rng.choice(size + 1, 2, replace=False)).tolist()) for size in expected.shape
        )
        block = source.read(region)
        assert block.flags.c_contiguous
        assert block.dtype == source.spec.dtype
        np.testing.assert_array_equal(block, expected[region])


def refusal(path, **options):
    """Return the message with which a path is refused."""
    with pytest.raises(RequestError) as caught:
        open_source(path, **options)
    text = str(caught.value)
    assert not re.search(r"\n\s", text), "one line each"
    assert all(problem.hint and problem.field for problem in caught.value.problems), text
    return text


def write_tiff(path, array, **options):
    """Write a TIFF and return its path."""
    tifffile.imwrite(path, array, **options)
    return path


def write_frames(folder, frames, name="f_{:03d}.tif", **options):
    """Write one TIFF for each frame and return the folder."""
    folder.mkdir(exist_ok=True)
    for index, frame in enumerate(frames):
        tifffile.imwrite(folder / name.format(index), frame, **options)
    return folder


def write_ngff(
    path, arrays, axes, transforms, version="0.5", top=None, omero=None, name="", zarr_format=None
):
    """Write an OME-Zarr with exactly this metadata."""
    kinds = {"t": ("time", "second"), "c": ("channel", None)}
    entries = []
    for axis in axes:
        kind, unit = kinds.get(axis, ("space", "micrometer"))
        entries.append({"name": axis, "type": kind} | ({"unit": unit} if unit else {}))
    multiscale = {
        "name": name,
        "axes": entries,
        "datasets": [
            {"path": str(level), "coordinateTransformations": transform}
            for level, transform in enumerate(transforms)
        ],
    }
    if top:
        multiscale["coordinateTransformations"] = top
    ome = {"multiscales": [multiscale]} | ({"omero": omero} if omero else {})
    if version == "0.4":
        multiscale["version"] = "0.4"
        attributes = ome
    else:
        attributes = {"ome": {"version": version, **ome}}
    group = zarr.create_group(
        path, zarr_format=2 if version == "0.4" else 3, attributes=attributes, overwrite=True
    )
    for level, array in enumerate(arrays):
        stored = group.create_array(
            str(level), shape=array.shape, dtype=array.dtype, chunks=(1,) * (array.ndim - 2) + (8, 8)
        )
        stored[...] = array
    return path
