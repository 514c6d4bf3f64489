"""The synthetic time-lapse: it holds what its truth says, whatever its size and format."""

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr
from skimage.measure import label
from skimage.morphology import disk, white_tophat

from pipeline.explore.embryo import BAND_ROWS, OFFSET, PIXEL, PLANE, READ_NOISE, Sample
from pipeline.explore.sample import make_sample, sample_truth
from pipeline.model.errors import RequestError


def test_the_file_holds_the_pixels_and_the_scale_that_the_truth_says(tmp_path):
    path = tmp_path / "new" / "sample.ome.tif"
    truth = make_sample(path, frames=3, size=(70, 90), channels=2, z=4, object_radius=5)
    with tifffile.TiffFile(path) as tiff:
        series, xml = tiff.series[0], tiff.ome_metadata
        pixels = series.asarray()
        assert series.axes == "TCZYX"
    assert pixels.dtype == np.uint16
    assert pixels.shape == truth.spec.shape == (3, 2, 4, 70, 90)
    for t, c, z in np.ndindex(3, 2, 4):
        np.testing.assert_array_equal(pixels[t, c, z], truth.image(t, c, z))
    for words in ('PhysicalSizeX="0.325"', 'PhysicalSizeZ="1.0"', 'TimeIncrement="30.0"', 'Name="mCherry"'):
        assert words in xml


def test_an_ome_zarr_holds_the_same(tmp_path):
    path = tmp_path / "new" / "sample.ome.zarr"
    truth = make_sample(path, frames=2, size=(BAND_ROWS + 40, 90), channels=2, z=3, object_radius=5)
    group = zarr.open_group(path, mode="r")
    np.testing.assert_array_equal(
        group["0"][:], [[[truth.image(t, c, z) for z in range(3)] for c in range(2)] for t in range(2)]
    )
    image = yaozarrs.validate_zarr_store(str(path)).ome_metadata()
    assert [axis.name for axis in image.multiscales[0].axes] == list("tczyx")
    assert image.multiscales[0].datasets[0].coordinateTransformations[0].scale == [30, 1, 1, 0.325, 0.325]
    assert [channel.label for channel in image.omero.channels] == ["GFP", "mCherry"]
    assert [entry.name for entry in path.parent.iterdir()] == ["sample.ome.zarr"]


def test_pixels_are_background_and_signal_and_noise_of_mean_zero():
    truth = sample_truth(frames=2, size=256)
    expected = truth.background(1) + truth.signal(1)
    noise = truth.image(1) - expected
    assert abs(noise.mean()) < 0.3
    # Shot noise: the variance follows the light.
    bright = expected > np.quantile(expected, 0.9)
    dark = expected < np.quantile(expected, 0.1)
    assert noise[bright].std() > 1.3 * noise[dark].std()


def test_noise_is_that_of_photons_and_of_reading():
    truth = sample_truth(frames=1, size=256, channels=2)
    expected = truth.background(0, 1) + truth.signal(0, 1)
    variance = expected - OFFSET + READ_NOISE**2
    noise = (truth.image(0, 1) - expected) / np.sqrt(variance)
    dim = expected < np.quantile(expected, 0.25)
    assert noise[dim].std() == pytest.approx(1, abs=0.02)
    assert noise[~dim].std() == pytest.approx(1, abs=0.01)


def test_nuclei_in_a_stack_are_balls():
    truth = sample_truth(frames=1, size=160, z=9, object_radius=8)
    brightest = np.argmax(truth.signal(0, z=4))
    planes = [truth.signal(0, z=z) for z in range(9)]
    row, column = np.unravel_index(brightest, (160, 160))
    centres = truth.positions(0)
    at, y, x = centres[np.argmin(np.hypot(centres[:, 1] - row, centres[:, 2] - column))]
    box = np.s_[max(0, round(y) - 10) : round(y) + 11, max(0, round(x) - 10) : round(x) + 11]
    half = max(plane[box].max() for plane in planes) / 2
    for z, plane in enumerate(planes):
        squared = 8**2 - ((z - at) * PLANE / PIXEL) ** 2
        assert (plane[box] > half).sum() / np.pi == pytest.approx(max(0, squared), abs=6)


@pytest.mark.parametrize("short", [0, 1])
def test_a_sample_is_made_where_the_disk_has_just_room_for_it(tmp_path, monkeypatch, short):
    free = sample_truth(frames=2, size=64).spec.nbytes - short
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    if short:
        with pytest.raises(RequestError, match="it would take"):
            make_sample(tmp_path / "s.tif", frames=2, size=64)
    else:
        make_sample(tmp_path / "s.tif", frames=2, size=64)
    assert len(list(tmp_path.iterdir())) == 1 - short


