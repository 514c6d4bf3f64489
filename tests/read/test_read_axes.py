"""Which stored axes may be y and x: the data's own, unless others make better planes."""

import numpy as np
import pytest
import tifffile
from read_samples import check_pixels, coded, refusal, write_ngff

from pipeline.read import open_source


@pytest.mark.parametrize(("shape", "axes"), [
    ((5, 64, 64), "yxt"), ((5, 64, 64), "ytx"), ((5, 64, 48), "xty"), ((2, 5, 64, 64), "cyxt"),
    ((5, 40, 64), "yxz"),
])  # fmt: skip
def test_letters_in_the_wrong_order_are_refused(tmp_path, shape, axes):
    tifffile.imwrite(tmp_path / "a.tif", coded(shape), photometric="minisblack")
    text = refusal(tmp_path / "a.tif", axes=axes)
    assert f"{axes!r} makes planes of" in text
    assert f"whose own are {shape[-2]} × {shape[-1]}" in text
    following = text.split("write ")[1].split(",")[0]
    assert open_source(tmp_path / "a.tif", axes=following).spec.sizes["x"] == shape[-1]


@pytest.mark.parametrize("shape", [(64, 64, 5), (48, 64, 12), (32, 32, 100), (16, 16, 16)])
def test_an_array_whose_last_axis_is_time_is_read_and_noted(tmp_path, shape):
    """NumPy's own order of such an array: its pages are x × t, and no better planes than y × x."""
    movie = coded(shape)
    tifffile.imwrite(tmp_path / "a.tif", movie, photometric="minisblack")
    source = open_source(tmp_path / "a.tif", axes="yxt")
    check_pixels(source, np.moveaxis(movie, -1, 0))
    assert source.notes == (
        f"the planes are {shape[0]} × {shape[1]}, as input.axes says, though the data's own are "
        f"{shape[1]} × {shape[2]}",
    )


def test_turned_planes_and_named_data_are_taken_at_their_word(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", coded((5, 8, 64)), photometric="minisblack")
    assert open_source(tmp_path / "a.tif", axes="txy").spec.shape == (5, 64, 8)
    scale = [[{"type": "scale", "scale": [1, 1, 1]}]]
    path = write_ngff(tmp_path / "a.zarr", [coded((64, 64, 5))], "tyx", scale)
    assert open_source(path, axes="yxt").spec.shape == (5, 64, 64)
    path = write_ngff(tmp_path / "b.zarr", [coded((5, 64, 64))], "tyx", scale)
    assert "'yxt' makes planes" in refusal(path, axes="yxt")
