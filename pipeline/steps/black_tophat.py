"""Black top-hat: turns dark features smaller than the footprint into bright ones."""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.morphology import filters as morphology
from pipeline.steps.flat import TophatStep
from pipeline.steps.reference import difference, dilated, eroded


class BlackTophat(TophatStep):
    """Subtract the image from its closing: dark features come out bright, on a dark background.

    For brightfield and phase contrast. ImageJ's "light background" keeps dark features
    dark; this does not.

    Parameters
    ----------
    radius : number, text or mapping
        Radius of the footprint in px, in physical units ("8 um"), or one for each axis.
        Take it larger than the features to keep. At least 1 px.
    footprint : {"disk", "box"}
        With `radius`: a disk (a ball, an ellipsoid), the default, or a box.
    size : number, text or mapping
        Instead of a radius: the side of a box, an odd number of px.
    along : str
        The axes it works along, "yx" by default.
    channels : list of str or int
        The channels it is applied to; the others pass untouched.

    Returns
    -------
    numpy.ndarray
        Shape of the input; the unsigned type of the same width (int16 gives uint16), floats stay.

    Raises
    ------
    RequestError
        The radius is below 1 px or not below the longest axis that it works along.

    References
    ----------
    J. Serra, "Image Analysis and Mathematical Morphology", Academic Press, 1982.
    Equals `skimage.morphology.black_tophat(image, disk(radius))`.

    Examples
    --------
    >>> image = np.array([[5, 5, 5, 5, 5, 5], [5, 5, 1, 5, 5, 5], [5, 5, 5, 5, 5, 5]], np.uint16)
    >>> BlackTophat(radius=1)(image)
    array([[0, 0, 0, 0, 0, 0],
           [0, 0, 4, 0, 0, 0],
           [0, 0, 0, 0, 0, 0]], dtype=uint16)
    """

    background = "input plus result"
    examples = ({"radius": 3}, {"radius": 2, "footprint": "box"}, {"size": {"y": 3, "x": 5}})

    def working_bytes(self, shape: tuple[int, ...], dtype: np.dtype, axes: str) -> int:
        """Return the kernel's scratch."""
        return morphology.working_bytes(shape, dtype, (self.shape_on(axes),) * 2)

    def apply(self, block: NDArray, axes: str, origin: tuple[int, ...]) -> NDArray:
        """Return the closing of the block minus the block."""
        return morphology.black_tophat(block, self.shape_on(axes))

    def reference(self, image: NDArray, axes: str) -> NDArray:
        """Return scikit-image's closing minus the image."""
        footprint = self.mask_on(axes)
        closed = eroded(dilated(image, footprint), footprint)
        return difference(closed, image, self.out_dtype(image.dtype))
