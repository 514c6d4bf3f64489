"""The figures of each plane: put together from a run's windows, and kept as a table."""

import numpy as np
import pytest

from pipeline import BlackTophat, Gaussian, WhiteTophat
from pipeline.model.image import ImageSpec
from pipeline.reporting.frames import from_csv, gather, seconds_of, to_csv

SPEC = ImageSpec(
    "tcyx", (3, 2, 20, 30), np.dtype("uint16"), scale={"t": 2.0, "y": 0.5, "x": 0.5},
    units={"t": "minute", "y": "micrometer", "x": "micrometer"}, translation={"t": 10.0},
)  # fmt: skip
WHITE = WhiteTophat(radius=3)


def pixels(seed, shape=SPEC.shape):
    return np.random.default_rng(seed).integers(0, 500, shape).astype(float)


def rows(before, after, part=np.s_[:], clipped=0):
    """Return what a window keeps of its part of some planes, as JSON gives it back."""
    found = []
    for index in np.ndindex(*after.shape[:-2]):
        some, result = before[index][part], after[index][part]
        found.append(
            [
                [*index],
                result.size,
                some.sum(),
                result.sum(),
                (result**2).sum(),
                result.min(),
                result.max(),
                clipped,
            ]
        )
    return found


def facts(before, after):
    """Return three windows that each know a third of every plane, and a group of a level that knows none."""
    windows = [
        (f"0/{n}", {"clipped": 2 * n, "planes": rows(before, after, np.s_[:, n::3], n)}) for n in range(3)
    ]
    return [*windows, ("1/0", {"clipped": 0, "planes": []}), ("1/1", {"clipped": 0})]


def test_parts_of_planes_add_up_to_their_figures():
    before, after = pixels(0), pixels(1)
    frames = gather(facts(before, after), SPEC, [WHITE])
    assert (frames.axes, frames.shape, frames.along) == ("tc", (3, 2), "t")
    assert (frames.pixels == 20 * 30).all()
    for name, expected in (
        ("mean_input", before.mean(axis=(2, 3))),
        ("mean_background", (before - after).mean(axis=(2, 3))),
        ("mean_result", after.mean(axis=(2, 3))),
        ("std_result", after.std(axis=(2, 3))),
        ("min_result", after.min(axis=(2, 3))),
        ("max_result", after.max(axis=(2, 3))),
        ("clipped", np.full((3, 2), 3)),
    ):
        np.testing.assert_allclose(getattr(frames, name), expected, rtol=1e-12, err_msg=name)


def test_the_background_of_each_channel_is_as_its_steps_say():
    before, after = pixels(0), pixels(1)
    mean_in, mean_out = before.mean(axis=(2, 3)), after.mean(axis=(2, 3))
    steps = [BlackTophat(radius=3, channels=[1])]
    frames = gather(facts(before, after), SPEC, steps)
    np.testing.assert_allclose(frames.mean_background[:, 0], (mean_in - mean_out)[:, 0])
    np.testing.assert_allclose(frames.mean_background[:, 1], (mean_in + mean_out)[:, 1])
    smooth = [WHITE, Gaussian(sigma=1, channels=[0])]
    found = gather(facts(before, after), SPEC, smooth).mean_background
    assert np.isnan(found[:, 0]).all()
    assert np.isfinite(found[:, 1]).all()


def test_an_input_that_is_not_known_leaves_its_figures_out():
    window = [[[t, c], 4, None, 8.0, 16.0, 2.0, 2.0, None] for t in range(3) for c in range(2)]
    frames = gather([("0/0", {"planes": window})], SPEC, [])
    assert np.isnan(frames.mean_input).all()
    assert np.isnan(frames.mean_background).all()
    assert np.isnan(frames.clipped).all()
    assert (frames.mean_result == 2).all()
    assert to_csv(frames, SPEC).decode().splitlines()[1] == "0,0,600,4,,,2,0,2,2,"


def test_without_figures_there_is_no_table():
    assert gather([("0/0", {"clipped": 3}), ("1/0", {"planes": []})], SPEC, [WHITE]) is None


