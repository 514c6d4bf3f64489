"""Runs whose memory is measured from outside, on inputs of every format and chunking."""

from __future__ import annotations

import contextlib
import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tifffile
import zarr
from numcodecs import Blosc as BloscV2
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec

from pipeline.config.load import load_config
from pipeline.model.image import ImageSpec
from pipeline.steps.chain import apply_step

TOPHAT = {"white_tophat": {"radius": 3}}
BALL = {"white_tophat": {"radius": 2, "along": "zyx"}}
DOG = {"difference_of_gaussians": {"low_sigma": 1, "high_sigma": 12}}
WIDE = {"gaussian": {"sigma": 40}}
IN_TIME = {"subtract_minimum": {"size": 3, "along": "t"}}
MEDIAN_LIKE = {"subtract_opening": {"minimum_size": 5, "maximum_size": 9}}


@dataclass(frozen=True)
class Case:
    """One run: its input, its steps, and the rest of its config.

    Parameters
    ----------
    shape, axes, dtype
        Of the input.
    steps : list of dict
        As in a config.
    chunks, shards : tuple of int, optional
        Of a Zarr.
    codec : str
        blosc, zstd, gzip, crc (blosc and a checksum), raw, v2, or fortran (v2 in Fortran order).
    tiff : dict, optional
        Keywords of tifffile, for a TIFF.
    select, output, compute : dict
        Of the config.
    noise : int
        Bits of a pixel that are random.
    """

    shape: tuple[int, ...]
    axes: str
    steps: list[dict[str, Any]]
    dtype: str = "uint16"
    chunks: tuple[int, ...] | None = None
    shards: tuple[int, ...] | None = None
    codec: str = "blosc"
    tiff: dict[str, Any] | None = None
    select: dict[str, Any] = field(default_factory=dict)
    output: dict[str, Any] = field(default_factory=dict)
    compute: dict[str, Any] = field(default_factory=dict)
    noise: int = 16

    def pixels(self) -> np.ndarray:
        """Return the input: noise on a slope."""
        dtype = np.dtype(self.dtype)
        rng = np.random.default_rng(0)
        bits = min(self.noise, 8 * min(dtype.itemsize, 2) - 1)
        pixels = rng.integers(0, 1 << bits, self.shape, "uint16")
        if dtype.kind == "f":
            # All bits of the mantissa, so that floats do not compress either.
            return rng.random(self.shape, "float32").astype(dtype) * 1000
        return pixels.astype(dtype)


# The process that forks the runs has loaded the kernels already, so a run holds them when it plans.
LOADED = {"pipeline.planning.memory.KERNELS": 0}

CODECS = {
    "blosc": BloscCodec(cname="lz4", shuffle="bitshuffle"),
    "zstd": ZstdCodec(),
    "gzip": GzipCodec(level=1),
    "crc": [BloscCodec(cname="lz4", shuffle="bitshuffle"), Crc32cCodec()],
    "raw": None,
}


def write_input(folder: Path, case: Case) -> Path:
    """Write the input of a case, and return its path."""
    folder.mkdir(exist_ok=True)
    pixels = case.pixels()
    if case.tiff is not None:
        path = folder / "in.tif"
        tifffile.imwrite(path, pixels, metadata={"axes": case.axes.upper()}, ome=True, **case.tiff)
        return path
    path = folder / "in.zarr"
    chunks = case.chunks or case.shape
    if case.codec in ("v2", "fortran"):
        array = zarr.create_array(
            path, shape=case.shape, chunks=chunks, dtype=case.dtype, zarr_format=2,
            compressors=BloscV2("lz4"), order="F" if case.codec == "fortran" else "C",
        )  # fmt: skip
    else:
        array = zarr.create_array(
            path, shape=case.shape, chunks=chunks, shards=case.shards, dtype=case.dtype,
            compressors=CODECS[case.codec],
        )  # fmt: skip
    array[...] = pixels
    return path


def config_of(case: Case, source: Path, output: Path) -> dict[str, Any]:
    """Return the config of a case."""
    section: dict[str, Any] = {"path": str(source)}
    if case.tiff is None:
        section["axes"] = case.axes
    if case.select:
        section["select"] = case.select
    return {
        "input": section,
        "steps": case.steps,
        "output": {"path": str(output), **case.output},
        "compute": {"cluster": "threads", "workers": 1, "memory": "4 GiB", **case.compute},
    }


