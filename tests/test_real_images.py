"""The job of the article on its own image, and on a brightfield time-lapse, through the command line.

The images are not part of the project: without them these tests skip.
"""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from scipy import ndimage
from skimage import filters, morphology

DATA = Path(__file__).parents[1].parent / "shared" / "data"
EMBRYO = DATA / "MAX_Lund_18.0_22.0_Hours Z-projection t1.tif"
BRIGHTFIELD = DATA / "brightfield"

needs_embryo = pytest.mark.skipif(not EMBRYO.exists(), reason="the article's image is not here")
needs_brightfield = pytest.mark.skipif(not BRIGHTFIELD.exists(), reason="the brightfield frames are not here")


@cache
def embryo():
    return tifffile.imread(EMBRYO)


def opened(image, minimum, maximum):
    return image.astype(np.int32) - ndimage.maximum_filter(ndimage.minimum_filter(image, minimum), maximum)


STEPS = {
    "white_tophat: {radius: 5}": lambda image: morphology.white_tophat(image, morphology.disk(5)),
    "white_tophat: {radius: 25}": lambda image: morphology.white_tophat(image, morphology.disk(25)),
    "black_tophat: {radius: 25}": lambda image: morphology.black_tophat(image, morphology.disk(25)),
    "subtract_minimum: {size: 25}": lambda image: image - ndimage.minimum_filter(image, 25),
    "subtract_opening: {minimum_size: 25, maximum_size: 25}": lambda image: opened(image, 25, 25),
    "subtract_opening: {minimum_size: 5, maximum_size: 25}": lambda image: opened(image, 5, 25),
}
CUTS = {
    "planned": "{}",
    "chunks of 64": "{block: {y: 64, x: 64}}",
    "chunks of 100 in windows of 200 × 300": "{block: {y: 100, x: 100}, window: {y: 200, x: 300}}",
    "chunks of 333": "{block: {y: 333, x: 333}, window: {y: 333}}",
}


def run(folder, source, step, compute="{}", output="out.ome.zarr", **more):
    extra = "".join(f"  {key}: {value}\n" for key, value in more.items())
    text = f'input:\n  path: "{source}"\nsteps:\n  - {step}\noutput:\n  path: {output}\n{extra}'
    text += f"compute: {compute}\n"
    (folder / "config.yaml").write_text(text)
    subprocess.run(
        [sys.executable, "-m", "pipeline", "run", "config.yaml", "--quiet"], cwd=folder, check=True
    )
    return zarr.open_array(store=str(folder / output), path="0", mode="r")[:]


@cache
def expected(step):
    return STEPS[step](embryo())


@needs_embryo
@pytest.mark.parametrize("step", STEPS)
def test_every_pixel_of_the_article_image_is_right(tmp_path, step):
    np.testing.assert_array_equal(run(tmp_path, EMBRYO, step), expected(step))


@needs_embryo
@pytest.mark.parametrize("cut", list(CUTS)[1:])
def test_no_cut_changes_a_pixel_of_the_article_image(tmp_path, cut):
    step = "white_tophat: {radius: 25}"
    np.testing.assert_array_equal(run(tmp_path, EMBRYO, step, CUTS[cut]), expected(step))


@needs_embryo
def test_a_maximum_larger_than_the_minimum_keeps_its_negative_values(tmp_path):
    found = run(tmp_path, EMBRYO, "subtract_opening: {minimum_size: 5, maximum_size: 25}")
    assert found.dtype == np.int32
    assert round(100 * np.mean(found < 0)) == 83


@needs_embryo
@pytest.mark.parametrize("cut", CUTS)
def test_dog_is_scikit_images_in_the_units_of_the_input(tmp_path, cut):
    image = embryo()
    found = run(tmp_path, EMBRYO, "difference_of_gaussians: {low_sigma: 1, high_sigma: 100}", CUTS[cut])
    wanted = filters.difference_of_gaussians(image, 1, 100) * 65535
    assert np.abs(found - wanted).max() <= 1e-4 * np.ptp(image)


@needs_brightfield
def test_dark_features_of_fifty_brightfield_frames_come_out_bright(tmp_path):
    found = run(tmp_path, BRIGHTFIELD, "black_tophat: {radius: 12}")
    assert found.shape == (50, 500, 500)
    for index in (0, 49):
        frame = tifffile.imread(BRIGHTFIELD / f"bf_{index:04d}.tif")
        np.testing.assert_array_equal(found[index], morphology.black_tophat(frame, morphology.disk(12)))


@needs_embryo
def test_the_plan_of_the_article_image_is_json(tmp_path):
    run(tmp_path, EMBRYO, "white_tophat: {radius: 5}")
    command = [sys.executable, "-m", "pipeline", "plan", "config.yaml", "--json"]
    plan = json.loads(subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout)
    assert plan["output_shape"] == [1024, 512]
    assert plan["halo"] == {"y": 10, "x": 10}
