"""The end of a task, for blocks that begin anywhere: what is refused, and the background of each channel."""

import os

import numpy as np
import pytest
import zarr

from pipeline.model.errors import DataError
from pipeline.model.image import ImageSpec
from pipeline.runtime.store import StoreRegion
from pipeline.write import create, make_layout, with_background

SPEC = ImageSpec("tcyx", (6, 3, 16, 16), np.dtype("uint16"))
CHUNKS = {"t": 2, "c": 1, "y": 8, "x": 16}
BLOCK = (slice(2, 4), slice(1, 2), slice(8, 16), slice(0, 16))
MINUS, PLUS = "input minus result", "input plus result"


@pytest.fixture
def layout(tmp_path):
    """An output of three channels with a background, made."""
    first = make_layout(SPEC, f"{tmp_path}/out.zarr", chunks=CHUNKS)
    layout = with_background(first, f"{tmp_path}/back.zarr", np.dtype("uint16")).at("abc")
    os.mkdir(layout.work)
    create(layout)
    return layout


def test_a_pixel_that_is_refused_is_told_with_its_value_and_place_in_the_image(layout):
    block = np.zeros((2, 1, 8, 16))
    block[1, 0, 4, 7], block[1, 0, 4, 9] = 70000, -70000
    with pytest.raises(DataError) as caught:
        StoreRegion(layout, 1000, "error", (MINUS,))(BLOCK, block, block)
    assert caught.value.problems[0].message == (
        "71000 at t 3, c 1, y 12, x 7 is outside uint16 (2 such pixels in the block at t 2, c 1, y 8, x 0)"
    )


@pytest.mark.parametrize("channels", [(0, 1), (1, 2), (1, 3), (0, 3)], ids=str)
def test_each_channel_of_a_block_has_the_background_of_its_own_steps(layout, channels):
    region = (BLOCK[0], slice(*channels), *BLOCK[2:])
    shape = tuple(part.stop - part.start for part in region)
    before = np.random.default_rng(1).integers(500, 900, shape).astype("uint16")
    after = before // 3
    StoreRegion(layout, 0, "fits", (MINUS, PLUS, MINUS))(region, before, after)
    array = zarr.open_array(layout.background.array_path(0), mode="r")
    signs = np.array([-1, 1, -1])[slice(*channels), None, None]
    np.testing.assert_array_equal(array[region], before + signs * after.astype(int))
