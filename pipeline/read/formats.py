"""Image file formats: how each is recognized, and what opens or converts it."""

from __future__ import annotations

import os
import pkgutil
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.read.opened import Opened

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf2", ".tf8", ".lsm", ".stk")
COMPANION_SUFFIXES = (".companion.ome", ".ome.xml")
TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_OPEN_TIFF = "pipeline.read.tiff.file:open_tiff_file"

_BIO_FORMATS = (
    "convert it: bioformats2raw {name} {stem}.zarr, or bfconvert {name} {stem}.ome.tif, or Fiji (Bio-Formats)"
)
_FFMPEG = "write its frames as TIFF, in a new folder: ffmpeg -i {name} -pix_fmt gray frame_%05d.tif"
_SEQUENCE = "convert it: in Fiji, File > Import > Image Sequence, then save as TIFF"
_HDF5 = (
    "convert it: in Fiji, File > Import > HDF5/N5/Zarr/OME-NGFF, then export it as OME-Zarr or save as TIFF"
)
_NUMPY = "convert it: in Python, tifffile.imwrite('out.tif', numpy.load({name}), photometric='minisblack')"
_MATLAB = "write it as TIFF: in MATLAB, imwrite with 'WriteMode', 'append'"
_LIST = "give one of the .stk or .tif files that it names, or a glob of them"
_UNPACK = "unpack it, and give what is inside"


@dataclass(frozen=True)
class Format:
    """A format of image files, read by bgone or only recognized."""

    name: str
    suffixes: tuple[str, ...]  # in lower case, with the dot
    conversion: str = (
        ""  # how to convert it, with {name} and {stem} of the file; empty for formats that are read
    )
    signatures: tuple[bytes, ...] = ()  # its files have one of these at byte `at`
    at: int = 0
    opener: str = ""  # "module:function" (path, series, level) -> Opened, for formats that are read

    def hint(self, path: str) -> str:
        """Return advice on how to convert a file of this format."""
        name = os.path.basename(path.rstrip("/"))
        suffix = next((end for end in self.suffixes if name.lower().endswith(end)), "")
        stem = name[: len(name) - len(suffix)] or name
        return self.conversion.format(name=shlex.quote(name), stem=shlex.quote(stem))

    def open(self, path: str, series: int | None, level: int) -> Opened:
        """Open a file of this format."""
        # Resolved late: a reader imports its library, which other formats do not need.
        opener: Callable[[str, int | None, int], Opened] = pkgutil.resolve_name(self.opener)
        return opener(path, series, level)


