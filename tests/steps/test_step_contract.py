"""What every step promises, tried on every step of the registry and each of its examples.

A new step is covered by being registered; its own oracle goes into a test file of its own.
"""

import importlib
import inspect
import itertools
import pickle
import re
from dataclasses import dataclass, field
from io import StringIO
from typing import get_args

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline.kernels.dtypes import SUPPORTED
from pipeline.model.axes import ORDER
from pipeline.model.errors import RequestError
from pipeline.model.image import Channel, ImageSpec
from pipeline.steps.background import difference
from pipeline.steps.chain import apply_step
from pipeline.steps.contract import Background
from pipeline.steps.flat import FlatStep
from pipeline.steps.registry import REGISTRY
from pipeline.steps.step import Step

DTYPES = [dtype.name for dtype in SUPPORTED]


@dataclass(frozen=True)
class Case:
    """A step on an image that is larger than its halo, so that blocks can be cut."""

    step: Step
    spec: ImageSpec
    halo: dict[str, int] = field(default_factory=dict)

    @property
    def axes(self) -> str:
        return self.spec.axes

    def apply(self, block, origin=None):
        return apply_step(self.step, block, self.axes, origin or (0,) * block.ndim)

    def around(self, region, short=None):
        """Return a region with its halo, clipped at the image's border; 1 px short along `short`."""
        reach = {axis: px - (axis == short) for axis, px in self.halo.items()}
        return tuple(
            slice(max(0, part.start - reach.get(axis, 0)), min(size, part.stop + reach.get(axis, 0)))
            for axis, part, size in zip(self.axes, region, self.spec.shape, strict=True)
        )

    def block(self, image, region, short=None):
        """Return the result for one region, worked out from the region and its halo alone."""
        cut = self.around(region, short)
        out = self.apply(np.ascontiguousarray(image[cut]), tuple(part.start for part in cut))
        return out[
            tuple(slice(r.start - c.start, r.stop - c.start) for r, c in zip(region, cut, strict=True))
        ]


