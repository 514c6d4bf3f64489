"""Base classes of morphological steps, with footprints made of a radius or a size."""

from __future__ import annotations

import functools
from abc import ABC
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, model_validator

from pipeline.kernels import morphology
from pipeline.kernels.dtypes import unsigned_dtype
from pipeline.kernels.morphology import Footprint
from pipeline.kernels.morphology.footprint import Shape
from pipeline.model.errors import Problem, RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.messages import as_pydantic_error
from pipeline.model.units import PX, Extent, Quantity
from pipeline.steps import reference
from pipeline.steps.lengths import Length, extent_by_axis
from pipeline.steps.step import Step

_RADIUS_HINT = "give a radius of 1 px or more"


def _check_radius(radius: Extent) -> Extent:
    """Refuse a radius below 1 px; 0 is allowed on some axes, but not on all."""
    lengths = extent_by_axis(radius)
    any_positive = any(length.value > 0 for length in lengths.values())
    problems = []
    for axis, length in lengths.items():
        in_px = length.unit == PX
        flat = axis and any_positive and length.value == 0
        if not flat and (length.value <= 0 or (in_px and length.value < 1)):
            problems.append(Problem(f"{length} is below {'1 px' if in_px else '0'}", _RADIUS_HINT, axis))
    if problems:
        raise RequestError(problems)
    return radius


def check_size(size: Extent) -> Extent:
    """Refuse a size in px that is not an odd whole number, and one of a single pixel."""
    lengths = extent_by_axis(size)
    problems = []
    for axis, length in lengths.items():
        value, in_px = length.value, length.unit == PX
        if in_px and (value != int(value) or value % 2 == 0) and not (axis and value == 0):
            problems.append(Problem(f"{length} is not an odd whole number", _odd_hint(value), axis))
        elif value < 0 or (value == 0 and not in_px):
            hint = "give an odd number of px, such as 25" if in_px else "give a size above 0"
            problems.append(Problem(f"{length} is not above 0", hint, axis))
    if problems:
        raise RequestError(problems)
    if all(length.unit == PX and length.value <= 1 for length in lengths.values()):
        raise RequestError("looks at the pixel itself alone", "give a size of 3 px or more on an axis")
    return size


def _odd_hint(value: float) -> str:
    if not 2 <= value < 1e6:
        return "give an odd number of px, such as 25"
    below = 2 * int((value - 1) // 2) + 1
    return f"give {below} or {below + 2}"


# Types of fields: the radius of a footprint, and the side of a box.
Radius = Annotated[Length, AfterValidator(as_pydantic_error(_check_radius))]
BoxSize = Annotated[Length, AfterValidator(as_pydantic_error(check_size))]


class FlatStep(Step, ABC):
    """A step made of erosions and dilations, equal to its reference in every bit.

    A field named `size`, or `…_size`, is the side of a box; any other length is a radius.
    """

    def extents(self) -> tuple[tuple[str, Shape], ...]:
        """Return the field and the shape of each footprint, in the order of the filters; boxes by default."""
        return tuple((name, "box") for name in self.lengths)

    def footprints(self, axes: str) -> tuple[Footprint, ...]:
        """Return the footprints for the kernels, on an array of `axes` (resolved step)."""
        return _footprints(self, axes)

    def masks(self, axes: str) -> tuple[NDArray[np.bool_], ...]:
        """Return the footprints for scikit-image, on an array of `axes` (resolved step)."""
        return tuple(reference.mask(shape, self._radii(field, axes)) for field, shape in self.extents())

    def _radii(self, field: str, axes: str) -> tuple[float, ...]:
        lengths = self.pixels(field, axes)
        return tuple(float(max(px, 1) // 2 if field.endswith("size") else px) for px in lengths)

    def round_length(self, name: str, px: float, given: Quantity) -> float:
        """Round a size to an odd whole number, a physical one to 2⌊px / 2⌋ + 1; a radius stays."""
        if not name.endswith("size"):
            return px
        return max(1, int(px)) if given.unit == PX else 2 * int(px / 2) + 1

    def check(self, spec: ImageSpec) -> None:
        """Refuse a footprint below 1 px, and one that reaches as far as the longest axis is long."""
        longest = max(spec.sizes[axis] for axis in self.along)
        for name in self.lengths:
            smallest = min((px for px in self.pixels(name, self.along) if px > 0), default=0)
            if smallest < 1 and not name.endswith("size"):
                raise RequestError(f"{Quantity(smallest)} is below 1 px", _RADIUS_HINT, name)
            reach = max(self._radii(name, self.along))
            if reach >= longest:
                raise RequestError(
                    f"reaches {reach:g} px and the longest axis of {self.along} has {longest} px",
                    "give a smaller one",
                    name,
                )
        if not any(self.halo().values()):
            raise RequestError(
                "looks at the pixel itself alone", "give a size of 3 px or more", next(iter(self.lengths))
            )

    def halo(self) -> dict[str, int]:
        """Return the sum of the footprints' reaches along each axis, in px."""
        reaches = [footprint.reach for footprint in self.footprints(self.along)]
        return {axis: sum(px) for axis, *px in zip(self.along, *reaches, strict=True)}

    def working_bytes(self, shape: tuple[int, ...], dtype: np.dtype, axes: str) -> int:
        """Return the scratch memory of the kernel, in bytes."""
        return morphology.morphology_bytes(shape, dtype, self.footprints(axes))

    def out_dtype(self, dtype: np.dtype) -> np.dtype:
        """Return the unsigned type of the same width for integers; floats stay."""
        return unsigned_dtype(dtype)

    def value_range(self, low: float, high: float) -> tuple[float, float]:
        """Return 0 and the width of the input's range."""
        return 0, high - low


@functools.lru_cache(maxsize=256)
def _footprints(step: FlatStep, axes: str) -> tuple[Footprint, ...]:
    return tuple(Footprint(shape, step._radii(field, axes)) for field, shape in step.extents())


class TophatStep(FlatStep, ABC):
    """Base class of white and black top-hat: one footprint, made of a radius or a size.

    Parameters
    ----------
    radius : number, text or mapping
        Radius of the footprint in px, in physical units ("8 um"), or one for each axis.
        Take it larger than the features to keep. At least 1 px.
    footprint : {"disk", "box"}
        With `radius`: a disk (a ball, an ellipsoid), the default, or a box.
    size : number, text or mapping
        Instead of a radius: the side of a box, an odd number of px.
    """

    radius: Radius | None = None
    footprint: Literal["disk", "box"] | None = None
    size: BoxSize | None = None

    @model_validator(mode="after")
    def _check_one_extent(self) -> Self:
        if (self.radius is None) == (self.size is None):
            message = (
                "has neither a radius nor a size" if self.size is None else "has both a radius and a size"
            )
            raise ValueError(f"{message}; give one of them")
        if self.size is not None and self.footprint == "disk":
            raise ValueError("a size is the side of a box; give a radius for a disk")
        return self

    def extents(self) -> tuple[tuple[str, Shape], ...]:
        """Return the footprint twice: for an erosion and a dilation, in either order."""
        return (("size", "box") if self.radius is None else ("radius", self.footprint or "disk"),) * 2
