"""Which blocks and windows a run works in: whole planes where they fit, else the largest tile that does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.machine import MIB
from pipeline.model.text import shape_text, size_text
from pipeline.model.tiling import Tiling
from pipeline.planning.memory import (
    IN_FLIGHT,
    Memory,
    Writing,
    base_bytes,
    padded,
    task_bytes,
    with_heap,
)
from pipeline.steps.step import Step

SMALL_BLOCK = 4 * MIB
"""Below this a task costs more than its pixels, so blocks take in more frames or planes."""

LARGE_BLOCK = 16 * MIB
"""Above this a plane is worth cutting where there would be fewer blocks than workers."""

WINDOW = 256 * MIB
"""Bytes of input in a window: a second or two of work, which is what a kill may lose."""

WINDOW_BLOCKS = 512
"""Blocks in a window at most, which bounds the graph."""


@dataclass(frozen=True)
class Resources:
    """What a run may use.

    Parameters
    ----------
    workers : int
        Blocks at a time.
    memory : int
        Bytes for all processes on this machine.
    cluster : str
        "threads", "local" or "remote".
    held : int
        Bytes that this process holds while it plans, where that is known.
    """

    workers: int
    memory: int
    cluster: str = "threads"
    held: int = 0

    @property
    def processes(self) -> bool:
        """Whether the workers are processes of this machine, started by the run."""
        return self.cluster == "local"


@dataclass(frozen=True)
class Work:
    """What is to be cut: the chain with its halo, the image, the least that one task may write.

    Parameters
    ----------
    steps : tuple of Step
        Resolved.
    halo, unit : mapping of str to int
        Axis → px: of the chain, and of one file.
    image, output : ImageSpec
        What comes in and what goes out; the output's chunks are its files.
    writing : Writing
        What becomes of a block after the chain.
    reading : callable, optional
        Shape of a region of the image → bytes that reading it takes beside its pixels; default: one stored
        chunk, as stored and decoded.
    """

    steps: tuple[Step, ...]
    halo: Mapping[str, int]
    image: ImageSpec
    output: ImageSpec
    unit: Mapping[str, int]
    writing: Writing
    reading: Callable[[tuple[int, ...]], int] | None = None

    def beside(self, shape: tuple[int, ...]) -> int:
        """Return the bytes that reading a region of this shape takes beside its pixels."""
        if self.reading is not None:
            return self.reading(shape)
        return 2 * math.prod(self.image.chunks) * self.image.dtype.itemsize

    def memory(self, block: Mapping[str, int], resources: Resources) -> Memory:
        """Return what blocks of this size take."""
        task = task_bytes(self.steps, self.image, self.writing, block, self.halo, self.beside)
        tasks = min(resources.workers, _count(self, block))
        base = base_bytes(
            resources.workers,
            resources.processes,
            self.steps,
            self.image.dtype,
            held=resources.held,
        )
        # Coarser levels are built by all workers, even where there are fewer blocks.
        return Memory(base, task, tasks, 0, self.writing.levels(resources.workers))

    def least(self, axis: str) -> int:
        """Return the smallest block along an axis that is whole units and holds a neighbour's halo."""
        size, unit = self.image.sizes[axis], self.unit[axis]
        return min(size, -(-max(unit, self.halo[axis]) // unit) * unit)

    def least_memory(self, resources: Resources) -> int:
        """Return the least memory in which the run fits: the smallest blocks, one at a time."""
        block = {axis: self.least(axis) for axis in self.image.sizes}
        return self.memory(block, replace(resources, workers=1)).predicted

    def block_bytes(self, block: Mapping[str, int]) -> int:
        """Return the bytes of a block of the input."""
        return math.prod(block.values()) * self.image.dtype.itemsize

    def cut_axes(self, block: Mapping[str, int]) -> list[str]:
        """Return the axes with a halo along which blocks have neighbours."""
        return [axis for axis in block if self.halo[axis] and block[axis] < self.image.sizes[axis]]


def choose_block(work: Work, resources: Resources) -> tuple[dict[str, int], Resources]:
    """Return the block, and the resources that go with it (fewer workers where memory is short).

    Raises
    ------
    RequestError
        Not even one block of the least size fits into the memory.
    """
    sizes = work.image.sizes
    whole = {axis: sizes[axis] if work.halo[axis] else min(sizes[axis], work.unit[axis]) for axis in sizes}
    block = dict(whole)
    while _too_much(work, block, resources):
        smaller = _halve(work, block)
        if smaller is not None:
            block = smaller
        elif resources.workers > 1:
            fewer = resources.workers - max(1, resources.workers // 4)
            resources, block = replace(resources, workers=fewer), dict(whole)
        elif work.memory(block, resources).predicted <= resources.memory:
            break  # a window of one block shares nothing, though it reads its halo alone
        else:
            raise refusal(work, block, work.memory(block, resources), resources)
    return _grow(work, _share_out(work, block, resources), resources), resources


def _too_much(work: Work, block: Mapping[str, int], resources: Resources) -> bool:
    memory = work.memory(block, resources)
    # Blocks that wait for neighbours: at the least one row of blocks on either side of each worker.
    shared = IN_FLIGHT * 3 * memory.tasks * work.block_bytes(block) if work.cut_axes(block) else 0
    return memory.predicted + with_heap(shared) > resources.memory


def _halve(work: Work, block: Mapping[str, int]) -> dict[str, int] | None:
    ratios = {axis: block[axis] / work.least(axis) for axis in block if block[axis] > work.least(axis)}
    if not ratios:
        return None
    axis = max(ratios, key=lambda name: (ratios[name], block[name]))
    unit = work.unit[axis]
    half = -(-block[axis] // (2 * unit)) * unit
    return {**block, axis: max(work.least(axis), half if half < block[axis] else half - unit)}


def _share_out(work: Work, block: dict[str, int], resources: Resources) -> dict[str, int]:
    """Cut large planes until each worker has a block, and what they hold together fits; else leave them."""
    shared = block
    while work.block_bytes(shared) > LARGE_BLOCK and _count(work, shared) < resources.workers:
        smaller = _halve(work, shared)
        if smaller is None:
            break
        shared = smaller
    while _too_much(work, shared, resources):
        smaller = _halve(work, shared)
        if smaller is None:
            return block
        shared = smaller
    return shared


def _count(work: Work, block: Mapping[str, int]) -> int:
    return math.prod(-(-size // block[axis]) for axis, size in work.image.sizes.items())


def _grow(work: Work, block: dict[str, int], resources: Resources) -> dict[str, int]:
    """Take in more planes or frames: whole stored chunks of the input, and enough work for a task."""
    chunks = dict(zip(work.image.axes, work.image.chunks, strict=True))
    for axis in reversed(work.image.axes):
        if work.halo[axis]:
            continue
        size = work.image.sizes[axis]
        aligned = min(size, math.lcm(block[axis], min(chunks[axis], size)))
        for target in (aligned, 2 * aligned, 4 * aligned, 8 * aligned, 16 * aligned, 32 * aligned):
            larger = {**block, axis: min(size, target)}
            wanted = target == aligned or work.block_bytes(larger) <= SMALL_BLOCK
            enough = target == aligned or _count(work, larger) >= 4 * resources.workers
            if wanted and enough and not _too_much(work, larger, resources):
                block = larger
    return block


def choose_window(
    work: Work, block: Mapping[str, int], resources: Resources, limits: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Return the window: blocks taken in from the last axis on until there is a window's work.

    Along the axes with a halo a window should be the whole image, since it reads its halo again;
    no window is larger than `limits` (axis → px; default: the image).
    """
    sizes = work.image.sizes if limits is None else limits
    window = dict(block)
    backwards = work.image.axes[::-1]
    with_halo = [axis for axis in backwards if work.halo[axis]]
    for axis in with_halo + [axis for axis in backwards if not work.halo[axis]]:
        while window[axis] < sizes[axis]:
            larger = {**window, axis: min(sizes[axis], 2 * window[axis])}
            count = math.prod(-(-larger[name] // block[name]) for name in block)
            few = count <= 4 * resources.workers
            if count > WINDOW_BLOCKS or (work.block_bytes(larger) > WINDOW and not few):
                break
            if memory_of(work, block, larger, resources).predicted > resources.memory:
                break
            window = larger
        if window[axis] < sizes[axis]:
            break
    return window


def memory_of(
    work: Work, block: Mapping[str, int], window: Mapping[str, int], resources: Resources
) -> Memory:
    """Return what a run in these blocks and windows takes."""
    memory = work.memory(block, resources)
    if not any(work.halo[axis] and block[axis] < window[axis] for axis in block):
        return memory
    read = math.prod(padded(window, work.halo, work.image.sizes)) * work.image.dtype.itemsize
    windows = math.prod(-(-size // window[axis]) for axis, size in work.image.sizes.items())
    if resources.cluster == "threads":
        # The next one begins when fewer blocks than workers are left, each with its neighbours.
        rest = (resources.workers - 1) * 3 ** len(work.cut_axes(block)) * work.block_bytes(block)
        return replace(memory, shared=with_heap(read + min(read, rest) * (windows > 1)))
    # Worker processes hand each other what is shared, and then both hold it.
    copies = 2 if resources.processes and resources.workers > 1 else 1
    return replace(memory, shared=with_heap(copies * min(IN_FLIGHT, windows) * read))


def refusal(
    work: Work, block: Mapping[str, int], memory: Memory, resources: Resources, least: int | None = None
) -> RequestError:
    """Return the error that says how much memory is missing, and what to change.

    Parameters
    ----------
    work : Work
        What is to be cut.
    block : mapping of str to int
        The block that does not fit.
    memory : Memory
        What it takes.
    resources : Resources
        What there is.
    least : int, optional
        The least memory that would do; default: that of the smallest blocks, one at a time.
    """
    halo = ", ".join(f"{axis} {px}" for axis, px in work.halo.items() if px)
    enough = -(-(work.least_memory(resources) if least is None else least) // MIB)
    chunk = work.beside(tuple(block.values()))
    much = 2 * chunk > memory.task
    decoded = f", each with {size_text(chunk)} to decode the stored chunks that it cuts" if much else ""
    return RequestError(
        f"the run needs {size_text(memory.predicted)} (blocks of {shape_text(block)} px with a halo of"
        f" {halo or 'nothing'}, {memory.tasks} at a time{decoded}) and may use {size_text(resources.memory)}",
        f"raise compute.memory to {enough} MiB at the least, or "
        + ("rechunk the input or " if much else "")
        + "lower compute.workers, output.chunks or the radii and sigmas",
        "compute.memory",
    )


def force(
    work: Work, block: Mapping[str, int] | None, window: Mapping[str, int] | None, chosen: Tiling
) -> Tiling:
    """Return the tiling with what the config forces in place of what was chosen.

    Raises
    ------
    RequestError
        A forced block is not whole output chunks, or a forced window not whole blocks.
    """
    sizes = work.image.sizes
    blocks, windows = dict(chosen.block), dict(chosen.window)
    for field, forced in (("block", block), ("window", window)):
        unknown = [axis for axis in forced or {} if axis not in sizes]
        if unknown:
            raise RequestError(
                f"the image has no axis {unknown[0]!r} (it has {work.image.axes})", "name axes of the image",
                f"compute.{field}",
            )  # fmt: skip
    for axis, px in (block or {}).items():
        unit = work.unit[axis]
        if px < sizes[axis] and px % unit:
            raise RequestError(
                f"{px} px along {axis} is not a multiple of the output's chunk, {unit} px",
                f"say {-(-px // unit) * unit}, or give output.chunks", "compute.block",
            )  # fmt: skip
        blocks[axis] = min(px, sizes[axis])
    for axis, size in sizes.items():
        wanted = (window or {}).get(axis)
        if wanted is None:
            windows[axis] = min(size, -(-windows[axis] // blocks[axis]) * blocks[axis])
            continue
        if axis not in (block or {}) and wanted < blocks[axis] and wanted % work.unit[axis] == 0:
            blocks[axis] = wanted
        if wanted < size and wanted % blocks[axis]:
            raise RequestError(
                f"{wanted} px along {axis} is not a whole number of blocks of {blocks[axis]} px",
                f"say {-(-wanted // blocks[axis]) * blocks[axis]}, or give compute.block", "compute.window",
            )  # fmt: skip
        windows[axis] = min(wanted, size)
    for axis in sizes:
        # A block that is shorter than the halo cannot hand its neighbour all that it needs.
        if blocks[axis] < windows[axis] and blocks[axis] < work.halo[axis]:
            blocks[axis] = min(windows[axis], -(-work.halo[axis] // blocks[axis]) * blocks[axis])
            windows[axis] = min(sizes[axis], -(-windows[axis] // blocks[axis]) * blocks[axis])
    return Tiling(sizes, blocks, windows, dict(work.halo))
