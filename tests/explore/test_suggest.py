"""What is suggested holds the true size of the objects, says its doubts, and comes as a config that runs."""

import re
import shlex

import numpy as np
import pytest
import tifffile
from matplotlib.image import imread
from scipy import ndimage
from skimage import morphology

import pipeline
from pipeline.cli import main
from pipeline.config.load import load_config
from pipeline.explore.estimate import suggest_for
from pipeline.explore.granulometry import CLEAR, choose_radii, find_size, noise_of, pattern_spectrum, polarity
from pipeline.explore.sample import make_sample, sample_truth
from pipeline.explore.suggest import group_radius, grouped, suggest
from pipeline.model.errors import RequestError
from pipeline.planning.job import prepare
from pipeline.read import open_source


def frame(radius, size=400, **more):
    return sample_truth(frames=2, size=size, object_radius=radius, **more).image(0)


# -- the size of features ------------------------------------------------------------------


@pytest.mark.parametrize("radius", [3, 4, 6, 8, 10, 12, 15, 20, 30])
def test_the_size_of_a_samples_nuclei_is_found(radius):
    size = find_size(pattern_spectrum(frame(radius)))
    assert size.clear
    assert size.low <= radius <= size.high
    assert size.high - size.low <= max(4, 0.5 * radius)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_it_is_found_in_any_dtype(dtype):
    size = find_size(pattern_spectrum(frame(7, dtype=dtype)))
    assert size.clear
    assert size.low <= 7 <= size.high


def test_dark_features_are_told_from_bright_ones_and_have_the_same_size():
    image = frame(8).astype(np.float32)
    assert polarity(image).features == "bright"
    assert polarity(4000 - image).features == "dark"
    bright, dark = pattern_spectrum(image, "bright"), pattern_spectrum(4000 - image, "dark")
    np.testing.assert_allclose(bright.energy, dark.energy, rtol=1e-3, atol=1e-2)


def test_the_spectrum_is_what_openings_with_disks_take_away():
    image = frame(5, size=100)
    spectrum = pattern_spectrum(image)
    smooth = before = ndimage.gaussian_filter(image.astype(np.float32), 1, mode="nearest")
    for index, radius in enumerate(spectrum.radii):
        after = morphology.opening(smooth, morphology.disk(int(radius)))
        octaves = np.log2(radius / spectrum.below[index])
        expected = np.mean((before - after).astype(float) ** 2) / octaves
        assert spectrum.energy[index] == pytest.approx(expected, rel=2e-3, abs=1e-3)
        before = after


def test_large_radii_on_halved_images_agree_with_the_whole_image():
    image = frame(24, size=400)
    spectrum = pattern_spectrum(image)
    smooth = ndimage.gaussian_filter(image.astype(np.float32), 1, mode="nearest")
    index = int(np.argmax(spectrum.energy))
    assert spectrum.radii[index] > 16
    openings = [
        pipeline.WhiteTophat(radius=float(radius))(smooth)
        for radius in (spectrum.below[index], spectrum.radii[index])
    ]
    taken = np.mean((openings[1] - openings[0]).astype(float) ** 2)
    octaves = np.log2(spectrum.radii[index] / spectrum.below[index])
    assert spectrum.energy[index] == pytest.approx(taken / octaves, rel=0.2)


def noise(shape=(300, 300)):
    return np.random.default_rng(2).normal(500, 30, shape)


@pytest.mark.parametrize(
    "image",
    [noise(), noise() + np.linspace(0, 400, 300), np.full((60, 60), 7.0), np.full((60, 60), np.nan)],
    ids=["noise", "ramp", "constant", "nan"],
)
def test_where_there_are_no_features_no_size_is_clear(image):
    size = find_size(pattern_spectrum(image, polarity(image).features))
    assert not size.clear
    assert size.clearness < CLEAR


@pytest.mark.parametrize("sigma", [0.2, 10, 300])
def test_what_noise_alone_would_give_is_what_noise_gives(sigma):
    image = np.random.default_rng(3).normal(500, sigma, (256, 256))
    spectrum = pattern_spectrum(image)
    np.testing.assert_allclose(spectrum.noise[:10], spectrum.energy[:10], rtol=0.3)


def test_noise_is_measured_beside_features():
    image = noise()
    image[50:80, 50:90] += 5000
    assert noise_of(image) == pytest.approx(30, rel=0.05)


def test_radii_rise_one_by_one_then_on_the_grids_of_halved_images():
    radii = choose_radii(3000)
    assert radii[:16] == list(range(1, 17))
    assert (np.diff(radii) > 0).all()
    assert 400 < radii[-1] <= 500
    for radius in radii[16:]:
        halved = 2 ** int(np.ceil(np.log2(radius / 16)))
        assert radius % halved == 0
        assert 8 <= radius / halved <= 16


# -- what follows from it ------------------------------------------------------------------


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    path = tmp_path_factory.mktemp("suggest") / "movie one.ome.tif"
    make_sample(path, frames=4, size=240, channels=2, object_radius=7)
    return path


def test_ranges_hold_what_fits_and_begin_inside(movie):
    for each in suggest_for(open_source(movie)):
        assert each.smallest <= 7 <= each.largest
        assert each.largest < each.radius.low <= each.radius.begin <= each.radius.high <= 4 * 7
        assert each.low_sigma.low <= each.low_sigma.begin <= each.low_sigma.high < each.smallest
        assert each.largest < each.high_sigma.low <= each.high_sigma.begin <= each.high_sigma.high
        assert each.doubts() == []


