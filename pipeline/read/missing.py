"""Chunks of a Zarr that no file holds: zarr reads the fill value for them, and says nothing.

Whether such a chunk was empty or was lost, the files cannot tell; they are counted, so that a person
can. Two things do tell: the manifest of an image that bgone wrote, and metadata without a fill value.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec

from pipeline.errors import DataError, VerificationError
from pipeline.write.manifest import MANIFEST, check_files, read_manifest
from pipeline.write.region import ChunkRecord

FIELD = "input.path"
MOST_SHARDS = 4096
"""Shards whose index is read; where there are more, so many of them, evenly spread."""

_NOWHERE = np.iinfo(np.uint64).max


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
    chunks = _touched(kept, array.chunks)
    folder, name = os.path.split(where.rstrip("/"))
    if os.path.isfile(f"{folder}/{MANIFEST}"):
        _refuse_lost(folder, name, _touched(kept, array.shards or array.chunks))
        return None
    found = _count(array, where, chunks)
    if found is not None and array.metadata.fill_value is None:
        raise DataError(
            f"{found.chunks} of {found.of} chunks of {where!r} are not there, chunk {found.first} the first, "
            "and its metadata give no fill value: nothing says what they hold",
            "bring them back, leave them out with input.select, or set a fill_value in its .zarray",
            FIELD,
        )
    return found


def _touched(kept: Sequence[Sequence[int]], chunks: tuple[int, ...]) -> list[NDArray[Any]]:
    """Return for each axis the chunks that hold any of its indices, in order."""
    return [np.unique(np.asarray(indices) // px) for indices, px in zip(kept, chunks, strict=True)]


def _refuse_lost(image: str, name: str, touched: list[NDArray[Any]]) -> None:
    """Compare the files of an array with the manifest that bgone wrote for them: names and sizes."""
    wanted = [set(axis.tolist()) for axis in touched]

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


def _in(number: str, wanted: set[int]) -> bool:
    return number.isdigit() and int(number) in wanted


@dataclass(frozen=True)
class _Wanted:
    """The chunks that are looked for, and the files that would hold them, axis by axis.

    `chunks` and `files` are numbers in their grids; `home` says at which place of `files` each chunk's is.
    """

    chunks: list[NDArray[Any]]
    per_file: tuple[int, ...]
    files: list[NDArray[Any]]
    home: list[NDArray[Any]]

    @classmethod
    def of(cls, array: zarr.Array, chunks: list[NDArray[Any]]) -> _Wanted:
        """Return where chunks lie."""
        units = array.shards or array.chunks
        per_file = tuple(unit // px for unit, px in zip(units, array.chunks, strict=True))
        homes = [np.unique(axis // n, return_inverse=True) for axis, n in zip(chunks, per_file, strict=True)]
        return cls(chunks, per_file, [files for files, _ in homes], [home for _, home in homes])

    @property
    def shape(self) -> tuple[int, ...]:
        """How many chunks there are along each axis."""
        return tuple(map(len, self.chunks))


def _count(array: zarr.Array, where: str, chunks: list[NDArray[Any]]) -> Missing | None:
    naming = _naming(array)
    if naming is None:
        return None
    wanted = _Wanted.of(array, chunks)
    there = _files_there(where, wanted.files, naming)
    present = there[np.ix_(*wanted.home)]
    looked = np.ones(wanted.shape, bool)
    index = _ShardIndex.of(array)
    if index is not None:
        found = np.argwhere(there)
        step = max(1, -(-len(found) // MOST_SHARDS))
        for number, place in enumerate(found):
            here = [np.flatnonzero(home == at) for home, at in zip(wanted.home, place, strict=True)]
            if number % step:
                looked[np.ix_(*here)] = False
                continue
            shard = [int(files[at]) for files, at in zip(wanted.files, place, strict=True)]
            held = index.held(f"{where}/{naming.path(shard)}")
            inner = [axis[at] % n for axis, at, n in zip(chunks, here, wanted.per_file, strict=True)]
            present[np.ix_(*here)] = held[np.ix_(*inner)]
    absent = looked & ~present
    if not absent.any():
        return None
    first = [int(axis[at]) for axis, at in zip(chunks, np.argwhere(absent)[0], strict=True)]
    fill = f"{array.metadata.fill_value!s}"
    return Missing(int(absent.sum()), int(looked.sum()), ", ".join(map(str, first)), fill)


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


def _files_there(where: str, files: list[NDArray[Any]], naming: _Naming) -> NDArray[np.bool_]:
    """Return for each file that could be there whether it is; nothing is opened, only folders are listed."""
    places = [{int(number): place for place, number in enumerate(axis)} for axis in files]
    there = np.zeros(tuple(map(len, files)), bool)
    for name in _names(where):
        numbers = naming.numbers(name, len(places))
        if numbers is not None and all(n in place for n, place in zip(numbers, places, strict=True)):
            there[tuple(place[n] for n, place in zip(numbers, places, strict=True))] = True
    return there


def _names(folder: str) -> Iterator[str]:
    """Yield the files below a folder by their paths in it."""
    below = [""]
    while below:
        inside = below.pop()
        with os.scandir(f"{folder}/{inside}") as entries:
            for entry in entries:
                if entry.is_dir():
                    below.append(f"{inside}{entry.name}/")
                else:
                    yield f"{inside}{entry.name}"


@dataclass(frozen=True)
class _ShardIndex:
    """The table at one end of a shard: for each chunk in it, where it begins and its bytes."""

    shape: tuple[int, ...]
    first: bool
    behind: int

    @classmethod
    def of(cls, array: zarr.Array) -> _ShardIndex | None:
        """Return how the shards of an array keep it; None without shards, or where it is not kept plainly."""
        codec = next(iter(getattr(array.metadata, "codecs", ())), None)
        if not isinstance(codec, ShardingCodec) or array.shards is None:
            return None
        table, *checks = codec.index_codecs
        if not isinstance(table, BytesCodec) or not all(isinstance(each, Crc32cCodec) for each in checks):
            return None
        if getattr(table.endian, "value", table.endian) != "little":
            return None
        shape = tuple(shard // chunk for shard, chunk in zip(array.shards, array.chunks, strict=True))
        place = getattr(codec.index_location, "value", codec.index_location)
        return cls(shape, place == "start", 4 * len(checks))

    def held(self, path: str) -> NDArray[np.bool_]:
        """Return which chunks a shard holds; what cannot be read here shows when its pixels are."""
        size = 16 * int(np.prod(self.shape))
        data = b""
        with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
            if not self.first:
                file.seek(-size - self.behind, os.SEEK_END)
            data = file.read(size)
        if len(data) < size:
            return np.ones(self.shape, bool)
        held: NDArray[np.bool_] = (np.frombuffer(data, "<u8").reshape(*self.shape, 2) != _NOWHERE).any(-1)
        return held
