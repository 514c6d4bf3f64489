"""Vector loads, stores and arithmetic, for loops that LLVM would not vectorise by itself.

Left to itself it loads and stores a sum once for each weight, or checks at each call whether rows of one
array overlap, which costs more than the work on a short row. Written as vectors loops need no check, and
LLVM cuts a vector into whatever registers the processor has.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

BLOCK = 64  # bytes: a line of the cache
INDEX = ir.IntType(64)
FAST = ("contract", "reassoc", "nsz")


def block_length(dtype: np.dtype) -> int:
    """Return how many elements a block holds."""
    return BLOCK // dtype.itemsize


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
    """Return an uninitialised array that begins at a block's boundary, with a block more behind it.

    Loops that read whole blocks may read, but not use, what stands behind the last row.
    """
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + 2 * BLOCK, np.uint8)
    start = -raw.ctypes.data % BLOCK
    return raw[start : start + size].view(dtype).reshape(shape)


class Vectors:
    """Loads, stores and arithmetic on vectors of `count` elements."""

    def __init__(self, builder: Any, dtype: Any, element: Any, count: int) -> None:
        self.builder = builder
        self.count = count
        self.dtype = dtype
        self.kind = ir.VectorType(element, count)

    def _at(self, base: Any, offset: Any, number: Any) -> Any:
        start = self.builder.bitcast(self.builder.gep(base, [offset]), self.kind.as_pointer())
        return self.builder.gep(start, [INDEX(number) if isinstance(number, int) else number])

    def load(self, base: Any, offset: Any, number: Any = 0) -> Any:
        """Return the vector `number` from `base[offset]` on."""
        vector = self.builder.load(self._at(base, offset, number))
        vector.align = self.dtype.bitwidth // 8
        return vector

    def store(self, vector: Any, base: Any, offset: Any, number: Any = 0) -> None:
        """Write a vector where `load` would read it."""
        self.builder.store(vector, self._at(base, offset, number)).align = self.dtype.bitwidth // 8

    def splat(self, value: Any) -> Any:
        """Return a vector of one value."""
        first = self.builder.insert_element(ir.Constant(self.kind, ir.Undefined), value, ir.IntType(32)(0))
        return self.builder.shuffle_vector(first, first, self.mask([0] * self.count))

    def mask(self, places: list[int]) -> Any:
        """Return what says which elements of two vectors `shuffle_vector` takes."""
        return ir.Constant(ir.VectorType(ir.IntType(32), self.count), places)

    def add(self, one: Any, other: Any) -> Any:
        """Return the sum of two vectors of floats, in any order with other sums."""
        return self.builder.fadd(one, other, flags=FAST)

    def multiply(self, one: Any, other: Any) -> Any:
        """Return the product of two vectors of floats."""
        return self.builder.fmul(one, other, flags=FAST)

    def smaller(self, one: Any, other: Any) -> Any:
        """Return the minimum of two vectors without NaN."""
        if isinstance(self.dtype, types.Float):
            less = self.builder.fcmp_ordered("<", one, other)
        elif self.dtype.signed:
            less = self.builder.icmp_signed("<", one, other)
        else:
            less = self.builder.icmp_unsigned("<", one, other)
        return self.builder.select(less, one, other)

    def complement(self, vector: Any) -> Any:
        """Return a vector whose elements sort the other way round."""
        floats = isinstance(self.dtype, types.Float)
        return self.builder.fneg(vector) if floats else self.builder.not_(vector)

    def variables(self, count: int) -> list[Any]:
        """Return variables, which LLVM keeps in registers."""
        return [cgutils.alloca_once(self.builder, self.kind) for _ in range(count)]


class Emitter:
    """What writes a function's code: LLVM's builder, and vectors of the dtype of its first argument."""

    def __init__(self, context: Any, builder: Any, dtype: Any) -> None:
        self.builder = builder
        self.itemsize = dtype.bitwidth // 8
        self._dtype = dtype
        self._element = context.get_data_type(dtype)

    def vectors(self, nbytes: int) -> Vectors:
        """Return vectors of so many bytes."""
        return Vectors(self.builder, self._dtype, self._element, nbytes // self.itemsize)

    def cover(
        self, width: Any, sizes: Sequence[tuple[int, int]], body: Callable[[Vectors, int, Any], None]
    ) -> None:
        """Call `body` with vectors, a number of them, and a place, so that all cover `width` elements.

        Each of `sizes` (bytes of a vector, vectors at once) is used as far as it goes, then the next.
        """
        done: Any = INDEX(0)
        for nbytes, number in sizes:
            vectors = self.vectors(nbytes)
            step = INDEX(vectors.count * number)
            end = self.builder.sub(width, self.builder.srem(self.builder.sub(width, done), step))
            with cgutils.for_range_slice(self.builder, done, end, step) as (x, _):
                body(vectors, number, x)
            done = end


def emitted(body: Callable[..., None]) -> Any:
    """Make a function that kernels can call out of one that writes its code.

    `body` gets an `Emitter` and the arguments as LLVM's values, arrays as pointers to their first element.
    The first is an array. There is no result.
    """

    def declare(_: Any, *kinds: Any) -> tuple[Any, Callable]:
        def generate(context: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
            arguments = [
                context.make_array(kind)(context, builder, value).data
                if isinstance(kind, types.Array)
                else value
                for kind, value in zip(kinds, values, strict=True)
            ]
            body(Emitter(context, builder, kinds[0].dtype), *arguments)
            return context.get_dummy_value()

        return types.void(*kinds), generate

    # numba looks at these: without the parameters' names it would take all arguments for one tuple.
    return intrinsic(functools.wraps(body)(declare))
