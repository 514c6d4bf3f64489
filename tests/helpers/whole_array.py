"""Chains on whole arrays by scipy, in types that lose nothing, to compare runs with."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

UNSIGNED = {f"{sign}int{bits}": f"uint{bits}" for bits in (8, 16, 32, 64) for sign in ("", "u")}
SIGNED = {f"{sign}int{bits}": f"int{2 * bits}" for bits in (8, 16, 32) for sign in ("", "u")}
SMOOTH = {
    **dict.fromkeys(("uint8", "int8", "uint16", "int16", "float32"), "float32"),
    **dict.fromkeys(("uint32", "int32", "uint64", "int64", "float64"), "float64"),
}


@dataclass
class Whole:
    """Result of a chain: values as Python ints or float64, dtype, and the error that a run may have."""

    values: NDArray
    dtype: str
    error: float = 0.0


class RefusedError(Exception):
    """No dtype holds the result of the chain."""


def start(image: NDArray) -> Whole:
    exact = image.dtype.kind in "iu"
    return Whole(image.astype(object) if exact else image.astype(np.float64), image.dtype.name)


def after(whole: Whole, name: str, parameters: dict, channels: list[int] | None, axes: str) -> Whole:
    """Apply a step to the channels that it is for."""
    if channels is None:
        return _step(whole, name, parameters, axes)
    axis = axes.index("c")
    result = dtype_after(whole.dtype, name, parameters)
    dtype = common(result, whole.dtype)
    parts, error = [], whole.error
    for channel in range(whole.values.shape[axis]):
        part = Whole(whole.values.take([channel], axis), whole.dtype, whole.error)
        if channel in channels:
            part = _step(part, name, parameters, axes)
            error = max(error, part.error)
        parts.append(part.values if dtype[0] != "f" else part.values.astype(np.float64))
    return Whole(np.concatenate(parts, axis), dtype, error)


def common(one: str, other: str) -> str:
    """Return the smallest dtype that holds both."""
    if "f" in (one[0], other[0]):
        if any(name in ("int64", "uint64") for name in (one, other)):
            raise RefusedError
        return str(np.result_type(one, other))
    low = min(int(np.iinfo(name).min) for name in (one, other))
    high = max(int(np.iinfo(name).max) for name in (one, other))
    for bits in (8, 16, 32, 64):
        for name in (f"uint{bits}", f"int{bits}"):
            if np.iinfo(name).min <= low and high <= np.iinfo(name).max:
                return name
    raise RefusedError


def dtype_after(dtype: str, name: str, parameters: dict) -> str:
    if name in ("gaussian", "subtract_gaussian", "difference_of_gaussians"):
        return SMOOTH[dtype]
    if dtype[0] == "f":
        return dtype
    larger = name == "subtract_opening" and parameters["maximum_size"] > parameters["minimum_size"]
    if larger and dtype not in SIGNED:
        raise RefusedError
    return SIGNED[dtype] if larger else UNSIGNED[dtype]


def _step(whole: Whole, name: str, parameters: dict, axes: str) -> Whole:
    dtype = dtype_after(whole.dtype, name, parameters)
    if name in ("gaussian", "subtract_gaussian", "difference_of_gaussians"):
        return _smooth(whole, name, parameters, axes, dtype)
    values = whole.values
    if values.dtype != object:
        values = values.astype(dtype)
    if name == "subtract_minimum":
        result = values - _rank(values, _box(parameters["size"], axes), minimum=True)
    elif name == "subtract_opening":
        low = _rank(values, _box(parameters["minimum_size"], axes), minimum=True)
        result = values - _rank(low, _box(parameters["maximum_size"], axes), minimum=False)
    else:
        disk, bright = _disk(parameters["radius"], axes), name == "white_tophat"
        background = _rank(_rank(values, disk, minimum=bright), disk, minimum=not bright)
        result = values - background if bright else background - values
    return Whole(result if result.dtype == object else result.astype(np.float64), dtype, 2 * whole.error)


def _smooth(whole: Whole, name: str, parameters: dict, axes: str, dtype: str) -> Whole:
    values = whole.values.astype(np.float64)

    def blurred(sigma: float) -> NDArray:
        sigmas = [sigma if axis in "yx" else 0 for axis in axes]
        options = {"mode": parameters.get("mode", "nearest"), "truncate": parameters.get("truncate", 4.0)}
        return ndimage.gaussian_filter(values, sigmas, **options)

    if name == "gaussian":
        result = blurred(parameters["sigma"])
    elif name == "subtract_gaussian":
        result = values - blurred(parameters["sigma"])
    else:
        result = blurred(parameters["low_sigma"]) - blurred(parameters["high_sigma"])
    seen = values[np.isfinite(values)].ravel()
    if parameters.get("mode") == "constant" or not seen.size:
        seen = np.append(seen, 0.0)
    low, high = float(seen.min()), float(seen.max())
    return Whole(result, dtype, 2 * whole.error + 1e-4 * (high - low) + 2e-6 * max(abs(low), abs(high)))


def _box(size: int, axes: str) -> NDArray[np.bool_]:
    return np.ones([size if axis in "yx" else 1 for axis in axes], bool)


def _disk(radius: float, axes: str) -> NDArray[np.bool_]:
    at = np.arange(-int(radius), int(radius) + 1)
    disk = at[:, None] ** 2 + at**2 <= radius**2 * (1 + 1e-9)
    return disk.reshape((1,) * (len(axes) - 2) + disk.shape)


def _rank(values: NDArray, footprint: NDArray[np.bool_], *, minimum: bool) -> NDArray:
    """Return the minimum or maximum under a footprint, without NaN and pixels outside the image."""
    known = values.dtype == object or ~np.isnan(values)
    outside = np.inf if minimum else -np.inf
    order = np.unique(values[known] if values.dtype != object else values)
    # A minimum depends on the order only, so ranks can replace values that a float cannot hold.
    ranks = np.searchsorted(order.astype(values.dtype), values) if order.size else np.zeros(values.shape)
    ranks = np.where(known, ranks, outside).astype(np.float64)
    reach = [(side // 2,) * 2 for side in footprint.shape]
    padded = np.pad(ranks, reach, constant_values=outside)
    filter_ = ndimage.minimum_filter if minimum else ndimage.maximum_filter
    filtered = filter_(padded, footprint=footprint, mode="constant", cval=outside)
    inner = filtered[tuple(slice(px, px + n) for (px, _), n in zip(reach, values.shape, strict=True))]
    if values.dtype == object:
        return order[inner.astype(np.intp)]
    result = np.full(values.shape, outside, values.dtype)
    finite = np.isfinite(inner)
    result[finite] = order[inner[finite].astype(np.intp)]
    return result


def cast(whole: Whole, dtype: str, offset: float) -> tuple[NDArray, NDArray[np.bool_], float]:
    """Cast to the dtype of an output; return values, clipped pixels, and the error that rounding may add."""
    kind = np.dtype(dtype)
    exact = whole.values.dtype == object and float(offset).is_integer()
    values = whole.values + int(offset) if exact else whole.values.astype(np.float64) + offset
    if kind.kind == "f":
        values = values.astype(np.float64)
        most = float(np.finfo(kind).max)
        outside = np.isfinite(values) & (np.abs(values) > most)
        kept = np.where(np.isfinite(values), np.clip(values, -most, most), values)
        spread = float(np.max(np.abs(kept[np.isfinite(kept)]), initial=0.0))
        return kept, outside, 2 * float(np.finfo(kind).eps) * (spread + abs(offset))
    least, most = (np.array(int(end), object) for end in (np.iinfo(kind).min, np.iinfo(kind).max))
    if exact:
        outside = (values < least) | (values > most)
        return (
            np.where(values < least, least, np.where(values > most, most, values)),
            outside.astype(bool),
            0.0,
        )
    rounded = np.rint(values)
    lost = ~np.isfinite(rounded)
    # Compared as Python ints, because float64 rounds the ends of 64-bit types.
    whole_numbers = np.array([int(value) for value in np.where(lost, 0, rounded).ravel()], object)
    numbers = whole_numbers.reshape(rounded.shape)
    outside = ((numbers < least) | (numbers > most)).astype(bool) | lost
    bounded = np.where(numbers < least, least, np.where(numbers > most, most, numbers))
    bounded = np.where(lost, np.where(rounded == np.inf, most, least), bounded)
    return bounded, outside, 1.0 if whole.error else 0.0
