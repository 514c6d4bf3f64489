"""Compare the predicted memory of runs with the memory that they take, seen from outside.

    python tests/benchmarks/memory.py /dev/shm/memory
    python tests/benchmarks/memory.py /dev/shm/memory --only tiles

Every run is its own process. Its tree is polled every 10 ms, with the peaks that the kernel records.
Prints predicted ÷ measured for each run, by the run itself and from outside. The ratio must be 1 or more,
and should be at most 1.5 for images of real size. The exit code is 1 if one is below 1.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from zarr.codecs import BloscCodec

MIB = 2**20
TOPHAT = {"white_tophat": {"radius": 25}}
DOG = {"difference_of_gaussians": {"low_sigma": 1, "high_sigma": 100}}
CHAIN = [TOPHAT, DOG]
BALL = {"white_tophat": {"radius": 5, "along": "zyx"}}
OPENING = {"subtract_opening": {"minimum_size": 25, "maximum_size": 25}}
CODE = """
import json, sys
import pipeline
from pipeline.model.machine import share_heap
share_heap()
if __name__ == "__main__":
    print(json.dumps(pipeline.run(json.loads(sys.argv[1])).as_dict()))
"""


@dataclass(frozen=True)
class Case:
    """One run: its input, its steps, and the rest of its config."""

    name: str
    steps: list[dict[str, Any]]
    shape: tuple[int, ...] = (24, 2048, 2048)
    dtype: str = "uint16"
    axes: str = "tyx"
    chunks: tuple[int, ...] | None = None
    shards: tuple[int, ...] | None = None
    tiff: str = ""
    output: dict[str, Any] = field(default_factory=dict)
    compute: dict[str, Any] = field(default_factory=dict)
    cold: bool = False


def cases() -> list[Case]:
    """Return all cases."""
    threads = []
    for workers in (1, 2, 4):
        compute = {"workers": workers}
        for name, steps in {"tophat": [TOPHAT], "dog": [DOG], "chain": CHAIN}.items():
            threads.append(Case(f"{name}, {workers} threads", steps, compute=compute))
    local = {"cluster": "local", "workers": 2}
    tiles = {"workers": 2, "memory": "512 MiB"}
    plane = {"shape": (1, 12000, 12000), "chunks": (1, 1024, 1024)}
    ball = {"shape": (6, 40, 512, 512), "axes": "tzyx", "chunks": (1, 1, 512, 512)}
    return [
        *threads,
        Case("tiny tophat", [TOPHAT], (20, 256, 256)),
        Case("tiny dog", [DOG], (20, 256, 256)),
        Case("opening uint8", [OPENING], dtype="uint8", compute={"workers": 2}),
        Case("tophat uint8", [TOPHAT], dtype="uint8", compute={"workers": 2}),
        Case("dog uint8", [DOG], dtype="uint8", compute={"workers": 2}),
        Case("tophat float32", [TOPHAT], dtype="float32", compute={"workers": 2}),
        Case("dog float32", [DOG], dtype="float32", compute={"workers": 2}),
        Case("ball", [BALL], **ball, compute={"workers": 2}),
        Case("ball float32", [BALL], **ball, dtype="float32", compute={"workers": 2}),
        Case("ball, tiles", [BALL], (1, 160, 1024, 1024), axes="tzyx", chunks=(1, 16, 256, 256),
             compute={"workers": 2, "memory": "400 MiB"}),
        Case("tophat, tiles", [TOPHAT], **plane, compute=tiles),
        Case("dog, tiles", [DOG], **plane, compute=tiles),
        Case("chain, tiles", CHAIN, **plane, compute=tiles),
        Case("tophat, whole planes", [TOPHAT], **plane, compute={"workers": 1, "memory": "4 GiB"}),
        Case("dog, whole planes", [DOG], **plane, compute={"workers": 1, "memory": "4 GiB"}),
        Case("tophat, forced tiles", [TOPHAT], **plane, output={"chunks": {"y": 512, "x": 512}},
             compute={"workers": 2, "block": {"y": 2048, "x": 2048}, "window": {"y": 4096, "x": 4096}}),
        Case("tophat, local", [TOPHAT], compute=local),
        Case("dog, local", [DOG], compute=local),
        Case("chain, local", CHAIN, compute=local),
        Case("dog, local, tiles", [DOG], **plane, compute={**local, "memory": "1200 MiB"}),
        Case("tophat, sharded in", [TOPHAT], chunks=(1, 512, 512), shards=(4, 2048, 2048)),
        Case("dog, sharded out", [DOG], output={"chunks": {"y": 512, "x": 512}, "shards": {"t": 4}}),
        Case("tophat, no pyramid", [TOPHAT], output={"pyramid": False}),
        Case("dog to uint16", [DOG], output={"dtype": "uint16", "overflow": "clip", "offset": 1000}),
        Case("tophat, zstd", [TOPHAT], output={"compressor": "zstd"}),
        Case("tophat, TIFF", [TOPHAT], tiff="plain"),
        Case("dog, OME-TIFF, deflate", [DOG], tiff="ome"),
        Case("along t", [{"gaussian": {"sigma": 2, "along": "t"}}], (64, 1024, 1024), chunks=(1, 1024, 1024)),
        Case("tophat, cold", [TOPHAT], (20, 512, 512), cold=True),
        Case("dog, cold", [DOG], (20, 512, 512), cold=True),
        Case("chain, cold", CHAIN, (20, 512, 512), cold=True),
        Case("chain, cold, local", CHAIN, compute=local, cold=True),
    ]  # fmt: skip


def make_input(folder: Path, case: Case) -> Path:
    """Write the input: eight frames of noise on an uneven background, repeated."""
    path = folder / ("in.ome.tif" if case.tiff == "ome" else "in.tif" if case.tiff else "in.zarr")
    rng = np.random.default_rng(0)
    height, width = case.shape[-2:]
    top = 200 if case.dtype == "uint8" else 4000
    base = top / 2 + top / 4 * np.sin(np.arange(height) / 300)[:, None] * np.cos(np.arange(width) / 400)
    small = min(8, int(np.prod(case.shape[:-2])))
    planes = [(base + rng.normal(0, 10, (height, width))).astype(case.dtype) for _ in range(small)]
    if case.tiff:
        stack = (planes[index % small] for index in range(int(np.prod(case.shape[:-2]))))
        more: dict[str, Any] = (
            {"ome": True, "compression": "zlib", "tile": (256, 256)} if case.tiff == "ome" else {}
        )
        # tifffile cannot cut tiles from an iterator of planes.
        data = np.stack(list(stack)).reshape(case.shape) if more else stack
        tifffile.imwrite(
            path, data, shape=case.shape, dtype=case.dtype, metadata={"axes": case.axes.upper()}, **more
        )
        return path
    array = zarr.create_array(
        path, shape=case.shape, chunks=case.chunks or (1,) * (len(case.shape) - 2) + case.shape[-2:],
        shards=case.shards, dtype=case.dtype, dimension_names=tuple(case.axes),
        compressors=BloscCodec(cname="lz4", shuffle="bitshuffle"),
    )  # fmt: skip
    deep = (case.shards or case.chunks or (1,) * len(case.shape))[-3]
    for index in np.ndindex(*case.shape[:-3]):
        for first in range(0, case.shape[-3], deep):
            last = min(case.shape[-3], first + deep)
            array[(*index, slice(first, last))] = np.stack([planes[z % small] for z in range(first, last)])
    return path


def tree(pid: int) -> list[int]:
    """Return the PIDs of a process and its descendants."""
    pids = [pid]
    for process in pids:
        try:
            for thread in os.listdir(f"/proc/{process}/task"):
                pids += map(int, Path(f"/proc/{process}/task/{thread}/children").read_text().split())
        except OSError:
            continue
    return pids


def status(pid: int) -> dict[str, int]:
    """Return the sizes in the status of a process, in bytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    parts = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): int(size) * 1024 for name, size, *_ in parts}