def make_case(name, parameters, dtype="uint16", thin=False):
    step = REGISTRY[name](**parameters)
    axes = "".join(axis for axis in ORDER if axis in "tyx" + step.along)
    large = step.resolve(ImageSpec(axes, (999,) * len(axes), np.dtype(dtype)))
    halo = large.halo()
    sizes = {axis: 2 * halo[axis] + 13 if axis in halo else 2 for axis in axes}
    if not {"y", "x"} <= set(step.along):
        sizes = {axis: size if halo.get(axis) else 7 for axis, size in sizes.items()}
    if thin:
        # Shorter than the halo on all axes but the last that it works along.
        sizes |= {axis: max(2, halo[axis] // 2) for axis in step.along[:-1] if halo[axis]}
    spec = ImageSpec(axes, tuple(sizes[axis] for axis in axes), np.dtype(dtype))
    return Case(step.resolve(spec), spec, halo)


LARGER_MAXIMUM = {"minimum_size": 3, "maximum_size": 7}
EXAMPLES = [
    pytest.param(name, parameters, id=f"{name}-{number}")
    for name, step in sorted(REGISTRY.items())
    for number, parameters in enumerate(step.examples)
]
# A fitted step needs more than a halo, so only local ones are cut into blocks.
LOCAL = [example for example in EXAMPLES if REGISTRY[example.values[0]].kind == "local"]
every_local_example = pytest.mark.parametrize(("name", "parameters"), LOCAL)
every_example = pytest.mark.parametrize(("name", "parameters"), EXAMPLES)
every_step = pytest.mark.parametrize("step", REGISTRY.values(), ids=list(REGISTRY))


def pixels(spec, seed=0):
    """Return an image with all that trips filters: gradients, noise, isolated extreme pixels."""
    rng = np.random.default_rng(seed)
    low, high = (
        (-1e3, 6e4) if spec.dtype.kind == "f" else (np.iinfo(spec.dtype).min, np.iinfo(spec.dtype).max)
    )
    ramp = sum(np.ogrid[tuple(slice(0, 1, size * 1j) for size in spec.shape)]) / len(spec.shape)
    image = low + (high - low) * (0.3 + 0.3 * ramp + 0.1 * rng.random(spec.shape))
    spots = rng.random(spec.shape)
    pixels = np.clip(image, low, high * (1 - 1e-15)).astype(spec.dtype)  # float(2**64 - 1) is 2**64
    return np.where(spots < 0.02, spec.dtype.type(low), np.where(spots > 0.98, spec.dtype.type(high), pixels))


def regions(spec, halo, seed):
    """Yield blocks that tile the image, cut at odd places along the axes with a halo."""
    rng = np.random.default_rng(seed)
    cuts = []
    for axis, size in zip(spec.axes, spec.shape, strict=True):
        inner = (
            sorted({1, *rng.choice(np.arange(1, size), 2)} - {0, size}) if halo.get(axis) and size > 2 else []
        )
        cuts.append([slice(*pair) for pair in itertools.pairwise([0, *map(int, inner), size])])
    return itertools.product(*cuts)


def agree(step, block, whole, largest):
    """Whether a block is what the whole image gives: to the bit, or within 1e-6 for linear filters."""
    if isinstance(step, FlatStep):
        return np.array_equal(block, whole)
    return np.abs(block.astype(float) - whole.astype(float)).max() <= 1e-6 * largest


def test_the_registry_is_not_empty_and_every_step_has_examples():
    assert len(REGISTRY) >= 7
    assert [name for name, step in REGISTRY.items() if not step.examples] == []


@every_local_example
@pytest.mark.parametrize("thin", [False, True], ids=["thick", "thin"])
def test_blockwise_equals_whole(name, parameters, thin):
    case = make_case(name, parameters, thin=thin)
    for seed in range(3):
        image = pixels(case.spec, seed)
        whole, largest = case.apply(image), np.abs(image.astype(float)).max()
        assert whole.shape == image.shape
        for region in regions(case.spec, case.halo, seed):
            assert agree(case.step, case.block(image, region), whole[region], largest), (seed, region)


@every_local_example
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_blockwise_equals_whole_in_other_dtypes(name, parameters, dtype):
    case = make_case(name, parameters, dtype)
    image = pixels(case.spec)
    whole, largest = case.apply(image), np.abs(image.astype(float)).max()
    for region in regions(case.spec, case.halo, 5):
        assert agree(case.step, case.block(image, region), whole[region], largest), region


@every_example
@pytest.mark.parametrize("thin", [False, True], ids=["thick", "thin"])
@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "float64"])
def test_the_result_is_that_of_scikit_image_and_scipy(name, parameters, dtype, thin):
    case = make_case(name, parameters, dtype, thin=thin)
    image = pixels(case.spec)
    before = image.copy()
    found, expected = case.apply(image), case.step.reference(image, case.axes)
    np.testing.assert_array_equal(image, before)
    assert found.shape == expected.shape
    if case.step.accuracy == 0:
        assert expected.dtype == found.dtype
        np.testing.assert_array_equal(found, expected)
    else:
        assert expected.dtype == np.float64
        far = np.abs(found - expected).max()
        assert (
            far <= case.step.accuracy * np.ptp(image.astype(float)) + 1e-6 * np.abs(image.astype(float)).max()
        )


@every_step
def test_the_reference_uses_no_kernel(step, monkeypatch):
    case = make_case(step.name, step.examples[0])
    image = pixels(case.spec)
    expected = case.step.reference(image, case.axes)
    for module in ("morphology", "gaussian"):
        kernels = importlib.import_module(f"pipeline.kernels.{module}")
        for name in [name for name, value in vars(kernels).items() if inspect.isfunction(value)]:
            monkeypatch.setattr(kernels, name, None)
    with pytest.raises(TypeError):
        case.apply(image)
    np.testing.assert_array_equal(case.step.reference(image, case.axes), expected)


