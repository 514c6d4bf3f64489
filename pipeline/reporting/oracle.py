"""A block through the steps' own oracles, cast by NumPy, and compared with what a run stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.model.image import Region
from pipeline.steps.background import difference
from pipeline.steps.contract import Background, step_dtype
from pipeline.steps.step import Step

ROUNDING = 1e-6
"""What float32 may add to the steps' own accuracy, as a share of the largest value."""


@dataclass(frozen=True)
class Compared:
    """One block: how far what is stored lies from what was computed again.

    Parameters
    ----------
    region : tuple of slice
        Of the image.
    difference : float
        The largest one.
    allowed : float
        What is promised.
    place : tuple of int
        The pixel with the largest difference.
    stored, expected : float
        Its values.
    skipped : bool
        Whether it was not compared, since a linear filter met a NaN or an infinity.
    """

    region: Region
    difference: float = 0.0
    allowed: float = 0.0
    place: tuple[int, ...] = ()
    stored: float = 0.0
    expected: float = 0.0
    skipped: bool = False

    @property
    def right(self) -> bool:
        """Whether the promise is kept."""
        return self.difference <= self.allowed


def reference_chain(
    steps: tuple[Step, ...], image: NDArray, axes: str, origin: tuple[int, ...]
) -> tuple[NDArray, float]:
    """Return what the steps' oracles make of an image, and how far off a run's result may be.

    A step hands on at most twice the error that it is given: each is a difference of two filters
    that hand on an error as it is.
    """
    error = 0.0
    for step in steps:
        if not _is_for(step, image, axes, origin):
            image = image.astype(np.result_type(step_dtype(step, image.dtype), image.dtype))
            continue
        if step.accuracy:
            low, high = step.seen(float(image.min()), float(image.max()))
            own = step.accuracy * (high - low) + ROUNDING * max(abs(low), abs(high))
        else:
            own = 0.0
        error = 2 * error + own
        image = _on_channels(step, image, axes, origin)
    return image, error


def _is_for(step: Step, image: NDArray, axes: str, origin: tuple[int, ...]) -> bool:
    """Return whether a step is for any channel of a block."""
    if step.channels is None:
        return True
    axis = axes.index("c")
    return any(channel + origin[axis] in step.channels for channel in range(image.shape[axis]))


def _on_channels(step: Step, image: NDArray, axes: str, origin: tuple[int, ...]) -> NDArray:
    if step.channels is None:
        return step.reference(image, axes)
    axis = axes.index("c")
    parts = []
    for channel in range(image.shape[axis]):
        part = image[(slice(None),) * axis + (slice(channel, channel + 1),)]
        chosen = channel + origin[axis] in step.channels
        parts.append(step.reference(part, axes) if chosen else part)
    return np.concatenate(parts, axis).astype(np.result_type(step_dtype(step, image.dtype), *parts))


def cast(
    result: NDArray, dtype: np.dtype, offset: float, *, exact: bool
) -> tuple[NDArray[np.float64], float]:
    """Return what the output ought to hold, as float64, and what rounding may add to the difference.

    Parameters
    ----------
    result : numpy.ndarray
        Of the chain, or a background; whole numbers may be Python's.
    dtype : numpy.dtype
        The output's.
    offset : float
        Added first.
    exact : bool
        Whether the result is known to the bit, so that it can be rounded as the run rounds.
    """
    if exact and result.dtype.kind in "iuO" and dtype.kind in "iu" and float(offset).is_integer():
        # Python's whole numbers, since float64 does not hold all of 64 bits.
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


def taken_off(meant: Background, before: NDArray, again: NDArray) -> NDArray:
    """Return the background of a block and what was computed of it: of integers in Python's whole numbers."""
    if before.dtype.kind in "iu" and again.dtype.kind in "iu":
        wide = before.astype(object), again.astype(object)
        return wide[0] + wide[1] if meant == "input plus result" else wide[0] - wide[1]
    return difference(meant, before.astype(np.float64), again)


def compared_with(region: Region, stored: NDArray, expected: NDArray, allowed: float) -> Compared:
    """Compare a block as stored with what it ought to hold."""
    found = stored.astype(np.float64)
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        differences = np.where(same, 0, np.abs(found - expected))
    # A NaN, or an infinity, where there should be none is as far off as can be.
    differences = np.where(np.isnan(differences), np.inf, differences)
    place = np.unravel_index(int(np.argmax(differences)), differences.shape)
    at = tuple(part.start + int(px) for part, px in zip(region, place, strict=True))
    return Compared(
        region, float(differences[place]), allowed, at, float(found[place]), float(expected[place])
    )
