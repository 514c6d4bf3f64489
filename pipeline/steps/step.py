"""`Step`, the base class of every operator, here and in other packages."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import Any, Literal

from pipeline.steps.arrays import apply_to
from pipeline.steps.contract import StepContract
from pipeline.steps.step_type import StepType


class Step(StepContract, ABC, metaclass=StepType):
    """Base class of operators; defining a subclass that implements the contract registers it.

    Parameters
    ----------
    along : str
        The axes to filter along, "yx" by default; "zyx" for a stack, "t" for time.
    channels : list of str or int
        The channels to filter, by name or index; the others stay as they are. All by default.
    """

    def __call__(
        self,
        image: Any,
        axes: str | None = None,
        scale: Mapping[str, float | str] | None = None,
        units: Mapping[str, str] | None = None,
        nan: Literal["refuse", "propagate"] = "refuse",
    ) -> Any:
        """Filter an image: lazily an `Image` or a Dask array, at once a NumPy array.

        Parameters
        ----------
        image : Image, dask.array.Array, numpy.ndarray or xarray.DataArray
            The pixels. The dims of a DataArray are its axes.
        axes : str, optional
            The axes of an array, such as "tyx". Default: "yx" for an array of two axes.
        scale : mapping of str to float or str, optional
            Size of a pixel along each axis, for lengths with units: a number, or a text such as "0.325 um".
        units : mapping of str to str, optional
            Unit of the numbers in `scale`; µm by default, and s along t.
        nan : {"refuse", "propagate"}
            Whether NaN and infinite pixels are errors, or are filtered; as `input.nan` of a config.

        Returns
        -------
        Image, dask.array.Array, numpy.ndarray or xarray.DataArray
            The filtered image, of the same type and shape as the input.

        Raises
        ------
        RequestError
            The step does not fit the image.
        DataError
            A pixel is NaN or infinite and `nan` is "refuse"; of a lazy image when it is computed.
        """
        return apply_to(self, image, axes, scale, units, nan)
