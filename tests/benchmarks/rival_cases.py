"""What `rivals.py` compares: each operation by bgone and by its rivals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import rival_filters as by
from kernels import blur
from scipy import ndimage
from skimage import filters, morphology

import pipeline

DTYPES = ("uint16", "uint8", "float32")

Call = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Case:
    """An operation by bgone and by its rivals; exact is what differs by at most `tolerance` × the range."""

    name: str
    ours: Call
    rivals: dict[str, Call]
    reference: Call
    tolerance: float


def only_with_diplib(rivals: dict[str, Call]) -> dict[str, Call]:
    return rivals if by.diplib else {}


def tophat(radius: int) -> Case:
    """White top-hat with a disk; scikit-image has the pixels."""
    disk = morphology.disk(radius)
    step = pipeline.WhiteTophat(radius=radius)
    in_crosses = by.crosses(radius)
    in_squares = morphology.disk(radius, decomposition="sequence")
    return Case(
        f"white top-hat, disk {radius}",
        step,
        {
            "scikit-image": lambda image: morphology.white_tophat(image, disk),
            "scikit-image, crosses": lambda image: morphology.white_tophat(image, in_crosses),
            "scikit-image, sequence": lambda image: morphology.white_tophat(image, in_squares),
            "scipy": lambda image: ndimage.white_tophat(image, footprint=disk),
            "OpenCV": lambda image: cv2.morphologyEx(image, cv2.MORPH_TOPHAT, disk),
            "OpenCV, crosses": lambda image: by.opencv_crosses(image, radius),
            "OpenCV, rectangles": lambda image: by.opencv_rectangles(image, radius),
            **only_with_diplib(
                {
                    "DIPlib, 2r + 0.01": lambda image: by.diplib_tophat(image, 2 * radius + 0.01),
                    "DIPlib, 2r + 1": lambda image: by.diplib_tophat(image, 2 * radius + 1),
                }
            ),
        },
        reference=step,  # the plain scikit-image is compared with it too, on a crop where it is slow
        tolerance=0,
    )


def minimum(side: int) -> Case:
    """Minimum in a square subtracted; scipy has the pixels."""
    square = np.ones((side, side), np.uint8)
    in_lines = morphology.footprint_rectangle((side, side), decomposition="separable")

    def by_scipy(image: np.ndarray) -> np.ndarray:
        return image - ndimage.minimum_filter(image, side)

    return Case(
        f"minimum subtracted, {side} × {side}",
        pipeline.SubtractMinimum(size=side),
        {
            "scikit-image": lambda image: image - morphology.erosion(image, in_lines),
            "scipy": by_scipy,
            "OpenCV": lambda image: image - cv2.erode(image, square),
            **only_with_diplib({"DIPlib": lambda image: image - by.diplib_erosion(image, side)}),
        },
        reference=by_scipy,
        tolerance=0,
    )


def scipy_gaussian(image: np.ndarray, sigma: float, dtype: type = np.float32) -> np.ndarray:
    return ndimage.gaussian_filter(image.astype(dtype), sigma, mode="nearest")


def gaussian(sigma: float) -> Case:
    """Gaussian; scipy in float64 has the pixels."""
    rivals: dict[str, Call] = {
        "scikit-image": lambda image: filters.gaussian(image, sigma, preserve_range=True),
        "scipy": lambda image: scipy_gaussian(image, sigma),
        "OpenCV": lambda image: blur(image.astype(np.float32), sigma),
        "OpenCV, sepFilter2D": lambda image: by.opencv_separable(image, sigma),
        "FFT of scipy": lambda image: by.by_fft(image, sigma),
        "FFT of OpenCV": lambda image: by.by_opencv_dft(image, sigma),
        "OpenCV, shrunk": lambda image: by.opencv_shrunk(image, sigma),
    }
    methods = {
        f"DIPlib, {method}": lambda image, method=method: by.diplib_gaussian(image, sigma, method)
        for method in ("FIR", "IIR", "FT")
    }
    return Case(
        f"Gaussian {sigma:g}",
        pipeline.Gaussian(sigma=sigma),
        {**rivals, **only_with_diplib(methods)},
        reference=lambda image: scipy_gaussian(image, sigma, np.float64),
        tolerance=1e-4,
    )


def dog(low: float, high: float) -> Case:
    """Difference of Gaussians: those of each library, subtracted; by FFT both at once."""

    def subtracted(of: Callable[[np.ndarray, float], np.ndarray]) -> Call:
        return lambda image: of(image, low) - of(image, high)

    def shrunk(image: np.ndarray) -> np.ndarray:
        return blur(image.astype(np.float32), low) - by.opencv_shrunk(image, high)

    rivals: dict[str, Call] = {
        "scikit-image": lambda image: filters.difference_of_gaussians(image.astype(np.float32), low, high),
        "scipy": subtracted(scipy_gaussian),
        "OpenCV": subtracted(lambda image, sigma: blur(image.astype(np.float32), sigma)),
        "OpenCV, sepFilter2D": subtracted(by.opencv_separable),
        "FFT of scipy": lambda image: by.by_fft(image, low, high),
        "FFT of OpenCV": lambda image: by.by_opencv_dft(image, low, high),
        "OpenCV, shrunk": shrunk,
    }
    methods = {
        f"DIPlib, {method}": subtracted(
            lambda image, sigma, method=method: by.diplib_gaussian(image, sigma, method)
        )
        for method in ("FIR", "IIR", "FT")
    }
    return Case(
        f"DoG {low:g}/{high:g}",
        pipeline.DifferenceOfGaussians(low_sigma=low, high_sigma=high),
        {**rivals, **only_with_diplib(methods)},
        reference=subtracted(lambda image, sigma: scipy_gaussian(image, sigma, np.float64)),
        tolerance=1e-4,
    )


def groups() -> dict[str, list[tuple[str, Case]]]:
    """Return the rows of each table: dtype and operation."""
    gaussians = [gaussian(3), gaussian(10), gaussian(100), dog(1, 10), dog(1, 100)]
    return {
        "Top-hats": [(dtype, tophat(radius)) for dtype in DTYPES for radius in (5, 10, 25, 50)],
        "Minima": [(dtype, minimum(side)) for dtype in DTYPES for side in (7, 25, 101)],
        "Gaussians": [
            *(("uint16", case) for case in gaussians),
            *((dtype, case) for dtype in DTYPES[1:] for case in (gaussian(10), dog(1, 100))),
        ],
    }
