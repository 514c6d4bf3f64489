"""Weighted sums written as vectors, with the sums held in registers over all weights."""

from collections.abc import Callable
from typing import Any

from numba.core import cgutils

from pipeline.kernels.vectors import BLOCK, INDEX, Emitter, Vectors, emitted

# Output rows that `fold_down` sums at once, and the bytes of a row that it takes at once.
DOWN_ROWS = 4
DOWN_BYTES = 128
# Likewise for `fold_line`, on rows of one block.
LINES = 8


def _begin(vectors: Vectors, totals: list[Any], at: tuple[Any, Any], start: Any, fresh: Any) -> None:
    """Set the sums to `start`, or to what stands in the target where they are added to it."""
    builder, value = vectors.builder, vectors.splat(start)
    for total in totals:
        builder.store(value, total)
    with builder.if_then(cgutils.is_false(builder, fresh)):
        for number, total in enumerate(totals):
            builder.store(vectors.load(*at, number), total)


def _weigh(vectors: Vectors, total: Any, weight: Any, vector: Any) -> None:
    """Add a weighted vector to a sum."""
    sum_ = vectors.builder.load(total)
    vectors.builder.store(vectors.add(sum_, vectors.multiply(weight, vector)), total)


@emitted
def weigh_rows(
    emit: Emitter, target: Any, at: Any, source: Any, column: Any, stride: Any, rows: Any, base: Any,
    weights: Any, place: Any, count: Any, width: Any, start: Any, fresh: Any,
) -> None:  # fmt: skip
    """Write at target[at : at + width] a weighted sum of rows of the source (flat arrays).

    It is `start`, or what stands there unless `fresh`, plus the sum over k < count of
    weights[place + k] × source[rows[base + k] × stride + column :].
    """
    builder = emit.builder
    out, data = builder.gep(target, [at]), builder.gep(source, [column])
    index, taps = builder.gep(rows, [base]), builder.gep(weights, [place])

    def body(vectors: Vectors, number: int, x: Any) -> None:
        totals = vectors.variables(number)
        _begin(vectors, totals, (out, x), start, fresh)
        with cgutils.for_range(builder, count) as loop:
            row = builder.load(builder.gep(index, [loop.index]))
            weight = vectors.splat(builder.load(builder.gep(taps, [loop.index])))
            offset = builder.add(builder.mul(row, stride), x)
            for i, total in enumerate(totals):
                _weigh(vectors, total, weight, vectors.load(data, offset, i))
        for i, total in enumerate(totals):
            vectors.store(builder.load(total), out, x, i)

    emit.cover(width, [(BLOCK, 8), (BLOCK, 1), (emit.itemsize, 1)], body)


