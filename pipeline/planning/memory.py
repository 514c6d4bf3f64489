"""The memory that a run takes, predicted before it starts.

predicted = processes before their first pixel
          + tasks at a time × (what one holds at its fullest + what the heap keeps of it)
          + what the blocks of a window and of its successor share (their halos)

Where blocks hold no whole files of a coarser level, a task may also build one of its files from the disk.

Counted as `machine.tree_memory` measures: the resident memory of each process, summed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.kernels.jit import cache_folder
from pipeline.model.machine import MIB
from pipeline.planning.workload import Resources, Workload
from pipeline.steps.contract import step_dtype
from pipeline.steps.step import Step
from pipeline.write.layout import Layout

# The process that was started, with everything imported and the input opened: 161 to 170 measured.
DRIVER = 176 * MIB
# What loading the compiled kernels adds to a process: 51 to 56 measured, most of it LLVM's own code.
KERNELS = 56 * MIB
# Threads, journal, graphs and receipts: 12 measured.
RUNNING = 16 * MIB
# What compiling the kernels of a step leaves beyond that: 40 to 68 measured. It is counted in the first run
# of a chain on a machine.
COMPILED = 72 * MIB
# The same for each further step: 13 to 26 measured, since kernels share much of it.
COMPILED_MORE = 32 * MIB
# What `distributed` adds to the driver, and the process that tracks the workers' resources.
SCHEDULER = 32 * MIB
# Each worker process: 232 measured.
WORKER = 256 * MIB
# What the heap keeps of freed blocks for the next task: as much again for small ones, 20 to 25 measured.
HEAP = 24 * MIB
# A file in the making, its pixels gathered and encoded, in file sizes.
FILE = 2
# A file of a coarser level in the making, or one of its sources as it is read, in file sizes.
LEVEL_FILES = 3
# What a process holds beyond the usual is counted in steps of this, so that `plan` and `run` agree.
ROUND = 16 * MIB
# Bytes of the name, size and times of each file of the input, where they are not a Zarr's.
PER_FILE = 600
# Bytes a plane at the end of a run: its figures, its row in the table of frames, its chunks' names.
PER_PLANE = 450
# Windows at a time: while one ends, the next keeps the workers busy.
IN_FLIGHT = 2


@dataclass(frozen=True)
class Memory:
    """Bytes that a run takes."""

    base: int  # all processes before the first pixel
    task: int  # one block on its way from file to file
    tasks: int  # blocks at a time
    shared: int  # blocks of a window that wait for their neighbours
    level: int = 0  # a file of a coarser level that is built from the disk; 0 if all are made in blocks
    level_tasks: int = 0  # such files at a time

    @property
    def working(self) -> int:
        """The most that all tasks hold together: some do blocks, others build coarser levels."""
        further = max(0, self.level_tasks - self.tasks)
        return self.tasks * max(self.task, self.level) + further * self.level

    @property
    def predicted(self) -> int:
        """The most that all processes hold together."""
        return self.base + self.working + self.shared


def memory_of_blocks(workload: Workload, block: Mapping[str, int], resources: Resources) -> Memory:
    """Return the memory of a run in blocks of this size that share nothing."""
    tasks = min(resources.workers, workload.count(block))
    first = 1 + workload.layout.whole_levels(block)
    level = max(_level_bytes(output, first) for output in workload.layout.outputs)
    # Coarser levels are built by all workers, even where there are fewer blocks.
    files = max((math.prod(array.grid) for array in workload.layout.levels[first:]), default=0)
    level_tasks = min(resources.workers, files)
    task = _task_bytes(workload, block)
    return Memory(_base_bytes(workload, resources), task, tasks, 0, level, level_tasks)


def memory_of(
    workload: Workload, block: Mapping[str, int], window: Mapping[str, int], resources: Resources
) -> Memory:
    """Return the memory of a run in these blocks and windows."""
    memory = memory_of_blocks(workload, block, resources)
    if not any(workload.halo[axis] and block[axis] < window[axis] for axis in block):
        return memory
    read = math.prod(padded(window, workload.halo, workload.image.sizes)) * workload.image.dtype.itemsize
    windows = workload.count(window)
    if resources.cluster == "threads":
        # The next one begins when fewer blocks than workers are left, each with its neighbours.
        rest = (resources.workers - 1) * 3 ** len(workload.cut_axes(block)) * workload.block_bytes(block)
        return replace(memory, shared=with_heap(read + min(read, rest) * (windows > 1)))
    # Worker processes hand each other what is shared, and then both hold it.
    copies = 2 if resources.processes and resources.workers > 1 else 1
    return replace(memory, shared=with_heap(copies * min(IN_FLIGHT, windows) * read))


def _base_bytes(workload: Workload, resources: Resources) -> int:
    """Return the bytes of all processes on this machine before the first pixel."""
    held = -(-(resources.held - DRIVER) // ROUND) * ROUND + DRIVER
    compiled = 0 if workload.warm_up.is_compiled else _compiled_bytes(workload.steps, workload.image.dtype)
    driver = max(DRIVER, held) + KERNELS + RUNNING + compiled
    if not resources.processes:
        return driver
    # Workers load what the driver has compiled, where it can be kept.
    each = WORKER + (compiled if cache_folder() is None else 0)
    return driver + SCHEDULER + resources.workers * each


def _compiled_bytes(steps: tuple[Step, ...], dtype: np.dtype) -> int:
    """Return the bytes that compiling a chain's kernels leaves in a process."""
    kinds = set()
    for step in steps:
        kinds.add((step.name, dtype))
        dtype = step_dtype(step, dtype)
    return COMPILED + COMPILED_MORE * max(0, len(kinds) - 1)


