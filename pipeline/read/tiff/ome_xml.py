"""OME-XML: the images it describes, their metadata, and where their planes are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np

from pipeline.model.errors import RequestError
from pipeline.model.image import Channel
from pipeline.model.units import convertible, ratio, unit_name
from pipeline.read.files import input_error

Element = ElementTree.Element

_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,18}\s*")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?INF")
_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
_SIZES = {"z": "PhysicalSizeZ", "y": "PhysicalSizeY", "x": "PhysicalSizeX", "t": "TimeIncrement"}
# OME's words for the unit of an unknown size.
_NO_UNITS = ("pixel", "reference frame")
# OME's names of pixel types that numpy calls otherwise.
_TYPES = {
    "float": "float32",
    "double": "float64",
    "bit": "bool",
    "complex": "complex64",
    "double-complex": "complex128",
}


@dataclass(frozen=True)
class Block:
    """A TiffData element: planes that follow each other in one file."""

    first: dict[str, int]  # index of the first plane along T, C and Z
    ifd: int  # its page
    count: int | None  # None for all pages of the file
    file: str  # name and UUID of the file; both empty for the one with the XML
    uuid: str


@dataclass(frozen=True)
class OmeImage:
    """One image of an OME-XML."""

    name: str
    order: str  # T, C and Z, slowest first
    sizes: dict[str, int]  # of T, C, Z, Y and X
    samples: int  # per pixel; more than 1 is colour
    blocks: tuple[Block, ...]
    element: Element  # Pixels

    @property
    def lead(self) -> tuple[int, ...]:
        """Sizes along the leading axes."""
        return tuple(self.sizes[axis] for axis in self.order)

    @property
    def planes(self) -> int:
        """Number of planes."""
        return math.prod(self.lead)

    def plane_index(self, block: Block) -> int | None:
        """Return the index of a block's first plane in C order, or None if it lies outside the image."""
        index = 0
        for axis in self.order:
            if block.first[axis] >= self.sizes[axis]:
                return None
            index = index * self.sizes[axis] + block.first[axis]
        return index


def decode_xml(data: bytes) -> str:
    """Return the bytes of an OME-XML as text."""
    # The encoding that the XML declares is often wrong, so the bytes decide.
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        # Older programs write a µ so.
        return data.decode("latin-1")


def parse(text: str, path: str) -> Element:
    """Return the root of an OME-XML, or raise RequestError."""
    try:
        # No OME-XML has a document type, and its entities can grow without end.
        if "<!DOCTYPE" in text:
            raise ValueError("it has a document type")
        # Some programs pad the tag with zeros.
        root = ElementTree.fromstring(text.strip("\0 \t\r\n\ufeff"))
    except (ElementTree.ParseError, ValueError) as error:
        raise input_error(f"the OME-XML of {path!r} is broken: {error}", "export it again") from None
    if _local(root) != "OME":
        raise input_error(f"the XML of {path!r} is no OME-XML: it is a {_local(root)[:40]}", "give another")
    return root


def metadata_file(root: Element) -> str | None:
    """Return the metadata file that a BinaryOnly element names, or None if there is no such element."""
    element = next(_children(root, "BinaryOnly"), None)
    return None if element is None else element.get("MetadataFile", "").strip()


def read_images(root: Element, path: str) -> list[OmeImage]:
    """Return the images of an OME-XML, or raise RequestError if an attribute is missing or invalid."""
    try:
        return [
            _image(image.get("Name", ""), pixels)
            for image in _children(root, "Image")
            for pixels in _children(image, "Pixels")
        ]
    except ValueError as error:
        raise input_error(f"the OME-XML of {path!r} lacks or garbles {error}", "export it again") from None


def _children(element: Element, name: str) -> Iterator[Element]:
    """Return the children with a name."""
    return (child for child in element if _local(child) == name)


def _local(element: Element) -> str:
    # Without the namespace, which each version of OME-XML has its own of.
    return element.tag.rsplit("}", 1)[-1]


def _whole_number(element: Element, name: str, least: int, default: int | None = None) -> int:
    """Return an integer attribute, or raise ValueError."""
    raw = element.get(name)
    if raw is None and default is not None:
        return default
    if raw is None or not _WHOLE.fullmatch(raw) or int(raw) < least:
        raise ValueError(name if raw is None else f'{name}="{raw[:20]}"')
    return int(raw)


