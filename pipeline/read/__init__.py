"""Images in: Zarr, OME-Zarr and TIFF, lazily, as one kind of source.

Here belongs what knows a format of input: a new one is one module
or one folder. What is written is for `write`.
"""

from pipeline.read.lazy import lazy_array, open_image
from pipeline.read.missing import Missing
from pipeline.read.open import open_source
from pipeline.read.source import Source, Store

__all__ = ["Missing", "Source", "Store", "lazy_array", "open_image", "open_source"]
