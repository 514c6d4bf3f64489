"""How much memory a run takes, worked out before it starts.

predicted = processes before their first pixel
          + tasks at a time × (what one holds at its fullest + what the heap keeps of it)
          + what the blocks of a window and of its successor share (their halos)
            or, after the last block, what building the coarser levels takes, where that is more

Counted as `machine.tree_memory` measures: the resident memory of each process, summed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.kernels.jit import cache_folder
from pipeline.model.image import ImageSpec
from pipeline.model.machine import MIB
from pipeline.steps.chain import chain_dtype
from pipeline.steps.contract import step_dtype
from pipeline.steps.step import Step
from pipeline.write.layout import Layout

DRIVER = 176 * MIB
"""The process that was started, with everything imported and the input opened: 161 to 170 measured."""

KERNELS = 56 * MIB
"""What loading the compiled kernels adds to a process: 51 to 56 measured, most of it LLVM's own code."""

RUNNING = 16 * MIB
"""Threads, journal, graphs and receipts: 12 measured."""

COMPILED = 72 * MIB
"""What compiling the kernels of a step leaves beyond that: 40 to 68 measured.

It is counted in each run, so that the first one on a machine needs no more than it says.
"""

COMPILED_MORE = 32 * MIB
"""The same for each step more: 13 to 26 measured, kernels share much of it."""

SCHEDULER = 32 * MIB
"""What `distributed` adds to the driver, and the process that tracks the workers' resources."""

WORKER = 256 * MIB
"""Each worker process beside it: 232 measured."""

HEAP = 24 * MIB
"""What the heap keeps of freed blocks for the next task: as much again for small ones, 20 to 25 measured."""

FILE = 2
"""One file in the making, its pixels gathered and encoded, as parts of its size."""

LEVEL_FILES = 3
"""One file of a coarser level in the making, or one that it is made of as it is read, in files."""

ROUND = 16 * MIB
"""A process that holds more than usual is counted in whole steps, so that `plan` and `run` agree."""

PER_FILE = 600
"""Bytes that the names, sizes and times of each file of the input take, where they are not a Zarr's."""

PER_PLANE = 450
"""Bytes a plane: its figures, its row in the table of frames and its chunks' names, at the end of a run."""

IN_FLIGHT = 2
"""Windows under way at a time: while one ends, the next keeps the workers busy."""


@dataclass(frozen=True)
class Memory:
    """What a run takes, in bytes.

    Parameters
    ----------
    base : int
        All processes before the first pixel.
    task : int
        One block on its way from file to file.
    tasks : int
        Blocks at a time.
    shared : int
        Blocks of a window that wait for their neighbours.
    levels : int
        Building the coarser levels, which comes after the last block.
    """

    base: int
    task: int
    tasks: int
    shared: int
    levels: int = 0

    @property
    def predicted(self) -> int:
        """The most that all processes hold together."""
        return self.base + max(self.tasks * self.task + self.shared, self.levels)


