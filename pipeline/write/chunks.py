"""The choice of chunks and shards of an output. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec

# Below a quarter of a MiB opening a file costs more than reading it; above 4 MiB a viewer
# waits for pixels it does not show.
SENSIBLE_BYTES = (256 << 10, 4 << 20)
LEAST_BYTES = 1 << 20
LONGEST_SIDE = 1024


def choose_chunks(spec: ImageSpec, requested: Mapping[str, int] | None = None) -> tuple[int, ...]:
    """Choose the shape of a chunk.

    Parameters
    ----------
    spec : ImageSpec
        The output's image, with the input's chunks.
    requested : mapping of str to int, optional
        Axis → px, for some axes or all.

    Returns
    -------
    tuple of int
        The input's chunk where it holds 256 KiB to 4 MiB and is neither a narrow strip nor
        several channels; else planes cut evenly to at most 1024 px a side, several of them
        (along z, then t) where one is below 1 MiB.

    Raises
    ------
    RequestError
        An axis is not the image's, or a size is below 1 px.

    Examples
    --------
    >>> import numpy as np
    >>> choose_chunks(ImageSpec("tyx", (100, 2048, 2048), np.dtype("uint16")))
    (1, 1024, 1024)
    >>> choose_chunks(ImageSpec("tyx", (100, 2160, 2560), np.dtype("uint16")))
    (1, 720, 864)
    """
    chosen = dict(zip(spec.axes, spec.chunks, strict=True)) if _sensible(spec) else _by_size(spec)
    for axis, px in _checked(spec, requested, "chunks").items():
        chosen[axis] = min(px, spec.sizes[axis])
    return tuple(chosen[axis] for axis in spec.axes)


def _checked(spec: ImageSpec, requested: Mapping[str, int] | None, field: str) -> dict[str, int]:
    for axis, px in (requested or {}).items():
        if axis not in spec.axes:
            raise RequestError(
                f"the output has no axis {axis!r}", f"its axes are {spec.axes}", f"output.{field}.{axis}"
            )
        if px < 1:
            raise RequestError(f"{px} is below 1 px", "give 1 px or more", f"output.{field}.{axis}")
    return dict(requested or {})


def _sensible(spec: ImageSpec) -> bool:
    sizes = dict(zip(spec.axes, spec.chunks, strict=True))
    if any(not 1 <= px <= size for px, size in zip(spec.chunks, spec.shape, strict=True)):
        return False
    strip = any(sizes[axis] < min(64, spec.sizes[axis]) for axis in "yx")
    # Channels are looked at one by one; a chunk of several is mostly an array that was never cut.
    mixed = sizes.get("c", 1) > 1
    return not strip and not mixed and _within(math.prod(spec.chunks) * spec.dtype.itemsize)


def _within(nbytes: int) -> bool:
    return SENSIBLE_BYTES[0] <= nbytes <= SENSIBLE_BYTES[1]


def _by_size(spec: ImageSpec) -> dict[str, int]:
    chosen = dict.fromkeys(spec.axes, 1)
    for axis in "yx":
        chosen[axis] = _even_part(spec.sizes[axis])
    for axis in "zt":
        nbytes = math.prod(chosen.values()) * spec.dtype.itemsize
        if axis in chosen and nbytes < LEAST_BYTES:
            chosen[axis] = min(spec.sizes[axis], -(-LEAST_BYTES // nbytes))
    return chosen


def _even_part(size: int) -> int:
    """Return the side of equal parts of at most LONGEST_SIDE px, a multiple of 16 where cut."""
    if size <= LONGEST_SIDE:
        return size
    parts = -(-size // LONGEST_SIDE)
    return -(-size // (parts * 16)) * 16


def choose_shards(
    spec: ImageSpec, chunks: tuple[int, ...], requested: Mapping[str, int] | None
) -> tuple[int, ...] | None:
    """Choose the shape of a shard: whole chunks, at most as many as the image has.

    Parameters
    ----------
    spec : ImageSpec
        The output's image.
    chunks : tuple of int
        What `choose_chunks` gave.
    requested : mapping of str to int, optional
        Axis → px; a chunk along the others. Nothing: no shards.

    Raises
    ------
    RequestError
        An axis is not the image's, or a size is no multiple of the chunk's.
    """
    if not requested:
        return None
    wanted = _checked(spec, requested, "shards")
    shards = []
    for axis, chunk, size in zip(spec.axes, chunks, spec.shape, strict=True):
        px = wanted.get(axis, chunk)
        if px % chunk and px < size:
            raise RequestError(
                f"a shard of {px} px is not a multiple of the chunk's {chunk} px",
                f"give a multiple of {chunk}",
                f"output.shards.{axis}",
            )
        shards.append(min(-(-px // chunk), -(-size // chunk)) * chunk)
    return tuple(shards)
