"""The contract of a step: its fields, its declarations, and its filter.

A step is a frozen pydantic model. Its fields are the keys in YAML, and `bgone steps NAME` prints its
docstring. `resolve` binds a step to an image: each length becomes a number of pixels for each axis. `halo`,
`pixels`, `working_bytes`, `apply` and `reference` are for resolved steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, field_validator, model_validator

from pipeline.kernels.dtypes import common_dtype
from pipeline.model.axes import check_letters, in_order
from pipeline.model.errors import PipelineError, RequestError
from pipeline.model.image import ImageSpec, channel_indices
from pipeline.model.messages import as_pydantic_error
from pipeline.model.units import Extent, Quantity
from pipeline.steps.lengths import check_lengths, extent_by_axis

# How a background is computed from an image and its result.
Background = Literal["input minus result", "input plus result"]


class StepContract(BaseModel, ABC):
    """A step as planning and computing see it; operators subclass `Step`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    # The name in YAML: the class name in snake_case, set when the class is defined.
    name: ClassVar[str] = ""
    # Parameters, by name, of steps that `pipeline.testing` tries and that messages show.
    examples: ClassVar[tuple[dict[str, Any], ...]] = ()
    # "input minus result" for a step that subtracts a background, "input plus result" for one that also
    # inverts the image, as a black top-hat does. None for a step that changes more than a background, as
    # smoothing does. Each operator declares its own, even None.
    background: ClassVar[Background | None] = None
    # How far a result may lie from `reference`, as a share of the data's range; 0 means equal in every bit.
    accuracy: ClassVar[float] = 0.0

    along: str = "yx"
    # A list, as YAML gives it, is no tuple to a strict model.
    channels: Annotated[
        tuple[str | int, ...] | None,
        BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
    ] = None

    @field_validator("along")
    @classmethod
    @as_pydantic_error
    def _check_along(cls, along: str) -> str:
        if not along:
            raise RequestError("'' names no axis", "use letters out of t, z, y, x such as yx or zyx")
        if "c" in along.lower():
            raise RequestError("a step cannot work along c", "name the channels it is for in `channels`")
        return in_order(check_letters(along, "tzyx", field=""))

    @field_validator("channels")
    @classmethod
    @as_pydantic_error
    def _check_channels(cls, channels: tuple[str | int, ...] | None) -> tuple[str | int, ...] | None:
        if channels is None:
            return None
        if not channels:
            raise RequestError("names no channel", "name some, or leave it out for all")
        for channel in channels:
            if isinstance(channel, int) and channel < 0:
                raise RequestError(f"{channel} is not a channel", "count from 0, or give its name")
        if len(set(channels)) < len(channels):
            raise RequestError("names a channel twice", "name each channel once")
        return channels

    @model_validator(mode="after")
    @as_pydantic_error
    def _check_lengths(self) -> Self:
        check_lengths(self.along, self.lengths)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        raise RequestError(f"a {type(self).__name__} cannot be changed", "make another one", name)

    def __hash__(self) -> int:
        # A length for each axis is a dict, which has no hash of its own.
        values = (frozenset(v.items()) if isinstance(v, dict) else v for v in self.__dict__.values())
        return hash((type(self), *values))

    @property
    def exact(self) -> bool:
        """Whether results equal the reference's, and those of the undivided image, in every bit."""
        return self.accuracy == 0

    # -- binding to an image ---------------------------------------------------------------

    @property
    def lengths(self) -> dict[str, Extent]:
        """The fields that are lengths, by name."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if isinstance(value, Quantity | Mapping)}

    def resolve(self, spec: ImageSpec) -> Self:
        """Return the step with every length in px for each axis of `along`, and channels as indices.

        The result depends on the step and `spec` alone, so that it can be kept for images alike.

        Parameters
        ----------
        spec : ImageSpec
            The image to filter.

        Raises
        ------
        RequestError
            The image lacks an axis or a channel, a length has a unit along an axis without scale, a length
            does not fit the image, or no dtype holds the result.
        """
        missing = [axis for axis in self.along if axis not in spec.axes]
        if missing:
            raise RequestError(
                f"works along {self.along!r} and the image has no axis {missing[0]!r} (it has {spec.axes})",
                "set `along` to axes of the image",
                "along",
            )
        update: dict[str, object] = {
            name: self._in_pixels(name, extent, spec) for name, extent in self.lengths.items()
        }
        if self.channels is not None:
            update["channels"] = channel_indices(self.channels, spec)
        resolved = self.model_copy(update=update)
        resolved.check(spec)
        step_dtype(resolved, spec.dtype)
        return resolved

    def _in_pixels(self, name: str, extent: Extent, spec: ImageSpec) -> dict[str, Quantity]:
        resolved = {}
        for axis, length in extent_by_axis(extent, self.along).items():
            try:
                px = length.pixels(spec.scale.get(axis), spec.units.get(axis))
            except PipelineError as error:
                raise error.under(f"{name}.{axis}" if len(self.along) > 1 else name) from None
            resolved[axis] = Quantity(self.round_length(name, px, length))
        return resolved

    def round_length(self, name: str, px: float, given: Quantity) -> float:
        """Return a length in px as the filter uses it; unchanged by default.

        Parameters
        ----------
        name : str
            The field.
        px : float
            The length on the image.
        given : Quantity
            The length as the user wrote it.
        """
        return px

    def pixels(self, field: str, axes: str) -> tuple[float, ...]:
        """Return a resolved length for each of `axes`, in px; 0 along axes that are not filtered."""
        extent = getattr(self, field)
        if isinstance(extent, Quantity):
            raise TypeError(f"{field} is not resolved yet: call resolve first")
        return tuple(extent[axis].value if axis in extent else 0 for axis in axes)

    # -- to be implemented by an operator --------------------------------------------------

    def check(self, spec: ImageSpec) -> None:
        """Raise RequestError if a length makes no sense on this image (resolved step)."""

    @abstractmethod
    def halo(self) -> dict[str, int]:
        """Return how far the filter looks along each axis of `along`, in px (resolved step)."""

    @abstractmethod
    def out_dtype(self, dtype: np.dtype) -> np.dtype:
        """Return the dtype of the result for an image of `dtype`."""

    @abstractmethod
    def value_range(self, low: float, high: float) -> tuple[float, float]:
        """Return the least and the greatest value of the result for an image from `low` to `high`."""

    def seen(self, low: float, high: float) -> tuple[float, float]:
        """Return the range of an image from `low` to `high` together with the values beyond its border."""
        return low, high

    @abstractmethod
    def working_bytes(self, shape: tuple[int, ...], dtype: np.dtype, axes: str) -> int:
        """Return the memory that `apply` takes beside the block and the result, in bytes (resolved step)."""

    @abstractmethod
    def apply(self, block: NDArray, axes: str, origin: tuple[int, ...]) -> NDArray:
        """Filter one block (resolved step).

        Parameters
        ----------
        block : numpy.ndarray
            Pixels, with axes in the order of `axes`; not changed.
        axes : str
            The axes of the block.
        origin : tuple of int
            The block's first pixel in the image, for filters on a global grid.

        Returns
        -------
        numpy.ndarray
            Shape of the block; dtype `out_dtype`. Valid where the halo is whole, or ends at the image's
            border.
        """

    @abstractmethod
    def reference(self, image: NDArray, axes: str) -> NDArray:
        """Filter a whole image with scikit-image or scipy, without bgone's kernels; may be slow.

        Parameters
        ----------
        image : numpy.ndarray
            Pixels, with axes in the order of `axes`; not changed.
        axes : str
            The axes of the image.

        Returns
        -------
        numpy.ndarray
            Shape of the image; dtype `out_dtype`, or float64 where `accuracy` is not 0.
        """


def step_dtype(step: StepContract, dtype: np.dtype) -> np.dtype:
    """Return the dtype that holds a step's result and the channels that it leaves alone.

    Raises
    ------
    RequestError
        No dtype holds both.
    """
    result = step.out_dtype(dtype)
    common = result if step.channels is None else common_dtype(result, dtype)
    if common is None:
        raise RequestError(
            f"{step.name} gives {result} and the other channels stay {dtype}, which no type holds together",
            "leave channels out, or take an image of 32 bits or fewer",
            "channels",
        )
    return common
