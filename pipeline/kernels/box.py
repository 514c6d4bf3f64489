"""Running minima along one axis at a time: all that a box footprint needs, at a cost free of its size.

Both kernels work in place on a contiguous array, so that a filter needs no other array than its result.

References
----------
.. [1] M. van Herk, "A fast algorithm for local minimum and maximum filters on rectangular and octagonal
       kernels", Pattern Recognition Letters 13(7), 1992.
.. [2] J. Gil and M. Werman, "Computing 2-D min, median, and max filters", IEEE Transactions on Pattern
       Analysis and Machine Intelligence 15(5), 1993.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.dtypes import largest
from pipeline.kernels.jit import jit
from pipeline.kernels.lanes import BLOCK, complement, lanes, minimum, read_row, scratch, write_row

STRIP_BYTES = 1024


@jit
def _take(array: NDArray, at: int, address: int, count: int, flip: bool, biggest: np.generic) -> None:
    """Read pixels into the scratch; NaN counts as if it lay outside."""
    read_row(array, at, address, array.itemsize, count)
    if flip:
        complement(array, at, (count * array.itemsize + BLOCK - 1) // BLOCK)
    pixels = array[at : at + count]
    for i in range(pixels.size):
        pixels[i] = pixels[i] if pixels[i] == pixels[i] else biggest


@jit
def _give(array: NDArray, at: int, address: int, count: int, flip: bool) -> None:
    if flip:
        complement(array, at, (count * array.itemsize + BLOCK - 1) // BLOCK)
    write_row(array, at, address, array.itemsize, count)


@jit
def erode_rows(
    array: NDArray, address: int, rows: int, columns: int, reach: int, flip: bool, biggest: np.generic
) -> None:
    """Replace each pixel by the minimum over those up to `reach` before and after it in its row.

    Runs of 2ᵏ pixels double until two overlapping ones make the window.
    """
    size = columns + 2 * reach
    for row in range(rows):
        place = address + row * columns * array.itemsize
        array[:reach] = biggest
        _take(array, reach, place, columns, flip, biggest)
        array[reach + columns :] = biggest
        run = 1
        while 2 * run <= 2 * reach + 1:
            minimum(array, 0, (0, run), ((size - run) * array.itemsize + BLOCK - 1) // BLOCK)
            run *= 2
        rest = 2 * reach + 1 - run
        if rest > 0:
            minimum(array, 0, (0, rest), (columns * array.itemsize + BLOCK - 1) // BLOCK)
        _give(array, 0, place, columns, flip)


@jit
def _group(
    array: NDArray,
    at: int,
    address: int,
    stride: int,
    first: int,
    length: int,
    shape: tuple[int, int, int],
    flip: bool,
    biggest: np.generic,
) -> None:
    """Read rows `first` … of one strip into a group of `length` rows; those outside the image never win."""
    strip, count, height = shape
    for i in range(length):
        if 0 <= first + i < height:
            _take(array, at + i * strip, address + (first + i) * stride, count, flip, biggest)
        else:
            array[at + i * strip : at + (i + 1) * strip] = biggest


@jit
def _suffixes(array: NDArray, at: int, length: int, strip: int, blocks: int) -> None:
    for i in range(length - 2, -1, -1):
        row = at + i * strip
        minimum(array, row, (row, row + strip), blocks)


@jit
def erode_columns(
    array: NDArray,
    address: int,
    leads: int,
    height: int,
    columns: int,
    reach: int,
    strip: int,
    flip: bool,
    biggest: np.generic,
) -> None:
    """Replace each pixel by the minimum over those up to `reach` above and below it.

    Rows are cut into groups as long as the window, which then is the end of one group and the beginning
    of the next: two running minima serve every window.
    """
    length = 2 * reach + 1
    stride = columns * array.itemsize
    blocks = strip * array.itemsize // BLOCK
    for lead in range(leads):
        for x in range(0, columns, strip):
            count = min(strip, columns - x)
            corner = address + lead * height * stride + x * array.itemsize
            shape = (strip, count, height)
            ends, begins, prefix = 0, length * strip, 2 * length * strip
            _group(array, ends, corner, stride, -reach, length, shape, flip, biggest)
            _suffixes(array, ends, length, strip, blocks)
            for top in range(0, height, length):
                # Read the next group before its rows are written over.
                _group(array, begins, corner, stride, top + length - reach, length, shape, flip, biggest)
                array[prefix : prefix + strip] = biggest
                for i in range(min(length, height - top)):
                    row = ends + i * strip
                    minimum(array, row, (row, prefix), blocks)
                    _give(array, row, corner + (top + i) * stride, count, flip)
                    minimum(array, prefix, (prefix, begins + i * strip), blocks)
                _suffixes(array, begins, length, strip, blocks)
                ends, begins = begins, ends


def box_scratch(shape: tuple[int, ...], dtype: np.dtype, reach: tuple[int, ...]) -> int:
    """Return how many elements of scratch `erode_box` takes."""
    axes = enumerate(_clip(shape, reach))
    return max((_axis_scratch(shape, dtype, axis, r)[1] for axis, r in axes), default=0)


def _clip(shape: tuple[int, ...], reach: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(min(r, n - 1) for r, n in zip(reach, shape, strict=True))


def _axis_scratch(shape: tuple[int, ...], dtype: np.dtype, axis: int, reach: int) -> tuple[int, int]:
    """Return the columns of a strip and the elements of scratch for one axis."""
    lane = lanes(dtype)
    columns = int(np.prod(shape[axis + 1 :], dtype=np.int64))
    if columns == 1:
        return 1, (-(-(shape[axis] + 2 * reach) // lane) + 2) * lane + reach
    strip = min(STRIP_BYTES // dtype.itemsize, -(-columns // lane) * lane)
    return strip, (4 * reach + 3) * strip


def erode_box(image: NDArray, reach: tuple[int, ...], flip: bool) -> None:
    """Erode an image in place by a box, or dilate it where `flip` is set.

    Parameters
    ----------
    image : ndarray
        C-contiguous and aligned; overwritten.
    reach : tuple of int
        How far the box extends along each axis.
    """
    shape, dtype = image.shape, image.dtype
    array = scratch(box_scratch(shape, dtype, reach), dtype)
    address = image.ctypes.data
    clipped = _clip(shape, reach)
    for axis, r in enumerate(clipped):
        if not r and (any(clipped) or axis < len(shape) - 1):
            continue  # at least one axis is gone through, for NaN
        strip, size = _axis_scratch(shape, dtype, axis, r)
        before = int(np.prod(shape[:axis], dtype=np.int64))
        after = int(np.prod(shape[axis + 1 :], dtype=np.int64))
        if after == 1:
            erode_rows(array[:size], address, before, shape[axis], r, flip, largest(dtype))
        else:
            erode_columns(array, address, before, shape[axis], after, r, strip, flip, largest(dtype))
