"""White top-hat: the image minus its opening."""

from numpy.typing import NDArray

from pipeline.kernels import morphology
from pipeline.steps.flat import TophatStep
from pipeline.steps.reference import dilated, eroded, subtracted


class WhiteTophat(TophatStep):
    """Subtract the opening: bright features smaller than the footprint stay.

    The opening, a dilation of the erosion, is the background: the image without the bright
    features into which the footprint does not fit.

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
    J. Serra, "Image Analysis and Mathematical Morphology", Academic Press, 1982;
    F. Meyer, "Iterative image transformations for an automatic screening of cervical
    smears", J. Histochem. Cytochem. 27, 1979.
    Equals `skimage.morphology.white_tophat(image, disk(radius))`.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.array([[5, 5, 5, 5, 5, 5], [5, 5, 9, 5, 5, 5], [5, 5, 5, 5, 5, 5]], np.uint16)
    >>> WhiteTophat(radius=1)(image)
    array([[0, 0, 0, 0, 0, 0],
           [0, 0, 4, 0, 0, 0],
           [0, 0, 0, 0, 0, 0]], dtype=uint16)
    """

    background = "input minus result"
    examples = (
        {"radius": 3},
        {"radius": 2, "footprint": "box"},
        {"size": 5},
        {"radius": {"z": 1, "y": 2.5, "x": 2}, "along": "zyx"},
        {"radius": 1, "along": "t"},
    )

    def apply(self, block: NDArray, axes: str, origin: tuple[int, ...]) -> NDArray:
        """Subtract the opening of the block."""
        return morphology.white_tophat(block, self.footprints(axes)[0])

    def reference(self, image: NDArray, axes: str) -> NDArray:
        """Subtract the opening by scikit-image."""
        footprint, _ = self.masks(axes)
        opened = dilated(eroded(image, footprint), footprint)
        return subtracted(image, opened, self.out_dtype(image.dtype))
