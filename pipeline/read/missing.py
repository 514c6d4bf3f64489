"""Chunks of a Zarr that no file holds: zarr reads the fill value for them, and says nothing.

Whether such a chunk was empty or was lost, the files cannot tell; they are counted, so that a person
can. Two things do tell: the manifest of an image that bgone wrote, and metadata without a fill value.
"""

from __future__ import annotations

import math
import os
from array import array as numbers_of
from bisect import bisect_left
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.model.errors import DataError, VerificationError
from pipeline.read.zarr.nodes import files_below
from pipeline.storage.shards import ShardTable
from pipeline.write.manifest import MANIFEST, check_files, read_manifest
from pipeline.write.region import ChunkRecord

FIELD = "input.path"
MOST_SHARDS = 4096
"""Shards whose index is read; where there are more, so many of them, evenly spread."""

Numbers = range | tuple[int, ...]
"""Chunks or files along an axis, in order."""


@dataclass(frozen=True)
class Missing:
    """Chunks that are read as the fill value because no file holds them.

    Parameters
    ----------
    chunks : int
        How many.
    of : int
        Of how many that were looked at.
    first : str
        The first of them, by its place in the grid of chunks.
    fill : str
        What they are read as.
    """

    chunks: int
    of: int
    first: str
    fill: str

    def __str__(self) -> str:
        return (
            f"{self.chunks} of {self.of} chunks are not there and are read as {self.fill} (the fill value), "
            f"chunk {self.first} the first"
        )


def missing_chunks(array: zarr.Array, where: str, kept: Sequence[Sequence[int]]) -> Missing | None:
    """Count the chunks that no file holds.

    Parameters
    ----------
    array : zarr.Array
        Open, v2 or v3, whole or sharded.
    where : str
        Its folder.
    kept : sequence of sequence of int
        For each stored axis, the indices that will be read; chunks beside them do not count.

    Returns
    -------
    Missing or None
        None where there are none, where bgone wrote the array and all is there, and where it cannot
        be told: a URL, names of chunks in an encoding of their own.

    Raises
    ------
    DataError
        A file that bgone wrote is missing or cut, or the array has no fill value and chunks are
        missing, so that nothing says what they are.
    """
    if "://" in where or not all(len(indices) for indices in kept):
        return None
    folder, name = os.path.split(where.rstrip("/"))
    if os.path.isfile(f"{folder}/{MANIFEST}"):
        _refuse_lost(folder, name, [_touched(*each) for each in zip(kept, _units(array), strict=True)])
        return None
    found = _count(array, where, [_touched(*each) for each in zip(kept, array.chunks, strict=True)])
    if found is not None and array.metadata.fill_value is None:
        raise DataError(
            f"{found.chunks} of {found.of} chunks of {where!r} are not there, chunk {found.first} the first, "
            "and its metadata give no fill value: nothing says what they hold",
            "bring them back, leave them out with input.select, or set a fill_value in its .zarray",
            FIELD,
        )
    return found


def _units(array: zarr.Array) -> tuple[int, ...]:
    """Return the pixels of a file along each axis."""
    return array.shards or array.chunks


