"""A run from file to file: right in every pixel however it is cut, whole or not there, repeatable."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr
from scipy import ndimage
from skimage import morphology

import pipeline
from pipeline.model.errors import DataError, RequestError

FRAMES = (5, 90, 110)


@pytest.fixture
def movie(tmp_path):
    """An ImageJ time-lapse with a scale: 5 frames of 90 × 110."""
    pixels = np.random.default_rng(3).integers(100, 60000, FRAMES, np.uint16)
    path = tmp_path / "movie.tif"
    tifffile.imwrite(
        path,
        pixels,
        imagej=True,
        resolution=(1 / 0.325, 1 / 0.325),
        metadata={"axes": "TYX", "unit": "um", "finterval": 30},
    )
    return path, pixels


def config(path, *steps, output="out.ome.zarr", compute=None, **more):
    return {
        "input": {"path": str(path)},
        "steps": list(steps),
        "output": {"path": str(path.parent / output), **more},
        "compute": {"cluster": "threads", "workers": 2, **(compute or {})},
    }


def read(output, level="0"):
    return zarr.open_array(store=str(output), path=level, mode="r")[:]


def tophat(image, radius):
    return np.stack([morphology.white_tophat(plane, morphology.disk(radius)) for plane in image])


def test_a_tophat_of_a_tiff_is_scikit_images_in_every_pixel(movie):
    path, pixels = movie
    summary = pipeline.run(config(path, {"white_tophat": {"radius": 5}}))
    assert summary.output == str(path.parent / "out.ome.zarr")
    assert summary.windows >= 1
    np.testing.assert_array_equal(read(summary.output), tophat(pixels, 5))


@pytest.mark.parametrize(
    "compute",
    [
        {"block": {"y": 32, "x": 32}},
        {"block": {"y": 17, "x": 23}},
        {"block": {"y": 50}, "window": {"y": 50}},
        {"window": {"t": 2, "y": 33, "x": 44}},
        {"block": {"y": 8, "x": 8}, "window": {"y": 8, "x": 16}},
        {"workers": 1},
    ],
    ids=json.dumps,
)
def test_how_the_work_is_cut_changes_no_pixel(movie, compute):
    path, pixels = movie
    chain = {"white_tophat": {"radius": 4}}, {"subtract_opening": {"minimum_size": 3, "maximum_size": 5}}
    summary = pipeline.run(config(path, *chain, compute=compute))
    first = tophat(pixels, 4)
    opened = ndimage.maximum_filter(ndimage.minimum_filter(first, (1, 3, 3)), (1, 5, 5))
    np.testing.assert_array_equal(read(summary.output), first.astype(np.int32) - opened.astype(np.int32))


def test_the_output_carries_axes_scale_units_and_where_it_came_from(movie):
    path, _ = movie
    summary = pipeline.run(config(path, {"white_tophat": {"radius": "1.3 um"}}))
    group = zarr.open_group(store=summary.output, mode="r")
    multiscale = group.attrs["ome"]["multiscales"][0]
    assert [(axis["name"], axis.get("unit")) for axis in multiscale["axes"]] == [
        ("t", "second"), ("y", "micrometer"), ("x", "micrometer")
    ]  # fmt: skip
    np.testing.assert_allclose(
        multiscale["datasets"][0]["coordinateTransformations"][0]["scale"], [30, 0.325, 0.325]
    )
    yaozarrs.validate_zarr_store(summary.output)
    kept = pipeline.write.provenance_of(summary.output)
    assert kept["plan"]["halo"] == {"t": 0, "y": 8, "x": 8}
    assert kept["config"]["steps"][0]["white_tophat"]["radius"] == "1.3 um"


def test_version_0_4_and_padded_axes_are_valid_too(movie):
    path, pixels = movie
    summary = pipeline.run(config(path, {"white_tophat": {"radius": 3}}, version="0.4", axes="tczyx"))
    yaozarrs.validate_zarr_store(summary.output)
    found = read(summary.output)
    assert found.shape == (5, 1, 1, 90, 110)
    np.testing.assert_array_equal(found[:, 0, 0], tophat(pixels, 3))


def test_the_same_config_again_has_nothing_to_do(movie):
    path, _ = movie
    asked = config(path, {"white_tophat": {"radius": 3}})
    pipeline.run(asked)
    before = sorted((file, file.stat().st_mtime_ns) for file in (path.parent / "out.ome.zarr").rglob("*"))
    summary = pipeline.run(asked)
    assert summary.already_complete
    assert before == sorted(
        (file, file.stat().st_mtime_ns) for file in (path.parent / "out.ome.zarr").rglob("*")
    )


def test_another_config_does_not_replace_an_output_unless_told(movie):
    path, pixels = movie
    pipeline.run(config(path, {"white_tophat": {"radius": 3}}))
    other = config(path, {"white_tophat": {"radius": 4}})
    with pytest.raises(RequestError, match="exists already"):
        pipeline.run(other)
    np.testing.assert_array_equal(read(path.parent / "out.ome.zarr"), tophat(pixels, 3))
    pipeline.run(other, overwrite=True)
    np.testing.assert_array_equal(read(path.parent / "out.ome.zarr"), tophat(pixels, 4))
    assert sorted(os.listdir(path.parent)) == ["movie.tif", "out.ome.zarr"]


def test_a_run_that_stops_on_the_way_leaves_no_output_and_goes_on_where_it_stopped(movie, monkeypatch):
    path, pixels = movie
    asked = config(path, {"white_tophat": {"radius": 3}}, compute={"window": {"t": 1}})
    import pipeline.runtime.store as store

    whole = store.StoreRegion.__call__

    def broken(self, region, before, block):
        if region[0].start == 3:
            raise OSError("the cable was pulled")
        return whole(self, region, before, block)

    monkeypatch.setattr(store.StoreRegion, "__call__", broken)
    with pytest.raises(pipeline.PipelineError, match="cable") as caught:
        pipeline.run(asked)
    assert caught.value.exit_code == 3
    assert not (path.parent / "out.ome.zarr").exists()
    monkeypatch.undo()
    summary = pipeline.run(asked)
    assert summary.windows_resumed >= 1
    np.testing.assert_array_equal(read(summary.output), tophat(pixels, 3))
    assert sorted(os.listdir(path.parent)) == ["movie.tif", "out.ome.zarr"]


def test_a_clipped_pixel_is_counted(movie):
    path, pixels = movie
    step = {"subtract_opening": {"minimum_size": 3, "maximum_size": 9}}
    summary = pipeline.run(config(path, step, dtype="uint16", overflow="clip"))
    opened = ndimage.maximum_filter(ndimage.minimum_filter(pixels, (1, 3, 3)), (1, 9, 9))
    exact = pixels.astype(np.int32) - opened
    assert summary.clipped == np.count_nonzero(exact < 0) > 0
    np.testing.assert_array_equal(read(summary.output), np.clip(exact, 0, 65535))


def test_an_offset_keeps_negatives_in_an_unsigned_type(movie):
    path, pixels = movie
    step = {"subtract_gaussian": {"sigma": 2}}
    summary = pipeline.run(config(path, step, dtype="uint16", overflow="clip", offset=30000))
    exact = pixels - ndimage.gaussian_filter(pixels.astype(float), (0, 2, 2), mode="nearest")
    expected = np.clip(exact + 30000, 0, 65535)
    assert np.abs(read(summary.output) - expected).max() <= 0.5 + 1e-4 * 60000


def test_overflow_error_names_the_pixel(movie):
    path, _ = movie
    step = {"subtract_opening": {"minimum_size": 3, "maximum_size": 9}}
    with pytest.raises(DataError, match=r"at t \d, y \d+, x \d+ is outside uint16"):
        pipeline.run(config(path, step, dtype="uint16", overflow="error"))


def test_a_dtype_that_cannot_hold_the_result_must_be_settled_before(movie):
    path, _ = movie
    with pytest.raises(RequestError, match="overflow: clip"):
        pipeline.run(config(path, {"subtract_gaussian": {"sigma": 2}}, dtype="uint16"))
    assert os.listdir(path.parent) == ["movie.tif"]


def test_more_clipped_than_allowed_fails_the_commit(movie):
    path, _ = movie
    step = {"subtract_opening": {"minimum_size": 3, "maximum_size": 9}}
    with pytest.raises(DataError, match="were clipped"):
        pipeline.run(config(path, step, dtype="uint16", overflow="clip", max_clipped="0.1%"))
    assert not (path.parent / "out.ome.zarr").exists()


def test_as_many_clipped_as_allowed_are_none_too_many(movie):
    path, pixels = movie
    step = {"subtract_opening": {"minimum_size": 3, "maximum_size": 9}}
    clipped = pipeline.run(config(path, step, dtype="uint16", overflow="clip")).clipped
    for name, most in (("a.zarr", clipped / pixels.size), ("b.zarr", (clipped - 1) / pixels.size)):
        asked = config(path, step, output=name, dtype="uint16", overflow="clip", max_clipped=most)
        if name == "b.zarr":
            with pytest.raises(DataError, match="were clipped"):
                pipeline.run(asked)
        else:
            assert pipeline.run(asked).clipped == clipped


def test_none_clipped_may_be_asked_for(movie):
    path, _ = movie
    asked = config(path, {"white_tophat": {"radius": 3}}, dtype="uint16", overflow="clip", max_clipped=0)
    assert pipeline.run(asked).clipped == 0


def test_nan_is_refused_and_propagated_on_request(tmp_path):
    pixels = np.ones((2, 20, 20), np.float32)
    pixels[1, 4, 7] = np.nan
    tifffile.imwrite(tmp_path / "nan.tif", pixels, imagej=True, metadata={"axes": "TYX"})
    asked = config(tmp_path / "nan.tif", {"gaussian": {"sigma": 1}})
    with pytest.raises(DataError, match="t 1, y 4, x 7") as caught:
        pipeline.run(asked)
    assert caught.value.exit_code == 5
    asked["input"]["nan"] = "propagate"
    assert np.isnan(read(pipeline.run(asked, overwrite=True).output)[1]).any()


@pytest.mark.parametrize("cluster", ["local"])
def test_worker_processes_give_the_same(movie, cluster):
    path, pixels = movie
    summary = pipeline.run(
        config(
            path, {"white_tophat": {"radius": 4}}, compute={"cluster": cluster, "block": {"y": 45, "x": 55}}
        )
    )
    assert "2 worker processes" in summary.where
    np.testing.assert_array_equal(read(summary.output), tophat(pixels, 4))


def test_a_scheduler_address_and_a_scheduler_file_work(movie, tmp_path):
    import distributed

    path, pixels = movie
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        file = tmp_path / "scheduler.json"
        file.write_text(json.dumps({"address": cluster.scheduler_address}))
        for number, target in enumerate((cluster.scheduler_address, str(file))):
            summary = pipeline.run(
                config(
                    path,
                    {"white_tophat": {"radius": 4}},
                    output=f"{number}.ome.zarr",
                    compute={"cluster": target},
                )
            )
            np.testing.assert_array_equal(read(summary.output), tophat(pixels, 4))


def test_an_unreachable_scheduler_is_one_clear_line(movie):
    path, _ = movie
    with pytest.raises(RequestError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"):
        pipeline.run(config(path, {"white_tophat": {"radius": 4}}, compute={"cluster": "tcp://127.0.0.1:9"}))


def test_save_writes_a_lazy_image_with_its_metadata(movie):
    path, pixels = movie
    flat = pipeline.WhiteTophat(radius=4)(pipeline.open_image(path))
    summary = pipeline.save(flat, path.parent / "flat.ome.zarr")
    np.testing.assert_array_equal(read(summary.output), tophat(pixels, 4))
    assert pipeline.open_image(summary.output).scale["y"] == pytest.approx(0.325)


def test_a_level_of_the_pyramid_is_the_mean_of_the_one_before(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 4000, (1100, 700), np.uint16)
    tifffile.imwrite(tmp_path / "large.tif", pixels)
    summary = pipeline.run(config(tmp_path / "large.tif", {"white_tophat": {"radius": 2}}))
    full, half = read(summary.output), read(summary.output, "1")
    assert half.shape == (550, 350)
    exact = full.reshape(550, 2, 350, 2).mean(axis=(1, 3))
    np.testing.assert_array_equal(half, np.rint(exact))


def test_select_and_channels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 4000, (4, 2, 40, 40), np.uint16)
    tifffile.imwrite(
        tmp_path / "two.ome.tif", pixels, metadata={"axes": "TCYX", "Channel": {"Name": ["GFP", "mCherry"]}}
    )
    asked = config(tmp_path / "two.ome.tif", {"white_tophat": {"radius": 3, "channels": ["mCherry"]}})
    asked["input"]["select"] = {"t": "1:3"}
    summary = pipeline.run(asked)
    found = read(summary.output)
    np.testing.assert_array_equal(found[:, 0], pixels[1:3, 0])
    np.testing.assert_array_equal(found[:, 1], tophat(pixels[1:3, 1], 3))
    assert pipeline.open_image(summary.output).channels == ("GFP", "mCherry")


def test_output_may_not_be_the_input_nor_lie_in_it(movie):
    path, _ = movie
    pipeline.run(config(path, {"white_tophat": {"radius": 3}}))
    zarr_path = path.parent / "out.ome.zarr"
    for output in ("out.ome.zarr", "out.ome.zarr/inner.zarr", "."):
        asked = config(zarr_path, {"white_tophat": {"radius": 3}}, output=output)
        with pytest.raises(RequestError, match="input"):
            pipeline.run(asked, overwrite=True)


def test_the_input_is_not_touched(movie):
    path, _ = movie
    before = path.read_bytes(), path.stat().st_mtime_ns
    pipeline.run(config(path, {"white_tophat": {"radius": 3}}))
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert isinstance(path, Path)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_radius_in_um_on_five_axes_is_an_ellipsoid_from_ome_tiff_and_from_ome_zarr(tmp_path, version):
    pixels = np.random.default_rng(5).integers(0, 4000, (2, 2, 7, 40, 44), np.uint16)
    micrometre = {"PhysicalSizeZ": 2.0, "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.25}
    units = {f"{key}Unit": "µm" for key in micrometre}
    tifffile.imwrite(tmp_path / "five.ome.tif", pixels, metadata={"axes": "TCZYX", **micrometre, **units})
    step = {"white_tophat": {"radius": "3 um", "along": "zyx"}}
    first = pipeline.run(config(tmp_path / "five.ome.tif", step, compute={"block": {"y": 16, "x": 24}}))
    z, y, x = np.ogrid[-1:2, -6:7, -12:13]
    ellipsoid = (z / 1.5) ** 2 + (y / 6) ** 2 + (x / 12) ** 2 <= 1 + 1e-9
    expected = np.stack(
        [[ndimage.white_tophat(stack, footprint=ellipsoid) for stack in time] for time in pixels]
    )
    np.testing.assert_array_equal(read(first.output), expected)
    copied = pipeline.save(
        pipeline.open_image(tmp_path / "five.ome.tif"), tmp_path / "five.zarr", version=version
    )
    second = pipeline.run(config(Path(copied.output), step, output="again.ome.zarr"))
    np.testing.assert_array_equal(read(second.output), expected)
    image = pipeline.open_image(second.output)
    assert (image.axes, image.scale["z"], image.units["z"]) == ("tczyx", 2.0, "micrometer")
