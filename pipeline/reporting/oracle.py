"""Reference computation of a block by the steps' oracles, and its comparison with stored pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.model.image import Region
from pipeline.steps.background import difference
from pipeline.steps.contract import Background, step_dtype
from pipeline.steps.step import Step

# Error of float32 beside the steps' own accuracy, as a share of the largest value.
ROUNDING = 1e-6


@dataclass(frozen=True)
class BlockComparison:
    """Largest difference between a stored block and its reference."""

    region: Region
    difference: float = 0.0
    allowed: float = 0.0
    pixel: tuple[int, ...] = ()  # where the difference is largest
    stored: float = 0.0
    expected: float = 0.0
    skipped: bool = False  # not compared: a linear filter met a NaN or an infinity

    @property
    def right(self) -> bool:
        """Whether the difference is within what is allowed."""
        return self.difference <= self.allowed


def reference_chain(
    steps: tuple[Step, ...], image: NDArray, axes: str, origin: tuple[int, ...]
) -> tuple[NDArray, float]:
    """Filter an image by the steps' oracles; return it and the error allowed to a run's result."""
    error = 0.0
    for step in steps:
        filtered = [True]
        if step.channels is not None:
            axis = axes.index("c")
            channels = range(origin[axis], origin[axis] + image.shape[axis])
            filtered = [channel in step.channels for channel in channels]
        if any(filtered):
            # A step is at most the difference of two filters, neither of which amplifies an error.
            error = 2 * error + _own_error(step, image)
        if step.channels is None:
            image = step.reference(image, axes)
        else:
            planes = [
                step.reference(plane, axes) if chosen else plane
                for plane, chosen in zip(np.split(image, len(filtered), axis), filtered, strict=True)
            ]
            image = np.concatenate(planes, axis).astype(
                np.result_type(step_dtype(step, image.dtype), *planes)
            )
    return image, error


def _own_error(step: Step, image: NDArray) -> float:
    if step.exact:
        return 0.0
    low, high = step.seen(float(image.min()), float(image.max()))
    return step.accuracy * (high - low) + ROUNDING * max(abs(low), abs(high))


def cast_reference(
    result: NDArray, dtype: np.dtype, offset: float, *, exact: bool
) -> tuple[NDArray[np.float64], float]:
    """Cast a reference to the output's dtype, as float64; return it and the error that rounding may add.

    An `exact` result, known to the bit, is rounded as the run rounds it.
    """
    if exact and result.dtype.kind in "iuO" and dtype.kind in "iu" and float(offset).is_integer():
        # Python integers: float64 does not hold all integers of 64 bits.
        whole, limits = result.astype(object) + int(offset), np.iinfo(dtype)
        return np.clip(whole, int(limits.min), int(limits.max)).astype(np.float64), 0.0
    wide = result.astype(np.float64) + offset
    if dtype.kind == "f":
        most = float(np.finfo(dtype).max)
        clipped = np.where(np.isfinite(wide), np.clip(wide, -most, most), wide)
        if exact and offset == 0:
            return clipped.astype(dtype).astype(np.float64), 0.0
        largest = float(np.max(np.abs(clipped[np.isfinite(clipped)]), initial=abs(offset)))
        return clipped, float(np.finfo(dtype).eps) * largest
    info = np.iinfo(dtype)
    bounded = np.clip(np.nan_to_num(wide, nan=-np.inf, posinf=np.inf, neginf=-np.inf), info.min, info.max)
    return (np.rint(bounded), 0.0) if exact else (bounded, 0.5)


def reference_background(background: Background, before: NDArray, result: NDArray) -> NDArray:
    """Return the reference background of a block; integers as Python's, which cannot overflow."""
    if before.dtype.kind in "iu" and result.dtype.kind in "iu":
        whole = before.astype(object)
        return whole + result if background == "input plus result" else whole - result
    return difference(background, before.astype(np.float64), result)


def compared_with(region: Region, stored: NDArray, expected: NDArray, allowed: float) -> BlockComparison:
    """Compare a stored block with its reference."""
    stored = stored.astype(np.float64)
    same = (stored == expected) | (np.isnan(stored) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        differences = np.where(same, 0, np.abs(stored - expected))
    # A NaN or infinity on one side only counts as an infinite difference.
    differences = np.where(np.isnan(differences), np.inf, differences)
    worst = np.unravel_index(int(np.argmax(differences)), differences.shape)
    pixel = tuple(span.start + int(px) for span, px in zip(region, worst, strict=True))
    return BlockComparison(
        region, float(differences[worst]), allowed, pixel, float(stored[worst]), float(expected[worst])
    )
