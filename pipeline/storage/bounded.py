"""Arrays that zarr-python reads, with codecs that stop at the size of a chunk."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import zarr
from numcodecs.abc import Codec
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import BloscCodec, GzipCodec, ShardingCodec, ZstdCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer

from pipeline.storage.inflate import Decoder, decoder_of, from_blosc, from_gzip, from_zstd

SLACK = 64 << 10
_WIDER = 8
"""Filters may keep pixels in a type that is so many times wider."""

_PLAIN: dict[type, Decoder] = {BloscCodec: from_blosc, ZstdCodec: from_zstd, GzipCodec: from_gzip}


def bounded(array: zarr.Array) -> zarr.Array:
    """Return an open array whose chunks cannot expand to far more than their pixels.

    Codecs that are not known here stay as they are.
    """
    metadata: Any = array.metadata
    nbytes = math.prod(array.shards or array.chunks) * array.dtype.itemsize
    store: Any = array.store
    # An array's storage is its own, so this holds for no other.
    store.most = _most(nbytes) + 20 * math.prod(array.shards or ()) // math.prod(array.chunks)
    if metadata.zarr_format == 2:
        decoder = decoder_of(metadata.compressor)
        if decoder is None:
            return array
        compressor = _Compressor(metadata.compressor, decoder, _most(nbytes))
        changed = dataclasses.replace(metadata, compressor=compressor)
    else:
        changed = dataclasses.replace(metadata, codecs=_codecs(metadata.codecs))
    inner: Any = array.async_array
    return zarr.Array(type(inner)(changed, inner.store_path, inner.config))


def _most(nbytes: int) -> int:
    return _WIDER * nbytes + SLACK


def _codecs(codecs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_codec(codec) for codec in codecs)


def _codec(codec: Any) -> Any:
    if isinstance(codec, ShardingCodec):
        return ShardingCodec(
            chunk_shape=codec.chunk_shape,
            codecs=_codecs(codec.codecs),
            index_codecs=codec.index_codecs,
            index_location=codec.index_location,
        )
    # numcodecs' own codecs, as they are called in v3, keep the one of v2 inside.
    decoder = _PLAIN.get(type(codec)) or decoder_of(getattr(codec, "_codec", None))
    known = decoder is not None and isinstance(codec, BytesBytesCodec)
    return _Bounded(codec, decoder) if known and decoder is not None else codec


@dataclass(frozen=True)
class _Bounded(BytesBytesCodec):
    """A codec of v3 that decodes no further than a chunk can be."""

    inner: Any
    decoder: Decoder
    is_fixed_size = False

    def to_dict(self) -> dict[str, Any]:
        said: dict[str, Any] = self.inner.to_dict()
        return said

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> _Bounded:
        return dataclasses.replace(self, inner=self.inner.evolve_from_array_spec(array_spec))

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        return int(self.inner.compute_encoded_size(input_byte_length, chunk_spec))

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        dtype = chunk_spec.dtype.to_native_dtype()
        most = _most(math.prod(chunk_spec.shape) * dtype.itemsize)
        data = await asyncio.to_thread(self.decoder, chunk_bytes.to_bytes(), most)
        return chunk_spec.prototype.buffer.from_bytes(data)


class _Compressor(Codec):
    """A compressor of v2 that decodes no further than a chunk can be."""

    codec_id = "bounded"

    def __init__(self, inner: Any, decoder: Decoder, most: int) -> None:
        self.inner, self.decoder, self.most = inner, decoder, most

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = self.inner.get_config()
        return config

    def encode(self, buf: Any) -> Any:
        return self.inner.encode(buf)

    def decode(self, buf: Any, out: Any = None) -> Any:
        return self.decoder(bytes(buf), self.most)
