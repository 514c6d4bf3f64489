"""Weighted sums written as vectors, with the sums held in registers over all weights.

Left to itself LLVM loads and stores the sum once for each weight, or checks at each call that source
and target do not overlap. These loops are written for vectors of a fixed length, which LLVM cuts into
whatever registers the processor has.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

INDEX = ir.IntType(64)
FAST = ("contract", "reassoc", "nsz")
# Output rows that `fold_down` sums at once, and the bytes of a row that it takes at once.
ROWS = 4
BAND = 128
# Likewise for `fold_line`, on bands of one cache line.
LINES = 8


class _Lanes:
    """Loads, stores and arithmetic on vectors of one length."""

    def __init__(self, context: Any, builder: Any, kind: Any, count: int) -> None:
        self.builder = builder
        self.count = count
        self.kind = ir.VectorType(context.get_data_type(kind), count)
        self.align = kind.bitwidth // 8

    def at(self, base: Any, offset: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(base, [offset]), self.kind.as_pointer())

    def load(self, base: Any, offset: Any, unit: int = 0) -> Any:
        block = self.builder.load(self.builder.gep(self.at(base, offset), [INDEX(unit)]))
        block.align = self.align
        return block

    def store(self, value: Any, base: Any, offset: Any, unit: int = 0) -> None:
        self.builder.store(value, self.builder.gep(self.at(base, offset), [INDEX(unit)])).align = self.align

    def splat(self, value: Any) -> Any:
        empty = ir.Constant(self.kind, ir.Undefined)
        one = self.builder.insert_element(empty, value, ir.IntType(32)(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.count), [0] * self.count)
        return self.builder.shuffle_vector(one, empty, mask)

    def add(self, one: Any, two: Any) -> Any:
        return self.builder.fadd(one, two, flags=FAST)

    def weigh(self, total: Any, weight: Any, block: Any) -> Any:
        return self.builder.fadd(total, self.builder.fmul(weight, block, flags=FAST), flags=FAST)

    def variables(self, count: int) -> list[Any]:
        return [cgutils.alloca_once(self.builder, self.kind) for _ in range(count)]


def _pointer(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    return context.make_array(kind)(context, builder, value).data


def _blocks(
    context: Any, builder: Any, kind: Any, width: Any, sizes: Sequence[tuple[int, int]], body: Callable
) -> None:
    """Call `body` for blocks over `width`, of the first size as far as they go, then the next, then the last.

    A size is lanes × units; the last is 1 × 1.
    """
    done: Any = INDEX(0)
    for count, units in sizes:
        size = INDEX(count * units)
        end = builder.sub(width, builder.srem(builder.sub(width, done), size))
        lanes = _Lanes(context, builder, kind, count)
        with cgutils.for_range_slice(builder, done, end, size) as (x, _):
            body(lanes, units, x)
        done = end


def _begin(
    builder: Any, lanes: _Lanes, totals: list[Any], place: tuple[Any, Any], begin: tuple[Any, Any]
) -> None:
    """Set the sums to `start`, or to what stands in the target where they are added to it."""
    fresh = cgutils.is_true(builder, begin[1]) if begin[1].type != ir.IntType(1) else begin[1]
    value = lanes.splat(begin[0])
    for total in totals:
        builder.store(value, total)
    with builder.if_then(builder.not_(fresh)):
        for unit, total in enumerate(totals):
            builder.store(lanes.load(*place, unit), total)


@intrinsic
def weigh_rows(
    typing: Any, target: Any, at: Any, source: Any, column: Any, stride: Any, rows: Any, base: Any,
    weights: Any, place: Any, count: Any, width: Any, start: Any, fresh: Any,
) -> tuple[Any, Callable]:  # fmt: skip
    """Write at target[at : at + width] a weighted sum of rows of the source (flat arrays).

    It is `start`, or what stands there unless `fresh`, plus the sum over k < count of
    weights[place + k] × source[rows[base + k] × stride + column :].
    """
    signature = types.void(
        target, types.int64, source, types.int64, types.int64, rows, types.int64, weights, types.int64,
        types.int64, types.int64, target.dtype, types.boolean,
    )  # fmt: skip

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        (target_, at_, source_, column_, stride_, rows_, base_, weights_, place_, count_, width_, *begin) = (
            values
        )
        out = builder.gep(_pointer(context, builder, target, target_), [at_])
        data = builder.gep(_pointer(context, builder, source, source_), [column_])
        index = builder.gep(_pointer(context, builder, rows, rows_), [base_])
        taps = builder.gep(_pointer(context, builder, weights, weights_), [place_])

        def body(lanes: _Lanes, units: int, x: Any) -> None:
            totals = lanes.variables(units)
            _begin(builder, lanes, totals, (out, x), begin)
            with cgutils.for_range(builder, count_) as loop:
                row = builder.load(builder.gep(index, [loop.index]))
                weight = lanes.splat(builder.load(builder.gep(taps, [loop.index])))
                place = builder.add(builder.mul(row, stride_), x)
                for unit, total in enumerate(totals):
                    block = lanes.load(data, place, unit)
                    builder.store(lanes.weigh(builder.load(total), weight, block), total)
            for unit, total in enumerate(totals):
                lanes.store(builder.load(total), out, x, unit)

        wide = 64 * 8 // target.dtype.bitwidth
        _blocks(context, builder, target.dtype, width_, [(wide, 8), (wide, 1), (1, 1)], body)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def fold_along(
    typing: Any, target: Any, at: Any, source: Any, centre: Any, half: Any, radius: Any, width: Any,
    start: Any, fresh: Any,
) -> tuple[Any, Callable]:  # fmt: skip
    """Write at target[at : at + width] the sum along the source with symmetric weights (flat arrays).

    It is `start`, or what stands there unless `fresh`, plus the weights, `half` from the centre out,
    around source[centre :].
    """
    signature = types.void(
        target, types.int64, source, types.int64, half, types.int64, types.int64, target.dtype, types.boolean
    )

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        (target_, at_, source_, centre_, half_, radius_, width_, *begin) = values
        out = builder.gep(_pointer(context, builder, target, target_), [at_])
        data = builder.gep(_pointer(context, builder, source, source_), [centre_])
        taps = _pointer(context, builder, half, half_)

        def body(lanes: _Lanes, units: int, x: Any) -> None:
            totals = lanes.variables(units)
            _begin(builder, lanes, totals, (out, x), begin)
            weight = lanes.splat(builder.load(taps))
            for unit, total in enumerate(totals):
                builder.store(lanes.weigh(builder.load(total), weight, lanes.load(data, x, unit)), total)
            end = builder.add(radius_, INDEX(1))
            with cgutils.for_range_slice(builder, INDEX(1), end, INDEX(1)) as (k, _):
                weight = lanes.splat(builder.load(builder.gep(taps, [k])))
                low, high = builder.sub(x, k), builder.add(x, k)
                for unit, total in enumerate(totals):
                    pair = lanes.add(lanes.load(data, low, unit), lanes.load(data, high, unit))
                    builder.store(lanes.weigh(builder.load(total), weight, pair), total)
            for unit, total in enumerate(totals):
                lanes.store(builder.load(total), out, x, unit)

        # Half vectors: of unaligned loads only every other one then crosses a cache line.
        wide = 32 * 8 // target.dtype.bitwidth
        _blocks(context, builder, target.dtype, width_, [(wide, 8), (wide, 1), (1, 1)], body)
        return context.get_dummy_value()

    return signature, generate


def _folder(count: int, units: int) -> Any:
    """Return `fold_down` for so many rows at once, in bands of so many cache lines."""

    @intrinsic
    def fold(
        typing: Any, target: Any, at: Any, source: Any, centre: Any, stride: Any, half: Any, radius: Any
    ) -> tuple[Any, Callable]:
        """Write `count` rows of a band: sums down the source with symmetric weights (flat arrays).

        Row r goes to target[at + r × stride :] and lies around source[centre + r × stride :]. From
        one weight to the next the rows move on by one, so that each is loaded once for all sums.
        """
        signature = types.void(target, types.int64, source, types.int64, types.int64, half, types.int64)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            target_, at_, source_, centre_, stride_, half_, radius_ = values
            out = builder.gep(_pointer(context, builder, target, target_), [at_])
            data = builder.gep(_pointer(context, builder, source, source_), [centre_])
            taps = _pointer(context, builder, half, half_)
            lanes = _Lanes(context, builder, target.dtype, 64 * 8 // target.dtype.bitwidth)
            _fold(builder, lanes, (count, units), (out, data, stride_), (taps, radius_))
            return context.get_dummy_value()

        return signature, generate

    return fold


def _fold(
    builder: Any, lanes: _Lanes, size: tuple[int, int], where: tuple[Any, Any, Any], weights: tuple[Any, Any]
) -> None:
    """Emit the body of `fold_down`."""
    count, units = size
    out, data, stride = where
    taps, radius = weights
    totals, low, high = ([lanes.variables(units) for _ in range(count)] for _ in range(3))
    weight = lanes.splat(builder.load(taps))
    for r in range(count):
        for u in range(units):
            block = lanes.load(data, builder.mul(stride, INDEX(r)), u)
            builder.store(builder.fmul(weight, block, flags=FAST), totals[r][u])
            builder.store(block, low[r][u])
            builder.store(block, high[r][u])
    end = builder.add(radius, INDEX(1))
    with cgutils.for_range_slice(builder, INDEX(1), end, INDEX(1)) as (k, _):
        weight = lanes.splat(builder.load(builder.gep(taps, [k])))
        above = builder.neg(builder.mul(k, stride))
        below = builder.mul(builder.add(k, INDEX(count - 1)), stride)
        for u in range(units):
            lows = [lanes.load(data, above, u), *(builder.load(low[r][u]) for r in range(count - 1))]
            highs = [*(builder.load(high[r][u]) for r in range(1, count)), lanes.load(data, below, u)]
            for r in range(count):
                pair = lanes.add(lows[r], highs[r])
                builder.store(lanes.weigh(builder.load(totals[r][u]), weight, pair), totals[r][u])
                builder.store(lows[r], low[r][u])
                builder.store(highs[r], high[r][u])
    for r in range(count):
        for u in range(units):
            lanes.store(builder.load(totals[r][u]), out, builder.mul(stride, INDEX(r)), u)


fold_down = _folder(ROWS, BAND // 64)
fold_line = _folder(LINES, 1)


def _turned(builder: Any, rows: list[Any], lanes: _Lanes) -> list[Any]:
    """Return a square of vectors with rows and columns exchanged, by exchanging ever smaller blocks."""
    count = lanes.count
    kind = ir.VectorType(ir.IntType(32), count)
    distance = count // 2
    while distance:
        keep = ir.Constant(kind, [j if not j & distance else count + j - distance for j in range(count)])
        swap = ir.Constant(kind, [j + distance if not j & distance else count + j for j in range(count)])
        turned = list(rows)
        for i in range(count):
            if not i & distance:
                pair = rows[i], rows[i + distance]
                turned[i] = builder.shuffle_vector(*pair, keep)
                turned[i + distance] = builder.shuffle_vector(*pair, swap)
        rows = turned
        distance //= 2
    return rows


@intrinsic
def turn(
    typing: Any, target: Any, at: Any, stride: Any, source: Any, origin: Any, pitch: Any
) -> tuple[Any, Callable]:
    """Write a square of 64 bytes a side, rows and columns exchanged (flat arrays).

    It is read from source[origin + i × pitch :] and written to target[at + i × stride :].
    """
    signature = types.void(target, types.int64, types.int64, source, types.int64, types.int64)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        target_, at_, stride_, source_, origin_, pitch_ = values
        out = builder.gep(_pointer(context, builder, target, target_), [at_])
        data = builder.gep(_pointer(context, builder, source, source_), [origin_])
        lanes = _Lanes(context, builder, target.dtype, 64 * 8 // target.dtype.bitwidth)
        rows = [lanes.load(data, builder.mul(pitch_, INDEX(i))) for i in range(lanes.count)]
        for i, row in enumerate(_turned(builder, rows, lanes)):
            lanes.store(row, out, builder.mul(stride_, INDEX(i)))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def turn_onto(
    typing: Any,
    target: Any,
    at: Any,
    stride: Any,
    source: Any,
    origin: Any,
    pitch: Any,
    start: Any,
    fresh: Any,
) -> tuple[Any, Callable]:
    """Do as `turn`, but add `start`, or what stands in the target unless `fresh`."""
    signature = types.void(
        target, types.int64, types.int64, source, types.int64, types.int64, target.dtype, types.boolean
    )

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        target_, at_, stride_, source_, origin_, pitch_, *begin = values
        out = builder.gep(_pointer(context, builder, target, target_), [at_])
        data = builder.gep(_pointer(context, builder, source, source_), [origin_])
        lanes = _Lanes(context, builder, target.dtype, 64 * 8 // target.dtype.bitwidth)
        rows = [lanes.load(data, builder.mul(pitch_, INDEX(i))) for i in range(lanes.count)]
        total = lanes.variables(1)
        for i, row in enumerate(_turned(builder, rows, lanes)):
            place = builder.mul(stride_, INDEX(i))
            _begin(builder, lanes, total, (out, place), begin)
            lanes.store(lanes.add(builder.load(total[0]), row), out, place)
        return context.get_dummy_value()

    return signature, generate
