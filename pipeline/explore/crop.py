"""Which part of an image people look at, and its pixels step by step, as the run gives them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.model.errors import PipelineError, Problem, RequestError
from pipeline.model.finite import check_finite
from pipeline.model.image import ImageSpec, Region, origin_of, region_shape
from pipeline.model.tiling import Tiling
from pipeline.read import Source
from pipeline.read.select import select
from pipeline.steps.chain import apply_step, chain_halo
from pipeline.steps.step import Step

WHOLE = 2048
"""A plane of up to this many px a side is shown whole."""

CROP = 1024
"""Px a side that are shown of a larger one."""

BLOCKS = 128 * 2**20
"""Bytes of the run's own blocks up to which they are computed for a crop of them."""


@dataclass(frozen=True)
class View:
    """One plane, or a part of it.

    Parameters
    ----------
    region : tuple of slice
        Of length 1 along t, c and z.
    spec : ImageSpec
        The image that it is of.
    """

    region: Region
    spec: ImageSpec

    @property
    def at(self) -> dict[str, int]:
        """Axis → index, for t, c and z as far as the image has them."""
        return {axis: part.start for axis, part in self._parts() if axis not in "yx"}

    @property
    def channel(self) -> int:
        """Index of its channel; 0 where there are none."""
        return self.at.get("c", 0)

    @property
    def cropped(self) -> bool:
        """Whether it is less than the plane."""
        return any(part.stop - part.start < self.spec.sizes[axis] for axis, part in self._parts("yx"))

    def _parts(self, axes: str = "tczyx") -> list[tuple[str, slice]]:
        return [each for each in zip(self.spec.axes, self.region, strict=True) if each[0] in axes]

    def where(self) -> str:
        """Return which plane it is, for a reader: t 50 · GFP · z 3."""
        names = self.spec.channel_names
        words = []
        for axis, index in self.at.items():
            name = names[index] if axis == "c" and names else ""
            words.append(name or f"{axis} {index}")
        return " · ".join(words)

    def extent(self) -> str:
        """Return which part of the plane it is, for a reader; empty for all of it."""
        if not self.cropped:
            return ""
        return ", ".join(f"{axis} {part.start}:{part.stop}" for axis, part in self._parts("yx"))


def parse_list(text: str | None) -> list[int | str] | None:
    """Return the items of an option such as "0,50,-1" or "GFP,1"; numbers as such.

    >>> parse_list("0, -1,GFP")
    [0, -1, 'GFP']
    """
    if text is None:
        return None
    items = [item.strip() for item in text.split(",")]
    return [int(item) if item.lstrip("-").isdecimal() else item for item in items]


def parse_crop(text: str | None) -> dict[str, str]:
    """Return the slices of an option such as "y=0:512,x=0:512".

    Raises
    ------
    RequestError
        It is none of y and x.
    """
    crop: dict[str, str] = {}
    for item in (text or "").split(",") if text else []:
        axis, equals, span = (part.strip() for part in item.partition("="))
        if not equals or axis not in ("y", "x") or ":" not in span:
            raise RequestError(f"{item!r} is no part of a plane", "write it like y=0:512,x=0:512", "--crop")
        if axis in crop:
            raise RequestError(f"{axis} is given twice", "give each axis once", "--crop")
        crop[axis] = span
    return crop


def find_views(
    spec: ImageSpec,
    *,
    t: str | None = None,
    c: str | None = None,
    z: str | None = None,
    crop: str | None = None,
) -> tuple[View, ...]:
    """Return the planes that options name: the middle one of t and z and every channel, if not said.

    Parameters
    ----------
    spec : ImageSpec
        The image.
    t, c, z : str, optional
        Indices separated by commas, negative ones from the end; names for channels.
    crop : str, optional
        Of the plane, such as "y=0:512,x=0:512". Default: the whole plane, or the centre of a
        large one.

    Raises
    ------
    RequestError
        An option names what is not there.
    """
    wanted = {"t": parse_list(t), "c": parse_list(c), "z": parse_list(z)}
    problems: list[Problem] = []
    spans = _spans(spec, crop, problems)
    indices: dict[str, list[int | None]] = {
        axis: [*_indices(spec, axis, items, problems)] for axis, items in wanted.items()
    }
    if problems:
        raise RequestError(problems)
    order = [axis for axis in "tczyx" if axis in spec.axes]
    choices = [indices.get(axis, [None]) for axis in order]
    views = []
    for at in itertools.product(*choices):
        places = dict(zip(order, at, strict=True))
        region = []
        for axis in spec.axes:
            place = places[axis]
            region.append(spans[axis] if place is None else slice(place, place + 1))
        views.append(View(tuple(region), spec))
    return tuple(views)