def run(folder: Path, source: Path, case: Case) -> tuple[dict[str, Any], int, int]:
    """Run a case; return its summary, the peak sum of all processes, and that with libraries counted once."""
    config = {
        "input": {"path": str(source), "axes": case.axes},
        "steps": case.steps,
        "output": {"path": str(folder / "out.ome.zarr"), **case.output},
        "compute": {"cluster": "threads", "memory": "3 GiB", **case.compute},
    }
    cache = {"NUMBA_CACHE_DIR": str(folder / "cache")} if case.cold else {}
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, json.dumps(config)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, **cache},
    )  # fmt: skip
    peak, once = 0, 0
    while process.poll() is None:
        statuses = [sizes for pid in tree(process.pid) if (sizes := status(pid))]
        own = status(process.pid).get("VmHWM", 0)
        peak = max(peak, own, sum(sizes.get("VmRSS", 0) for sizes in statuses))
        files = [sizes.get("RssFile", 0) for sizes in statuses]
        once = max(
            once, sum(sizes.get("VmRSS", 0) for sizes in statuses) - sum(files) + max(files, default=0)
        )
        time.sleep(0.01)
    assert process.stdout is not None
    text = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"{case.name} failed")
    return json.loads(text), peak, max(once, own)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="cases whose names contain this")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    print(
        f"{'case':26} {'predicted':>9} {'by itself':>9} {'outside':>9}  predicted ÷ outside, ÷ libraries once"
    )
    least = 9.0
    for case in cases():
        if options.only not in case.name:
            continue
        folder = Path(tempfile.mkdtemp(dir=options.folder))
        try:
            summary, peak, once = run(folder, make_input(folder, case), case)
        finally:
            shutil.rmtree(folder)
        predicted, itself = summary["memory_predicted_bytes"], summary["memory_peak_bytes"]
        sizes = " ".join(f"{size / MIB:9.0f}" for size in (predicted, itself, peak))
        print(f"{case.name:26} {sizes}  {predicted / peak:.2f} {predicted / once:.2f}", flush=True)
        least = min(least, predicted / max(peak, itself))
    return least < 1


if __name__ == "__main__":
    sys.exit(main())
