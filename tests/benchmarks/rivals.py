"""Time bgone's filters against the best that other libraries offer, and compare the pixels.

    pip install '.[bench]'
    python tests/benchmarks/rivals.py            # about 8 minutes; for the README: python docs/make.py rivals

One thread, processor time, the minimum of several calls; bgone and its rivals take turns in one process, so
that other load slows all of them alike. A rival is exact if its pixels are those of scikit-image (top-hats,
minima) or within 1e-4 of the range of the image of scipy's Gaussian in float64, which is what bgone promises.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version

import cv2
import numpy as np
import rival_filters as by
from kernels import blur, make_image, processor
from scipy import ndimage
from skimage import filters, morphology

import pipeline

SIDE, RADII = 2048, range(1, 61)
DTYPES = ("uint16", "uint8", "float32")

# Rows of the short table.
SHORT = (
    *itertools.product([f"white top-hat, disk {radius}" for radius in (5, 10, 25, 50)], ["uint16"]),
    *itertools.product(["white top-hat, disk 25"], ["uint8", "float32"]),
    *itertools.product(["minimum subtracted, 25 × 25", "Gaussian 10", "DoG 1/100"], ["uint16"]),
)

# Seconds of one call on the whole frame above which a rival is timed on a crop.
MAX_SECONDS = 4.0
CROP, PROBE = 640, 320

Call = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Case:
    """An operation by bgone and its rivals; `reference` has the pixels, to within `tolerance` × the range."""

    name: str
    ours: Call
    rivals: dict[str, Call]
    reference: Call
    tolerance: float


@dataclass(frozen=True)
class Result:
    """What one filter takes on the frame, and how far its pixels are from the reference."""

    seconds: float
    scaled: bool
    difference: float
    exact: bool

    def cell(self, ours: Result, linear: bool) -> str:
        """Return the multiple of our time, with the difference where it says something."""
        text = f"{'~' * self.scaled}{self.seconds / ours.seconds:.3g} ×"
        if not self.exact:
            return f"{text}, ≠ {self.difference:.2g}"
        return f"{text}, {self.difference:.0e}" if linear else text


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


def seconds_of(call: Call, image: np.ndarray) -> float:
    """Return the processor time of a call."""
    start = time.process_time()
    call(image)
    return time.process_time() - start


def input_for(call: Call, image: np.ndarray) -> np.ndarray:
    """Return the frame, or a crop of it if the call would take too long."""
    probe = np.ascontiguousarray(image[:PROBE, :PROBE])
    if seconds_of(call, probe) * image.size / probe.size <= MAX_SECONDS:
        return image
    return np.ascontiguousarray(image[:CROP, :CROP])


def compare(call: Call, case: Case, image: np.ndarray) -> tuple[float, bool]:
    """Return the largest difference from the reference, and whether that is exact."""
    difference = np.abs(call(image).astype(np.float64) - case.reference(image)).max()
    if case.tolerance:
        difference /= np.ptp(image.astype(np.float64))
    return float(difference), bool(difference <= case.tolerance)


def measure(case: Case, image: np.ndarray, rounds: int) -> dict[str, Result]:
    """Return the results of bgone and of each rival."""
    calls = {"bgone": case.ours, **case.rivals}
    case.ours(image[:PROBE, :PROBE])  # compile before the clock starts
    inputs = {name: input_for(call, image) for name, call in calls.items()}
    pixels = {name: compare(call, case, inputs[name]) for name, call in calls.items()}
    best = dict.fromkeys(calls, np.inf)
    for number, (name, call) in itertools.product(range(rounds), calls.items()):
        # One round is enough for calls of seconds, whose relative noise is small.
        if number == 0 or best[name] < 1:
            seconds = seconds_of(call, inputs[name]) * image.size / inputs[name].size
            best[name] = min(best[name], seconds)
    return {name: Result(best[name], inputs[name].size < image.size, *pixels[name]) for name in calls}


def fastest_exact(results: dict[str, Result]) -> str:
    """Return the rival that takes the least time of those that are exact."""
    exact = [name for name, result in results.items() if result.exact and name != "bgone"]
    return min(exact, key=lambda name: results[name].seconds)


Row = tuple[Case, str, dict[str, Result]]


def table(rows: list[Row], names: Iterable[str]) -> str:
    """Return a table of rows with the fastest exact rival and the rivals of these names."""
    names = list(names)
    head = ["operation", "dtype", "bgone", "fastest exact rival", "", *names]
    lines = [f"| {' | '.join(head)} |", f"| --- | --- | ---: | --- | ---: |{' ---: |' * len(names)}"]
    for case, dtype, results in rows:
        ours, best = results["bgone"], fastest_exact(results)
        linear = case.tolerance > 0
        cells = [results[name].cell(ours, linear) if name in results else "" for name in names]
        first = [f"{1000 * ours.seconds:.3g} ms", best, f"**{results[best].seconds / ours.seconds:.2g} ×**"]
        wrong = "" if ours.exact else f" (not exact: {ours.difference:.2g})"
        lines.append(f"| {case.name}{wrong} | {dtype} | {' | '.join([*first, *cells])} |")
    return "\n".join(lines)


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers as text: 1–3, 5."""
    groups = itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    runs = [[number for _, number in group] for _, group in groups]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs) or "none"


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


def main() -> None:
    """Print the short table, then all rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    images = {dtype: make_image((SIDE, SIDE), dtype) for dtype in DTYPES}
    rows: dict[str, list[Row]] = {}
    for group, members in groups().items():
        for dtype, case in members:
            print(case.name, dtype, file=sys.stderr, flush=True)
            rows.setdefault(group, []).append((case, dtype, measure(case, images[dtype], options.rounds)))
    libraries = ["scikit-image", "scipy", "opencv-python-headless", *(["diplib"] if by.diplib else [])]
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    print(f"{processor()}, one thread, {date.today()}: {versions}")
    print("" if by.diplib else "DIPlib is not installed.\n")
    short = [row for members in rows.values() for row in members if (row[0].name, row[1]) in SHORT]
    print(table(short, ["OpenCV", "scikit-image"]))
    print("\n### All rivals")
    for kind in ("crosses", "sequence"):
        same = by.same_radii(kind, RADII)
        disk = f'disk(r, decomposition="{kind}")'
        print(f"\n`{disk}` equals `disk(r)`, of r = {ranges(RADII)}, at: {ranges(same)}.")
    for group, members in rows.items():
        names = dict.fromkeys(name for _, _, results in members for name in results if name != "bgone")
        print(f"\n{group}\n\n{table(members, names)}")


if __name__ == "__main__":
    main()
