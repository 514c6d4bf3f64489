"""The step contract, and the registry of steps.

A step is a frozen model. Its fields are the YAML's, its docstring is what
`bgone steps NAME` prints. `resolve` binds it to an image: afterwards each of its lengths is
a number of pixels for each axis, and `halo`, `out_dtype`, `value_range`, `working_bytes` and
`apply` can be asked.

Two kinds: a *local* step needs a halo around each block; a *fitted* step needs something
of the whole image first, so it ends a stage of the plan.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    field_validator,
    model_validator,
)

from pipeline.kernels.dtypes import common_dtype
from pipeline.model.axes import ORDER, axis_names
from pipeline.model.errors import PipelineError, RequestError
from pipeline.model.finite import check_finite
from pipeline.model.image import Image, ImageSpec, channel_indices
from pipeline.model.units import Extent, Quantity
from pipeline.steps.arguments import StepType
from pipeline.steps.arrays import TAKES, array_spec, axes_of_dims, check_array, is_labelled, with_scale
from pipeline.steps.lengths import check_lengths, collected

REGISTRY: dict[str, type[Step]] = {}
"""Step by its name in YAML; filled by the classes themselves, never changed afterwards."""

Background = Literal["input minus result", "input plus result"]
"""What of a step's input and result is the background that it found."""

Applier = Callable[["Step", Any, ImageSpec, bool], Any]
_appliers: dict[str, Applier] = {}

MEND = "mend the data, or say nan='propagate'"
"""What to do about a NaN in an array."""


def register_applier(package: str, applier: Applier) -> None:
    """Say how a step is applied to the lazy arrays of a package (`graph` does, for dask)."""
    _appliers[package] = applier


def snake_case(name: str) -> str:
    """Return the YAML's name for a class.

    >>> snake_case("DifferenceOfGaussians")
    'difference_of_gaussians'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Step(BaseModel, ABC, metaclass=StepType):
    """One operator of a chain.

    Parameters
    ----------
    along : str
        The axes it works along: "yx" plane by plane, "zyx" for a stack, "t" for time.
    channels : tuple of str or int, optional
        The channels it is applied to, by name or index; the others pass untouched.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: ClassVar[str] = ""
    kind: ClassVar[Literal["local", "fitted"]] = "local"
    examples: ClassVar[tuple[dict[str, Any], ...]] = ()
    """Parameters that the contract test tries."""
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

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__name__.startswith("_") and ABC not in cls.__bases__:
            cls.name = snake_case(cls.__name__)
            REGISTRY[cls.name] = cls

    @field_validator("along")
    @classmethod
    def _known_axes(cls, along: str) -> str:
        along = along.lower()
        unknown = [axis for axis in along if axis not in ORDER]
        if unknown or not along:
            raise ValueError(f"{along!r} names no axis; use letters out of t, z, y, x such as yx or zyx")
        if "c" in along:
            raise ValueError("a step cannot work along c; name the channels it is for in `channels`")
        if len(set(along)) < len(along):
            raise ValueError(f"{along!r} names an axis twice; name each axis once")
        return "".join(sorted(along, key=ORDER.index))

    @field_validator("channels")
    @classmethod
    def _some_channels(cls, channels: tuple[str | int, ...] | None) -> tuple[str | int, ...] | None:
        if channels is not None and not channels:
            raise ValueError("names no channel; name some, or leave it out for all")
        for channel in channels or ():
            if isinstance(channel, int) and channel < 0:
                raise ValueError(f"{channel} is not a channel; count from 0, or give its name")
        if channels is not None and len(set(channels)) < len(channels):
            raise ValueError("names a channel twice; name each channel once")
        return channels

    @model_validator(mode="after")
    def _lengths_fit_along(self) -> Self:
        collected(check_lengths)((self.along, self.lengths))
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        raise RequestError(f"a {type(self).__name__} cannot be changed", "make another one", name)

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
        if isinstance(extent, Quantity):
            extent = dict.fromkeys(self.along, extent)
        if set(extent) != set(self.along):
            raise RequestError(
                f"is given for the axes {', '.join(extent)} and the step works along {self.along!r}",
                "give one length for each axis of `along`", name,
            )  # fmt: skip
        resolved = {}
        for axis in self.along:
            quantity = extent[axis]
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

    # -- applying it -----------------------------------------------------------------------

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
        if nan not in ("refuse", "propagate"):
            raise RequestError(f"{nan!r} is not a choice", "use refuse or propagate", "nan")
        refuse = nan == "refuse"
        if isinstance(image, Image):
            if axes is not None and axis_names(axes) != image.axes:
                raise RequestError(f"the image's axes are {image.axes}, not {axes}", "leave axes out", "axes")
            spec = with_scale(image.spec, scale, units)
            data = self._lazily(image.data, spec, refuse)
            return Image(data, spec.with_(dtype=chain_dtype((self,), spec.dtype)))
        if is_labelled(image):
            axes = axes_of_dims(image.dims) if axes is None else axes
            return image.copy(data=self(image.data, axes, scale, units, nan))
        check_array(image)
        spec = array_spec(image, axes, scale, units)
        if not isinstance(image, np.ndarray):
            return self._lazily(image, spec, refuse)
        resolved, origin = self.resolve(spec), (0,) * image.ndim
        native = np.asarray(image).astype(spec.dtype, copy=False)
        if refuse:
            check_finite(native, spec.axes, origin, MEND)
        return apply_step(resolved, native, spec.axes, origin)

    def _lazily(self, array: Any, spec: ImageSpec, refuse_nan: bool) -> Any:
        package = type(array).__module__.partition(".")[0]
        if package not in _appliers:
            raise RequestError(f"{type(array).__name__} is no image", TAKES)
        return _appliers[package](self, array, spec, refuse_nan)


def step_dtype(step: Step, dtype: np.dtype) -> np.dtype:
    """Return the dtype after a step, the channels that it leaves alone included.

    Raises
    ------
    RequestError
        No type holds both.
    """
    given = step.out_dtype(dtype)
    both = given if step.channels is None else common_dtype(given, dtype)
    if both is None:
        raise RequestError(
            f"{step.name} gives {given} and the other channels stay {dtype}, which no type holds together",
            "leave channels out, or take an image of 32 bits or fewer", "channels",
        )  # fmt: skip
    return both


def chain_dtype(steps: tuple[Step, ...], dtype: np.dtype) -> np.dtype:
    """Return the dtype after a chain of steps."""
    for step in steps:
        dtype = step_dtype(step, dtype)
    return dtype


def chain_halo(steps: tuple[Step, ...], axes: str) -> dict[str, int]:
    """Return the halo of a chain of resolved steps: their halos summed, axis by axis."""
    halos = [step.halo() for step in steps]
    return {axis: sum(halo.get(axis, 0) for halo in halos) for axis in axes}


def apply_step(step: Step, block: NDArray, axes: str, origin: tuple[int, ...]) -> NDArray:
    """Apply a resolved step to a block, to the channels that it is for."""
    if step.channels is None:
        return step.apply(block, axes, origin)
    out = block.astype(step_dtype(step, block.dtype))
    axis = axes.index("c")
    for channel in range(block.shape[axis]):
        if channel + origin[axis] in step.channels:
            part = (slice(None),) * axis + (slice(channel, channel + 1),)
            out[part] = step.apply(block[part], axes, origin)
    return out
