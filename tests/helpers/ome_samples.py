"""OME-TIFF with hand-written XML, and pixels that encode their image and plane."""

import numpy as np
import tifffile

NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
SHAPE = (6, 8)


def plane(image, number):
    """Return the pixels of a plane, which encode the image, the plane and the position."""
    return (image * 10000 + number * 100 + np.arange(np.prod(SHAPE)).reshape(SHAPE)).astype(np.uint16)


def uuid_of(number):
    return f"urn:uuid:{number:08d}-0000-4000-8000-000000000000"


def tiff_data(ifd=None, count=None, file=None, uuid=None, **first):
    """Return a TiffData element, without the attributes that are None."""
    values = {"IFD": ifd, "PlaneCount": count, **{f"First{axis}": index for axis, index in first.items()}}
    attributes = "".join(f' {name}="{value}"' for name, value in values.items() if value is not None)
    name = "" if file is None else f' FileName="{file}"'
    inside = "" if file is None and uuid is None else f"<UUID{name}>{uuid or ''}</UUID>"
    return f"<TiffData{attributes}>{inside}</TiffData>"


def pixels(blocks, t=1, c=1, z=1, attributes="", channels=""):
    """Return a Pixels element for planes of SHAPE."""
    sizes = f'SizeT="{t}" SizeC="{c}" SizeZ="{z}" SizeY="{SHAPE[0]}" SizeX="{SHAPE[1]}"'
    return f'<Pixels DimensionOrder="XYZCT" Type="uint16" {sizes} {attributes}>{channels}{blocks}</Pixels>'


def ome(*images, uuid=None):
    """Return the OME-XML of images Pos0, Pos1, …, from their Pixels elements."""
    root = "" if uuid is None else f' UUID="{uuid}"'
    inside = "".join(
        f'<Image ID="Image:{index}" Name="Pos{index}">{image}</Image>' for index, image in enumerate(images)
    )
    return f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{NAMESPACE}"{root}>{inside}</OME>'


def stub(file, uuid=None):
    """Return the OME-XML of a file without metadata, which points to the file that has it."""
    root = "" if uuid is None else f' UUID="{uuid}"'
    return f'<OME xmlns="{NAMESPACE}"{root}><BinaryOnly MetadataFile="{file}" UUID="urn:uuid:1"/></OME>'


def write_pages(path, planes, xml=None, **options):
    """Write one page for each plane, the XML in the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as writer:
        for index, page in enumerate(planes):
            description = xml.encode() if xml is not None and index == 0 else None
            writer.write(
                page,
                photometric="minisblack",
                metadata=None,
                contiguous=False,
                description=description,
                **options,
            )
    return path