def test_a_plane_that_no_window_tells_of_is_blank_and_not_zero():
    before, after = pixels(0), pixels(1)
    window = [row for row in rows(before, after) if row[0] != [1, 0]]
    frames = gather([("0/0", {"planes": window})], SPEC, [WHITE])
    for name in ("mean_input", "mean_background", "mean_result", "std_result", "max_result", "clipped"):
        assert np.isnan(getattr(frames, name)[1, 0]), name
    assert np.isnan(frames.curve("mean_result", 0)).tolist() == [False, True, False]


@pytest.mark.parametrize("axes", ["yx", "tyx", "cyx", "zyx", "tczyx"])
def test_the_table_is_read_as_it_was_written(axes):
    sizes = {"t": 4, "c": 2, "z": 3, "y": 20, "x": 30}
    spec = ImageSpec(axes, tuple(sizes[axis] for axis in axes), np.dtype("uint16"))
    before, after = pixels(0, spec.shape), pixels(1, spec.shape)
    frames = gather([("0/0", {"planes": rows(before, after)})], spec, [WHITE])
    again = from_csv(to_csv(frames, spec))
    assert (again.axes, again.shape) == (axes[:-2], spec.shape[:-2])
    for name in ("pixels", "mean_background", "std_result", "clipped"):
        np.testing.assert_allclose(getattr(again, name), getattr(frames, name), rtol=1e-8)
    table = to_csv(frames, spec).decode().splitlines()
    assert table[0].split(",")[: len(axes) - 2] == list(axes[:-2])
    assert len(table) == 1 + np.prod(spec.shape[:-2], dtype=int)


def test_the_table_has_the_time_in_seconds():
    frames = gather(facts(pixels(0), pixels(1)), SPEC, [WHITE])
    header, *table = [line.split(",") for line in to_csv(frames, SPEC).decode().splitlines()]
    assert header[:4] == ["t", "c", "time_s", "pixels"]
    assert [row[:3] for row in table[::2]] == [["0", "0", "600"], ["1", "0", "720"], ["2", "0", "840"]]
    assert seconds_of(SPEC.with_(units={"t": "parsec"})) is None
    assert seconds_of(SPEC.with_(units={})) is None


@pytest.mark.parametrize("text", ["", "t,c\n0,0\n", "nothing of the kind"])
def test_another_table_is_refused(text):
    with pytest.raises(ValueError, match="table"):
        from_csv(text.encode())


def test_a_curve_is_over_time_and_the_mean_of_a_stack():
    spec = ImageSpec("tczyx", (4, 2, 3, 5, 6), np.dtype("uint16"))
    before, after = pixels(0, spec.shape), pixels(1, spec.shape)
    window = rows(before, after)
    window[0][1] *= 3  # a plane of which three times as much was sampled counts three times
    for place in (2, 3, 4):
        window[0][place] *= 3
    frames = gather([("0/0", {"planes": window})], spec, [WHITE])
    expected = after.mean(axis=(2, 3, 4))
    weights = np.array([3, 1, 1]) / 5
    expected[0, 0] = (after[0, 0].mean(axis=(1, 2)) * weights).sum()
    for channel in range(2):
        np.testing.assert_allclose(frames.curve("mean_result", channel), expected[:, channel])


def test_a_single_stack_has_its_curve_over_depth_and_a_single_plane_none():
    spec = ImageSpec("tzyx", (1, 3, 5, 6), np.dtype("uint16"))
    before, after = pixels(0, spec.shape), pixels(1, spec.shape)
    frames = gather([("0/0", {"planes": rows(before, after)})], spec, [WHITE])
    assert frames.along == "z"
    np.testing.assert_allclose(frames.curve("mean_result", 0), after[0].mean(axis=(1, 2)))
    plane = ImageSpec("yx", (5, 6), np.dtype("uint16"))
    alone = gather([("0/0", {"planes": rows(before[0, 0], after[0, 0])})], plane, [WHITE])
    assert alone.along == ""
    np.testing.assert_allclose(alone.curve("mean_result", 0), [after[0, 0].mean()])
