"""The scripts that `scripts.py` times: from a Zarr of uint16 frames to a Zarr of filtered ones.

python tests/benchmarks/script_ways.py WAY FILTER SOURCE TARGET FRAMES
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

CODEC = {"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle"}

Filter = Callable[[np.ndarray], np.ndarray]


def filter_of(name: str, *, fastest: bool) -> tuple[Filter, str]:
    """Return a filter of OpenCV and the dtype of its result: the plain call, or the fastest that is exact."""
    import cv2
    import rival_filters as by
    from kernels import blur
    from skimage.morphology import disk

    if name == "tophat":
        if fastest:
            return lambda frame: by.opencv_crosses(frame, 25), "uint16"
        footprint = disk(25)
        return lambda frame: cv2.morphologyEx(frame, cv2.MORPH_TOPHAT, footprint), "uint16"
    if fastest:
        return lambda frame: by.by_opencv_dft(frame, 1, 100), "float32"

    def plain(frame: np.ndarray) -> np.ndarray:
        wide = frame.astype(np.float32)
        return blur(wide, 1) - blur(wide, 100)

    return plain, "float32"


def new_array(source: Path, target: Path, frames: int, dtype: str) -> tuple[object, object]:
    """Return the input and a new output of some frames, a chunk each, with the codec of the input."""
    import zarr
    from zarr.codecs import BloscCodec

    images = zarr.open_array(source, mode="r")
    output = zarr.create_array(
        target,
        shape=(frames, *images.shape[1:]),
        chunks=(1, *images.shape[1:]),
        dtype=dtype,
        compressors=BloscCodec(**CODEC),
        dimension_names=("t", "y", "x"),
    )
    return images, output


def on_threads(work: Callable[[int], None], frames: int) -> None:
    """Work on the frames, as many at a time as there are cores."""
    import os

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.map(work, range(frames)):
            pass


def files_by_hand(source: Path, target: Path, frames: int, name: str, *, fastest: bool) -> None:
    """OpenCV on threads; numcodecs, and the files of the chunks by hand: zarr only writes the metadata."""
    from numcodecs.blosc import BITSHUFFLE, Blosc

    call, dtype = filter_of(name, fastest=fastest)
    images, _ = new_array(source, target, frames, dtype)
    shape = images.shape[1:]
    codec = Blosc(cname=CODEC["cname"], clevel=CODEC["clevel"], shuffle=BITSHUFFLE)

    def work(frame: int) -> None:
        stored = (source / f"c/{frame}/0/0").read_bytes()
        pixels = np.frombuffer(codec.decode(stored), np.uint16).reshape(shape)
        filtered = np.ascontiguousarray(call(pixels))
        path = target / f"c/{frame}/0/0"
        path.parent.mkdir(parents=True)
        path.write_bytes(codec.encode(filtered))

    on_threads(work, frames)


def zarr_on_threads(source: Path, target: Path, frames: int, name: str, *, fastest: bool) -> None:
    """OpenCV on threads; zarr-python reads and writes."""
    call, dtype = filter_of(name, fastest=fastest)
    images, output = new_array(source, target, frames, dtype)

    def work(frame: int) -> None:
        output[frame] = call(images[frame])

    on_threads(work, frames)


def plain_dask(source: Path, target: Path, frames: int, name: str, *, fastest: bool = False) -> None:
    """The script of the documentation: map_overlap of scikit-image, or the Gaussians of dask-image."""
    import dask.array as da
    from dask_image.ndfilters import gaussian_filter
    from skimage.morphology import disk, white_tophat

    images = da.from_zarr(str(source))[:frames]
    if name == "tophat":
        footprint = disk(25)
        filtered = images.map_overlap(
            lambda block: white_tophat(block[0], footprint)[None],
            depth=(0, 50, 50),
            boundary="reflect",
            dtype=images.dtype,
        )
    else:
        wide = images.astype(np.float32)
        narrow, broad = (gaussian_filter(wide, (0, sigma, sigma), mode="nearest") for sigma in (1, 100))
        filtered = narrow - broad
    filtered.to_zarr(str(target))


WAYS = {
    "files": lambda *what: files_by_hand(*what, fastest=True),
    "zarr": lambda *what: zarr_on_threads(*what, fastest=True),
    "opencv": lambda *what: files_by_hand(*what, fastest=False),
    "dask": plain_dask,
}


if __name__ == "__main__":
    way, name, source, target, frames = sys.argv[1:]
    WAYS[way](Path(source), Path(target), int(frames), name)
