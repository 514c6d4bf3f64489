"""The contract of a step: its fields, what it says of itself, and what it does with a block.

A step is a frozen model. Its fields are the YAML's, its docstring is what `bgone steps NAME` prints.
`resolve` binds it to an image: afterwards each of its lengths is a number of pixels for each axis, and
`halo`, `out_dtype`, `value_range`, `working_bytes`, `apply` and `reference` can be asked.
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
from pipeline.model.messages import collected
from pipeline.model.units import Extent, Quantity
from pipeline.steps.lengths import check_lengths, extent_by_axis

Background = Literal["input minus result", "input plus result"]
"""What of a step's input and result is the background that it found."""


class StepContract(BaseModel, ABC):
    """A step as the code that plans and computes blocks sees it; `Step` is what operators subclass."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: ClassVar[str] = ""
    """Its name in YAML: the class's in snake_case."""
    examples: ClassVar[tuple[dict[str, Any], ...]] = ()
    """Parameters that messages show and that `pipeline.testing` tries."""
    background: ClassVar[Background | None] = None
    """What of input and result is the background that the step found: "input minus result" where it
    is taken off, "input plus result" where it stays above features turned over, as a black top-hat
    does; None where the step changes more than a background, as a smoothing does. Pixel by pixel;
    each operator says its own, also where it is None."""
    accuracy: ClassVar[float] = 0.0
    """How far from `reference` a result may lie, as a share of the data's range; 0: not in any bit."""

    along: str = "yx"
    channels: Annotated[
        tuple[str | int, ...] | None, BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)
    ] = None

    @field_validator("along")
    @classmethod
    @collected
    def _known_axes(cls, along: str) -> str:
        if not along:
            raise RequestError("'' names no axis", "use letters out of t, z, y, x such as yx or zyx")
        if "c" in along.lower():
            raise RequestError("a step cannot work along c", "name the channels it is for in `channels`")
        return in_order(check_letters(along, "tzyx", field=""))

    @field_validator("channels")
    @classmethod
    @collected
    def _some_channels(cls, channels: tuple[str | int, ...] | None) -> tuple[str | int, ...] | None:
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
    @collected
    def _lengths_fit_along(self) -> Self:
        check_lengths(self.along, self.lengths)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        raise RequestError(f"a {type(self).__name__} cannot be changed", "make another one", name)

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
        """Return the step with every length in px, one for each axis of `along`.

        Parameters
        ----------
        spec : ImageSpec
            The image that it is to be applied to.

        Raises
        ------
        RequestError
            The image lacks an axis or a channel, a length with a unit meets an axis without
            scale, a length makes no sense on this image, or no type holds what it would give.
        """
        missing = [axis for axis in self.along if axis not in spec.axes]
        if missing:
            raise RequestError(
                f"works along {self.along!r} and the image has no axis {missing[0]!r} (it has {spec.axes})",
                "set `along` to axes of the image", "along",
            )  # fmt: skip
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
        for axis, quantity in extent_by_axis(extent, self.along).items():
            try:
                px = quantity.pixels(spec.scale.get(axis), spec.units.get(axis))
            except PipelineError as error:
                raise error.under(f"{name}.{axis}" if len(self.along) > 1 else name) from None
            resolved[axis] = Quantity(self.round_length(name, px, quantity))
        return resolved

    def round_length(self, name: str, px: float, given: Quantity) -> float:
        """Return a length in px as the step uses it; a size becomes an odd whole number."""
        return px

    def pixels(self, field: str, axes: str) -> tuple[float, ...]:
        """Return a resolved length for each of `axes`, 0 where the step is flat."""
        extent = getattr(self, field)
        if isinstance(extent, Quantity):
            raise TypeError(f"{field} is not resolved yet: call resolve first")
        return tuple(extent[axis].value if axis in extent else 0 for axis in axes)

    # -- what an operator says -------------------------------------------------------------

    def check(self, spec: ImageSpec) -> None:
        """Refuse lengths that make no sense on this image (resolved step).

        Raises
        ------
        RequestError
            One of them does.
        """

    @abstractmethod
    def halo(self) -> dict[str, int]:
        """Return how far it looks along each axis of `along`, in px (resolved step)."""

    @abstractmethod
    def out_dtype(self, dtype: np.dtype) -> np.dtype:
        """Return the dtype of what it gives for an image of `dtype`."""

    @abstractmethod
    def value_range(self, low: float, high: float) -> tuple[float, float]:
        """Return the range of what it gives for values from `low` to `high`."""

    def seen(self, low: float, high: float) -> tuple[float, float]:
        """Return the range of what it sees of an image with values from `low` to `high`, its border too."""
        return low, high

    @abstractmethod
    def working_bytes(self, shape: tuple[int, ...], dtype: np.dtype, axes: str) -> int:
        """Return the bytes it takes for a block beside the block and the result (resolved step)."""

    @abstractmethod
    def apply(self, block: NDArray, axes: str, origin: tuple[int, ...]) -> NDArray:
        """Return the result for one block.

        Parameters
        ----------
        block : numpy.ndarray
            Pixels, with axes in the order of `axes`; not changed.
        axes : str
            The axes of the block.
        origin : tuple of int
            Where the block begins in the image, for operators that keep a global grid.

        Returns
        -------
        numpy.ndarray
            Of the block's shape and `out_dtype`; right where the halo is whole, or ends at
            the image's border.
        """

    @abstractmethod
    def reference(self, image: NDArray, axes: str) -> NDArray:
        """Return the result for a whole image through scikit-image or scipy: slow, and with no kernel.

        Parameters
        ----------
        image : numpy.ndarray
            Pixels, with axes in the order of `axes`; its ends are the border. Not changed.
        axes : str
            The axes of the image.

        Returns
        -------
        numpy.ndarray
            Of the image's shape; of `out_dtype`, or float64 where `accuracy` is not 0.
        """


def step_dtype(step: StepContract, dtype: np.dtype) -> np.dtype:
    """Return the dtype after a step, the channels that it leaves alone included.

    Raises
    ------
    RequestError
        No type holds both.
    """
    result = step.out_dtype(dtype)
    both = result if step.channels is None else common_dtype(result, dtype)
    if both is None:
        raise RequestError(
            f"{step.name} gives {result} and the other channels stay {dtype}, which no type holds together",
            "leave channels out, or take an image of 32 bits or fewer", "channels",
        )  # fmt: skip
    return both
