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

DRIVER = 280 * MIB
"""The process that was started, with everything imported and kernels compiled."""

WORKER = 240 * MIB
"""Each worker process beside it, likewise."""

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


def base_bytes(workers: int, processes: bool) -> int:
    """Return what the processes of a run on this machine take before the first pixel."""
    return DRIVER + (WORKER * workers if processes else 0)


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

    While it is read, the largest stored chunk that it touches stands beside it decoded and encoded; while
    it is written, its kept part does, in the output's dtype, and one encoded chunk.
    """
    shape = padded(block, halo, image.sizes)
    chunk = 2 * math.prod(image.chunks) * image.dtype.itemsize
    reading = math.prod(shape) * image.dtype.itemsize + chunk
    filtering = chain_bytes(steps, shape, image.dtype, image.axes)
    last = math.prod(shape) * chain_item(steps, image.dtype)
    kept = math.prod(block.values()) * output.dtype.itemsize
    writing = (
        math.prod(shape) * image.dtype.itemsize
        + last
        + 2 * kept
        + math.prod(output.chunks) * output.dtype.itemsize
    )
    return max(reading, filtering, writing)


def chain_item(steps: tuple[Step, ...], dtype: np.dtype) -> int:
    """Return the bytes of a pixel after the chain."""
    for step in steps:
        dtype = step_dtype(step, dtype)
    return dtype.itemsize
