"""The dtypes that hold the exact results of filters."""

import numpy as np

SUPPORTED: tuple[np.dtype, ...] = tuple(
    np.dtype(name)
    for name in (
        "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64",
    )
)  # fmt: skip
"""What images and results may be of. 64-bit integers are what the widest differences take."""


def unsigned_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype of a difference that is never negative.

    An image minus its own opening or minimum spans at most the width of the
    type, so the unsigned type of the same width holds it. Floats stay.

    >>> unsigned_dtype(np.dtype("int16")), unsigned_dtype(np.dtype("float32"))
    (dtype('uint16'), dtype('float32'))
    """
    return dtype if dtype.kind == "f" else np.dtype(f"uint{8 * dtype.itemsize}")


def signed_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype of a difference of two values of `dtype`, of either sign.

    Raises
    ------
    TypeError
        For integers of 64 bits: there is none.

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
    """Return the dtype that holds every value of both, where there is one.

    >>> common_dtype(np.dtype("uint32"), np.dtype("int32"))
    dtype('int64')
    >>> common_dtype(np.dtype("uint64"), np.dtype("int64"))  # none does
    """
    both = np.result_type(one, other)
    # NumPy gives float64 where no integer is wide enough, and that holds whole numbers to 2⁵³ only.
    lossy = both.kind == "f" and any(each.kind != "f" and each.itemsize == 8 for each in (one, other))
    return None if lossy else both


def float_dtype(dtype: np.dtype) -> np.dtype:
    """Return the floating dtype in which linear filters of `dtype` are given.

    float32 holds every value of the types up to 16 bits; wider ones get float64, which holds whole
    numbers up to 2⁵³.

    >>> float_dtype(np.dtype("uint16")), float_dtype(np.dtype("int32"))
    (dtype('float32'), dtype('float64'))
    """
    narrow = dtype.itemsize <= 2 or dtype == np.float32
    return np.dtype(np.float32 if narrow else np.float64)


def check_dtype(dtype: np.dtype) -> None:
    """Refuse a dtype that no kernel is compiled for, by its name.

    Raises
    ------
    TypeError
        For bool, float16, complex and the other byte order among others.
    """
    if dtype not in SUPPORTED:
        name = str(dtype) if dtype.isnative else f"{dtype.newbyteorder('=')} in the other byte order"
        supported = ", ".join(str(one) for one in SUPPORTED)
        raise TypeError(f"filters do not work on {name}; convert it to one of {supported}")


def highest_value(dtype: np.dtype) -> np.generic:
    """Return +∞, or the highest value of an integer type, in that type."""
    return dtype.type(np.inf if dtype.kind == "f" else np.iinfo(dtype).max)


def dtype_range(dtype: np.dtype) -> tuple[float, float]:
    """Return the smallest and the largest value that a dtype holds; of integers as whole numbers.

    >>> dtype_range(np.dtype("int16"))
    (-32768, 32767)
    """
    if dtype.kind == "f":
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
