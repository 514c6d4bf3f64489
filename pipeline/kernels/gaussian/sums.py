"""Weighted sums as vector code, which holds the sums in registers over all weights.

Arrays are C-contiguous, of any shape; positions count elements from the first. `dest` is a `Destination`: its
array gets `dest.start` plus the sums if `dest.fresh`, else the sums are added to it.
"""

from collections.abc import Callable
from typing import Any

from pipeline.kernels.lazy import cgutils
from pipeline.kernels.vectors import BLOCK, Emitter, Vectors, const, emitted

DOWN_ROWS = 4  # output rows that `fold_down` sums at once,
DOWN_BYTES = 128  # and bytes of each
LINES = 8  # the same for `fold_line`, on rows of one block


def _begin(vectors: Vectors, totals: list[Any], dest: Any, out: Any, x: Any) -> None:
    """Initialise sums to `dest.start`, or to the elements from out[x] on if they are added to."""
    builder, value = vectors.builder, vectors.splat(dest.start)
    for total in totals:
        builder.store(value, total)
    with builder.if_then(cgutils.is_false(builder, dest.fresh)):
        for number, total in enumerate(totals):
            builder.store(vectors.load(out, x, number), total)


def _add_weighted(vectors: Vectors, total: Any, weight: Any, vector: Any) -> None:
    previous = vectors.builder.load(total)
    vectors.builder.store(vectors.add(previous, vectors.multiply(weight, vector)), total)


@emitted
def weigh_rows(
    emit: Emitter,
    dest: Any,
    at: Any,
    width: Any,
    source: Any,
    column: Any,
    stride: Any,
    rows: Any,
    base: Any,
    weights: Any,
    first: Any,
    count: Any,
) -> None:
    """Sum rows of the source into `width` elements of the destination at `at`.

    Sums weights[first + k] × source[rows[base + k] × stride + column :] over k < count.
    """
    builder = emit.builder
    out, data = builder.gep(dest.array, [at]), builder.gep(source, [column])
    index, taps = builder.gep(rows, [base]), builder.gep(weights, [first])

    def body(vectors: Vectors, number: int, x: Any) -> None:
        totals = vectors.variables(number)
        _begin(vectors, totals, dest, out, x)
        with cgutils.for_range(builder, count) as loop:
            row = builder.load(builder.gep(index, [loop.index]))
            weight = vectors.splat(builder.load(builder.gep(taps, [loop.index])))
            offset = builder.add(builder.mul(row, stride), x)
            for i, total in enumerate(totals):
                _add_weighted(vectors, total, weight, vectors.load(data, offset, i))
        for i, total in enumerate(totals):
            vectors.store(builder.load(total), out, x, i)

    emit.cover(width, [(BLOCK, 8), (BLOCK, 1), (emit.itemsize, 1)], body)


