"""Images: axes, shape, dtype, physical scale and channels, with lazy pixels or without."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model.axes import axis_names, check_axes
from pipeline.model.errors import RequestError

if TYPE_CHECKING:
    import dask.array as da

Region = tuple[slice, ...]
"""A box of pixels: one slice with start and stop for each axis."""


@dataclass(frozen=True)
class Channel:
    """A channel: its name, and its colour as RRGGBB; either may be empty."""

    name: str = ""
    color: str = ""


@dataclass(frozen=True)
class ImageSpec:
    """Everything about an image but its pixels.

    Parameters
    ----------
    axes : str
        Letters out of t c z y x, in this order.
    shape : tuple of int
        Pixels along each axis.
    dtype : numpy.dtype
        Native byte order.
    chunks : tuple of int
        Shape of one stored chunk: the least that can be read at once.
    scale : mapping of str to float
        Size of a pixel (or the interval between frames) along each axis where it is known.
    units : mapping of str to str
        Unit of the scale, in NGFF's words ("micrometer"), where it is known.
    translation : mapping of str to float
        Where the first pixel lies, in the units of the scale, where it is not 0.
    channels : tuple of Channel
        One for each index of c where the data names them, else empty.
    name : str
        The image's own name, or empty.

    Raises
    ------
    RequestError
        The axes are not the image's.
    """

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...] = ()
    scale: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    translation: Mapping[str, float] = field(default_factory=dict)
    channels: tuple[Channel, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", axis_names(self.axes))
        check_axes(self.axes, len(self.shape))
        object.__setattr__(self, "dtype", np.dtype(self.dtype))
        if not self.chunks:
            object.__setattr__(self, "chunks", self.shape)

    @property
    def sizes(self) -> dict[str, int]:
        """Axis → pixels."""
        return dict(zip(self.axes, self.shape, strict=True))

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels, uncompressed."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The names there are; empty where the data names none."""
        return tuple(channel.name for channel in self.channels)

    def with_(self, **changes: object) -> ImageSpec:
        """Return a copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]  # checked by __post_init__ and callers


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


@dataclass(frozen=True)
class Image:
    """An image: a lazy Dask array and what its axes mean.

    Parameters
    ----------
    data : dask.array.Array
        The pixels, axes in the order of `spec.axes`.
    spec : ImageSpec
        The rest.
    """

    data: da.Array
    spec: ImageSpec

    def __post_init__(self) -> None:
        if not hasattr(self.data, "dask"):
            raise RequestError(
                f"an Image holds a lazy Dask array, not {type(self.data).__name__}",
                "give dask.array.from_array(…) of it", "data",
            )  # fmt: skip
        if tuple(self.data.shape) != self.spec.shape or self.data.dtype != self.spec.dtype:
            held, said = (f"{each.dtype} {tuple(each.shape)}" for each in (self.data, self.spec))
            raise RequestError(f"the array is {held} and its spec says {said}", "make them agree", "spec")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        """Return all pixels, read and computed, as `numpy.asarray` asks for them."""
        if copy is False:
            raise ValueError("the pixels of a lazy image are always made anew")
        return np.asarray(self.data.compute(), dtype)

    @property
    def axes(self) -> str:
        """Letters out of t c z y x."""
        return self.spec.axes

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis."""
        return self.spec.shape

    @property
    def dtype(self) -> np.dtype:
        """Type of a pixel."""
        return self.spec.dtype

    @property
    def scale(self) -> Mapping[str, float]:
        """Size of a pixel along each axis where it is known."""
        return self.spec.scale

    @property
    def units(self) -> Mapping[str, str]:
        """Unit of the scale along each axis where it is known."""
        return self.spec.units

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, empty where the data names none."""
        return self.spec.channel_names

    def __repr__(self) -> str:
        shape = " × ".join(f"{axis} {size}" for axis, size in self.spec.sizes.items())
        return f"<Image {shape}, {self.dtype}>"


def region_shape(region: Region) -> tuple[int, ...]:
    """Return the pixels along each axis of a region.

    >>> region_shape((slice(2, 5), slice(0, 7)))
    (3, 7)
    """
    return tuple(part.stop - part.start for part in region)


def origin_of(region: Region) -> tuple[int, ...]:
    """Return where a region begins."""
    return tuple(part.start for part in region)
