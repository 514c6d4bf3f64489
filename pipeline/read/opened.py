"""An image as its format describes it, before the user's axes, scale and selection are applied."""

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
    """An image as its format describes it.

    Parameters
    ----------
    store : Store
        The pixels.
    axes : str
        A letter for each axis of the store: t c z y x, or ? where the data does not say it.
    path : str
        Absolute path or URL.
    optional : str
        Axes that the format always writes, left out where they have length 1.
    scale, units, translation : mapping
        By axis, where the data has them; a scale just as the data has it, 0 and other nonsense included.
    said_by : mapping
        By axis, the data's own words for the scale, such as PhysicalSizeX="0".
    channels : tuple of Channel
        One for each index of c where the data names them.
    name : str
        The image's own name.
    extras : tuple of str
        What is not carried over.
    notes : tuple of str
        What was assumed of the data where it does not say it, for whoever has to know.
    """

    store: Store
    axes: str
    path: str
    optional: str = ""
    scale: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    translation: Mapping[str, float] = field(default_factory=dict)
    said_by: Mapping[str, str] = field(default_factory=dict)
    channels: tuple[Channel, ...] = ()
    name: str = ""
    extras: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_dtype(dtype: np.dtype, where: str) -> np.dtype:
    """Return the dtype in which an image's pixels are handed on.

    Native byte order; bool becomes uint8 and float16 float32.

    Raises
    ------
    RequestError
        bgone has no such pixels: complex, structures.
    """
    plain = dtype.newbyteorder("=") if dtype.names is None else dtype
    native = _WIDENED.get(plain, plain)
    if native not in SUPPORTED:
        kind = "structured" if dtype.names is not None else native.name
        names = ", ".join(supported.name for supported in SUPPORTED)
        raise input_error(f"{where} has {kind} pixels", f"convert it to one of {names}")
    return native


def layout_text(axes: str, shape: tuple[int, ...]) -> str:
    """Return stored axes in words.

    >>> layout_text("?yx", (50, 64, 32))
    '50 × y 64 × x 32'
    """
    named = ((axis.replace(UNKNOWN, ""), size) for axis, size in zip(axes, shape, strict=True))
    return " × ".join(f"{axis} {size}".strip() for axis, size in named)


def choose_series(path: str, images: Sequence[tuple[str, str]], series: int | None) -> int:
    """Return which image of a file is meant, out of their names and layouts in words.

    Raises
    ------
    RequestError
        There are several and none is said, or it is not there.
    """
    listing = listed(f"{index} ({name or 'unnamed'}: {shape})" for index, (name, shape) in enumerate(images))
    field = "input.series"
    if series is None and len(images) > 1:
        raise RequestError(f"{path!r} holds several images: {listing}", "say which in input.series", field)
    index = series or 0
    if not 0 <= index < len(images):
        raise RequestError(f"{path!r} has no series {index}", f"it has {listing}", field)
    return index
