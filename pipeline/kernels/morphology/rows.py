"""Operations on rows of morphology's scratch array, as vector code."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.jit import jit
from pipeline.kernels.lazy import cgutils
from pipeline.kernels.processor import VECTOR
from pipeline.kernels.vectors import BLOCK, Emitter, Vectors, const, emitted


@emitted
def minimum(emit: Emitter, array: Any, at: Any, sources: Any, blocks: Any) -> None:
    """Write the minimum of the rows at `sources`, a tuple of positions, to array[at:].

    A source may be the target itself, but must not overlap it otherwise. There must be no NaN.
    """
    vectors = emit.vectors(VECTOR)
    first, *others = cgutils.unpack_tuple(emit.builder, sources)
    with cgutils.for_range(emit.builder, emit.builder.mul(blocks, const(BLOCK // VECTOR))) as loop:
        result = vectors.load(array, first, loop.index)
        for source in others:
            result = vectors.smaller(vectors.load(array, source, loop.index), result)
        vectors.store(result, array, at, loop.index)


@emitted
def complement(emit: Emitter, array: Any, at: Any, blocks: Any) -> None:
    """Negate floats, and invert the bits of integers, from array[at] on, so that their order is reversed."""
    vectors = emit.vectors(BLOCK)
    with cgutils.for_range(emit.builder, blocks) as loop:
        vectors.store(vectors.complement(vectors.load(array, at, loop.index)), array, at, loop.index)


def _transfer(
    emit: Emitter, array: Any, at: Any, address: Any, step: Any, count: Any, *, inward: bool
) -> None:
    builder = emit.builder
    row = builder.gep(array, [at])
    pixels = builder.inttoptr(address, cgutils.voidptr_t)
    adjacent = builder.icmp_signed("==", step, const(emit.itemsize))
    with builder.if_else(adjacent) as (yes, no):
        with yes:
            ends = (row, pixels) if inward else (pixels, row)
            cgutils.raw_memcpy(builder, *ends, count, emit.itemsize, align=1)
        with no, cgutils.for_range(builder, count) as loop:
            far = builder.bitcast(builder.gep(pixels, [builder.mul(loop.index, step)]), row.type)
            near = builder.gep(row, [loop.index])
            source, target = (far, near) if inward else (near, far)
            value = builder.load(source)
            value.align = 1
            builder.store(value, target).align = 1


@emitted
def read_row(emit: Emitter, array: Any, at: Any, address: Any, step: Any, count: Any) -> None:
    """Copy `count` pixels, `step` bytes apart from `address` on, to array[at:]."""
    _transfer(emit, array, at, address, step, count, inward=True)


@emitted
def write_row(emit: Emitter, array: Any, at: Any, address: Any, step: Any, count: Any) -> None:
    """Copy `count` elements of array[at:] to pixels `step` bytes apart from `address` on."""
    _transfer(emit, array, at, address, step, count, inward=False)


@jit
def blocks_of(array: NDArray, count: int) -> int:
    """Return the number of blocks that hold `count` elements."""
    return (count * array.itemsize + BLOCK - 1) // BLOCK


@emitted
def fill(emit: Emitter, array: Any, start: Any, stop: Any, value: Any) -> None:
    """Set elements start … stop − 1."""

    def body(vectors: Vectors, number: int, x: Any) -> None:
        vectors.store(vectors.splat(value), array, emit.builder.add(start, x))

    sizes = [(VECTOR, 1), (16, 1), (emit.itemsize, 1)]
    emit.cover(emit.builder.sub(stop, start), sizes, body)


@jit
def read_pixels(
    array: NDArray, at: int, address: int, step: int, count: int, flip: bool, highest: np.generic
) -> None:
    """Read pixels to array[at:], complemented if `flip`; NaN becomes `highest`, as beyond the border.

    The rest of the last block is overwritten.
    """
    read_row(array, at, address, step, count)
    if flip:
        complement(array, at, blocks_of(array, count))
    pixels = array[at : at + count]
    for i in range(pixels.size):
        pixels[i] = pixels[i] if pixels[i] == pixels[i] else highest


@jit
def subtract(result: NDArray, image: NDArray, minus: int) -> None:
    """Replace a result by the image minus the result if `minus` is 1, by the reverse if it is 2."""
    if minus == 1:
        for i in range(result.size):
            result[i] = image[i] - result[i]
    elif minus == 2:
        for i in range(result.size):
            result[i] = result[i] - image[i]
