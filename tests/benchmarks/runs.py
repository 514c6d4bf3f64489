"""Time whole runs from file to file against a copy by the same reader, writer and codec.

    pip install '.[bench]'
    python tests/benchmarks/runs.py /dev/shm/bench --frames 400

Prints ratios of times from this one run of the benchmark, each the minimum of several rounds:

- the copy ÷ the sum of file in, decode, encode, file out over the cores;
- the run ÷ (copy + kernel ÷ cores), for a copy that writes the input's pixels, and for one that writes
  the filtered pixels (floats of a DoG hardly compress, so more bytes are written);
- the run with its pyramid ÷ without, and ÷ (copy that writes the same bytes + kernel ÷ cores);
- one worker ÷ two; tiles with halos ÷ whole planes; the time per window of many ÷ of few;
- start-up, separately.

Scripts that do the same without bgone are in `scripts.py`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs.blosc import Blosc
from zarr.codecs import BloscCodec

import pipeline
from pipeline.model.machine import cores
from pipeline.read import Source, open_source
from pipeline.steps import Step
from pipeline.write import Layout, create, make_layout, sync, write_levels
from pipeline.write.region import stored_array

SIDE, DIFFERENT = 2048, 8
DOG = pipeline.DifferenceOfGaussians(low_sigma=1, high_sigma=100)
DOG_STEP = {"difference_of_gaussians": {"low_sigma": 1, "high_sigma": 100}}
FILTERS: dict[str, tuple[dict, Step, dict]] = {
    "white_tophat 25": ({"white_tophat": {"radius": 25}}, pipeline.WhiteTophat(radius=25), {}),
    "DoG 1/100 (float32)": (DOG_STEP, DOG, {}),
    "DoG 1/100 (int16)": (DOG_STEP, DOG, {"dtype": "int16", "overflow": "clip"}),
}


def some_frames(side: int = SIDE, count: int = DIFFERENT) -> list[np.ndarray]:
    """Return frames of uneven background, shot noise and a few bright pixels."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side]
    base = 400 + 200 * np.sin(rows / 300) + 150 * np.cos(columns / 400)
    return [
        rng.poisson(base + 500 * (rng.random(base.shape) < 0.001)).astype(np.uint16) for _ in range(count)
    ]


def make_input(path: Path, frames: int, side: int = SIDE, chunk: int = SIDE) -> None:
    """Write an input of a few frames, repeated."""
    shutil.rmtree(path, ignore_errors=True)
    array = zarr.create_array(
        path, shape=(frames, side, side), chunks=(1, chunk, chunk), dtype="uint16",
        compressors=BloscCodec(cname="lz4", shuffle="bitshuffle"), dimension_names=("t", "y", "x"),
    )  # fmt: skip
    distinct = some_frames(side, min(frames, DIFFERENT))
    for frame in range(frames):
        array[frame] = distinct[frame % len(distinct)]


