"""Chunks of a Zarr that are not stored, which zarr silently reads as the fill value.

Such a chunk may have been empty, or be lost. They are counted, so that the user can judge. In two cases it
is known: an image of bgone has a manifest, and without a fill value a missing chunk is lost.
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

MOST_SHARDS = 4096  # shards whose table is read; of more, a sample that is evenly spread
Numbers = range | tuple[int, ...]  # sorted indices of chunks or files along an axis


def missing_chunks(array: ChunkArray, where: str, kept: Sequence[Sequence[int]], fill: Any) -> Missing | None:
    """Count the chunks that are not stored.

    Parameters
    ----------
    array : ChunkArray
    where : str
        Its folder.
    kept : sequence of sequence of int
        The indices that will be read along each stored axis; other chunks do not count.
    fill : Any
        The fill value in the metadata, or None if there is none.

    Returns
    -------
    Missing or None
        None if all are there, and if that cannot be found out: for URLs, and for chunk names in an
        unknown encoding.

    Raises
    ------
    DataError
        A file that bgone wrote is missing or cut, or chunks are missing from an array without a
        fill value.
    """
    if "://" in where or not all(len(indices) for indices in kept):
        return None
    folder, name = os.path.split(where.rstrip("/"))
    if os.path.isfile(f"{folder}/{MANIFEST}"):
        _refuse_lost(folder, name, [_met_by(*axis) for axis in zip(kept, array.file_shape, strict=True)])
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
    """Return the chunks of an axis that contain any of the given indices, sorted."""
    if isinstance(indices, range) and 0 < indices.step <= px:
        return range(indices[0] // px, indices[-1] // px + 1)
    return tuple(sorted({index // px for index in indices}))


def _refuse_lost(image: str, name: str, files: Sequence[Numbers]) -> None:
    """Raise DataError if files of an array differ in name or size from bgone's manifest."""
    axes = [axis if isinstance(axis, range) else frozenset(axis) for axis in files]

    def needed() -> Iterator[ChunkRecord]:
        for record in read_manifest(image):
            level, _, key = record.key.partition("/")
            # The array's metadata file is left out: it was read already, and may have been edited.
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
    """The chunks of interest along an axis, and their files."""

    def __init__(self, chunks: Numbers, per_file: int) -> None:
        self.chunks, self.per_file = chunks, per_file
        self.files = _met_by(chunks, per_file)

    def position(self, file: int) -> int | None:
        """Return the position of a file among `files`, or None."""
        at = bisect_left(self.files, file)
        return at if at < len(self.files) and self.files[at] == file else None

    def within(self, file: int) -> Numbers:
        """Return the chunks of interest in a file."""
        start, stop = (bisect_left(self.chunks, number * self.per_file) for number in (file, file + 1))
        return self.chunks[start:stop]


def _count(array: ChunkArray, where: str, chunks: Sequence[Numbers], fill: Any) -> Missing | None:
    pattern = _name_pattern(array)
    if pattern is None:
        return None
    axes = [
        _Axis(numbers, unit // px)
        for numbers, unit, px in zip(chunks, array.file_shape, array.chain.shape, strict=True)
    ]
    grid = tuple(len(axis.files) for axis in axes)
    present = _files_present(where, axes, pattern)
    firsts = []
    if len(present) < math.prod(grid):
        gap = np.flatnonzero(present != np.arange(len(present)))
        empty = np.unravel_index(gap[0] if len(gap) else len(present), grid)
        firsts.append(tuple(axis.within(axis.files[at])[0] for axis, at in zip(axes, empty, strict=True)))
    looked = absent = math.prod(len(axis.chunks) for axis in axes)
    step = max(1, -(-len(present) // MOST_SHARDS))
    for number, flat in enumerate(present):
        files = tuple(axis.files[at] for axis, at in zip(axes, np.unravel_index(flat, grid), strict=True))
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
    """Return which chunks of a shard are stored; all, if it cannot be read: reading its pixels will fail."""
    try:
        return array.stored_chunks(file)
    except (OSError, ChunkError):
        return np.ones(array.table.shape if array.table else (), bool)


def _name_pattern(array: ChunkArray) -> re.Pattern[str] | None:
    """Return a pattern of the files' names with a group for each index, or None if it is not that simple."""
    # The key of an index whose numbers are easily found in it.
    marks = tuple(range(10**6, 10**6 + len(array.shape)))
    pattern = re.escape(array.key(marks))
    if re.findall("[0-9]{7}", pattern) != list(map(str, marks)):
        return None
    return re.compile(re.sub("[0-9]{7}", "([0-9]+)", pattern))


def _files_present(where: str, axes: Sequence[_Axis], pattern: re.Pattern[str]) -> NDArray[np.int64]:
    """Return the files that exist, as sorted flat indices into the grid of all files.

    Only lists folders; needs 8 bytes of memory a file.
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
