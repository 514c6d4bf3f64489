"""Time the kernels against scikit-image, scipy, OpenCV and dask-image on one thread.

    pip install '.[bench]'
    python tests/benchmarks/kernels.py            # the whole table: about half an hour
    python tests/benchmarks/kernels.py --quick    # the targets only: a few minutes
    python tests/benchmarks/kernels.py --flat     # flat morphology on frames against OpenCV: a few minutes

Each figure is the least processor time of several calls. bgone and the peers take turns in one process, so
that other load slows all of them alike; only the ratios matter. A peer that would take minutes is timed on a
crop and scaled by the number of pixels, marked `~`.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import cv2
import numpy as np
from scipy import ndimage
from skimage import filters, morphology

import pipeline

cv2.setNumThreads(1)

PEERS = ("scikit-image", "scipy", "OpenCV", "OpenCV, own dtype", "dask-image")

# Seconds that one call of a peer may take before it is timed on a crop.
MAX_SECONDS = 2.0

Call = Callable[[np.ndarray], object]


@dataclass(frozen=True)
class Case:
    """One operation, by bgone and by its peers."""

    name: str
    ours: Call
    peers: dict[str, Call]


def kernel(radius: int) -> np.ndarray:
    return morphology.disk(radius)


def tophat(radius: int) -> Case:
    """White top-hat with a disk."""
    step = pipeline.WhiteTophat(radius=radius)
    return Case(
        f"white_tophat disk {radius}",
        step,
        {
            "scikit-image": lambda image: morphology.white_tophat(image, kernel(radius)),
            "scipy": lambda image: ndimage.white_tophat(image, footprint=kernel(radius)),
            "OpenCV": lambda image: cv2.morphologyEx(image, cv2.MORPH_TOPHAT, kernel(radius)),
        },
    )


def minimum(size: int) -> Case:
    """Minimum filter subtracted."""
    return Case(
        f"subtract_minimum {size}",
        pipeline.SubtractMinimum(size=size),
        {
            "scipy": lambda image: image - ndimage.minimum_filter(image, size),
            "OpenCV": lambda image: cv2.subtract(image, cv2.erode(image, square(size))),
        },
    )


def square(size: int) -> np.ndarray:
    return np.ones((size, size), np.uint8)


def opening(minimum_size: int, maximum_size: int) -> Case:
    """Maximum of a minimum filter subtracted; with a larger maximum the result is signed."""

    def by_opencv(image: np.ndarray) -> np.ndarray:
        background = cv2.dilate(cv2.erode(image, square(minimum_size)), square(maximum_size))
        if maximum_size <= minimum_size or image.dtype == np.float32:
            return cv2.subtract(image, background)
        return cv2.subtract(image, background, dtype=cv2.CV_16S if image.itemsize == 1 else cv2.CV_32S)

    step = pipeline.SubtractOpening(minimum_size=minimum_size, maximum_size=maximum_size)
    return Case(f"subtract_opening {minimum_size}/{maximum_size}", step, {"OpenCV": by_opencv})


def box_tophat(size: int) -> Case:
    """White top-hat with a box."""
    case = opening(size, size)
    return Case(f"white_tophat box {size}", pipeline.WhiteTophat(size=size), case.peers)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """OpenCV's Gaussian, cut where scipy cuts."""
    side = 2 * int(4 * sigma + 0.5) + 1
    return cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)


def gaussian(sigma: float) -> Case:
    """Gaussian."""
    return Case(
        f"gaussian {sigma:g}",
        pipeline.Gaussian(sigma=sigma),
        {
            "scikit-image": lambda image: filters.gaussian(image, sigma, preserve_range=True),
            "scipy": lambda image: ndimage.gaussian_filter(image, sigma, output=np.float32, mode="nearest"),
            "OpenCV": lambda image: blur(image.astype(np.float32), sigma),
            "OpenCV, own dtype": lambda image: blur(image, sigma),
        },
    )


