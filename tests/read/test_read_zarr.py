"""Zarr arrays and OME-Zarr images."""

import os

import numpy as np
import pytest
import zarr
from read_samples import check_pixels, coded, refusal, whole, write_ngff

from pipeline.model.errors import DataError, StoppedError
from pipeline.read import open_source

STACK = coded((5, 20, 33))
FIVE = coded((3, 2, 4, 16, 24))


def plain(path, array, zarr_format=3, names=None, **options):
    if zarr_format == 3:
        options["dimension_names"] = names
    elif names:
        options["attributes"] = {"_ARRAY_DIMENSIONS": names}
    options.setdefault("chunks", (1, 8, 16)[-array.ndim :])
    stored = zarr.create_array(path, shape=array.shape, dtype=array.dtype, zarr_format=zarr_format, **options)
    stored[...] = array
    return path


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_plain_arrays(tmp_path, zarr_format):
    path = plain(tmp_path / "a.zarr", STACK, zarr_format)
    assert "such as input.axes: tyx" in refusal(path)
    source = open_source(path, axes="tyx")
    assert (source.spec.chunks, source.shards) == ((1, 8, 16), None)
    check_pixels(source, STACK)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("names", [["t", "y", "x"], ["time", "Y", "X"], ["channel", "y", "x"]])
def test_names_of_dimensions_are_axes(tmp_path, zarr_format, names):
    source = open_source(plain(tmp_path / "a.zarr", STACK, zarr_format, names))
    assert source.spec.axes == {"channel": "cyx"}.get(names[0], "tyx")


def test_two_axes_are_y_and_x_and_any_order_is_put_in_order(tmp_path):
    check_pixels(open_source(plain(tmp_path / "a.zarr", STACK[0])), STACK[0])
    source = open_source(plain(tmp_path / "b.zarr", STACK, names=["x", "t", "y"]))
    assert (source.spec.axes, source.spec.chunks) == ("tyx", (8, 16, 1))
    check_pixels(source, STACK.transpose(1, 2, 0))


def test_shards_are_known_and_chunks_are_the_inner_ones(tmp_path):
    source = open_source(plain(tmp_path / "a.zarr", STACK, shards=(2, 16, 32)), axes="tyx")
    assert (source.spec.chunks, source.shards) == ((1, 8, 16), (2, 16, 32))
    check_pixels(source, STACK)


@pytest.mark.parametrize(
    "dtype", ["bool", "float16", "int8", "uint32", "int64", "uint64", "float64", "float32"]
)
def test_dtypes(tmp_path, dtype):
    array = STACK.astype(dtype)
    source = open_source(plain(tmp_path / "a.zarr", array), axes="tyx")
    assert source.spec.dtype == {"bool": np.uint8, "float16": np.float32}.get(dtype, np.dtype(dtype))
    check_pixels(source, array.astype(source.spec.dtype))


def test_big_endian(tmp_path):
    source = open_source(plain(tmp_path / "a.zarr", STACK.astype(">u2"), zarr_format=2), axes="tyx")
    check_pixels(source, STACK)


@pytest.mark.parametrize("dtype", ["complex64", [("r", "u1"), ("g", "u1")]])
def test_other_dtypes_are_refused(tmp_path, dtype):
    zarr.create_array(tmp_path / "a.zarr", shape=(4, 4), dtype=np.dtype(dtype), zarr_format=2)
    name = "structured" if isinstance(dtype, list) else dtype
    assert f"has {name} pixels" in refusal(tmp_path / "a.zarr")


