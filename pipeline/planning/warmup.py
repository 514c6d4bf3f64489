"""Compiling, or loading, the kernels that a run needs before its first block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.kernels.cast import cast
from pipeline.kernels.halve import halve
from pipeline.model.image import ImageSpec
from pipeline.steps.chain import apply_step
from pipeline.steps.step import Step

SIDE = 8
"""Pixels of a block that takes the same ways through the kernels as any."""


@dataclass(frozen=True)
class WarmUp:
    """Compiles the kernels of a chain, or loads them where a cache has them; picklable.

    Parameters
    ----------
    steps : tuple of Step
        Resolved.
    image : ImageSpec
        The input.
    dtype : numpy.dtype, optional
        Of the output; default: what the chain gives.
    offset : float
        Added before the cast to it.
    coarser : tuple of numpy.dtype
        Of the outputs of which coarser levels follow.
    """

    steps: tuple[Step, ...]
    image: ImageSpec
    dtype: np.dtype | None = None
    offset: float = 0
    coarser: tuple[np.dtype, ...] = ()

    def __call__(self) -> None:
        """Do so, on a few pixels of nothing."""
        block = np.zeros(tuple(min(size, SIDE) for size in self.image.shape), self.image.dtype)
        for step in self.steps:
            block = apply_step(step, block, self.image.axes, (0,) * block.ndim)
        if self.dtype is not None:
            cast(block, self.dtype, self.offset)
        for dtype in self.coarser:
            if dtype.itemsize <= 4 or dtype.kind == "f":
                halve(np.zeros((1, SIDE, SIDE), dtype))
