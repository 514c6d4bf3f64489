"""Gaussian smoothing."""

from numpy.typing import NDArray

from pipeline.kernels import gaussian
from pipeline.steps.linear import LinearStep, Sigma


class Gaussian(LinearStep):
    """Smooth with a Gaussian.

    Parameters
    ----------
    sigma : number, text or mapping
        Standard deviation in px, in physical units ("2 um"), or one for each axis.

    Returns
    -------
    numpy.ndarray
        Shape of the input; float32 (float64 from float64 and integers of 32 bits or more), in
        the units of the input.

    Raises
    ------
    RequestError
        The sigma is not above 0, or far wider than the image.

    References
    ----------
    `scipy.ndimage.gaussian_filter` in float64, within 1e-4 of the range of the data.

    Examples
    --------
    >>> import numpy as np
    >>> Gaussian(sigma=1)(np.full((3, 3), 7, np.uint8))
    array([[7., 7., 7.],
           [7., 7., 7.],
           [7., 7., 7.]], dtype=float32)
    """

    sigma: Sigma

    background = None  # smoothed noise is taken off too
    examples = (
        {"sigma": 1.5},
        {"sigma": 12},
        {"sigma": {"z": 1, "y": 2, "x": 2}, "along": "zyx", "mode": "reflect"},
    )

    def value_range(self, low: float, high: float) -> tuple[float, float]:
        """Return the range of the image, with the 0 of `mode: constant`."""
        return self.seen(low, high)

    def apply(self, block: NDArray, axes: str, origin: tuple[int, ...]) -> NDArray:
        """Smooth the block."""
        sigmas = self.pixels("sigma", axes)
        return gaussian.gaussian(block, sigmas, mode=self.mode, truncate=self.truncate, origin=origin)

    def reference(self, image: NDArray, axes: str) -> NDArray:
        """Smooth the image with scipy."""
        return self.smoothed("sigma", image, axes)