def dog(low: float, high: float) -> Case:
    """Difference of Gaussians."""

    def by_opencv(image: np.ndarray) -> np.ndarray:
        wide = image.astype(np.float32)
        return blur(wide, low) - blur(wide, high)

    return Case(
        f"DoG {low:g}/{high:g}",
        pipeline.DifferenceOfGaussians(low_sigma=low, high_sigma=high),
        {
            "scikit-image": lambda image: filters.difference_of_gaussians(image, low, high),
            "OpenCV": by_opencv,
        },
    )


def dask_image(radius: int) -> Case:
    """Minimum filter of dask-image, on one chunk and one thread."""
    import dask.array as da
    from dask_image import ndfilters

    size = 2 * radius + 1

    def by_dask(image: np.ndarray) -> np.ndarray:
        lazy = ndfilters.minimum_filter(da.from_array(image, chunks=image.shape), size=size)
        return image - lazy.compute(scheduler="sync")

    case = minimum(size)
    return Case(case.name, case.ours, {**case.peers, "dask-image": by_dask})


def ball(radius: int) -> Case:
    """White top-hat with a ball on a stack."""
    step = pipeline.WhiteTophat(radius=radius, along="zyx")
    return Case(
        f"white_tophat ball {radius}",
        lambda stack: step(stack, axes="zyx"),
        {"scipy": lambda stack: ndimage.white_tophat(stack, footprint=morphology.ball(radius))},
    )


def stack_dog(low: float, high: float) -> Case:
    """Difference of Gaussians on a stack."""
    step = pipeline.DifferenceOfGaussians(low_sigma=low, high_sigma=high, along="zyx")
    return Case(
        f"DoG {low:g}/{high:g}, zyx",
        lambda stack: step(stack, axes="zyx"),
        {"scikit-image": lambda stack: filters.difference_of_gaussians(stack, low, high)},
    )