def test_the_suggested_radius_keeps_the_signal_and_takes_the_background(movie):
    truth = sample_truth(frames=4, size=240, channels=2, object_radius=7)
    (each, _) = suggest_for(open_source(movie))
    result = pipeline.WhiteTophat(radius=each.radius.begin)(truth.image(1)).astype(float)
    inside, outside = truth.signal(1) > 200, truth.signal(1) < 1
    assert np.mean(result[inside]) > 0.9 * np.mean(truth.signal(1)[inside])
    assert np.std(
        ndimage.uniform_filter(result, 15)[outside & (ndimage.uniform_filter(truth.signal(1), 31) < 1)]
    ) < (0.1 * np.std(truth.background(1)[outside]))


def test_the_suggested_wide_gaussian_keeps_the_largest_features_and_takes_what_is_much_wider(movie):
    each = suggest_for(open_source(movie))[0]
    rows, columns = np.ogrid[-200:201, -200:201]
    disc = (rows**2 + columns**2 <= each.largest**2).astype(np.float32)
    wave = np.broadcast_to(np.cos(2 * np.pi * columns / (40 * each.largest)), disc.shape).astype(np.float32)

    def left(image, sigma):
        return pipeline.DifferenceOfGaussians(low_sigma=1, high_sigma=sigma)(image)[200, 200]

    low, begin, high = each.high_sigma.low, each.high_sigma.begin, each.high_sigma.high
    assert 0.75 < left(disc, low) < 0.88 < left(disc, begin) < 0.95 < left(disc, high) < 0.99
    assert left(wave, low) < 0.05
    assert left(wave, begin) < 0.1
    assert left(wave, high) < 0.35


def test_channels_of_one_size_share_a_step_and_others_have_their_own(tmp_path):
    small, large = frame(4, size=240), frame(14, size=240)
    path = tmp_path / "two.tif"
    tifffile.imwrite(path, np.stack([small, large]), imagej=True, metadata={"axes": "CYX"})
    said = suggest(str(path), config=str(tmp_path / "two.yaml"))
    steps = load_config(str(tmp_path / "two.yaml")).steps
    assert [step.channels for step in steps] == [(0,), (1,)]
    assert steps[0].radius.value < 11 < 14 < steps[1].radius.value
    assert said.count("bgone sweep") == 2
    assert len(grouped(suggest_for(open_source(path)))) == 2


def test_channels_that_share_a_step_get_a_radius_for_the_larger_of_them(tmp_path):
    # Nearly of one size, the smaller first and last.
    for order in ((8, 10), (10, 8)):
        path = tmp_path / "near.tif"
        planes = np.stack([frame(radius, size=240) for radius in order])
        tifffile.imwrite(path, planes, imagej=True, metadata={"axes": "CYX"})
        found = suggest_for(open_source(path))
        (group,) = grouped(found)
        assert group_radius(group).begin == max(each.radius.begin for each in found)
        assert group_radius(group).begin > min(each.radius.begin for each in found)


def test_a_doubt_is_said_in_the_text_and_in_the_config(tmp_path):
    path = tmp_path / "noise.tif"
    tifffile.imwrite(path, noise().astype(np.uint16), imagej=True, metadata={"axes": "YX"})
    said = suggest(str(path), config=str(tmp_path / "noise.yaml"))
    written = (tmp_path / "noise.yaml").read_text(encoding="utf-8")
    assert "no size can be told: none stands out" in said
    assert "no size can be told: none stands out" in written
    assert "The radius is a guess" in written
    assert " px radius" not in said.partition("\n")[0]


def test_where_nothing_is_nothing_is_found_and_the_config_runs_all_the_same(tmp_path):
    path = tmp_path / "dark.tif"
    tifffile.imwrite(path, np.zeros((80, 90), np.uint16), imagej=True, metadata={"axes": "YX"})
    said = suggest(str(path), config=str(tmp_path / "dark.yaml"))
    assert "no size can be told: all pixels are 0" in said
    assert "begin with" not in said
    assert main(["run", str(tmp_path / "dark.yaml"), "--quiet"]) == 0


def test_no_size_can_be_told_of_a_few_pixels(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 90), np.uint8), imagej=True, metadata={"axes": "YX"})
    with pytest.raises(RequestError, match="too few to tell a size"):
        suggest(str(tmp_path / "a.tif"), config=str(tmp_path / "a.yaml"))
    assert not (tmp_path / "a.yaml").exists()


# -- the command ---------------------------------------------------------------------------


def test_the_command_writes_a_config_that_runs_a_plot_and_a_sweep_that_works(
    movie, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["suggest", str(movie)]) == 0
    said = capsys.readouterr().out
    assert "channel GFP: bright features of" in said
    assert "Maragos 1989" in said
    assert imread("movie one.suggested.png").std() > 0
    assert main(["run", "movie one.suggested.yaml", "--quiet"]) == 0
    (command,) = re.findall(r"bgone (sweep .+)", said)
    assert main(shlex.split(command)) == 0
    assert (tmp_path / "movie one.suggested.sweep.png").exists()


def test_a_picture_that_is_called_like_the_config_is_not_replaced_unasked(movie, tmp_path, capsys):
    (tmp_path / "mine.png").write_text("mine")
    assert main(["suggest", str(movie), "-o", str(tmp_path / "mine.yaml")]) == 2
    assert "mine.png' exists; name another with -o" in capsys.readouterr().err
    assert (tmp_path / "mine.png").read_text() == "mine"
    assert not (tmp_path / "mine.yaml").exists()


def test_a_config_that_is_there_is_not_replaced_unasked(movie, tmp_path, capsys):
    config = tmp_path / "mine.yaml"
    config.write_text("mine")
    assert main(["suggest", str(movie), "-o", str(config)]) == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert config.read_text() == "mine"
    assert main(["suggest", str(movie), "-o", str(config), "--overwrite", "--features", "dark"]) == 0
    assert prepare(str(config)).plan.steps[0].name == "black_tophat"
