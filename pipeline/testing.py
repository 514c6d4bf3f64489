"""Checks of what every step promises, for the tests of a step here or in another package.

A test file of a step holds no more than this, beside what the step itself is compared with:

    import pytest
    from pipeline.testing import step_checks

    @pytest.mark.parametrize("check", step_checks(MyStep), ids=str)
    def test_my_step_keeps_the_contract(check):
        check()
"""

from __future__ import annotations

import inspect
import itertools
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML

from pipeline.kernels.dtypes import SUPPORTED
from pipeline.model.axes import in_order
from pipeline.model.errors import RequestError
from pipeline.model.image import Channel, ImageSpec, Region, origin_of
from pipeline.steps.background import difference
from pipeline.steps.chain import apply_step
from pipeline.steps.docstrings import described_parameters
from pipeline.steps.step import Step

USUAL = tuple(map(np.dtype, ("uint8", "uint16", "float32")))
"""Types of pixels that a step may not refuse."""

_KERNELS = Path(__file__).parent / "kernels"

Parameters = dict[str, Any]


@dataclass(frozen=True)
class StepCheck:
    """One promise of one step, tried with one of its examples when it is called.

    Raises
    ------
    AssertionError
        The step does not keep it, and how it can be seen.
    """

    step: type[Step]
    promise: Callable[[type[Step], Parameters], None]
    number: int

    def __str__(self) -> str:
        return f"{self.step.name}-{self.number}-{self.promise.__name__.strip('_')}"

    def __call__(self) -> None:
        """Try it."""
        self.promise(self.step, self.step.examples[self.number])


def step_checks(step: type[Step]) -> list[StepCheck]:
    """Return the checks of a step: each promise with each of its `examples`.

    Parameters
    ----------
    step : type
        A subclass of `pipeline.steps.Step`, with examples.

    Raises
    ------
    AssertionError
        It leaves something of the contract undefined, or has no examples.
    """
    missing = ", ".join(sorted(getattr(step, "__abstractmethods__", ())))
    _require(not missing, f"{step.__name__} does not define {missing}")
    _require(bool(step.examples), f"{step.__name__} has no examples")
    for_each = [
        StepCheck(step, promise, number) for promise in _PER_EXAMPLE for number in range(len(step.examples))
    ]
    return [*(StepCheck(step, promise, 0) for promise in _ONCE), *for_each]


def check_step(step: type[Step]) -> None:
    """Try every promise of a step, one after the other.

    Raises
    ------
    AssertionError
        The first that it does not keep.
    """
    for check in step_checks(step):
        try:
            check()
        except AssertionError as error:
            raise AssertionError(f"{check}: {error}") from error


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise AssertionError(what)


# -- a step on an image that can be cut -----------------------------------------------------


@dataclass(frozen=True)
class _Case:
    """A resolved step on an image that is larger than its halo."""

    step: Step
    spec: ImageSpec
    halo: dict[str, int]

    def apply(self, block: NDArray, origin: tuple[int, ...] | None = None) -> NDArray:
        return apply_step(self.step, block, self.spec.axes, origin or (0,) * block.ndim)

    def block(self, image: NDArray, region: Region, short: str = "") -> NDArray:
        """Return the result for a region out of the region and its halo alone, 1 px less along `short`."""
        reach = {axis: px - (axis == short) for axis, px in self.halo.items()}
        cut = tuple(
            slice(max(0, part.start - reach.get(axis, 0)), min(size, part.stop + reach.get(axis, 0)))
            for axis, part, size in zip(self.spec.axes, region, self.spec.shape, strict=True)
        )
        out = self.apply(np.ascontiguousarray(image[cut]), origin_of(cut))
        return out[
            tuple(slice(r.start - c.start, r.stop - c.start) for r, c in zip(region, cut, strict=True))
        ]


