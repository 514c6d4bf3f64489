"""The base of morphological steps: footprints out of a radius or a size."""

from __future__ import annotations

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
from pipeline.model.messages import collected
from pipeline.model.units import PX, Extent, Quantity
from pipeline.steps import reference
from pipeline.steps.lengths import Length, extent_by_axis
from pipeline.steps.step import Step


def check_radius(radius: Extent) -> Extent:
    """Return a radius; refuse one that is below 1 px, but for 0 on some axes only."""
    lengths = extent_by_axis(radius)
    some = any(length.value > 0 for length in lengths.values())
    problems = []
    for axis, length in lengths.items():
        in_px = length.unit == PX
        flat = axis and some and length.value == 0
        if not flat and (length.value <= 0 or (in_px and length.value < 1)):
            what = f"{length} is below {'1 px' if in_px else '0'}"
            problems.append(Problem(what, "give a radius of 1 px or more", axis))
    if problems:
        raise RequestError(problems)
    return radius


def check_size(size: Extent) -> Extent:
    """Return a size; refuse one in px that is not an odd whole number, and the pixel itself alone."""
    lengths = extent_by_axis(size)
    problems = []
    for axis, length in lengths.items():
        value, in_px = length.value, length.unit == PX
        if in_px and (value != int(value) or value % 2 == 0) and not (axis and value == 0):
            problems.append(Problem(f"{length} is not an odd whole number", _odd_beside(value), axis))
        elif value < 0 or (value == 0 and not in_px):
            mend = "give an odd number of px, such as 25" if in_px else "give a size above 0"
            problems.append(Problem(f"{length} is not above 0", mend, axis))
    if problems:
        raise RequestError(problems)
    if all(length.unit == PX and length.value <= 1 for length in lengths.values()):
        raise RequestError("looks at the pixel itself alone", "give a size of 3 px or more on an axis")
    return size


Radius = Annotated[Length, AfterValidator(collected(check_radius))]
"""The type of a field that is a radius."""
BoxSize = Annotated[Length, AfterValidator(collected(check_size))]
"""The type of a field that is the side of a box."""


def _odd_beside(value: float) -> str:
    if not 2 <= value < 1e6:
        return "give an odd number of px, such as 25"
    below = 2 * int((value - 1) // 2) + 1
    return f"give {below} or {below + 2}"


class FlatStep(Step, ABC):
    """A step over flat footprints, one after the other: exact, however it is cut.

    A length called `size`, or `..._size`, is the side of a box; any other is a radius.
    """

    def extents(self) -> tuple[tuple[str, Shape], ...]:
        """Return the field of each footprint in their order, with its shape; default: boxes."""
        return tuple((name, "box") for name in self.lengths)

    def footprints(self, axes: str) -> tuple[Footprint, ...]:
        """Return the footprints on an array of `axes` (resolved step)."""
        return tuple(Footprint(shape, self._radii(field, axes)) for field, shape in self.extents())

    def masks(self, axes: str) -> tuple[NDArray[np.bool_], ...]:
        """Return the same as scikit-image takes them, made without the kernels."""
        return tuple(reference.mask(shape, self._radii(field, axes)) for field, shape in self.extents())

    def _radii(self, field: str, axes: str) -> tuple[float, ...]:
        lengths = self.pixels(field, axes)
        return tuple(float(max(px, 1) // 2 if field.endswith("size") else px) for px in lengths)

    def round_length(self, name: str, px: float, given: Quantity) -> float:
        """Return a length in px; a size becomes an odd whole number, a physical one 2⌊s/2⌋ + 1."""
        if not name.endswith("size"):
            return px
        return max(1, int(px)) if given.unit == PX else 2 * int(px / 2) + 1

    def check(self, spec: ImageSpec) -> None:
        """Refuse a footprint below 1 px, or not below the longest axis it works along (resolved step)."""
        longest = max(spec.sizes[axis] for axis in self.along)
        for name in self.lengths:
            if not name.endswith("size"):
                radii = self.pixels(name, self.along)
                _check_resolved_radius(name, min((px for px in radii if px > 0), default=0))
            reach = max(self._radii(name, self.along))
            if reach >= longest:
                raise RequestError(
                    f"reaches {reach:g} px and the longest axis of {self.along} has {longest} px",
                    "give a smaller one", name,
                )  # fmt: skip
        if not any(self.halo().values()):
            raise RequestError(
                "looks at the pixel itself alone", "give a size of 3 px or more", next(iter(self.lengths))
            )

    def halo(self) -> dict[str, int]:
        """Return how far the footprints reach, summed."""
        reaches = [footprint.reach for footprint in self.footprints(self.along)]
        return {axis: sum(px) for axis, *px in zip(self.along, *reaches, strict=True)}

    def working_bytes(self, shape: tuple[int, ...], dtype: np.dtype, axes: str) -> int:
        """Return the kernel's scratch."""
        return morphology.morphology_bytes(shape, dtype, self.footprints(axes))

    def out_dtype(self, dtype: np.dtype) -> np.dtype:
        """Return the unsigned type of the same width; floats stay."""
        return unsigned_dtype(dtype)

    def value_range(self, low: float, high: float) -> tuple[float, float]:
        """Return 0 to the whole range."""
        return 0, high - low


def _check_resolved_radius(name: str, px: float) -> None:
    try:
        check_radius(Quantity(px))
    except RequestError as error:
        raise error.under(name) from None


class TophatStep(FlatStep, ABC):
    """What white and black top-hat share: a footprint out of a radius or a size.

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
    def _one_extent(self) -> Self:
        if (self.radius is None) == (self.size is None):
            said = "has neither a radius nor a size" if self.size is None else "has both a radius and a size"
            raise ValueError(f"{said}; give one of them")
        if self.size is not None and self.footprint == "disk":
            raise ValueError("a size is the side of a box; give a radius for a disk")
        return self

    def extents(self) -> tuple[tuple[str, Shape], ...]:
        """Return the one footprint twice: an erosion and a dilation, or the reverse."""
        return (("size", "box") if self.radius is None else ("radius", self.footprint or "disk"),) * 2
