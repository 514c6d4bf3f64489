"""Types of the fields of a config, and the checks of their values."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationInfo, WithJsonSchema

from pipeline.kernels.dtypes import SUPPORTED
from pipeline.model.axes import ORDER, check_axes, image_axes
from pipeline.model.errors import RequestError, check_each
from pipeline.model.messages import as_pydantic_error
from pipeline.model.paths import is_url, resolve_path
from pipeline.model.text import nearest, shown
from pipeline.model.units import AMOUNT, Quantity, check_pixel_size, comma_hint
from pipeline.read.formats import zarr_name
from pipeline.read.select import SLICE, check_slice

DTYPES = tuple(dtype.name for dtype in SUPPORTED)
_SHARE = re.compile(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*%\s*")
_BYTES = re.compile(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*([a-zA-Z]+)\s*")
_MEMORY_UNITS = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("kMGTP", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGTP", 1)},
}
# A number below this must have lost its unit.
_LEAST_BYTES = 2**20

# -- axes, and mappings from axis to something ---------------------------------------------


def _by_axis(check: Callable[[str, Any], Any], axes: str, schema: dict[str, Any]) -> Any:
    """Make the type of a mapping from axis to a checked value; its JSON schema allows `axes`."""

    def check_item(name: str, value: object) -> Any:
        if name.lower() not in tuple(ORDER):
            raise RequestError(f"{shown(name)} is not an axis", "use letters out of t, c, z, y, x")
        if value is None:
            raise RequestError("has no value", "give one")
        return check(name.lower(), value)

    def check_items(raw: dict[str, Any]) -> dict[str, Any]:
        return {name.lower(): value for name, value in check_each(raw, check_item).items()}

    properties = dict.fromkeys(axes, schema)
    whole = {"type": "object", "additionalProperties": False, "minProperties": 1, "properties": properties}
    return Annotated[
        dict[str, Any],
        Field(min_length=1),
        AfterValidator(as_pydantic_error(check_items)),
        WithJsonSchema(whole),
    ]


def _number_of_pixels(_: str, raw: object) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int):
        text = raw.strip() if isinstance(raw, str) else ""
        unquoted = f"write it without quotes: {text}" if re.fullmatch(r"[0-9]+", text) else comma_hint(text)
        raise RequestError(
            f"{shown(raw)} is not a number of px", unquoted or "give a whole number, such as 512"
        )
    if raw < 1:
        raise RequestError(f"{shown(raw)} is below 1 px", "give 1 px or more")
    return raw


def _selection(axis: str, raw: object) -> object:
    hint = "give a slice such as 0:100, or a list such as [0, 2] or [GFP]"
    if isinstance(raw, str):
        check_slice(raw)
        return raw
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    if not isinstance(raw, list | tuple):
        raise RequestError(f"{shown(raw)} selects nothing", hint)
    if not raw:
        raise RequestError("the list is empty", hint)
    for item in raw:
        if isinstance(item, bool) or not isinstance(item, int | str):
            raise RequestError(f"{shown(item)} is neither an index nor a name", hint)
        if isinstance(item, str) and axis != "c":
            raise RequestError(f"{shown(item)} is not an index", "only channels have names; give indices")
        if raw.count(item) > 1:
            raise RequestError(f"{shown(item)} is selected twice", "name it once")
    return tuple(raw)


_INDICES = {"type": "array", "minItems": 1, "items": {"type": ["integer", "string"]}}
DataAxes = Annotated[str, AfterValidator(as_pydantic_error(lambda axes: image_axes(axes, "")))]
StoredAxes = Annotated[
    str, AfterValidator(as_pydantic_error(lambda axes: check_axes(axes.lower(), field="")))
]
if TYPE_CHECKING:
    PixelsByAxis = dict[str, int]
    PixelSizes = dict[str, Quantity]
    Select = dict[str, Any]
    Dtype = str
else:
    PixelsByAxis = _by_axis(_number_of_pixels, ORDER, {"type": "integer", "minimum": 1})
    PixelSizes = Annotated[
        _by_axis(check_pixel_size, ORDER.replace("c", ""), {"type": "string", "pattern": AMOUNT}),
        PlainSerializer(lambda sizes: {axis: size.plain() for axis, size in sizes.items()}),
    ]
    Select = _by_axis(
        _selection, ORDER, {"anyOf": [{"type": "string", "pattern": SLICE}, {"type": "integer"}, _INDICES]}
    )
    Dtype = Literal[("input", *DTYPES)]

# -- paths ---------------------------------------------------------------------------------


@as_pydantic_error
def _path(raw: object, info: ValidationInfo) -> object:
    """Check a path and make it absolute."""
    path = os.fspath(raw) if isinstance(raw, os.PathLike) else raw
    if not isinstance(path, str):
        return path
    if not path.strip():
        raise RequestError("is an empty path", "name a file or a folder")
    if "\0" in path:
        raise RequestError("no path holds a NUL character", "leave it out")
    return absolute(path, info)


def absolute(path: str, info: ValidationInfo) -> str:
    """Make the path in a field absolute; pydantic's context is `Document.folder_of` of its section."""
    return path if info.context is None else resolve_path(path, info.context(info.field_name))


