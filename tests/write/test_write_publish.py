"""What appears under the output's name: valid, complete, checkable, and never half of it."""

import json
import os
import shutil
import warnings

import numpy as np
import pytest
import yaozarrs
import zarr

from pipeline.model.errors import RequestError, StoppedError, VerificationError
from pipeline.model.image import Channel, ImageSpec
from pipeline.storage import durable
from pipeline.write import (
    build_level,
    contrast_limits,
    create,
    level_windows,
    make_layout,
    provenance_of,
    publish,
    read_manifest,
    seal,
    state,
    verify,
    write_region,
)
from pipeline.write.metadata import ContrastLimits, image_attributes

SPEC = ImageSpec(
    "tcyx",
    (2, 2, 600, 520),
    np.dtype("uint16"),
    scale={"t": 30.0, "y": 0.325, "x": 0.5},
    units={"t": "second", "y": "micrometer", "x": "micrometer"},
    translation={"t": 60.0, "x": 10.0},
    channels=(Channel("GFP", "00ff00"), Channel("mCherry")),
)
CUT = {"t": 1, "c": 1}


def pixels_of(spec=SPEC):
    pixels = (np.arange(np.prod(spec.shape)) % 60001).astype(spec.dtype).reshape(spec.shape)
    pixels[1, 1] = 0
    return pixels


def write_all(layout, pixels):
    create(layout)
    records = list(write_region(layout, 0, tuple(slice(0, size) for size in pixels.shape), pixels))
    for level in range(1, len(layout.levels)):
        for window in level_windows(layout, level):
            records += build_level(layout, level, window)
    return records


