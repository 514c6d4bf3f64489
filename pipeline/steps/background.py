"""The background that a chain takes off, put together from what each step says of its own."""

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
    """Return what of a chain's input and result is the background, for one channel.

    A step that takes the background off leaves input = background + result. One that turns the
    image over leaves input = background − result, so after it the later backgrounds are taken
    off the first one, and after a second one the image stands as before.

    None where any step changes more than a background (a smoothing). A channel that no step is for
    has a background of 0, which is its input minus its result; an image without channels has channel 0.

    >>> from pipeline.steps.operators.black_tophat import BlackTophat
    >>> from pipeline.steps.operators.subtract_minimum import SubtractMinimum
    >>> chain_background([SubtractMinimum(size=3), BlackTophat(radius=5)])
    'input plus result'
    """
    kinds = [step.background for step in _steps_for(channel, steps)]
    if None in kinds:
        return None
    return "input plus result" if kinds.count("input plus result") % 2 else "input minus result"


def difference(kind: Background | None, before: NDArray, after: NDArray) -> NDArray:
    """Return a background as a step or a chain says it lies between two images of one shape.

    Of a kind of None, what was taken off, background or not. In float32, or in float64 where a pixel of
    either image has more than 16 bits.
    """
    wide = np.float64 if max(before.dtype.itemsize, after.dtype.itemsize) > 2 else np.float32
    return background_pixels(kind, before, after, np.dtype(wide))


def backgrounds(steps: Sequence[StepContract], image: ImageSpec) -> tuple[Background, ...]:
    """Return what of an image and its result is the background, for each channel.

    Raises
    ------
    RequestError
        A step changes more than a background, so that nothing of the two is one.
    """
    kinds = []
    for channel in range(image.sizes.get("c", 1)):
        kind = chain_background(steps, channel)
        if kind is None:
            more = next(step.name for step in _steps_for(channel, steps) if step.background is None)
            raise RequestError(
                f"{more} changes more than a background, so what it takes off is none",
                "leave it out, or take steps alone that subtract one, such as white_tophat",
                "output.background",
            )
        kinds.append(kind)
    return tuple(kinds)


def background_dtype(chain: BoundChain) -> np.dtype:
    """Return the dtype of a chain's background.

    Floats where the chain gives floats, in its type. Else the image's own where that holds every
    background there can be, as for a top-hat: its opening has no values that the image has not. Else
    the smallest type that does: two openings with larger maxima may sum up to more than the image.

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
        "leave it out, or take an input of 32 bits or fewer", "output.background",
    )  # fmt: skip


def _steps_for(channel: int, steps: Iterable[StepContract]) -> list[StepContract]:
    return [step for step in steps if step.channels is None or channel in step.channels]


def _range(steps: Iterable[StepContract], dtype: np.dtype) -> tuple[float, float]:
    """Return between which values the background of a chain on integers can lie.

    It is the sum of the steps' own backgrounds, each within the values of what its step is given, as
    well as what lies between the image and the result; both bounds hold.
    """
    info = np.iinfo(dtype)
    low, high = int(info.min), int(info.max)
    summed: tuple[float, float] = (0, 0)
    values: tuple[float, float] = (low, high)
    turned = 1
    for step in steps:
        own = sorted(turned * value for value in values)
        summed = summed[0] + own[0], summed[1] + own[1]
        if step.background == "input plus result":
            turned = -turned
        values = step.value_range(*values)
    result = sorted(turned * value for value in values)
    return max(summed[0], low - result[1]), min(summed[1], high - result[0])


def background_pixels(kind: Background | None, before: NDArray, after: NDArray, dtype: np.dtype) -> NDArray:
    """Return the background of a block in the dtype that `background_dtype` chose.

    >>> image, result = np.array([7, 60000], np.uint16), np.array([-3, 59000], np.int32)
    >>> background_pixels("input minus result", image, result, np.dtype("uint16"))
    array([  10, 1000], dtype=uint16)
    """
    count = np.add if kind == "input plus result" else np.subtract
    if dtype.kind == "f":
        # The chain's floats hold every pixel of the image, so this rounds once.
        with np.errstate(invalid="ignore", over="ignore"):  # ∞ − ∞
            return count(before, after, dtype=dtype)
    # Integers wrap round on the way and back again, since the background itself fits.
    return count(before, after, dtype=dtype, casting="unsafe")
