"""Operations on rows of the scratch array of morphology, in whole vectors."""

from typing import Any

import numpy as np
from numba.core import cgutils
from numpy.typing import NDArray

from pipeline.kernels.jit import jit
from pipeline.kernels.vectors import BLOCK, INDEX, Emitter, emitted

# Half a line at a time is some 5 % faster where 512-bit registers are two of 256 (Zen 4), since only every
# other load then crosses a line, and all that AVX2 has.
VECTOR = 32


@emitted
def minimum(emit: Emitter, array: Any, at: Any, sources: Any, blocks: Any) -> None:
    """Write at `array[at:]` the minimum of what stands at each of `sources` (a tuple), block by block.

    A source may be the target itself; otherwise they must not overlap. Not for NaN.
    """
    vectors = emit.vectors(VECTOR)
    first, *others = cgutils.unpack_tuple(emit.builder, sources)
    with cgutils.for_range(emit.builder, emit.builder.mul(blocks, INDEX(BLOCK // VECTOR))) as loop:
        result = vectors.load(array, first, loop.index)
        for source in others:
            result = vectors.smaller(vectors.load(array, source, loop.index), result)
        vectors.store(result, array, at, loop.index)


@emitted
def complement(emit: Emitter, array: Any, at: Any, blocks: Any) -> None:
    """Replace each element from `array[at]` on by the one that sorts the other way round."""
    vectors = emit.vectors(BLOCK)
    with cgutils.for_range(emit.builder, blocks) as loop:
        vectors.store(vectors.complement(vectors.load(array, at, loop.index)), array, at, loop.index)


def _transfer(
    emit: Emitter, array: Any, at: Any, address: Any, step: Any, count: Any, *, inward: bool
) -> None:
    builder = emit.builder
    row = builder.gep(array, [at])
    pixels = builder.inttoptr(address, cgutils.voidptr_t)
    side_by_side = builder.icmp_signed("==", step, INDEX(emit.itemsize))
    with builder.if_else(side_by_side) as (yes, no):
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
    """Copy `count` pixels that lie `step` bytes apart, the first at `address`, to `array[at:]`."""
    _transfer(emit, array, at, address, step, count, inward=True)


@emitted
def write_row(emit: Emitter, array: Any, at: Any, address: Any, step: Any, count: Any) -> None:
    """Copy `count` elements of `array[at:]` to pixels `step` bytes apart, the first at `address`."""
    _transfer(emit, array, at, address, step, count, inward=False)


@jit
def blocks_of(array: NDArray, count: int) -> int:
    """Return how many blocks hold `count` elements."""
    return (count * array.itemsize + BLOCK - 1) // BLOCK


@jit
def fill(array: NDArray, start: int, stop: int, value: np.generic) -> None:
    """Set the elements start … stop − 1."""
    part = array[start:stop]
    for i in range(part.size):
        part[i] = value


@jit
def read_pixels(
    array: NDArray, at: int, address: int, step: int, count: int, flip: bool, highest: np.generic
) -> None:
    """Read pixels to `array[at:]`, complemented where `flip`; NaN counts as if it lay outside.

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
    """Make a result the image minus it where `minus` is 1, or it minus the image where that is 2."""
    if minus == 1:
        for i in range(result.size):
            result[i] = image[i] - result[i]
    elif minus == 2:
        for i in range(result.size):
            result[i] = result[i] - image[i]