def make_image(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """An image with structures of all sizes, so that minima differ from pixel to pixel."""
    rng = np.random.default_rng(0)
    smooth = ndimage.zoom(
        rng.random([max(2, size // 64) for size in shape]),
        [size / max(2, size // 64) for size in shape],
        order=1,
    )
    image = 0.6 * smooth + 0.4 * rng.random(shape)
    top = 1.0 if dtype.startswith("float") else np.iinfo(dtype).max * 0.9
    return (image * top).astype(dtype)


def once(call: Call, image: np.ndarray) -> float:
    start = time.thread_time()
    call(image)
    return time.thread_time() - start


def crop_for(call: Call, image: np.ndarray) -> np.ndarray | None:
    """Return the image, or a crop if the call would take too long, or None if it refuses the dtype."""
    probe = np.ascontiguousarray(image[tuple(slice(0, min(size, 160)) for size in image.shape)])
    try:
        expected = once(call, probe) * image.size / probe.size
    except (cv2.error, ValueError, TypeError):
        return None
    if expected <= MAX_SECONDS:
        return image
    share = (MAX_SECONDS / expected) ** 0.5
    # Borders take scipy longer: on a crop hardly wider than the footprint, 4 times.
    least = 640 if image.ndim == 2 else 200
    sides = [max(min(size, least), int(size * share)) for size in image.shape[-2:]]
    return np.ascontiguousarray(image[..., : sides[0], : sides[1]])


def measure(case: Case, image: np.ndarray, rounds: int) -> dict[str, tuple[float, bool]]:
    """Return the minimum seconds of each peer, scaled to the image, and whether it was scaled."""
    calls = {"bgone": case.ours, **case.peers}
    inputs = {name: image if name == "bgone" else crop_for(call, image) for name, call in calls.items()}
    case.ours(image)  # compile before the clock starts
    best: dict[str, float] = {}
    for number in range(rounds):
        for name, call in calls.items():
            input_ = inputs[name]
            # One round is enough for calls of seconds, whose relative noise is small.
            if input_ is None or (number and best[name] > 1):
                continue
            seconds = once(call, input_) * image.size / input_.size
            best[name] = min(best.get(name, np.inf), seconds)
    return {name: (seconds, inputs[name].size < image.size) for name, seconds in best.items()}


def copy_seconds(image: np.ndarray) -> float:
    """Return the seconds of copying the image in memory; 64 copies at once, so that no cache holds them."""
    source = np.stack([image] * 64)
    target = np.empty_like(source)
    np.copyto(target, source)
    return min(once(lambda images: np.copyto(target, images), source) for _ in range(5)) / len(source)


Table = list[tuple[tuple[int, ...], str, list[Case]]]  # shape, dtype, operations


def flat_cases() -> Table:
    """Return the rows of flat morphology: no cell may fall below 1 × of OpenCV at 2048², 0.8 × at 500²."""
    sides = (3, 5, 7, 9, 15, 25, 51)
    boxes = [make(side) for make in (minimum, box_tophat) for side in sides]
    both = [opening(7, 3), opening(5, 25), opening(25, 51)]
    disks = [tophat(radius) for radius in (1, 3, 5, 10, 25)]
    flat = [Case(case.name, case.ours, {"OpenCV": case.peers["OpenCV"]}) for case in boxes + both + disks]
    return [
        (shape, dtype, flat)
        for shape in ((2048, 2048), (500, 500))
        for dtype in ("uint8", "uint16", "float32")
    ]


def cases(quick: bool) -> Table:
    """Return the rows of the table."""
    plane, stack = (2048, 2048), (64, 512, 512)
    if quick:
        targets = [tophat(5), tophat(25), tophat(50), gaussian(3), gaussian(10), dog(1, 100)]
        return [(plane, "uint16", targets), (plane, "uint8", targets[:3]), (stack, "uint16", [ball(10)])]
    flat = [
        *(tophat(radius) for radius in (3, 5, 10, 25, 50, 100)),
        *(dask_image(radius) for radius in (3, 12, 50)),
    ]
    linear = [*(gaussian(sigma) for sigma in (1, 3, 10, 30, 100)), dog(1, 10), dog(1, 100)]
    table = [(plane, dtype, flat + linear) for dtype in ("uint16", "uint8", "float32")]
    table += flat_cases()
    table += [
        (shape, "uint16", [tophat(5), tophat(25), tophat(50), gaussian(10), dog(1, 100)])
        for shape in ((512, 512), (4096, 4096))
    ]
    table += [(stack, "uint16", [ball(3), ball(5), ball(10), stack_dog(1, 10)])]
    return table


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def row(case: Case, image: np.ndarray, seconds: dict[str, tuple[float, bool]]) -> str:
    ours = seconds["bgone"][0]
    cells = [
        f"{'~' * seconds[name][1]}{seconds[name][0] / ours:.3g} ×" if name in seconds else ""
        for name in PEERS
    ]
    shape = " × ".join(map(str, image.shape))
    return f"| {case.name} | {shape} | {image.dtype} | {1000 * ours:.3g} ms | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the targets only")
    parser.add_argument("--flat", action="store_true", help="flat morphology on frames against OpenCV alone")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{processor()}, one thread, {date.today()}; how many times as long each takes as bgone\n")
    print(f"| operation | image | dtype | bgone | {' | '.join(PEERS)} |")
    print(f"| --- | --- | --- | ---: |{' ---: |' * len(PEERS)}")
    for shape, dtype, operations in flat_cases() if options.flat else cases(options.quick):
        image = make_image(shape, dtype)
        # A small frame takes as little time as the machine's interruptions.
        rounds = options.rounds * (10 if image.size < 2**20 else 1)
        for case in operations:
            print(row(case, image, measure(case, image, rounds)), flush=True)
    frame = make_image((2048, 2048), "uint16")
    step = pipeline.WhiteTophat(radius=25)
    best = min(once(step, frame) for _ in range(2 * options.rounds))
    copy = copy_seconds(frame)
    print(f"\nwhite_tophat disk 25 on 2048 × 2048 uint16: {1000 * best:.3g} ms", end=", ")
    print(f"{best / copy:.3g} × a copy of the frame, {1000 * copy:.3g} ms")


if __name__ == "__main__":
    main()
