"""Parameters of the steps: what each takes, what each refuses, and in what words; no pixel is computed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.chain import parse_chain
from pipeline.model.errors import RequestError
from pipeline.model.image import Channel, ImageSpec
from pipeline.model.units import Quantity, ratio
from pipeline.steps.registry import REGISTRY

RADIUS = ("white_tophat", "black_tophat")
SIGMA = ("gaussian", "subtract_gaussian")
SPEC = ImageSpec(
    "tczyx", (30, 2, 9, 200, 300), np.dtype("uint16"),
    scale={"t": 30, "z": 2, "y": 0.325, "x": 0.325},
    units={"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"},
    channels=(Channel("GFP"), Channel("RFP")),
)  # fmt: skip


def made(name, **parameters):
    (step,), problems = parse_chain([{name: parameters}])
    assert not problems
    return step


def refused(name, **parameters):
    """Return the fields and texts of what is wrong, with the class itself refusing it too."""
    steps, problems = parse_chain([{name: parameters}])
    assert not steps
    with pytest.raises(RequestError) as caught:
        REGISTRY[name](**parameters)
    class_name = REGISTRY[name].__name__
    told = {str(problem).removeprefix("steps.0") for problem in problems}
    assert {str(problem).removeprefix(class_name) for problem in caught.value.problems} == told
    return {problem.field.removeprefix("steps.0").lstrip("."): str(problem) for problem in problems}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        *((name, {"radius", "footprint", "size"}) for name in RADIUS),
        ("subtract_minimum", {"size"}),
        ("subtract_opening", {"minimum_size", "maximum_size"}),
        ("difference_of_gaussians", {"low_sigma", "high_sigma", "mode", "truncate"}),
        *((name, {"sigma", "mode", "truncate"}) for name in SIGMA),
    ],
)
def test_the_parameters_are_those_of_the_contract(name, fields):
    assert set(REGISTRY[name].model_fields) == fields | {"along", "channels"}


def test_defaults_are_those_of_the_contract():
    step = made("difference_of_gaussians", low_sigma=1, high_sigma=2)
    assert (step.along, step.channels, step.mode, step.truncate) == ("yx", None, "nearest", 4)
    assert made("white_tophat", radius=2).resolve(SPEC).footprints("yx")[0].shape == "disk"
    assert made("white_tophat", size=5).resolve(SPEC).footprints("yx")[0].shape == "box"


@pytest.mark.parametrize("name", RADIUS)
@pytest.mark.parametrize(
    "radius",
    [0, -1, 0.5, float("nan"), float("inf"), "3", "", "8", "um", "8 parsec", "1e999 um", "-8 um", "0 um",
     True, [3, 3], {}, {"y": 0, "x": 0}, 10**400, "0.5 px"],
)  # fmt: skip
def test_a_radius_that_is_none_is_refused(name, radius):
    assert any(field.startswith("radius") for field in refused(name, radius=radius))


@pytest.mark.parametrize(
    "radius", [1, 2.5, 10**9, "8 um", "8um", "3 px", "1e1 µm", {"y": 3, "x": "2 um"}, {"y": 0, "x": 1}]
)
def test_a_radius_that_makes_sense_on_some_image_is_taken(radius):
    made("white_tophat", radius=radius)


@pytest.mark.parametrize(
    "size", [0, -3, 4, 3.5, 1, "5", {"y": 1, "x": 1}, {"y": 4, "x": 5}, "0 um", float("nan")]
)
def test_a_size_that_is_not_odd_is_refused(size):
    for name, field in (
        ("subtract_minimum", "size"),
        ("white_tophat", "size"),
        ("subtract_opening", "minimum_size"),
    ):
        if size == 1 and name == "subtract_opening":
            continue
        rest = {"maximum_size": 5} if name == "subtract_opening" else {}
        assert any(where.startswith(field) for where in refused(name, **{field: size}, **rest))


def test_the_odd_sizes_beside_a_wrong_one_are_told():
    assert "give 23 or 25" in refused("subtract_minimum", size=24)["size"]
    assert "give 3 or 5" in refused("subtract_minimum", size=4.5)["size"]


def test_one_size_of_an_opening_may_be_the_pixel_itself_but_not_both():
    step = made("subtract_opening", minimum_size=1, maximum_size=3)
    assert step.resolve(SPEC).halo() == {"y": 1, "x": 1}
    with pytest.raises(RequestError, match="pixel itself"):
        made("subtract_opening", minimum_size=1, maximum_size=1).resolve(SPEC)


def test_a_tophat_takes_a_radius_or_a_size():
    assert "neither a radius nor a size" in refused("white_tophat")[""]
    assert "both a radius and a size" in refused("white_tophat", radius=3, size=3)[""]
    assert "radius for a disk" in refused("white_tophat", size=3, footprint="disk")[""]


@pytest.mark.parametrize("name", SIGMA)
@pytest.mark.parametrize("sigma", [0, -1, float("nan"), "2", {"y": 0, "x": 0}, {"y": 2, "x": -1}, None])
def test_a_sigma_that_smooths_nothing_is_refused(name, sigma):
    assert any(field.startswith("sigma") for field in refused(name, sigma=sigma))


def test_a_sigma_may_be_0_on_one_axis():
    assert made("gaussian", sigma={"y": 0, "x": 3}).resolve(SPEC).halo() == {"y": 0, "x": 12}


@pytest.mark.parametrize(
    ("low", "high"),
    [(3, 3), (30, 3), ("3 um", "3 um"), ("3 um", "300 nm"), ({"y": 1, "x": 5}, 3), (3, {"y": 9, "x": 3}),
     ({"y": 3, "x": 3}, {"y": 4, "x": 2})],
)  # fmt: skip
def test_a_low_sigma_that_is_not_below_the_high_one_is_refused(low, high):
    assert "not below" in refused("difference_of_gaussians", low_sigma=low, high_sigma=high)["low_sigma"]


@pytest.mark.parametrize(("low", "high"), [(0, 3), (1, "3 um"), ("300 nm", "3 um"), ({"y": 0, "x": 0}, 3)])
def test_sigmas_in_order_are_taken(low, high):
    made("difference_of_gaussians", low_sigma=low, high_sigma=high).resolve(SPEC)


def test_sigmas_that_turn_out_of_order_on_the_image_are_refused_there():
    step = made("difference_of_gaussians", low_sigma=10, high_sigma="3 um")
    with pytest.raises(RequestError, match=r"low_sigma: 10 px is not below high_sigma, 9\.231 px"):
        step.resolve(SPEC)


@pytest.mark.parametrize(
    ("along", "words"),
    [
        ("", "names no axis"),
        ("q", "names an axis 'q'"),
        ("cyx", "cannot work along c"),
        ("yy", "twice"),
        (5, "not a text"),
    ],
)
def test_axes_that_a_step_cannot_work_along(along, words):
    assert words in refused("gaussian", sigma=1, along=along)["along"]


def test_along_is_put_in_order():
    assert made("gaussian", sigma=1, along="xyz").along == "zyx"


@pytest.mark.parametrize(
    ("channels", "words"),
    [([], "names no channel"), ([0, 0], "twice"), ([-1], "-1"), ("GFP", "write it as [GFP]")],
)
def test_channels_that_name_nothing(channels, words):
    assert words in refused("gaussian", sigma=1, channels=channels)["channels"]


def test_a_channel_that_is_neither_a_name_nor_an_index():
    found = refused("gaussian", sigma=1, channels=["GFP", 1.5, True])
    assert set(found) == {"channels.1", "channels.2"}
    assert "a text or a whole number" in found["channels.1"]


@pytest.mark.parametrize(
    ("parameters", "field", "words"),
    [
        ({"sigma": {"y": 2}}, "sigma", "for the axes y and the step works along 'yx'"),
        ({"sigma": {"y": 2, "x": 2, "z": 1}}, "sigma", "works along 'yx'"),
        ({"sigma": {"y": 2, "x": 2}, "along": "zyx"}, "sigma", "works along 'zyx'"),
        ({"sigma": "8 um", "along": "t"}, "sigma", "a length, and t is time"),
        ({"sigma": "8 um", "along": "tyx"}, "sigma", "a length, and t is time"),
        ({"sigma": "8 s"}, "sigma", "a time, and y is a length"),
        ({"sigma": {"y": "8 um", "x": "3 min"}}, "sigma.x", "a time, and x is a length"),
    ],
)
def test_lengths_that_do_not_fit_the_axes(parameters, field, words):
    assert words in refused("gaussian", **parameters)[field]


def test_every_wrong_length_of_a_step_is_told():
    found = refused("white_tophat", radius={"y": -1, "x": "abc", "z": True}, footprint="disc", along="q")
    assert set(found) == {"radius.x", "radius.z", "footprint", "along"}
    assert set(refused("white_tophat", radius={"y": -1, "x": 0.5})) == {"radius.y", "radius.x"}


@pytest.mark.parametrize("truncate", [0, -1, 21, float("nan"), float("inf"), "4", True, None])
def test_a_truncate_out_of_range_is_refused(truncate):
    assert "truncate" in refused("gaussian", sigma=1, truncate=truncate)


@pytest.mark.parametrize("mode", ["wrap", "Nearest", "", 5, None])
def test_a_border_that_is_not_there_is_refused(mode):
    assert "mode" in refused("gaussian", sigma=1, mode=mode)
    assert (
        "use one of nearest, reflect, mirror, constant" in refused("gaussian", sigma=1, mode="wrap")["mode"]
    )


# -- on an image ----------------------------------------------------------------------------


def on_image(name, **parameters):
    with pytest.raises(RequestError) as caught:
        made(name, **parameters).resolve(SPEC)
    (problem,) = caught.value.problems
    assert problem.hint
    return problem.field, problem.message


def test_a_length_too_long_for_the_image_is_refused():
    assert on_image("white_tophat", radius=300) == (
        "radius", "reaches 300 px and the longest axis of yx has 300 px"
    )  # fmt: skip
    made("white_tophat", radius=299).resolve(SPEC)
    assert on_image("white_tophat", radius=10**9)[0] == "radius"
    assert on_image("subtract_minimum", size=601)[0] == "size"
    assert on_image("gaussian", sigma=10**9)[0] == "sigma"


def test_a_ball_wider_than_a_thin_stack_is_taken():
    assert made("white_tophat", radius=20, along="zyx").resolve(SPEC).halo() == {"z": 40, "y": 40, "x": 40}


def test_a_physical_radius_below_a_pixel_is_refused():
    field, message = on_image("white_tophat", radius="0.3 um")
    assert field == "radius"
    assert "below 1 px" in message


def test_an_axis_or_a_channel_that_the_image_lacks_is_refused():
    with pytest.raises(RequestError, match="no axis 't'"):
        made("gaussian", sigma=1, along="t").resolve(ImageSpec("yx", (50, 50), np.dtype("uint8")))
    field, message = on_image("gaussian", sigma=1, channels=["mCherry"])
    assert (field, message) == ("channels", "there is no channel 'mCherry' (channels: GFP, RFP)")
    assert on_image("gaussian", sigma=1, channels=[2])[0] == "channels"
    assert made("gaussian", sigma=1, channels=["RFP", 0]).resolve(SPEC).channels == (1, 0)


def test_a_channel_named_twice_by_its_name_and_its_index_is_refused():
    field, message = on_image("gaussian", sigma=1, channels=["RFP", 1])
    assert (field, message) == ("channels", "a channel is named twice, by its name and by its index")


def test_sigmas_that_turn_out_equal_on_the_image_are_refused():
    field, message = on_image("difference_of_gaussians", low_sigma=10, high_sigma="3.25 um")
    assert (field, message.split(",")[0]) == ("low_sigma", "10 px is not below high_sigma")


def test_a_unit_without_a_scale_is_refused_and_names_where_to_say_it():
    with pytest.raises(RequestError, match=r"input\.scale"):
        made("gaussian", sigma="8 um").resolve(ImageSpec("yx", (50, 50), np.dtype("uint8")))


def test_physical_lengths_are_snapped_before_they_are_rounded():
    spec = ImageSpec(
        "yx", (200, 200), np.dtype("uint16"),
        scale=dict.fromkeys("yx", 0.3250000078), units=dict.fromkeys("yx", "micrometer"),
    )  # fmt: skip
    assert made("white_tophat", radius="8.125 um").resolve(spec).halo() == {"y": 50, "x": 50}
    assert made("subtract_minimum", size="8.125 um").resolve(spec).size["y"] == Quantity(25)
    assert made("subtract_minimum", size="7.9 um").resolve(spec).size["y"] == Quantity(25)
    assert made("subtract_minimum", size="7.7 um").resolve(spec).size["y"] == Quantity(23)


FIELDS = sorted({field for step in REGISTRY.values() for field in step.model_fields})
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["zyx", "8 um"]),
    st.lists(st.integers() | st.text(max_size=3), max_size=2),
    st.dictionaries(st.sampled_from("tzyxc"), st.floats() | st.sampled_from(["2 s", "3 um"]), max_size=3),
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(REGISTRY)), st.dictionaries(st.sampled_from([*FIELDS, "x y"]), VALUES, max_size=4)
)
def test_any_parameters_are_taken_or_refused_in_words(name, parameters):
    steps, problems = parse_chain([{name: parameters}])
    assert bool(steps) != bool(problems)
    for step in steps:
        known = {
            *type(step).model_fields,
            *(f"{field}.{axis}" for field in step.lengths for axis in step.along),
        }
        try:
            step.resolve(SPEC)
        except RequestError as error:
            problems += error.problems
            assert {problem.field for problem in problems} <= known
    for problem in problems:
        assert problem.message
        assert problem.hint
        assert "\n" not in str(problem)


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("1 in", "25.4 mm"), ("1 m", "1000 mm"), ("1 dm", "10 cm"), ("1 km", "1000 m"), ("1 um", "1000 nm"),
        ("1 nm", "10 Å"), ("1 nm", "1000 pm"), ("1 mm", "1000 um"), ("1 cm", "10 mm"),
        ("1 d", "24 h"), ("1 h", "60 min"), ("1 min", "60 s"), ("1 s", "1000 ms"), ("1 ms", "1000 us"),
        ("1 us", "1000 ns"),
    ],
    ids=lambda text: text,
)  # fmt: skip
def test_units_are_as_long_as_they_are(one, many):
    first, second = Quantity.parse(one), Quantity.parse(many)
    assert ratio(first.unit, second.unit) * first.value == pytest.approx(second.value)