SCALE = {"type": "scale", "scale": [30.0, 1.0, 2.0, 0.5, 0.25]}
HALF = {"type": "scale", "scale": [30.0, 1.0, 2.0, 1.0, 0.5]}
SHIFT = {"type": "translation", "translation": [0.0, 0.0, 5.0, 10.0, 20.0]}
OMERO = {
    "channels": [
        {"label": "GFP", "color": "00FF00", "window": {"start": 0, "end": 9, "min": 0, "max": 9}},
        {"label": "488", "color": "ff00ff", "window": {"start": 0, "end": 9, "min": 0, "max": 9}},
    ]
}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_with_levels_scale_and_channels(tmp_path, version):
    path = write_ngff(
        tmp_path / "a.ome.zarr", [FIVE, FIVE[..., ::2, ::2]], "tczyx", [[SCALE, SHIFT], [HALF]],
        version, omero=OMERO, name="embryo",
    )  # fmt: skip
    source = open_source(path)
    spec = source.spec
    assert (spec.axes, spec.name, spec.chunks) == ("tczyx", "embryo", (1, 1, 1, 8, 8))
    assert spec.scale == {"t": 30, "z": 2, "y": 0.5, "x": 0.25}
    assert spec.units == {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
    assert spec.translation == {"z": 5, "y": 10, "x": 20}
    assert [(channel.name, channel.color) for channel in spec.channels] == [
        ("GFP", "00FF00"),
        ("488", "FF00FF"),
    ]
    check_pixels(source, FIVE)
    coarse = open_source(path, level=1)
    assert coarse.spec.scale == {"t": 30, "z": 2, "y": 1, "x": 0.5}
    check_pixels(coarse, FIVE[..., ::2, ::2])
    assert "no level 2; its levels are 0 (0), 1 (1)" in refusal(path, level=2)
    assert open_source(path, select={"c": ["488"]}).spec.channel_names == ("488",)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_transforms_of_the_whole_pyramid_come_after_the_levels(tmp_path, version):
    top = [
        {"type": "scale", "scale": [2.0, 1.0, 1.0, 10.0, 10.0]},
        {"type": "translation", "translation": [0.0, 0.0, 0.0, 1.0, 2.0]},
    ]
    path = write_ngff(tmp_path / "a.zarr", [FIVE], "tczyx", [[SCALE, SHIFT]], version, top=top)
    spec = open_source(path).spec
    assert spec.scale == {"t": 60, "z": 2, "y": 5, "x": 2.5}
    assert spec.translation == {"z": 5, "y": 101, "x": 202}


def test_axes_of_length_1_stay(tmp_path):
    array = FIVE[:1, :1, :1]
    path = write_ngff(tmp_path / "a.zarr", [array], "tczyx", [[SCALE]])
    check_pixels(open_source(path), array)


def test_a_scale_of_1_without_a_unit_is_no_scale(tmp_path):
    path = write_ngff(tmp_path / "a.zarr", [STACK], "tyx", [[{"type": "scale", "scale": [1.0, 1.0, 1.0]}]])
    group = zarr.open_group(path, mode="a")
    ome = group.attrs["ome"]
    for axis in ome["multiscales"][0]["axes"]:
        axis.pop("unit", None)
    group.attrs["ome"] = ome
    assert open_source(path).spec.scale == {}


def test_the_scale_given_replaces_the_one_there_and_moves_the_translation(tmp_path):
    path = write_ngff(tmp_path / "a.zarr", [FIVE], "tczyx", [[SCALE, SHIFT]])
    spec = open_source(path, scale={"y": "500 nm", "z": "1 um"}).spec
    assert spec.scale == {"t": 30, "z": 1, "y": 500, "x": 0.25}
    assert (spec.units["y"], spec.units["x"]) == ("nanometer", "micrometer")
    assert spec.translation == {"z": 2.5, "y": 10_000, "x": 20}


def test_a_selection_begins_where_the_image_begins_and_further(tmp_path):
    path = write_ngff(tmp_path / "a.zarr", [FIVE], "tczyx", [[SCALE, SHIFT]])
    spec = open_source(path, select={"t": "1:", "y": "4:", "x": [3, 7]}).spec
    assert spec.translation == {"t": 30.0, "z": 5.0, "y": 10 + 4 * 0.5, "x": 20 + 3 * 0.25}


def test_the_identity_follows_what_is_said_and_selected_and_the_arrays_metadata(tmp_path):
    def identity(transform, **options):
        path = write_ngff(tmp_path / "a.zarr", [STACK], "tyx", [[transform]])
        for file in (path / "0").rglob("*"):
            os.utime(file, ns=(0, 0))
        return open_source(path, **options).identity()

    plain = {"type": "scale", "scale": [30.0, 0.5, 0.5]}
    first = identity(plain)
    assert identity(plain) == first
    assert identity({"type": "scale", "scale": [30.0, 0.5, 0.25]})["scale"] != first["scale"]
    assert identity(plain, select={"t": "1:3"})["picks"] != first["picks"]
    assert identity(plain, axes="zyx")["axes"] != first["axes"]
    (tmp_path / "a.zarr/0/zarr.json").write_text(
        (tmp_path / "a.zarr/0/zarr.json").read_text().replace('"fill_value": 0', '"fill_value": 7')
    )
    assert open_source(tmp_path / "a.zarr").identity()["metadata"] != first["metadata"]


def test_labels_and_tables_are_named_as_not_carried_over(tmp_path):
    path = write_ngff(tmp_path / "a.zarr", [STACK], "tyx", [[{"type": "scale", "scale": [1.0, 1.0, 1.0]}]])
    group = zarr.open_group(path, mode="a")
    group.create_group("labels", attributes={"ome": {"version": "0.5", "labels": ["nuclei", "cells"]}})
    group.create_group("tables")
    assert open_source(path).not_carried == ("labels (nuclei, cells)", "tables")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_is_not_valid_says_where_why_and_what_to_give_instead(tmp_path, version):
    short = {"type": "scale", "scale": [1.0, 1.0]}
    path = write_ngff(tmp_path / "a.zarr", [STACK], "tyx", [[short]], version)
    assert refusal(path) == (
        f"input.path: '{path}' has metadata that is not OME-Zarr: "
        "multiscales.0.datasets.0.coordinateTransformations.0.scale: 2 numbers for 3 axes (t, y, x); "
        f"mend it, or give one of its arrays with input.axes and input.scale, such as {path}/0: "
        "0 (5 × 20 × 33)"
    )


def test_other_versions_are_refused_by_name(tmp_path):
    path = write_ngff(tmp_path / "a.zarr", [STACK], "tyx", [[SCALE]], "0.6")
    assert "is OME-Zarr 0.6, and bgone reads 0.1 to 0.5" in refusal(path)


def test_a_metadata_of_other_rank_than_the_array(tmp_path):
    path = write_ngff(tmp_path / "a.zarr", [STACK], "tczyx", [[SCALE]])
    assert "has 5 axes in its metadata and 3 in its array" in refusal(path)


def one_image(path):
    return write_ngff(path, [STACK], "tyx", [[{"type": "scale", "scale": [1.0, 0.5, 0.5]}]])


@pytest.mark.parametrize("listed", [True, False])
def test_several_positions_are_listed(tmp_path, listed):
    root = tmp_path / "many.zarr"
    group = zarr.create_group(root, attributes={"ome": {"version": "0.5", "bioformats2raw.layout": 3}})
    one_image(root / "0")
    one_image(root / "1")
    if listed:
        group.create_group("OME", attributes={"ome": {"version": "0.5", "series": ["0", "1"]}})
    assert "(a multi-position store): 0, 1; give one of them" in refusal(root)
    check_pixels(open_source(root, series=1), STACK)
    check_pixels(open_source(root / "1"), STACK)
    assert "has no series 2" in refusal(root, series=2)


def test_a_single_position_is_opened(tmp_path):
    zarr.create_group(tmp_path / "a.zarr", zarr_format=2, attributes={"bioformats2raw.layout": 3})
    write_ngff(tmp_path / "a.zarr/0", [STACK], "tyx", [[{"type": "scale", "scale": [1.0, 0.5, 0.5]}]], "0.4")
    check_pixels(open_source(tmp_path / "a.zarr"), STACK)


def test_a_plate_lists_its_images(tmp_path):
    root = tmp_path / "plate.zarr"
    wells = [
        {"path": "A/1", "rowIndex": 0, "columnIndex": 0},
        {"path": "B/2", "rowIndex": 1, "columnIndex": 1},
    ]
    group = zarr.create_group(root, attributes={"ome": {"version": "0.5", "plate": {"wells": wells}}})
    for well in wells:
        images = [{"path": "0"}, {"path": "1"}]
        group.create_group(well["path"], attributes={"ome": {"version": "0.5", "well": {"images": images}}})
    one_image(root / "A/1/0")
    text = refusal(root)
    assert "is a plate of 2 wells: A/1/0, A/1/1, B/2/0, B/2/1" in text
    assert f"such as {root}/A/1/0" in text
    assert "is a well of a plate: 0, 1" in refusal(root / "A/1")
    check_pixels(open_source(root / "A/1/0"), STACK)


def test_a_group_without_an_image_lists_its_arrays(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr")
    assert "a Zarr group without an array" in refusal(tmp_path / "a.zarr")
    group.create_array("raw/c0", shape=(5, 6), dtype="u2")
    group.create_array("raw/c1", shape=(5, 7), dtype="u2")
    text = refusal(tmp_path / "a.zarr")
    assert "the arrays inside are raw/c0 (5 × 6), raw/c1 (5 × 7)" in text
    assert f"such as {tmp_path}/a.zarr/raw/c0" in text
    assert open_source(tmp_path / "a.zarr/raw/c0").spec.shape == (5, 6)


def test_metadata_that_is_broken(tmp_path):
    path = plain(tmp_path / "a.zarr", STACK)
    (path / "zarr.json").write_text('{"zarr_format": 3, ')
    assert "cannot be opened as Zarr" in refusal(path)
    (path / "zarr.json").unlink()
    assert "is no Zarr: it has no zarr.json" in refusal(path)


def test_a_damaged_chunk_is_named_when_it_is_read(tmp_path):
    path = plain(tmp_path / "a.zarr", STACK)
    chunk = next(file for file in sorted((path / "c/2").rglob("*")) if file.is_file())
    chunk.write_bytes(b"damaged")
    source = open_source(path, axes="tyx")
    np.testing.assert_array_equal(source.read((slice(0, 2), slice(0, 20), slice(0, 33))), STACK[:2])
    with pytest.raises(DataError, match=r"a\.zarr' cannot be decoded at \[0:5, 0:20, 0:33\]"):
        whole(source)


def test_an_array_that_goes_or_changes_is_noticed(tmp_path):
    path = plain(tmp_path / "a.zarr", STACK)
    source = open_source(path, axes="tyx")
    whole(source)
    plain(path, STACK[:4], overwrite=True)
    with pytest.raises(DataError):
        whole(source)
    (path / "zarr.json").unlink()
    with pytest.raises(StoppedError):
        whole(source)


def test_a_file_of_its_metadata_is_no_zarr(tmp_path):
    path = plain(tmp_path / "a.zarr", STACK)
    assert f"give the folder it is in, '{path}'" in refusal(path / "zarr.json")


def test_missing_chunks_are_the_fill_value(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", shape=(4, 6), dtype="u2", fill_value=7)
    assert (whole(open_source(tmp_path / "a.zarr")) == 7).all()