def _touched(indices: Sequence[int], px: int) -> Numbers:
    """Return the chunks of an axis that hold any of its indices, in order."""
    if isinstance(indices, range) and 0 < indices.step <= px:
        return range(indices[0] // px, indices[-1] // px + 1)
    return tuple(sorted({index // px for index in indices}))


def _refuse_lost(image: str, name: str, touched: Sequence[Numbers]) -> None:
    """Compare the files of an array with the manifest that bgone wrote for them: names and sizes."""
    wanted = [axis if isinstance(axis, range) else frozenset(axis) for axis in touched]

    def needed() -> Iterator[ChunkRecord]:
        for record in read_manifest(image):
            level, _, key = record.key.partition("/")
            # Its own metadata file was read already, and may have been edited.
            index = key.removeprefix("c/").split("/")
            if level == name and len(index) == len(wanted) and all(map(_in, index, wanted)):
                yield record

    mend = f"bring it back; if the image was changed on purpose, remove {image}/bgone, its record"
    try:
        lost = list(check_files(image, needed(), content=False))
    except VerificationError:
        raise DataError(
            f"{image}/{MANIFEST}, which says what its files held, is damaged", mend, FIELD
        ) from None
    if lost:
        raise DataError(
            f"{image!r} is not what bgone wrote: {lost[0]}; {len(lost)} such files in all", mend, FIELD
        )


def _in(number: str, wanted: Container[int]) -> bool:
    return number.isdigit() and int(number) in wanted


class _Axis:
    """The chunks of an axis that are looked for, and the files that would hold them."""

    def __init__(self, chunks: Numbers, per_file: int) -> None:
        self.chunks, self.per_file = chunks, per_file
        self.files = _touched(chunks, per_file)
        self._place = (
            {} if isinstance(self.files, range) else {file: at for at, file in enumerate(self.files)}
        )

    def place(self, file: int) -> int | None:
        """Return which of the files it is, or None for another."""
        if isinstance(self.files, range):
            return self.files.index(file) if file in self.files else None
        return self._place.get(file)

    def within(self, file: int) -> Numbers:
        """Return the chunks in a file."""
        first, stop = file * self.per_file, (file + 1) * self.per_file
        if isinstance(self.chunks, range):
            return range(max(first, self.chunks.start), min(stop, self.chunks.stop))
        return self.chunks[bisect_left(self.chunks, first) : bisect_left(self.chunks, stop)]


def _count(array: zarr.Array, where: str, chunks: Sequence[Numbers]) -> Missing | None:
    naming = _naming(array)
    if naming is None:
        return None
    axes = [
        _Axis(numbers, unit // px)
        for numbers, unit, px in zip(chunks, _units(array), array.chunks, strict=True)
    ]
    grid = [len(axis.files) for axis in axes]
    there = _files_there(where, axes, naming)
    firsts = []
    if len(there) < math.prod(grid):
        gap = np.flatnonzero(there != np.arange(len(there)))
        empty = _place_of(int(gap[0]) if len(gap) else len(there), grid)
        firsts.append(tuple(axis.within(axis.files[at])[0] for axis, at in zip(axes, empty, strict=True)))
    looked = math.prod(len(axis.chunks) for axis in axes)
    absent = looked
    table = ShardTable.of(array)
    step = max(1, -(-len(there) // MOST_SHARDS))
    for number, flat in enumerate(there):
        files = [axis.files[at] for axis, at in zip(axes, _place_of(int(flat), grid), strict=True)]
        inside = [axis.within(file) for axis, file in zip(axes, files, strict=True)]
        absent -= math.prod(map(len, inside))
        if table is None:
            continue
        if number % step:
            looked -= math.prod(map(len, inside))
            continue
        held = table.held(f"{where}/{naming.path(files)}")
        within = [np.asarray(numbers) % axis.per_file for numbers, axis in zip(inside, axes, strict=True)]
        lost = np.argwhere(~held[np.ix_(*within)])
        absent += len(lost)
        firsts += [tuple(numbers[at] for numbers, at in zip(inside, at, strict=True)) for at in lost[:1]]
    if not absent:
        return None
    return Missing(absent, looked, ", ".join(map(str, min(firsts))), f"{array.metadata.fill_value!s}")


def _place_of(flat: int, grid: Sequence[int]) -> list[int]:
    """Return the place in a grid of a number that counts its cells, the last axis first."""
    place = []
    for length in reversed(grid):
        flat, at = divmod(flat, length)
        place.append(at)
    return place[::-1]


class _Naming(NamedTuple):
    """How the names of files begin, and what separates their numbers."""

    start: str
    separator: str

    def path(self, numbers: Sequence[int]) -> str:
        """Return the name of a file."""
        return self.start + self.separator.join(map(str, numbers))

    def numbers(self, path: str, axes: int) -> list[int] | None:
        """Return what a file's name says, or None where it is no chunk's."""
        parts = path[len(self.start) :].split(self.separator)
        ours = path.startswith(self.start) and len(parts) == axes and all(map(str.isdigit, parts))
        return [int(part) for part in parts] if ours else None


def _naming(array: zarr.Array) -> _Naming | None:
    """Return how the files of chunks are called, or None where it is not known."""
    plain: dict[str, Any] = array.metadata.to_dict()
    if array.metadata.zarr_format == 2:
        return _Naming("", plain.get("dimension_separator") or ".")
    encoding = plain["chunk_key_encoding"]
    separator = (encoding.get("configuration") or {}).get("separator")
    if encoding.get("name") == "default":
        return _Naming(f"c{separator or '/'}", separator or "/")
    return _Naming("", separator or ".") if encoding.get("name") == "v2" else None


def _files_there(where: str, axes: Sequence[_Axis], naming: _Naming) -> NDArray[np.int64]:
    """Return which files there are of those that could be, as sorted numbers in their grid.

    Nothing is opened, only folders are listed; it takes as much memory as there are files.
    """
    there = numbers_of("q")
    for path, _ in files_below(where):
        numbers = naming.numbers(path, len(axes))
        if numbers is None:
            continue
        flat = 0
        for axis, number in zip(axes, numbers, strict=True):
            at = axis.place(number)
            if at is None:
                break
            flat = flat * len(axis.files) + at
        else:
            there.append(flat)
    return np.unique(np.asarray(there, np.int64))
