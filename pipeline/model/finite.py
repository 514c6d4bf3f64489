"""Check for NaN and infinite pixels, for `nan: refuse`."""

import numpy as np
from numpy.typing import NDArray

from pipeline.model.errors import DataError


def check_finite(block: NDArray, axes: str, origin: tuple[int, ...], hint: str = "") -> None:
    """Raise DataError, with the place of the first one, if a block of floats holds a NaN or an infinity.

    `origin` is the place of the block in the image; `hint` replaces the one about the config.
    """
    if block.dtype.kind != "f":
        return
    # Of floats that are not negative, infinities and NaN have the largest bits. All else takes two extremes,
    # which are NaN if a pixel is. None of these needs a temporary array.
    unsigned = np.dtype(f"u{block.itemsize}")
    if block.size and np.max(block.view(unsigned)) < np.array(np.inf, block.dtype).view(unsigned):
        return
    with np.errstate(invalid="ignore"):
        if block.size == 0 or (np.isfinite(np.max(block)) and np.isfinite(np.min(block))):
            return
    finite = np.isfinite(block)
    pixel = np.unravel_index(np.argmin(finite), block.shape)
    kind = "a NaN" if np.isnan(block[pixel]) else "an infinity"
    where = ", ".join(f"{axis} {i + j}" for axis, i, j in zip(axes, origin, pixel, strict=True))
    message = f"the input holds {kind} at {where} (block at {', '.join(map(str, origin))})"
    about_config = "mend the data, or set input.nan: propagate; then begin anew with --overwrite"
    raise DataError(message, hint or about_config, "nan" if hint else "input.nan")
