"""Black top-hat: turns dark features smaller than the footprint into bright ones."""

from numpy.typing import NDArray

from pipeline.kernels import morphology
from pipeline.steps.flat import TophatStep
from pipeline.steps.reference import dilated, eroded, subtracted


class BlackTophat(TophatStep):
    """Subtract the image from its closing: dark features come out bright, on a dark background.

    For brightfield and phase contrast. ImageJ's "light background" keeps dark features
    dark; this does not.

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
    >>> import numpy as np
    >>> image = np.array([[5, 5, 5, 5, 5, 5], [5, 5, 1, 5, 5, 5], [5, 5, 5, 5, 5, 5]], np.uint16)
    >>> BlackTophat(radius=1)(image)
    array([[0, 0, 0, 0, 0, 0],
           [0, 0, 4, 0, 0, 0],
           [0, 0, 0, 0, 0, 0]], dtype=uint16)
    """

    background = "input plus result"
    examples = ({"radius": 3}, {"radius": 2, "footprint": "box"}, {"size": {"y": 3, "x": 5}})

    def apply(self, block: NDArray, axes: str, origin: tuple[int, ...]) -> NDArray:
        """Return the closing of the block minus the block."""
        return morphology.black_tophat(block, self.footprints(axes)[0])

    def reference(self, image: NDArray, axes: str) -> NDArray:
        """Return scikit-image's closing minus the image."""
        footprint, _ = self.masks(axes)
        closed = eroded(dilated(image, footprint), footprint)
        return subtracted(closed, image, self.out_dtype(image.dtype))
