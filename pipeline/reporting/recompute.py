"""Verification of a finished output: random blocks computed again through scikit-image and scipy.

Kernels, blocks and halo of the run are not used: each block is read with a margin wider than the chain's
halo, filtered by the steps' oracles (`Step.reference`), cast by NumPy, and compared with the stored one.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.model.errors import PipelineError, Problem, RequestError, VerificationError
from pipeline.model.image import ImageSpec, Region, origin_of
from pipeline.model.machine import cores
from pipeline.read import Source, open_source
from pipeline.reporting.oracle import (
    BlockComparison,
    cast_reference,
    compared_with,
    reference_background,
    reference_chain,
)
from pipeline.reporting.report_data import StoredPixels, recorded_config, section_of
from pipeline.steps.chain import chain_halo, resolve_steps
from pipeline.steps.contract import Background
from pipeline.steps.step import Step
from pipeline.write import provenance_of
from pipeline.write.work import changes

SIDES = (128, 64, 32)  # rows and columns of a block; the first that is cheap enough is taken
OPERATIONS = 4e8  # comparisons and multiplications of a block: about a second

# Entries of an input's identity that change when its files are moved or copied.
_NAMES = ("path", "folder", "name", "mtime_ns", "times")


@dataclass(frozen=True)
class Original:
    """A finished output with the input and resolved steps that it was made from."""

    output: str
    source: Source
    stored: StoredPixels
    steps: tuple[Step, ...]
    offset: float
    backgrounds: tuple[Background, ...] = ()  # of each channel, where the output is a background

    @property
    def chain(self) -> str:
        """Description of the steps."""
        names = " → ".join(step.name for step in self.steps)
        return f"the background of {names}" if self.backgrounds else names

    @property
    def exact(self) -> bool:
        """Whether every pixel must agree to the bit."""
        return all(step.exact for step in self.steps)


@dataclass(frozen=True)
class Verification:
    """Outcome of a verification; `str` describes it."""

    original: Original
    blocks: tuple[BlockComparison, ...]
    side: int
    seed: int

    def __str__(self) -> str:
        compared = [block for block in self.blocks if not block.skipped]
        count = f"{len(self.blocks)} random blocks of up to {self.side} × {self.side} px (--seed {self.seed})"
        lines = [f"{count} computed again from the input through scikit-image and scipy"]
        if compared:
            worst = max(compared, key=lambda block: block.difference)
            promise = "0" if worst.allowed == 0 else f"at most {worst.allowed:.3g}"
            largest = f"the largest difference is {worst.difference:.3g}, promised is {promise}"
            lines.append(f"{self.original.chain}: {largest}")
        if skipped := len(self.blocks) - len(compared):
            lines.append(f"{skipped} of them hold a NaN or an infinity, which filters spread each in its way")
        return "\n".join(lines)


def recompute(output: str, count: int, *, seed: int | None = None, input: str | None = None) -> Verification:
    """Compute random blocks of a finished output again and compare them.

    Parameters
    ----------
    output : str
        Folder of the output.
    count : int
        Number of blocks.
    seed : int, optional
        Seed of the random positions; default: a new one each time.
    input : str, optional
        Path of the input if it has moved.

    Raises
    ------
    RequestError
        It is no output of a run, or its input is gone or has changed.
    VerificationError
        Pixels differ: one line for each such block.
    """
    original = open_original(output, input)
    seed = secrets.randbelow(2**32) if seed is None else seed
    side, margin = reference_block(original.source.spec, original.steps)
    regions = random_regions(original.source.spec, side, count, seed)
    with ThreadPoolExecutor(cores(), thread_name_prefix="bgone-again") as pool:
        blocks = tuple(pool.map(lambda region: compare(original, region, margin), regions))
    wrong = [block for block in blocks if not block.right]
    if wrong:
        raise VerificationError(_problem(original, block) for block in wrong)
    return Verification(original, blocks, side, seed)


def open_original(output: str, input: str | None = None) -> Original:
    """Open a finished output and its unchanged input; refuse an input that is gone or has changed."""
    provenance = provenance_of(output)
    if provenance is None:
        raise RequestError([Problem("is no output that bgone finished", "name one", file=output)])
    recorded = section_of(provenance, "input")
    if not section_of(provenance, "config") or not {"path", "format"} <= recorded.keys():
        message = "was made from pixels in memory, not from files, so there is nothing to compute again"
        raise RequestError([Problem(message, "leave --recompute out", file=output)])
    try:
        config = recorded_config(provenance, input)
        source = config.input.open()
    except PipelineError as error:
        first = error.problems[0]
        hint = "say with --input PATH where it is now" if input is None else first.hint
        message = f"what it was made of cannot be opened: {first.message}"
        raise RequestError([Problem(message, hint, file=output)]) from error
    changed = changes({"input": _without_names(recorded)}, {"input": _without_names(source.identity())})
    if changed:
        message = f"its input, {source.path}, is not what it was ({'; '.join(changed[:3])})"
        hint = "say with --input PATH where the unchanged input is"
        raise RequestError([Problem(message, hint, file=output)])
    stored, spec = open_source(output), source.spec
    expected = tuple(spec.sizes.get(axis, 1) for axis in stored.spec.axes)
    if stored.spec.shape != expected:
        message = f"its image is {stored.spec.shape} and must be {expected}"
        raise VerificationError([Problem(message, "write it again with --overwrite", file=output)])
    backgrounds = tuple(section_of(provenance, "background").get("is", ()))
    return Original(
        output=output,
        source=source,
        stored=StoredPixels(stored, spec.axes),
        steps=resolve_steps(config.steps, spec),
        offset=0.0 if backgrounds else config.output.offset,
        backgrounds=backgrounds,
    )


def _without_names(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_names(inner) for key, inner in value.items() if key not in _NAMES}
    return [_without_names(inner) for inner in value] if isinstance(value, list | tuple) else value


def reference_block(spec: ImageSpec, steps: tuple[Step, ...]) -> tuple[int, dict[str, int]]:
    """Choose the side of a block and the margin read around it, in px for each axis.

    The margin is twice the halo, so that a halo that is too small shows; less where that would take minutes.
    """
    halo = chain_halo(steps, spec.axes)
    twice = {axis: 2 * px for axis, px in halo.items()}
    wider = {axis: px + min(px, 16) for axis, px in halo.items()}
    operations = sum(_operations(step) for step in steps)
    choices = [(side, margin) for margin in (twice, wider) for side in SIDES]
    for side, margin in choices:
        read = [min(size, _length(axis, side) + 2 * margin[axis]) for axis, size in spec.sizes.items()]
        if math.prod(read) * operations <= OPERATIONS:
            return side, margin
    return choices[-1]


def _operations(step: Step) -> float:
    """Estimate the operations a pixel that the step's oracle needs."""
    reach = [px for px in step.halo().values() if px]
    if not step.exact:
        return sum(4 * px + 2 for px in reach)
    # Erosion and dilation; the halo counts both, so it is as long as a side of the footprint.
    return 2 * math.prod(px + 1 for px in reach)


