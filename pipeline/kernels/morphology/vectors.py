"""Vector operations on whole 64-byte blocks of one scratch array.

LLVM will not vectorise a minimum over nine rows of the same array without checking at each call that they
do not overlap, which costs more than the work on a short strip. Written as vectors it needs no check, and
LLVM cuts a block into whatever registers the processor has.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

BLOCK = 64  # bytes: a line of the cache
# Half a line at a time is some 5 % faster where 512-bit registers are two of 256 (Zen 4), since only every
# other load then crosses a line, and all that AVX2 has.
VECTOR = 32


def lanes(dtype: np.dtype) -> int:
    """Return how many elements a block holds."""
    return BLOCK // dtype.itemsize


def scratch(size: int, dtype: np.dtype) -> NDArray:
    """Return an uninitialised array that begins on a block's boundary."""
    raw = np.empty(size * dtype.itemsize + BLOCK, np.uint8)
    start = -raw.ctypes.data % BLOCK
    return raw[start : start + size * dtype.itemsize].view(dtype)


def _smaller(builder: Any, dtype: Any, one: Any, two: Any) -> Any:
    if isinstance(dtype, types.Float):
        less = builder.fcmp_ordered("<", one, two)
    elif dtype.signed:
        less = builder.icmp_signed("<", one, two)
    else:
        less = builder.icmp_unsigned("<", one, two)
    return builder.select(less, one, two)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, at: Any, width: int) -> Any:
    """Return a pointer to `array[at]` as a vector of `width` bytes, or as a single element."""
    element = context.get_data_type(kind.dtype)
    count = width * 8 // kind.dtype.bitwidth
    base = builder.gep(context.make_array(kind)(context, builder, array).data, [at])
    return base if count == 1 else builder.bitcast(base, ir.VectorType(element, count).as_pointer())


@intrinsic
def minimum(typing: Any, array: Any, at: Any, sources: Any, blocks: Any) -> tuple[Any, Callable]:
    """Write at `array[at:]` the minimum of what stands at each of `sources` (a tuple), block by block.

    A source may be the target itself; otherwise they must not overlap. Not for NaN.
    """
    signature = types.void(array, at, sources, blocks)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        width = array.dtype.bitwidth // 8
        offsets = [values[1], *(builder.extract_value(values[2], i) for i in range(sources.count))]
        target, *inputs = (_pointer(context, builder, array, values[0], offset, VECTOR) for offset in offsets)
        vectors = builder.mul(values[3], values[3].type(BLOCK // VECTOR))
        with cgutils.for_range(builder, vectors) as loop:
            result = None
            for row in inputs:
                block = builder.load(builder.gep(row, [loop.index]))
                block.align = width
                result = block if result is None else _smaller(builder, array.dtype, block, result)
            builder.store(result, builder.gep(target, [loop.index])).align = width
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def complement(typing: Any, array: Any, at: Any, blocks: Any) -> tuple[Any, Callable]:
    """Replace each element from `array[at]` on by the one that sorts the other way round."""
    signature = types.void(array, at, blocks)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        row = _pointer(context, builder, array, values[0], values[1], BLOCK)
        with cgutils.for_range(builder, values[2]) as loop:
            place = builder.gep(row, [loop.index])
            block = builder.load(place)
            block.align = array.dtype.bitwidth // 8
            flipped = builder.fneg(block) if isinstance(array.dtype, types.Float) else builder.not_(block)
            builder.store(flipped, place).align = block.align
        return context.get_dummy_value()

    return signature, generate


def _transfer(array: Any, at: Any, address: Any, step: Any, count: Any, inward: bool) -> tuple[Any, Callable]:
    signature = types.void(array, at, address, step, count)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        width = array.dtype.bitwidth // 8
        row = _pointer(context, builder, array, values[0], values[1], width)
        pixels = builder.inttoptr(values[2], cgutils.voidptr_t)
        side_by_side = builder.icmp_signed("==", values[3], values[3].type(width))
        with builder.if_else(side_by_side) as (yes, no):
            with yes:
                ends = (row, pixels) if inward else (pixels, row)
                cgutils.raw_memcpy(builder, *ends, values[4], width, align=1)
            with no, cgutils.for_range(builder, values[4]) as loop:
                far = builder.gep(pixels, [builder.mul(loop.index, values[3])])
                far = builder.bitcast(far, row.type)
                near = builder.gep(row, [loop.index])
                source, target = (far, near) if inward else (near, far)
                value = builder.load(source)
                value.align = 1
                builder.store(value, target).align = 1
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def read_row(typing: Any, array: Any, at: Any, address: Any, step: Any, count: Any) -> tuple[Any, Callable]:
    """Copy `count` pixels that lie `step` bytes apart, the first at `address`, to `array[at:]`."""
    return _transfer(array, at, address, step, count, inward=True)


@intrinsic
def write_row(typing: Any, array: Any, at: Any, address: Any, step: Any, count: Any) -> tuple[Any, Callable]:
    """Copy `count` elements of `array[at:]` to pixels `step` bytes apart, the first at `address`."""
    return _transfer(array, at, address, step, count, inward=False)
