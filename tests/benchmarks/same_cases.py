"""Small, reproducible inputs and configs of every kind for `same_outputs.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from zarr.codecs import BloscCodec

# Set in every config, because the plan depends on the free memory otherwise.
MEMORY = "2 GiB"


def pixels(shape: Sequence[int], dtype: str, low: float, high: float, seed: int = 0) -> np.ndarray:
    """Return an uneven background with noise and spots, about `low` to `high`."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[-2], : shape[-1]]
    background = 0.3 + 0.2 * np.sin(rows / 37) + 0.1 * np.cos(columns / 23)
    noise = rng.normal(0, 0.02, tuple(shape))
    spots = 0.4 * (rng.random(tuple(shape)) < 0.003)
    values = low + (high - low) * np.clip(background + noise + spots, 0, 1)
    return (np.rint(values) if np.dtype(dtype).kind in "iu" else values).astype(dtype)


def write_ome_tiff(path: Path) -> None:
    """Write an image of five axes with two named channels and physical sizes, in compressed tiles."""
    sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 1.0, "TimeIncrement": 20.0}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in "XYZ"} | {"TimeIncrementUnit": "s"}
    metadata = {"axes": "TCZYX", "Channel": {"Name": ["GFP", "RFP"]}, **sizes, **units}
    movie = pixels((3, 2, 6, 96, 112), "uint16", 90, 4000)
    tifffile.imwrite(
        path, movie, ome=True, metadata=metadata, photometric="minisblack", compression="zlib", tile=(64, 64)
    )


def write_ome_zarr(path: Path, array: np.ndarray, version: str, **layout: Any) -> None:
    """Write one level with axes tyx; 0.4 in Zarr format 2, 0.5 in format 3."""
    zarr_format = 3 if version == "0.5" else 2
    kinds = {"t": ("time", "second"), "y": ("space", "micrometer"), "x": ("space", "micrometer")}
    axes = [{"name": axis, "type": kind, "unit": unit} for axis, (kind, unit) in kinds.items()]
    scale = [{"type": "scale", "scale": [10.0, 0.5, 0.5]}]
    image: dict[str, Any] = {
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": scale}],
        "name": path.name,
    }
    if version == "0.4":
        attributes: dict[str, Any] = {"multiscales": [{"version": "0.4", **image}]}
    else:
        attributes = {"ome": {"version": "0.5", "multiscales": [image]}}
        layout["dimension_names"] = list(kinds)
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format, attributes=attributes)
    stored = group.create_array("0", shape=array.shape, dtype=array.dtype, **layout)
    stored[...] = array


def write_zarr(path: Path, array: np.ndarray, axes: str) -> None:
    """Write a plain Zarr array with names of its axes."""
    stored = zarr.create_array(
        path,
        shape=array.shape,
        chunks=(1, 64, 64),
        dtype=array.dtype,
        dimension_names=tuple(axes),
        compressors=BloscCodec(cname="zstd"),
    )
    stored[...] = array


def make_inputs(folder: Path, sample: Callable[..., None]) -> None:
    """Write the inputs of all configs.

    Parameters
    ----------
    folder : Path
        A new folder.
    sample : callable
        `bgone sample`, called with its arguments.
    """
    folder.mkdir(parents=True)
    tifffile.imwrite(
        folder / "stack.tif", pixels((7, 150, 170), "uint16", 100, 3000), photometric="minisblack"
    )
    tifffile.imwrite(folder / "bytes.tif", pixels((4, 120, 90), "uint8", 10, 250), photometric="minisblack")
    write_ome_tiff(folder / "movie.ome.tif")
    (folder / "frames").mkdir()
    for number, frame in enumerate(pixels((11, 100, 110), "int16", -900, 900)):
        tifffile.imwrite(folder / "frames" / f"field_{number}.tif", frame, photometric="minisblack")
    holes = pixels((4, 140, 130), "float32", -2, 7)
    holes[1, 30:33, 40:50] = np.nan
    holes[2, 5, 6] = np.inf
    write_ome_zarr(
        folder / "v04.ome.zarr",
        holes,
        "0.4",
        chunks=(1, 64, 64),
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )
    shards = {"chunks": (1, 32, 32), "shards": (2, 64, 64)}
    write_ome_zarr(folder / "v05.ome.zarr", pixels((6, 130, 140), "uint16", 100, 60000), "0.5", **shards)
    write_zarr(folder / "int64.zarr", pixels((3, 100, 90), "int64", -(2**40), 2**40), "tyx")
    write_zarr(folder / "uint32.zarr", pixels((5, 80, 90), "uint32", 10, 2**31), "tyx")
    sample(folder / "wide.ome.tif", "--frames", 2, "--size", 700)
    sample(folder / "embryo.ome.zarr", "--frames", 8, "--size", 192, "--channels", 2)
    sample(folder / "long.ome.zarr", "--frames", 60, "--size", 600)


def _config(
    path: str,
    steps: list[dict[str, Any]],
    output: Mapping[str, Any] = {},
    compute: Mapping[str, Any] = {},
    **more: Any,
) -> dict[str, Any]:
    """Return a config without the path of the output."""
    return {
        "input": {"path": f"../inputs/{path}", **more},
        "steps": steps,
        "output": dict(output),
        "compute": {"memory": MEMORY, "cluster": "threads", "workers": 2, **compute},
    }