def base_bytes(
    workers: int,
    processes: bool,
    steps: tuple[Step, ...],
    dtype: np.dtype,
    *,
    held: int = 0,
) -> int:
    """Return what the processes of a run on this machine take before the first pixel.

    Parameters
    ----------
    workers : int
        Blocks at a time.
    processes : bool
        Whether the workers are processes of their own.
    steps : tuple of Step
        The chain.
    dtype : numpy.dtype
        Of the input.
    held : int
        What the driver holds while it plans, where that is known.
    """
    driver = max(DRIVER, -(-(held - DRIVER) // ROUND) * ROUND + DRIVER) + KERNELS + RUNNING
    compiled = compiled_bytes(steps, dtype)
    if not processes:
        return driver + compiled
    # Workers load what the driver has compiled, where it can be kept.
    each = WORKER + (compiled if cache_folder() is None else 0)
    return driver + compiled + SCHEDULER + workers * each


def compiled_bytes(steps: tuple[Step, ...], dtype: np.dtype) -> int:
    """Return what compiling the kernels of a chain leaves in a process."""
    kinds = set()
    for step in steps:
        kinds.add((step.name, dtype))
        dtype = step_dtype(step, dtype)
    return COMPILED + COMPILED_MORE * max(0, len(kinds) - 1)


def padded(block: Mapping[str, int], halo: Mapping[str, int], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Return the shape of a block with its halo on both sides, no larger than the image.

    >>> padded({"y": 64, "x": 90}, {"y": 8, "x": 8}, {"y": 100, "x": 100})
    (80, 100)
    """
    return tuple(min(sizes[axis], px + 2 * halo.get(axis, 0)) for axis, px in block.items())


def chain_bytes(steps: tuple[Step, ...], shape: tuple[int, ...], dtype: np.dtype, axes: str) -> int:
    """Return what the chain takes on a block of `shape`, the block itself included."""
    pixels = math.prod(shape)
    held = pixels * dtype.itemsize
    most = 0
    for index, step in enumerate(steps):
        given = step_dtype(step, dtype)
        # The block read is held to the end of the task; for the first step it is the input too.
        own = 0 if index == 0 else pixels * dtype.itemsize
        if step.channels is not None:
            # What it gives for one channel is put among the others.
            own += pixels // shape[axes.index("c")] * given.itemsize
        most = max(most, own + pixels * given.itemsize + step.working_bytes(shape, dtype, axes))
        dtype = given
    return held + most


def largest(block: Mapping[str, int], halo: Mapping[str, int], sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the largest block of an image: a rest at the end that is shorter than the halo joins it.

    >>> largest({"y": 40, "x": 40}, {"y": 0, "x": 25}, {"y": 100, "x": 100})
    {'y': 40, 'x': 60}
    """
    rests = {axis: sizes[axis] % px for axis, px in block.items()}
    joins = {axis: px < sizes[axis] and rests[axis] < halo.get(axis, 0) for axis, px in block.items()}
    return {axis: px + (rests[axis] if joins[axis] else 0) for axis, px in block.items()}


def task_bytes(
    steps: tuple[Step, ...], image: ImageSpec, writing: Writing, block: Mapping[str, int],
    halo: Mapping[str, int], beside: Callable[[tuple[int, ...]], int],
) -> int:  # fmt: skip
    """Return what one block takes on its way from file to file, the largest there is.

    While it is read, a stored chunk stands beside it. It is held to the end, for the figures of its
    planes, through the chain and while what the chain gave is written.

    Blocks beyond the threshold (32 MiB at most) from which the C library maps memory are given back at
    once; others stay in its heap.

    Parameters
    ----------
    steps : tuple of Step
        The chain.
    image : ImageSpec
        What comes in.
    writing : Writing
        What goes out.
    block, halo : mapping of str to int
        Axis → px.
    beside : callable
        Shape of a region → bytes that reading it takes beside its pixels.
    """
    block = largest(block, halo, image.sizes)
    shape = padded(block, halo, image.sizes)
    pixels, kept = math.prod(shape), math.prod(block.values())
    held = pixels * image.dtype.itemsize
    # Where a plane is cut, its parts are read without the halo that they have in common.
    reading = held + max(beside(shape), beside(tuple(block.values())))
    filtering = chain_bytes(steps, shape, image.dtype, image.axes)
    return with_heap(
        max(reading, filtering, held + writing.bytes(chain_dtype(steps, image.dtype), pixels, kept))
    )


@dataclass(frozen=True)
class Writing:
    """What becomes of a block after the chain.

    Parameters
    ----------
    layout : Layout
        The output on disk.
    offset : float
        Added before the cast.
    mixed : bool
        Whether the background of some channels is another than that of others.
    """

    layout: Layout
    offset: float = 0.0
    mixed: bool = False

    def bytes(self, given: np.dtype, pixels: int, kept: int) -> int:
        """Return what writing what is kept of a block takes, what the chain gave included."""
        layout, second = self.layout, self.layout.background
        dtype = layout.spec.dtype
        alike = given == dtype and not self.offset
        cast = 0 if alike and kept == pixels else kept * dtype.itemsize
        # On the way: an array without gaps for whole numbers, and for floats up to two that may be wider.
        casting = (
            0 if alike else kept * given.itemsize if dtype.kind != "f" else 2 * kept * _widest(given, dtype)
        )
        if second is None:
            return pixels * given.itemsize + cast + max(casting, _file_bytes(layout))
        taken = (2 if self.mixed else 1) * kept * second.spec.dtype.itemsize
        return pixels * given.itemsize + cast + max(casting, _file_bytes(layout), taken + _file_bytes(second))

    def levels(self, workers: int) -> int:
        """Return what building the coarser levels takes, by all workers at a time, file by file."""
        return max((_level_bytes(output, workers) for output in self.layout.outputs), default=0)


def _widest(*dtypes: np.dtype) -> int:
    return max(dtype.itemsize for dtype in dtypes)


def _file_bytes(layout: Layout) -> int:
    """Return what one file in the making takes: its pixels gathered, encoded, and that with its checksum."""
    return (FILE + layout.checksum) * math.prod(layout.unit) * layout.spec.dtype.itemsize


def _level_bytes(layout: Layout, workers: int) -> int:
    """Return what the coarser levels take: what a file is made of, and one file of that as it is read."""
    most = 0
    for finer, level in itertools.pairwise(layout.levels):
        steps = (c // f for c, f in zip(level.factors, finer.factors, strict=True))
        made_of = math.prod(
            min(px * step, size) for px, step, size in zip(level.unit, steps, finer.shape, strict=True)
        )
        file = math.prod(map(min, finer.unit, finer.shape))
        tasks = min(workers, math.prod(level.grid))
        most = max(most, tasks * with_heap((made_of + LEVEL_FILES * file) * layout.spec.dtype.itemsize))
    return most


def with_heap(nbytes: int) -> int:
    """Return the bytes that a task holds or several share, and what the heap keeps of them afterwards."""
    return nbytes + min(nbytes, HEAP)
