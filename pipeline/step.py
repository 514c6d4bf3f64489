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

from pipeline.axes import ORDER
from pipeline.errors import PipelineError, RequestError
from pipeline.image import Image, ImageSpec
from pipeline.kernels.dtypes import SUPPORTED
from pipeline.lengths import check_lengths, collected
from pipeline.units import Extent, Quantity

REGISTRY: dict[str, type[Step]] = {}
"""Step by its name in YAML; filled by the classes themselves, never changed afterwards."""

Background = Literal["input minus result", "input plus result"]
"""What of a step's input and result is the background that it found."""

Applier = Callable[["Step", Any, str, ImageSpec], Any]
_appliers: dict[str, Applier] = {}


def register_applier(package: str, applier: Applier) -> None:
    """Say how a step is applied to the lazy arrays of a package (`graph` does, for dask)."""
    _appliers[package] = applier


def snake_case(name: str) -> str:
    """Return the YAML's name for a class.

    >>> snake_case("DifferenceOfGaussians")
    'difference_of_gaussians'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Step(BaseModel, ABC):
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
            scale, or a length makes no sense on this image.
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
        scale: Mapping[str, float] | None = None,
        units: Mapping[str, str] | None = None,
    ) -> Any:
        """Apply the step to an `Image` (lazy), a Dask array (lazy) or a NumPy array (at once).

        Parameters
        ----------
        image : Image, dask.array.Array or numpy.ndarray
            What to filter.
        axes : str, optional
            The axes of an array, such as "tyx". Default: the last ones of "zyx" that fit `along`.
        scale : mapping of str to float, optional
            Size of a pixel along each axis, for lengths with units.
        units : mapping of str to str, optional
            Unit of the scale; default µm, and s along t.

        Returns
        -------
        Image, dask.array.Array or numpy.ndarray
            The same kind as went in.

        Raises
        ------
        RequestError
            The step does not fit the image.
        """
        if isinstance(image, Image):
            data = self._lazily(image.data, image.spec)
            return Image(data, image.spec.with_(dtype=chain_dtype((self,), image.spec.dtype)))
        spec = array_spec(image, axes, scale, units)
        if isinstance(image, np.ndarray):
            native = image.astype(image.dtype.newbyteorder("="), copy=False)
            return apply_step(self.resolve(spec), native, spec.axes, (0,) * image.ndim)
        return self._lazily(image, spec)

    def _lazily(self, array: Any, spec: ImageSpec) -> Any:
        package = type(array).__module__.partition(".")[0]
        if package not in _appliers:
            raise TypeError(
                f"a step takes an Image, a NumPy array or a Dask array, not {type(array).__name__}"
            )
        return _appliers[package](self, array, spec.axes, spec)


def array_spec(
    array: Any,
    axes: str | None = None,
    scale: Mapping[str, float] | None = None,
    units: Mapping[str, str] | None = None,
) -> ImageSpec:
    """Return the spec of a plain array, whose axes the caller says.

    Raises
    ------
    RequestError
        The axes do not fit the array, or its dtype is not one that bgone computes in.
    """
    if axes is None:
        if array.ndim != 2:
            raise RequestError(
                f"an array of {array.ndim} axes needs their names", "say axes='tyx', for instance", "axes"
            )
        axes = "yx"
    if np.dtype(array.dtype).newbyteorder("=") not in SUPPORTED:
        names = ", ".join(dtype.name for dtype in SUPPORTED)
        raise RequestError(f"an array of {array.dtype} cannot be filtered", f"convert it to one of {names}")
    scale = dict(scale or {})
    default = {axis: "second" if axis == "t" else "micrometer" for axis in scale}
    return ImageSpec(
        axes,
        tuple(array.shape),
        np.dtype(array.dtype).newbyteorder("="),
        scale=scale,
        units=default | dict(units or {}),
    )


def channel_indices(channels: tuple[str | int, ...], spec: ImageSpec) -> tuple[int, ...]:
    """Return the index of each channel, given by name or index.

    Raises
    ------
    RequestError
        The image has no channels, or not this one.
    """
    count = spec.sizes.get("c", 1)
    names = spec.channel_names
    indices = []
    for channel in channels:
        known = channel in names if isinstance(channel, str) else 0 <= channel < count
        if not known or "c" not in spec.axes:
            there = (
                ", ".join(names)
                if any(names)
                else f"0 to {count - 1}, without names"
                if "c" in spec.axes
                else "none"
            )
            raise RequestError(
                f"there is no channel {channel!r} (channels: {there})", "name one that is there", "channels"
            )
        indices.append(names.index(channel) if isinstance(channel, str) else channel)
    if len(set(indices)) < len(indices):
        raise RequestError(
            "a channel is named twice, by its name and by its index", "name each once", "channels"
        )
    return tuple(indices)


def step_dtype(step: Step, dtype: np.dtype) -> np.dtype:
    """Return the dtype after a step, the channels that it leaves alone included."""
    given = step.out_dtype(dtype)
    return given if step.channels is None else np.result_type(given, dtype)


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