def test_the_background_is_uneven_and_smooth_and_drifts():
    truth = sample_truth(frames=8)
    first = truth.background(0)
    assert first.max() > 2.5 * first.min()
    assert max(np.abs(np.diff(first, axis=axis)).max() for axis in (0, 1)) < 0.02 * np.ptp(first)
    levels = [truth.background(t).mean() for t in range(8)]
    assert 1.1 < max(levels) / min(levels) < 1.6


def test_nuclei_have_the_radius_that_is_said_and_never_touch():
    truth = sample_truth(frames=10, object_radius=8)
    for t in range(10):
        signal, centres = truth.signal(t), truth.positions(t)
        # Half of its own brightness is where a nucleus ends.
        brightness = signal[tuple(np.rint(centres[:, 1:]).astype(int).T)]
        labels, count = label(signal > 0.02 * signal.max(), return_num=True)
        assert count == len(centres)
        for (_, y, x), counts in zip(centres, brightness, strict=True):
            own = (labels == labels[round(y), round(x)]) & (signal > counts / 2)
            assert np.sqrt(own.sum() / np.pi) == pytest.approx(8, rel=0.05)


def test_nuclei_move_slowly():
    truth = sample_truth(frames=20)
    steps = np.diff([truth.positions(t) for t in range(20)], axis=0)
    assert 0 < np.abs(steps).max() < truth.object_radius / 8


def test_a_tophat_wider_than_the_nuclei_gives_them_back():
    truth = sample_truth(frames=1, size=256)
    expected = truth.background(0) + truth.signal(0)
    found = white_tophat(expected, disk(12))
    assert np.abs(found - truth.signal(0)).max() < 0.1 * truth.signal(0).max()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int16", "int32", "float32", "float64"])
def test_every_dtype_holds_the_sample(dtype):
    truth = sample_truth(frames=2, size=64, object_radius=4, dtype=dtype)
    pixels, expected = truth.image(0), truth.background(0) + truth.signal(0)
    assert pixels.dtype == truth.spec.dtype == np.dtype(dtype)
    assert np.corrcoef(pixels.ravel(), expected.ravel())[0, 1] > 0.95
    if pixels.dtype.kind != "f":
        assert pixels.max() < np.iinfo(dtype).max


def test_rows_of_a_tall_image_do_not_depend_on_how_it_is_cut():
    truth = sample_truth(frames=1, size=(BAND_ROWS + 100, 60), object_radius=5)
    rows = slice(BAND_ROWS - 40, BAND_ROWS + 30)
    for part in (truth.background, truth.signal):
        np.testing.assert_array_equal(part(0)[rows], part(0, rows=rows))
    assert truth.image(0).shape == (BAND_ROWS + 100, 60)


def test_the_seed_decides_the_pixels():
    first, again, other = (Sample(size=(64, 64), seed=seed).image(3) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_an_image_of_several_bands_is_written_whole(tmp_path):
    truth = make_sample(tmp_path / "tall.tif", frames=2, size=(BAND_ROWS + 9, 40), object_radius=5)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "tall.tif")[1], truth.image(1))


def test_progress_counts_to_the_end(tmp_path):
    seen = []
    make_sample(tmp_path / "s.tif", frames=3, size=32, object_radius=3, progress=lambda *at: seen.append(at))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("name", ["sample.ome.tif", "sample.ome.zarr"])
def test_what_stands_under_the_name_is_kept(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(RequestError, match="exists"):
        make_sample(tmp_path / name)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["sample.ome.tif", "sample.ome.zarr"])
def test_a_sample_that_fails_half_way_leaves_nothing(tmp_path, name):
    def fail(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_sample(tmp_path / name, frames=4, size=64, progress=fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"path": "s.png"}, "no format"),
        ({"frames": 0}, "below 1"),
        ({"z": -1}, "below 1"),
        ({"seed": -1}, "negative"),
        ({"size": 16}, "does not fit"),
        ({"object_radius": float("nan")}, "does not fit"),
        ({"dtype": "int8"}, "int8 cannot be made"),
        ({"dtype": "complex64"}, "complex64 cannot be made"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(tmp_path, arguments, words):
    path = tmp_path / arguments.pop("path", "s.tif")
    with pytest.raises(RequestError, match=words):
        make_sample(path, **arguments)
    assert list(tmp_path.iterdir()) == []
