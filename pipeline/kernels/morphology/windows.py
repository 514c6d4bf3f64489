"""Minima over the windows of a box, as vector code: down columns of rows, along rows, and the last step."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from pipeline.kernels.vectors import BLOCK, INDEX, Emitter, Vectors, emitted


def _sweep(emit: Emitter, width: Any, body: Callable[[Vectors, Any], None]) -> None:
    """Emit `body` for vectors that cover exactly `width` elements: the last one overlaps the one before.

    So no neighbour of a row is read or written. Rows shorter than a vector are done by elements.
    """
    builder, wide, single = emit.builder, emit.vectors(BLOCK), emit.vectors(emit.itemsize)
    last = builder.sub(width, INDEX(wide.count))
    with builder.if_else(builder.icmp_signed(">=", last, INDEX(0))) as (long, short):
        with long, cgutils.for_range_slice(builder, INDEX(0), width, INDEX(wide.count)) as (x, _):
            body(wide, builder.select(builder.icmp_signed("<", x, last), x, last))
        with short, cgutils.for_range(builder, width) as loop:
            body(single, loop.index)


def _pixels(emit: Emitter, array: Any, address: Any) -> Any:
    """Return a pointer to the pixels at an address."""
    return emit.builder.inttoptr(address, array.type)


def _turned(emit: Emitter, vectors: Vectors, vector: Any, turn: Any) -> Any:
    """Return the complement of a vector, or with `turn` 0 the vector: −x for floats, ~x for integers."""
    bits = ir.VectorType(ir.IntType(8 * emit.itemsize), vectors.count)
    floats = isinstance(vectors.dtype, types.Float)
    mask = bits.element(1 << (8 * emit.itemsize - 1)) if floats else bits.element(-1)
    flag = emit.builder.trunc(turn, bits.element) if emit.itemsize < 8 else turn
    every = emit.builder.mul(flag, mask)
    first = emit.builder.insert_element(ir.Constant(bits, ir.Undefined), every, ir.IntType(32)(0))
    splat = emit.builder.shuffle_vector(first, first, vectors.mask([0] * vectors.count))
    return emit.builder.bitcast(emit.builder.xor(emit.builder.bitcast(vector, bits), splat), vectors.kind)


def _rows_minimum(group: int) -> Any:
    """Return the function for `group` results at a time; the window must have so many rows or more."""

    def body(
        emit: Emitter,
        array: Any,
        at: Any,
        pitch: Any,
        rows: Any,
        begin: Any,
        length: Any,
        width: Any,
        turn: Any,
        highest: Any,
    ) -> None:
        """Write to array[at + i × pitch:] the minimum of `length` rows from row i on, for i < `group`.

        `rows` holds the addresses of all length + group − 1 of them. NaN counts as `highest`.
        """
        # The rows common to all results are loaded once, and the others are combined in registers: for a
        # window as long as the group these are van Herk's running minima.
        builder = emit.builder
        rows = builder.gep(rows, [begin])
        others = [INDEX(i) for i in range(group - 1)]
        others += [builder.add(length, INDEX(i)) for i in range(group - 1)]
        edge = [_pixels(emit, array, builder.load(builder.gep(rows, [i]))) for i in others]
        above, below = edge[: group - 1], edge[group - 1 :]

        def column(vectors: Vectors, x: Any) -> None:
            none = vectors.splat(highest)
            [common] = vectors.variables(1)
            builder.store(none, common)

            def fold(row: Any, so_far: Any) -> Any:
                # In this order a NaN of the row loses.
                return vectors.smaller(_turned(emit, vectors, vectors.load(row, x), turn), so_far)

            with cgutils.for_range_slice(builder, INDEX(group - 1), length, INDEX(1)) as (i, _):
                row = _pixels(emit, array, builder.load(builder.gep(rows, [i])))
                builder.store(fold(row, builder.load(common)), common)
            results = [builder.load(common)]
            for row in reversed(above):
                results.insert(0, fold(row, results[0]))
            reached = none
            for i, result in enumerate(results):
                if i:
                    reached = fold(below[i - 1], reached)
                    result = vectors.smaller(result, reached)
                vectors.store(result, array, builder.add(builder.add(at, x), builder.mul(pitch, INDEX(i))))

        _sweep(emit, width, column)

    return emitted(body)


rows_minimum_1, rows_minimum_2, rows_minimum_4, rows_minimum_8 = map(_rows_minimum, (1, 2, 4, 8))


def _joined(emit: Emitter, vectors: Vectors, array: Any, at: Any, near: Any, far: Any) -> Any:
    result = vectors.load(array, at)
    for step in (near, far):
        result = vectors.smaller(vectors.load(array, emit.builder.add(at, step)), result)
    return result


@emitted
def join(emit: Emitter, array: Any, at: Any, source: Any, near: Any, far: Any, blocks: Any) -> None:
    """Write the minimum of the elements from `source` on and those `near` and `far` later to array[at:].

    `at` may be `source`.
    """
    vectors = emit.vectors(BLOCK)
    with cgutils.for_range(emit.builder, blocks) as loop:
        x = emit.builder.mul(loop.index, INDEX(vectors.count))
        result = _joined(emit, vectors, array, emit.builder.add(source, x), near, far)
        vectors.store(result, array, emit.builder.add(at, x))


@emitted
def write_minimum(
    emit: Emitter, array: Any, at: Any, near: Any, far: Any, turn: Any, target: Any, width: Any
) -> None:
    """Write what `join` gives, complemented if `turn` is 1, to `width` pixels at the address `target`."""

    def column(vectors: Vectors, x: Any) -> None:
        result = _joined(emit, vectors, array, emit.builder.add(at, x), near, far)
        result = _turned(emit, vectors, result, turn)
        vectors.store(result, _pixels(emit, array, target), x)

    _sweep(emit, width, column)


@emitted
def write_difference(
    emit: Emitter,
    array: Any,
    wide: Any,
    at: Any,
    near: Any,
    far: Any,
    turn: Any,
    image: Any,
    target: Any,
    width: Any,
    minus: Any,
) -> None:
    """Write the difference of an image and what `write_minimum` would write, in the dtype of `wide`.

    `image` and `target` are addresses; `minus` 1 is the image minus the minimum, 2 the reverse.
    """
    builder = emit.builder
    image_first = builder.icmp_signed("==", minus, INDEX(1))

    def column(vectors: Vectors, x: Any) -> None:
        kind = ir.VectorType(wide.type.pointee, vectors.count)

        def widened(vector: Any) -> Any:
            if kind == vectors.kind:
                return vector
            return (builder.sext if vectors.dtype.signed else builder.zext)(vector, kind)

        result = _joined(emit, vectors, array, builder.add(at, x), near, far)
        result = widened(_turned(emit, vectors, result, turn))
        pixels = widened(vectors.load(_pixels(emit, array, image), x))
        one = builder.select(image_first, pixels, result)
        other = builder.select(image_first, result, pixels)
        floats = isinstance(vectors.dtype, types.Float)
        difference = builder.fsub(one, other) if floats else builder.sub(one, other)
        start = builder.gep(builder.inttoptr(target, wide.type), [x])
        stored = builder.store(difference, builder.bitcast(start, kind.as_pointer()))
        stored.align = 1

    _sweep(emit, width, column)
