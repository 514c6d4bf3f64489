"""The image minus a maximum filter of a minimum filter, each of its own size."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from pipeline.kernels import morphology
from pipeline.kernels.dtypes import signed_dtype, unsigned_dtype
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.messages import as_pydantic_error
from pipeline.model.units import Extent, Quantity
from pipeline.steps.flat import FlatStep, check_size
from pipeline.steps.lengths import Length
from pipeline.steps.reference import dilated, eroded, subtracted


@as_pydantic_error
def _check_side(size: Extent) -> Extent:
    # One of the two may be 1 px, which leaves that filter out, as in a sweep over one of the sizes.
    return size if size == Quantity(1) else check_size(size)


_Side = Annotated[Length, AfterValidator(_check_side)]


class SubtractOpening(FlatStep):
    """Subtract a maximum filter of a minimum filter, each over a box of its own size.

    Equal sizes make a white top-hat with a box. With a maximum larger than the minimum the
    background may lie above the image; such pixels come out negative, so the result is signed.

    Parameters
    ----------
    minimum_size, maximum_size : number, text or mapping
        Sides of the boxes: odd numbers of px, lengths in physical units, or one for each axis.

    Returns
    -------
    numpy.ndarray
        Shape of the input; where maximum ≤ minimum on every axis the unsigned type of the same
        width, else the next wider signed type (uint16 gives int32, uint32 int64). Floats stay.

    Raises
    ------
    RequestError
        A size is not odd, or half of it is as long as the longest axis of `along`; the maximum is
        larger than the minimum on an image of 64-bit integers.

    References
    ----------
    Equals `image - maximum_filter(minimum_filter(image, minimum_size), maximum_size)` of
    scipy.ndimage, in a type that holds the difference.

    Examples
    --------
    >>> SubtractOpening(minimum_size=1, maximum_size=3)(np.array([[7, 7, 9, 7, 7]], np.uint8))
    array([[ 0, -2,  0, -2,  0]], dtype=int16)
    """

    minimum_size: _Side
    maximum_size: _Side

    background = "input minus result"
    examples = (
        {"minimum_size": 5, "maximum_size": 5},
        {"minimum_size": 3, "maximum_size": 7},
        {"minimum_size": 7, "maximum_size": {"y": 3, "x": 5}},
    )

    @property
    def signed(self) -> bool:
        """Whether the background can lie above the image (resolved step)."""
        minimum, maximum = self.pixels("minimum_size", self.along), self.pixels("maximum_size", self.along)
        return any(largest > smallest for smallest, largest in zip(minimum, maximum, strict=True))

    def check(self, spec: ImageSpec) -> None:
        """Refuse sizes that do not fit the image, and differences of more than 64 bits."""
        super().check(spec)
        if self.signed and spec.dtype.kind in "iu" and spec.dtype.itemsize == 8:
            raise RequestError(
                f"{self.name} of {spec.dtype} with a larger maximum takes more than 64 bits",
                "give a maximum_size that is not above minimum_size, or take an image of fewer bits:"
                " write what comes before with output.dtype, and run this on that",
                "maximum_size",
            )

    def out_dtype(self, dtype: np.dtype) -> np.dtype:
        """Return the unsigned type of the same width, or the next wider signed one; floats stay."""
        return signed_dtype(dtype) if self.signed else unsigned_dtype(dtype)

    def value_range(self, low: float, high: float) -> tuple[float, float]:
        """Return 0, or minus the width of the input's range if signed, and that width."""
        return (low - high if self.signed else 0), high - low

    def apply(self, block: NDArray, axes: str, origin: tuple[int, ...]) -> NDArray:
        """Subtract the maximum of the minimum of the block."""
        return morphology.subtract_opening(block, *self.footprints(axes))

    def reference(self, image: NDArray, axes: str) -> NDArray:
        """Subtract the dilation of the erosion by scikit-image."""
        minimum, maximum = self.masks(axes)
        background = dilated(eroded(image, minimum), maximum)
        return subtracted(image, background, self.out_dtype(image.dtype))
