"""Promises of a step about the pixels that it computes."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from types import FrameType

import numpy as np
from numpy.typing import NDArray

import pipeline.kernels
from pipeline.model.axes import in_order
from pipeline.model.image import Channel, ImageSpec
from pipeline.steps.background import difference
from pipeline.steps.chain import apply_step
from pipeline.steps.step import Step
from pipeline.testing.cases import Parameters, agree, case_per_dtype, islands, make_case, noise, require

_KERNELS = Path(pipeline.kernels.__file__).parent


def blocks_equal_the_whole(step: type[Step], parameters: Parameters) -> None:
    """Check that blocks with their halo give what the whole image gives."""
    thin = make_case(step, parameters, thin=True)
    for case in [thin, *case_per_dtype(step, parameters)]:
        for seed in range(3 if case.spec.dtype == np.uint16 else 1):
            image = noise(case.spec, seed)
            whole, largest = case.apply(image), float(np.abs(image.astype(float)).max())
            require(whole.shape == image.shape, f"gives {whole.shape} for {image.shape}")
            for region in case.regions(seed):
                same = agree(case.step, case.apply_to_region(image, region), whole[region], largest)
                require(same, f"the block {region} of {case.spec} is another than in the whole image")


def a_smaller_halo_is_not_enough(step: type[Step], parameters: Parameters) -> None:
    """Check that each axis needs its whole halo: a wider one than needed costs time and memory."""
    case = make_case(step, parameters)
    if not case.step.exact:
        return  # a Gaussian's farthest pixel weighs next to nothing
    for axis in [axis for axis, px in case.halo.items() if px]:
        differs = any(
            not np.array_equal(case.apply_to_region(image, region, short=axis), whole[region])
            for seed in range(200)
            for image in (islands(case, seed), noise(case.spec, seed))
            for whole in [case.apply(image)]
            for region in case.regions(seed)
        )
        require(differs, f"a halo of {case.halo[axis] - 1} px along {axis} is enough")


def the_reference_agrees(step: type[Step], parameters: Parameters) -> None:
    """Compare the result with the reference's, to the `accuracy` that the step declares."""
    for dtype, thin in itertools.product(("uint16", "int16", "float32", "float64"), (False, True)):
        case = make_case(step, parameters, dtype, thin)
        image = noise(case.spec)
        result, expected = case.apply(image), case.step.reference(image, case.spec.axes)
        np.testing.assert_array_equal(image, noise(case.spec), "the reference changed its input")
        require(result.shape == expected.shape, f"the reference gives {expected.shape}")
        if case.step.exact:
            require(result.dtype == expected.dtype, f"the reference gives {expected.dtype}")
            np.testing.assert_array_equal(result, expected)
        else:
            require(expected.dtype == np.float64, f"the reference gives {expected.dtype}, not float64")
            wide = image.astype(float)
            # Beside the step's error, float32 rounds the values.
            allowed = case.step.accuracy * np.ptp(wide) + 1e-6 * np.abs(wide).max()
            error = np.abs(result - expected).max()
            require(bool(error <= allowed), f"{error:g} from the reference, and {allowed:g} are allowed")


def the_reference_is_another_way(step: type[Step], parameters: Parameters) -> None:
    """Check that the reference calls neither `apply` nor a kernel."""
    case = make_case(step, parameters)
    calls = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if frame.f_code is step.apply.__code__ or (_KERNELS in path.parents and path.stem != "dtypes"):
            calls.add(frame.f_code.co_name)

    image, profiler = noise(case.spec), sys.getprofile()
    sys.setprofile(note)
    try:
        case.step.reference(image, case.spec.axes)
    finally:
        sys.setprofile(profiler)
    require(not calls, f"the reference calls what it is to check: {', '.join(sorted(calls))}")


def dtype_and_range_are_as_declared(step: type[Step], parameters: Parameters) -> None:
    """Compare the result with `out_dtype` and `value_range`."""
    for case in case_per_dtype(step, parameters):
        image = noise(case.spec)
        result = case.apply(image)
        low, high = case.step.value_range(image.min().item(), image.max().item())
        declared = case.step.out_dtype(image.dtype)
        require(result.dtype == declared, f"gives {result.dtype} for {image.dtype} and declares {declared}")
        # Floats may be rounded beyond the range.
        slack = 1e-6 * max(abs(low), abs(high)) if declared.kind == "f" else 0
        least, most = result.min().item(), result.max().item()
        require(
            low - slack <= least <= most <= high + slack, f"gives {least} to {most}, beyond {low} to {high}"
        )
        if declared.kind != "f":
            info = np.iinfo(declared)
            require(info.min <= low <= high <= info.max, f"{declared} does not hold {low} to {high}")


def the_input_is_not_changed(step: type[Step], parameters: Parameters) -> None:
    """Filter a read-only image, and the same pixels in other memory layouts."""
    case = make_case(step, parameters)
    image = noise(case.spec)
    image.flags.writeable = False
    expected = case.apply(image)
    np.testing.assert_array_equal(image, noise(case.spec), "the input was changed")
    require(not np.shares_memory(expected, image), "the result is a view of the input")
    for view in (np.asfortranarray(image), np.repeat(image, 2, axis=-1)[..., ::2]):
        np.testing.assert_array_equal(case.apply(view), expected, "another result for other strides")


def other_channels_pass_untouched(step: type[Step], parameters: Parameters) -> None:
    """Filter one channel of three."""
    axes = in_order("".join({*"cyx", *step(**parameters).along}))
    shape = tuple(3 if axis == "c" else 30 for axis in axes)
    channels = (Channel("a"), Channel("b"), Channel("d"))
    spec = ImageSpec(axes, shape, np.dtype("uint16"), channels=channels)
    image, origin, axis = noise(spec), (0,) * len(axes), axes.index("c")
    one = step(**{**parameters, "channels": ["b"]}).resolve(spec)
    result = apply_step(one, image, axes, origin)
    everywhere = apply_step(step(**parameters).resolve(spec), image, axes, origin)
    same = agree(one, result.take(1, axis), everywhere.take(1, axis), float(image.max()))
    require(same, "a channel by itself comes out different")
    for channel in (0, 2):
        np.testing.assert_array_equal(result.take(channel, axis), image.take(channel, axis))


def the_background_is_where_the_step_says(step: type[Step], parameters: Parameters) -> None:
    """Check that the background of an even image with one bright or dark pixel is even."""
    if step.background is None:
        return
    case = make_case(step, parameters)
    middle = tuple(size // 2 for size in case.spec.shape)

    def filter_spot(value: int) -> tuple[NDArray, NDArray]:
        image = np.full(case.spec.shape, 100, np.uint16)
        image[middle] = value
        return image, case.apply(image)

    # Of a bright and a dark pixel, the one that comes out bright is a feature to the step.
    image, result = max(map(filter_spot, (150, 50)), key=lambda pair: float(pair[1][middle]))
    unevenness = np.ptp(difference(step.background, image, result))
    require(
        bool(unevenness <= 20), f"{step.background} varies by {unevenness:g} where the background is even"
    )


PIXEL_PROMISES = (
    blocks_equal_the_whole,
    a_smaller_halo_is_not_enough,
    the_reference_agrees,
    the_reference_is_another_way,
    dtype_and_range_are_as_declared,
    the_input_is_not_changed,
    other_channels_pass_untouched,
    the_background_is_where_the_step_says,
)