def _indices(
    spec: ImageSpec, axis: str, items: Sequence[int | str] | None, problems: list[Problem]
) -> list[int]:
    if items is None:
        size = spec.sizes.get(axis, 1)
        return list(range(size)) if axis == "c" else [size // 2]
    if axis not in spec.axes and set(items) <= {0, -1}:
        return [0]
    found: list[int] = []
    for item in items:
        named = axis == "c" and str(item) in spec.channel_names
        problems += _picked(spec, axis, str(item) if named else item, f"--{axis}", found)
    return found


def _picked(spec: ImageSpec, axis: str, item: int | str, option: str, found: list[int]) -> list[Problem]:
    if axis != "c" and isinstance(item, str):
        return [Problem(f"{item!r} is no index", "give whole numbers separated by commas", option)]
    try:
        _, picks = select(spec, {axis: [item]})
    except PipelineError as error:
        return [replace(problem, field=option) for problem in error.problems]
    found.append(picks[spec.axes.index(axis)][0])
    return []


def _spans(spec: ImageSpec, crop: str | None, problems: list[Problem]) -> dict[str, slice]:
    spans = {axis: _centre(spec.sizes[axis]) for axis in "yx"}
    try:
        for axis, text in parse_crop(crop).items():
            _, picks = select(spec, {axis: text})
            pick = picks[spec.axes.index(axis)]
            if not isinstance(pick, range) or pick.step != 1:
                raise RequestError(f"{text!r} has a step", "leave it out", "--crop")
            spans[axis] = slice(pick.start, pick.stop)
    except PipelineError as error:
        problems += [replace(problem, field="--crop") for problem in error.problems]
    return spans


def _centre(size: int) -> slice:
    if size <= WHOLE:
        return slice(0, size)
    start = (size - CROP) // 2
    return slice(start, start + CROP)


@dataclass(frozen=True)
class _Part:
    """A block: what is read for it, and what is kept of it."""

    reads: Region
    keeps: Region


def step_by_step(
    source: Source,
    steps: tuple[Step, ...],
    region: Region,
    *,
    tiling: Tiling | None = None,
    refuse_nan: bool = True,
) -> list[NDArray]:
    """Return a region of the image, and what each step makes of it.

    Parameters
    ----------
    source : Source
        The input.
    steps : tuple of Step
        Resolved.
    region : tuple of slice
        What is looked at. It is read with the halo of the chain.
    tiling : Tiling, optional
        How the run cuts the image. Linear filters round differently in blocks of another shape,
        in the last bit; where the blocks that meet the region are small enough, they are computed
        as the run computes them, so that the pixels are its own to the bit. Morphology needs no
        such thing.
    refuse_nan : bool
        Whether a NaN or an infinity is an error, as in the run.

    Returns
    -------
    list of numpy.ndarray
        Of the region's shape: the input, and one for each step.

    Raises
    ------
    DataError
        There is a NaN or an infinity.
    """
    parts = [_Part(_grown(region, steps, source.spec), region)]
    if tiling is not None and not all(step.exact for step in steps):
        blocks = list(_blocks(region, tiling))
        pixels = sum(math.prod(region_shape(block.reads)) for block in blocks)
        if pixels * source.spec.dtype.itemsize <= BLOCKS:
            parts = blocks
    images: list[NDArray] = []
    for part in parts:
        for number, block in enumerate(_chain(source, steps, part.reads, refuse_nan)):
            kept = block[_inside(part.keeps, part.reads)]
            if number == len(images):
                images.append(np.empty(region_shape(region), kept.dtype))
            images[number][_inside(part.keeps, region)] = kept
    return images


def _chain(source: Source, steps: tuple[Step, ...], reads: Region, refuse_nan: bool) -> Iterator[NDArray]:
    axes, origin = source.spec.axes, origin_of(reads)
    block = source.read(reads)
    if refuse_nan:
        check_finite(block, axes, origin)
    yield block
    for step in steps:
        block = apply_step(step, block, axes, origin)
        yield block


def _grown(region: Region, steps: tuple[Step, ...], spec: ImageSpec) -> Region:
    halo = chain_halo(steps, spec.axes)
    return tuple(
        slice(max(0, part.start - halo[axis]), min(size, part.stop + halo[axis]))
        for (axis, size), part in zip(spec.sizes.items(), region, strict=True)
    )


def _blocks(region: Region, tiling: Tiling) -> Iterator[_Part]:
    """Yield the run's blocks that meet a region, each with what it keeps inside the region."""
    each: list[list[tuple[slice, slice]]] = []
    for axis, part in zip(tiling.sizes, region, strict=True):
        met = []
        for cut in tiling.axis_windows(axis):
            for (start, stop), read in zip(itertools.pairwise(cut.edges), cut.reads, strict=True):
                first, last = max(start, part.start), min(stop, part.stop)
                if first < last:
                    met.append((slice(*read), slice(first, last)))
        each.append(met)
    for combination in itertools.product(*each):
        yield _Part(tuple(read for read, _ in combination), tuple(keep for _, keep in combination))


def _inside(region: Region, outer: Region) -> Region:
    return tuple(
        slice(part.start - frame.start, part.stop - frame.start)
        for part, frame in zip(region, outer, strict=True)
    )


def plane(block: NDArray) -> NDArray:
    """Return the rows and columns of a view's pixels."""
    return block.reshape(block.shape[-2:])