def finished(folder, overwrite=False, fill=0, name="out.ome.zarr", **keywords):
    layout = make_layout(SPEC, f"{folder}/{name}", fingerprint="f00d", chunks=CUT, **keywords)
    records = write_all(layout, pixels_of() + np.uint16(fill))
    seal(layout, records, {"config": {"steps": []}}, limits=contrast_limits(layout))
    publish(layout, overwrite=overwrite)
    return layout


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize("axes", [None, "tczyx"])
def test_the_output_is_valid_and_readers_of_zarr_meet_nothing_strange(tmp_path, version, axes):
    with warnings.catch_warnings(action="error"):
        layout = finished(tmp_path, version=version, axes=axes)
        yaozarrs.validate_zarr_store(layout.path)
        members = dict(zarr.open_group(layout.path, mode="r").members())
    assert set(members) == {"0", "1", "bgone"}
    assert os.listdir(tmp_path) == ["out.ome.zarr"]
    np.testing.assert_array_equal(members["0"][...].reshape(SPEC.shape), pixels_of())


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_axes_scale_units_and_channels_are_said(tmp_path, version):
    layout = make_layout(SPEC, f"{tmp_path}/out.ome.zarr", version=version)
    attributes = image_attributes(layout)
    image = attributes["ome"] if version == "0.5" else attributes
    (multiscale,) = image["multiscales"]
    assert (image if version == "0.5" else multiscale)["version"] == version
    assert multiscale["name"] == "out"
    assert multiscale["axes"] == [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "c", "type": "channel"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    transforms = [dataset["coordinateTransformations"] for dataset in multiscale["datasets"]]
    assert transforms[0][0]["scale"] == [30, 1, 0.325, 0.5]
    assert transforms[0][1]["translation"] == [60, 0, 0, 10]
    assert transforms[1][0]["scale"] == [30, 1, 0.65, 1]
    assert transforms[1][1]["translation"] == [60, 0, 0.1625, 10.25]
    assert [channel["label"] for channel in image["omero"]["channels"]] == ["GFP", "mCherry"]
    assert image["omero"]["channels"][0]["color"] == "00FF00"


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_contrast_and_range_of_a_channel_are_what_viewers_are_told(tmp_path, version):
    layout = make_layout(SPEC, f"{tmp_path}/out.ome.zarr", version=version)
    attributes = image_attributes(
        layout, [ContrastLimits(10.0, 90.0, 3.0, 4095.0), ContrastLimits(20.0, 80.0, 0.0, 500.0)]
    )
    image = attributes["ome"] if version == "0.5" else attributes
    assert [channel["window"] for channel in image["omero"]["channels"]] == [
        {"start": 10, "end": 90, "min": 3, "max": 4095}, {"start": 20, "end": 80, "min": 0, "max": 500}
    ]  # fmt: skip


@pytest.mark.parametrize("size", [600, 500])
def test_how_levels_are_made_is_said_where_there_are_such(tmp_path, size):
    spec = ImageSpec("yx", (size, size), np.dtype("uint16"))
    layout = make_layout(spec, f"{tmp_path}/out.ome.zarr", fingerprint="f00d")
    (multiscale,) = image_attributes(layout)["ome"]["multiscales"]
    if size == 500:
        assert "type" not in multiscale
        return
    pixels = np.random.default_rng(0).integers(0, 60000, spec.shape, np.uint16)
    write_all(layout, pixels)
    halved = zarr.open_array(f"{layout.image}/1", mode="r")[...]
    exact = {"mean": np.rint(pixels.reshape(300, 2, 300, 2).mean(axis=(1, 3)))}
    np.testing.assert_array_equal(halved, exact[multiscale["type"]])


def test_a_level_lies_where_its_pixels_lie(tmp_path):
    """A linear ramp stays the same ramp at every level, once scale and translation are applied."""
    spec = ImageSpec("yx", (1024, 2048), np.dtype("float64"), scale={"x": 0.5}, translation={"x": 3.0})
    layout = make_layout(spec, f"{tmp_path}/out.zarr", fingerprint="f00d")
    ramp = np.broadcast_to(3.0 + 0.5 * np.arange(2048.0), spec.shape)
    write_all(layout, ramp)
    for dataset in image_attributes(layout)["ome"]["multiscales"][0]["datasets"]:
        row = zarr.open_array(f"{layout.image}/{dataset['path']}", mode="r")[0]
        scale, *shift = dataset["coordinateTransformations"]
        start = shift[0]["translation"][1] if shift else 0.0
        np.testing.assert_allclose(row, start + scale["scale"][1] * np.arange(row.size), rtol=1e-12)


@pytest.mark.parametrize("size", [0.0, -0.5, float("nan")])
def test_a_scale_that_ngff_cannot_say_is_refused_before_the_start(tmp_path, size):
    layout = make_layout(ImageSpec("yx", (8, 8), np.dtype("uint8"), scale={"y": size}), f"{tmp_path}/o.zarr")
    with pytest.raises(RequestError, match="is no size"):
        create(layout)
    assert os.listdir(tmp_path) == []


def test_contrast_comes_from_the_pixels(tmp_path):
    spec = ImageSpec("cyx", (2, 600, 600), np.dtype("float32"))
    layout = make_layout(spec, f"{tmp_path}/out.zarr", fingerprint="f00d")
    pixels = np.random.default_rng(0).normal(0, 1, spec.shape).astype("float32")
    pixels[1] = np.nan
    pixels[0, 0, 0] = 1e6
    write_all(layout, pixels)
    first, second = contrast_limits(layout)
    assert -5 < first.start < 0 < first.end < 5
    assert first.high > 1e5
    assert second.end > second.start


def test_contrast_leaves_out_few_pixels_at_both_ends(tmp_path):
    layout = make_layout(
        ImageSpec("yx", (256, 256), np.dtype("uint16")), f"{tmp_path}/o.zarr", fingerprint="ab"
    )
    write_all(layout, np.random.default_rng(0).permutation(256 * 256).reshape(256, 256).astype("uint16"))
    (window,) = contrast_limits(layout)
    assert window.start == pytest.approx(0.005 * 65535, rel=1e-3)
    assert window.end == pytest.approx(0.998 * 65535, rel=1e-3)


def test_contrast_looks_at_all_sides_of_large_planes(tmp_path):
    spec = ImageSpec("tyx", (8, 2048, 2048), np.dtype("uint8"))
    layout = make_layout(spec, f"{tmp_path}/o.zarr", fingerprint="ab", pyramid=False)
    pixels = np.zeros(spec.shape, np.uint8)
    pixels[:, 1024:, 1024:] = 200  # bright at one side alone
    write_all(layout, pixels)
    (window,) = contrast_limits(layout)
    assert window.high == window.end == 200


def test_provenance_keeps_whatever_it_is_given(tmp_path):
    layout = make_layout(ImageSpec("yx", (8, 8), np.dtype("uint8")), f"{tmp_path}/o.zarr", fingerprint="ab")
    records = write_all(layout, np.ones((8, 8), "uint8"))
    odd = {"a": np.float32(0.5), "b": float("nan"), "c": {1: (np.int64(3), tmp_path)}, "d": None, "µ": "é"}
    seal(layout, records, odd, files={"report.html": b"<p>"})
    publish(layout)
    kept = provenance_of(layout.path)
    assert kept is not None
    assert kept["a"] == 0.5
    assert kept["c"] == {"1": [3, str(tmp_path)]}
    assert kept["d"] is None
    assert kept["µ"] == "é"
    assert provenance_of(layout.path)["fingerprint"] == "ab"
    with open(f"{layout.path}/bgone/report.html", "rb") as file:
        assert file.read() == b"<p>"


def test_an_image_with_a_file_that_was_never_written_is_not_sealed(tmp_path):
    layout = make_layout(SPEC, f"{tmp_path}/out.ome.zarr", fingerprint="f00d", chunks=CUT)
    records = write_all(layout, pixels_of())
    with pytest.raises(StoppedError, match=r"1 of 4 files of level 0 .* 0/c/0/1/0/0"):
        seal(layout, [record for record in records if record.key != "0/c/0/1/0/0"], {})
    assert state(layout) == "unfinished"
    with pytest.raises(StoppedError, match="not whole"):
        publish(layout)
    assert not os.path.exists(layout.path)


def test_nothing_is_replaced_even_if_it_came_during_the_run(tmp_path):
    layout = make_layout(SPEC, f"{tmp_path}/out.ome.zarr", fingerprint="f00d", chunks=CUT)
    seal(layout, write_all(layout, pixels_of()), {})
    os.mkdir(layout.path)
    with pytest.raises(RequestError, match="has come to exist"):
        publish(layout)
    assert os.listdir(layout.path) == []
    os.rmdir(layout.path)
    publish(layout)
    assert list(verify(layout.path)) == []


@pytest.mark.parametrize("kernel_helps", [True, False])
def test_overwrite_keeps_the_old_output_until_the_new_one_is_whole(tmp_path, monkeypatch, kernel_helps):
    if not kernel_helps:
        monkeypatch.setattr(durable, "_renameat2", lambda: None)
    finished(tmp_path)
    seen = []

    def look(message, path):
        if message == "before exchange":
            seen.append(zarr.open_array(f"{path}/0", mode="r")[0, 0, 0, 0])

    monkeypatch.setattr(durable, "hook", look)
    layout = finished(tmp_path, overwrite=True, fill=7)
    assert seen == [0]
    assert zarr.open_array(f"{layout.path}/0", mode="r")[0, 0, 0, 0] == 7
    assert os.listdir(tmp_path) == ["out.ome.zarr"]
    assert list(verify(layout.path)) == []


def test_without_the_kernels_help_nothing_is_replaced_either(tmp_path, monkeypatch):
    monkeypatch.setattr(durable, "_renameat2", lambda: None)
    layout = make_layout(SPEC, f"{tmp_path}/out.ome.zarr", fingerprint="f00d", chunks=CUT)
    seal(layout, write_all(layout, pixels_of()), {})
    os.mkdir(layout.path)
    with pytest.raises(RequestError, match="has come to exist"):
        publish(layout)


@pytest.mark.parametrize("there", ["an empty folder", "a file"])
@pytest.mark.parametrize("kernel_helps", [True, False])
def test_what_appears_in_the_last_moment_is_not_replaced(tmp_path, monkeypatch, kernel_helps, there):
    if not kernel_helps:
        monkeypatch.setattr(durable, "_renameat2", lambda: None)
    layout = make_layout(SPEC, f"{tmp_path}/out.ome.zarr", fingerprint="f00d", chunks=CUT)
    seal(layout, write_all(layout, pixels_of()), {})

    def appear(message, path):
        if message == "before rename" and path == layout.path:
            os.mkdir(path) if there == "an empty folder" else open(path, "w").close()

    monkeypatch.setattr(durable, "hook", appear)
    with pytest.raises(RequestError, match="has come to exist"):
        publish(layout)
    assert os.path.isfile(layout.path) if there == "a file" else os.listdir(layout.path) == []
    assert state(layout) == "sealed"


def test_a_work_folder_on_another_disk_is_copied_beside_the_output_first(tmp_path, monkeypatch):
    other = "/dev/shm"
    if not os.path.isdir(other) or os.stat(other).st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("there is no second file system here")
    work = f"{other}/bgone-test-{os.getpid()}"
    os.mkdir(work)
    try:
        layout = finished(tmp_path, work_root=work)
        assert os.listdir(work) == []
    finally:
        shutil.rmtree(work)
    assert os.listdir(tmp_path) == ["out.ome.zarr"]
    assert list(verify(layout.path)) == []


@pytest.mark.parametrize("harm", ["flip", "cut", "remove", "add", "metadata"])
@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_verify_names_what_was_damaged_later(tmp_path, harm, version):
    layout = finished(tmp_path, version=version)
    records = list(read_manifest(layout.path))
    victim = next(record.key for record in records if record.empty == (harm == "add"))
    if harm == "metadata":
        victim = f"1/{'zarr.json' if version == '0.5' else '.zarray'}"
    path = f"{layout.path}/{victim}"
    if harm == "add":
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"x")
    elif harm == "remove":
        os.unlink(path)
    elif harm == "cut":
        os.truncate(path, os.stat(path).st_size - 1)
    else:
        with open(path, "r+b") as file:
            file.seek(20)
            byte = file.read(1)[0]
            file.seek(20)
            file.write(bytes([byte ^ 4]))
    assert [damage.key for damage in verify(layout.path)] == [victim]