@emitted
def fold_along(
    emit: Emitter, dest: Any, at: Any, width: Any, source: Any, centre: Any, half: Any, radius: Any
) -> None:
    """Sum along the source, around `centre` and on, into `width` elements of the destination at `at`.

    `half` holds the symmetric weights from the centre out.
    """
    builder = emit.builder
    out, data = builder.gep(dest.array, [at]), builder.gep(source, [centre])

    def body(vectors: Vectors, number: int, x: Any) -> None:
        totals = vectors.variables(number)
        _begin(vectors, totals, dest, out, x)
        weight = vectors.splat(builder.load(half))
        for i, total in enumerate(totals):
            _add_weighted(vectors, total, weight, vectors.load(data, x, i))
        end = builder.add(radius, const(1))
        with cgutils.for_range_slice(builder, const(1), end, const(1)) as (k, _):
            weight = vectors.splat(builder.load(builder.gep(half, [k])))
            low, high = builder.sub(x, k), builder.add(x, k)
            for i, total in enumerate(totals):
                pair = vectors.add(vectors.load(data, low, i), vectors.load(data, high, i))
                _add_weighted(vectors, total, weight, pair)
        for i, total in enumerate(totals):
            vectors.store(builder.load(total), out, x, i)

    # Vectors of half a cache line: only every other unaligned load then crosses a line.
    emit.cover(width, [(BLOCK // 2, 8), (BLOCK // 2, 1), (emit.itemsize, 1)], body)


def _fold(rows: int, nbytes: int) -> Callable:
    """Return the code generator of a sum down columns for `rows` rows at once, of `nbytes` bytes each."""

    def fold(
        emit: Emitter, target: Any, at: Any, source: Any, centre: Any, stride: Any, half: Any, radius: Any
    ) -> None:
        """Sum down the source's columns with symmetric weights, `half` from the centre out.

        Row r, around source[centre + r × stride :], goes to target[at + r × stride :].
        """
        # From one weight to the next the rows move on by one, so that each row is loaded once for all sums.
        builder, vectors = emit.builder, emit.vectors(BLOCK)
        out, data = builder.gep(target, [at]), builder.gep(source, [centre])
        keys = [(r, i) for r in range(rows) for i in range(nbytes // BLOCK)]
        totals, low, high = (dict(zip(keys, vectors.variables(len(keys)), strict=True)) for _ in range(3))
        weight = vectors.splat(builder.load(half))
        for r, i in keys:
            vector = vectors.load(data, builder.mul(stride, const(r)), i)
            builder.store(vectors.multiply(weight, vector), totals[r, i])
            builder.store(vector, low[r, i])
            builder.store(vector, high[r, i])
        end = builder.add(radius, const(1))
        with cgutils.for_range_slice(builder, const(1), end, const(1)) as (k, _):
            weight = vectors.splat(builder.load(builder.gep(half, [k])))
            above = builder.neg(builder.mul(k, stride))
            below = builder.mul(builder.add(k, const(rows - 1)), stride)
            for i in range(nbytes // BLOCK):
                lows = [vectors.load(data, above, i), *(builder.load(low[r, i]) for r in range(rows - 1))]
                highs = [*(builder.load(high[r, i]) for r in range(1, rows)), vectors.load(data, below, i)]
                for r in range(rows):
                    _add_weighted(vectors, totals[r, i], weight, vectors.add(lows[r], highs[r]))
                    builder.store(lows[r], low[r, i])
                    builder.store(highs[r], high[r, i])
        for r, i in keys:
            vectors.store(builder.load(totals[r, i]), out, builder.mul(stride, const(r)), i)

    return fold


fold_down = emitted(_fold(DOWN_ROWS, DOWN_BYTES))
fold_line = emitted(_fold(LINES, BLOCK))


def _transposed(vectors: Vectors, source: Any, origin: Any, pitch: Any) -> list[Any]:
    """Load a square of vectors and transpose it, by exchanging ever smaller squares."""
    builder, count = vectors.builder, vectors.count
    rows = [vectors.load(source, builder.add(origin, builder.mul(pitch, const(i)))) for i in range(count)]
    distance = count // 2
    while distance:
        keep = vectors.mask([j if not j & distance else count + j - distance for j in range(count)])
        swap = vectors.mask([j + distance if not j & distance else count + j for j in range(count)])
        exchanged = list(rows)
        for i in range(count):
            if not i & distance:
                pair = rows[i], rows[i + distance]
                exchanged[i] = builder.shuffle_vector(*pair, keep)
                exchanged[i + distance] = builder.shuffle_vector(*pair, swap)
        rows = exchanged
        distance //= 2
    return rows


@emitted
def transpose(emit: Emitter, target: Any, at: Any, stride: Any, source: Any, origin: Any, pitch: Any) -> None:
    """Transpose a square with the side of a block.

    Row i of the source is at source[origin + i × pitch :], of the result at target[at + i × stride :].
    """
    builder, vectors = emit.builder, emit.vectors(BLOCK)
    for i, row in enumerate(_transposed(vectors, source, origin, pitch)):
        vectors.store(row, target, builder.add(at, builder.mul(stride, const(i))))


@emitted
def transpose_onto(
    emit: Emitter, dest: Any, at: Any, stride: Any, source: Any, origin: Any, pitch: Any
) -> None:
    """Transpose a square as `transpose` does, as a sum into the destination."""
    builder, vectors = emit.builder, emit.vectors(BLOCK)
    total = vectors.variables(1)
    for i, row in enumerate(_transposed(vectors, source, origin, pitch)):
        start = builder.add(at, builder.mul(stride, const(i)))
        _begin(vectors, total, dest, dest.array, start)
        vectors.store(vectors.add(builder.load(total[0]), row), dest.array, start)
