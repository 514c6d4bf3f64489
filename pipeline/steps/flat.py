"""What the morphological steps share: footprints out of a radius or a size."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator, model_validator

from pipeline.kernels.dtypes import unsigned_dtype
from pipeline.kernels.morphology.footprint import Footprint
from pipeline.model.errors import Problem, RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.units import PX, Extent, Quantity
from pipeline.steps import reference as _reference
from pipeline.steps.lengths import Length, collected
from pipeline.steps.step import Step


def by_axis(extent: Extent) -> dict[str, Quantity]:
    """Return the lengths of an extent by axis; of a single one by the empty name."""
    return dict(extent) if isinstance(extent, Mapping) else {"": extent}


@collected
def check_radius(extent: Extent) -> Extent:
    """Return a radius if each of its lengths is 1 px or more, or 0 on some axes only.

    Raises
    ------
    ValueError
        It is not.
    """
    lengths = by_axis(extent)
    flat = any(quantity.value > 0 for quantity in lengths.values())
    problems = []
    for axis, quantity in lengths.items():
        if axis and flat and quantity.value == 0:
            continue
        if quantity.value <= 0 or (quantity.unit == PX and quantity.value < 1):
            least = "1 px" if quantity.unit == PX else "0"
            problems.append(Problem(f"{quantity} is below {least}", "give a radius of 1 px or more", axis))
    if problems:
        raise RequestError(problems)
    return extent


@collected
def check_size(extent: Extent) -> Extent:
    """Return a size if each of its lengths is an odd whole number of px, or has a unit.

    Raises
    ------
    ValueError
        It is not.
    """
    lengths = by_axis(extent)
    problems = []
    for axis, quantity in lengths.items():
        value = quantity.value
        if quantity.unit != PX and value <= 0:
            problems.append(Problem(f"{quantity} is not above 0", "give a size above 0", axis))
        if quantity.unit == PX and (value != int(value) or value % 2 == 0) and not (axis and value == 0):
            problems.append(Problem(f"{quantity} is not an odd whole number", _odd_beside(value), axis))
        elif quantity.unit == PX and value < 0:
            problems.append(
                Problem(f"{quantity} is not above 0", "give an odd number of px, such as 25", axis)
            )
    if problems:
        raise RequestError(problems)
    if all(quantity.unit == PX and quantity.value <= 1 for quantity in lengths.values()):
        raise RequestError("looks at the pixel itself alone", "give a size of 3 px or more on an axis")
    return extent


def _odd_beside(value: float) -> str:
    if value < 2:
        return "give an odd number of px, such as 25"
    below = 2 * int((value - 1) // 2) + 1
    return f"give {below} or {below + 2}" if value < 1e6 else "give an odd number of px, such as 25"


def odd_size(px: float, given: Quantity) -> float:
    """Return a size in px: as given, or the odd one that a physical size makes, 2⌊s/2⌋ + 1."""
    if given.unit == PX:
        return max(1, int(px))
    return 2 * int(px / 2) + 1


class FlatStep(Step, ABC):
    """A step over flat footprints."""

    def footprint_of(self, field: str, axes: str, shape: Literal["disk", "box"] = "box") -> Footprint:
        """Return the footprint that a resolved length stands for on an array of `axes`."""
        lengths = self.pixels(field, axes)
        if field.endswith("size"):
            lengths = tuple(max(length, 1) // 2 for length in lengths)
        return Footprint(shape, tuple(float(length) for length in lengths))

    def mask_of(self, field: str, axes: str, shape: Literal["disk", "box"] = "box") -> NDArray[np.bool_]:
        """Return the same as scikit-image takes it, made without the kernels."""
        halved = field.endswith("size")
        lengths = (max(px, 1) // 2 if halved else px for px in self.pixels(field, axes))
        return _reference.mask(shape, tuple(lengths))

    def round_length(self, name: str, px: float, given: Quantity) -> float:
        """Return a length in px; a size becomes an odd whole number."""
        return odd_size(px, given) if name.endswith("size") else px

    def check(self, spec: ImageSpec) -> None:
        """Refuse a footprint that does not fit the image (resolved step).

        Raises
        ------
        RequestError
            A radius is below 1 px, or not below the longest axis that the step works along.
        """
        longest = max(spec.sizes[axis] for axis in self.along)
        for name in self.lengths:
            values = dict(zip(self.along, self.pixels(name, self.along), strict=True))
            smallest = min((value for value in values.values() if value > 0), default=0)
            if name == "radius" and smallest < 1:
                raise RequestError(f"{smallest:g} px is below 1 px", "give a radius of 1 px or more", name)
            reach = max(value // 2 if name.endswith("size") else value for value in values.values())
            if reach >= longest:
                raise RequestError(
                    f"reaches {reach:g} px and the longest axis of {self.along} has {longest} px",
                    "give a smaller one", name,
                )  # fmt: skip
        if not any(self.halo().values()):
            raise RequestError(
                "looks at the pixel itself alone", "give a size of 3 px or more", next(iter(self.lengths))
            )


class TophatStep(FlatStep, ABC):
    """What white and black top-hat share: their parameters, their halo, their dtype."""

    radius: Length | None = None
    footprint: Literal["disk", "box"] | None = None
    size: Length | None = None

    @field_validator("radius")
    @classmethod
    def _radius(cls, radius: Extent | None) -> Extent | None:
        return radius if radius is None else check_radius(radius)

    @field_validator("size")
    @classmethod
    def _size(cls, size: Extent | None) -> Extent | None:
        return size if size is None else check_size(size)

    @model_validator(mode="after")
    def _one_extent(self) -> Self:
        if (self.radius is None) == (self.size is None):
            said = "has neither a radius nor a size" if self.size is None else "has both a radius and a size"
            raise ValueError(f"{said}; give one of them")
        if self.size is not None and self.footprint == "disk":
            raise ValueError("a size is the side of a box; give a radius for a disk")
        return self

    def shape_on(self, axes: str) -> Footprint:
        """Return the footprint on an array of `axes` (resolved step)."""
        if self.size is not None:
            return self.footprint_of("size", axes)
        return self.footprint_of("radius", axes, self.footprint or "disk")

    def mask_on(self, axes: str) -> NDArray[np.bool_]:
        """Return the same as scikit-image takes it (resolved step)."""
        if self.size is not None:
            return self.mask_of("size", axes)
        return self.mask_of("radius", axes, self.footprint or "disk")

    def halo(self) -> dict[str, int]:
        """Return twice the reach of the footprint: an erosion and a dilation, or the reverse."""
        reach = self.shape_on(self.along).reach
        return {axis: 2 * px for axis, px in zip(self.along, reach, strict=True)}

    def out_dtype(self, dtype: np.dtype) -> np.dtype:
        """Return the unsigned type of the same width; floats stay."""
        return unsigned_dtype(dtype)

    def value_range(self, low: float, high: float) -> tuple[float, float]:
        """Return 0 to the whole range."""
        return 0, high - low