@dataclass(frozen=True)
class Measured:
    """Memory of a run in bytes."""

    predicted: int
    most: int  # seen from outside
    itself: int  # measured by the run
    allowed: int

    @property
    def ratio(self) -> float:
        """Predicted ÷ measured memory."""
        return self.predicted / max(self.most, self.itself)


def summary_of(output: Path) -> dict[str, Any]:
    """Return the summary in an output."""
    attributes = json.loads((output / "bgone" / "zarr.json").read_text())["attributes"]
    return attributes["bgone"]["summary"]


def held_below(pid: int) -> int:
    """Return the resident memory of a process and its descendants, in bytes."""
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    held = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            held += process.memory_info().rss
    return held


def measure(zygote, folder: Path, case: Case) -> Measured:
    """Run a case in its own process, below `folder`, and return its memory.

    For one process the kernel records the peak; several are polled.
    """
    source = write_input(folder, case)
    output = folder / "out.ome.zarr"
    (folder / "c.yaml").write_text(json.dumps(config_of(case, source, output)))
    pid = zygote.start("run", folder / "c.yaml", "--quiet", like_started=True, patch=LOADED)
    seen = 0
    while case.compute.get("cluster") == "local" and zygote.code(pid) is None:
        seen = max(seen, held_below(pid))
        time.sleep(0.02)
    ended = zygote.wait(pid)
    assert ended.code == 0, ended.err
    summary = summary_of(output)
    return Measured(
        summary["memory_predicted_bytes"],
        max(ended.most, seen),
        summary["memory_peak_bytes"],
        summary["memory_budget_bytes"],
    )


def expected(case: Case) -> np.ndarray:
    """Return the chain on the whole array in memory, which a run must write."""
    pixels = case.pixels()
    for axis, selection in case.select.items():
        at = case.axes.index(axis)
        if isinstance(selection, str):
            pixels = pixels[
                (slice(None),) * at + (slice(*(int(n) if n else None for n in selection.split(":"))),)
            ]
        else:
            pixels = np.take(pixels, selection, at)
    order = sorted(range(len(case.axes)), key=lambda at: "tczyx".index(case.axes[at]))
    axes = "".join(case.axes[at] for at in order)
    pixels = np.ascontiguousarray(pixels.transpose(order))
    pixels = pixels.astype(
        {"bool": "uint8", "float16": "float32"}.get(case.dtype, pixels.dtype.newbyteorder("="))
    )
    for step in load_config({"input": {"path": "a"}, "steps": case.steps, "output": {"path": "b"}}).steps:
        spec = ImageSpec(axes, pixels.shape, pixels.dtype)
        pixels = apply_step(step.resolve(spec), pixels, axes, (0,) * pixels.ndim)
    return pixels


def assert_right(case: Case, output: Path) -> None:
    """Compare all pixels of an output with the chain on the whole array."""
    pixels, correct = zarr.open_group(output, mode="r")["0"][...], expected(case)
    assert pixels.dtype == correct.dtype
    assert pixels.squeeze().shape == correct.squeeze().shape  # a TIFF need not name an axis of length 1
    pixels = pixels.reshape(correct.shape)
    if correct.dtype.kind == "f":
        np.testing.assert_allclose(pixels, correct, rtol=0, atol=1e-6 * np.abs(correct).max() + 1e-6 * 2**16)
    else:
        np.testing.assert_array_equal(pixels, correct)


def pick(rng, *choices):
    """Return one of the choices."""
    return choices[int(rng.integers(len(choices)))]


