"""Minimum subtracted: the simplest background, the darkest pixel around."""

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from pipeline.kernels.dtypes import unsigned_dtype
from pipeline.kernels.morphology import filters as morphology
from pipeline.model.units import Extent
from pipeline.steps.flat import FlatStep, check_size
from pipeline.steps.lengths import Length
from pipeline.steps.reference import difference, eroded


class SubtractMinimum(FlatStep):
    """Subtract the local minimum: the darkest pixel of a box around each pixel.

    Parameters
    ----------
    size : number, text or mapping
        Side of the box: an odd number of px, a length in physical units, or one for each axis.
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
        The size is not odd, or half of it is not below the longest axis that it works along.

    References
    ----------
    Equals `image - scipy.ndimage.minimum_filter(image, size)`.

    Examples
    --------
    >>> SubtractMinimum(size=3)(np.array([[7, 7, 9, 7, 7]], np.uint8))
    array([[0, 0, 2, 0, 0]], dtype=uint8)
    """

    size: Length

    background = "input minus result"
    examples = ({"size": 5}, {"size": {"y": 3, "x": 7}}, {"size": 3, "along": "tyx"})

    @field_validator("size")
    @classmethod
    def _odd(cls, size: Extent) -> Extent:
        return check_size(size)

    def halo(self) -> dict[str, int]:
        """Return half the size."""
        return dict(zip(self.along, self.footprint_of("size", self.along).reach, strict=True))

    def out_dtype(self, dtype: np.dtype) -> np.dtype:
        """Return the unsigned type of the same width; floats stay."""
        return unsigned_dtype(dtype)

    def value_range(self, low: float, high: float) -> tuple[float, float]:
        """Return 0 to the whole range."""
        return 0, high - low

    def working_bytes(self, shape: tuple[int, ...], dtype: np.dtype, axes: str) -> int:
        """Return the kernel's scratch."""
        return morphology.working_bytes(shape, dtype, (self.footprint_of("size", axes),))

    def apply(self, block: NDArray, axes: str, origin: tuple[int, ...]) -> NDArray:
        """Return the block minus its local minimum."""
        return morphology.subtract_erosion(block, self.footprint_of("size", axes))

    def reference(self, image: NDArray, axes: str) -> NDArray:
        """Return the image minus scikit-image's erosion."""
        return difference(image, eroded(image, self.mask_of("size", axes)), self.out_dtype(image.dtype))
