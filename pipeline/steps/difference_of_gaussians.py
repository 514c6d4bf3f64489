"""Difference of Gaussians: a band of sizes kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator, model_validator

from pipeline.kernels.gaussian import filters as kernel
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.units import Extent, Quantity
from pipeline.steps.lengths import Length, collected
from pipeline.steps.linear import LinearStep, below, check_sigma


class DifferenceOfGaussians(LinearStep):
    """Smooth with a narrow Gaussian and subtract a wide one: noise and background go.

    Parameters
    ----------
    low_sigma, high_sigma : number, text or mapping
        Standard deviations in px, in physical units ("30 um"), or one for each axis; low
        below high. A low sigma of 0 does not smooth.
    mode : {"nearest", "reflect", "mirror", "constant"}
        How the image goes on beyond its border, as in scipy.ndimage; constant is 0.
    truncate : float
        Where the kernels end, in sigmas.
    along : str
        The axes it works along, "yx" by default.
    channels : list of str or int
        The channels it is applied to; the others pass untouched.

    Returns
    -------
    numpy.ndarray
        Shape of the input; float32 (float64 from float64, int32, uint32), in the units of
        the input, not rescaled to 0…1, of either sign.

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
    >>> DifferenceOfGaussians(low_sigma=1, high_sigma=3)(np.full((1, 3), 7, np.uint8))
    array([[0., 0., 0.]], dtype=float32)
    """

    low_sigma: Length
    high_sigma: Length

    background = None  # smoothed noise is taken off too
    examples = (
        {"low_sigma": 1, "high_sigma": 4},
        {"low_sigma": 1, "high_sigma": 20},
        {"low_sigma": 1, "high_sigma": {"z": 1.5, "y": 3, "x": 3}, "along": "zyx"},
    )

    @field_validator("high_sigma")
    @classmethod
    def _positive(cls, sigma: Extent) -> Extent:
        return check_sigma(sigma)

    @field_validator("low_sigma")
    @classmethod
    def _not_negative(cls, sigma: Extent) -> Extent:
        values = sigma.values() if isinstance(sigma, Mapping) else (sigma,)
        return sigma if all(quantity.value == 0 for quantity in values) else check_sigma(sigma)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        collected(_check_order)(self)
        return self

    def check(self, spec: ImageSpec) -> None:
        """Refuse sigmas out of order (resolved step).

        Raises
        ------
        RequestError
            Low is not below high on an axis, or high is far wider than the image.
        """
        super().check(spec)
        for axis in self.along:
            (low,), (high,) = self.pixels("low_sigma", axis), self.pixels("high_sigma", axis)
            if low >= high and not low == high == 0:
                raise RequestError(
                    f"{low:g} px is not below high_sigma, {high:g} px, along {axis}",
                    "give a smaller low_sigma", "low_sigma",
                )  # fmt: skip

    def halo(self) -> dict[str, int]:
        """Return the reach of the wider kernel."""
        low, high = self.reach("low_sigma"), self.reach("high_sigma")
        return {axis: max(low[axis], high[axis]) for axis in self.along}

    def value_range(self, low: float, high: float) -> tuple[float, float]:
        """Return the range either way, with the 0 of `mode: constant`."""
        low, high = self.seen(low, high)
        return low - high, high - low

    def working_bytes(self, shape: tuple[int, ...], dtype: np.dtype, axes: str) -> int:
        """Return the kernel's scratch."""
        sigmas = self.pixels("low_sigma", axes), self.pixels("high_sigma", axes)
        return kernel.working_bytes(shape, dtype, sigmas, self.truncate)

    def apply(self, block: NDArray, axes: str, origin: tuple[int, ...]) -> NDArray:
        """Return the narrow Gaussian of the block minus the wide one."""
        low, high = self.pixels("low_sigma", axes), self.pixels("high_sigma", axes)
        return kernel.difference_of_gaussians(
            block, low, high, mode=self.mode, truncate=self.truncate, origin=origin
        )

    def reference(self, image: NDArray, axes: str) -> NDArray:
        """Return the difference of scipy's two Gaussians."""
        return self.smoothed("low_sigma", image, axes) - self.smoothed("high_sigma", image, axes)


def _check_order(step: DifferenceOfGaussians) -> None:
    for axis in step.along:
        low, high = (
            extent.get(axis, Quantity(0)) if isinstance(extent, Mapping) else extent
            for extent in (step.low_sigma, step.high_sigma)
        )
        if not below(low, high) and not low.value == high.value == 0:
            raise RequestError(
                f"{low} is not below high_sigma, {high}", "give a smaller low_sigma", "low_sigma"
            )