def test_provenance_may_be_larger_than_other_metadata(tmp_path, monkeypatch):
    spec = ImageSpec("yx", (8, 8), np.dtype("uint8"))
    layout = make_layout(spec, f"{tmp_path}/o.zarr", fingerprint="ab")
    seal(layout, write_all(layout, np.ones((8, 8), "uint8")), {"input": 9000 * "x"})
    publish(layout)
    monkeypatch.setattr("pipeline.write.own._METADATA_BYTES", 5000)
    assert list(verify(layout.path)) == []


def test_a_damaged_manifest_is_seen(tmp_path):
    layout = finished(tmp_path)
    path = f"{layout.path}/bgone/manifest.txt"
    with open(path, "rb") as file:
        data = file.read()
    for at in range(0, len(data), 7):
        with open(path, "wb") as file:
            file.write(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(VerificationError):
            list(read_manifest(layout.path))
    with open(path, "wb") as file:
        file.write(b"".join(data.splitlines(keepends=True)[:-2]))
    with pytest.raises(VerificationError):
        list(read_manifest(layout.path))
    os.unlink(path)
    with pytest.raises(VerificationError, match="cannot be read"):
        list(verify(layout.path))


def test_a_folder_that_cannot_be_made_is_told_before_the_start(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    layout = make_layout(SPEC, f"{tmp_path}/file/out.ome.zarr", fingerprint="f00d")
    with pytest.raises(RequestError, match="cannot write") as caught:
        create(layout)
    assert caught.value.exit_code == 2
    assert "same command" not in str(caught.value)


def test_a_full_disk_stops_the_run_in_words(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    layout = make_layout(SPEC, f"{tmp_path}/out.ome.zarr", fingerprint="f00d", chunks=CUT)
    create(layout)
    with pytest.raises(StoppedError, match="no space left") as caught:
        durable.append("/dev/full", b"x")
    assert caught.value.exit_code == 3
    assert "same command" in str(caught.value)


def test_names_that_json_must_escape_survive(tmp_path):
    spec = ImageSpec("cyx", (1, 8, 8), np.dtype("uint8"), channels=(Channel('é "x" \\ µ', "nonsense"),))
    layout = make_layout(spec, f"{tmp_path}/ä b.zarr", fingerprint="ab")
    seal(layout, write_all(layout, np.ones((1, 8, 8), "uint8")), {})
    publish(layout)
    with open(f"{layout.path}/zarr.json", encoding="utf-8") as file:
        (channel,) = json.load(file)["attributes"]["ome"]["omero"]["channels"]
    assert (channel["label"], channel["color"]) == ('é "x" \\ µ', "FFFFFF")
    yaozarrs.validate_zarr_store(layout.path)


def test_what_killed_runs_of_other_configs_began_to_remove_is_removed(tmp_path):
    begun = tmp_path / f"out.ome.zarr.work-{16 * 'a'}.gone"
    foreign = [
        tmp_path / name for name in ("out.ome.zarr.work-mine.gone", f"other.zarr.work-{16 * 'a'}.gone")
    ]
    for folder in (begun, *foreign):
        (folder / "image").mkdir(parents=True)
        (folder / "lock").touch()
    finished(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["out.ome.zarr", *(path.name for path in foreign)]
    )
