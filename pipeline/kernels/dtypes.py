"""The dtypes of images, and those that hold the exact results of filters."""

import numpy as np

# Dtypes of images and results.
SUPPORTED: tuple[np.dtype, ...] = tuple(
    np.dtype(name)
    for name in (
        "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64",
    )
)  # fmt: skip


def unsigned_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype of an image minus its own opening or minimum, which is never negative.

    The difference is at most as wide as the range of the dtype, so the unsigned type of the same width holds
    it. Floats stay.

    >>> unsigned_dtype(np.dtype("int16")), unsigned_dtype(np.dtype("float32"))
    (dtype('uint16'), dtype('float32'))
    """
    return dtype if dtype.kind == "f" else np.dtype(f"uint{8 * dtype.itemsize}")


def signed_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype of a difference of two values of `dtype`, of either sign.

    Raises
    ------
    TypeError
        For integers of 64 bits, whose differences no dtype holds.

    Examples
    --------
    >>> signed_dtype(np.dtype("uint16")), signed_dtype(np.dtype("int8"))
    (dtype('int32'), dtype('int16'))
    """
    if dtype.kind == "f":
        return dtype
    if dtype.itemsize == 8:
        raise TypeError(f"a difference of two {dtype} takes more than 64 bits")
    return np.dtype(f"int{16 * dtype.itemsize}")


def common_dtype(one: np.dtype, other: np.dtype) -> np.dtype | None:
    """Return the dtype that holds every value of both, or None.

    >>> common_dtype(np.dtype("uint32"), np.dtype("int32"))
    dtype('int64')
    >>> common_dtype(np.dtype("uint64"), np.dtype("int64"))  # none does
    """
    both = np.result_type(one, other)
    # NumPy gives float64 where no integer is wide enough, and that holds whole numbers to 2⁵³ only.
    lossy = both.kind == "f" and any(dtype.kind != "f" and dtype.itemsize == 8 for dtype in (one, other))
    return None if lossy else both


def float_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype of linear filters of `dtype`.

    float32 holds all integers of 16 bits; wider ones get float64, which holds whole numbers up to 2⁵³.

    >>> float_dtype(np.dtype("uint16")), float_dtype(np.dtype("int32"))
    (dtype('float32'), dtype('float64'))
    """
    narrow = dtype.itemsize <= 2 or dtype == np.float32
    return np.dtype(np.float32 if narrow else np.float64)


def check_dtype(dtype: np.dtype) -> None:
    """Raise TypeError for a dtype that is not in `SUPPORTED`, such as bool, float16 or big-endian ones."""
    if dtype not in SUPPORTED:
        name = str(dtype) if dtype.isnative else f"{dtype.newbyteorder('=')} in the other byte order"
        supported = ", ".join(map(str, SUPPORTED))
        raise TypeError(f"filters do not work on {name}; convert it to one of {supported}")


def highest_value(dtype: np.dtype) -> np.generic:
    """Return +∞ for a floating dtype, or the largest value of an integer one, as a scalar of that dtype."""
    return dtype.type(np.inf if dtype.kind == "f" else np.iinfo(dtype).max)


def lowest_value(dtype: np.dtype) -> np.generic:
    """Return −∞ for a floating dtype, or the smallest value of an integer one, as a scalar of that dtype."""
    return dtype.type(-np.inf if dtype.kind == "f" else np.iinfo(dtype).min)


def dtype_range(dtype: np.dtype) -> tuple[float, float]:
    """Return the smallest and the largest finite value of a dtype; exact whole numbers for integers.

    >>> dtype_range(np.dtype("int16"))
    (-32768, 32767)
    """
    if dtype.kind == "f":
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
