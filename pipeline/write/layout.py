"""The layout of an output: its arrays, files and folders. Pure: nothing here touches a disk."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.model.axes import check_axes
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec, Region, region_shape
from pipeline.write.chunks import choose_chunks, choose_shards

Version = Literal["0.5", "0.4"]
COMPRESSORS = ("blosc-lz4", "blosc-zstd", "zstd", "none")

SMALLEST_LEVEL = 512
LONGEST_STEM = 100
"""Bytes of an output's name that its work folder is called by in full."""

STORED_KINDS = "uif"


@dataclass(frozen=True)
class Level:
    """One array of the pyramid.

    Parameters
    ----------
    shape : tuple of int
        Its pixels.
    chunks : tuple of int
        Shape of a chunk, at most that of the array.
    shards : tuple of int or None
        Shape of a shard, a multiple of the chunk's.
    factors : tuple of int
        How many pixels of the full resolution lie along each axis of one of its pixels.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    factors: tuple[int, ...]

    @property
    def file_shape(self) -> tuple[int, ...]:
        """Shape of what one file holds, and so of the least that one task must own."""
        return self.shards or self.chunks

    @property
    def grid(self) -> tuple[int, ...]:
        """Files along each axis."""
        return tuple(-(-size // part) for size, part in zip(self.shape, self.file_shape, strict=True))


@dataclass(frozen=True)
class Layout:
    """Everything about an output on disk; picklable, made by `make_layout`.

    Parameters
    ----------
    path : str
        Where the finished output appears.
    spec : ImageSpec
        The output's image: axes as stored (padded ones included), shape, dtype, scale, channels.
    axes : str
        The axes of the pixels that come to be written: those of `spec` without the padded ones.
    levels : tuple of Level
        The full resolution first.
    compressor : str
        blosc-lz4, blosc-zstd, zstd or none.
    checksum : bool
        Whether each chunk ends in its own crc32c, which every reader checks.
    version : str
        Of NGFF: "0.5" (Zarr 3) or "0.4" (Zarr 2).
    fingerprint : str
        What the work folder is called after; empty while the run is only planned.
    work_root : str
        Folder in which the work folder lies; empty for the output's own folder.
    holder : str
        The output whose work folder it is; empty for its own.
    folder : str
        What the unfinished image is called in the work folder.
    background : Layout or None
        A second output of the same run: same files, another path and dtype; see `with_background`.
    """

    path: str
    spec: ImageSpec
    axes: str
    levels: tuple[Level, ...]
    compressor: str = "blosc-lz4"
    checksum: bool = False
    version: Version = "0.5"
    fingerprint: str = ""
    work_root: str = ""
    holder: str = ""
    folder: str = "image"
    background: Layout | None = None

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk at full resolution."""
        return self.levels[0].chunks

    @property
    def file_shape(self) -> tuple[int, ...]:
        """The least region one task must own at full resolution: a shard, or else a chunk."""
        return self.levels[0].file_shape

    @property
    def file_sizes(self) -> dict[str, int]:
        """Axis → px of one file, along the axes of the pixels that come to be written."""
        sizes = dict(zip(self.spec.axes, self.file_shape, strict=True))
        return {axis: sizes[axis] for axis in self.axes}

    @property
    def work(self) -> str:
        """The folder of the unfinished run."""
        return work_path(self.holder or self.path, self.fingerprint, self.work_root)

    @property
    def image(self) -> str:
        """The unfinished image, inside the work folder."""
        return f"{self.work}/{self.folder}"

    @property
    def outputs(self) -> tuple[Layout, ...]:
        """Itself, and the background where there is one."""
        return (self,) if self.background is None else (self, self.background)

    def at(self, fingerprint: str, work_root: str = "") -> Layout:
        """Return the same layout in the work folder of a fingerprint."""
        background = None if self.background is None else self.background.at(fingerprint, work_root)
        work_root = work_root or self.work_root
        return replace(self, fingerprint=fingerprint, work_root=work_root, background=background)

    def array_path(self, level: int) -> str:
        """Return the folder of a level's array while the run is on."""
        return f"{self.image}/{level}"

    def padded(self, region: Region) -> Region:
        """Return a region of the written pixels as one of the stored array.

        >>> spec = ImageSpec("tyx", (4, 8, 8), np.dtype("uint8"))
        >>> make_layout(spec, "out.zarr", axes="tczyx").padded((slice(1, 2), slice(0, 8), slice(0, 8)))
        (slice(1, 2, None), slice(0, 1, None), slice(0, 1, None), slice(0, 8, None), slice(0, 8, None))
        """
        parts = dict(zip(self.axes, region, strict=True))
        return tuple(parts.get(axis, slice(0, 1)) for axis in self.spec.axes)

    def chunk_key(self, level: int, index: tuple[int, ...]) -> str:
        """Return a file's path inside the image: `0/c/3/0/0`, in Zarr 2 `0/3/0/0`."""
        inner = "/".join(map(str, index))
        return f"{level}/c/{inner}" if self.version == "0.5" else f"{level}/{inner}"

    def file_regions(
        self, level: int, region: Region | None = None
    ) -> Iterator[tuple[tuple[int, ...], Region]]:
        """Yield index and region of each file in a region of whole files (default: all).

        Raises
        ------
        ValueError
            The region cuts through a file, which another task would then write too.
        """
        array = self.levels[level]
        region = tuple(slice(0, size) for size in array.shape) if region is None else region
        ranges = []
        for part, size, px in zip(region, array.shape, array.file_shape, strict=True):
            ends_whole = part.stop % px == 0 or part.stop == size
            if part.start % px or not ends_whole or not 0 <= part.start < part.stop <= size:
                raise ValueError(
                    f"{region} is not a region of whole files of {array.file_shape} in {array.shape}"
                )
            ranges.append(range(part.start // px, -(-part.stop // px)))
        for index in itertools.product(*ranges):
            yield (
                index,
                tuple(
                    slice(i * px, min((i + 1) * px, size))
                    for i, px, size in zip(index, array.file_shape, array.shape, strict=True)
                ),
            )

    def source_region(self, level: int, region: Region) -> Region:
        """Return what a region of a coarser level is made of, in the level before it."""
        finer, coarser = self.levels[level - 1], self.levels[level]
        steps = [c // f for c, f in zip(coarser.factors, finer.factors, strict=True)]
        return tuple(
            slice(part.start * step, min(part.stop * step, size))
            for part, step, size in zip(region, steps, finer.shape, strict=True)
        )

    @property
    def files(self) -> int:
        """How many files of pixels the whole pyramid has, empty ones included."""
        return sum(math.prod(level.grid) for level in self.levels)


def with_background(layout: Layout, path: str, dtype: np.dtype) -> Layout:
    """Return an output with a second one, whose files hold the same pixels of another dtype.

    Parameters
    ----------
    layout : Layout
        Of the first.
    path : str
        Where the second appears.
    dtype : numpy.dtype
        Of the second.
    """
    name = f"{layout.spec.name} background" if layout.spec.name else ""
    spec = layout.spec.with_(dtype=dtype, name=name)
    second = replace(
        layout, path=path.rstrip("/"), spec=spec, holder=layout.path, folder="background", background=None
    )
    return replace(layout, background=second)


def work_path(output: str, fingerprint: str, work_root: str = "") -> str:
    """Return the work folder of a run: beside the output, or in `work_root`.

    >>> work_path("/data/a.zarr", "12ab"), work_path("/data/a.zarr", "12ab", "/scratch")
    ('/data/a.zarr.work-12ab', '/scratch/a.zarr.work-12ab')
    """
    folder, slash, name = output.rstrip("/").rpartition("/")
    if work_root:
        folder, slash = work_root.rstrip("/"), "/"
    return f"{folder}{slash}{_short(name)}.work-{fingerprint}"


def _short(name: str) -> str:
    """Return a name that leaves room for an ending: a file system takes 255 bytes, some 143.

    >>> _short("a.zarr"), _short(200 * "a" + ".zarr") == 80 * "a" + "~b82a9970"
    ('a.zarr', True)
    """
    raw = name.encode(errors="surrogateescape")
    if len(raw) <= LONGEST_STEM:
        return name
    return f"{raw[:80].decode(errors='ignore')}~{hashlib.sha256(raw).hexdigest()[:8]}"


def _levels(
    spec: ImageSpec, chunks: tuple[int, ...], shards: tuple[int, ...] | None, pyramid: bool
) -> tuple[Level, ...]:
    levels = [Level(spec.shape, chunks, shards, (1,) * len(spec.axes))]
    while pyramid and max(levels[-1].shape[-2:]) > SMALLEST_LEVEL:
        before = levels[-1]
        # A long narrow image keeps its short side rather than losing it altogether.
        steps = tuple(
            2 if axis in "yx" and size > SMALLEST_LEVEL // 8 else 1
            for axis, size in zip(spec.axes, before.shape, strict=True)
        )
        shape = tuple(-(-size // step) for size, step in zip(before.shape, steps, strict=True))
        inner = tuple(min(pair) for pair in zip(chunks, shape, strict=True))
        outer = shards and tuple(
            min(shard // chunk, -(-size // part)) * part
            for shard, chunk, part, size in zip(shards, chunks, inner, shape, strict=True)
        )
        factors = tuple(old * step for old, step in zip(before.factors, steps, strict=True))
        levels.append(Level(shape, inner, outer, factors))
    return tuple(levels)


def pad_spec(spec: ImageSpec, axes: str | None) -> ImageSpec:
    """Return an image with axes of length 1 added.

    Raises
    ------
    RequestError
        `axes` are not an image's, or lack one that the image has.

    Examples
    --------
    >>> pad_spec(ImageSpec("tyx", (4, 8, 8), np.dtype("uint8")), "tczyx").shape
    (4, 1, 1, 8, 8)
    """
    if not axes or axes == spec.axes:
        return spec
    try:
        check_axes(axes)
    except RequestError as error:
        raise error.under("output") from None
    lost = [axis for axis in spec.axes if axis not in axes]
    if lost:
        raise RequestError(
            f"{axes!r} lacks {', '.join(lost)}, which the image has",
            f"name all of {spec.axes} and those to add",
            "output.axes",
        )
    chunks = dict(zip(spec.axes, spec.chunks, strict=True))
    return replace(
        spec,
        axes=axes,
        shape=tuple(spec.sizes.get(axis, 1) for axis in axes),
        chunks=tuple(chunks.get(axis, 1) for axis in axes),
    )


def make_layout(
    spec: ImageSpec,
    path: str,
    *,
    chunks: Mapping[str, int] | None = None,
    shards: Mapping[str, int] | None = None,
    compressor: str = "blosc-lz4",
    checksum: bool = False,
    pyramid: bool = True,
    version: str = "0.5",
    axes: str | None = None,
    work_root: str = "",
    fingerprint: str = "",
) -> Layout:
    """Lay out an output.

    Parameters
    ----------
    spec : ImageSpec
        What the chain gives; its `chunks` are the input's.
    path : str
        Where the finished output appears.
    chunks, shards : mapping of str to int, optional
        Axis → px.
    compressor : str
        blosc-lz4, blosc-zstd, zstd or none.
    checksum : bool
        A crc32c in every chunk.
    pyramid : bool
        Coarser levels, y and x halved until both are at most 512 px.
    version : str
        "0.5" or "0.4".
    axes : str, optional
        The axes as stored; those that the image lacks are added with length 1.
    work_root, fingerprint : str
        Where the unfinished run lives; may be given later through `Layout.at`.

    Raises
    ------
    RequestError
        A field of `output` cannot be had; says which.
    """
    if spec.dtype.kind not in STORED_KINDS or spec.dtype == np.float16:
        raise RequestError(
            f"{spec.dtype} cannot be stored", "use an integer type, float32 or float64", "output.dtype"
        )
    if compressor not in COMPRESSORS:
        raise RequestError(
            f"{compressor!r} is no compressor", f"use one of {', '.join(COMPRESSORS)}", "output.compressor"
        )
    if version not in ("0.5", "0.4"):
        raise RequestError(
            f"{version!r} is no OME-Zarr that bgone writes", 'use "0.5" or "0.4"', "output.version"
        )
    for field_name, given in (("shards", shards), ("checksum", checksum)):
        if version == "0.4" and given:
            raise RequestError(
                f"OME-Zarr 0.4 has no {field_name}",
                'leave it out, or use version "0.5"',
                f"output.{field_name}",
            )
    stored = pad_spec(spec, axes)
    inner = choose_chunks(stored, chunks)
    outer = choose_shards(stored, inner, shards)
    stored = replace(stored, chunks=inner, dtype=stored.dtype.newbyteorder("="))
    return Layout(
        path.rstrip("/"), stored, spec.axes, _levels(stored, inner, outer, pyramid), compressor, checksum,
        "0.5" if version == "0.5" else "0.4", fingerprint, work_root,
    )  # fmt: skip


def check_block(region: Region, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless a block has the shape of its region."""
    if region_shape(region) != shape:
        raise ValueError(f"a block of {shape} does not fit the region {region}")
