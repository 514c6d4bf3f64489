"""What every step promises, tried on every step of the registry: a new one is covered by being registered."""

import pytest

from pipeline import SubtractMinimum, SubtractOpening
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.steps import REGISTRY
from pipeline.testing import check_step, step_checks


@pytest.mark.parametrize(
    "check", [check for step in REGISTRY.values() for check in step_checks(step)], ids=str
)
def test_every_step_keeps_the_contract(check):
    check()


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_a_difference_of_more_than_64_bits_is_refused(dtype):
    step = SubtractOpening(minimum_size=3, maximum_size=7)
    with pytest.raises(RequestError, match="more than 64 bits"):
        step.resolve(ImageSpec("yx", (99, 99), dtype))


# -- the checks themselves --------------------------------------------------------------------


def shorter(self):
    return {axis: px - 1 for axis, px in SubtractMinimum.halo(self).items()}


def longer(self):
    return {axis: px + 1 for axis, px in SubtractMinimum.halo(self).items()}


def changing(self, block, axes, origin):
    block[...] = 0
    return block


def by_itself(self, image, axes):
    return self.apply(image, axes, (0,) * image.ndim)


FAULTS = {
    "blocks_equal_the_whole": {"halo": shorter},
    "a_smaller_halo_is_not_enough": {"halo": longer},
    "the_reference_agrees": {"reference": lambda self, image, axes: image},
    "the_reference_is_another_way": {"reference": by_itself},
    "dtype_and_range_are_as_declared": {"value_range": lambda self, low, high: (0, 1)},
    "the_input_is_not_changed": {"apply": changing},
    "scratch_and_halo_are_whole_numbers": {"working_bytes": lambda self, shape, dtype, axes: 0.5},
    "the_background_is_where_the_step_says": {"background": "input plus result"},
    "survives_yaml_and_pickle": {"model_dump": lambda self, mode: {"size": 7}},
    "units_mean_the_same_pixels": {
        "round_length": lambda self, name, px, given: px if given.unit == "px" else 9
    },
    "says_where_its_background_is": {},
    "docstring_names_shapes_units_errors_and_source": {"__doc__": "Subtract something."},
}


@pytest.mark.parametrize("promise", FAULTS)
def test_a_step_that_breaks_a_promise_is_told_which(promise):
    # Not by a class statement, which would register it.
    members = {"__module__": __name__, "__doc__": SubtractMinimum.__doc__, **FAULTS[promise]}
    faulty = type(SubtractMinimum)("Faulty", (SubtractMinimum,), members)
    checks = [check for check in step_checks(faulty) if f"-{promise}" in str(check)]
    # Writing into an input that may not be written to is NumPy's ValueError.
    with pytest.raises((AssertionError, ValueError)):
        [check() for check in checks]


def test_a_step_that_is_not_whole_is_told_what_it_lacks():
    members = {"__module__": __name__, "examples": ({"size": 3},), "apply": SubtractMinimum.apply}
    part = type(SubtractMinimum)("Part", (SubtractMinimum.__mro__[2],), members)
    with pytest.raises(AssertionError, match=r"Part does not define halo, out_dtype, reference"):
        check_step(part)
