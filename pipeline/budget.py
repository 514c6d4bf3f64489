"""How much memory a run takes, worked out before it starts.

predicted = processes before their first pixel
          + tasks at a time × (what one holds at its fullest + what the heap keeps of it)
          + windows in flight × what a window's blocks share (their halos)

Counted as `machine.tree_memory` measures: the resident memory of each process, summed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.image import ImageSpec
from pipeline.machine import MIB
from pipeline.step import Step, step_dtype

DRIVER = 176 * MIB
"""The process that was started, with everything imported and the input opened: 161 to 170 measured."""

KERNELS = 56 * MIB
"""What loading the compiled kernels adds to a process: 51 to 56 measured, most of it LLVM's own code."""

RUNNING = 16 * MIB
"""Threads, journal, graphs and receipts: 12 measured."""

COMPILED = 72 * MIB
"""What compiling the kernels of a step leaves beyond that: 40 to 68 measured."""

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

LEVEL_FILES = 7
"""One file of a coarser level in the making, with the four before it, in files."""

ROUND = 16 * MIB
"""A process that holds more than usual is counted in whole steps, so that `plan` and `run` agree."""

PER_FILE = 600
"""Bytes that the names, sizes and times of each file of the input take, where they are not a Zarr's."""

PER_PLANE = 450
"""Bytes a plane: its figures, its row in the table of frames and its chunks' names, at the end of a run."""

IN_FLIGHT = 2
"""Windows under way at a time: while one ends, the next keeps the workers busy."""

Compiling = Literal["nothing", "once", "everywhere"]
"""Which processes compile: none where the kernels are on disk, the driver, or each where nothing is kept."""


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
    """

    base: int
    task: int
    tasks: int
    shared: int

    @property
    def predicted(self) -> int:
        """The most that all processes hold together."""
        return self.base + self.tasks * self.task + self.shared


def base_bytes(
    workers: int,
    processes: bool,
    steps: tuple[Step, ...],
    dtype: np.dtype,
    *,
    held: int = 0,
    compiling: Compiling = "nothing",
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
    compiling : str
        Which processes compile the kernels.
    """
    driver = max(DRIVER, -(-(held - DRIVER) // ROUND) * ROUND + DRIVER) + KERNELS + RUNNING
    compiled = 0 if compiling == "nothing" else compiled_bytes(steps, dtype)
    if not processes:
        return driver + compiled
    each = WORKER + (compiled if compiling == "everywhere" else 0)
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
    steps: tuple[Step, ...],
    image: ImageSpec,
    output: ImageSpec,
    block: Mapping[str, int],
    halo: Mapping[str, int],
    second: np.dtype | None = None,
) -> int:
    """Return what one block takes on its way from file to file, the largest there is.

    While it is read, a stored chunk stands beside it, encoded and decoded. It is held to the end,
    for the figures of its planes. While it is written, what the chain gave is there, a copy of what is
    kept of it where the dtype changes or a halo is trimmed, the background where it is wanted, and one
    file in the making: its pixels gathered, and encoded.

    Blocks beyond the threshold (32 MiB at most) from which the C library maps memory are given back at
    once; others stay in its heap.
    """
    block = largest(block, halo, image.sizes)
    shape = padded(block, halo, image.sizes)
    pixels, item = math.prod(shape), chain_item(steps, image.dtype)
    held = pixels * image.dtype.itemsize
    stored = math.prod(output.chunks) * output.dtype.itemsize
    reading = held + 2 * math.prod(image.chunks) * image.dtype.itemsize
    filtering = chain_bytes(steps, shape, image.dtype, image.axes)
    kept = math.prod(block.values())
    copied = kept if kept < pixels or item != output.dtype.itemsize else 0
    taken = 0 if second is None else 2 * kept * second.itemsize
    writing = held + pixels * item + copied * output.dtype.itemsize + FILE * stored + taken
    return with_heap(max(reading, filtering, writing))


def level_bytes(output: ImageSpec) -> int:
    """Return what a task takes that builds coarser levels, file by file.

    One file, the four of which it is made, and one of those as it is read.
    """
    return with_heap(LEVEL_FILES * math.prod(output.chunks) * output.dtype.itemsize)


def with_heap(nbytes: int) -> int:
    """Return the bytes that a task holds or several share, and what the heap keeps of them afterwards."""
    return nbytes + min(nbytes, HEAP)


def chain_item(steps: tuple[Step, ...], dtype: np.dtype) -> int:
    """Return the bytes of a pixel after the chain."""
    for step in steps:
        dtype = step_dtype(step, dtype)
    return dtype.itemsize
