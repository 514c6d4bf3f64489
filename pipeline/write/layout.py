"""The layout of an output: arrays, files and folders. Pure: nothing here touches a disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.model.axes import check_axes
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec, Region
from pipeline.write.chunks import (
    Level,
    cell_region,
    cells_meeting,
    choose_chunks,
    choose_shards,
    make_levels,
)

Version = Literal["0.5", "0.4"]
COMPRESSORS = ("blosc-lz4", "blosc-zstd", "zstd", "none")

_LONGEST_STEM = 100  # bytes of an output's name that are kept in the name of its work folder


@dataclass(frozen=True)
class Layout:
    """Everything about an output on disk; picklable, made by `make_layout`."""

    path: str
    spec: ImageSpec  # axes as stored, padded ones included
    axes: str  # axes of the blocks to write: those of `spec` without the padded ones
    levels: tuple[Level, ...]  # full resolution first
    compressor: str = "blosc-lz4"  # one of COMPRESSORS
    checksum: bool = False  # a crc32c at the end of each chunk
    version: Version = "0.5"  # of NGFF: 0.5 is Zarr 3, 0.4 is Zarr 2
    fingerprint: str = ""  # names the work folder; empty while the run is only planned
    work_root: str = ""  # folder of the work folder, if not that of the output
    background: Layout | None = None  # second output of the run, see `with_background`
    holder: str = ""  # of a background: the path of the output whose work folder it shares

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk at full resolution."""
        return self.levels[0].chunks

    @property
    def file_shape(self) -> tuple[int, ...]:
        """Shape of what one file holds at full resolution."""
        return self.levels[0].file_shape

    @property
    def file_sizes(self) -> dict[str, int]:
        """Axis → px of one file, along the axes of the blocks to write."""
        sizes = dict(zip(self.spec.axes, self.file_shape, strict=True))
        return {axis: sizes[axis] for axis in self.axes}

    @property
    def work(self) -> str:
        """The work folder of the run."""
        return work_path(self.holder or self.path, self.fingerprint, self.work_root)

    @property
    def folder(self) -> str:
        """Name of the unfinished image in the work folder."""
        return "background" if self.holder else "image"

    @property
    def image(self) -> str:
        """The unfinished image, inside the work folder."""
        return f"{self.work}/{self.folder}"

    @property
    def drafts(self) -> str:
        """Folder of files that are being written and have no name yet."""
        return f"{self.work}/drafts"

    @property
    def outputs(self) -> tuple[Layout, ...]:
        """The output, and its background if there is one."""
        return (self,) if self.background is None else (self, self.background)

    def at(self, fingerprint: str, work_root: str = "") -> Layout:
        """Return the same layout in the work folder of a fingerprint."""
        background = None if self.background is None else self.background.at(fingerprint, work_root)
        work_root = work_root or self.work_root
        return replace(self, fingerprint=fingerprint, work_root=work_root, background=background)

    def array_path(self, level: int) -> str:
        """Return the folder of a level's array in the unfinished image."""
        return f"{self.image}/{level}"

    def padded(self, region: Region) -> Region:
        """Return a region along `axes` as one along the stored axes.

        >>> spec = ImageSpec("tyx", (4, 8, 8), np.dtype("uint8"))
        >>> make_layout(spec, "out.zarr", axes="tczyx").padded((slice(1, 2), slice(0, 8), slice(0, 8)))
        (slice(1, 2, None), slice(0, 1, None), slice(0, 1, None), slice(0, 8, None), slice(0, 8, None))
        """
        sides = dict(zip(self.axes, region, strict=True))
        return tuple(sides.get(axis, slice(0, 1)) for axis in self.spec.axes)

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
        shape, cell = self.levels[level].shape, self.levels[level].file_shape
        region = tuple(map(slice, [0] * len(shape), shape)) if region is None else region
        for side, size, px in zip(region, shape, cell, strict=True):
            ends_whole = side.stop % px == 0 or side.stop == size
            if side.start % px or not ends_whole or not 0 <= side.start < side.stop <= size:
                raise ValueError(f"{region} is not a region of whole files of {cell} in {shape}")
        for index in cells_meeting(region, cell):
            yield index, cell_region(index, cell, shape)

    def steps(self, level: int) -> tuple[int, ...]:
        """Return the px of the next finer level along each axis of one px of a level: 1 or 2."""
        finer, coarser = self.levels[level - 1].factors, self.levels[level].factors
        return tuple(c // f for c, f in zip(coarser, finer, strict=True))

    def source_region(self, level: int, region: Region) -> Region:
        """Return the region of the next finer level that a region of a level is the mean of."""
        return tuple(
            slice(side.start * step, min(side.stop * step, size))
            for side, step, size in zip(region, self.steps(level), self.levels[level - 1].shape, strict=True)
        )

    def coarser_region(self, level: int, region: Region) -> Region:
        """Return the region of a level whose pixels a region of the next finer level has a part in."""
        return tuple(
            slice(side.start // step, -(-side.stop // step))
            for side, step in zip(region, self.steps(level), strict=True)
        )

    def whole_levels(self, block: Mapping[str, int]) -> int:
        """Count the coarser levels of which blocks of the full resolution hold whole files.

        They need no neighbour for these: each level, from the first on, is the mean of the one before.

        Parameters
        ----------
        block : mapping of str to int
            Axis → px of a block, or of what else blocks begin at multiples of.

        Examples
        --------
        Files of 8 px are 16 px of the full resolution in the first level, and 32 px in the second.

        >>> spec = ImageSpec("yx", (8, 2000), np.dtype("uint8"))
        >>> layout = make_layout(spec, "out.zarr", chunks={"x": 8})
        >>> [layout.whole_levels({"x": px}) for px in (8, 16, 1600, 2000)]
        [0, 1, 2, 2]
        """
        for count, level in enumerate(self.levels[1:]):
            files = zip(self.spec.axes, level.file_shape, level.factors, strict=True)
            px = {axis: file * factor for axis, file, factor in files}
            if any(side % px[axis] and side < self.spec.sizes[axis] for axis, side in block.items()):
                return count
        return len(self.levels) - 1


def with_background(layout: Layout, path: str, dtype: np.dtype) -> Layout:
    """Return a layout with a second output at `path`: the same files, with pixels of another dtype."""
    name = f"{layout.spec.name} background" if layout.spec.name else ""
    spec = layout.spec.with_(dtype=dtype, name=name)
    return replace(layout, background=replace(layout, path=path.rstrip("/"), spec=spec, holder=layout.path))


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
    """Shorten a long name to a stem and a hash.

    >>> _short("a.zarr"), _short(200 * "a" + ".zarr") == 80 * "a" + "~b82a9970"
    ('a.zarr', True)
    """
    # The ending needs room: file systems take 255 bytes, eCryptfs 143.
    raw = name.encode(errors="surrogateescape")
    if len(raw) <= _LONGEST_STEM:
        return name
    return f"{raw[:80].decode(errors='ignore')}~{hashlib.sha256(raw).hexdigest()[:8]}"


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
        The image to write; its `chunks` are those of the input.
    path : str
        Where the finished output appears.
    chunks, shards : mapping of str to int, optional
        Axis → px.
    compressor, checksum, version
        As in `Layout`.
    pyramid : bool
        Add coarser levels, y and x halved until both are at most 512 px.
    axes : str, optional
        The axes as stored; those that the image lacks are added with length 1.
    work_root, fingerprint : str
        Folder and name of the work folder; may be set later by `Layout.at`.

    Raises
    ------
    RequestError
        A field of `output` has a value that cannot be stored.
    """
    # Zarr stores bool, float16 and complex too, but viewers of OME-Zarr do not open them.
    if spec.dtype.kind not in "uif" or spec.dtype == np.float16:
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
    for field, value in (("shards", shards), ("checksum", checksum)):
        if version == "0.4" and value:
            raise RequestError(
                f"OME-Zarr 0.4 has no {field}", 'leave it out, or use version "0.5"', f"output.{field}"
            )
    stored = _with_axes(spec, axes or spec.axes)
    inner = choose_chunks(stored, chunks)
    outer = choose_shards(stored, inner, shards)
    return Layout(
        path=path.rstrip("/"),
        spec=replace(stored, chunks=inner, dtype=stored.dtype.newbyteorder("=")),
        axes=spec.axes,
        levels=make_levels(stored, inner, outer, pyramid),
        compressor=compressor,
        checksum=checksum,
        version="0.5" if version == "0.5" else "0.4",
        fingerprint=fingerprint,
        work_root=work_root,
    )


def _with_axes(spec: ImageSpec, axes: str) -> ImageSpec:
    """Add axes of length 1 to an image."""
    try:
        check_axes(axes)
    except RequestError as error:
        raise error.under("output") from None
    if lost := [axis for axis in spec.axes if axis not in axes]:
        raise RequestError(
            f"{axes!r} lacks {', '.join(lost)}, which the image has",
            f"name all of {spec.axes} and those to add",
            "output.axes",
        )
    chunks = dict(zip(spec.axes, spec.chunks, strict=True))
    shape = tuple(spec.sizes.get(axis, 1) for axis in axes)
    return replace(spec, axes=axes, shape=shape, chunks=tuple(chunks.get(axis, 1) for axis in axes))
