"""The filters of other libraries, each called in the fastest way that we know.

`rivals.py` times them on a frame, `scripts.py` runs them from file to file.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable

import cv2
import numpy as np
from kernels import blur
from scipy import fft
from skimage import morphology

try:
    # Optional: it has no wheels for some platforms.
    diplib = importlib.import_module("diplib")
    diplib.SetNumberOfThreads(1)
except ImportError:
    diplib = None

# scipy's default: a Gaussian ends here.
TRUNCATE = 4.0


@functools.cache
def crosses(radius: int) -> tuple[tuple[np.ndarray, int], ...]:
    """Return scikit-image's series of crosses for a disk: footprints, and how often to apply each."""
    return morphology.disk(radius, decomposition="crosses")


def opencv_crosses(image: np.ndarray, radius: int) -> np.ndarray:
    """White top-hat by OpenCV, with the small crosses that scikit-image finds for the disk."""
    opened = image
    for footprint, count in crosses(radius):
        opened = cv2.erode(opened, footprint, iterations=count)
    for footprint, count in crosses(radius):
        opened = cv2.dilate(opened, footprint, iterations=count)
    return cv2.subtract(image, opened)


@functools.cache
def rectangles(radius: int) -> tuple[np.ndarray, ...]:
    """Return rectangles whose union is the disk: a box of an even speed at any size, exact at any radius."""
    half = (morphology.disk(radius)[radius:].sum(axis=1) - 1) // 2
    rows = [row for row in range(radius + 1) if row == radius or half[row + 1] < half[row]]
    return tuple(np.ones((2 * row + 1, 2 * half[row] + 1), np.uint8) for row in rows)


def opencv_rectangles(image: np.ndarray, radius: int) -> np.ndarray:
    """White top-hat by OpenCV: the minimum of erosions with rectangles, then likewise the maximum."""
    parts = (cv2.erode(image, box) for box in rectangles(radius))
    eroded = functools.reduce(lambda one, other: cv2.min(one, other, dst=one), parts)
    parts = (cv2.dilate(eroded, box) for box in rectangles(radius))
    return cv2.subtract(image, functools.reduce(lambda one, other: cv2.max(one, other, dst=one), parts))


def diplib_tophat(image: np.ndarray, diameter: float) -> np.ndarray:
    """White top-hat by DIPlib, whose ellipse has all pixels nearer than half the diameter."""
    element = diplib.SE(diameter, "elliptic")
    return np.asarray(diplib.Tophat(diplib.Image(image), element, "texture", "white", ["mirror"]))


def diplib_erosion(image: np.ndarray, side: int) -> np.ndarray:
    """Minimum in a square by DIPlib."""
    element = diplib.SE(float(side), "rectangular")
    return np.asarray(diplib.Erosion(diplib.Image(image), element, ["mirror"]))


def diplib_gaussian(image: np.ndarray, sigma: float, method: str) -> np.ndarray:
    """Gaussian by DIPlib: `FIR`, `IIR` or `FT`."""
    edges = ["zero order"]  # repeats the outermost pixel
    return np.asarray(diplib.Gauss(diplib.Image(image), [sigma], [0], method, edges, TRUNCATE))


def taps(sigma: float) -> np.ndarray:
    """Return the weights of scipy's Gaussian along a line."""
    radius = int(TRUNCATE * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return weights / weights.sum()


def opencv_separable(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian by OpenCV's general separable filter."""
    line, wide = taps(sigma).astype(np.float32), image.astype(np.float32)
    return cv2.sepFilter2D(wide, cv2.CV_32F, line, line, borderType=cv2.BORDER_REPLICATE)


def opencv_shrunk(image: np.ndarray, sigma: float, factor: int = 8) -> np.ndarray:
    """Gaussian of the image shrunk by OpenCV, enlarged again: quick, and not exact."""
    small = cv2.resize(
        image.astype(np.float32), None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA
    )
    # The means over squares have blurred it a little already.
    rest = (sigma**2 - (factor**2 - 1) / 12) ** 0.5 / factor
    return cv2.resize(blur(small, rest), image.shape[::-1], interpolation=cv2.INTER_CUBIC)


def _line(shape: int, sigma: float) -> np.ndarray:
    weights = taps(sigma)
    line = np.zeros(shape)
    line[: weights.size] = weights
    return np.roll(line, -(weights.size // 2))


def _padding(shape: Iterable[int], sigmas: Iterable[float]) -> tuple[int, list[int]]:
    pad = int(TRUNCATE * max(sigmas) + 0.5)
    return pad, [fft.next_fast_len(side + 2 * pad, real=True) for side in shape]


@functools.cache
def transfer(padded: tuple[int, int], sigmas: tuple[float, ...]) -> np.ndarray:
    """Return the spectrum of the first Gaussian less the others; real, because they are symmetric."""
    parts = [
        np.outer(fft.fft(_line(padded[0], sigma)).real, fft.rfft(_line(padded[1], sigma)).real)
        for sigma in sigmas
    ]
    return (parts[0] - sum(parts[1:])).astype(np.float32)


def by_fft(image: np.ndarray, *sigmas: float) -> np.ndarray:
    """Gaussian, or the first less the second, by scipy's FFT of the image with its edges repeated."""
    pad, padded = _padding(image.shape, sigmas)
    wide = np.pad(image.astype(np.float32), pad, mode="edge")
    spectrum = fft.rfft2(wide, padded)
    spectrum *= transfer(tuple(padded), sigmas)
    return fft.irfft2(spectrum, padded)[pad : pad + image.shape[0], pad : pad + image.shape[1]]


@functools.cache
def packed_transfer(padded: tuple[int, int], sigmas: tuple[float, ...]) -> np.ndarray:
    """Return the same spectrum in the order in which OpenCV packs it."""
    parts = [np.outer(_line(padded[0], sigma), _line(padded[1], sigma)) for sigma in sigmas]
    return cv2.dft((parts[0] - sum(parts[1:])).astype(np.float32))


def by_opencv_dft(image: np.ndarray, *sigmas: float) -> np.ndarray:
    """Gaussian, or the first less the second, by OpenCV's Fourier transform."""
    pad, padded = _padding(image.shape, sigmas)
    # Zeros come after the repeated edge: what wraps around falls on the padding.
    wide = cv2.copyMakeBorder(image.astype(np.float32), pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    rest = [length - side for length, side in zip(padded, wide.shape, strict=True)]
    wide = cv2.copyMakeBorder(wide, 0, rest[0], 0, rest[1], cv2.BORDER_CONSTANT)
    spectrum = cv2.mulSpectrums(cv2.dft(wide), packed_transfer(tuple(padded), sigmas), 0)
    filtered = cv2.dft(spectrum, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT)
    return filtered[pad : pad + image.shape[0], pad : pad + image.shape[1]]


def same_radii(decomposition: str, radii: Iterable[int]) -> list[int]:
    """Return the radii whose footprints, applied to a point one after the other, draw exactly the disk."""
    found = []
    for radius in radii:
        drawn = np.zeros((2 * radius + 5, 2 * radius + 5), np.uint8)
        drawn[radius + 2, radius + 2] = 1
        for footprint, count in morphology.disk(radius, decomposition=decomposition):
            drawn = cv2.dilate(drawn, footprint, iterations=count)
        if np.array_equal(drawn, np.pad(morphology.disk(radius), 2)):
            found.append(radius)
    return found
