"""A plan's window as a lazy array: read, overlap, filter, trim, store.

The only caller of `map_overlap`. A block that needs no neighbour (whole planes) is one task
from file to file. Where a plane is cut, parts of it are read once, and `map_overlap` hands each
block the halo of its neighbours; a block is then filtered, trimmed and stored in one task.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from pipeline.clock import spending
from pipeline.errors import DataError, PipelineError
from pipeline.image import Image, ImageSpec, Region
from pipeline.step import Step, apply_step, chain_dtype, chain_halo, register_applier
from pipeline.tiling import Cut

if TYPE_CHECKING:
    from pipeline.read import Source

BlockId = tuple[int, ...]


@dataclass(frozen=True)
class ApplyChain:
    """Filter one block that carries its halo, and return what is kept of it.

    Parameters
    ----------
    steps : tuple of Step
        Resolved.
    axes : str
        The axes of the block.
    cuts : tuple of Cut
        How each axis of the window is cut.
    refuse_nan : bool
        Whether a NaN in the block stops the run.
    """

    steps: tuple[Step, ...]
    axes: str
    cuts: tuple[Cut, ...]
    refuse_nan: bool = False

    def __call__(self, block: NDArray, block_id: BlockId | None = None) -> NDArray:
        """Return the filtered block, trimmed."""
        assert block_id is not None
        return self.pixels(block, block_id)[1]

    def pixels(self, block: NDArray, block_id: BlockId) -> tuple[NDArray, NDArray]:
        """Return what is kept of a block, before the chain and after it."""
        reads = [cut.reads[index] for cut, index in zip(self.cuts, block_id, strict=True)]
        # dask does not check what a task gives: a block of another shape would shift every pixel.
        assert block.shape == tuple(stop - start for start, stop in reads), (block.shape, reads)
        origin = tuple(start for start, _ in reads)
        if self.refuse_nan and block.dtype.kind == "f":
            check_nan(block, self.axes, origin)
        keep = tuple(
            slice(cut.edges[index] - start, cut.edges[index + 1] - start)
            for cut, index, start in zip(self.cuts, block_id, origin, strict=True)
        )
        before = block[keep]
        with spending("filter"):
            for step in self.steps:
                expected = step_result_dtype(step, block.dtype)
                block = apply_step(step, block, self.axes, origin)
                assert block.dtype == expected, (step.name, block.dtype, expected)
        return before, block[keep]


def step_result_dtype(step: Step, dtype: np.dtype) -> np.dtype:
    """Return the dtype after one step."""
    return chain_dtype((step,), dtype)


def check_nan(block: NDArray, axes: str, origin: tuple[int, ...]) -> None:
    """Refuse a block that holds a NaN.

    Raises
    ------
    DataError
        Naming its first NaN pixel.
    """
    # A sum is NaN where a pixel is, and costs no temporary; infinities of both signs make one too.
    if np.isnan(np.sum(block, dtype=np.float64)) and np.isnan(block).any():
        place = np.argwhere(np.isnan(block))[0]
        where = ", ".join(f"{axis} {first + at}" for axis, first, at in zip(axes, origin, place, strict=True))
        raise DataError(
            f"the input holds a NaN at {where} (block at {', '.join(map(str, origin))})",
            "mend the data, or set input.nan: propagate; then begin anew with --overwrite", "input.nan",
        )  # fmt: skip


@dataclass(frozen=True)
class WindowReader:
    """A window with its outer halo, as something that dask can slice.

    Parameters
    ----------
    source : Source
        Where the pixels are.
    cuts : tuple of Cut
        How each axis of the window is cut.
    """

    source: Source
    cuts: tuple[Cut, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis, the outer halo included."""
        return tuple(cut.end - cut.begin for cut in self.cuts)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.cuts)

    @property
    def dtype(self) -> np.dtype:
        """Type of a pixel."""
        return self.source.spec.dtype

    def __getitem__(self, part: Region) -> NDArray:
        """Read one chunk."""
        region = tuple(
            slice(cut.begin + wanted.start, cut.begin + wanted.stop)
            for cut, wanted in zip(self.cuts, part, strict=True)
        )
        return self.source.read(region)


Store = Callable[[Region, "NDArray | None", NDArray], Any]
"""`(region, pixels read, pixels made) → receipt`, picklable: writes a finished block."""


@dataclass(frozen=True)
class StoreBlock:
    """Hand a finished block to the writer, with its place in the image.

    Parameters
    ----------
    store : callable
        The writer.
    cuts : tuple of Cut
        How each axis of the window is cut.
    """

    store: Store
    cuts: tuple[Cut, ...]

    def __call__(self, block: NDArray, block_id: BlockId | None = None) -> NDArray:
        """Store the block and return its receipt, in an array of one."""
        assert block_id is not None
        return self.put(None, block, block_id)

    def put(self, before: NDArray | None, after: NDArray, block_id: BlockId) -> NDArray:
        """Store a block of which the input is known, and return its receipt, in an array of one."""
        region = tuple(
            slice(cut.edges[index], cut.edges[index + 1])
            for cut, index in zip(self.cuts, block_id, strict=True)
        )
        receipt = np.empty((1,) * after.ndim, object)
        receipt[(0,) * after.ndim] = self.store(region, before, after)
        return receipt


