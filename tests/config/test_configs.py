"""Every config in configs/ runs on tiny data, through the command line, and does what it says."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from ruamel.yaml import YAML
from scipy import ndimage
from skimage import morphology

from pipeline.explore.embryo import Sample
from pipeline.explore.sample import make_sample

ROOT = Path(__file__).parents[2]
CONFIGS = {path.stem: path for path in sorted((ROOT / "configs").glob("*.yaml"))}


def bgone(*arguments, cwd):
    """Run the command as a user would, in a folder of the user's own."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def movie(truth):
    """Return all pixels of a sample."""
    shape = (truth.frames, truth.channels, truth.z, *truth.size)
    return np.stack([truth.image(*at) for at in np.ndindex(shape[:3])]).reshape(truth.spec.shape)


def sample(folder, name, **parameters):
    path = folder / name
    return path, movie(make_sample(path, size=(72, 80), object_radius=5, **parameters))


def frames(folder, name, pixels):
    """Write one TIFF for each frame."""
    (folder / name).mkdir()
    for number, frame in enumerate(pixels):
        tifffile.imwrite(folder / name / f"frame_{number}.tif", frame)
    return folder / name, pixels


def plane_by_plane(filter_, pixels):
    planes = pixels.reshape(-1, *pixels.shape[-2:])
    return np.stack([filter_(plane) for plane in planes]).reshape(pixels.shape)


def gaussian(pixels, sigmas):
    return ndimage.gaussian_filter(pixels.astype(np.float64), sigmas, mode="nearest")


def as_uint16(values):
    return np.rint(values).clip(0, 65535)


def quickstart(folder):
    path, pixels = sample(folder, "sample.ome.tif", frames=3)
    disk = morphology.disk(12)
    return path, plane_by_plane(lambda plane: morphology.white_tophat(plane, disk), pixels), 0


def tophat_tiff_folder(folder):
    # Twelve frames: 10 comes after 9, not after 1.
    path, pixels = frames(folder, "frames", movie(Sample(frames=12, size=(72, 80), object_radius=5)))
    disk = morphology.disk(25)
    return path, plane_by_plane(lambda plane: morphology.white_tophat(plane, disk), pixels), 0


def black_tophat_brightfield(folder):
    bright = 255 - movie(Sample(frames=3, size=(72, 80), object_radius=5, dtype="uint8"))
    path, pixels = frames(folder, "brightfield", bright)
    disk = morphology.disk(15)
    return path, plane_by_plane(lambda plane: morphology.black_tophat(plane, disk), pixels), 0


def dog_zstack_um(folder):
    path, pixels = sample(folder, "stack.ome.tif", frames=2, channels=2, z=7)
    low, high = ((0, 0, um / 1.0, um / 0.325, um / 0.325) for um in (0.5, 8))
    return path, as_uint16(gaussian(pixels, low) - gaussian(pixels, high) + 1000), 1


def chain(folder):
    path, pixels = sample(folder, "embryo.ome.zarr", frames=2)
    disk = morphology.disk(25)
    flat = plane_by_plane(lambda plane: morphology.white_tophat(plane, disk), pixels)
    return path, as_uint16(gaussian(flat, (0, 1, 1)) - gaussian(flat, (0, 30, 30))), 1


MAKERS = [quickstart, tophat_tiff_folder, black_tophat_brightfield, dog_zstack_um, chain]


def test_each_config_has_its_test():
    assert sorted(CONFIGS) == sorted(maker.__name__ for maker in MAKERS)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_config_runs_on_tiny_data_and_gives_what_scikit_image_and_scipy_give(make, tmp_path):
    path, expected, tolerance = make(tmp_path)
    output = tmp_path / "result.ome.zarr"
    config = CONFIGS[make.__name__]
    done = bgone("run", config, "--input", path, "--output", output, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = zarr.open_array(output / "0", mode="r")[:]
    assert found.shape == expected.shape
    # A linear filter that differs by a hundredth may round to the integer on the other side.
    assert np.abs(found.astype(float) - expected).max() <= tolerance
    assert (found != expected).mean() < 0.02
    again = bgone("run", config, "--input", path, "--output", output, cwd=tmp_path)
    assert again.returncode == 0
    assert "nothing to do" in again.stdout + again.stderr


def test_the_quickstart_runs_as_the_readme_says(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/quickstart.yaml").write_text(CONFIGS["quickstart"].read_text())
    for arguments in (["sample", "data/sample.ome.tif"], ["run", "configs/quickstart.yaml"]):
        done = bgone(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert zarr.open_array(tmp_path / "results/sample.ome.zarr/0", mode="r").shape == (12, 512, 512)


@pytest.mark.parametrize("path", CONFIGS.values(), ids=list(CONFIGS))
def test_what_a_config_has_commented_out_may_be_switched_on(path, tmp_path):
    """A line such as `# select: {t: "0:10"}` must be valid YAML where it stands, and a known key."""
    from pipeline.config.load import load_config

    text = re.sub(r"^(\s*)# (- \w+: \{.*|\w+: [\w{\"\[].*)$", r"\1\2", path.read_text(), flags=re.MULTILINE)
    switched = tmp_path / path.name
    switched.write_text(text)
    assert YAML(typ="safe").load(text)
    assert load_config(switched).steps


@pytest.mark.parametrize("path", CONFIGS.values(), ids=list(CONFIGS))
def test_a_config_begins_with_what_it_is_for(path):
    assert re.match(r"# \w.*\S", path.read_text())
