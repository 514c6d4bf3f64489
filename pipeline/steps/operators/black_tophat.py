"""Black top-hat: the closing of the image minus the image."""

from numpy.typing import NDArray

from pipeline.kernels import morphology
from pipeline.steps.flat import TophatStep
from pipeline.steps.reference import dilated, eroded, subtracted


class BlackTophat(TophatStep):
    """Subtract the image from its closing: dark features smaller than the footprint come out bright.

    For brightfield and phase contrast. Unlike ImageJ's "light background", which keeps dark
    features dark, the result has a dark background.

    Returns
    -------
    numpy.ndarray
        Shape of the input; the unsigned type of the same width (int16 gives uint16), floats stay.

    Raises
    ------
    RequestError
        The radius is below 1 px, or reaches as far as the longest axis of `along` is long.

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
        """Subtract the block from its closing."""
        return morphology.black_tophat(block, self.footprints(axes)[0])

    def reference(self, image: NDArray, axes: str) -> NDArray:
        """Subtract the image from its closing by scikit-image."""
        footprint, _ = self.masks(axes)
        closed = eroded(dilated(image, footprint), footprint)
        return subtracted(closed, image, self.out_dtype(image.dtype))
