"""Chains of resolved steps: what they look at and give, and how they are applied to a block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.dtypes import dtype_range
from pipeline.model.errors import PipelineError, Problem, RequestError
from pipeline.model.finite import check_finite
from pipeline.model.image import ImageSpec
from pipeline.model.tiling import Cut
from pipeline.model.timing import spending
from pipeline.steps.contract import StepContract, step_dtype

if TYPE_CHECKING:
    from pipeline.steps.step import Step

Steps = tuple[StepContract, ...]

BlockId = tuple[int, ...]
"""The number of a block along each axis, as Dask counts."""


def chain_dtype(steps: Steps, dtype: np.dtype) -> np.dtype:
    """Return the dtype after a chain of steps."""
    for step in steps:
        dtype = step_dtype(step, dtype)
    return dtype


def chain_halo(steps: Steps, axes: str) -> dict[str, int]:
    """Return the halo of a chain of resolved steps: their halos summed, axis by axis."""
    halos = [step.halo() for step in steps]
    return {axis: sum(halo.get(axis, 0) for halo in halos) for axis in axes}


def resolve_steps(steps: tuple[Step, ...], image: ImageSpec) -> tuple[Step, ...]:
    """Return the chain bound to an image.

    Raises
    ------
    RequestError
        All mistakes of all steps at once.
    """
    resolved: list[Step] = []
    problems: list[Problem] = []
    for index, step in enumerate(steps):
        try:
            resolved.append(step.resolve(image))
            image = image.with_(dtype=step_dtype(resolved[-1], image.dtype))
        except PipelineError as error:
            problems.extend(error.under(f"steps.{index}").problems)
    if problems:
        raise RequestError(problems)
    return tuple(resolved)


@dataclass(frozen=True)
class BoundChain:
    """Resolved steps and the image they are bound to; made by `bind_chain`."""

    steps: tuple[Step, ...]
    image: ImageSpec

    @cached_property
    def dtype(self) -> np.dtype:
        """Of the last step's result."""
        return chain_dtype(self.steps, self.image.dtype)

    @cached_property
    def halo(self) -> Mapping[str, int]:
        """The halos of all steps summed, axis → px."""
        return chain_halo(self.steps, self.image.axes)

    @cached_property
    def value_range(self) -> tuple[float, float]:
        """The least and the greatest value of the last step's result: whole numbers exactly."""
        low, high = dtype_range(self.image.dtype)
        for step in self.steps:
            least, most = step.value_range(low, high)
            low, high = (least, most) if step.channels is None else (min(low, least), max(high, most))
        return low, high


def bind_chain(steps: tuple[Step, ...], image: ImageSpec) -> BoundChain:
    """Bind a chain to an image.

    Raises
    ------
    RequestError
        All mistakes of all steps at once.
    """
    return BoundChain(resolve_steps(steps, image), image)


def apply_step(step: StepContract, block: NDArray, axes: str, origin: tuple[int, ...]) -> NDArray:
    """Apply a resolved step to a block, to the channels that it is for."""
    if step.channels is None:
        return step.apply(block, axes, origin)
    out = block.astype(step_dtype(step, block.dtype))
    axis = axes.index("c")
    for channel in range(block.shape[axis]):
        if channel + origin[axis] in step.channels:
            plane = (slice(None),) * axis + (slice(channel, channel + 1),)
            out[plane] = step.apply(block[plane], axes, origin)
    return out


@dataclass(frozen=True)
class ApplyChain:
    """Filter one block that carries its halo, and return what is kept of it; the steps are resolved.

    Where NaN is refused, `mend` says what to do about one; default: what one does about a config.
    """

    steps: Steps
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
        stages = self.stages(block, block_id)
        before = after = next(stages)
        for kept in stages:
            after = kept
        return before, after

    def stages(self, block: NDArray, block_id: BlockId) -> Iterator[NDArray]:
        """Yield what is kept of a block, before the chain and after each of its steps."""
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
        yield block[keep]
        for step in self.steps:
            with spending("filter"):
                expected = step_dtype(step, block.dtype)
                block = apply_step(step, block, self.axes, origin)
                assert block.dtype == expected, (step.name, block.dtype, expected)
            yield block[keep]
