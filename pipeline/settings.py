"""The parts of a config as typed, frozen models: what may stand there, and its defaults."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from pipeline.axes import ORDER, check_axes
from pipeline.errors import RequestError
from pipeline.units import PX, Quantity

_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_BYTES |= {
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
    "k": 2**10,
    "m": 2**20,
    "g": 2**30,
    "t": 2**40,
}
_SIZE = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*([a-zA-Z]+)\s*")
_INTEGERS = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "int64")
DTYPES = (*_INTEGERS, "float32", "float64")


def parse_bytes(raw: object) -> int:
    """Return a number of bytes, given as such or as a text with a unit.

    >>> parse_bytes("8 GiB") == 8 * 2**30, parse_bytes("500MB")
    (True, 500000000)
    """
    if isinstance(raw, int) and not isinstance(raw, bool):
        if raw <= 0:
            raise ValueError(f"{raw} bytes is nothing; give a size such as '8 GiB'")
        return raw
    match = _SIZE.fullmatch(raw) if isinstance(raw, str) else None
    if match is None or match[2].lower() not in _BYTES:
        raise ValueError(f"{raw!r} is not a size; give one such as '8 GiB'")
    size = int(float(match[1]) * _BYTES[match[2].lower()])
    if size <= 0:
        raise ValueError(f"{raw!r} is nothing; give a size such as '8 GiB'")
    return size


def _axes(raw: str) -> str:
    try:
        return check_axes(raw)
    except RequestError as error:
        problem = error.problems[0]
        raise ValueError(f"{problem.what}; {problem.mend}") from None


def _known_axes(raw: dict[str, Any]) -> dict[str, Any]:
    for axis in raw:
        if axis not in tuple(ORDER):
            raise ValueError(f"{axis!r} is not an axis; use letters out of t, c, z, y, x")
    return raw


def _scale_value(raw: object) -> Quantity:
    try:
        quantity = Quantity.parse(raw)
    except RequestError as error:
        raise ValueError(str(error)) from None
    if quantity.unit == PX or quantity.value <= 0:
        raise ValueError(f"{raw!r} is not the size of a pixel; give one with a unit, such as '0.325 um'")
    return quantity


def _pixels(raw: object) -> object:
    if isinstance(raw, bool) or not isinstance(raw, int) or raw < 1:
        raise ValueError(f"{raw!r} is not a number of px; give a whole number of 1 or more")
    return raw


def _share(raw: object) -> float:
    text = raw.strip() if isinstance(raw, str) else ""
    try:
        share = (
            float(text[:-1]) / 100
            if text.endswith("%")
            else float(raw)
            if not isinstance(raw, bool | str)
            else math.nan
        )  # type: ignore[arg-type]
    except (ValueError, TypeError):
        share = math.nan
    if not 0 <= share <= 1:
        raise ValueError(f"{raw!r} is not a share; give one such as '0.1%' or 0.001")
    return share


def _dtype(raw: str) -> str:
    if raw == "input":
        return raw
    try:
        name = np.dtype(raw).name
    except TypeError:
        name = ""
    if name not in DTYPES:
        raise ValueError(f"{raw!r} is not a dtype of an output; use input, {', '.join(DTYPES)}")
    return name


def _select_value(raw: object) -> object:
    if (
        isinstance(raw, list)
        and raw
        and all(isinstance(item, int | str) and not isinstance(item, bool) for item in raw)
    ):
        return tuple(raw)
    if isinstance(raw, tuple) or (isinstance(raw, str) and ":" in raw):
        return raw
    raise ValueError(
        f"{raw!r} selects nothing; give a slice such as '0:100', or a list such as [0, 2] or [GFP]"
    )


Axes = Annotated[str, AfterValidator(_axes)]
Pixels = Annotated[int, BeforeValidator(_pixels)]
PerAxis = Annotated[dict[str, Pixels], Field(min_length=1), AfterValidator(_known_axes)]
PixelSize = Annotated[
    Any,
    BeforeValidator(_scale_value),
    PlainSerializer(lambda quantity: quantity.plain()),
    WithJsonSchema({"type": "string"}),
]
Selection = Annotated[
    Any,
    BeforeValidator(_select_value),
    PlainSerializer(lambda value: list(value) if isinstance(value, tuple) else value),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": ["integer", "string"]}}]}
    ),
]
Bytes = Annotated[
    int, BeforeValidator(parse_bytes), WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}]})
]


class Settings(BaseModel):
    """A part of a config: unknown keys and wrong types are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class InputConfig(Settings):
    """What is read.

    Parameters
    ----------
    path : str
        File, folder, glob or URL.
    axes : str, optional
        The axes of the data where it does not say them, such as "tyx".
    scale : mapping of str to text, optional
        Size of a pixel with its unit along each axis, where the data does not say it, or to override.
    select : mapping of str to text or list, optional
        A slice as text, or a list of indices or channel names, by axis.
    nan : {"refuse", "propagate"}
        What NaN pixels mean.
    level : int
        Which level of a pyramid.
    series : int, optional
        Which image of a file with several.
    """

    path: str = Field(min_length=1)
    axes: Axes | None = None
    scale: Annotated[dict[str, PixelSize], AfterValidator(_known_axes)] | None = None
    select: Annotated[dict[str, Selection], AfterValidator(_known_axes)] | None = None
    nan: Literal["refuse", "propagate"] = "refuse"
    level: Annotated[int, Field(ge=0)] = 0
    series: Annotated[int, Field(ge=0)] | None = None


