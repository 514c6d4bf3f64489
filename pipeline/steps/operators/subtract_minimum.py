"""The image minus its local minimum."""

from numpy.typing import NDArray

from pipeline.kernels import morphology
from pipeline.steps.flat import BoxSize, FlatStep
from pipeline.steps.reference import eroded, subtracted


class SubtractMinimum(FlatStep):
    """Subtract the local minimum, the darkest pixel in a box around each pixel.

    Parameters
    ----------
    size : number, text or mapping
        Side of the box: an odd number of px, a length in physical units, or one for each axis.

    Returns
    -------
    numpy.ndarray
        Shape of the input; the unsigned type of the same width (int16 gives uint16), floats stay.

    Raises
    ------
    RequestError
        The size is not odd, or half of it is as long as the longest axis of `along`.

    References
    ----------
    Equals `image - scipy.ndimage.minimum_filter(image, size)`.

    Examples
    --------
    >>> import numpy as np
    >>> SubtractMinimum(size=3)(np.array([[7, 7, 9, 7, 7]], np.uint8))
    array([[0, 0, 2, 0, 0]], dtype=uint8)
    """

    size: BoxSize

    background = "input minus result"
    examples = ({"size": 5}, {"size": {"y": 3, "x": 7}}, {"size": 3, "along": "tyx"})

    def apply(self, block: NDArray, axes: str, origin: tuple[int, ...]) -> NDArray:
        """Subtract the local minimum of the block."""
        return morphology.subtract_erosion(block, *self.footprints(axes))

    def reference(self, image: NDArray, axes: str) -> NDArray:
        """Subtract the erosion by scikit-image."""
        return subtracted(image, eroded(image, *self.masks(axes)), self.out_dtype(image.dtype))
