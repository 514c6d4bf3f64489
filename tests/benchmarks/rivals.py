"""Time bgone's filters against the best that other libraries offer, and compare the pixels.

    pip install '.[bench]'
    python tests/benchmarks/rivals.py            # about 7 minutes

`python docs/make.py rivals` puts what it prints into the README. One thread, processor time, the minimum of
several calls; bgone and its rivals take turns in one process, so that other load slows all of them alike. A
rival is exact if its pixels are those of scikit-image (top-hats) and scipy (minima), or within 1e-4 of the
range of the image of scipy's Gaussian in float64, which is what bgone promises.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version

import numpy as np
import rival_filters as by
from kernels import make_image, processor
from rival_cases import DTYPES, Call, Case, groups

SIDE, RADII = 2048, range(1, 61)

# Rows of the short table.
SHORT = (
    *itertools.product([f"white top-hat, disk {radius}" for radius in (5, 10, 25, 50)], ["uint16"]),
    *itertools.product(["white top-hat, disk 25"], ["uint8", "float32"]),
    *itertools.product(["minimum subtracted, 7 × 7", "minimum subtracted, 25 × 25"], ["uint16"]),
    *itertools.product(["Gaussian 3", "Gaussian 10", "DoG 1/100"], ["uint16"]),
)

# Seconds of one call on the whole frame above which a rival is timed on a crop.
MAX_SECONDS = 3.0
CROP, PROBE = 640, 320


@dataclass(frozen=True)
class Result:
    """What one filter takes on the frame, and how far its pixels are from the reference."""

    seconds: float
    scaled: bool
    difference: float
    exact: bool

    def cell(self, ours: Result, linear: bool) -> str:
        """Return the multiple of our time, with the difference where it says something."""
        text = f"{'~' * self.scaled}{short(self.seconds / ours.seconds)} ×"
        if not self.exact:
            return f"{text}, ≠ {short(self.difference)}"
        return f"{text}, {self.difference:.0e}" if linear and self.difference else text


def short(number: float) -> str:
    """Return a number with two digits, or without a point from 100 on."""
    return f"{number:.0f}" if number >= 100 else f"{number:.2g}"


def timed(call: Call, image: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the processor time of a call, and its pixels."""
    start = time.process_time()
    pixels = call(image)
    return time.process_time() - start, pixels


def input_for(call: Call, image: np.ndarray) -> np.ndarray:
    """Return the frame, or a crop of it if the call would take too long."""
    probe = np.ascontiguousarray(image[:PROBE, :PROBE])
    if timed(call, probe)[0] * image.size / probe.size <= MAX_SECONDS:
        return image
    return np.ascontiguousarray(image[:CROP, :CROP])


def difference(pixels: np.ndarray, reference: np.ndarray, case: Case, image: np.ndarray) -> float:
    """Return the largest difference: for Gaussians as a share of the range of the image."""
    largest = float(np.abs(pixels.astype(np.float64) - reference).max())
    return largest / float(np.ptp(image.astype(np.float64))) if case.tolerance else largest


def measure(case: Case, image: np.ndarray, rounds: int) -> dict[str, Result]:
    """Return the results of bgone and of each rival."""
    calls = {"bgone": case.ours, **case.rivals}
    case.ours(image[:PROBE, :PROBE])  # compile before the clock starts
    inputs = {name: input_for(call, image) for name, call in calls.items()}
    references = {part.size: case.reference(part) for part in inputs.values()}
    best, apart = dict.fromkeys(calls, np.inf), dict.fromkeys(calls, 0.0)
    for number, (name, call) in itertools.product(range(rounds), calls.items()):
        part = inputs[name]
        # One round is enough for calls of half a second, whose relative noise is small.
        if number == 0 or best[name] < 0.5:
            seconds, pixels = timed(call, part)
            best[name] = min(best[name], seconds * image.size / part.size)
            apart[name] = difference(pixels, references[part.size], case, part)
    return {
        name: Result(best[name], inputs[name] is not image, apart[name], apart[name] <= case.tolerance)
        for name in calls
    }


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
        first = [
            f"{1000 * ours.seconds:.3g} ms",
            best,
            f"**{short(results[best].seconds / ours.seconds)} ×**",
        ]
        wrong = "" if ours.exact else f" (not exact: {short(ours.difference)})"
        lines.append(f"| {case.name}{wrong} | {dtype} | {' | '.join([*first, *cells])} |")
    return "\n".join(lines)


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers as text: 1–3, 5."""
    groups = itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    runs = [[number for _, number in group] for _, group in groups]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs) or "none"


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
    missing = "" if by.diplib else "; DIPlib is not installed"
    print(f"{processor()}, one thread, {date.today()}; {versions}{missing}\n")
    chosen = [row for members in rows.values() for row in members if (row[0].name, row[1]) in SHORT]
    print(table(chosen, ["OpenCV", "scikit-image"]))
    print("\n### All rivals")
    for kind in ("crosses", "sequence"):
        same = ranges(by.same_radii(kind, RADII))
        print(f'\n`disk(r, decomposition="{kind}")` equals `disk(r)` for these r up to {RADII[-1]}: {same}.')
    for group, members in rows.items():
        names = dict.fromkeys(name for _, _, results in members for name in results if name != "bgone")
        print(f"\n{group}\n\n{table(members, names)}")


if __name__ == "__main__":
    main()