def _checksum(raw: object) -> object:
    return True if raw == "crc32c" else raw


def _version(raw: object) -> object:
    return f"{raw:g}" if isinstance(raw, float) else raw


class OutputConfig(Settings):
    """What is written.

    Parameters
    ----------
    path : str
        Where the OME-Zarr appears.
    dtype : str, optional
        Default: what the chain gives; "input" means the input's.
    overflow : {"clip", "error"}, optional
        What happens to a value that the dtype cannot hold; must be said where that can be.
    offset : float
        Added before the cast, recorded in the metadata.
    chunks, shards : mapping of str to int, optional
        Axis → px.
    compressor : {"blosc-lz4", "blosc-zstd", "zstd", "none"}
        How chunks are compressed.
    checksum : bool
        Whether each chunk holds a crc32c.
    pyramid : bool
        Whether coarser levels are made.
    version : {"0.5", "0.4"}
        Of OME-NGFF.
    axes : str, optional
        The axes as stored, such as "tczyx": missing ones are added with length 1.
    background : str, optional
        A second output: input − result.
    work : str, optional
        Folder where the unfinished run lives; default beside the output.
    max_clipped : share, optional
        More clipped pixels than this fail the commit: "0.1%".
    """

    path: str = Field(min_length=1)
    dtype: Annotated[str, AfterValidator(_dtype)] | None = None
    overflow: Literal["clip", "error"] | None = None
    offset: Annotated[float, Field(allow_inf_nan=False)] = 0
    chunks: PerAxis | None = None
    shards: PerAxis | None = None
    compressor: Literal["blosc-lz4", "blosc-zstd", "zstd", "none"] = "blosc-lz4"
    checksum: Annotated[bool, BeforeValidator(_checksum)] = False
    pyramid: bool = True
    version: Annotated[Literal["0.5", "0.4"], BeforeValidator(_version)] = "0.5"
    axes: Axes | None = None
    background: str | None = None
    work: str | None = None
    max_clipped: Annotated[float, BeforeValidator(_share)] | None = None


def _cluster(raw: object) -> object:
    if isinstance(raw, dict):
        if set(raw) != {"slurm"} or not isinstance(raw["slurm"], dict | None):
            raise ValueError(
                f"{raw!r} names no cluster; write {{slurm: {{…}}}} with dask-jobqueue's keywords"
            )
        return raw
    if isinstance(raw, str) and raw:
        return raw
    raise ValueError(
        f"{raw!r} names no cluster; use auto, local, threads, tcp://HOST:PORT or a scheduler file"
    )


class ComputeConfig(Settings):
    """Where it is computed, and with how much.

    Parameters
    ----------
    memory : bytes, optional
        For the whole run on this machine; default 60 % of what is free.
    workers : int, optional
        Default: the cores that this process may use.
    block, window : mapping of str to int, optional
        Axis → px: forces what the planner would choose.
    cluster : str or mapping
        auto, local, threads, tcp://…, a scheduler file, or {slurm: {…}}.
    """

    memory: Bytes | None = None
    workers: Annotated[int, Field(ge=1)] | None = None
    block: PerAxis | None = None
    window: PerAxis | None = None
    cluster: Annotated[str | dict[str, Any], BeforeValidator(_cluster)] = "auto"
