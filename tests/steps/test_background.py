"""The background of a chain: what of its input and result it is, channel by channel."""

import numpy as np
import pytest

from pipeline import (
    BlackTophat,
    DifferenceOfGaussians,
    Gaussian,
    SubtractGaussian,
    SubtractMinimum,
    WhiteTophat,
)
from pipeline.model.image import ImageSpec
from pipeline.steps.background import background_dtype, chain_background, difference
from pipeline.steps.chain import BoundChain, apply_step

WHITE, MINIMUM = WhiteTophat(radius=6), SubtractMinimum(size=21)
BLACK, WIDE = BlackTophat(radius=4), SubtractGaussian(sigma=9)
MINUS, PLUS = "input minus result", "input plus result"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((WHITE,), MINUS),
        ((WHITE, MINIMUM, WIDE), MINUS),
        ((BLACK,), PLUS),
        ((MINIMUM, BLACK), PLUS),
        ((BLACK, WIDE), PLUS),
        ((BLACK, BLACK), MINUS),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(step.name for step in value),
)
def test_the_background_of_a_chain_is_made_of_those_of_its_steps(steps, expected):
    spec = ImageSpec("yx", (60, 70), np.dtype("float64"))
    image = np.random.default_rng(3).uniform(100, 900, spec.shape)
    # input = first background ± (second background ± (… result)), worked out step by step.
    background, result, sign = np.zeros(spec.shape), image, 1
    for step in steps:
        after = apply_step(step.resolve(spec), result, "yx", (0, 0))
        background += sign * difference(step.background, result, after)
        sign *= 1 if step.background == MINUS else -1
        result = after
    assert chain_background(steps) == expected
    np.testing.assert_allclose(difference(chain_background(steps), image, result), background, atol=1e-9)


@pytest.mark.parametrize("odd", [Gaussian(sigma=1), DifferenceOfGaussians(low_sigma=1, high_sigma=5)])
def test_a_chain_that_smooths_has_none(odd):
    assert chain_background((odd,)) is None
    assert chain_background((WHITE, odd, BLACK)) is None


def test_only_the_steps_for_a_channel_count():
    steps = (
        BlackTophat(radius=4, channels=[1]),
        Gaussian(sigma=1, channels=[2]),
        WhiteTophat(radius=6, channels=[0, 1]),
    )
    assert [chain_background(steps, channel) for channel in range(4)] == [MINUS, PLUS, None, MINUS]


def test_a_background_is_wide_enough_for_both_images():
    small, large = np.array([[3]], np.uint16), np.array([[65535]], np.uint16)
    assert difference(PLUS, large, large)[0, 0] == 2 * 65535
    assert difference(MINUS, small, large)[0, 0] == 3 - 65535
    wide = np.array([[2**31 - 1]], np.int32)
    assert difference(MINUS, wide, -wide)[0, 0] == 2**32 - 2


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32"])
@pytest.mark.parametrize("meant", ["input minus result", "input plus result", None])
def test_the_difference_of_two_images_is_exact_up_to_32_bits(dtype, meant):
    most = np.iinfo(dtype).max
    before = np.array([most, most - 1, most // 2, 7], dtype)
    after = np.array([most - 3, 2, most // 3, 0], dtype)
    sign = 1 if meant == "input plus result" else -1
    expected = [int(one) + sign * int(other) for one, other in zip(before, after, strict=True)]
    assert difference(meant, before, after).tolist() == expected


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
@pytest.mark.parametrize("second", [WHITE, MINIMUM], ids=lambda step: step.name)
def test_the_background_of_dark_features_needs_no_wider_dtype_than_the_image(second, dtype):
    # A closing less what the second step takes of it: never beyond the image's own values.
    info = np.iinfo(dtype)
    image = np.random.default_rng(7).choice([info.min, info.max], (60, 70)).astype(dtype)
    spec = ImageSpec("yx", image.shape, image.dtype)
    result = image
    for step in (BLACK, second):
        result = apply_step(step.resolve(spec), result, "yx", (0, 0))
    found = image.astype(np.int64) + result.astype(np.int64)
    assert info.min <= found.min() <= found.max() <= info.max
    assert background_dtype(BoundChain((BLACK, second), spec)) == dtype
