"""Write regions of an output as whole files, and read them back."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.model.image import Region, origin_of, region_shape
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
from pipeline.write.chunks import cells_meeting
from pipeline.write.layout import Layout


class ChunkRecord(NamedTuple):
    """What one file of pixels (a chunk or a shard) holds."""

    key: str  # path inside the image
    nbytes: int
    crc: int | None  # None: all pixels are 0, so there is no file

    @property
    def level(self) -> int:
        """The level that the file belongs to."""
        return int(self.key.partition("/")[0])

    @property
    def empty(self) -> bool:
        """Whether there is no file because all pixels are 0."""
        return self.crc is None


class DamagedChunksError(ValueError):
    """Files of an unfinished output do not match their records.

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


def stored_array(layout: Layout, level: int) -> ChunkArray:
    """Return the encoder and decoder of the files of a level."""
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
    """Write whole files of a level; safe in any thread or process, and to repeat.

    Nothing is synced: `sync` does that for many files at once.

    Parameters
    ----------
    layout : Layout
        The output, on which `create` was called.
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
    if region_shape(region) != block.shape:
        raise ValueError(f"a block of {block.shape} does not fit the region {region}")
    if block.dtype != layout.spec.dtype:
        raise ValueError(f"a block of {block.dtype} for an output of {layout.spec.dtype}")
    if len(region) != len(layout.spec.axes):
        region = layout.padded(region)
        block = block.reshape(region_shape(region))
    origin = origin_of(region)
    array = stored_array(layout, level)
    records = []
    for index, file_region in layout.file_regions(level, region):
        inner = tuple(slice(s.start - o, s.stop - o) for s, o in zip(file_region, origin, strict=True))
        with spending("encode"):
            data = array.encoded(block[inner])
        with spending("write"):
            records.append(_write_file(layout, layout.chunk_key(level, index), data))
    return tuple(records)


def _write_file(layout: Layout, key: str, data: bytes | None) -> ChunkRecord:
    path = f"{layout.image}/{key}"
    if data is None:
        # On resume, a file here is damage that `Journal.check` found.
        durable.remove_file(path)
        return ChunkRecord(key, 0, None)
    durable.write_file(path, data, layout.drafts)
    return ChunkRecord(key, len(data), crc32c(data))


def read_region(
    layout: Layout, level: int, region: Region, records: Iterable[ChunkRecord] | None = None
) -> NDArray[Any]:
    """Read a region of a level of an unfinished output, along the axes as stored.

    Parameters
    ----------
    layout : Layout
        The output.
    level : int
        0 is the full resolution.
    region : tuple of slice
        Any region of the level, not only whole files.
    records : iterable of ChunkRecord, optional
        To check the files against; may include those of other files.

    Returns
    -------
    ndarray
        C-contiguous, of the output's dtype.

    Raises
    ------
    DamagedChunksError
        Files do not match their records, or cannot be decoded.
    """
    expected = None if records is None else {record.key: record for record in records}
    array = stored_array(layout, level)
    block = np.zeros(region_shape(region), layout.spec.dtype)
    damaged = []
    for index in cells_meeting(region, layout.levels[level].file_shape):
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


def read_file(path: str) -> bytes | None:
    """Return a file's bytes, or None if there is no file."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def matches(record: ChunkRecord | None, data: bytes | None) -> bool:
    """Check a file's bytes (None: no file) against its record; without a record nothing matches."""
    if record is None or data is None or record.crc is None:
        return record is not None and data is None and record.crc is None
    return len(data) == record.nbytes and crc32c(data) == record.crc


def sync(layout: Layout, records: Iterable[ChunkRecord]) -> None:
    """Flush files, and the folders that name them, to the disk; call it before journalling them.

    Raises
    ------
    StoppedError
        The disk could not take them.
    """
    durable.sync_all([f"{layout.image}/{record.key}" for record in records if not record.empty], layout.image)
