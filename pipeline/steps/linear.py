"""Base class of steps made of Gaussian filters."""

from __future__ import annotations

import math
from abc import ABC
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from pipeline.kernels import gaussian
from pipeline.kernels.dtypes import float_dtype
from pipeline.model.errors import Problem, RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.messages import as_pydantic_error
from pipeline.model.units import Extent
from pipeline.steps import reference
from pipeline.steps.lengths import Length, extent_by_axis
from pipeline.steps.step import Step

# The widest sigma, in lengths of the image. A wider Gaussian is the mean, and most likely a typing error.
_WIDEST = 10


def check_sigma(sigma: Extent) -> Extent:
    """Refuse a sigma below 0, and one that is 0 on all axes."""
    lengths = extent_by_axis(sigma)
    problems = [
        Problem(f"{length} is below 0", "give a sigma above 0", axis)
        for axis, length in lengths.items()
        if length.value < 0
    ]
    if problems:
        raise RequestError(problems)
    if all(length.value == 0 for length in lengths.values()):
        raise RequestError("0 smooths nothing", "give a sigma above 0")
    return sigma


# The type of a field that is a standard deviation.
Sigma = Annotated[Length, AfterValidator(as_pydantic_error(check_sigma))]


class LinearStep(Step, ABC):
    """A step made of Gaussian filters, one for each field that is a length.

    Parameters
    ----------
    mode : {"nearest", "reflect", "mirror", "constant"}
        How the image continues beyond its border, as in scipy.ndimage; constant is 0.
    truncate : float
        Where the kernel ends, in sigmas.

    Notes
    -----
    NaN and infinite pixels spread as in scipy: a result is NaN where the kernel meets a NaN, or infinities
    of both signs. On the coarse grid of a wide Gaussian that is anywhere within its reach.
    """

    accuracy: ClassVar[float] = 1e-4

    mode: Literal["nearest", "reflect", "mirror", "constant"] = "nearest"
    truncate: Annotated[float, Field(gt=0, le=20, allow_inf_nan=False)] = 4

    def halo(self) -> dict[str, int]:
        """Return the reach of the widest Gaussian along each axis, in px."""
        sigmas = [self.pixels(name, self.along) for name in self.lengths]
        return {
            axis: max(gaussian.reach(sigma, self.truncate) if sigma > 0 else 0 for sigma in axis_sigmas)
            for axis, *axis_sigmas in zip(self.along, *sigmas, strict=True)
        }

    def working_bytes(self, shape: tuple[int, ...], dtype: np.dtype, axes: str) -> int:
        """Return the scratch memory of the kernel, in bytes."""
        sigmas = tuple(self.pixels(name, axes) for name in self.lengths)
        return gaussian.gaussian_bytes(shape, dtype, sigmas, self.truncate)

    def check(self, spec: ImageSpec) -> None:
        """Refuse a sigma of ten times the longest axis that the step works along, or more."""
        longest = max(spec.sizes[axis] for axis in self.along)
        for name in self.lengths:
            widest = max(self.pixels(name, self.along))
            if not math.isfinite(widest) or widest >= _WIDEST * longest:
                raise RequestError(
                    f"is {widest:g} px and the longest axis of {self.along} has {longest} px",
                    "give a smaller one",
                    name,
                )

    def seen(self, low: float, high: float) -> tuple[float, float]:
        """Return the range of the image, with the 0 beyond the border of `mode: constant`."""
        return (min(low, 0), max(high, 0)) if self.mode == "constant" else (low, high)

    def out_dtype(self, dtype: np.dtype) -> np.dtype:
        """Return float32, or float64 for float64 and integers of 32 bits or more."""
        return float_dtype(dtype)

    def smoothed(self, field: str, image: NDArray, axes: str) -> NDArray[np.float64]:
        """Smooth an image with scipy's Gaussian, in float64, by the sigma in a field (resolved step)."""
        return reference.smoothed(image, self.pixels(field, axes), self.mode, self.truncate)