def _case(step: type[Step], parameters: Parameters, dtype: str = "uint16", thin: bool = False) -> _Case:
    made = step(**parameters)
    axes = in_order("".join({*"tyx", *made.along}))
    halo = made.resolve(ImageSpec(axes, (999,) * len(axes), np.dtype(dtype))).halo()
    sizes = {axis: 2 * halo[axis] + 13 if axis in halo else 2 for axis in axes}
    if not {"y", "x"} <= set(made.along):
        sizes = {axis: size if halo.get(axis) else 7 for axis, size in sizes.items()}
    if thin:
        # Shorter than the halo on all axes but the last that it works along.
        sizes |= {axis: max(2, halo[axis] // 2) for axis in made.along[:-1] if halo[axis]}
    spec = ImageSpec(axes, tuple(sizes.values()), np.dtype(dtype))
    return _Case(made.resolve(spec), spec, halo)


def _cases(step: type[Step], parameters: Parameters) -> Iterator[_Case]:
    """Yield a case for each type of pixels that the step takes."""
    for dtype in SUPPORTED:
        try:
            yield _case(step, parameters, dtype.name)
        except RequestError as error:
            _require(dtype not in USUAL, f"refuses {dtype}: {error}")


def _pixels(spec: ImageSpec, seed: int = 0) -> NDArray:
    """Return an image with all that trips filters: gradients, noise, isolated extreme pixels."""
    rng = np.random.default_rng(seed)
    limits = np.iinfo(spec.dtype) if spec.dtype.kind != "f" else None
    low, high = (-1e3, 6e4) if limits is None else (int(limits.min), int(limits.max))
    ramp = sum(np.ogrid[tuple(slice(0, 1, size * 1j) for size in spec.shape)]) / len(spec.shape)
    image = low + (high - low) * (0.3 + 0.3 * ramp + 0.1 * rng.random(spec.shape))
    spots = rng.random(spec.shape)
    pixels = np.clip(image, low, high * (1 - 1e-15)).astype(spec.dtype)  # float(2**64 - 1) is 2**64
    return np.where(spots < 0.02, spec.dtype.type(low), np.where(spots > 0.98, spec.dtype.type(high), pixels))


def _islands(case: _Case, seed: int) -> NDArray:
    """Return an image on which the farthest pixel that a filter looks at can decide.

    On a dark image lie bright islands of the sizes that filters look at, each with one dim pixel;
    every second image is turned over. A filter that looks for the darkest pixel then often finds
    the dim one, and another value where this one is cut away.
    """
    rng = np.random.default_rng(seed)
    image = np.zeros(case.spec.shape)
    for _ in range(40):
        dim = []
        island = []
        for axis, size in case.spec.sizes.items():
            start = int(rng.integers(0, size))
            stop = start + int(rng.integers(1, case.halo.get(axis, 0) + 2))
            island.append(slice(start, stop))
            dim.append(int(rng.integers(start, min(stop, size))))
        image[tuple(island)] = rng.integers(50, 90)
        image[tuple(dim)] = rng.integers(5, 45)
    return (100 - image if seed % 2 else image).astype(case.spec.dtype)


def _regions(case: _Case, seed: int) -> Iterator[Region]:
    """Yield blocks that tile the image, cut at odd places along the axes with a halo."""
    rng = np.random.default_rng(seed)
    cuts = []
    for axis, size in case.spec.sizes.items():
        cut = case.halo.get(axis) and size > 2
        inner = sorted({1, *map(int, rng.choice(np.arange(1, size), 2))}) if cut else []
        cuts.append([slice(*pair) for pair in itertools.pairwise([0, *inner, size])])
    return itertools.product(*cuts)


def _agrees(step: Step, block: NDArray, whole: NDArray, largest: float) -> bool:
    """Return whether a block is what the whole image gives: to the bit, or within 1e-6 if not exact."""
    if step.exact:
        return np.array_equal(block, whole)
    return bool(np.abs(block.astype(float) - whole.astype(float)).max() <= 1e-6 * largest)


# -- what each step promises ----------------------------------------------------------------


def _blocks_equal_the_whole(step: type[Step], parameters: Parameters) -> None:
    thin = _case(step, parameters, thin=True)
    for case, seeds in [
        (thin, 3),
        *((case, 3 if case.spec.dtype == np.uint16 else 1) for case in _cases(step, parameters)),
    ]:
        for seed in range(seeds):
            image = _pixels(case.spec, seed)
            whole, largest = case.apply(image), float(np.abs(image.astype(float)).max())
            _require(whole.shape == image.shape, f"gives {whole.shape} for {image.shape}")
            for region in _regions(case, seed):
                same = _agrees(case.step, case.block(image, region), whole[region], largest)
                _require(same, f"the block {region} of {case.spec} is another than in the whole image")


def _a_smaller_halo_is_not_enough(step: type[Step], parameters: Parameters) -> None:
    case = _case(step, parameters)
    if not case.step.exact:
        return  # a Gaussian's farthest pixel weighs next to nothing
    for axis in [axis for axis, px in case.halo.items() if px]:
        seen = any(
            not np.array_equal(case.block(image, region, short=axis), whole[region])
            for seed in range(200)
            for image in (_islands(case, seed), _pixels(case.spec, seed))
            for whole in [case.apply(image)]
            for region in _regions(case, seed)
        )
        _require(seen, f"a halo of {case.halo[axis] - 1} px along {axis} is enough")


def _the_reference_agrees(step: type[Step], parameters: Parameters) -> None:
    for dtype, thin in itertools.product(("uint16", "int16", "float32", "float64"), (False, True)):
        case = _case(step, parameters, dtype, thin)
        image = _pixels(case.spec)
        result, expected = case.apply(image), case.step.reference(image, case.spec.axes)
        np.testing.assert_array_equal(image, _pixels(case.spec), "the reference changed its input")
        _require(result.shape == expected.shape, f"the reference gives {expected.shape}")
        if case.step.exact:
            _require(result.dtype == expected.dtype, f"the reference gives {expected.dtype}")
            np.testing.assert_array_equal(result, expected)
        else:
            _require(expected.dtype == np.float64, f"the reference gives {expected.dtype}, not float64")
            wide = image.astype(float)
            allowed = case.step.accuracy * np.ptp(wide) + 1e-6 * np.abs(wide).max()
            far = np.abs(result - expected).max()
            _require(bool(far <= allowed), f"{far:g} from the reference, and {allowed:g} are allowed")


def _the_reference_is_another_way(step: type[Step], parameters: Parameters) -> None:
    case = _case(step, parameters)
    used = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if frame.f_code is step.apply.__code__ or (_KERNELS in path.parents and path.stem != "dtypes"):
            used.add(frame.f_code.co_name)

    image, before = _pixels(case.spec), sys.getprofile()
    sys.setprofile(note)
    try:
        case.step.reference(image, case.spec.axes)
    finally:
        sys.setprofile(before)
    _require(not used, f"the reference calls what it is to check: {', '.join(sorted(used))}")


def _dtype_and_range_are_as_declared(step: type[Step], parameters: Parameters) -> None:
    for case in _cases(step, parameters):
        image = _pixels(case.spec)
        result = case.apply(image)
        low, high = case.step.value_range(image.min().item(), image.max().item())
        declared = case.step.out_dtype(image.dtype)
        _require(result.dtype == declared, f"gives {result.dtype} for {image.dtype} and declares {declared}")
        # Rounding in the result's own type is not the step's fault.
        slack = 1e-6 * max(abs(low), abs(high)) if declared.kind == "f" else 0
        least, most = result.min().item(), result.max().item()
        _require(
            low - slack <= least <= most <= high + slack, f"gives {least} to {most}, beyond {low} to {high}"
        )
        if declared.kind != "f":
            info = np.iinfo(declared)
            _require(info.min <= low <= high <= info.max, f"{declared} does not hold {low} to {high}")


def _the_input_is_not_changed(step: type[Step], parameters: Parameters) -> None:
    case = _case(step, parameters)
    image = _pixels(case.spec)
    image.flags.writeable = False
    expected = case.apply(image)
    np.testing.assert_array_equal(image, _pixels(case.spec), "the input was changed")
    _require(not np.shares_memory(expected, image), "the result is a view of the input")
    for view in (np.asfortranarray(image), np.repeat(image, 2, axis=-1)[..., ::2]):
        np.testing.assert_array_equal(case.apply(view), expected, "another result for other strides")


def _scratch_and_halo_are_whole_numbers(step: type[Step], parameters: Parameters) -> None:
    case = _case(step, parameters)
    scratch = case.step.working_bytes(case.spec.shape, case.spec.dtype, case.spec.axes)
    _require(isinstance(scratch, int) and scratch >= 0, f"working_bytes gives {scratch!r}")
    _require(set(case.halo) == set(case.step.along), f"halo is for {set(case.halo)}, along {case.step.along}")
    whole = all(isinstance(px, int) and px >= 0 for px in case.halo.values())
    _require(whole, f"halo gives {case.halo}")


def _other_channels_pass_untouched(step: type[Step], parameters: Parameters) -> None:
    axes = in_order("".join({*"cyx", *step(**parameters).along}))
    shape = tuple(3 if axis == "c" else 30 for axis in axes)
    channels = (Channel("a"), Channel("b"), Channel("d"))
    spec = ImageSpec(axes, shape, np.dtype("uint16"), channels=channels)
    image, origin, at = _pixels(spec), (0,) * len(axes), axes.index("c")
    one = step(**{**parameters, "channels": ["b"]}).resolve(spec)
    result = apply_step(one, image, axes, origin)
    everywhere = apply_step(step(**parameters).resolve(spec), image, axes, origin)
    same = _agrees(one, result.take(1, at), everywhere.take(1, at), float(image.max()))
    _require(same, "a channel by itself comes out different")
    for channel in (0, 2):
        np.testing.assert_array_equal(result.take(channel, at), image.take(channel, at))


def _the_background_is_where_the_step_says(step: type[Step], parameters: Parameters) -> None:
    if step.background is None:
        return
    case = _case(step, parameters)
    middle = tuple(size // 2 for size in case.spec.shape)

    def one_pixel(value: int) -> tuple[NDArray, NDArray]:
        image = np.full(case.spec.shape, 100, np.uint16)
        image[middle] = value
        return image, case.apply(image)

    # Of a bright and a dark pixel the one that the step keeps as bright.
    image, result = max(map(one_pixel, (150, 50)), key=lambda pair: float(pair[1][middle]))
    unevenness = np.ptp(difference(step.background, image, result))
    _require(
        bool(unevenness <= 20), f"{step.background} varies by {unevenness:g} where the background is even"
    )


def _survives_yaml_and_pickle(step: type[Step], parameters: Parameters) -> None:
    made, case = step(**parameters), _case(step, parameters)
    _require(step(**_through_yaml(made)) == made, "is another step when it comes back from YAML")
    for value in (made, case.step):
        _require(pickle.loads(pickle.dumps(value)) == value, "is another step when it was pickled")
    _require(case.step.resolve(case.spec) == case.step, "a step in px changes when it is resolved again")


def _through_yaml(step: Step) -> Parameters:
    text = StringIO()
    YAML(typ="safe").dump(step.model_dump(mode="json"), text)
    return dict(YAML(typ="safe").load(text.getvalue()))


def _units_mean_the_same_pixels(step: type[Step], parameters: Parameters) -> None:
    made = step(**parameters)
    axes = in_order("".join({*"tyx", *made.along}))
    units = {axis: "second" if axis == "t" else "micrometer" for axis in axes}
    spec = ImageSpec(
        axes, (99,) * len(axes), np.dtype("uint16"), scale=dict.fromkeys(axes, 0.325), units=units
    )
    in_px = made.resolve(spec)
    physical = {
        length: {
            axis: f"{px * 0.325} {'s' if axis == 't' else 'um'}" if px else 0
            for axis, px in zip(made.along, in_px.pixels(length, made.along), strict=True)
        }
        for length in made.lengths
    }
    other = step(**{**parameters, **physical})
    _require(other.resolve(spec).halo() == in_px.halo(), f"looks elsewhere with {physical}")
    _require(step(**_through_yaml(other)) == other, "lengths with units come back otherwise from YAML")


def _cannot_be_changed_or_misspelt(step: type[Step], parameters: Parameters) -> None:
    made = step(**parameters)
    for mistake in (lambda: setattr(made, "along", "t"), lambda: step(**{**parameters, "raduis": 3})):
        try:
            mistake()
        except RequestError:
            continue
        raise AssertionError("can be changed once it is made, or takes parameters that it does not have")


def _says_where_its_background_is(step: type[Step], _: Parameters) -> None:
    _require("background" in vars(step), "does not say what is the background, or None")


def _docstring_names_shapes_units_errors_and_source(step: type[Step], parameters: Parameters) -> None:
    text = inspect.getdoc(step) or ""
    sections = dict(re.findall(r"^(\w+)\n-{3,}\n(.*?)(?=^\w+\n-{3,}\n|\Z)", text, re.MULTILINE | re.DOTALL))
    missing = {"Parameters", "Returns", "Raises", "References", "Examples"} - set(sections)
    _require(not missing, f"the docstring has no {', '.join(sorted(missing))}")
    described = {name for names, _ in described_parameters(text) for name in names}
    undescribed = set(step.model_fields) - described
    _require(not undescribed, f"the docstring does not describe {', '.join(sorted(undescribed))}")
    wanted = {**_WORDS, **({"Parameters": "px"} if step(**parameters).lengths else {})}
    for section, words in wanted.items():
        _require(bool(re.search(words, sections[section])), f"{section} of the docstring lacks {words}")


_WORDS = {
    "Returns": r"Shape[\s\S]*(float|type)",
    "Raises": "RequestError",
    "References": "scipy|skimage|,",
}
_ONCE = (
    _cannot_be_changed_or_misspelt,
    _says_where_its_background_is,
    _docstring_names_shapes_units_errors_and_source,
)
_PER_EXAMPLE = (
    _blocks_equal_the_whole,
    _a_smaller_halo_is_not_enough,
    _the_reference_agrees,
    _the_reference_is_another_way,
    _dtype_and_range_are_as_declared,
    _the_input_is_not_changed,
    _scratch_and_halo_are_whole_numbers,
    _other_channels_pass_untouched,
    _the_background_is_where_the_step_says,
    _survives_yaml_and_pickle,
    _units_mean_the_same_pixels,
)