@dataclass(frozen=True)
class FilterAndStore:
    """Filter a block that carries its halo, and store what is kept of it.

    Parameters
    ----------
    chain : ApplyChain
        The filters.
    store : callable
        The writer.
    """

    chain: ApplyChain
    store: Store

    def __call__(self, block: NDArray, block_id: BlockId | None = None) -> NDArray:
        """Return the receipt, in an array of one."""
        assert block_id is not None
        before, after = self.chain.pixels(block, block_id)
        return StoreBlock(self.store, self.chain.cuts).put(before, after, block_id)


@dataclass(frozen=True)
class ReadFilterStore:
    """Read a block that no other needs a part of, filter and store it: one task from file to file.

    Parameters
    ----------
    source : Source
        Where the pixels are.
    then : FilterAndStore
        What becomes of them.
    """

    source: Source
    then: FilterAndStore

    def __call__(self, block_id: BlockId | None = None) -> NDArray:
        """Return the receipt, in an array of one."""
        assert block_id is not None
        reads = [cut.reads[index] for cut, index in zip(self.then.chain.cuts, block_id, strict=True)]
        return self.then(self.source.read(tuple(slice(*read) for read in reads)), block_id)


def overlap_depth(chain: ApplyChain) -> dict[int, int]:
    """Return the halo along each axis, 0 where a window holds it in one block."""
    halo = chain_halo(chain.steps, chain.axes)
    return {
        index: halo[axis] if cut.count > 1 else 0
        for index, (axis, cut) in enumerate(zip(chain.axes, chain.cuts, strict=True))
    }


def overlapped(array: da.Array, chain: ApplyChain, call: Callable[..., NDArray], **result: Any) -> da.Array:
    """Return a function called on each block with its halo; the array's chunks are `chain.cuts`'."""
    return da.map_overlap(
        call, array, depth=overlap_depth(chain), boundary="none", trim=False, allow_rechunk=False, **result
    )


def filtered(array: da.Array, chain: ApplyChain) -> da.Array:
    """Return the chain applied to an array whose chunks are `chain.cuts`'."""
    dtype = chain_dtype(chain.steps, array.dtype)
    kept = tuple(cut.kept for cut in chain.cuts)
    return overlapped(array, chain, chain, chunks=kept, dtype=dtype, meta=np.empty((0,) * array.ndim, dtype))


def window_array(source: Source, cuts: tuple[Cut, ...]) -> da.Array:
    """Return the pixels that a window reads, lazily, cut where its blocks are."""
    reader = WindowReader(source, cuts)
    return da.from_array(
        reader,
        chunks=tuple(cut.chunks for cut in cuts),
        asarray=False,
        inline_array=True,
        lock=False,
        name=False,
        meta=np.empty((0,) * reader.ndim, reader.dtype),
    )


def _receipts(cuts: tuple[Cut, ...]) -> dict[str, Any]:
    """Return what dask is told of an array of receipts, one a block."""
    ones = tuple((1,) * cut.count for cut in cuts)
    return {"chunks": ones, "dtype": object, "meta": np.empty((0,) * len(cuts), object)}


@dataclass(frozen=True)
class InTurn:
    """Do several blocks one after the other in one task: one block's memory, one task's scheduling.

    Parameters
    ----------
    call : callable
        Does the block of a given number along each axis, and returns its receipt in an array of one.
    grid : tuple of int
        Blocks along each axis.
    batch : int
        Blocks in a task.
    """

    call: Callable[..., NDArray]
    grid: tuple[int, ...]
    batch: int

    def __call__(self, block_id: BlockId | None = None) -> NDArray:
        """Return the receipts."""
        assert block_id is not None
        first = block_id[0] * self.batch
        numbers = range(first, min(first + self.batch, math.prod(self.grid)))
        places = (tuple(map(int, np.unravel_index(number, self.grid))) for number in numbers)
        return np.concatenate([self.call(block_id=place).reshape(-1) for place in places])


