"""Minima over the windows of a box, as vector code: down columns of rows, along rows, and the last step."""

from collections.abc import Callable
from typing import Any

from pipeline.kernels.lazy import cgutils, ir, types
from pipeline.kernels.vectors import BLOCK, Emitter, Vectors, const, emitted

GROUP = 8  # result rows at a time


def _sweep(emit: Emitter, width: Any, address: Any, body: Callable[[Vectors, Any], None]) -> None:
    """Emit `body` for vectors that cover exactly `width` elements, aligned to the row at `address`.

    The first and the last overlap their neighbours instead of the border, so nothing beyond a row is read
    or written. Rows shorter than a vector are done by elements.
    """
    builder, wide, single = emit.builder, emit.vectors(BLOCK), emit.vectors(emit.itemsize)
    last = builder.sub(width, const(wide.count))
    ahead = builder.udiv(builder.and_(address, const(BLOCK - 1)), const(emit.itemsize))
    with builder.if_else(builder.icmp_signed(">=", last, const(0))) as (long, short):
        with (
            long,
            cgutils.for_range_slice(builder, builder.neg(ahead), width, const(wide.count)) as (x, _),
        ):
            inside = builder.select(builder.icmp_signed(">", x, const(0)), x, const(0))
            body(wide, builder.select(builder.icmp_signed("<", inside, last), inside, last))
        with short, cgutils.for_range(builder, width) as loop:
            body(single, loop.index)


def _pixels(emit: Emitter, array: Any, address: Any) -> Any:
    """Return a pointer to the pixels at an address."""
    return emit.builder.inttoptr(address, array.type)


def _row(emit: Emitter, array: Any, rows: Any, number: Any) -> Any:
    """Return a pointer to the row whose address is `number` in a table."""
    return _pixels(emit, array, emit.builder.load(emit.builder.gep(rows, [number])))


def _seen(emit: Emitter, vectors: Vectors, pixels: Any, turn: Any, so_far: Any) -> Any:
    """Return the minimum of pixels, complemented if `turn` is 1, and of what is known; NaN loses."""
    return vectors.smaller(_turned(emit, vectors, pixels, turn), so_far)


def _put(
    emit: Emitter, vectors: Vectors, result: Any, array: Any, at: Any, pitch: Any, x: Any, row: int
) -> None:
    start = emit.builder.add(emit.builder.add(at, x), emit.builder.mul(pitch, const(row)))
    vectors.store(result, array, start)


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


def _short(length: int) -> Any:
    """Return the function for windows of `length` rows, fewer than GROUP, entirely in registers."""

    def body(
        emit: Emitter, array: Any, at: Any, pitch: Any, rows: Any, width: Any, turn: Any, highest: Any
    ) -> None:
        """Write to array[at + i × pitch:] the minimum of `length` rows from row i on, for i < GROUP.

        `rows` holds the addresses of all length + GROUP − 1 of them. NaN counts as `highest`.
        """
        sources = [_row(emit, array, rows, const(i)) for i in range(GROUP + length - 1)]

        def column(vectors: Vectors, x: Any) -> None:
            none = vectors.splat(highest)
            minima = [_seen(emit, vectors, vectors.load(row, x), turn, none) for row in sources]
            run = 1
            while run < length:  # windows of 2ᵏ rows double, and the last two overlap
                step = min(run, length - run)
                minima = [vectors.smaller(*pair) for pair in zip(minima[:-step], minima[step:], strict=True)]
                run += step
            for i, result in enumerate(minima):
                _put(emit, vectors, result, array, at, pitch, x, i)

        _sweep(emit, width, const(0), column)

    return emitted(body)


minima_of_1, minima_of_3, minima_of_5, minima_of_7 = map(_short, (1, 3, 5, 7))


@emitted
def minima_of_many(
    emit: Emitter,
    array: Any,
    at: Any,
    pitch: Any,
    rows: Any,
    length: Any,
    width: Any,
    turn: Any,
    highest: Any,
) -> None:
    """Do what `minima_of_3` does for a window of any `length` from GROUP rows on."""
    # The rows common to all results are loaded once, and the others are combined in registers: for a
    # window as long as the group these are van Herk's running minima.
    builder = emit.builder
    above = [_row(emit, array, rows, const(i)) for i in range(GROUP - 1)]
    below = [_row(emit, array, rows, builder.add(length, const(i))) for i in range(GROUP - 1)]

    def column(vectors: Vectors, x: Any) -> None:
        reached = none = vectors.splat(highest)
        [common] = vectors.variables(1)
        builder.store(none, common)
        with cgutils.for_range_slice(builder, const(GROUP - 1), length, const(1)) as (i, _):
            pixels = vectors.load(_row(emit, array, rows, i), x)
            builder.store(_seen(emit, vectors, pixels, turn, builder.load(common)), common)
        minima = [builder.load(common)]
        for row in reversed(above):
            minima.insert(0, _seen(emit, vectors, vectors.load(row, x), turn, minima[0]))
        _put(emit, vectors, minima[0], array, at, pitch, x, 0)
        for i, row in enumerate(below, start=1):
            reached = _seen(emit, vectors, vectors.load(row, x), turn, reached)
            _put(emit, vectors, vectors.smaller(minima[i], reached), array, at, pitch, x, i)

    _sweep(emit, width, const(0), column)


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
        x = emit.builder.mul(loop.index, const(vectors.count))
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

    _sweep(emit, width, target, column)


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
    image_first = builder.icmp_signed("==", minus, const(1))

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

    _sweep(emit, width, target, column)