def check_output_path(path: str) -> None:
    """Raise RequestError for an output that is a URL or has the ending of another format."""
    if is_url(path):
        raise RequestError(f"{path} is a URL, and outputs are written to folders", "name a folder")
    if better := zarr_name(path):
        name = os.path.basename(path.rstrip("/"))
        ending = name.rpartition(".")[2]
        message = f"{name} is the name of a {ending} file, and an output is always an OME-Zarr"
        raise RequestError(message, f"call it {better}")


@as_pydantic_error
def _folder(path: str) -> str:
    if is_url(path):
        raise RequestError(f"{path} is a URL, and an unfinished run lives in a folder", "name a folder")
    return path


FilePath = Annotated[str, BeforeValidator(_path)]
FolderPath = Annotated[FilePath, AfterValidator(_folder)]

# -- numbers with a unit of their own ------------------------------------------------------


def _share(raw: object) -> float:
    match = _SHARE.fullmatch(raw) if isinstance(raw, str) else None
    share = math.nan
    if match is not None:
        share = float(match[1]) / 100
    elif isinstance(raw, int | float) and not isinstance(raw, bool):
        share = raw
    if not 0 <= share <= 1:
        comma = comma_hint(raw) if isinstance(raw, str) else ""
        raise RequestError(
            f"{shown(raw)} is not a share of the pixels", comma or "give one such as 0.1% or 0.001"
        )
    return float(share)


def parse_bytes(raw: object) -> int:
    """Return the bytes of a size such as "8 GiB"; RequestError where it is none.

    >>> parse_bytes("8 GiB") == 8 * 2**30, parse_bytes("500MB")
    (True, 500000000)
    """
    hint = "give a size with a unit, such as 8 GiB"
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        if not _LEAST_BYTES <= raw < 2**63 or raw != int(raw):
            raise RequestError(f"{shown(raw)} bytes is no size for a run", hint)
        return int(raw)
    match = _BYTES.fullmatch(raw) if isinstance(raw, str) else None
    if match is None:
        comma = comma_hint(raw) if isinstance(raw, str) else ""
        raise RequestError(f"{shown(raw)} is not a size", comma or hint)
    factors = {unit.lower(): factor for unit, factor in _MEMORY_UNITS.items()}
    if match[2].lower() not in factors:
        raise RequestError(f"{match[2]!r} is not a unit of memory", nearest(match[2], tuple(_MEMORY_UNITS)))
    size = float(match[1]) * factors[match[2].lower()]
    if not 1 <= size < 2**63:
        raise RequestError(f"{shown(raw)} is no size for a run", hint)
    return int(size)


def _number_or(pattern: re.Pattern[str], **number: Any) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": pattern.pattern.join("^$")}]})


Share = Annotated[
    float, BeforeValidator(as_pydantic_error(_share)), _number_or(_SHARE, type="number", minimum=0, maximum=1)
]
Bytes = Annotated[
    int,
    BeforeValidator(as_pydantic_error(parse_bytes)),
    _number_or(_BYTES, type="integer", minimum=_LEAST_BYTES),
]

# -- choices -------------------------------------------------------------------------------


@as_pydantic_error
def _checksum(raw: object) -> bool:
    if not isinstance(raw, bool) and raw != "crc32c":
        raise RequestError(f"{shown(raw)} is not a choice", "use one of false, true, crc32c")
    return bool(raw)


Checksum = Annotated[bool, BeforeValidator(_checksum), WithJsonSchema({"enum": [False, True, "crc32c"]})]
FormatVersion = Annotated[
    Literal["0.5", "0.4"],
    # Without quotes YAML makes it a number.
    BeforeValidator(lambda raw: str(raw) if isinstance(raw, float) else raw),
    WithJsonSchema({"enum": ["0.5", "0.4", 0.5, 0.4]}),
]
