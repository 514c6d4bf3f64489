"""What of an image and its result is the background: what a step says of itself, put together for a chain."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline.step import Background, Step


def chain_background(steps: Iterable[Step], channel: int = 0) -> Background | None:
    """Return what of a chain's input and result is the background, for one channel.

    A step that takes the background off leaves input = background + result. One that turns the
    image over leaves input = background − result, so after it the later backgrounds are taken
    off the first one, and after a second one the image stands as before.

    Parameters
    ----------
    steps : iterable of Step
        Resolved.
    channel : int
        Steps that are not for this channel do not count. An image without channels has channel 0.

    Returns
    -------
    "input minus result", "input plus result" or None
        None where any step changes more than a background (a smoothing). A channel that no step
        is for has a background of 0, which is its input minus its result.

    Examples
    --------
    >>> from pipeline.steps.black_tophat import BlackTophat
    >>> from pipeline.steps.subtract_minimum import SubtractMinimum
    >>> chain_background([SubtractMinimum(size=3), BlackTophat(radius=5)])
    'input plus result'
    """
    meant = [step.background for step in steps if step.channels is None or channel in step.channels]
    if None in meant:
        return None
    return "input plus result" if meant.count("input plus result") % 2 else "input minus result"


def difference(background: Background | None, before: NDArray, after: NDArray) -> NDArray:
    """Return a background as a step or a chain says it lies between two images.

    Parameters
    ----------
    background : str or None
        Of `Step.background` or `chain_background`; None gives what was taken off, background or not.
    before, after : numpy.ndarray
        Of one shape.

    Returns
    -------
    numpy.ndarray
        Of that shape; float32, or float64 where a pixel of either has more than 16 bits.
    """
    wide = np.float64 if max(before.dtype.itemsize, after.dtype.itemsize) > 2 else np.float32
    if background == "input plus result":
        return np.add(before, after, dtype=wide)
    return np.subtract(before, after, dtype=wide)
