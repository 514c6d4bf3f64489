"""What the Gaussian steps share: sigmas, border modes, halos."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.kernels.dtypes import float_dtype
from pipeline.kernels.gaussian import filters as gaussian
from pipeline.model.errors import Problem, RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.units import PX, Extent, Quantity, convertible, ratio
from pipeline.steps import reference as _reference
from pipeline.steps.lengths import collected
from pipeline.steps.step import Step

# Wider than this many images, a Gaussian is their mean: the number is a slip of the keyboard.
WIDEST = 10


@collected
def check_sigma(extent: Extent) -> Extent:
    """Return a sigma if it is above 0, or 0 on some axes only.

    Raises
    ------
    ValueError
        It is not.
    """
    lengths = dict(extent) if isinstance(extent, Mapping) else {"": extent}
    problems = [
        Problem(f"{quantity} is below 0", "give a sigma above 0", axis)
        for axis, quantity in lengths.items()
        if quantity.value < 0
    ]
    if problems:
        raise RequestError(problems)
    if all(quantity.value == 0 for quantity in lengths.values()):
        raise RequestError("0 smooths nothing", "give a sigma above 0")
    return extent


def below(low: Quantity, high: Quantity) -> bool:
    """Return whether one length is below another, or cannot be compared before the image is known."""
    if low.unit == high.unit:
        return low.value < high.value
    if PX in (low.unit, high.unit) or not convertible(low.unit, high.unit):
        return True
    return low.value * ratio(low.unit, high.unit) < high.value


class LinearStep(Step, ABC):
    """A step made of Gaussian filters.

    Where a kernel meets a NaN or an infinity its result is none or infinite, as scipy's: a NaN where it
    meets a NaN, or infinities of both signs; on the coarse grid of a wide one, any of them within its reach.
    """

    accuracy: ClassVar[float] = 1e-4

    mode: Literal["nearest", "reflect", "mirror", "constant"] = "nearest"
    truncate: Annotated[float, Field(gt=0, le=20, allow_inf_nan=False)] = 4

    def reach(self, field: str) -> dict[str, int]:
        """Return how far the Gaussian of a resolved sigma looks along each axis, in px."""
        sigmas = zip(self.along, self.pixels(field, self.along), strict=True)
        return {axis: gaussian.reach(sigma, self.truncate) if sigma > 0 else 0 for axis, sigma in sigmas}

    def check(self, spec: ImageSpec) -> None:
        """Refuse a sigma that is far wider than the image (resolved step).

        Raises
        ------
        RequestError
            A sigma is not below ten times the longest axis that the step works along.
        """
        longest = max(spec.sizes[axis] for axis in self.along)
        for name in self.lengths:
            widest = max(self.pixels(name, self.along))
            if not math.isfinite(widest) or widest >= WIDEST * longest:
                raise RequestError(
                    f"is {widest:g} px and the longest axis of {self.along} has {longest} px",
                    "give a smaller one", name,
                )  # fmt: skip

    def seen(self, low: float, high: float) -> tuple[float, float]:
        """Return the range of the image, with the 0 that lies beyond the border of `mode: constant`."""
        return (min(low, 0), max(high, 0)) if self.mode == "constant" else (low, high)

    def out_dtype(self, dtype: np.dtype) -> np.dtype:
        """Return float32, or float64 for float64, int32 and uint32."""
        return float_dtype(dtype)

    def smoothed(self, field: str, image: NDArray, axes: str) -> NDArray[np.float64]:
        """Return scipy's Gaussian of a resolved sigma, in float64."""
        return _reference.smoothed(image, self.pixels(field, axes), self.mode, self.truncate)