def _task_bytes(workload: Workload, block: Mapping[str, int]) -> int:
    """Return the bytes of the largest block on its way from file to file."""
    image = workload.image
    block = largest_block(block, workload.halo, image.sizes)
    shape = padded(block, workload.halo, image.sizes)
    pixels, kept = math.prod(shape), math.prod(block.values())
    levels = workload.layout.whole_levels(block)
    # The input block is held to the end, for the figures of its planes.
    held = pixels * image.dtype.itemsize
    # Where a plane is cut, its parts are read without the halo that they have in common.
    reading = held + max(workload.bytes_beside(shape), workload.bytes_beside(tuple(block.values())))
    filtering = chain_bytes(workload.steps, shape, image.dtype, image.axes)
    return with_heap(max(reading, filtering, held + writing_bytes(workload, pixels, kept, levels)))


def chain_bytes(steps: tuple[Step, ...], shape: tuple[int, ...], dtype: np.dtype, axes: str) -> int:
    """Return the bytes of a chain on a block of `shape`, the block itself included."""
    pixels = math.prod(shape)
    held = pixels * dtype.itemsize
    largest = 0
    for index, step in enumerate(steps):
        result = step_dtype(step, dtype)
        # The block read is held to the end of the task; for the first step it is the input too.
        own = 0 if index == 0 else pixels * dtype.itemsize
        if step.channels is not None:
            # What it gives for one channel is put among the others.
            own += pixels // shape[axes.index("c")] * result.itemsize
        largest = max(largest, own + pixels * result.itemsize + step.working_bytes(shape, dtype, axes))
        dtype = result
    return held + largest


def writing_bytes(workload: Workload, pixels: int, kept: int, levels: int) -> int:
    """Return the bytes of a result of `pixels` and of writing the `kept` ones of them, and coarser levels."""
    layout, second, result = workload.layout, workload.layout.background, workload.chain.dtype
    dtype = layout.spec.dtype
    alike = result == dtype and not workload.offset
    cast = 0 if alike and kept == pixels else kept * dtype.itemsize
    # On the way: an array without gaps for whole numbers, and for floats up to two that may be wider.
    widest = max(result.itemsize, dtype.itemsize)
    casting = 0 if alike else kept * result.itemsize if dtype.kind != "f" else 2 * kept * widest
    whole = bool(cast) or kept == pixels
    most = max(casting, _file_bytes(layout) + _mean_bytes(layout, kept, levels, whole=whole))
    if second is not None:
        taken = (2 if workload.mixed else 1) * kept * second.spec.dtype.itemsize
        most = max(most, taken + _file_bytes(second) + _mean_bytes(second, kept, levels, whole=True))
    return pixels * result.itemsize + cast + most


def _mean_bytes(layout: Layout, kept: int, levels: int, *, whole: bool) -> int:
    """Return the bytes of the coarser levels of a block of `kept` pixels; unless `whole`, it has gaps."""
    if not levels:
        return 0
    nbytes = kept * layout.spec.dtype.itemsize
    return nbytes // math.prod(layout.steps(1)) + (0 if whole else nbytes)


def _file_bytes(layout: Layout) -> int:
    """Return the bytes of a file in the making: its pixels gathered, encoded, and with a checksum."""
    return (FILE + layout.checksum) * math.prod(layout.file_shape) * layout.spec.dtype.itemsize


def _level_bytes(layout: Layout, first: int) -> int:
    """Return the bytes that a file of the levels from `first` on takes, built from the disk."""
    largest = 0
    for finer, level in itertools.pairwise(layout.levels[first - 1 :]):
        steps = (c // f for c, f in zip(level.factors, finer.factors, strict=True))
        sources = math.prod(
            min(px * step, size) for px, step, size in zip(level.file_shape, steps, finer.shape, strict=True)
        )
        file = math.prod(map(min, finer.file_shape, finer.shape))
        largest = max(largest, with_heap((sources + LEVEL_FILES * file) * layout.spec.dtype.itemsize))
    return largest


def padded(block: Mapping[str, int], halo: Mapping[str, int], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Return the shape of a block with its halo on both sides, no larger than the image.

    >>> padded({"y": 64, "x": 90}, {"y": 8, "x": 8}, {"y": 100, "x": 100})
    (80, 100)
    """
    return tuple(min(sizes[axis], px + 2 * halo.get(axis, 0)) for axis, px in block.items())


def largest_block(
    block: Mapping[str, int], halo: Mapping[str, int], sizes: Mapping[str, int]
) -> dict[str, int]:
    """Return the largest block of an image: a rest at the end that is shorter than the halo joins it.

    >>> largest_block({"y": 40, "x": 40}, {"y": 0, "x": 25}, {"y": 100, "x": 100})
    {'y': 40, 'x': 60}
    """
    rests = {axis: sizes[axis] % px for axis, px in block.items()}
    joins = {axis: px < sizes[axis] and rests[axis] < halo.get(axis, 0) for axis, px in block.items()}
    return {axis: px + (rests[axis] if joins[axis] else 0) for axis, px in block.items()}


def with_heap(nbytes: int) -> int:
    """Return bytes in use plus those that the heap keeps of them once they are freed."""
    # The C library gives large blocks back at once (32 MiB at most); small ones stay in its heap.
    return nbytes + min(nbytes, HEAP)
