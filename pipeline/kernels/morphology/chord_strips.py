"""Operations on strips of rows for footprints cut into chords, as vector code.

Each takes the minimum or the maximum, as the caller says at run time.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.jit import jit
from pipeline.kernels.lazy import types
from pipeline.kernels.processor import VECTOR
from pipeline.kernels.vectors import BLOCK, Emitter, Vectors, const, emitted

INPUT_ROWS = 8
FOLD_BYTES = 256  # bytes of a strip whose result is kept in registers while all its sources are read


def _ordered(emit: Emitter, lower: Any, body: Callable[[str], None]) -> None:
    """Emit code for the minimum and for the maximum."""
    with emit.builder.if_else(lower) as (yes, no):
        with yes:
            body("<")
        with no:
            body(">")


def _call_each(function: Callable[[Any], None], values: list[Any]) -> None:
    for value in values:
        function(value)


def _item(emit: Emitter, values: Any, *indices: Any) -> Any:
    """Load an element of a C-contiguous array of int64; further indices count from that."""
    for index in indices:
        values = emit.builder.gep(values, [const(index) if isinstance(index, int) else index])
    return emit.builder.load(values)


@emitted
def make_chords(emit: Emitter, array: Any, steps: Any, count: Any, row: Any, target: Any, lower: Any) -> None:
    """Do `count` of the steps of `ChordPlan`, for an input row at `row` and its chords at `target`."""
    builder, vectors = emit.builder, emit.vectors(VECTOR)

    def body(order: str) -> None:
        with emit.loop(const(0), count) as step:
            start = builder.mul(step, const(6))
            to, one, other, blocks, first, last = (_item(emit, steps, start, i) for i in range(6))
            from_row, into = builder.mul(first, row), builder.mul(last, target)
            to = builder.add(to, into)
            one, other = builder.add(one, from_row), builder.add(other, from_row)
            with emit.loop(const(0), blocks) as x:
                for i in range(BLOCK // VECTOR):
                    number = builder.add(builder.mul(x, const(BLOCK // VECTOR)), const(i))
                    pair = (vectors.load(array, one, number), vectors.load(array, other, number))
                    vectors.store(vectors.best(order, *pair), array, to, number)

    _ordered(emit, lower, body)


@emitted
def fold(
    emit: Emitter,
    array: Any,
    at: Any,
    begin: Any,
    where: Any,
    table: Any,
    first: Any,
    last: Any,
    groups: Any,
    lower: Any,
) -> None:
    """Write the best of the strip at `begin` and those at where[table[first … last − 1]] to array[at:]."""
    builder, vectors = emit.builder, emit.vectors(VECTOR)
    totals = vectors.variables(FOLD_BYTES // VECTOR)

    def source(index: Any) -> Any:
        return _item(emit, where, _item(emit, table, index))

    def groups_of(order: str, fold_sources: Callable[[Callable[[Any], None]], None]) -> None:
        with emit.loop(const(0), groups) as group:
            offset = builder.mul(group, const(FOLD_BYTES // emit.itemsize))

            def add(position: Any) -> None:
                for i, total in enumerate(totals):
                    vector = vectors.load(array, builder.add(position, offset), i)
                    builder.store(vectors.best(order, vector, builder.load(total)), total)

            for i, total in enumerate(totals):
                builder.store(vectors.load(array, builder.add(begin, offset), i), total)
            fold_sources(add)
            for i, total in enumerate(totals):
                vectors.store(builder.load(total), array, builder.add(at, offset), i)

    def body(order: str) -> None:
        def one_by_one(add: Callable[[Any], None]) -> None:
            with emit.loop(first, last) as index:
                add(source(index))

        full = builder.icmp_signed("==", builder.sub(last, first), const(INPUT_ROWS))
        with builder.if_else(full) as (yes, no):
            with yes:  # positions of all sources in registers
                positions = [source(builder.add(first, const(i))) for i in range(INPUT_ROWS)]
                groups_of(order, lambda add: _call_each(add, positions))
            with no:
                groups_of(order, one_by_one)

    _ordered(emit, lower, body)


def _sizes(emit: Emitter) -> list[tuple[int, int]]:
    """Return steps for any number of pixels, with few left to do one by one."""
    return [(VECTOR, 128 // VECTOR), (16, 1), (emit.itemsize, 1)]


def _pixels(emit: Emitter, address: Any, row: Any) -> Any:
    return emit.builder.inttoptr(address, row.type)


@emitted
def copy_pixels(emit: Emitter, array: Any, at: Any, address: Any, count: Any, outside: Any) -> None:
    """Copy `count` adjacent pixels to array[at:]; NaN becomes `outside`."""
    pixels = _pixels(emit, address, array)

    def body(vectors: Vectors, number: int, x: Any) -> None:
        replacement = vectors.splat(outside)
        for i in range(number):
            vector = vectors.load(pixels, x, i)
            if isinstance(vectors.dtype, types.Float):
                ordered = emit.builder.fcmp_ordered("ord", vector, vector)
                vector = emit.builder.select(ordered, vector, replacement)
            vectors.store(vector, array, emit.builder.add(at, x), i)

    emit.cover(count, _sizes(emit), body)


@jit
def replace_nan(array: NDArray, at: int, count: int, outside: np.generic) -> None:
    """Replace NaN in array[at : at + count] by `outside`."""
    for i in range(at, at + count):
        array[i] = array[i] if array[i] == array[i] else outside


@emitted
def subtract_pixels(
    emit: Emitter, array: Any, at: Any, image: Any, out: Any, count: Any, turned: Any
) -> None:
    """Write `count` adjacent pixels at `image` minus array[at:] to `out`, the reverse if `turned`."""
    sources, targets = _pixels(emit, image, array), _pixels(emit, out, array)

    def difference(vectors: Vectors, number: int, x: Any, *, swap: bool) -> None:
        for i in range(number):
            one, other = vectors.load(sources, x, i), vectors.load(array, emit.builder.add(at, x), i)
            if swap:
                one, other = other, one
            floats = isinstance(vectors.dtype, types.Float)
            result = (emit.builder.fsub if floats else emit.builder.sub)(one, other)
            vectors.store(result, targets, x, i)

    sizes = _sizes(emit)
    with emit.builder.if_else(turned) as (yes, no):
        with yes:
            emit.cover(count, sizes, functools.partial(difference, swap=True))
        with no:
            emit.cover(count, sizes, functools.partial(difference, swap=False))
