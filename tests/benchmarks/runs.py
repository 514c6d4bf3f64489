"""Times whole runs from file to file against a copy by the same reader, writer and codec.

    pip install '.[bench]'
    python tests/benchmarks/runs.py /dev/shm/bench --frames 400

Prints, for each filter, the run ÷ (copy + kernel ÷ cores), one worker ÷ two workers, and how much
longer the straightforward Dask script takes (on a few frames, scaled). All in one go; start-up apart.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import zarr
from skimage import filters, morphology
from zarr.codecs import BloscCodec

import pipeline
from pipeline.machine import cores
from pipeline.read import open_source
from pipeline.write import create, make_layout, sync, write_region

SIDE = 2048
FILTERS = {
    "white_tophat 25": ({"white_tophat": {"radius": 25}}, pipeline.WhiteTophat(radius=25)),
    "DoG 1/100": (
        {"difference_of_gaussians": {"low_sigma": 1, "high_sigma": 100}},
        pipeline.DifferenceOfGaussians(low_sigma=1, high_sigma=100),
    ),
}


def make_input(path: Path, frames: int) -> None:
    """Write frames of uneven background, shot noise and a few bright pixels."""
    array = zarr.create_array(
        path, shape=(frames, SIDE, SIDE), chunks=(1, SIDE, SIDE), dtype="uint16",
        compressors=BloscCodec(cname="lz4", shuffle="bitshuffle"), dimension_names=("t", "y", "x"),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    base = 400 + 200 * np.sin(rows / 300) + 150 * np.cos(columns / 400)
    some = [rng.poisson(base + 500 * (rng.random(base.shape) < 0.001)).astype(np.uint16) for _ in range(8)]
    for frame in range(frames):
        array[frame] = some[frame % len(some)]


def copy_seconds(source: Path, target: Path, dtype: np.dtype, workers: int) -> float:
    """Copy frame by frame, cast to the dtype of the output, on some threads."""
    opened = open_source(source, axes="tyx")
    layout = make_layout(opened.spec.with_(dtype=dtype), str(target), pyramid=False, fingerprint="copy")
    create(layout)

    def one(frame: int) -> None:
        region = (slice(frame, frame + 1), slice(0, SIDE), slice(0, SIDE))
        sync(layout, write_region(layout, 0, region, opened.read(region).astype(dtype)))

    began = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, range(opened.spec.shape[0])))
    seconds = time.perf_counter() - began
    shutil.rmtree(layout.work)
    return seconds


def run_seconds(source: Path, target: Path, step: dict, workers: int, cluster: str) -> tuple[float, float]:
    """Run a config; return seconds of work, and of start-up before it."""
    shutil.rmtree(target, ignore_errors=True)
    summary = pipeline.run(
        {
            "input": {"path": str(source), "axes": "tyx"},
            "steps": [step],
            "output": {"path": str(target), "pyramid": False},
            "compute": {"cluster": cluster, "workers": workers},
        }
    )
    return summary.seconds, summary.startup_seconds


def kernel_seconds(source: Path, step: pipeline.step.Step) -> float:
    """Return the least time of the filter on one frame, on one thread."""
    frame = zarr.open_array(source, mode="r")[0]
    step(frame)
    times = []
    for _ in range(7):
        began = time.perf_counter()
        step(frame)
        times.append(time.perf_counter() - began)
    return min(times)


def script_seconds(source: Path, target: Path, name: str, frames: int) -> float:
    """Return what the script that people write today takes a frame: scikit-image in map_overlap, to_zarr."""
    import dask.array as da

    depth = 50 if "tophat" in name else 400
    calls = {
        "white_tophat 25": lambda block: morphology.white_tophat(block[0], morphology.disk(25))[None],
        "DoG 1/100": lambda block: filters.difference_of_gaussians(block[0], 1, 100)[None],
    }
    lazy = da.from_zarr(str(source))[:frames]
    done = lazy.map_overlap(calls[name], depth=(0, depth, depth), boundary="reflect", dtype=lazy.dtype)
    shutil.rmtree(target, ignore_errors=True)
    began = time.perf_counter()
    done.to_zarr(str(target))
    shutil.rmtree(target)
    return (time.perf_counter() - began) / frames


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--cluster", default="threads")
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    source, target = options.folder / "in.zarr", options.folder / "out.zarr"
    shutil.rmtree(source, ignore_errors=True)
    make_input(source, options.frames)
    workers = cores()
    for name, (step, alone) in FILTERS.items():
        dtype = alone.out_dtype(np.dtype(np.uint16))
        copy = copy_seconds(source, target, dtype, workers)
        kernel = kernel_seconds(source, alone) * options.frames
        run, startup = run_seconds(source, target, step, workers, options.cluster)
        single, _ = run_seconds(source, target, step, 1, options.cluster)
        script = script_seconds(source, target, name, 2) * options.frames
        print(f"{name}, {options.frames} frames, {workers} {options.cluster}:")
        print(f"  run {run:.1f} s, copy {copy:.1f} s, kernel {kernel:.1f} s, start-up {startup:.1f} s")
        print(f"  run ÷ (copy + kernel ÷ cores)   {run / (copy + kernel / workers):.2f}")
        print(f"  one worker ÷ {workers} workers        {single / run:.2f}")
        print(f"  the plain Dask script ÷ run     {script / run:.0f}", flush=True)
    shutil.rmtree(options.folder)


if __name__ == "__main__":
    main()