def seconds_of(call: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def least_seconds(call: Callable[[Any], Any], arguments: list[Any]) -> float:
    """Return how long a call takes: the mean over the arguments, the minimum of three times."""
    return min(seconds_of(lambda: list(map(call, arguments))) for _ in range(3)) / len(arguments)


def whole(frame: int) -> tuple[slice, ...]:
    """Return the region of a frame."""
    return slice(frame, frame + 1), slice(0, SIDE), slice(0, SIDE)


def new_output(opened: Source, target: Path, dtype: np.dtype, *, pyramid: bool = False) -> Layout:
    """Return an empty output."""
    layout = make_layout(opened.spec.with_(dtype=dtype), str(target), pyramid=pyramid, fingerprint="copy")
    shutil.rmtree(layout.work, ignore_errors=True)
    create(layout)
    return layout


def copy_seconds(
    source: Path, target: Path, filtered: list[np.ndarray] | None, workers: int, *, pyramid: bool = False
) -> float:
    """Copy frame by frame on some threads; write the `filtered` frames instead, if there are any."""
    opened = open_source(str(source))
    dtype = np.dtype("uint16") if filtered is None else filtered[0].dtype
    layout = new_output(opened, target, dtype, pyramid=pyramid)

    def copy_frame(frame: int) -> None:
        block = opened.read(whole(frame))
        if filtered is not None:
            block = filtered[frame % len(filtered)][None]
        sync(layout, write_levels(layout, whole(frame), block, len(layout.levels) - 1))

    with ThreadPoolExecutor(workers) as pool:
        seconds = seconds_of(lambda: list(pool.map(copy_frame, range(opened.spec.shape[0]))))
    shutil.rmtree(layout.work)
    return seconds


def bare_seconds(source: Path, target: Path, frames: int) -> float:
    """Return the sum of file in, decode, encode and file out, each timed alone on one thread."""
    layout = new_output(open_source(str(source)), target, np.dtype("uint16"))
    array = stored_array(layout, 0)
    names = [f"{source}/c/{frame}/0/0" for frame in range(min(frames, DIFFERENT))]
    scratch, numbers = Path(layout.work), itertools.count()

    def encode(frame: np.ndarray) -> list[bytes | None]:
        return [array.encoded(frame[unit]) for _, unit in layout.file_regions(0, whole(0))]

    def write(files: list[bytes | None]) -> None:
        # New files, synced, like those of the copy.
        for data in files:
            with open(scratch / str(next(numbers)), "wb") as file:
                file.write(data or b"")
                file.flush()
                os.fsync(file.fileno())

    def work() -> float:
        stored = [Path(name).read_bytes() for name in names]
        pixels = [np.frombuffer(Blosc().decode(data), "<u2").reshape(1, SIDE, SIDE) for data in stored]
        encoded = [encode(frame) for frame in pixels]
        parts = ((lambda name: Path(name).read_bytes(), names), (Blosc().decode, stored), (encode, pixels),
                 (write, encoded))  # fmt: skip
        return sum(least_seconds(call, arguments) for call, arguments in parts)

    with ThreadPoolExecutor(1) as pool:  # like a task: in the main thread Blosc would use its own threads
        seconds = pool.submit(work).result()
    shutil.rmtree(layout.work)
    return seconds * frames


def run_seconds(
    source: Path, target: Path, step: dict, workers: int, cluster: str = "threads", **more: Any
) -> tuple[float, float, pipeline.Summary]:
    """Run a config; return the seconds of the run and of its start-up, and the summary."""
    shutil.rmtree(target, ignore_errors=True)
    summary = pipeline.run(
        {
            "input": {"path": str(source)},
            "steps": [step],
            "output": {"path": str(target), "pyramid": False, **more.pop("output", {})},
            "compute": {"cluster": cluster, "workers": workers, **more},
        }
    )
    shutil.rmtree(target)
    return summary.seconds, summary.startup_seconds, summary


def kernel_seconds(step: Step) -> float:
    """Return the minimum time of the filter on one frame, on one thread."""
    frame = some_frames(count=1)[0]
    step(frame)
    return min(seconds_of(lambda: step(frame)) for _ in range(7))


def compare_with_copy(source: Path, target: Path, frames: int, rounds: int) -> None:
    """Print the ratios of each filter to the copy, and of one worker to two."""
    workers = cores()
    bare = bare_seconds(source, target, frames)
    copy = min(copy_seconds(source, target, None, workers) for _ in range(rounds))
    print(f"copy ÷ (bare sum ÷ cores)                    {copy / (bare / workers):.2f}", flush=True)
    for name, (step, filter_step, output) in FILTERS.items():
        filtered = [filter_step(frame) for frame in some_frames()]
        if output:
            filtered = [np.rint(frame).astype(output["dtype"]) for frame in filtered]
        copies, moved, runs, singles, startups = [copy], [], [], [], []
        moved_whole, runs_whole = [], []
        kernel = kernel_seconds(filter_step) * frames
        for _ in range(rounds):
            copies.append(copy_seconds(source, target, None, workers))
            moved.append(copy_seconds(source, target, filtered, workers))
            seconds, startup, summary = run_seconds(source, target, step, workers, output=output)
            runs.append(seconds)
            startups.append(startup)
            singles.append(run_seconds(source, target, step, 1, output=output)[0])
            moved_whole.append(copy_seconds(source, target, filtered, workers, pyramid=True))
            runs_whole.append(
                run_seconds(source, target, step, workers, output={**output, "pyramid": True})[0]
            )
        run, plain, real = min(runs), min(copies), min(moved)
        shares = ", ".join(
            f"{kind} {100 * share:.0f} %" for kind, share in summary.performance["shares"].items()
        )
        print(f"{name}, {frames} frames, {workers} threads: run {run:.1f} s, copy {plain:.1f} s, copy of the")
        print(f"  result {real:.1f} s, kernel {kernel:.1f} s, start-up {min(startups):.1f} s; {shares}")
        print(f"  run ÷ (copy + kernel ÷ cores)              {run / (plain + kernel / workers):.2f}")
        print(f"  run ÷ (copy of the result + kernel ÷ cores) {run / (real + kernel / workers):.2f}")
        with_pyramid, real = min(runs_whole), min(moved_whole)
        print(f"  with its pyramid: run ÷ without            {with_pyramid / run:.2f}")
        print(f"  run ÷ (copy of the result + kernel ÷ cores) {with_pyramid / (real + kernel / workers):.2f}")
        print(f"  one worker ÷ {workers} workers                   {min(singles) / run:.2f}", flush=True)


def compare_tiles(folder: Path, rounds: int) -> None:
    """Print the ratio of a run in tiles of 1024² with halos to one in whole planes of 8192²."""
    source, target = folder / "planes.zarr", folder / "out.zarr"
    make_input(source, 4, side=8192, chunk=1024)
    step = FILTERS["white_tophat 25"][0]

    def seconds_in_blocks(side: int) -> float:
        output = {"chunks": {"y": 1024, "x": 1024}}
        return run_seconds(source, target, step, cores(), block={"y": side, "x": side}, output=output)[0]

    planes, tiles = [], []
    for _ in range(rounds):
        planes.append(seconds_in_blocks(8192))
        tiles.append(seconds_in_blocks(1024))
    shutil.rmtree(source)
    print(f"tiles of 1024² ÷ whole planes of 8192²       {min(tiles) / min(planes):.2f}", flush=True)


def compare_windows(folder: Path, few: int, many: int) -> None:
    """Print the ratio of the time per window in a run of many windows to that in a run of few."""
    per_window = {}
    for windows in (few, many, few):
        source = folder / "windows.zarr"
        shutil.rmtree(source, ignore_errors=True)
        array = zarr.create_array(source, shape=(windows, 64, 64), chunks=(500, 64, 64), dtype="uint16",
                                  dimension_names=("t", "y", "x"))  # fmt: skip
        array[...] = np.broadcast_to(some_frames(64, 1)[0], array.shape)
        step = {"white_tophat": {"radius": 2}}
        more = {"output": {"chunks": {"t": 1}}, "window": {"t": 1}}
        seconds = run_seconds(source, folder / "out.zarr", step, cores(), **more)[0]
        per_window[windows] = min(seconds / windows, per_window.get(windows, np.inf))
    print(
        f"time per window, {many} windows ÷ {few}       {per_window[many] / per_window[few]:.2f}", flush=True
    )


def print_startup(folder: Path) -> None:
    """Print the time of a command on two frames, with the start of Python."""
    source = folder / "short.zarr"
    make_input(source, 2)
    config = folder / "short.yaml"
    config.write_text(
        f"input: {{path: {source}}}\nsteps: [white_tophat: {{radius: 25}}]\noutput: {{path: out.zarr}}\n"
    )
    command = [sys.executable, "-m", "pipeline", "run", str(config), "--overwrite"]
    subprocess.run(command, check=True, capture_output=True)
    seconds = []
    for _ in range(3):
        shutil.rmtree(folder / "out.zarr")
        seconds.append(seconds_of(lambda: subprocess.run(command, check=True, capture_output=True)))
    print(f"a run of two frames, from the shell to the end  {min(seconds):.1f} s", flush=True)


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a new folder, on the file system to be timed")
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--windows", type=int, default=20000)
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    source, target = options.folder / "in.zarr", options.folder / "out.zarr"
    make_input(source, options.frames)
    compare_with_copy(source, target, options.frames, options.rounds)
    shutil.rmtree(source)
    compare_tiles(options.folder, options.rounds)
    compare_windows(options.folder, 200, options.windows)
    print_startup(options.folder)
    shutil.rmtree(options.folder)


if __name__ == "__main__":
    main()
