"""OME-XML: the images it describes, and where it says their planes are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from pipeline.model.errors import RequestError
from pipeline.read.files import FIELD

_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,18}\s*")
_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}


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

    @property
    def planes(self) -> int:
        """How many planes it has."""
        return math.prod(self.lead)

    def start(self, block: Block) -> int | None:
        """Return the number of a block's first plane, or None where it lies outside the image."""
        number = 0
        for axis in self.order:
            if block.first[axis] >= self.sizes[axis]:
                return None
            number = number * self.sizes[axis] + block.first[axis]
        return number


def decoded(data: bytes) -> str:
    """Return a file of OME-XML as text.

    What the XML says of its encoding is often wrong, so the bytes decide; Latin-1 is what older
    programs write a µ in.
    """
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def parse(text: str, path: str) -> ElementTree.Element:
    """Return the root of an OME-XML.

    Raises
    ------
    RequestError
        It is not XML, or brings a document type: no OME-XML has one, and entities can grow without end.
    """
    try:
        if "<!DOCTYPE" in text:
            raise ValueError("it has a document type")
        # Some programs fill the tag up with zeros.
        root = ElementTree.fromstring(text.strip("\0 \t\r\n\ufeff"))
    except (ElementTree.ParseError, ValueError) as error:
        raise RequestError(f"the OME-XML of {path!r} is broken: {error}", "export it again", FIELD) from None
    if _local(root) != "OME":
        raise RequestError(
            f"the XML of {path!r} is no OME-XML: it is a {_local(root)[:40]}", "give another", FIELD
        )
    return root


def metadata_file(root: ElementTree.Element) -> str | None:
    """Return the metadata file that a file of planes alone points to, or None where it is no such file."""
    for element in below(root, "BinaryOnly"):
        return element.get("MetadataFile", "").strip()
    return None


def images(root: ElementTree.Element, path: str) -> list[OmeImage]:
    """Return the images that an OME-XML describes.

    Raises
    ------
    RequestError
        A size is missing, no number or not above 0; an order of axes or a place of planes is none.
    """
    try:
        return [
            _image(image.get("Name", ""), pixels)
            for image in below(root, "Image")
            for pixels in below(image, "Pixels")
        ]
    except ValueError as error:
        raise RequestError(
            f"the OME-XML of {path!r} lacks or garbles {error}", "export it again", FIELD
        ) from None


def below(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Return the children of a name, in whatever version's namespace."""
    return (child for child in element if _local(child) == name)


def whole_number(element: ElementTree.Element, name: str, least: int, default: int | None = None) -> int:
    """Return an attribute that is a whole number.

    Raises
    ------
    ValueError
        It is missing and has no default, no number, or below `least`.
    """
    raw = element.get(name)
    if raw is None and default is not None:
        return default
    if raw is None or not _WHOLE.fullmatch(raw) or int(raw) < least:
        raise ValueError(name if raw is None else f'{name}="{raw[:20]}"')
    return int(raw)


def _local(element: ElementTree.Element) -> str:
    return element.tag.rsplit("}", 1)[-1]


def _image(name: str, pixels: ElementTree.Element) -> OmeImage:
    order = pixels.get("DimensionOrder", "")
    if sorted(order) != sorted("XYZCT") or not order.startswith("XY"):
        raise ValueError(f'DimensionOrder="{order[:20]}"')
    sizes = {axis: whole_number(pixels, f"Size{axis}", 1) for axis in "TCZYX"}
    samples = max(
        (whole_number(channel, "SamplesPerPixel", 1, 1) for channel in below(pixels, "Channel")), default=1
    )
    blocks = tuple(_block(element) for element in below(pixels, "TiffData"))
    return OmeImage(name, order[:1:-1], sizes, samples, blocks, pixels)


def _block(element: ElementTree.Element) -> Block:
    first = {axis: whole_number(element, f"First{axis}", 0, 0) for axis in "TCZ"}
    count: int | None = 1 if "IFD" in element.attrib else None
    for name in ("NumPlanes", "PlaneCount"):
        if name in element.attrib:
            count = whole_number(element, name, 0)
    file = uuid = ""
    for item in below(element, "UUID"):
        file, uuid = item.get("FileName", "").strip(), (item.text or "").strip()
    return Block(first, whole_number(element, "IFD", 0, 0), count, file, uuid)


def all_blocks(found: Sequence[OmeImage]) -> Iterator[Block]:
    """Return the blocks of all images."""
    return (block for image in found for block in image.blocks)