def any_case(rng) -> Case:
    """Return a random case of 4 to 100 MiB, so that the pixels show beside the process."""
    axes, shape = any_shape(rng)
    steps = any_steps(rng, dict(zip(axes, shape, strict=True)))
    dtype = pick(rng, "uint8", "uint16", "uint16", "int16", "float32")
    stored = any_storage(rng, axes, shape)
    select = any_selection(rng, axes, shape, whole=steps[-1] in (BALL, IN_TIME))
    compute: dict[str, Any] = {"workers": pick(rng, 1, 2, 3)}
    if rng.random() < 0.3:
        compute["memory"] = pick(rng, "400 MiB", "470 MiB", "670 MiB")
    if rng.random() < 0.05:
        compute |= {"cluster": "local", "memory": "3 GiB"}
    output: dict[str, Any] = {"pyramid": pick(rng, True, True, False)}
    if steps[-1] in (TOPHAT, BALL) and rng.random() < 0.3:
        output["background"] = "background.ome.zarr"
    if rng.random() < 0.15:
        output |= {"chunks": {"y": 256, "x": 256}, "shards": {"y": 1024, "x": 1024}}
    return Case(
        shape,
        axes,
        steps,
        dtype,
        select=select,
        output=output,
        compute=compute,
        noise=pick(rng, 4, 16),
        **stored,
    )


def any_shape(rng) -> tuple[str, tuple[int, ...]]:
    """Return axes and lengths of an image that a run takes a second or two for."""
    axes = pick(rng, "tyx", "tyx", "tzyx", "tcyx", "yx", "zyx")
    lead = {"t": pick(rng, 1, 4, 16), "c": pick(rng, 1, 2), "z": pick(rng, 3, 8, 16)}
    side = pick(rng, 512, 1000, 2048) if len(axes) > 2 else pick(rng, 3000, 4096, 6000)
    shape = tuple(lead.get(axis, side + pick(rng, 0, 7) * (axis == "y")) for axis in axes)
    while math.prod(shape) > 40e6:
        longest = max(shape[:-2])
        shape = tuple(px // 2 if px == longest else px for px in shape[:-2]) + shape[-2:]
    return axes, shape


def any_steps(rng, sizes: dict[str, int]) -> list[dict[str, Any]]:
    """Return a chain of one or two steps that suits an image."""
    steps = [pick(rng, TOPHAT, DOG, WIDE, MEDIAN_LIKE)]
    if sizes.get("z", 0) > 2 and rng.random() < 0.4:
        steps = [BALL]
    if sizes.get("t", 0) > 2 and rng.random() < 0.2:
        steps = [IN_TIME]
    return [TOPHAT, *steps] if rng.random() < 0.2 else steps


def any_storage(rng, axes: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the storage of an image: format, chunks, strips or tiles, codec."""
    kind = pick(rng, "plain", "plain", "sharded", "strips", "tiles", "one strip", "raw", "other codec")
    if kind in ("plain", "sharded", "other codec"):
        some = {"yx": lambda px: pick(rng, 256, 500, px, px), "tcz": lambda px: pick(rng, 1, 1, 4, px)}
        chunks = tuple(
            min(px, some["yx" if axis in "yx" else "tcz"](px)) for axis, px in zip(axes, shape, strict=True)
        )
        if kind == "sharded":
            return {"chunks": chunks, "shards": tuple(px * pick(rng, 1, 2, 4) for px in chunks)}
        codec = pick(rng, "zstd", "gzip", "crc", "raw", "v2", "fortran") if kind == "other codec" else "blosc"
        return {"chunks": chunks, "codec": codec}
    compression = {"compression": pick(rng, "zlib", "lzw")} if rng.random() < 0.8 else {}
    if kind == "strips":
        return {"tiff": {"rowsperstrip": pick(rng, 1, 16, 100), **compression}}
    if kind == "tiles":
        return {"tiff": {"tile": pick(rng, (256, 256), (512, 512)), **compression}}
    return {"tiff": {} if kind == "raw" else {"rowsperstrip": shape[-2], "compression": "zlib"}}


def any_selection(rng, axes: str, shape: tuple[int, ...], *, whole: bool) -> dict[str, Any]:
    """Return a selection of an image; none along t and z if a step needs all of them."""
    select: dict[str, Any] = {}
    for axis, px in zip(axes, shape, strict=True):
        if axis in "yx" and rng.random() < 0.25:
            select[axis] = pick(rng, "100:400", f"{px // 2}:", "::2")
        elif axis in "tz" and px > 3 and not whole and rng.random() < 0.25:
            select[axis] = pick(rng, "1:3", "::2", [0, px - 1])
    return select
