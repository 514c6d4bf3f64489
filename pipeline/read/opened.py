"""The description of an image by its file format, before the user's axes, scale and selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.kernels.dtypes import SUPPORTED
from pipeline.model.errors import RequestError
from pipeline.model.image import Channel
from pipeline.read.files import input_error, listed
from pipeline.read.source import Store

UNKNOWN = "?"
_WIDENED: dict[np.dtype, np.dtype] = {
    np.dtype(bool): np.dtype(np.uint8),
    np.dtype(np.float16): np.dtype(np.float32),
}


@dataclass(frozen=True)
class Opened:
    """An image as its format describes it."""

    store: Store
    axes: str  # a letter for each stored axis: t c z y x, or ? where the data does not say it
    path: str
    optional: str = ""  # axes that the format always writes, left out where they have length 1
    scale: Mapping[str, float] = field(default_factory=dict)  # as in the data, 0 and nonsense included
    units: Mapping[str, str] = field(default_factory=dict)
    translation: Mapping[str, float] = field(default_factory=dict)
    scale_source: Mapping[str, str] = field(default_factory=dict)  # how the data words it: PhysicalSizeX="0"
    channels: tuple[Channel, ...] = ()
    name: str = ""
    not_carried: tuple[str, ...] = ()  # as in Source
    notes: tuple[str, ...] = ()


def read_dtype(dtype: np.dtype, where: str) -> np.dtype:
    """Return the dtype in which pixels are handed on: native byte order, uint8 for bool, float32 for float16.

    Raises
    ------
    RequestError
        The pixels are complex, structured or of another dtype that bgone does not support.
    """
    plain = dtype.newbyteorder("=") if dtype.names is None else dtype
    native = _WIDENED.get(plain, plain)
    if native not in SUPPORTED:
        kind = "structured" if dtype.names is not None else native.name
        names = ", ".join(supported.name for supported in SUPPORTED)
        raise input_error(f"{where} has {kind} pixels", f"convert it to one of {names}")
    return native


def layout_text(axes: str, shape: tuple[int, ...]) -> str:
    """Describe stored axes and their lengths.

    >>> layout_text("?yx", (50, 64, 32))
    '50 × y 64 × x 32'
    """
    named = ((axis.replace(UNKNOWN, ""), size) for axis, size in zip(axes, shape, strict=True))
    return " × ".join(f"{axis} {size}".strip() for axis, size in named)


def choose_series(path: str, images: Sequence[tuple[str, str]], series: int | None) -> int:
    """Return the number of the requested image of a file, given names and layouts of its images.

    Raises
    ------
    RequestError
        No series is given for several images, or it does not exist.
    """
    listing = listed(f"{index} ({name or 'unnamed'}: {shape})" for index, (name, shape) in enumerate(images))
    field = "input.series"
    if series is None and len(images) > 1:
        raise RequestError(f"{path!r} holds several images: {listing}", "say which in input.series", field)
    index = series or 0
    if not 0 <= index < len(images):
        raise RequestError(f"{path!r} has no series {index}", f"it has {listing}", field)
    return index
