"""Compiles or loads the kernels of a run before its first block."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.kernels.cast import cast
from pipeline.kernels.halve import halve
from pipeline.kernels.jit import cache_folder
from pipeline.model.image import ImageSpec
from pipeline.steps.chain import apply_step
from pipeline.steps.step import Step

# Pixels along each axis of a block that runs through the same kernels as a large one.
SIDE = 8


@dataclass(frozen=True)
class WarmUp:
    """Compiles the kernels of a chain, or loads them from the cache; picklable."""

    steps: tuple[Step, ...]  # resolved
    image: ImageSpec
    dtype: np.dtype  # of the output
    offset: float  # added before the cast to it
    coarser: tuple[np.dtype, ...]  # of the outputs with coarser levels

    def __call__(self) -> None:
        """Run the kernels on a tiny block of zeros."""
        block = np.zeros(tuple(min(size, SIDE) for size in self.image.shape), self.image.dtype)
        for step in self.steps:
            block = apply_step(step, block, self.image.axes, (0,) * block.ndim)
        cast(block, self.dtype, self.offset)
        for dtype in self.coarser:
            halve(np.zeros((1, SIDE, SIDE), dtype))
        if (note := self._note) is not None:
            with contextlib.suppress(OSError):
                note.touch()

    @property
    def is_compiled(self) -> bool:
        """Whether the cache has the kernels, so that they are loaded only."""
        return self._note is not None and os.path.exists(self._note)

    @property
    def _note(self) -> Path | None:
        """File beside the compiled code that says that all of this chain is there."""
        # numba would have to be imported to look for the code itself.
        dtypes = [str(dtype) for dtype in (self.image.dtype, self.dtype, *self.coarser)]
        text = f"{self.steps} {self.image.axes} {dtypes} {self.offset}"
        folder = cache_folder()
        return None if folder is None else folder / f"chain-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