def _length(axis: str, side: int) -> int:
    return side if axis in "yx" else 1


def random_regions(spec: ImageSpec, side: int, count: int, seed: int) -> Iterator[Region]:
    """Yield blocks around random pixels, moved inside at the border so that it is tested often."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        region = []
        for axis, size in spec.sizes.items():
            px = min(size, _length(axis, side))
            start = int(random.integers(size)) - px // 2
            start = max(0, min(start, size - px))
            region.append(slice(start, start + px))
        yield tuple(region)


def compare(original: Original, region: Region, margin: Mapping[str, int]) -> BlockComparison:
    """Compute one block again and compare it with the stored one."""
    spec = original.source.spec
    around = tuple(
        slice(max(0, span.start - margin[axis]), min(size, span.stop + margin[axis]))
        for (axis, size), span in zip(spec.sizes.items(), region, strict=True)
    )
    image = original.source.read(around)
    if not original.exact and not np.isfinite(image).all():
        return BlockComparison(region, skipped=True)
    result, error = reference_chain(original.steps, image, spec.axes, origin_of(around))
    inner = tuple(slice(r.start - a.start, r.stop - a.start) for r, a in zip(region, around, strict=True))
    stored, expected = original.stored.read(region), result[inner]
    if original.backgrounds:
        channel = dict(zip(spec.axes, region, strict=True)).get("c", slice(0, 1)).start
        expected = reference_background(original.backgrounds[channel], image[inner], expected)
    # The difference of two floats is rounded once more.
    exact = error == 0 and not (original.backgrounds and stored.dtype.kind == "f")
    expected, rounding = cast_reference(expected, stored.dtype, original.offset, exact=exact)
    return compared_with(region, stored, expected, error + rounding)


def _problem(original: Original, block: BlockComparison) -> Problem:
    pixel, origin = (
        ", ".join(f"{axis} {index}" for axis, index in zip(original.source.spec.axes, indices, strict=True))
        for indices in (block.pixel, origin_of(block.region))
    )
    message = (
        f"the pixel at {pixel} is {block.stored:.9g}, and {original.chain} through scikit-image and scipy "
        f"gives {block.expected:.9g}: off by {block.difference:.3g} where at most {block.allowed:.3g} "
        f"is promised (block at {origin})"
    )
    return Problem(message, "write the output again with --overwrite", file=original.output)
