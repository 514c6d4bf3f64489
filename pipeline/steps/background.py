"""The background that a chain of steps subtracts, as an image of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.dtypes import SUPPORTED
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.steps.chain import BoundChain
from pipeline.steps.contract import Background, StepContract


def chain_background(steps: Iterable[StepContract], channel: int = 0) -> Background | None:
    """Return how the background of one channel is computed from a chain's input and result.

    A step that subtracts a background gives input − background. One that also inverts the image gives
    background − input; a second one turns the image back. None if any step changes more than a background.
    A channel that no step filters has a background of 0, input minus result.

    >>> from pipeline.steps.operators.black_tophat import BlackTophat
    >>> from pipeline.steps.operators.subtract_minimum import SubtractMinimum
    >>> chain_background([SubtractMinimum(size=3), BlackTophat(radius=5)])
    'input plus result'
    """
    kinds = [step.background for step in _steps_for(channel, steps)]
    if None in kinds:
        return None
    return "input plus result" if kinds.count("input plus result") % 2 else "input minus result"


def backgrounds(steps: Sequence[StepContract], image: ImageSpec) -> tuple[Background, ...]:
    """Return `chain_background` of each channel.

    Raises
    ------
    RequestError
        A step changes more than a background.
    """
    kinds = []
    for channel in range(image.sizes.get("c", 1)):
        kind = chain_background(steps, channel)
        if kind is None:
            name = next(step.name for step in _steps_for(channel, steps) if step.background is None)
            raise RequestError(
                f"{name} changes more than a background, so what it takes off is none",
                "leave it out, or take steps alone that subtract one, such as white_tophat",
                "output.background",
            )
        kinds.append(kind)
    return tuple(kinds)


def background_dtype(chain: BoundChain) -> np.dtype:
    """Return the dtype of a chain's background.

    The dtype of the result if that is floating. Else the image's own if it holds every possible background,
    as for a top-hat, whose opening has no values that the image has not; else the smallest integer that
    does: two openings with larger maxima may sum up to more than the image.

    Raises
    ------
    RequestError
        A step changes more than a background, or no integer of 64 bits holds them all.

    Examples
    --------
    >>> from pipeline.steps.chain import bind_chain
    >>> from pipeline.steps.operators.subtract_opening import SubtractOpening
    >>> image = ImageSpec("yx", (9, 9), np.dtype("uint16"))
    >>> step = SubtractOpening(minimum_size=3, maximum_size=5)
    >>> background_dtype(bind_chain((step,), image)), background_dtype(bind_chain((step, step), image))
    (dtype('uint16'), dtype('int32'))
    """
    steps, image = chain.steps, chain.image
    backgrounds(steps, image)
    if chain.dtype.kind == "f":
        return chain.dtype
    ranges = [_range(_steps_for(channel, steps), image.dtype) for channel in range(image.sizes.get("c", 1))]
    low, high = min(least for least, _ in ranges), max(most for _, most in ranges)
    integers = sorted((dtype for dtype in SUPPORTED if dtype.kind in "iu"), key=lambda dtype: dtype.itemsize)
    for dtype in (image.dtype, *integers):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return dtype
    raise RequestError(
        f"a background from {low} to {high} takes more than 64 bits",
        "leave it out, or take an input of 32 bits or fewer",
        "output.background",
    )


def background_pixels(kind: Background | None, before: NDArray, after: NDArray, dtype: np.dtype) -> NDArray:
    """Compute the background of a block in the dtype that `background_dtype` returned.

    >>> image, result = np.array([7, 60000], np.uint16), np.array([-3, 59000], np.int32)
    >>> background_pixels("input minus result", image, result, np.dtype("uint16"))
    array([  10, 1000], dtype=uint16)
    """
    operation = np.add if kind == "input plus result" else np.subtract
    if dtype.kind == "f":
        # The chain's floats hold every pixel of the image, so this rounds once.
        with np.errstate(invalid="ignore", over="ignore"):  # ∞ − ∞
            return operation(before, after, dtype=dtype)
    # Integers wrap round and back again, since the background itself fits.
    return operation(before, after, dtype=dtype, casting="unsafe")


def difference(kind: Background | None, before: NDArray, after: NDArray) -> NDArray:
    """Compute the background from the images before and after, in float32, or float64 above 16 bits.

    For a `kind` of None that is the input minus the result.
    """
    wide = np.float64 if max(before.dtype.itemsize, after.dtype.itemsize) > 2 else np.float32
    return background_pixels(kind, before, after, np.dtype(wide))


def _steps_for(channel: int, steps: Iterable[StepContract]) -> list[StepContract]:
    return [step for step in steps if step.channels is None or channel in step.channels]


def _range(steps: Iterable[StepContract], dtype: np.dtype) -> tuple[float, float]:
    """Return bounds of the background of a chain on integers.

    Two bounds hold, and the narrower counts: the sum of the steps' own backgrounds, each within the values
    of its input, and the difference of the image and the result.
    """
    info = np.iinfo(dtype)
    low, high = int(info.min), int(info.max)
    total: tuple[float, float] = (0, 0)
    values: tuple[float, float] = (low, high)
    sign = 1  # −1 while the image is inverted
    for step in steps:
        own = sorted(sign * value for value in values)
        total = total[0] + own[0], total[1] + own[1]
        if step.background == "input plus result":
            sign = -sign
        values = step.value_range(*values)
    result = sorted(sign * value for value in values)
    return max(total[0], low - result[1]), min(total[1], high - result[0])