# To read a new format, write a module and add a row.
KNOWN_FORMATS = (
    Format("TIFF", TIFF_SUFFIXES, signatures=TIFF_MAGIC, opener=_OPEN_TIFF),
    Format("OME-XML", COMPANION_SUFFIXES, opener=_OPEN_TIFF),
    Format("Nikon ND2", (".nd2",), _BIO_FORMATS, (b"\xda\xce\xbe\n",)),
    Format("Zeiss CZI", (".czi",), _BIO_FORMATS, (b"ZISRAWFILE",)),
    Format("Zeiss ZVI", (".zvi",), _BIO_FORMATS),
    Format("Leica LIF", (".lif",), _BIO_FORMATS),
    Format("Leica LOF", (".lof",), _BIO_FORMATS),
    Format("Leica XLEF", (".xlef",), _BIO_FORMATS),
    Format("Olympus OIR", (".oir",), _BIO_FORMATS, (b"OLYMPUSRAWFORMAT",)),
    Format("Olympus VSI", (".vsi", ".ets"), _BIO_FORMATS),
    Format("Olympus OIB", (".oib", ".oif"), _BIO_FORMATS),
    Format("Imaris", (".ims",), _BIO_FORMATS),
    Format("DeltaVision", (".dv", ".r3d"), _BIO_FORMATS),
    Format("Volocity", (".mvd2",), _BIO_FORMATS),
    Format("SlideBook", (".sld",), _BIO_FORMATS),
    Format("Andor SIF", (".sif",), _BIO_FORMATS),
    Format("Hamamatsu DCIMG", (".dcimg",), _BIO_FORMATS, (b"DCIMG",)),
    Format("Princeton SPE", (".spe",), _BIO_FORMATS),
    Format("Gatan DM", (".dm3", ".dm4"), _BIO_FORMATS),
    Format("MRC", (".mrc", ".mrcs"), _BIO_FORMATS, (b"MAP ",), 208),
    Format("KLB", (".klb",), _BIO_FORMATS),
    Format("ICS", (".ics", ".ids"), _BIO_FORMATS),
    Format("DICOM", (".dcm", ".dicom"), _BIO_FORMATS, (b"DICM",), 128),
    Format("NIfTI", (".nii", ".nii.gz"), _BIO_FORMATS),
    Format("NRRD", (".nrrd", ".nhdr"), _BIO_FORMATS, (b"NRRD000",)),
    Format("a MetaMorph list of files", (".nd",), _LIST),
    Format("BigDataViewer XML", (".xml",), _BIO_FORMATS),
    Format("N5", (".n5",), _HDF5),
    Format("HDF5", (".h5", ".hdf5", ".hdf", ".he5"), _HDF5, (b"\x89HDF\r\n\x1a\n",)),
    Format("PNG", (".png",), _SEQUENCE, (b"\x89PNG",)),
    Format("JPEG", (".jpg", ".jpeg"), _SEQUENCE, (b"\xff\xd8\xff",)),
    Format("BMP", (".bmp",), _SEQUENCE),
    Format("GIF", (".gif",), _SEQUENCE, (b"GIF8",)),
    Format("AVI video", (".avi",), _FFMPEG, (b"AVI ",), 8),
    Format("MP4 video", (".mp4", ".m4v", ".mov"), _FFMPEG, (b"ftyp",), 4),
    Format("video", (".mkv", ".webm", ".wmv", ".mpg", ".mpeg"), _FFMPEG),
    Format("NumPy", (".npy", ".npz"), _NUMPY, (b"\x93NUMPY",)),
    Format("MATLAB", (".mat",), _MATLAB, (b"MATLAB 5.0",)),
    Format("ZIP archive", (".zip",), _UNPACK, (b"PK\x03\x04",)),
    Format("gzip archive", (".gz", ".tgz"), _UNPACK, (b"\x1f\x8b",)),
    Format("tar archive", (".tar",), _UNPACK, (b"ustar",), 257),
)  # fmt: skip
# Endings of other images and documents, which would be wrong on an OME-Zarr too.
_OTHER_ENDINGS = (
    "tif tiff btf tf2 tf8 ome stk lsm webp jp2 jpx jxl svg nc mha mhd vms svs scn ndpi qptiff flex fits raw "
    "bin dat pkl parquet csv tsv txt md doc docx xls xlsx ppt pptx pdf json yaml yml html htm py ipynb ijm "
    "bz2 xz 7z zst"
)
# Bytes of a file that hold every signature: that of tar ends at 262.
START = 264


def format_of(name: str, start: bytes = b"") -> Format | None:
    r"""Return the format of a file by its name (or path) and, if given, its first `START` bytes.

    >>> format_of("movie.nd2").name, format_of("x.dat", b"\x89PNG").name, format_of("x.txt")
    ('Nikon ND2', 'PNG', None)
    """
    lower = os.path.basename(name).lower()
    signed = [fmt for fmt in KNOWN_FORMATS if start.startswith(fmt.signatures, fmt.at)]
    readable = [fmt for fmt in signed if fmt.opener]
    named = [(len(end), fmt) for fmt in KNOWN_FORMATS for end in fmt.suffixes if lower.endswith(end)]
    # The suffix is more specific (Imaris files are HDF5 inside), but a file that is only named like a TIFF
    # is none.
    best = max(named, key=lambda pair: pair[0], default=(0, None))[1]
    if readable or (signed and (best is None or best.opener)):
        return (readable or signed)[0]
    return best


def zarr_name(path: str) -> str:
    """Suggest a name for an OME-Zarr whose path has another format's ending; empty for other paths.

    >>> zarr_name("/data/x.ome.tif"), zarr_name("/data/x.zarr")
    ('x.ome.zarr', '')
    """
    stem, ending = os.path.splitext(os.path.basename(path.rstrip("/")))
    if ending[1:].lower() not in _OTHER_ENDINGS.split() and not any(
        ending.lower() in kind.suffixes for kind in KNOWN_FORMATS
    ):
        return ""
    for inner in (".zarr", ".ome", ".nii", ".tar"):
        stem = stem.removesuffix(inner)
    return f"{stem}.ome.zarr"


def commonest(names: Iterable[str]) -> Format | None:
    """Return the format of more than half of the names, or None."""
    formats = [format_of(name) for name in names]
    most = max(formats, key=formats.count, default=None)
    return most if 2 * formats.count(most) > len(formats) else None