def window_tasks(source: Source, chain: ApplyChain, store: Store, batch: int = 1) -> da.Array:
    """Return a window's blocks read, filtered and stored, lazily.

    Parameters
    ----------
    source : Source
        Where the pixels are.
    chain : ApplyChain
        The filters, and how the window is cut.
    store : callable
        The writer.
    batch : int
        Blocks in a task, where none needs a part of another.

    Returns
    -------
    dask.array.Array
        Computed, an array of one receipt a block, in the order of the blocks.
    """
    then = FilterAndStore(chain, store)
    if any(overlap_depth(chain).values()):
        return overlapped(window_array(source, chain.cuts), chain, then, **_receipts(chain.cuts))
    call = ReadFilterStore(source, then)
    if batch == 1:
        return da.map_blocks(call, **_receipts(chain.cuts))
    grid = tuple(cut.count for cut in chain.cuts)
    count = math.prod(grid)
    sizes = tuple(min(batch, count - first) for first in range(0, count, batch))
    turns = InTurn(call, grid, batch)
    return da.map_blocks(turns, chunks=(sizes,), dtype=object, meta=np.empty(0, object))


def store_tasks(pixels: da.Array, cuts: tuple[Cut, ...], store: Store) -> da.Array:
    """Return the storing of pixels that are computed elsewhere, one chunk a block, lazily."""
    return da.map_blocks(StoreBlock(store, cuts), pixels, **_receipts(cuts))


@dataclass(frozen=True)
class LazySource:
    """A lazy image in the place of an input: `save` runs over it.

    Parameters
    ----------
    image : Image
        From `open_image`, and steps called on it.
    """

    image: Image

    @property
    def spec(self) -> ImageSpec:
        """What it is; its chunks are the largest of the Dask array's."""
        data = self.image.data
        return self.image.spec.with_(dtype=data.dtype, chunks=tuple(max(sizes) for sizes in data.chunks))

    @property
    def path(self) -> str:
        """For the reader."""
        return f"a lazy image, {self.image.data.name}"

    def window(self, cuts: tuple[Cut, ...]) -> da.Array:
        """Return the pixels of a window, one chunk a block."""
        part = self.image.data[tuple(slice(cut.edges[0], cut.edges[-1]) for cut in cuts)]
        return part.rechunk(tuple(cut.kept for cut in cuts))

    def files(self) -> tuple[str, ...]:
        """Return none: what it is made of is not known."""
        return ()

    def identity(self) -> dict[str, Any]:
        """Return the name of the Dask array, which is made of all that it is computed from."""
        return {"array": self.image.data.name}

    def extras(self) -> tuple[str, ...]:
        """Return nothing."""
        return ()


@dataclass(frozen=True)
class CallWith:
    """Call a function with one of several arguments, by the block's number."""

    call: Callable[[Any], Any]
    arguments: tuple[Any, ...]

    def __call__(self, block: NDArray, block_id: BlockId | None = None) -> NDArray:
        """Return the function's result in an array of one."""
        assert block_id is not None
        receipt = np.empty(1, object)
        receipt[0] = self.call(self.arguments[block_id[0]])
        return receipt


def call_tasks(call: Callable[[Any], Any], arguments: Sequence[Any]) -> da.Array:
    """Return the calls of a function, lazily: computed, an array of their results."""
    numbers = da.zeros(len(arguments), chunks=1, dtype=np.uint8)
    calls = CallWith(call, tuple(arguments))
    return numbers.map_blocks(calls, dtype=object, meta=np.empty(0, object))


def merge_chunks(chunks: tuple[int, ...], least: int) -> tuple[int, ...]:
    """Merge neighbouring chunks until each holds `least` pixels, or there is one.

    >>> merge_chunks((4, 4, 4, 4, 2), 6)
    (8, 10)
    """
    merged: list[int] = []
    held = 0
    for chunk in chunks:
        held += chunk
        if held >= least:
            merged.append(held)
            held = 0
    if held:
        merged = [*merged[:-1], merged[-1] + held] if merged else [held]
    return tuple(merged)


def apply_to_dask(step: Step, array: da.Array, axes: str, spec: ImageSpec) -> da.Array:
    """Apply a step to a Dask array, lazily, whatever its chunks.

    Chunks smaller than the halo are merged first, and an axis shorter than the halo becomes
    one chunk: the result's chunks show it.
    """
    if any(np.isnan(size) for size in array.shape):
        raise PipelineError(
            "the Dask array has chunks of unknown size", "call compute_chunk_sizes() on it first"
        )
    resolved = step.resolve(spec)
    halo = chain_halo((resolved,), axes)
    chunks = tuple(merge_chunks(sizes, halo[axis]) for axis, sizes in zip(axes, array.chunks, strict=True))
    native = array.astype(spec.dtype) if array.dtype != spec.dtype else array
    cuts = tuple(_cut_of(sizes, halo[axis]) for axis, sizes in zip(axes, chunks, strict=True))
    return filtered(native.rechunk(chunks), ApplyChain((resolved,), axes, cuts))


def _cut_of(chunks: tuple[int, ...], halo: int) -> Cut:
    edges = tuple(int(edge) for edge in np.cumsum((0, *chunks)))
    size = edges[-1]
    reads = tuple((max(0, start - halo), min(size, stop + halo)) for start, stop in itertools.pairwise(edges))
    return Cut(edges, reads)


register_applier("dask", apply_to_dask)
