"""White top-hat: keeps bright features smaller than the footprint."""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.morphology import filters as morphology
from pipeline.steps.flat import TophatStep
from pipeline.steps.reference import difference, dilated, eroded


class WhiteTophat(TophatStep):
    """Subtract the opening: keeps bright features that are smaller than the footprint.

    The opening, a dilation of the erosion, is the background: what is left of the image
    when every bright feature into which the footprint does not fit is gone.

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
    J. Serra, "Image Analysis and Mathematical Morphology", Academic Press, 1982;
    F. Meyer, "Iterative image transformations for an automatic screening of cervical
    smears", J. Histochem. Cytochem. 27, 1979.
    Equals `skimage.morphology.white_tophat(image, disk(radius))`.

    Examples
    --------
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

    def working_bytes(self, shape: tuple[int, ...], dtype: np.dtype, axes: str) -> int:
        """Return the kernel's scratch."""
        return morphology.working_bytes(shape, dtype, (self.shape_on(axes),) * 2)

    def apply(self, block: NDArray, axes: str, origin: tuple[int, ...]) -> NDArray:
        """Return the block minus its opening."""
        return morphology.white_tophat(block, self.shape_on(axes))

    def reference(self, image: NDArray, axes: str) -> NDArray:
        """Return the image minus scikit-image's opening."""
        footprint = self.mask_on(axes)
        opened = dilated(eroded(image, footprint), footprint)
        return difference(image, opened, self.out_dtype(image.dtype))
