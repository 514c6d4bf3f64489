"""The check for NaN and infinite pixels, which `nan: refuse` asks for."""

import numpy as np
from numpy.typing import NDArray

from pipeline.model.errors import DataError


def check_finite(block: NDArray, axes: str, origin: tuple[int, ...], mend: str = "") -> None:
    """Refuse a block of floats that holds a NaN or an infinity.

    Parameters
    ----------
    block : numpy.ndarray
        Pixels, with axes in the order of `axes`.
    axes : str
        The axes of the block.
    origin : tuple of int
        Where the block begins in the image.
    mend : str
        What to do about it; default: what one does about a config.

    Raises
    ------
    DataError
        Naming its first such pixel.
    """
    if block.dtype.kind != "f":
        return
    # A sum is no number where a pixel is none, and costs no temporary; one that is too large is none either.
    with np.errstate(invalid="ignore", over="ignore"):
        total = np.sum(block, dtype=np.float64)
    if np.isfinite(total):
        return
    wrong = ~np.isfinite(block)
    if not wrong.any():
        return
    place = tuple(np.argwhere(wrong)[0])
    where = ", ".join(f"{axis} {first + at}" for axis, first, at in zip(axes, origin, place, strict=True))
    what = "a NaN" if np.isnan(block[place]) else "an infinity"
    raise DataError(
        f"the input holds {what} at {where} (block at {', '.join(map(str, origin))})",
        mend or "mend the data, or set input.nan: propagate; then begin anew with --overwrite",
        "nan" if mend else "input.nan",
    )  # fmt: skip
