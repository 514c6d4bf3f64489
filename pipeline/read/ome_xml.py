"""OME-XML: the images it describes, where it says their planes are, and what they measure."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
import ome_types

from pipeline.errors import RequestError
from pipeline.image import Channel
from pipeline.read.files import FIELD
from pipeline.units import ratio, unit_name

# Attributes and a namespace that every reader knows: what an old or odd file says beside them
# must not keep its sizes from being read.
_NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_PIXELS = (
    "DimensionOrder", "Type", "SizeX", "SizeY", "SizeZ", "SizeC", "SizeT",
    "TimeIncrement", "TimeIncrementUnit",
    "PhysicalSizeX", "PhysicalSizeXUnit", "PhysicalSizeY", "PhysicalSizeYUnit",
    "PhysicalSizeZ", "PhysicalSizeZUnit",
)  # fmt: skip
_CHANNEL = ("Name", "Color", "SamplesPerPixel")


@dataclass(frozen=True)
class Block:
    """Planes that follow each other in one file.

    Parameters
    ----------
    first : dict of str to int
        Index along T, C and Z of the first of them.
    ifd : int
        Its page.
    count : int or None
        How many; all pages of the file where it is not said.
    file, uuid : str
        The file's name and identifier, or empty: this one.
    """

    first: dict[str, int]
    ifd: int
    count: int | None
    file: str
    uuid: str


@dataclass(frozen=True)
class OmeImage:
    """One image of an OME-XML.

    Parameters
    ----------
    name : str
        Its own.
    order : str
        Leading axes, slowest first: out of T, C, Z.
    sizes : dict of str to int
        Along T, C, Z, Y, X.
    samples : int
        Of a pixel; more than 1 is colour.
    blocks : tuple of Block
        Where its planes are.
    element : xml.etree.ElementTree.Element
        Its Pixels.
    """

    name: str
    order: str
    sizes: dict[str, int]
    samples: int
    blocks: tuple[Block, ...]
    element: ElementTree.Element

    @property
    def lead(self) -> tuple[int, ...]:
        """Sizes along the leading axes."""
        return tuple(self.sizes[axis] for axis in self.order)


def parse(text: str, path: str) -> ElementTree.Element:
    """Return the root of an OME-XML.

    Raises
    ------
    RequestError
        It is not XML.
    """
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise RequestError(f"the OME-XML of {path!r} is broken: {error}", "export it again", FIELD) from None


def companion_named(root: ElementTree.Element) -> str:
    """Return the metadata file that a file of planes alone points to, or an empty text."""
    for element in _below(root, "BinaryOnly"):
        return element.get("MetadataFile", "")
    return ""


def images(root: ElementTree.Element, path: str) -> list[OmeImage]:
    """Return the images that an OME-XML describes.

    Raises
    ------
    RequestError
        A size is missing or no number.
    """
    try:
        return [
            _image(image.get("Name", ""), pixels)
            for image in _below(root, "Image")
            for pixels in _below(image, "Pixels")
        ]
    except (KeyError, ValueError) as error:
        raise RequestError(
            f"the OME-XML of {path!r} lacks or garbles {error}", "export it again", FIELD
        ) from None


def fields(image: OmeImage, path: str) -> dict[str, Any]:
    """Return scale, units and channels of an image.

    Raises
    ------
    RequestError
        The OME-XML is not valid.
    """
    pixels = _typed(image, path)
    scale: dict[str, float] = {}
    units: dict[str, str] = {}
    for axis in "zyx":
        value = getattr(pixels, f"physical_size_{axis}")
        unit = _unit(getattr(pixels, f"physical_size_{axis}_unit"))
        if value and unit:
            scale[axis], units[axis] = float(value), unit
    interval, unit = pixels.time_increment, _unit(pixels.time_increment_unit)
    if not interval:
        interval, unit = _interval(image), "second"
    if interval and unit:
        scale["t"], units["t"] = float(interval), unit
    return {"scale": scale, "units": units, "channels": _channels(pixels), "name": image.name}


def _image(name: str, pixels: ElementTree.Element) -> OmeImage:
    order = pixels.attrib["DimensionOrder"]
    if sorted(order) != sorted("XYZCT") or not order.startswith("XY"):
        raise ValueError(f"DimensionOrder {order!r}")
    sizes = {axis: int(pixels.attrib[f"Size{axis}"]) for axis in "TCZYX"}
    samples = max(
        (int(channel.get("SamplesPerPixel", 1)) for channel in _below(pixels, "Channel")), default=1
    )
    blocks = tuple(_block(element) for element in _below(pixels, "TiffData"))
    return OmeImage(name, order[:1:-1], sizes, samples, blocks, pixels)


def _block(element: ElementTree.Element) -> Block:
    first = {axis: int(element.get(f"First{axis}", 0)) for axis in "TCZ"}
    counted = element.get("PlaneCount", element.get("NumPlanes"))
    count = int(counted) if counted else 1 if "IFD" in element.attrib else None
    file = uuid = ""
    for item in _below(element, "UUID"):
        file, uuid = item.get("FileName", ""), (item.text or "").strip()
    return Block(first, int(element.get("IFD", 0)), count, file, uuid)


def _typed(image: OmeImage, path: str) -> Any:
    """Return the Pixels as ome-types reads them, from the attributes that are used."""
    root = ElementTree.Element(f"{{{_NAMESPACE}}}OME")
    parent = ElementTree.SubElement(root, f"{{{_NAMESPACE}}}Image", {"ID": "Image:0"})
    kept = {key: value for key in _PIXELS if (value := image.element.get(key))}
    pixels = ElementTree.SubElement(parent, f"{{{_NAMESPACE}}}Pixels", {"ID": "Pixels:0", **kept})
    for index, channel in enumerate(_below(image.element, "Channel")):
        kept = {key: value for key in _CHANNEL if (value := channel.get(key))}
        ElementTree.SubElement(pixels, f"{{{_NAMESPACE}}}Channel", {"ID": f"Channel:0:{index}", **kept})
    ElementTree.SubElement(pixels, f"{{{_NAMESPACE}}}MetadataOnly")
    try:
        with warnings.catch_warnings():
            # What it warns of, it refuses a moment later.
            warnings.simplefilter("ignore")
            return ome_types.from_xml(ElementTree.tostring(root, encoding="unicode")).images[0].pixels
    except ValueError as error:
        reason = " ".join(str(error).split()[:24])
        raise RequestError(
            f"the OME-XML of {path!r} is not valid: {reason}", "export it again", FIELD
        ) from None


def _unit(unit: Any) -> str:
    """Return a unit by its NGFF name; stage units such as "reference frame" are none."""
    try:
        return unit_name(str(getattr(unit, "value", unit)))
    except RequestError:
        return ""


def _channels(pixels: Any) -> tuple[Channel, ...]:
    found = tuple(Channel(channel.name or "", _color(channel.color)) for channel in pixels.channels)
    return found if any(channel.name or channel.color for channel in found) else ()


def _color(color: Any) -> str:
    """Return RRGGBB; OME's own default, opaque white, says nothing."""
    if color is None:
        return ""
    red, green, blue = color.as_rgb_tuple(alpha=False)
    text = f"{red:02X}{green:02X}{blue:02X}"
    return "" if text == "FFFFFF" else text


def _interval(image: OmeImage) -> float | None:
    """Return the median time between frames (s), where each plane says when it was taken."""
    times = {}
    for plane in _below(image.element, "Plane"):
        if plane.get("DeltaT") and plane.get("TheC") == plane.get("TheZ") == "0":
            unit = _unit(plane.get("DeltaTUnit", "s")) or "second"
            times[int(plane.get("TheT", 0))] = float(plane.get("DeltaT", 0)) * ratio(unit, "second")
    if len(times) < 2 or len(times) < image.sizes["T"]:
        return None
    steps = np.diff([times[index] for index in sorted(times)])
    return float(np.median(steps)) if (steps > 0).all() else None


def _below(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Return the children of a name, in whatever version's namespace."""
    return (child for child in element if child.tag.rsplit("}", 1)[-1] == name)