STACK_SCALE = {"t": "30 s", "y": "0.5 um", "x": "0.5 um"}
CLIP = {"overflow": "clip"}
TILES = {"block": {"y": 256, "x": 256}, "window": {"t": 1, "y": 512, "x": 512}}
LONG_WINDOWS = {"window": {"t": 1}}

# Name → config. `same_outputs.py` replaces `background: true` by a path.
CASES: dict[str, dict[str, Any]] = {
    "stack_tophat_um": _config(
        "stack.tif", [{"white_tophat": {"radius": "3.5 um"}}], {"background": True},
        axes="tyx", scale=STACK_SCALE, select={"t": "1:6"},
    ),
    "channels_chain_offset": _config(
        "movie.ome.tif",
        [
            {"white_tophat": {"radius": 5, "channels": ["GFP"]}},
            {"gaussian": {"sigma": 1.5, "channels": [1]}},
            {"difference_of_gaussians": {"low_sigma": 1, "high_sigma": 6}},
        ],
        {"dtype": "uint16", "offset": 20.5, "compressor": "zstd", "checksum": True, **CLIP},
    ),
    "dog_zyx_um_v04": _config(
        "movie.ome.tif",
        [{"difference_of_gaussians": {"low_sigma": "0.3 um", "high_sigma": "2 um", "along": "zyx"}}],
        {"dtype": "int16", "version": "0.4", "chunks": {"y": 64, "x": 64}, **CLIP},
        select={"c": ["RFP"]},
    ),
    "folder_black_tczyx": _config(
        "frames", [{"black_tophat": {"size": 15}}],
        {"axes": "tczyx", "compressor": "none", "pyramid": False}, axes="tyx",
    ),
    "minimum_tyx_shards": _config(
        "v05.ome.zarr", [{"subtract_minimum": {"size": 3, "along": "tyx"}}],
        {"chunks": {"t": 1, "y": 64, "x": 64}, "shards": {"t": 2, "y": 128, "x": 128}, "checksum": "crc32c",
         "background": True},
    ),
    "opening_uint8_v04": _config(
        "bytes.tif", [{"subtract_opening": {"minimum_size": 3, "maximum_size": 9}}],
        {"dtype": "input", "version": "0.4", "compressor": "zstd", "max_clipped": 1, **CLIP}, axes="tyx",
    ),
    "opening_uint8_signed": _config(
        "bytes.tif", [{"subtract_opening": {"minimum_size": {"y": 5, "x": 3}, "maximum_size": 9}}],
        {"compressor": "blosc-zstd", "version": "0.4", "axes": "tczyx"}, axes="zyx",
    ),
    "nan_subtract_gaussian": _config(
        "v04.ome.zarr", [{"subtract_gaussian": {"sigma": 6, "mode": "mirror", "truncate": 3}}],
        {"chunks": {"t": 1, "y": 32, "x": 32}, "shards": {"t": 1, "y": 96, "x": 64}, "compressor": "zstd"},
        nan="propagate",
    ),
    "int64_t_chain": _config(
        "int64.zarr", [{"subtract_minimum": {"size": 3, "along": "t"}}, {"white_tophat": {"radius": 4}}],
    ),
    "gaussian_tyx_float64": _config(
        "uint32.zarr", [{"gaussian": {"sigma": {"t": 1, "y": 2, "x": 2}, "along": "tyx"}}],
        {"compressor": "none", "checksum": True},
    ),
    "ball_v04": _config(
        "movie.ome.tif", [{"white_tophat": {"radius": {"z": 1, "y": 3, "x": 3}, "along": "zyx"}}],
        {"version": "0.4", "background": True},
    ),
    "tiles_chain": _config(
        "wide.ome.tif",
        [{"white_tophat": {"radius": 12}}, {"difference_of_gaussians": {"low_sigma": 1, "high_sigma": 8}}],
        {"chunks": {"y": 128, "x": 128}}, TILES,
    ),
    "tiles_wide_gaussian": _config(
        "wide.ome.tif", [{"subtract_gaussian": {"sigma": 40, "mode": "constant"}}],
        {"chunks": {"y": 128, "x": 128}, "shards": {"y": 256, "x": 256}, "background": True, "dtype": "int16",
         **CLIP}, TILES,
    ),
    "two_worker_processes": _config(
        "embryo.ome.zarr", [{"white_tophat": {"radius": 6}}], {"pyramid": False},
        {"cluster": "local", "window": {"t": 2}},
    ),
}  # fmt: skip

# Name → config, and the number of windows in the journal at which the run is killed; 60 are the full size.
STOPPED: dict[str, tuple[dict[str, Any], int]] = {
    "stopped_in_windows": (
        _config("long.ome.zarr", [{"white_tophat": {"radius": 15}}], {"background": True}, LONG_WINDOWS), 5,
    ),
    "stopped_in_shards": (
        _config(
            "long.ome.zarr", [{"difference_of_gaussians": {"low_sigma": 1, "high_sigma": 10}}],
            {"chunks": {"t": 1, "y": 150, "x": 150}, "shards": {"t": 1, "y": 300, "x": 300}},
            {"cluster": "local", **LONG_WINDOWS},
        ), 5,
    ),
    "stopped_in_levels": (
        _config("long.ome.zarr", [{"subtract_minimum": {"size": 9}}], {"version": "0.4"}, LONG_WINDOWS), 61,
    ),
}  # fmt: skip