@emitted
def fold_along(
    emit: Emitter, target: Any, at: Any, source: Any, centre: Any, half: Any, radius: Any, width: Any,
    start: Any, fresh: Any,
) -> None:  # fmt: skip
    """Write at target[at : at + width] the sum along the source with symmetric weights (flat arrays).

    It is `start`, or what stands there unless `fresh`, plus the weights, `half` from the centre out,
    around source[centre :].
    """
    builder = emit.builder
    out, data = builder.gep(target, [at]), builder.gep(source, [centre])

    def body(vectors: Vectors, number: int, x: Any) -> None:
        totals = vectors.variables(number)
        _begin(vectors, totals, (out, x), start, fresh)
        weight = vectors.splat(builder.load(half))
        for i, total in enumerate(totals):
            _weigh(vectors, total, weight, vectors.load(data, x, i))
        end = builder.add(radius, INDEX(1))
        with cgutils.for_range_slice(builder, INDEX(1), end, INDEX(1)) as (k, _):
            weight = vectors.splat(builder.load(builder.gep(half, [k])))
            low, high = builder.sub(x, k), builder.add(x, k)
            for i, total in enumerate(totals):
                pair = vectors.add(vectors.load(data, low, i), vectors.load(data, high, i))
                _weigh(vectors, total, weight, pair)
        for i, total in enumerate(totals):
            vectors.store(builder.load(total), out, x, i)

    # Half vectors: of unaligned loads only every other one then crosses a cache line.
    emit.cover(width, [(BLOCK // 2, 8), (BLOCK // 2, 1), (emit.itemsize, 1)], body)


def _fold(rows: int, nbytes: int) -> Callable:
    """Return `fold_down` for so many rows at once, and so many bytes of each."""

    def fold(
        emit: Emitter, target: Any, at: Any, source: Any, centre: Any, stride: Any, half: Any, radius: Any
    ) -> None:
        """Write rows of a few blocks: sums down the source with symmetric weights (flat arrays).

        Row r goes to target[at + r × stride :] and lies around source[centre + r × stride :]. From
        one weight to the next the rows move on by one, so that each is loaded once for all sums.
        """
        builder, vectors = emit.builder, emit.vectors(BLOCK)
        out, data = builder.gep(target, [at]), builder.gep(source, [centre])
        every = [(r, i) for r in range(rows) for i in range(nbytes // BLOCK)]
        totals, low, high = (dict(zip(every, vectors.variables(len(every)), strict=True)) for _ in range(3))
        weight = vectors.splat(builder.load(half))
        for r, i in every:
            vector = vectors.load(data, builder.mul(stride, INDEX(r)), i)
            builder.store(vectors.multiply(weight, vector), totals[r, i])
            builder.store(vector, low[r, i])
            builder.store(vector, high[r, i])
        end = builder.add(radius, INDEX(1))
        with cgutils.for_range_slice(builder, INDEX(1), end, INDEX(1)) as (k, _):
            weight = vectors.splat(builder.load(builder.gep(half, [k])))
            above = builder.neg(builder.mul(k, stride))
            below = builder.mul(builder.add(k, INDEX(rows - 1)), stride)
            for i in range(nbytes // BLOCK):
                lows = [vectors.load(data, above, i), *(builder.load(low[r, i]) for r in range(rows - 1))]
                highs = [*(builder.load(high[r, i]) for r in range(1, rows)), vectors.load(data, below, i)]
                for r in range(rows):
                    _weigh(vectors, totals[r, i], weight, vectors.add(lows[r], highs[r]))
                    builder.store(lows[r], low[r, i])
                    builder.store(highs[r], high[r, i])
        for r, i in every:
            vectors.store(builder.load(totals[r, i]), out, builder.mul(stride, INDEX(r)), i)

    return fold


fold_down = emitted(_fold(DOWN_ROWS, DOWN_BYTES))
fold_line = emitted(_fold(LINES, BLOCK))


def _transposed(vectors: Vectors, source: Any, origin: Any, pitch: Any) -> list[Any]:
    """Return a square of vectors with rows and columns exchanged, by exchanging ever smaller squares."""
    builder, count = vectors.builder, vectors.count
    rows = [vectors.load(source, builder.add(origin, builder.mul(pitch, INDEX(i)))) for i in range(count)]
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
    """Write a square of a block a side, rows and columns exchanged (flat arrays).

    It is read from source[origin + i × pitch :] and written to target[at + i × stride :].
    """
    builder, vectors = emit.builder, emit.vectors(BLOCK)
    for i, row in enumerate(_transposed(vectors, source, origin, pitch)):
        vectors.store(row, target, builder.add(at, builder.mul(stride, INDEX(i))))


@emitted
def transpose_onto(
    emit: Emitter, target: Any, at: Any, stride: Any, source: Any, origin: Any, pitch: Any,
    start: Any, fresh: Any,
) -> None:  # fmt: skip
    """Do as `transpose`, but add `start`, or what stands in the target unless `fresh`."""
    builder, vectors = emit.builder, emit.vectors(BLOCK)
    total = vectors.variables(1)
    for i, row in enumerate(_transposed(vectors, source, origin, pitch)):
        place = builder.add(at, builder.mul(stride, INDEX(i)))
        _begin(vectors, total, (target, place), start, fresh)
        vectors.store(vectors.add(builder.load(total[0]), row), target, place)
