"""The base of Gaussian steps: sigmas, border modes, halos."""

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
from pipeline.model.messages import collected
from pipeline.model.units import Extent
from pipeline.steps import reference
from pipeline.steps.lengths import Length, extent_by_axis
from pipeline.steps.step import Step

# Wider than this many images, a Gaussian is their mean: the number is a slip of the keyboard.
_WIDEST = 10


def check_sigma(sigma: Extent) -> Extent:
    """Return a sigma; refuse one that is not above 0, or 0 on some axes only."""
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


Sigma = Annotated[Length, AfterValidator(collected(check_sigma))]
"""The type of a field that is a standard deviation."""


class LinearStep(Step, ABC):
    """A step made of Gaussian filters, one for each of its sigmas.

    Parameters
    ----------
    mode : {"nearest", "reflect", "mirror", "constant"}
        How the image goes on beyond its border, as in scipy.ndimage; constant is 0.
    truncate : float
        Where the kernel ends, in sigmas.

    Notes
    -----
    Where a kernel meets a NaN or an infinity its result is none or infinite, as scipy's: a NaN where it
    meets a NaN, or infinities of both signs; on the coarse grid of a wide one, any of them within its reach.
    """

    accuracy: ClassVar[float] = 1e-4

    mode: Literal["nearest", "reflect", "mirror", "constant"] = "nearest"
    truncate: Annotated[float, Field(gt=0, le=20, allow_inf_nan=False)] = 4

    def halo(self) -> dict[str, int]:
        """Return the reach of the widest kernel."""
        sigmas = [self.pixels(name, self.along) for name in self.lengths]
        return {
            axis: max(gaussian.reach(sigma, self.truncate) if sigma > 0 else 0 for sigma in along_axis)
            for axis, *along_axis in zip(self.along, *sigmas, strict=True)
        }

    def working_bytes(self, shape: tuple[int, ...], dtype: np.dtype, axes: str) -> int:
        """Return the kernel's scratch."""
        sigmas = tuple(self.pixels(name, axes) for name in self.lengths)
        return gaussian.gaussian_bytes(shape, dtype, sigmas, self.truncate)

    def check(self, spec: ImageSpec) -> None:
        """Refuse a sigma of ten times the longest axis that the step works along, or more (resolved step)."""
        longest = max(spec.sizes[axis] for axis in self.along)
        for name in self.lengths:
            widest = max(self.pixels(name, self.along))
            if not math.isfinite(widest) or widest >= _WIDEST * longest:
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
        return reference.smoothed(image, self.pixels(field, axes), self.mode, self.truncate)
