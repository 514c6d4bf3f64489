"""Time a run against the best script that an engineer would write without bgone, from file to file.

    pip install '.[bench]'
    python tests/benchmarks/scripts.py /dev/shm/bench

The script takes whole planes, filters them with OpenCV (a top-hat by crosses, which is exact at a radius of
25; a DoG by its Fourier transform) on as many threads as there are cores, and writes them with zarr and the
same codec. It has no halo, no restart, no checks and no metadata. Processor time and clock are those of a
frame more: the difference of two lengths, so that start-up does not count. The pixels are compared.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import rival_filters as by
import zarr
from runs import DOG_STEP, make_input
from zarr.codecs import BloscCodec

import pipeline
from pipeline.model.machine import cores

Filter = Callable[[np.ndarray], np.ndarray]


def tophat(image: np.ndarray) -> np.ndarray:
    """White top-hat with a disk of 25 px."""
    return by.opencv_crosses(image, 25)


def dog(image: np.ndarray) -> np.ndarray:
    """Difference of Gaussians with sigmas of 1 and 100 px, by OpenCV's Fourier transform."""
    return by.by_opencv_dft(image, 1, 100).astype(np.float32)


# The step, the filter of the script, the dtype of the result, and how far pixels may differ, in counts.
CASES: dict[str, tuple[dict, Filter, str, float]] = {
    "white_tophat 25": ({"white_tophat": {"radius": 25}}, tophat, "uint16", 0),
    "DoG 1/100 (float32)": (DOG_STEP, dog, "float32", 0.2),
}


def script(source: Path, target: Path, frame_filter: Filter, dtype: str, frames: int) -> None:
    """Filter the first frames of an array, frame by frame."""
    shutil.rmtree(target, ignore_errors=True)
    array = zarr.open_array(source, mode="r")
    result = zarr.create_array(
        target, shape=(frames, *array.shape[1:]), chunks=(1, 1024, 1024), dtype=dtype,
        compressors=BloscCodec(cname="lz4", shuffle="bitshuffle"),
    )  # fmt: skip

    def one(frame: int) -> None:
        result[frame] = frame_filter(array[frame])

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(one, range(frames)))


def run(source: Path, target: Path, step: dict, frames: int, *, pyramid: bool) -> None:
    """Do the same with bgone."""
    shutil.rmtree(target, ignore_errors=True)
    pipeline.run(
        {
            "input": {"path": str(source), "select": {"t": f"0:{frames}"}},
            "steps": [step],
            "output": {"path": str(target), "pyramid": pyramid, "chunks": {"t": 1, "y": 1024, "x": 1024}},
            "compute": {"cluster": "threads"},
        }
    )


def spent(call: Callable[[int], None], frames: int) -> np.ndarray:
    """Return processor time and clock of a call."""
    start = time.process_time(), time.perf_counter()
    call(frames)
    return np.subtract((time.process_time(), time.perf_counter()), start)


def main() -> None:
    """Print a line for each filter."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a new folder, on the file system to be timed")
    parser.add_argument("--frames", type=int, nargs=2, default=(8, 40), help="the two lengths")
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    cv2.setNumThreads(1)
    source, ours, theirs = (options.folder / name for name in ("in.zarr", "out.ome.zarr", "script.zarr"))
    few, many = options.frames
    make_input(source, many)
    for name, (step, frame_filter, dtype, tolerance) in CASES.items():
        calls: dict[str, Callable[[int], None]] = {
            "run": lambda n, step=step: run(source, ours, step, n, pyramid=False),
            "run with its pyramid": lambda n, step=step: run(source, ours, step, n, pyramid=True),
            "script": lambda n, f=frame_filter, dtype=dtype: script(source, theirs, f, dtype, n),
        }
        for call in calls.values():
            call(2)  # compile before the clock starts
        costs: dict[str, list[np.ndarray]] = {kind: [] for kind in calls}
        for _ in range(2):
            for kind, call in calls.items():
                costs[kind].append((spent(call, many) - spent(call, few)) / (many - few))
        result = zarr.open_array(ours / "0", mode="r")[:2].astype(np.float64)
        difference = np.abs(zarr.open_array(theirs, mode="r")[:2] - result).max()
        assert difference <= tolerance, difference
        least = {kind: np.min(rows, axis=0) for kind, rows in costs.items()}
        for kind, (processor, clock) in least.items():
            ratios = least[kind] / least["run"]
            print(
                f"{name}, {kind}: {1000 * processor:.1f} ms of processor and {1000 * clock:.1f} of clock"
                f" a frame, {ratios[0]:.2f} and {ratios[1]:.2f} × the run"
            )
    shutil.rmtree(options.folder)


if __name__ == "__main__":
    main()