def _image(name: str, pixels: Element) -> OmeImage:
    order = pixels.get("DimensionOrder", "")
    if sorted(order) != sorted("XYZCT") or not order.startswith("XY"):
        raise ValueError(f'DimensionOrder="{order[:20]}"')
    sizes = {axis: _whole_number(pixels, f"Size{axis}", 1) for axis in "TCZYX"}
    samples = [_whole_number(channel, "SamplesPerPixel", 1, 1) for channel in _children(pixels, "Channel")]
    blocks = tuple(_block(element) for element in _children(pixels, "TiffData"))
    return OmeImage(name, order[:1:-1], sizes, max(samples, default=1), blocks, pixels)


def _block(element: Element) -> Block:
    first = {axis: _whole_number(element, f"First{axis}", 0, 0) for axis in "TCZ"}
    count: int | None = 1 if "IFD" in element.attrib else None
    for name in ("NumPlanes", "PlaneCount"):
        if name in element.attrib:
            count = _whole_number(element, name, 0)
    file = uuid = ""
    for item in _children(element, "UUID"):
        file, uuid = item.get("FileName", "").strip(), (item.text or "").strip()
    return Block(first, _whole_number(element, "IFD", 0, 0), count, file, uuid)


def ome_fields(image: OmeImage) -> dict[str, Any]:
    """Return scale, units, channels, name and notes of an image as keywords of `Opened`."""
    scale: dict[str, float] = {}
    units: dict[str, str] = {}
    scale_source: dict[str, str] = {}
    notes = []
    for axis, name in _SIZES.items():
        raw = image.element.get(name, "").strip()
        word = image.element.get(f"{name}Unit", "s" if axis == "t" else "µm").strip()
        unit = _unit(axis, word)
        if raw and unit:
            scale[axis], units[axis], scale_source[axis] = _number(raw), unit, f'{name}="{raw[:20]}"'
        elif raw and word not in _NO_UNITS:
            measure = "time" if axis == "t" else "length"
            notes.append(f"{name} is in {word[:20]!r}, no {measure}, and is taken as unknown")
    if not scale.get("t"):
        try:
            interval = _interval(image)
        except ValueError as error:
            interval = None
            notes.append(str(error))
        if interval:
            scale["t"], units["t"], scale_source["t"] = interval, "second", "DeltaT"
    channels = tuple(
        Channel(channel.get("Name", ""), _color(channel.get("Color", "")))
        for channel in _children(image.element, "Channel")
    )
    return {
        "scale": scale,
        "units": units,
        "scale_source": scale_source,
        "channels": channels if any(channel.name or channel.color for channel in channels) else (),
        "name": image.name,
        "notes": tuple(notes),
    }


def type_note(image: OmeImage, dtype: np.dtype) -> tuple[str, ...]:
    """Return a note if the OME-XML and the pages disagree about the dtype."""
    kind = image.element.get("Type", "").strip()
    if not kind or _TYPES.get(kind, kind) == dtype.name:
        return ()
    return (f'the OME-XML says Type="{kind[:20]}", and the pages hold {dtype.name}, which is taken',)


def _number(text: str) -> float:
    """Return an XML Schema float, or NaN for any other text."""
    return float(text) if _NUMBER.fullmatch(text) else float("nan")


def _unit(axis: str, word: str) -> str:
    """Return the NGFF name of a unit, or an empty string if it does not fit the axis."""
    try:
        unit = unit_name(word)
    except RequestError:
        return ""
    return unit if convertible(unit, "second" if axis == "t" else "meter") else ""


def _color(text: str) -> str:
    """Return RRGGBB of a signed RGBA integer, or an empty string."""
    try:
        color = f"{(int(text) & 0xFFFFFFFF) >> 8:06X}"
    except ValueError:
        return ""
    # White is OME's default.
    return "" if color == "FFFFFF" else color


def _interval(image: OmeImage) -> float | None:
    """Return the median time between frames (s) if each has one, or raise ValueError if one is invalid."""
    times: dict[int, float] = {}
    for plane in _children(image.element, "Plane"):
        raw = plane.get("DeltaT", "").strip()
        if not raw or not plane.get("TheC") == plane.get("TheZ") == "0":
            continue
        word = plane.get("DeltaTUnit", "s").strip()
        unit, time = _unit("t", word), _number(raw)
        try:
            frame = _whole_number(plane, "TheT", 0, 0)
        except ValueError:
            frame = image.sizes["T"]
        if not unit or not np.isfinite(time) or frame >= image.sizes["T"]:
            wrong = f'DeltaT="{raw[:20]}" {word[:20]} at TheT="{plane.get("TheT", "")[:20]}"'
            raise ValueError(f"{wrong} is no time of a frame, so the interval is unknown")
        times[frame] = time * ratio(unit, "second")
    if len(times) < max(2, image.sizes["T"]):
        return None
    steps = np.diff([times[frame] for frame in sorted(times)])
    return float(np.median(steps)) if (steps > 0).all() else None
