"""Chains of steps: binding to an image, and application to blocks."""

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
BlockId = tuple[int, ...]  # the number of a block along each axis, as Dask counts


def chain_dtype(steps: Steps, dtype: np.dtype) -> np.dtype:
    """Return the dtype of the result for an image of `dtype`."""
    for step in steps:
        dtype = step_dtype(step, dtype)
    return dtype


def chain_halo(steps: Steps, axes: str) -> dict[str, int]:
    """Return the halo along each axis, in px: the sum of the halos of all steps (resolved)."""
    halos = [step.halo() for step in steps]
    return {axis: sum(halo.get(axis, 0) for halo in halos) for axis in axes}


def resolve_steps(steps: tuple[Step, ...], image: ImageSpec) -> tuple[Step, ...]:
    """Resolve each step for the image that the steps before it give.

    Raises
    ------
    RequestError
        With the mistakes of all steps.
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
    image: ImageSpec  # the input

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
            # The channels that a step leaves alone keep their values.
            low, high = (least, most) if step.channels is None else (min(low, least), max(high, most))
        return low, high


def bind_chain(steps: tuple[Step, ...], image: ImageSpec) -> BoundChain:
    """Bind a chain to an image; for errors see `resolve_steps`."""
    return BoundChain(resolve_steps(steps, image), image)


def apply_step(step: StepContract, block: NDArray, axes: str, origin: tuple[int, ...]) -> NDArray:
    """Apply a resolved step to its channels of a block; the other channels are copied."""
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
    """A callable that filters a block with its halo, and returns the block without it."""

    steps: Steps  # resolved
    axes: str
    cuts: tuple[Cut, ...]  # one for each axis
    refuse_nan: bool = False
    hint: str = ""  # the hint of the error about a NaN; default: the hint for a config

    def __call__(self, block: NDArray, block_id: BlockId | None = None) -> NDArray:
        """Return the filtered block without its halo."""
        assert block_id is not None
        return self.pixels(block, block_id)[1]

    def pixels(self, block: NDArray, block_id: BlockId) -> tuple[NDArray, NDArray]:
        """Return the block without its halo, before and after the chain."""
        stages = self.stages(block, block_id)
        before = after = next(stages)
        for stage in stages:
            after = stage
        return before, after

    def stages(self, block: NDArray, block_id: BlockId) -> Iterator[NDArray]:
        """Yield the block without its halo, before the chain and after each step."""
        reads = [cut.reads[index] for cut, index in zip(self.cuts, block_id, strict=True)]
        # Dask does not check what a task returns: a block of another shape would shift every pixel.
        assert block.shape == tuple(stop - start for start, stop in reads), (block.shape, reads)
        origin = tuple(start for start, _ in reads)
        if self.refuse_nan:
            check_finite(block, self.axes, origin, self.hint)
        inner = tuple(
            slice(cut.edges[index] - start, cut.edges[index + 1] - start)
            for cut, index, start in zip(self.cuts, block_id, origin, strict=True)
        )
        yield block[inner]
        for step in self.steps:
            with spending("filter"):
                expected = step_dtype(step, block.dtype)
                block = apply_step(step, block, self.axes, origin)
                assert block.dtype == expected, (step.name, block.dtype, expected)
            yield block[inner]
