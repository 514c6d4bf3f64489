"""The image minus a wide Gaussian of it."""

from numpy.typing import NDArray

from pipeline.kernels import gaussian
from pipeline.steps.linear import LinearStep, Sigma


class SubtractGaussian(LinearStep):
    """Subtract the image smoothed by a wide Gaussian as the background.

    Parameters
    ----------
    sigma : number, text or mapping
        Standard deviation in px, in physical units ("30 um"), or one for each axis. Take it
        several times larger than the features to keep.

    Returns
    -------
    numpy.ndarray
        Shape of the input; float32 (float64 from float64 and integers of 32 bits or more), in
        the units of the input, of either sign.

    Raises
    ------
    RequestError
        The sigma is not above 0, or far wider than the image.

    References
    ----------
    `image - scipy.ndimage.gaussian_filter(image, sigma)` in float64, within 1e-4 of the
    range of the data.

    Examples
    --------
    >>> import numpy as np
    >>> SubtractGaussian(sigma=1)(np.full((1, 3), 7, np.uint8))
    array([[0., 0., 0.]], dtype=float32)
    """

    sigma: Sigma

    background = "input minus result"
    examples = ({"sigma": 2}, {"sigma": 25}, {"sigma": {"y": 3, "x": 0}, "mode": "mirror"})

    def value_range(self, low: float, high: float) -> tuple[float, float]:
        """Return the least and the greatest difference, with the 0 of `mode: constant` in the background."""
        below, above = self.seen(low, high)
        return low - above, high - below

    def apply(self, block: NDArray, axes: str, origin: tuple[int, ...]) -> NDArray:
        """Subtract the Gaussian of the block."""
        sigmas = self.pixels("sigma", axes)
        return gaussian.subtract_gaussian(
            block, sigmas, mode=self.mode, truncate=self.truncate, origin=origin
        )

    def reference(self, image: NDArray, axes: str) -> NDArray:
        """Subtract scipy's Gaussian."""
        return image - self.smoothed("sigma", image, axes)