def islands(case, seed):
    """Return an image on which the farthest pixel that a filter looks at can decide.

    On a dark image lie bright islands of the sizes that filters look at, each with one dim pixel;
    every second image is turned over. A filter that looks for the darkest pixel then often finds
    the dim one, and another value where this one is cut away.
    """
    rng = np.random.default_rng(seed)
    image = np.zeros(case.spec.shape)
    for _ in range(40):
        island = [
            slice(at, at + rng.integers(1, case.halo.get(axis, 0) + 2))
            for axis, size in zip(case.axes, case.spec.shape, strict=True)
            for at in [int(rng.integers(0, size))]
        ]
        image[tuple(island)] = rng.integers(50, 90)
        bounds = [
            (part.start, min(part.stop, size)) for part, size in zip(island, case.spec.shape, strict=True)
        ]
        image[tuple(int(rng.integers(*bound)) for bound in bounds)] = rng.integers(5, 45)
    return (100 - image if seed % 2 else image).astype(case.spec.dtype)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [example for example in LOCAL if issubclass(REGISTRY[example.values[0]], FlatStep)],
)
def test_a_halo_one_short_is_not_enough_for_rank_filters(name, parameters):
    case = make_case(name, parameters)
    for axis in [axis for axis, px in case.halo.items() if px]:
        assert any(
            not np.array_equal(case.block(image, region, short=axis), whole[region])
            for seed in range(200)
            for image in [islands(case, seed)]
            for whole in [case.apply(image)]
            for region in regions(case.spec, case.halo, seed)
        ), f"a halo of {case.halo[axis] - 1} px along {axis} is enough"


@every_example
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype_and_range_are_as_declared(name, parameters, dtype):
    if (name, dtype[-2:]) == ("subtract_opening", "64") and "int" in dtype and parameters == LARGER_MAXIMUM:
        with pytest.raises(RequestError, match="more than 64 bits"):
            make_case(name, parameters, dtype)
        return
    case = make_case(name, parameters, dtype)
    image = pixels(case.spec)
    result = case.apply(image)
    low, high = case.step.value_range(image.min().item(), image.max().item())
    declared = case.step.out_dtype(image.dtype)
    assert result.dtype == declared
    assert result.shape == image.shape
    # Rounding in the result's own type is not the step's fault.
    slack = 1e-6 * max(abs(low), abs(high)) if declared.kind == "f" else 0
    assert low - slack <= result.min().item()
    assert result.max().item() <= high + slack
    if declared.kind != "f":
        assert np.iinfo(declared).min <= low
        assert high <= np.iinfo(declared).max


@every_example
def test_the_block_is_not_changed_and_need_not_be_contiguous(name, parameters):
    case = make_case(name, parameters)
    image = pixels(case.spec)
    before = image.copy()
    image.flags.writeable = False
    expected = case.apply(image)
    np.testing.assert_array_equal(image, before)
    assert not np.shares_memory(expected, image)
    for view in (np.asfortranarray(image), np.repeat(image, 2, axis=-1)[..., ::2]):
        assert not view.flags.c_contiguous
        np.testing.assert_array_equal(case.apply(view), expected)


@every_example
def test_working_bytes_and_halo_are_whole_numbers(name, parameters):
    case = make_case(name, parameters)
    scratch = case.step.working_bytes(case.spec.shape, case.spec.dtype, case.axes)
    assert isinstance(scratch, int)
    assert scratch >= 0
    assert set(case.halo) == set(case.step.along)
    assert all(isinstance(px, int) and px >= 0 for px in case.halo.values())
    assert any(case.halo.values())


@every_example
def test_channels_that_are_not_named_pass_untouched(name, parameters):
    step = REGISTRY[name](**parameters, channels=["b"])
    if "z" in step.along or "t" in step.along:
        spec_axes = "".join(axis for axis in ORDER if axis in "cyx" + step.along)
    else:
        spec_axes = "cyx"
    shape = tuple(3 if axis == "c" else 30 for axis in spec_axes)
    spec = ImageSpec(
        spec_axes, shape, np.dtype("uint16"), channels=(Channel("a"), Channel("b"), Channel("d"))
    )
    case, alone = Case(step.resolve(spec), spec), REGISTRY[name](**parameters).resolve(spec)
    image = pixels(spec)
    result, everywhere = case.apply(image), alone.apply(image, spec_axes, (0,) * len(shape))
    axis = spec_axes.index("c")
    for channel in range(3):
        found = result.take(channel, axis)
        if channel == 1:
            assert agree(step, found, everywhere.take(channel, axis), image.max())
        else:
            np.testing.assert_array_equal(found, image.take(channel, axis))


