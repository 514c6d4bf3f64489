"""Images: a lazy Dask array, and the axes, shape, dtype, scale and channels that describe it."""

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

# A box of pixels: a slice with start and stop for each axis.
Region = tuple[slice, ...]


@dataclass(frozen=True)
class Channel:
    """Name and colour of a channel; either may be empty."""

    name: str = ""
    color: str = ""  # RRGGBB


@dataclass(frozen=True)
class ImageSpec:
    """Description of an image without its pixels.

    Parameters
    ----------
    axes : str
        Letters out of t c z y x, in this order.
    shape : tuple of int
        Pixels along each axis.
    dtype : numpy.dtype
        Native byte order.
    chunks : tuple of int
        Shape of a stored chunk, the least that can be read at once; default: `shape`.
    scale : mapping of str to float
        Size of a pixel, or the interval between frames, along the axes where it is known.
    units : mapping of str to str
        Unit of the scale, by its NGFF name ("micrometer"), where it is known.
    translation : mapping of str to float
        Position of the first pixel, in the units of the scale, where it is not 0.
    channels : tuple of Channel
        One for each index of c if the data names them, else empty.
    name : str
        Name of the image, or empty.

    Raises
    ------
    RequestError
        `axes` are not those of an image, or do not match `shape`.
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

    def __hash__(self) -> int:
        return hash((self.axes, self.shape, self.dtype))  # the mappings have no hash

    @property
    def sizes(self) -> dict[str, int]:
        """Number of pixels along each axis, by axis."""
        return dict(zip(self.axes, self.shape, strict=True))

    @property
    def nbytes(self) -> int:
        """Size of all pixels in bytes, uncompressed."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels; empty if the data names none."""
        return tuple(channel.name for channel in self.channels)

    def with_(self, **changes: object) -> ImageSpec:
        """Return a copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]  # checked by __post_init__ and callers


def channel_indices(channels: tuple[str | int, ...], spec: ImageSpec) -> tuple[int, ...]:
    """Return the index of each channel of `channels`; RequestError if the image does not have it."""
    names = spec.channel_names
    count = spec.sizes.get("c", 0)
    indices = []
    for channel in channels:
        index = names.index(channel) if channel in names else channel
        if not isinstance(index, int) or not 0 <= index < count:
            if any(names):
                listed = ", ".join(names)
            else:
                listed = f"0 to {count - 1}, without names" if count else "none"
            message = f"there is no channel {channel!r} (channels: {listed})"
            raise RequestError(message, "name one that is there", "channels")
        indices.append(index)
    if len(set(indices)) < len(indices):
        message = "a channel is named twice, by its name and by its index"
        raise RequestError(message, "name each once", "channels")
    return tuple(indices)


@dataclass(frozen=True)
class Image:
    """A lazy Dask array and its description.

    Parameters
    ----------
    data : dask.array.Array
        The pixels, axes in the order of `spec.axes`.
    spec : ImageSpec
        Axes, shape, dtype, scale and channels; shape and dtype are those of `data`.

    Raises
    ------
    RequestError
        `data` is not lazy, or differs from `spec` in shape or dtype.
    """

    data: da.Array
    spec: ImageSpec

    def __post_init__(self) -> None:
        if not hasattr(self.data, "dask"):
            message = f"an Image holds a lazy Dask array, not {type(self.data).__name__}"
            raise RequestError(message, "give dask.array.from_array(…) of it", "data")
        if self.data.shape != self.spec.shape or self.data.dtype != self.spec.dtype:
            array, spec = (f"{item.dtype} {item.shape}" for item in (self.data, self.spec))
            raise RequestError(f"the array is {array} and its spec says {spec}", "make them agree", "spec")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        """Compute all pixels, for `numpy.asarray`."""
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
        """Size of a pixel along the axes where it is known."""
        return self.spec.scale

    @property
    def units(self) -> Mapping[str, str]:
        """Unit of the scale along the axes where it is known."""
        return self.spec.units

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels; empty if the data names none."""
        return self.spec.channel_names

    def __repr__(self) -> str:
        shape = " × ".join(f"{axis} {size}" for axis, size in self.spec.sizes.items())
        return f"<Image {shape}, {self.dtype}>"


def region_shape(region: Region) -> tuple[int, ...]:
    """Return the number of pixels along each axis of a region."""
    return tuple(span.stop - span.start for span in region)


def origin_of(region: Region) -> tuple[int, ...]:
    """Return the first pixel of a region."""
    return tuple(span.start for span in region)
