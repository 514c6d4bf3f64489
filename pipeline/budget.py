"""How much memory a run takes, worked out before it starts.

predicted = base of each process
          + tasks at a time × (block read + its way through the chain + block written)
          + windows in flight × what a window's blocks share (their halos)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.image import ImageSpec
from pipeline.machine import MIB
from pipeline.step import Step, step_dtype

DRIVER = 275 * MIB
"""The process that was started, with everything imported: 240 measured, and some for other machines."""

COMPILED = 35 * MIB
"""What compiling the kernels of a step leaves in that process, where no cache has them: 30 to 48 measured."""

COMPILED_MORE = 12 * MIB
"""The same for steps after the second: kernels share most of it."""

WORKER = 145 * MIB
"""Each worker process beside it, without the libraries that it shares with the first: 135 measured."""

HEAP = 24 * MIB
"""What the heap keeps of freed blocks for the next task: as much again for small ones, 20 to 25 measured."""

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
    """

    base: int
    task: int
    tasks: int
    shared: int

    @property
    def predicted(self) -> int:
        """The most that all processes hold together."""
        return self.base + self.tasks * self.task + self.shared


def base_bytes(workers: int, processes: bool, steps: int) -> int:
    """Return what the processes of a run on this machine take before the first pixel."""
    compiled = COMPILED * min(steps, 2) + COMPILED_MORE * max(0, steps - 2)
    return DRIVER + compiled + (WORKER * workers if processes else 0)


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


def task_bytes(
    steps: tuple[Step, ...],
    image: ImageSpec,
    output: ImageSpec,
    block: Mapping[str, int],
    halo: Mapping[str, int],
) -> int:
    """Return what one block takes on its way from file to file.

    While it is read, a stored chunk stands beside it, encoded and decoded. While it is filtered, it is held
    to the end. While it is written it has gone: what the chain gave is there, a copy of what is kept of it
    where the dtype changes or a halo is trimmed, and one file in the making. Blocks beyond the threshold
    (32 MiB at most) from which the C library maps memory are given back at once; others stay in its heap.
    """
    shape = padded(block, halo, image.sizes)
    pixels, item = math.prod(shape), chain_item(steps, image.dtype)
    reading = pixels * image.dtype.itemsize + 2 * math.prod(image.chunks) * image.dtype.itemsize
    filtering = chain_bytes(steps, shape, image.dtype, image.axes)
    kept = math.prod(block.values())
    copied = kept if kept < pixels or item != output.dtype.itemsize else 0
    writing = pixels * item + (copied + 2 * math.prod(output.chunks)) * output.dtype.itemsize
    live = max(reading, filtering, writing)
    return live + min(live, HEAP)


def chain_item(steps: tuple[Step, ...], dtype: np.dtype) -> int:
    """Return the bytes of a pixel after the chain."""
    for step in steps:
        dtype = step_dtype(step, dtype)
    return dtype.itemsize
