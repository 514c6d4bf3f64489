"""`Step`, the class that every operator subclasses, here and in other packages."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import Any, Literal

from pipeline.steps.arrays import apply_to
from pipeline.steps.contract import StepContract
from pipeline.steps.step_type import StepType


class Step(StepContract, ABC, metaclass=StepType):
    """One operator of a chain; a subclass that implements the contract is registered under its name.

    Parameters
    ----------
    along : str
        The axes it works along, "yx" by default; "zyx" for a stack, "t" for time.
    channels : list of str or int
        The channels it is applied to; the others pass untouched.
    """

    def __call__(
        self,
        image: Any,
        axes: str | None = None,
        scale: Mapping[str, float | str] | None = None,
        units: Mapping[str, str] | None = None,
        nan: Literal["refuse", "propagate"] = "refuse",
    ) -> Any:
        """Apply the step to an `Image` (lazy), a Dask array (lazy) or a NumPy array (at once).

        Parameters
        ----------
        image : Image, dask.array.Array, numpy.ndarray or xarray.DataArray
            What to filter. The dims of a DataArray are its axes.
        axes : str, optional
            The axes of an array, such as "tyx". Default: "yx" for an array of two axes.
        scale : mapping, optional
            Size of a pixel along each axis, for lengths with units: a number, or a text as "0.325 um".
        units : mapping of str to str, optional
            Unit of the scale's numbers; default µm, and s along t.
        nan : {"refuse", "propagate"}
            What NaN and infinite pixels mean, as `input.nan` of a config.

        Returns
        -------
        Image, dask.array.Array, numpy.ndarray or xarray.DataArray
            The same kind as went in.

        Raises
        ------
        RequestError
            The step does not fit the image.
        DataError
            A pixel is a NaN or infinite, and `nan` does not let it pass (a lazy one when it is computed).
        """
        return apply_to(self, image, axes, scale, units, nan)
