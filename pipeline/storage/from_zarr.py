"""The codec chain of an array, read from its Zarr metadata.

What is common is decoded here, within the memory of a chunk. Filters and codecs of others are called one by
one, in zarr-python's or numcodecs' own code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, cast

import numpy as np
import zarr
from numcodecs.compat import ensure_bytes
from numpy.typing import NDArray
from zarr.abc.codec import ArrayArrayCodec
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    GzipCodec,
    ShardingCodec,
    TransposeCodec,
    ZstdCodec,
)
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from pipeline.storage.chunks import ChunkArray
from pipeline.storage.codec import Decoder, checked_crc32c, decoder_of, from_blosc, from_gzip, from_zstd
from pipeline.storage.codec_chain import CodecChain
from pipeline.storage.files import Blob, blob_of
from pipeline.storage.shards import ShardTable

_V3: dict[type, Decoder] = {
    BloscCodec: from_blosc,
    ZstdCodec: from_zstd,
    GzipCodec: from_gzip,
    Crc32cCodec: checked_crc32c,
}
_Filter = Callable[[Any], Any]


def chunk_array(array: zarr.Array, open_file: Callable[[str], Blob | None], at_once: int = 1) -> ChunkArray:
    """Return how an open array is read.

    Parameters
    ----------
    array : zarr.Array
        Open, v2 or v3, whole or sharded.
    open_file : callable
        Name of a file of chunks → its bytes, or None where there is none.
    at_once : int
        Files that are fetched side by side.
    """
    metadata: Any = array.metadata
    fill = 0 if metadata.fill_value is None else metadata.fill_value
    place: dict[str, Any] = {
        "shape": array.shape, "key": metadata.encode_chunk_key, "open_file": open_file, "at_once": at_once,
    }  # fmt: skip
    if metadata.zarr_format == 2:
        return ChunkArray(units=array.chunks, chain=_chain_v2(metadata, array.chunks), fill=fill, **place)
    spec = ArraySpec(
        array.shards or array.chunks, metadata.data_type, fill, array.async_array.config,
        default_buffer_prototype(),
    )  # fmt: skip
    codecs = metadata.codecs
    shard = _shard(codecs[0], spec) if len(codecs) == 1 else None
    if shard is not None:
        return replace(shard, **place)
    return ChunkArray(units=spec.shape, chain=_chain_v3(codecs, spec), fill=fill, **place)


def _chain_v2(metadata: Any, shape: tuple[int, ...]) -> CodecChain:
    codecs = [*([metadata.compressor] if metadata.compressor is not None else ()),
              *reversed(metadata.filters or ())]  # fmt: skip
    dtype = metadata.dtype.to_native_dtype()

    def by_columns(data: bytes) -> NDArray:
        return np.frombuffer(data, dtype).reshape(shape, order="F")

    return CodecChain(
        shape,
        dtype,
        tuple(decoder_of(codec) or _by_numcodecs(codec) for codec in codecs),
        unpack=None if metadata.order == "C" else by_columns,
        packed=math.prod(shape) * dtype.itemsize,
        wide=any(decoder_of(codec) is None for codec in codecs),
    )


def _chain_v3(codecs: Sequence[Any], spec: ArraySpec) -> CodecChain:
    """Return what chunks of a shape and dtype go through."""
    outer, rest, wide = spec, list(codecs), False
    filters: list[_Filter] = []
    while isinstance(rest[0], ArrayArrayCodec):
        codec = rest.pop(0)
        filters.insert(0, _filter(codec, spec))
        wide |= not isinstance(codec, TransposeCodec)
        spec = codec.resolve_metadata(spec)
    serializer, *compressors = rest
    decode = []
    for codec in reversed(compressors):
        # numcodecs' own codecs, as they are called in v3, keep the one of v2 inside.
        decoder = _V3.get(type(codec)) or decoder_of(getattr(codec, "_codec", None))
        wide |= decoder is None
        decode.append(decoder or _by_zarr(codec, spec))
    serial, packed = _serial(serializer, spec)
    if packed is not None and not filters:
        dtype = spec.dtype.to_native_dtype().newbyteorder(_byte_order(serializer))
        return CodecChain(spec.shape, dtype, tuple(decode), wide=wide)

    def unpack(data: bytes) -> NDArray:
        pixels = serial(data)
        for step in filters:
            pixels = step(pixels)
        return pixels

    return CodecChain(
        outer.shape, outer.dtype.to_native_dtype(), tuple(decode),
        unpack=unpack, packed=packed, wide=wide or packed is None,
    )  # fmt: skip


def _serial(codec: Any, spec: ArraySpec) -> tuple[Callable[[Any], NDArray], int | None]:
    """Return what turns bytes into pixels, and how many bytes it takes where that is one number."""
    if type(codec) is BytesCodec:
        dtype = spec.dtype.to_native_dtype().newbyteorder(_byte_order(codec))
        size = math.prod(spec.shape) * dtype.itemsize
        return lambda data: np.frombuffer(data, dtype).reshape(spec.shape), size
    shard = _shard(codec, spec)
    return (_by_zarr(codec, spec) if shard is None else partial(_whole_shard, shard)), None


def _byte_order(codec: BytesCodec) -> Literal["<", ">"]:
    # Its own words: the attribute is an enum in some versions of zarr-python and a text in others.
    configuration: Any = codec.to_dict().get("configuration") or {}
    return ">" if configuration.get("endian") == "big" else "<"


def _shard(codec: Any, spec: ArraySpec) -> ChunkArray | None:
    """Return what lies in a shard, or None where it is none or its table is not kept plainly."""
    if not isinstance(codec, ShardingCodec):
        return None
    table, *checks = codec.index_codecs
    if type(table) is not BytesCodec or _byte_order(table) == ">":
        return None
    if not all(isinstance(check, Crc32cCodec) for check in checks):
        return None
    inner = tuple(codec.chunk_shape)
    grid = tuple(size // px for size, px in zip(spec.shape, inner, strict=True))
    first = getattr(codec.index_location, "value", codec.index_location) == "start"
    return ChunkArray(
        spec.shape, spec.shape, _chain_v3(codec.codecs, replace(spec, shape=inner)), spec.fill_value,
        key=lambda unit: "a shard", open_file=lambda key: None, table=ShardTable(grid, first, len(checks)),
    )  # fmt: skip


def _whole_shard(shard: ChunkArray, data: bytes) -> NDArray:
    """Return the pixels of a shard that lies inside something else."""
    block = np.empty(shard.shape, shard.chain.dtype)
    shard.read_file(blob_of(data), (0,) * block.ndim, tuple(map(slice, [0] * block.ndim, shard.shape)), block)
    return block


def _by_numcodecs(codec: Any) -> Decoder:
    return lambda data, most: ensure_bytes(codec.decode(data))


def _filter(codec: Any, spec: ArraySpec) -> _Filter:
    """Return what undoes a filter, which was given pixels of a shape and dtype."""
    if isinstance(codec, TransposeCodec):
        order = [int(axis) for axis in np.argsort(codec.order)]
        return lambda pixels: pixels.transpose(order)
    return _by_zarr(codec, spec)


def _by_zarr(codec: Any, spec: ArraySpec) -> Any:
    """Return what undoes a codec that only zarr-python knows, or a plug-in of it."""

    def decode(data: Any, most: int = 0) -> Any:
        # Pixels from a filter's side, bytes from a compressor's.
        kind: Any = spec.prototype.nd_buffer if isinstance(data, np.ndarray) else spec.prototype.buffer
        buffer = (kind.from_ndarray_like if isinstance(data, np.ndarray) else kind.from_bytes)(data)
        (decoded,) = cast(Any, sync(codec.decode([(buffer, spec)])))
        return decoded.to_bytes() if hasattr(decoded, "to_bytes") else decoded.as_ndarray_like()

    return decode
