"""Regions of an output written as whole files, each with a record, and read back."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.model.image import Region
from pipeline.model.timing import spending
from pipeline.storage import durable
from pipeline.storage.chunks import ChunkArray, ChunkError
from pipeline.storage.codec import (
    Encoder,
    checked_crc32c,
    compressor_of,
    crc32c,
    decoder_of,
    with_crc32c,
)
from pipeline.storage.codec_chain import CodecChain
from pipeline.storage.files import blob_of, open_blob
from pipeline.storage.shards import ShardTable
from pipeline.write.layout import Layout, check_block


class ChunkRecord(NamedTuple):
    """What one file of pixels holds: a chunk, or a shard.

    `key` is its path inside the image. An EMPTY one has no file, since all its pixels are 0:
    its `nbytes` is 0 and its `crc` None.
    """

    key: str
    nbytes: int
    crc: int | None

    @property
    def empty(self) -> bool:
        """Whether there is no file because all pixels are 0."""
        return self.crc is None


def stored_array(layout: Layout, level: int) -> ChunkArray:
    """Return how the files of a level are made and read."""
    array, codec = layout.levels[level], compressor_of(layout.compressor)
    decoder = decoder_of(codec)
    encode: list[Encoder] = [bytes if codec is None else codec.encode]
    decode = [] if decoder is None else [decoder]
    if layout.checksum:
        encode, decode = [*encode, with_crc32c], [checked_crc32c, *decode]
    table = None
    if array.shards is not None:
        table = ShardTable(tuple(s // c for s, c in zip(array.shards, array.chunks, strict=True)))
    return ChunkArray(
        array.shape,
        array.file_shape,
        CodecChain(array.chunks, layout.spec.dtype.newbyteorder("<"), tuple(decode), tuple(encode)),
        fill=0,
        key=partial(layout.chunk_key, level),
        open_file=lambda key: open_blob(f"{layout.image}/{key}"),
        table=table,
    )


def write_region(layout: Layout, level: int, region: Region, block: NDArray[Any]) -> tuple[ChunkRecord, ...]:
    """Write whole files of a level; runs in any thread or process, as often as wanted.

    Nothing is synced: that is `sync`'s, for many files at once.

    Parameters
    ----------
    layout : Layout
        The output; `create` has been called.
    level : int
        0 is the full resolution.
    region : tuple of slice
        Where the block lies, along the axes as stored or as the layout's `axes`. It must begin
        and end where files do, or end where the image ends.
    block : ndarray
        Its pixels, of the output's dtype.

    Returns
    -------
    tuple of ChunkRecord
        One for each file, the empty ones too.

    Raises
    ------
    ValueError
        The region cuts through a file, or the block is not of its shape or dtype.
    StoppedError
        The disk is full, or cannot be written.
    """
    check_block(region, block.shape)
    if block.dtype != layout.spec.dtype:
        raise ValueError(f"a block of {block.dtype} for an output of {layout.spec.dtype}")
    if len(region) != len(layout.spec.axes):
        region = layout.padded(region)
    block = block.reshape([part.stop - part.start for part in region])
    origin = [part.start for part in region]
    array = stored_array(layout, level)
    records = []
    for index, unit in layout.file_regions(level, region):
        with spending("encode"):
            data = array.encoded(block[_shifted(unit, origin)])
        with spending("write"):
            records.append(_write_unit(layout, layout.chunk_key(level, index), data))
    return tuple(records)


def _shifted(region: Region, origin: list[int]) -> Region:
    return tuple(slice(part.start - o, part.stop - o) for part, o in zip(region, origin, strict=True))


def _write_unit(layout: Layout, key: str, data: bytes | None) -> ChunkRecord:
    path = f"{layout.image}/{key}"
    if data is None:
        durable.remove_file(path)
        return ChunkRecord(key, 0, None)
    durable.write_file(path, data, f"{layout.work}/drafts")
    return ChunkRecord(key, len(data), crc32c(data))


def read_region(
    layout: Layout, level: int, region: Region, records: Iterable[ChunkRecord] | None = None
) -> NDArray[Any]:
    """Read a region of an unfinished output, along the axes as stored.

    Parameters
    ----------
    layout : Layout
        The output.
    level : int
        0 is the full resolution.
    region : tuple of slice
        Any region inside the level.
    records : iterable of ChunkRecord, optional
        What the files ought to hold; more than the region's may be given.

    Returns
    -------
    ndarray
        C-contiguous, of the output's dtype.

    Raises
    ------
    DamagedChunksError
        Files are missing, cut or changed, measured by `records`, or cannot be decoded.
    """
    expected = None if records is None else {record.key: record for record in records}
    array = stored_array(layout, level)
    block = np.zeros([part.stop - part.start for part in region], layout.spec.dtype)
    damaged = []
    for index, _ in layout.file_regions(level, _whole(region, array.units, array.shape)):
        key = layout.chunk_key(level, index)
        data = read_file(f"{layout.image}/{key}")
        if expected is not None and not matches(expected.get(key), data):
            damaged.append(key)
        elif data is not None:
            try:
                array.read_file(blob_of(data), index, region, block)
            except ChunkError:
                damaged.append(key)
    if damaged:
        raise DamagedChunksError(damaged)
    return block


class DamagedChunksError(ValueError):
    """Files of an unfinished output that are not what was written.

    Attributes
    ----------
    keys : tuple of str
        Their paths inside the image.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self.keys = tuple(keys)
        super().__init__(self.keys)

    def __str__(self) -> str:
        return f"{len(self.keys)} damaged files, {self.keys[0]} the first"


def read_file(path: str) -> bytes | None:
    """Return a file's bytes, or None where there is none."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def matches(record: ChunkRecord | None, data: bytes | None) -> bool:
    """Return whether a file's bytes are what its record says; without a record they are not."""
    if record is None:
        return False
    if data is None or record.crc is None:
        return data is None and record.crc is None
    return len(data) == record.nbytes and crc32c(data) == record.crc


def _whole(region: Region, unit: tuple[int, ...], shape: tuple[int, ...]) -> Region:
    """Return the region of whole files around a region."""
    return tuple(
        slice(part.start // px * px, min(-(-part.stop // px) * px, size))
        for part, px, size in zip(region, unit, shape, strict=True)
    )


def sync(layout: Layout, records: Iterable[ChunkRecord]) -> None:
    """Bring files, and the folders that name them, to the disk; call it before they are journalled.

    Raises
    ------
    StoppedError
        The disk could not take them.
    """
    paths = [f"{layout.image}/{record.key}" for record in records if not record.empty]
    durable.sync_all(paths, layout.image)
