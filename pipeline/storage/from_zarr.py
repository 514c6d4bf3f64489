"""The codec chain of an array, read from its Zarr metadata.

Common codecs are decoded by `pipeline.storage.codec`, in bounded memory; all others by zarr-python's or
numcodecs' own code.
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
    """Return the `ChunkArray` of an open array of Zarr 2 or 3; for the parameters see there."""
    metadata: Any = array.metadata
    fill = 0 if metadata.fill_value is None else metadata.fill_value
    files: dict[str, Any] = {
        "shape": array.shape,
        "key": metadata.encode_chunk_key,
        "open_file": open_file,
        "at_once": at_once,
    }
    if metadata.zarr_format == 2:
        return ChunkArray(
            file_shape=array.chunks, chain=_chain_v2(metadata, array.chunks), fill=fill, **files
        )
    config, prototype = array.async_array.config, default_buffer_prototype()
    spec = ArraySpec(array.shards or array.chunks, metadata.data_type, fill, config, prototype)
    codecs = metadata.codecs
    shard = _shard(codecs[0], spec) if len(codecs) == 1 else None
    if shard is not None:
        return replace(shard, **files)
    return ChunkArray(file_shape=spec.shape, chain=_chain_v3(codecs, spec), fill=fill, **files)


def _chain_v2(metadata: Any, shape: tuple[int, ...]) -> CodecChain:
    compressor = [] if metadata.compressor is None else [metadata.compressor]
    codecs = [*compressor, *reversed(metadata.filters or ())]
    dtype = metadata.dtype.to_native_dtype()

    def by_columns(data: bytes) -> NDArray:
        return np.frombuffer(data, dtype).reshape(shape, order="F")

    return CodecChain(
        shape,
        dtype,
        tuple(decoder_of(codec) or _numcodecs_decoder(codec) for codec in codecs),
        unpack=None if metadata.order == "C" else by_columns,
        packed=math.prod(shape) * dtype.itemsize,
        wide=any(decoder_of(codec) is None for codec in codecs),
    )


def _chain_v3(codecs: Sequence[Any], spec: ArraySpec) -> CodecChain:
    """Return the codec chain of chunks of a shape and dtype."""
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
        # The codecs that numcodecs registers for Zarr 3 wrap those of Zarr 2.
        decoder = _V3.get(type(codec)) or decoder_of(getattr(codec, "_codec", None))
        wide |= decoder is None
        decode.append(decoder or _zarr_decoder(codec, spec))
    serial, packed = _deserializer(serializer, spec)
    if packed is not None and not filters:
        dtype = spec.dtype.to_native_dtype().newbyteorder(_byte_order(serializer))
        return CodecChain(spec.shape, dtype, tuple(decode), wide=wide)

    def unpack(data: bytes) -> NDArray:
        pixels = serial(data)
        for step in filters:
            pixels = step(pixels)
        return pixels

    dtype, wide = outer.dtype.to_native_dtype(), wide or packed is None
    return CodecChain(outer.shape, dtype, tuple(decode), unpack=unpack, packed=packed, wide=wide)


def _deserializer(codec: Any, spec: ArraySpec) -> tuple[Callable[[Any], NDArray], int | None]:
    """Return the function that makes pixels of bytes, and the number of bytes it takes, if that is fixed."""
    if type(codec) is BytesCodec:
        dtype = spec.dtype.to_native_dtype().newbyteorder(_byte_order(codec))
        size = math.prod(spec.shape) * dtype.itemsize
        return lambda data: np.frombuffer(data, dtype).reshape(spec.shape), size
    shard = _shard(codec, spec)
    return (_zarr_decoder(codec, spec) if shard is None else partial(_read_nested_shard, shard)), None


def _byte_order(codec: BytesCodec) -> Literal["<", ">"]:
    # From its metadata: the attribute is an enum in some versions of zarr-python, and a string in others.
    configuration: Any = codec.to_dict().get("configuration") or {}
    return ">" if configuration.get("endian") == "big" else "<"


def _shard(codec: Any, spec: ArraySpec) -> ChunkArray | None:
    """Return the chunks of a shard, or None if the codec is another or encodes its table unusually."""
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
        spec.shape,
        spec.shape,
        _chain_v3(codec.codecs, replace(spec, shape=inner)),
        spec.fill_value,
        key=lambda index: "a shard",
        open_file=lambda key: None,
        table=ShardTable(grid, first, len(checks)),
    )


def _read_nested_shard(shard: ChunkArray, data: bytes) -> NDArray:
    """Decode a shard that is itself encoded, or a chunk of another shard."""
    block = np.empty(shard.shape, shard.chain.dtype)
    shard.read_file(blob_of(data), (0,) * block.ndim, tuple(map(slice, [0] * block.ndim, shard.shape)), block)
    return block


def _numcodecs_decoder(codec: Any) -> Decoder:
    return lambda data, most: ensure_bytes(codec.decode(data))


def _filter(codec: Any, spec: ArraySpec) -> _Filter:
    """Return the function that undoes a filter, given the shape and dtype before it."""
    if isinstance(codec, TransposeCodec):
        order = [int(axis) for axis in np.argsort(codec.order)]
        return lambda pixels: pixels.transpose(order)
    return _zarr_decoder(codec, spec)


def _zarr_decoder(codec: Any, spec: ArraySpec) -> Any:
    """Return the function that undoes a codec of zarr-python or of a plug-in."""

    def decode(data: Any, most: int = 0) -> Any:
        # Filters decode pixels, compressors bytes.
        kind: Any = spec.prototype.nd_buffer if isinstance(data, np.ndarray) else spec.prototype.buffer
        buffer = (kind.from_ndarray_like if isinstance(data, np.ndarray) else kind.from_bytes)(data)
        (decoded,) = cast(Any, sync(codec.decode([(buffer, spec)])))
        return decoded.to_bytes() if hasattr(decoded, "to_bytes") else decoded.as_ndarray_like()

    return decode
