"""Steps over a Dask array: the only caller of `map_overlap`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from pipeline.steps.chain import ApplyChain
from pipeline.steps.step import chain_dtype, chain_halo

if TYPE_CHECKING:
    pass


def overlap_depth(chain: ApplyChain) -> dict[int, int]:
    """Return the halo along each axis, 0 where a window holds it in one block."""
    halo = chain_halo(chain.steps, chain.axes)
    return {
        index: halo[axis] if cut.count > 1 else 0
        for index, (axis, cut) in enumerate(zip(chain.axes, chain.cuts, strict=True))
    }


def overlapped(array: da.Array, chain: ApplyChain, call: Callable[..., NDArray], **result: Any) -> da.Array:
    """Return a function called on each block with its halo; the array's chunks are `chain.cuts`'."""
    return da.map_overlap(
        call, array, depth=overlap_depth(chain), boundary="none", trim=False, allow_rechunk=False, **result
    )


def filtered(array: da.Array, chain: ApplyChain) -> da.Array:
    """Return the chain applied to an array whose chunks are `chain.cuts`'."""
    dtype = chain_dtype(chain.steps, array.dtype)
    kept = tuple(cut.kept for cut in chain.cuts)
    return overlapped(array, chain, chain, chunks=kept, dtype=dtype, meta=np.empty((0,) * array.ndim, dtype))
