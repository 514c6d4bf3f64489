"""Functions written as LLVM vector instructions, for loops that LLVM does not vectorise well by itself.

From plain loops LLVM makes code that loads and stores a sum once for each weight, or that checks at each
call whether two rows of an array overlap, which costs more than the work on a short row. Explicit vectors
need no check, and LLVM splits them into whatever registers the processor has.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.jit import Late
from pipeline.kernels.lazy import cgutils, extending, ir, types

BLOCK = 64  # bytes, a cache line
FAST = ("contract", "reassoc", "nsz")  # fused multiply-add and any order of sums; NaN and infinities stay


def const(value: int) -> Any:
    """Return a number as a constant of LLVM, as wide as positions are."""
    return ir.IntType(64)(value)


def block_length(dtype: np.dtype) -> int:
    """Return the number of elements in a block of 64 bytes."""
    return BLOCK // dtype.itemsize


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
    """Return an uninitialised array that starts at a cache line, with a block to spare after its end."""
    # Loops over whole blocks read beyond the last row, and do not use what they find.
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + 2 * BLOCK, np.uint8)
    start = -raw.ctypes.data % BLOCK
    return raw[start : start + size].view(dtype).reshape(shape)


class Vectors:
    """Code generator for loads, stores and arithmetic on vectors of `count` elements."""

    def __init__(self, builder: Any, dtype: Any, element: Any, count: int) -> None:
        self.builder = builder
        self.count = count
        self.dtype = dtype
        self.kind = ir.VectorType(element, count)

    def _pointer(self, base: Any, offset: Any, number: Any) -> Any:
        start = self.builder.bitcast(self.builder.gep(base, [offset]), self.kind.as_pointer())
        return self.builder.gep(start, [const(number) if isinstance(number, int) else number])

    def load(self, base: Any, offset: Any, number: Any = 0) -> Any:
        """Load the vector `number` of those that start at base[offset]."""
        vector = self.builder.load(self._pointer(base, offset, number))
        vector.align = self.dtype.bitwidth // 8
        return vector

    def store(self, vector: Any, base: Any, offset: Any, number: Any = 0) -> None:
        """Store a vector where `load` reads it."""
        self.builder.store(vector, self._pointer(base, offset, number)).align = self.dtype.bitwidth // 8

    def splat(self, value: Any) -> Any:
        """Return a vector with all elements equal to `value`."""
        first = self.builder.insert_element(ir.Constant(self.kind, ir.Undefined), value, ir.IntType(32)(0))
        return self.builder.shuffle_vector(first, first, self.mask([0] * self.count))

    def mask(self, indices: list[int]) -> Any:
        """Return a mask for `shuffle_vector`: indices into the elements of its two vectors."""
        return ir.Constant(ir.VectorType(ir.IntType(32), self.count), indices)

    def add(self, one: Any, other: Any) -> Any:
        """Add vectors of floats; LLVM may reorder sums."""
        return self.builder.fadd(one, other, flags=FAST)

    def multiply(self, one: Any, other: Any) -> Any:
        """Multiply vectors of floats."""
        return self.builder.fmul(one, other, flags=FAST)

    def smaller(self, one: Any, other: Any) -> Any:
        """Return the elementwise minimum of vectors without NaN."""
        return self.best("<", one, other)

    def best(self, order: str, one: Any, other: Any) -> Any:
        """Return the elementwise minimum of vectors without NaN, or with the order ">" the maximum."""
        if isinstance(self.dtype, types.Float):
            better = self.builder.fcmp_ordered(order, one, other)
        elif self.dtype.signed:
            better = self.builder.icmp_signed(order, one, other)
        else:
            better = self.builder.icmp_unsigned(order, one, other)
        return self.builder.select(better, one, other)

    def complement(self, vector: Any) -> Any:
        """Return a vector of the reverse order: −x for floats, ~x for integers."""
        floats = isinstance(self.dtype, types.Float)
        return self.builder.fneg(vector) if floats else self.builder.not_(vector)

    def variables(self, count: int) -> list[Any]:
        """Allocate variables, which LLVM keeps in registers."""
        return [cgutils.alloca_once(self.builder, self.kind) for _ in range(count)]


class Emitter:
    """Code generator of one function: LLVM's builder, and vectors of the dtype of its first array."""

    def __init__(self, context: Any, builder: Any, dtype: Any) -> None:
        self.builder = builder
        self.itemsize = dtype.bitwidth // 8
        self._dtype = dtype
        self._element = context.get_data_type(dtype)

    def vectors(self, nbytes: int) -> Vectors:
        """Return the generator for vectors of `nbytes` bytes."""
        return Vectors(self.builder, self._dtype, self._element, nbytes // self.itemsize)

    @contextlib.contextmanager
    def loop(self, first: Any, last: Any) -> Iterator[Any]:
        """Emit a loop over first … last − 1 that LLVM does not unroll, for few iterations of much work."""
        builder, module = self.builder, self.builder.module
        enter = builder.block
        head, body, end = (builder.append_basic_block(name) for name in ("loop", "loop.body", "loop.end"))
        builder.branch(head)
        with builder.goto_block(head):
            index = builder.phi(ir.IntType(64))
            builder.cbranch(builder.icmp_signed("<", index, last), body, end)
        builder.position_at_end(body)
        yield index
        following = builder.add(index, const(1), flags=("nsw",))
        back = builder.branch(head)
        index.add_incoming(first, enter)
        index.add_incoming(following, builder.block)
        disable = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
        name = module.add_metadata([ir.Constant(ir.IntType(64), len(module.metadata)), disable])
        name.operands = (name, disable)  # LLVM knows a loop by metadata that begin with themselves
        back.set_metadata("llvm.loop", name)
        builder.position_at_end(end)

    def cover(
        self, width: Any, sizes: Sequence[tuple[int, int]], body: Callable[[Vectors, int, Any], None]
    ) -> None:
        """Emit loops of `body` over `width` elements, in ever smaller steps.

        Parameters
        ----------
        width : LLVM value
            The number of elements.
        sizes : sequence of (int, int)
            Bytes of a vector and vectors a step, for each loop; each goes as far as whole steps fit.
        body : callable
            Called with the vectors, their number, and the element where the step starts.
        """
        done: Any = const(0)
        for nbytes, number in sizes:
            vectors = self.vectors(nbytes)
            step = const(vectors.count * number)
            end = self.builder.sub(width, self.builder.srem(self.builder.sub(width, done), step))
            with cgutils.for_range_slice(self.builder, done, end, step) as (x, _):
                body(vectors, number, x)
            done = end


def emitted(body: Callable[..., None]) -> Any:
    """Make a function that kernels can call from one that emits its code.

    Parameters
    ----------
    body : callable
        Called with an `Emitter` and the arguments as LLVM values: an array as the pointer to its first
        element, whatever its shape; a named tuple as one of such values. The first argument is an array, or
        a named tuple whose first field is one. The function has no result.
    """

    def declare(_: Any, *kinds: Any) -> tuple[Any, Callable]:
        first = kinds[0].types[0] if isinstance(kinds[0], types.containers.NamedTuple) else kinds[0]

        def generate(context: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
            def convert(kind: Any, value: Any) -> Any:
                if isinstance(kind, types.Array):
                    return context.make_array(kind)(context, builder, value).data
                if isinstance(kind, types.containers.NamedTuple):
                    fields = cgutils.unpack_tuple(builder, value)
                    return kind.instance_class(*map(convert, kind.types, fields))
                return value

            body(Emitter(context, builder, first.dtype), *map(convert, kinds, values))
            return context.get_dummy_value()

        return types.void(*kinds), generate

    # wraps hands on the names of the parameters, without which numba takes all arguments for one tuple.
    return Late(lambda: extending.intrinsic(functools.wraps(body)(declare)))