@every_example
def test_the_background_is_where_the_step_says_and_nowhere_where_it_says_none(name, parameters):
    case = make_case(name, parameters)
    middle = tuple(size // 2 for size in case.spec.shape)

    def one_pixel(value):
        image = np.full(case.spec.shape, 100, np.uint16)
        image[middle] = value
        return image, case.apply(image)

    # Of a bright and a dark pixel the one that the step keeps as bright.
    image, result = max(map(one_pixel, (150, 50)), key=lambda pair: float(pair[1][middle]))
    looks_even = {
        kind for kind in get_args(Background) if np.allclose(difference(kind, image, result), 100, atol=20)
    }
    assert looks_even == ({case.step.background} - {None})


@every_step
def test_each_step_says_of_itself_where_its_background_is(step):
    assert "background" in vars(step)


def through_yaml(plain):
    text = StringIO()
    YAML(typ="safe").dump(plain, text)
    return YAML(typ="safe").load(text.getvalue())


@every_example
def test_steps_survive_yaml_and_pickle(name, parameters):
    step = REGISTRY[name](**parameters)
    assert step.name == name
    plain = step.model_dump(mode="json")
    assert type(step)(**through_yaml(plain)) == step
    assert type(step)(**parameters) == step
    resolved = make_case(name, parameters).step
    for value in (step, resolved):
        assert pickle.loads(pickle.dumps(value)) == value
    # A step that is already in px stays as it is.
    spec = make_case(name, parameters).spec
    assert resolved.resolve(spec) == resolved


@every_example
def test_lengths_with_units_mean_the_same_pixels(name, parameters):
    step = REGISTRY[name](**parameters)
    sizes = dict.fromkeys(ORDER, 99)
    axes = "".join(axis for axis in ORDER if axis in "tyx" + step.along)
    units = {axis: "second" if axis == "t" else "micrometer" for axis in axes}
    shape = tuple(sizes[axis] for axis in axes)
    spec = ImageSpec(axes, shape, np.dtype("uint16"), scale=dict.fromkeys(axes, 0.325), units=units)
    in_px = step.resolve(spec)
    physical = {}
    for length in step.lengths:
        by_axis = dict(zip(step.along, in_px.pixels(length, step.along), strict=True))
        physical[length] = {
            axis: f"{px * 0.325} {'s' if axis == 't' else 'um'}" if px else 0 for axis, px in by_axis.items()
        }
    other = REGISTRY[name](**{**parameters, **physical})
    assert other.resolve(spec).halo() == in_px.halo()
    assert type(step)(**through_yaml(other.model_dump(mode="json"))) == other


@every_step
def test_steps_cannot_be_changed_and_refuse_unknown_fields(step):
    made = step(**step.examples[0])
    with pytest.raises(RequestError, match="cannot be changed"):
        made.along = "t"
    with pytest.raises(RequestError, match="no such key"):
        step(**step.examples[0], raduis=3)


@every_step
def test_docstrings_name_shapes_units_errors_and_source(step):
    text = inspect.cleandoc(step.__doc__ or "")
    sections = dict(re.findall(r"^(\w+)\n-{3,}\n(.*?)(?=^\w+\n-{3,}\n|\Z)", text, re.MULTILINE | re.DOTALL))
    assert {"Parameters", "Returns", "Raises", "References", "Examples"} <= set(sections)
    for name in step.model_fields:
        assert re.search(rf"\b{name}\b", sections["Parameters"]), f"{name} is not in the docstring"
    for words, section in (("px", "Parameters"), ("Shape", "Returns"), ("RequestError", "Raises")):
        assert words in sections[section]
    assert re.search(r"float|type", sections["Returns"])
    assert re.search(r"scipy|skimage|,", sections["References"])
