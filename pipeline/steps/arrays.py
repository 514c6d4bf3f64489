"""Application of a step in Python to an Image, a NumPy array, a Dask array or a DataArray."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.kernels.dtypes import SUPPORTED
from pipeline.model.axes import ORDER, axis_names
from pipeline.model.errors import PipelineError, Problem, RequestError
from pipeline.model.finite import check_finite
from pipeline.model.image import Image, ImageSpec
from pipeline.model.units import PX, Quantity, convertible, unit_name
from pipeline.steps.chain import apply_step
from pipeline.steps.contract import StepContract

_ACCEPTED = "give an Image, a NumPy array, a Dask array or an xarray DataArray"
_NAN_HINT = "mend the data, or say nan='propagate'"
_DIMS = {"time": "t", "channel": "c", "channels": "c", "plane": "z", "row": "y", "column": "x"}

_Scale = Mapping[str, Any] | None
_Units = Mapping[str, str] | None


def apply_to(step: StepContract, image: Any, axes: str | None, scale: _Scale, units: _Units, nan: str) -> Any:
    """Apply a step to an image of any supported type; see `Step.__call__`."""
    if nan not in ("refuse", "propagate"):
        raise RequestError(f"{nan!r} is not a choice", "use refuse or propagate", "nan")
    refuse_nan = nan == "refuse"
    if isinstance(image, Image):
        if axes is not None and axis_names(axes) != image.axes:
            raise RequestError(f"the image's axes are {image.axes}, not {axes}", "leave axes out", "axes")
        spec = _with_scale(image.spec, scale, units)
        data = _apply_lazily(step, image.data, spec, refuse_nan)
        return Image(data, spec.with_(dtype=data.dtype))
    # A DataArray by its attributes: xarray need not be installed.
    if all(hasattr(image, name) for name in ("dims", "coords", "data", "copy")):
        axes = _axes_of_dims(image.dims) if axes is None else axes
        return image.copy(data=apply_to(step, image.data, axes, scale, units, nan))
    _check_array(image)
    spec = _array_spec(image, axes, scale, units)
    if not isinstance(image, np.ndarray):
        return _apply_lazily(step, image, spec, refuse_nan)
    resolved, origin = _resolved(step, spec), (0,) * image.ndim
    native = np.asarray(image).astype(spec.dtype, copy=False)
    if refuse_nan:
        check_finite(native, spec.axes, origin, _NAN_HINT)
    return apply_step(resolved, native, spec.axes, origin)


def _resolved(step: StepContract, spec: ImageSpec) -> StepContract:
    """Resolve a step, or find it resolved for an image alike: that takes longer than a small frame."""
    try:
        hash(step)
    except TypeError:  # a field of another package's step, such as a list
        return step.resolve(spec)
    return _resolve(step, spec)


@functools.lru_cache(maxsize=64)
def _resolve(step: StepContract, spec: ImageSpec) -> StepContract:
    return step.resolve(spec)


def _apply_lazily(step: StepContract, array: Any, spec: ImageSpec, refuse_nan: bool) -> Any:
    if type(array).__module__.partition(".")[0] != "dask":
        raise RequestError(f"{type(array).__name__} is no image", _ACCEPTED)
    # Importing Dask takes most of a second, and NumPy arrays do not need it.
    from pipeline.steps.overlap import apply_to_dask

    return apply_to_dask(step, array, spec, refuse_nan, _NAN_HINT)


def _axes_of_dims(dims: tuple[Any, ...]) -> str:
    """Translate the dims of a DataArray to axes.

    >>> _axes_of_dims(("time", "Y", "x"))
    'tyx'
    """
    axes = ""
    for dim in dims:
        name = str(dim).lower()
        axis = _DIMS.get(name, name)
        if axis not in tuple(ORDER):
            raise RequestError(
                f"the dim {dim!r} is not an axis", "rename it to one of t, c, z, y, x, or say axes", "axes"
            )
        axes += axis
    return axes


def _check_array(array: Any) -> None:
    """Refuse an object that is not an array of pixels."""
    kind = type(array).__name__
    if isinstance(array, np.ma.MaskedArray):
        raise RequestError("a masked array hides pixels that filters look at", "give array.filled(value)")
    if isinstance(array, list | tuple):
        raise RequestError(f"a {kind} is no image", "give numpy.asarray(…) of it")
    if hasattr(array, "__fspath__") or isinstance(array, str):
        raise RequestError(f"{str(array)!r} is a path", "give pipeline.open_image(…) of it")
    if not (hasattr(array, "shape") and hasattr(array, "dtype") and hasattr(array, "ndim")):
        raise RequestError(f"{kind} is no image", _ACCEPTED)


def _array_spec(array: Any, axes: str | None, scale: _Scale, units: _Units) -> ImageSpec:
    """Describe a plain array by the caller's axes, scale and units."""
    if axes is None:
        if array.ndim != 2:
            raise RequestError(
                f"an array of {array.ndim} axes needs their names", "say axes='tyx', for instance", "axes"
            )
        axes = "yx"
    spec = _plain_spec(axis_names(axes), tuple(array.shape), np.dtype(array.dtype))
    return spec if scale is None and units is None else _with_scale(spec, scale, units)


@functools.lru_cache(maxsize=64)
def _plain_spec(axes: str, shape: tuple[int, ...], dtype: np.dtype) -> ImageSpec:
    native = dtype.newbyteorder("=")
    if native not in SUPPORTED:
        names = ", ".join(dtype.name for dtype in SUPPORTED)
        raise RequestError(f"an array of {dtype} cannot be filtered", f"convert it to one of {names}")
    return ImageSpec(axes, shape, native)


def _with_scale(spec: ImageSpec, scale: _Scale, units: _Units) -> ImageSpec:
    """Replace the pixel sizes of a spec by those that the caller gives."""
    for field, value in (("scale", scale), ("units", units)):
        if value is not None and not isinstance(value, Mapping):
            raise RequestError(f"{value!r} does not say of which axis", "write {'y': …, 'x': …}", field)
    default_units = {axis_names(axis, "units"): unit for axis, unit in (units or {}).items()}
    sizes, names = dict(spec.scale), dict(spec.units)
    problems: list[Problem] = []
    for key, value in (scale or {}).items():
        try:
            axis = axis_names(key, "")
            unit = default_units.get(axis, "second" if axis == "t" else "micrometer")
            sizes[axis], names[axis] = _pixel_size(axis, value, unit, spec)
        except PipelineError as error:
            problems += error.under(f"scale.{key}").problems
    if problems:
        raise RequestError(problems)
    return spec.with_(scale=sizes, units=names)


def _pixel_size(axis: str, value: Any, unit: str, spec: ImageSpec) -> tuple[float, str]:
    """Parse the size of a pixel along an axis; `unit` is that of a plain number."""
    if axis not in spec.axes or axis == "c":
        raise RequestError(f"the image has no such axis with a size (it has {spec.axes})", "leave it out")
    quantity = Quantity.parse(value.item() if isinstance(value, np.generic) else value)
    unit = unit_name(unit) if quantity.unit == PX else quantity.unit
    if not quantity.value > 0:
        raise RequestError(f"{value!r} is not above 0", "give the size of a pixel")
    if not convertible(unit, "second" if axis == "t" else "meter"):
        raise RequestError(f"{unit} does not fit {axis}", "give time along t, and lengths elsewhere")
    return float(quantity.value), unit
