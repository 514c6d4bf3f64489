"""Difference of Gaussians: a narrow Gaussian minus a wide one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from numpy.typing import NDArray
from pydantic import AfterValidator, model_validator

from pipeline.kernels import gaussian
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.messages import as_pydantic_error
from pipeline.model.units import PX, Extent, Quantity, convertible, ratio
from pipeline.steps.lengths import Length, extent_by_axis
from pipeline.steps.linear import LinearStep, Sigma, check_sigma


@as_pydantic_error
def _check_low_sigma(sigma: Extent) -> Extent:
    """Allow 0 on all axes, which does not smooth."""
    flat = all(length.value == 0 for length in extent_by_axis(sigma).values())
    return sigma if flat else check_sigma(sigma)


def _below(low: Quantity, high: Quantity) -> bool:
    """Compare two lengths; True if they cannot be compared before the image is known."""
    if low.unit == high.unit:
        return low.value < high.value
    if PX in (low.unit, high.unit) or not convertible(low.unit, high.unit):
        return True
    return low.value * ratio(low.unit, high.unit) < high.value


class DifferenceOfGaussians(LinearStep):
    """Smooth with a narrow Gaussian and subtract a wide one, which removes noise and background.

    Parameters
    ----------
    low_sigma, high_sigma : number, text or mapping
        Standard deviations in px, in physical units ("30 um"), or one for each axis. The low
        one is below the high one; 0 does not smooth.

    Returns
    -------
    numpy.ndarray
        Shape of the input; float32 (float64 from float64 and integers of 32 bits or more), in
        the units of the input, not rescaled to 0…1, of either sign.

    Raises
    ------
    RequestError
        Low is not below high, or high is far wider than the image.

    References
    ----------
    D. Marr and E. Hildreth, "Theory of edge detection", Proc. R. Soc. Lond. B 207, 1980.
    Equals `skimage.filters.difference_of_gaussians` times the factor by which that rescales
    integers (65535 for uint16), within 1e-4 of the range of the data.

    Examples
    --------
    >>> import numpy as np
    >>> DifferenceOfGaussians(low_sigma=1, high_sigma=3)(np.full((1, 3), 7, np.uint8))
    array([[0., 0., 0.]], dtype=float32)
    """

    low_sigma: Annotated[Length, AfterValidator(_check_low_sigma)]
    high_sigma: Sigma

    background = None  # smoothed noise is taken off too
    examples = (
        {"low_sigma": 1, "high_sigma": 4},
        {"low_sigma": 1, "high_sigma": 20},
        {"low_sigma": 1, "high_sigma": {"z": 1.5, "y": 3, "x": 3}, "along": "zyx"},
    )

    @model_validator(mode="after")
    @as_pydantic_error
    def _ordered(self) -> Self:
        self._check_order()
        return self

    def _check_order(self) -> None:
        by_axis = any(isinstance(sigma, Mapping) for sigma in self.lengths.values())
        lows = extent_by_axis(self.low_sigma, self.along)
        highs = extent_by_axis(self.high_sigma, self.along)
        for axis in self.along:
            low, high = lows[axis], highs[axis]
            if not _below(low, high) and not low.value == high.value == 0:
                along = f", along {axis}" if by_axis else ""
                raise RequestError(
                    f"{low} is not below high_sigma, {high}{along}", "give a smaller low_sigma", "low_sigma"
                )

    def check(self, spec: ImageSpec) -> None:
        """Refuse sigmas that are out of order on an axis, or far wider than the image."""
        super().check(spec)
        self._check_order()

    def value_range(self, low: float, high: float) -> tuple[float, float]:
        """Return the width of the range in either sign, with the 0 of `mode: constant`."""
        low, high = self.seen(low, high)
        return low - high, high - low

    def apply(self, block: NDArray, axes: str, origin: tuple[int, ...]) -> NDArray:
        """Subtract the wide Gaussian of the block from the narrow one."""
        low, high = self.pixels("low_sigma", axes), self.pixels("high_sigma", axes)
        return gaussian.difference_of_gaussians(
            block, low, high, mode=self.mode, truncate=self.truncate, origin=origin
        )

    def reference(self, image: NDArray, axes: str) -> NDArray:
        """Subtract scipy's wide Gaussian from its narrow one."""
        return self.smoothed("low_sigma", image, axes) - self.smoothed("high_sigma", image, axes)
