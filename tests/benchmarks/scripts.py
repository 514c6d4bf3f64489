"""Time `bgone run` against scripts from file to file, each as a command, and compare the pixels.

    pip install '.[bench]'
    python tests/benchmarks/scripts.py /dev/shm/scripts       # a new folder; about 8 minutes

`python docs/make.py scripts FOLDER` puts what it prints into the README. Each command works on few frames and
on more. The difference is what a frame takes without start-up; what is left of the shorter one is start-up.
Commands take turns, the least of some rounds counts. The first script (`script_ways.py`) is the fastest exact
one that we could write: whole planes, OpenCV, a thread for each core, chunks encoded and written by hand.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zarr
from kernels import processor
from rivals import short
from runs import SIDE, make_input

WAYS = Path(__file__).with_name("script_ways.py")
STEPS = {
    "tophat": {"white_tophat": {"radius": 25}},
    "dog": {"difference_of_gaussians": {"low_sigma": 1, "high_sigma": 100}},
}
TITLES = {
    "tophat": "White top-hat, disk 25 (uint16)",
    "dog": "Difference of Gaussians 1/100 (float32)",
}
BEST = {"tophat": "OpenCV, crosses", "dog": "FFT of OpenCV"}
PLAIN = {"tophat": "OpenCV, one call", "dog": "OpenCV, two calls"}
DASK = {"tophat": "map_overlap, scikit-image", "dog": "dask-image"}


@dataclass(frozen=True)
class Way:
    """A command that filters; `frames` are the two lengths, `rounds` how often each is timed."""

    key: str
    title: str
    frames: tuple[int, int]
    rounds: int


class Cost(NamedTuple):
    """Seconds by the clock, and of all processors."""

    clock: float
    processor: float


def ways(name: str, frames: int, rounds: int) -> list[Way]:
    """Return the commands for a filter. Slow ones get fewer frames."""
    few, some = frames // 6, (frames // 24, frames // 6)
    return [
        Way("bgone", "**bgone run**, `pyramid: false`", (few, frames), rounds),
        Way("pyramid", "**bgone run**, with its pyramid", (few, frames), rounds),
        Way("files", f"threads, {BEST[name]}, files by hand", (few, frames), rounds),
        Way("zarr", f"threads, {BEST[name]}, zarr-python", (few, frames), rounds),
        Way("opencv", f"threads, {PLAIN[name]}, files by hand", some, rounds),
        Way("dask", f"plain Dask: {DASK[name]}", (2, 4) if name == "tophat" else (2, 8), 1),
    ]


def command_of(way: Way, name: str, frames: int, source: Path, target: Path) -> list[str]:
    """Return the command line; for bgone it writes the config."""
    if way.key not in ("bgone", "pyramid"):
        return [sys.executable, str(WAYS), way.key, name, str(source), str(target), str(frames)]
    config = {
        "input": {"path": str(source), "select": {"t": f"0:{frames}"}},
        "steps": [STEPS[name]],
        "output": {"path": str(target), **({"pyramid": False} if way.key == "bgone" else {})},
    }
    path = target.with_suffix(".yaml")
    path.write_text(json.dumps(config))  # JSON is YAML
    return [sys.executable, "-m", "pipeline", "run", str(path)]


def cost_of(command: list[str]) -> Cost:
    """Run a command; return what it and its own processes took."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    clock, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stderr}")
    return Cost(clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def pixels_of(target: Path, frames: int) -> np.ndarray:
    """Return the first frames of an output."""
    group = zarr.open(target, mode="r")
    return np.asarray((group if isinstance(group, zarr.Array) else group["0"])[:frames])


def least(costs: list[Cost]) -> Cost:
    """Return the least of each."""
    return Cost(*map(min, zip(*costs, strict=True)))


def measure(name: str, members: list[Way], source: Path, target: Path) -> dict[str, tuple[Cost, float, str]]:
    """Return of each way the cost of a frame, the seconds of start-up, and how its pixels compare."""
    costs: dict[tuple[str, int], list[Cost]] = {}
    expected, pixels = np.empty(0), {}
    span = float(np.ptp(pixels_of(source, 2).astype(np.float64)))
    for number, way in itertools.product(range(max(way.rounds for way in members)), members):
        for frames in way.frames if number < way.rounds else ():
            print(name, way.key, frames, file=sys.stderr, flush=True)
            command = command_of(way, name, frames, source, target)
            costs.setdefault((way.key, frames), []).append(cost_of(command))
            if number == 0:
                found = pixels_of(target, 2)
                expected = found if way is members[0] else expected
                apart = float(np.abs(found.astype(np.float64) - expected).max())
                pixels[way.key] = "equal" if apart == 0 else f"within {apart / span:.0e} of the range"
            shutil.rmtree(target)
    found_costs = {}
    for way in members:
        few, many = (least(costs[way.key, frames]) for frames in way.frames)
        frames = way.frames[1] - way.frames[0]
        each = Cost(*((more - less) / frames for more, less in zip(many, few, strict=True)))
        startup = few.clock - each.clock * way.frames[0]
        found_costs[way.key] = each, startup, pixels[way.key]
    return found_costs


def shown(seconds: float) -> str:
    """Return a time as text."""
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def table(name: str, members: list[Way], found: dict[str, tuple[Cost, float, str]]) -> str:
    """Return the costs as a table."""
    ours = found["bgone"][0]
    lines = [
        f"| {TITLES[name]} | clock, a frame | ÷ bgone | processors, a frame | ÷ bgone | start-up | pixels |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for way in members:
        each, startup, pixels = found[way.key]
        lines.append(
            f"| {way.title} | {shown(each.clock)} | {short(each.clock / ours.clock)} × "
            f"| {shown(each.processor)} | {short(each.processor / ours.processor)} × "
            f"| {max(startup, 0):.1f} s | {pixels} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a new folder, on the file system to be timed")
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    source, target = options.folder / "in.zarr", options.folder / "out.zarr"
    make_input(source, options.frames)
    cores = len(os.sched_getaffinity(0))
    print(f"{processor()}, {cores} cores, {date.today()}; frames of {SIDE}² uint16, blosc-lz4-bitshuffle")
    for name in STEPS:
        members = ways(name, options.frames, options.rounds)
        # Kernels are compiled once for a machine, so not on this clock.
        cost_of(command_of(members[0], name, 2, source, target))
        shutil.rmtree(target)
        print(f"\n{table(name, members, measure(name, members, source, target))}", flush=True)
    shutil.rmtree(options.folder)


if __name__ == "__main__":
    main()
