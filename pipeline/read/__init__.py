"""Inputs: Zarr, OME-Zarr and TIFF images, read lazily through one interface.

Here belongs what knows an input format; each is one module or one folder. Outputs belong to `write`.
"""

from pipeline.read.lazy import lazy_array, open_image
from pipeline.read.open import open_source
from pipeline.read.source import Missing, Source, Store

__all__ = ["Missing", "Source", "Store", "lazy_array", "open_image", "open_source"]
