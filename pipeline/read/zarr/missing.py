"""Chunks of a Zarr that no file holds: zarr reads the fill value for them, and says nothing.

Whether such a chunk was empty or was lost, the files cannot tell; they are counted, so that a person
can. Two things do tell: the manifest of an image that bgone wrote, and metadata without a fill value.
"""

from __future__ import annotations

import math
import os
import re
from array import array as numbers_of
from bisect import bisect_left
from collections.abc import Container, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model.errors import DataError, VerificationError
from pipeline.read.files import FIELD
from pipeline.read.source import Missing
from pipeline.read.zarr.nodes import files_below
from pipeline.storage.chunks import ChunkArray, ChunkError
from pipeline.write.manifest import MANIFEST, check_files, read_manifest
from pipeline.write.region import ChunkRecord

MOST_SHARDS = 4096
"""Shards whose index is read; where there are more, so many of them, evenly spread."""

Numbers = range | tuple[int, ...]
"""Chunks or files along an axis, in order."""


def missing_chunks(array: ChunkArray, where: str, kept: Sequence[Sequence[int]], fill: Any) -> Missing | None:
    """Count the chunks that no file holds.

    Parameters
    ----------
    array : ChunkArray
        How the chunks are kept.
    where : str
        Its folder.
    kept : sequence of sequence of int
        For each stored axis, the indices that will be read; chunks beside them do not count.
    fill : Any
        The fill value as the metadata gives it; None where it gives none.

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
        _refuse_lost(folder, name, [_met_by(*axis) for axis in zip(kept, array.units, strict=True)])
        return None
    missing = _count(
        array, where, [_met_by(*axis) for axis in zip(kept, array.chain.shape, strict=True)], fill
    )
    if missing is not None and fill is None:
        raise DataError(
            f"{missing.chunks} of {missing.of} chunks of {where!r} are not there, chunk {missing.first} the "
            "first, and its metadata give no fill value: nothing says what they hold",
            "bring them back, leave them out with input.select, or set a fill_value in its .zarray",
            FIELD,
        )
    return missing


def _met_by(indices: Sequence[int], px: int) -> Numbers:
    """Return the chunks of an axis that hold any of its indices, in order."""
    if isinstance(indices, range) and 0 < indices.step <= px:
        return range(indices[0] // px, indices[-1] // px + 1)
    return tuple(sorted({index // px for index in indices}))


def _refuse_lost(image: str, name: str, files: Sequence[Numbers]) -> None:
    """Compare the files of an array with the manifest that bgone wrote for them: names and sizes."""
    axes = [axis if isinstance(axis, range) else frozenset(axis) for axis in files]

    def needed() -> Iterator[ChunkRecord]:
        for record in read_manifest(image):
            level, _, key = record.key.partition("/")
            # Its own metadata file was read already, and may have been edited.
            index = key.removeprefix("c/").split("/")
            if level == name and len(index) == len(axes) and all(map(_is_in, index, axes)):
                yield record

    hint = f"bring it back; if the image was changed on purpose, remove {image}/bgone, its record"
    try:
        lost = list(check_files(image, needed(), content=False))
    except VerificationError:
        raise DataError(
            f"{image}/{MANIFEST}, which says what its files held, is damaged", hint, FIELD
        ) from None
    if lost:
        raise DataError(
            f"{image!r} is not what bgone wrote: {lost[0]}; {len(lost)} such files in all", hint, FIELD
        )


def _is_in(number: str, numbers: Container[int]) -> bool:
    return number.isdigit() and int(number) in numbers


class _Axis:
    """The chunks of an axis that are looked for, and the files that would hold them."""

    def __init__(self, chunks: Numbers, per_file: int) -> None:
        self.chunks, self.per_file = chunks, per_file
        self.files = _met_by(chunks, per_file)

    def position(self, file: int) -> int | None:
        """Return which of the files it is, or None for another."""
        at = bisect_left(self.files, file)
        return at if at < len(self.files) and self.files[at] == file else None

    def within(self, file: int) -> Numbers:
        """Return the chunks in a file."""
        start, stop = (bisect_left(self.chunks, number * self.per_file) for number in (file, file + 1))
        return self.chunks[start:stop]


def _count(array: ChunkArray, where: str, chunks: Sequence[Numbers], fill: Any) -> Missing | None:
    pattern = _name_pattern(array)
    if pattern is None:
        return None
    axes = [
        _Axis(numbers, unit // px)
        for numbers, unit, px in zip(chunks, array.units, array.chain.shape, strict=True)
    ]
    grid = tuple(len(axis.files) for axis in axes)
    present = _files_present(where, axes, pattern)
    firsts = []
    if len(present) < math.prod(grid):
        gap = np.flatnonzero(present != np.arange(len(present)))
        empty = _index_of(int(gap[0]) if len(gap) else len(present), grid)
        firsts.append(tuple(axis.within(axis.files[at])[0] for axis, at in zip(axes, empty, strict=True)))
    looked = absent = math.prod(len(axis.chunks) for axis in axes)
    step = max(1, -(-len(present) // MOST_SHARDS))
    for number, flat in enumerate(present):
        files = tuple(axis.files[at] for axis, at in zip(axes, _index_of(int(flat), grid), strict=True))
        inside = [axis.within(file) for axis, file in zip(axes, files, strict=True)]
        absent -= math.prod(map(len, inside))
        if array.table is None:
            continue
        if number % step:
            looked -= math.prod(map(len, inside))
            continue
        within = [np.asarray(numbers) % axis.per_file for numbers, axis in zip(inside, axes, strict=True)]
        lost = np.argwhere(~_held(array, files)[np.ix_(*within)])
        absent += len(lost)
        firsts += [tuple(numbers[at] for numbers, at in zip(inside, at, strict=True)) for at in lost[:1]]
    if not absent:
        return None
    return Missing(absent, looked, ", ".join(map(str, min(firsts))), f"{fill!s}")


def _held(array: ChunkArray, file: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which chunks a shard holds; what cannot be read here shows when its pixels are."""
    try:
        return array.held(file)
    except (OSError, ChunkError):
        return np.ones(array.table.shape if array.table else (), bool)


def _index_of(flat: int, grid: tuple[int, ...]) -> tuple[int, ...]:
    """Return the index in a grid of a number that counts its cells, the last axis first."""
    index = []
    for length in reversed(grid):
        flat, at = divmod(flat, length)
        index.append(at)
    return tuple(reversed(index))


def _name_pattern(array: ChunkArray) -> re.Pattern[str] | None:
    """Return what the names of files match, with a group for each number, or None where that is not known."""
    marks = tuple(range(10**6, 10**6 + len(array.shape)))
    pattern = re.escape(array.key(marks))
    if re.findall("[0-9]{7}", pattern) != list(map(str, marks)):
        return None
    return re.compile(re.sub("[0-9]{7}", "([0-9]+)", pattern))


def _files_present(where: str, axes: Sequence[_Axis], pattern: re.Pattern[str]) -> NDArray[np.int64]:
    """Return which files there are of those that could be, as sorted numbers in their grid.

    Nothing is opened, only folders are listed; it takes as much memory as there are files.
    """
    present = numbers_of("q")
    for path, _ in files_below(where):
        match = pattern.fullmatch(path)
        if match is None:
            continue
        flat = 0
        for axis, number in zip(axes, match.groups(), strict=True):
            at = axis.position(int(number))
            if at is None:
                break
            flat = flat * len(axis.files) + at
        else:
            present.append(flat)
    return np.unique(np.asarray(present, np.int64))
