"""A chain of steps on one block that carries its halo: filter, and trim to what is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from pipeline.model.finite import check_finite
from pipeline.model.tiling import Cut
from pipeline.model.timing import spending
from pipeline.steps.step import Step, apply_step, step_dtype

if TYPE_CHECKING:
    pass

BlockId = tuple[int, ...]
"""The number of a block along each axis, as Dask counts."""


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
        Whether a NaN or an infinity in the block stops the run.
    mend : str
        What to do about one; default: what one does about a config.
    """

    steps: tuple[Step, ...]
    axes: str
    cuts: tuple[Cut, ...]
    refuse_nan: bool = False
    mend: str = ""

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
        if self.refuse_nan:
            check_finite(block, self.axes, origin, self.mend)
        keep = tuple(
            slice(cut.edges[index] - start, cut.edges[index + 1] - start)
            for cut, index, start in zip(self.cuts, block_id, origin, strict=True)
        )
        before = block[keep]
        with spending("filter"):
            for step in self.steps:
                expected = step_dtype(step, block.dtype)
                block = apply_step(step, block, self.axes, origin)
                assert block.dtype == expected, (step.name, block.dtype, expected)
        return before, block[keep]
