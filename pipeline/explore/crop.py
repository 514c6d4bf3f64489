"""Views (planes and crops) of an image, and their pixels after each step of a chain."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.model.errors import PipelineError, Problem, RequestError
from pipeline.model.image import ImageSpec, Region, region_shape
from pipeline.model.tiling import Cut, Tiling, cut_axis
from pipeline.read import Source
from pipeline.read.select import select
from pipeline.steps.chain import ApplyChain, chain_halo
from pipeline.steps.step import Step

WHOLE = 2048  # planes of up to so many px a side are shown whole
CROP = 1024  # px a side shown of larger ones
BLOCKS = 128 * 2**20  # bytes of the run's blocks up to which a crop is computed in these blocks


@dataclass(frozen=True)
class View:
    """One plane of an image, or a crop of it."""

    region: Region  # of length 1 along t, c and z
    spec: ImageSpec  # of the whole image

    @property
    def at(self) -> dict[str, int]:
        """Axis → index of t, c and z as far as the image has them."""
        return {axis: span.start for axis, span in zip(self.spec.axes[:-2], self.region[:-2], strict=True)}

    @property
    def channel(self) -> int:
        """Index of the channel; 0 without a c axis."""
        return self.at.get("c", 0)

    @property
    def cropped(self) -> bool:
        """Whether the view is less than the whole plane."""
        return region_shape(self.region)[-2:] != self.spec.shape[-2:]

    def where(self) -> str:
        """Name the plane, such as t 50 · GFP · z 3."""
        names = self.spec.channel_names
        return " · ".join(
            (names[index] if axis == "c" and names else "") or f"{axis} {index}"
            for axis, index in self.at.items()
        )

    def extent(self) -> str:
        """Name the crop, such as y 0:512, x 0:512; empty for the whole plane."""
        spans = zip("yx", self.region[-2:], strict=True)
        return ", ".join(f"{axis} {span.start}:{span.stop}" for axis, span in spans) if self.cropped else ""


def parse_list(text: str) -> list[int | str]:
    """Split an option such as "0,50,-1" or "GFP,1"; integers become int.

    >>> parse_list("0, -1,GFP")
    [0, -1, 'GFP']
    """
    items = [item.strip() for item in text.split(",")]
    return [int(item) if item.lstrip("-").isdecimal() else item for item in items]


def parse_crop(text: str | None) -> dict[str, str]:
    """Return the slices of y and x of an option such as "y=0:512,x=0:512"."""
    crop: dict[str, str] = {}
    for item in text.split(",") if text else []:
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
    """Return the views that options select; by default every channel at the middle of t and z.

    Parameters
    ----------
    spec : ImageSpec
        The image.
    t, c, z : str, optional
        Indices separated by commas, negative ones from the end; channels by name too.
    crop : str, optional
        Such as "y=0:512,x=0:512"; default: the whole plane, or the centre of a large one.

    Raises
    ------
    RequestError
        An option selects something that the image does not have.
    """
    problems: list[Problem] = []
    spans: dict[str, list[slice]] = {
        axis: _planes(spec, axis, text, problems) for axis, text in (("t", t), ("c", c), ("z", z))
    }
    spans |= _rows_and_columns(spec, crop, problems)
    if problems:
        raise RequestError(problems)
    return tuple(View(region, spec) for region in itertools.product(*(spans[axis] for axis in spec.axes)))


@contextlib.contextmanager
def _problems_of(option: str, problems: list[Problem]) -> Iterator[None]:
    """Collect the problems of an option instead of raising at the first."""
    try:
        yield
    except PipelineError as error:
        problems += [replace(problem, field=option) for problem in error.problems]


def _planes(spec: ImageSpec, axis: str, text: str | None, problems: list[Problem]) -> list[slice]:
    size = spec.sizes.get(axis, 1)
    if text is None:
        return [slice(index, index + 1) for index in (range(size) if axis == "c" else [size // 2])]
    spans: list[slice] = []
    for item in parse_list(text):
        if axis not in spec.axes and item in (0, -1):
            continue
        name = axis == "c" and str(item) in spec.channel_names
        with _problems_of(f"--{axis}", problems):
            if axis != "c" and isinstance(item, str):
                raise RequestError(f"{item!r} is no index", "give whole numbers separated by commas")
            _, picks = select(spec, {axis: [str(item) if name else item]})
            index = picks[spec.axes.index(axis)][0]
            spans.append(slice(index, index + 1))
    return spans


def _rows_and_columns(spec: ImageSpec, crop: str | None, problems: list[Problem]) -> dict[str, list[slice]]:
    spans = {}
    for axis in "yx":
        size = spec.sizes[axis]
        start = (size - CROP) // 2 if size > WHOLE else 0
        spans[axis] = [slice(start, start + CROP if size > WHOLE else size)]
    with _problems_of("--crop", problems):
        for axis, text in parse_crop(crop).items():
            _, picks = select(spec, {axis: text})
            pick = picks[spec.axes.index(axis)]
            if not isinstance(pick, range) or pick.step != 1:
                raise RequestError(f"{text!r} has a step", "leave it out")
            spans[axis] = [slice(pick.start, pick.stop)]
    return spans


def step_by_step(
    source: Source,
    steps: tuple[Step, ...],
    region: Region,
    *,
    tiling: Tiling | None = None,
    refuse_nan: bool = True,
) -> list[NDArray]:
    """Return a region of the image, and the same region after each of the resolved steps.

    The region is read with the halo of the chain, or in the blocks of the run's `tiling`.

    Raises
    ------
    DataError
        There is a NaN or an infinity, and `refuse_nan` says so.
    """
    spec, halo = source.spec, chain_halo(steps, source.spec.axes)
    blocks: list[tuple[Cut, ...]] = [
        tuple(
            cut_axis(size, span.start, span.stop, span.stop - span.start, halo[axis])
            for (axis, size), span in zip(spec.sizes.items(), region, strict=True)
        )
    ]
    # The last bit of linear filters depends on the shape of the block: in the run's own blocks a preview has
    # its pixels to the bit. Morphology is exact in any.
    if tiling is not None and any(step.accuracy for step in steps):
        run_blocks = list(_blocks_of_run(region, tiling))
        pixels = sum(math.prod(cut.end - cut.begin for cut in cuts) for cuts in run_blocks)
        if pixels * spec.dtype.itemsize <= BLOCKS:
            blocks = run_blocks
    images: list[NDArray] = []
    for cuts in blocks:
        block = source.read(tuple(slice(cut.begin, cut.end) for cut in cuts))
        inside = tuple(
            slice(cut.edges[0] - span.start, cut.edges[-1] - span.start)
            for cut, span in zip(cuts, region, strict=True)
        )
        chain = ApplyChain(steps, spec.axes, cuts, refuse_nan)
        for number, stage in enumerate(chain.stages(block, (0,) * len(cuts))):
            if number == len(images):
                images.append(np.empty(region_shape(region), stage.dtype))
            images[number][inside] = stage
    return images


def _blocks_of_run(region: Region, tiling: Tiling) -> Iterator[tuple[Cut, ...]]:
    """Yield the cuts of the run's blocks that overlap a region, each clipped to the region."""
    along = [
        [
            Cut((max(start, span.start), min(stop, span.stop)), (reads,))
            for window in tiling.axis_windows(axis)
            for (start, stop), reads in zip(itertools.pairwise(window.edges), window.reads, strict=True)
            if start < span.stop and stop > span.start
        ]
        for axis, span in zip(tiling.sizes, region, strict=True)
    ]
    yield from itertools.product(*along)


def plane(block: NDArray) -> NDArray:
    """Return the pixels of a view as a 2D array."""
    return block.reshape(block.shape[-2:])
