"""Images far larger than their files: a few distinct chunks, hard-linked under many names."""

import itertools
import os

import numpy as np
import zarr
from zarr.codecs import BloscCodec


def big_zarr(path, shape, chunks, dtype="uint16", different=5, seed=0, noise=3):
    """Write a Zarr whose chunks are hard links to `different` distinct ones, and return its path.

    A chunk is a slope with noise of a few counts and bright pixels. Without noise they are rarer, so that
    a filtered chunk compresses to a few hundredths. Neighbouring chunks differ.
    """
    axes = {2: "yx", 3: "tyx", 4: "tzyx"}[len(shape)]
    array = zarr.create_array(
        path, shape=shape, chunks=chunks, dtype=dtype, dimension_names=tuple(axes),
        compressors=BloscCodec(cname="lz4", shuffle="bitshuffle"),
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    originals = []
    grid = [range(-(-size // px)) for size, px in zip(shape, chunks, strict=True)]
    for number, index in enumerate(itertools.product(*grid)):
        file = os.path.join(path, "c", *map(str, index))
        if number < different:
            pixels = _chunk(rng, chunks, noise).astype(dtype)
            starts = [at * px for at, px in zip(index, chunks, strict=True)]
            region = tuple(
                slice(start, min(size, start + px))
                for start, px, size in zip(starts, chunks, shape, strict=True)
            )
            array[region] = pixels[tuple(slice(0, span.stop - span.start) for span in region)]
            originals.append(file)
            continue
        os.makedirs(os.path.dirname(file), exist_ok=True)
        os.link(originals[(number * 7 + number // 11) % different], file)
    return path


def _chunk(rng, chunks, noise):
    slope = np.add.outer(np.arange(chunks[-2]) % 4096 / 4, np.arange(chunks[-1]) % 4096 / 7)
    pixels = 200 + rng.integers(0, max(1, noise), chunks) + slope
    spots = rng.random(chunks) < (1e-3 if noise else 1e-5)
    pixels[spots] += rng.integers(50, 400, spots.sum())
    return pixels
