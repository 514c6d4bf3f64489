"""Images on which the promises of a step are tried, and regions to cut them into."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.dtypes import SUPPORTED
from pipeline.model.axes import in_order
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec, Region, origin_of
from pipeline.steps.chain import apply_step
from pipeline.steps.step import Step

Parameters = dict[str, Any]

# Dtypes that no step may refuse.
_COMMON = tuple(map(np.dtype, ("uint8", "uint16", "float32")))


def require(condition: bool, message: str) -> None:
    """Raise AssertionError with a message unless a condition holds, even under `python -O`."""
    if not condition:
        raise AssertionError(message)


@dataclass(frozen=True)
class StepCase:
    """A resolved step and an image that is larger than its halo."""

    step: Step
    spec: ImageSpec
    halo: dict[str, int]

    def apply(self, block: NDArray, origin: tuple[int, ...] | None = None) -> NDArray:
        """Filter a block."""
        return apply_step(self.step, block, self.spec.axes, origin or (0,) * block.ndim)

    def apply_to_region(self, image: NDArray, region: Region, short: str = "") -> NDArray:
        """Filter a region with its halo alone; the halo is 1 px too narrow along the axis `short`."""
        halo = {axis: px - (axis == short) for axis, px in self.halo.items()}
        cut = tuple(
            slice(max(0, part.start - halo.get(axis, 0)), min(size, part.stop + halo.get(axis, 0)))
            for axis, part, size in zip(self.spec.axes, region, self.spec.shape, strict=True)
        )
        out = self.apply(np.ascontiguousarray(image[cut]), origin_of(cut))
        return out[
            tuple(slice(r.start - c.start, r.stop - c.start) for r, c in zip(region, cut, strict=True))
        ]

    def regions(self, seed: int) -> Iterator[Region]:
        """Yield regions that tile the image, cut at random along the axes with a halo."""
        rng = np.random.default_rng(seed)
        spans = []
        for axis, size in self.spec.sizes.items():
            cut = self.halo.get(axis) and size > 2
            inner = sorted({1, *map(int, rng.choice(np.arange(1, size), 2))}) if cut else []
            spans.append([slice(*pair) for pair in itertools.pairwise([0, *inner, size])])
        return itertools.product(*spans)


def make_case(
    step: type[Step], parameters: Parameters, dtype: str = "uint16", thin: bool = False
) -> StepCase:
    """Resolve a step for an image that can be cut; a `thin` image is shorter than the halo on most axes."""
    unresolved = step(**parameters)
    axes = in_order("".join({*"tyx", *unresolved.along}))
    halo = unresolved.resolve(ImageSpec(axes, (999,) * len(axes), np.dtype(dtype))).halo()
    sizes = {axis: 2 * halo[axis] + 13 if axis in halo else 2 for axis in axes}
    if not {"y", "x"} <= set(unresolved.along):
        sizes = {axis: size if halo.get(axis) else 7 for axis, size in sizes.items()}
    if thin:
        # The last axis stays long, since a step refuses an image that is shorter than its footprint on all.
        sizes |= {axis: max(2, halo[axis] // 2) for axis in unresolved.along[:-1] if halo[axis]}
    spec = ImageSpec(axes, tuple(sizes.values()), np.dtype(dtype))
    return StepCase(unresolved.resolve(spec), spec, halo)


def case_per_dtype(step: type[Step], parameters: Parameters) -> Iterator[StepCase]:
    """Yield a case for each dtype that the step accepts."""
    for dtype in SUPPORTED:
        try:
            yield make_case(step, parameters, dtype.name)
        except RequestError as error:
            require(dtype not in _COMMON, f"refuses {dtype}: {error}")


def noise(spec: ImageSpec, seed: int = 0) -> NDArray:
    """Return an image of a gradient, noise, and single pixels of the dtype's extreme values."""
    rng = np.random.default_rng(seed)
    limits = np.iinfo(spec.dtype) if spec.dtype.kind != "f" else None
    low, high = (-1e3, 6e4) if limits is None else (int(limits.min), int(limits.max))
    ramp = sum(np.ogrid[tuple(slice(0, 1, size * 1j) for size in spec.shape)]) / len(spec.shape)
    image = low + (high - low) * (0.3 + 0.3 * ramp + 0.1 * rng.random(spec.shape))
    spots = rng.random(spec.shape)
    pixels = np.clip(image, low, high * (1 - 1e-15)).astype(spec.dtype)  # float(2**64 - 1) is 2**64
    return np.where(spots < 0.02, spec.dtype.type(low), np.where(spots > 0.98, spec.dtype.type(high), pixels))


def islands(case: StepCase, seed: int) -> NDArray:
    """Return an image on which the farthest pixel that a filter looks at often decides.

    Bright boxes as large as the filter's reach lie on a dark image, each with one dim pixel. A minimum
    filter finds the dim pixel, and another value where that pixel is cut away. Odd seeds are inverted.
    """
    rng = np.random.default_rng(seed)
    image = np.zeros(case.spec.shape)
    for _ in range(40):
        dim = []
        box = []
        for axis, size in case.spec.sizes.items():
            start = int(rng.integers(0, size))
            stop = start + int(rng.integers(1, case.halo.get(axis, 0) + 2))
            box.append(slice(start, stop))
            dim.append(int(rng.integers(start, min(stop, size))))
        image[tuple(box)] = rng.integers(50, 90)
        image[tuple(dim)] = rng.integers(5, 45)
    return (100 - image if seed % 2 else image).astype(case.spec.dtype)


def agree(step: Step, one: NDArray, other: NDArray, largest: float) -> bool:
    """Compare results of a step: in every bit if it is exact, else within 1e-6 of the largest value."""
    if step.exact:
        return np.array_equal(one, other)
    return bool(np.abs(one.astype(float) - other.astype(float)).max() <= 1e-6 * largest)
