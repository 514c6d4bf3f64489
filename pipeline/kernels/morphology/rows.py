"""What both kinds of morphology do to one row of scratch."""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.jit import jit
from pipeline.kernels.morphology.vectors import BLOCK, complement, read_row


@jit
def blocks_of(array: NDArray, count: int) -> int:
    """Return how many blocks hold `count` elements."""
    return (count * array.itemsize + BLOCK - 1) // BLOCK


@jit
def fill(array: NDArray, start: int, stop: int, value: np.generic) -> None:
    """Set the elements start … stop − 1."""
    part = array[start:stop]
    for i in range(part.size):
        part[i] = value


@jit
def take(
    array: NDArray, at: int, address: int, step: int, count: int, flip: bool, biggest: np.generic
) -> None:
    """Read pixels to `array[at:]`, complemented where `flip`; NaN counts as if it lay outside.

    The rest of the last block is overwritten.
    """
    read_row(array, at, address, step, count)
    if flip:
        complement(array, at, blocks_of(array, count))
    pixels = array[at : at + count]
    for i in range(pixels.size):
        pixels[i] = pixels[i] if pixels[i] == pixels[i] else biggest


@jit
def subtract(result: NDArray, image: NDArray, minus: int) -> None:
    """Make a result the image minus it where `minus` is 1, or it minus the image where that is 2."""
    if minus == 1:
        for i in range(result.size):
            result[i] = image[i] - result[i]
    elif minus == 2:
        for i in range(result.size):
            result[i] = result[i] - image[i]
