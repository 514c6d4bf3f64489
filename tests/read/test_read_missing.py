"""Chunks that no file holds: counted where they may be empty, refused where they are known to be lost."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from read_samples import coded, whole

import pipeline
from pipeline.cli import main
from pipeline.model.errors import DataError
from pipeline.read import open_source
from pipeline.read.zarr import missing
from pipeline.write import provenance_of

STACK = coded((5, 20, 33)) + np.uint16(1)
GRID = (5, 3, 3)

NAMES = {
    "v2, flat": {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "."}},
    "v2, nested": {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "v3, flat": {"chunk_key_encoding": {"name": "default", "separator": "."}},
    "v3, nested": {"chunk_key_encoding": {"name": "default", "separator": "/"}},
    "v3 with names of v2": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
    "sharded": {"shards": (2, 16, 32)},
}


def stored(path, pixels=STACK, **options):
    array = zarr.create_array(
        path, shape=pixels.shape, chunks=(1, 8, 16), dtype=pixels.dtype, **{"fill_value": 0, **options}
    )
    array[...] = pixels
    return array


def file_of(path, array, *numbers):
    return path / array.metadata.encode_chunk_key(numbers)


@pytest.mark.parametrize("options", NAMES.values(), ids=NAMES)
def test_nothing_is_said_where_every_chunk_is_there(tmp_path, options):
    stored(tmp_path / "a.zarr", **options)
    assert open_source(tmp_path / "a.zarr", axes="tyx").missing() is None


@pytest.mark.parametrize("options", NAMES.values(), ids=NAMES)
def test_chunks_without_a_file_are_counted(tmp_path, options):
    path = tmp_path / "a.zarr"
    array = stored(path, **options)
    file_of(path, array, 2, 1, 1).unlink()
    file_of(path, array, 0, 0, 1).unlink()
    found = open_source(path, axes="tyx").missing()
    lost = whole(open_source(path, axes="tyx")) != STACK
    expected = sum(
        lost[t, y * 8 : y * 8 + 8, x * 16 : x * 16 + 16].any()
        for t, y, x in itertools.product(*map(range, GRID))
    )
    assert (found.chunks, found.of) == (expected, 45)
    assert expected == (2 if "shards" not in options else 1 + 2 * 2)
    assert f"{expected} of 45 chunks are not there and are read as 0 (the fill value)" in str(found)


def test_the_first_of_them_is_named_and_so_is_the_fill_value(tmp_path):
    array = stored(tmp_path / "a.zarr", fill_value=7)
    file_of(tmp_path / "a.zarr", array, 3, 2, 0).unlink()
    said = str(open_source(tmp_path / "a.zarr", axes="tyx").missing())
    assert said == "1 of 45 chunks are not there and are read as 7 (the fill value), chunk 3, 2, 0 the first"


@pytest.mark.parametrize(
    ("select", "expected"),
    [({"t": "0:2"}, None), ({"t": "2:5"}, (1, 27)), ({"t": [0, 3]}, (1, 18)), ({"y": "0:8"}, None)],
)
def test_what_is_not_selected_does_not_count(tmp_path, select, expected):
    array = stored(tmp_path / "a.zarr")
    file_of(tmp_path / "a.zarr", array, 3, 2, 0).unlink()
    found = open_source(tmp_path / "a.zarr", axes="tyx", select=select).missing()
    assert (found and (found.chunks, found.of)) == expected


@pytest.mark.parametrize(
    ("select", "expected"),
    [({"y": "0:8"}, None), ({"y": "8:16", "x": "16:20"}, (1, 5)), ({"t": "4:5"}, None)],
)
def test_of_a_shard_that_a_selection_cuts_only_its_part_counts(tmp_path, select, expected):
    pixels = STACK.copy()
    pixels[1, 8:16, 16:32] = 0
    stored(tmp_path / "a.zarr", pixels, shards=(2, 16, 32))
    found = open_source(tmp_path / "a.zarr", axes="tyx", select=select).missing()
    assert (found and (found.chunks, found.of)) == expected


def test_axes_in_another_order(tmp_path):
    pixels = STACK.transpose(2, 0, 1)
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=pixels.shape, chunks=(16, 1, 8), dtype=pixels.dtype,
        dimension_names=["x", "t", "y"],
    )  # fmt: skip
    array[...] = pixels
    file_of(tmp_path / "a.zarr", array, 1, 4, 2).unlink()
    source = open_source(tmp_path / "a.zarr")
    assert source.missing().chunks == 1
    assert open_source(tmp_path / "a.zarr", select={"t": "0:4"}).missing() is None
    assert open_source(tmp_path / "a.zarr", select={"t": [4], "x": "20:21"}).missing().of == 3


@pytest.mark.parametrize("place", ["start", "end"])
def test_chunks_inside_a_shard(tmp_path, place):
    pixels = STACK.copy()
    pixels[1, :8, :16] = 0
    pixels[4, 16:, 32:] = 0
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=pixels.shape, dtype=pixels.dtype, chunks=(5, 24, 48), fill_value=0,
        filters=(), compressors=(),
        serializer=zarr.codecs.ShardingCodec(chunk_shape=(1, 8, 16), index_location=place),
    )  # fmt: skip
    array[...] = pixels
    found = open_source(tmp_path / "a.zarr", axes="tyx").missing()
    assert (found.chunks, found.of, found.first) == (2, 45, "1, 0, 0")


def test_of_many_shards_some_are_looked_into(tmp_path, monkeypatch):
    monkeypatch.setattr(missing, "MOST_SHARDS", 2)
    pixels = STACK.copy()
    pixels[:, :8, :16] = 0
    stored(tmp_path / "a.zarr", pixels, shards=(1, 24, 48))
    found = open_source(tmp_path / "a.zarr", axes="tyx").missing()
    assert (found.chunks, found.of) == (2, 18)


def test_without_a_fill_value_a_missing_chunk_is_refused(tmp_path):
    path = tmp_path / "a.zarr"
    array = stored(path, zarr_format=2)
    text = (path / ".zarray").read_text()
    (path / ".zarray").write_text(text.replace('"fill_value": 0', '"fill_value": null'))
    assert open_source(path, axes="tyx").missing() is None
    file_of(path, array, 2, 1, 1).unlink()
    with pytest.raises(DataError, match=r"1 of 45 chunks .* no fill value: nothing says what they hold"):
        open_source(path, axes="tyx").missing()


# Images that bgone wrote tell what was there


@pytest.fixture(params=["0.4", "0.5", "sharded"])
def own(tmp_path, request):
    """An image that bgone wrote, one frame of which is empty."""
    pixels = STACK.copy()
    pixels[2] = 777
    stored(tmp_path / "a.zarr", pixels)
    extra = {"version": "0.4"} if request.param == "0.4" else {}
    if request.param == "sharded":
        extra = {"shards": {"t": 1, "y": 24, "x": 48}}
    image = pipeline.WhiteTophat(radius=2)(pipeline.open_image(tmp_path / "a.zarr", axes="tyx"))
    pipeline.save(image, tmp_path / "own.ome.zarr", chunks={"t": 1, "y": 8, "x": 16}, **extra)
    return tmp_path / "own.ome.zarr"


def chunk_files(image, level=0):
    return sorted(path for path in (image / f"{level}").rglob("*") if path.is_file() and path.name.isdigit())


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def test_what_it_left_empty_is_known_to_be_empty(own):
    assert len({path.parts[-3] for path in chunk_files(own)}) == 4
    assert open_source(own).missing() is None


def test_its_own_notes_are_nothing_that_is_not_carried_over(own):
    assert open_source(own).not_carried == ()


@pytest.mark.parametrize("harm", [Path.unlink, cut], ids=["deleted", "cut"])
def test_what_it_wrote_and_is_lost_is_refused(own, harm):
    path = chunk_files(own)[-1]
    harm(path)
    with pytest.raises(DataError) as caught:
        open_source(own).missing()
    assert path.relative_to(own).as_posix() in str(caught.value)
    assert "is not what bgone wrote" in str(caught.value)
    assert "if the image was changed on purpose, remove" in str(caught.value)
    assert open_source(own, select={"t": "0:4"}).missing() is None
    shutil.rmtree(own / "bgone")
    assert open_source(own).missing().fill == "0"


def test_a_damaged_manifest_is_named(own):
    cut(own / "bgone" / "manifest.txt")
    with pytest.raises(DataError, match=r"manifest\.txt, which says what its files held, is damaged"):
        open_source(own).missing()


def test_an_array_given_by_itself_is_known_too(own):
    chunk_files(own)[0].unlink()
    with pytest.raises(DataError, match="the file is missing"):
        open_source(own / "0", axes="tyx").missing()


# What a user is told


def test_plan_info_and_run_say_it_and_the_output_keeps_it(tmp_path, capsys):
    array = stored(tmp_path / "a.zarr", dimension_names=["t", "y", "x"])
    file_of(tmp_path / "a.zarr", array, 3, 2, 0).unlink()
    text = "1 of 45 chunks are not there and are read as 0 (the fill value)"
    config = tmp_path / "run.yaml"
    config.write_text(
        "input: {path: a.zarr}\nsteps:\n  - white_tophat: {radius: 2}\noutput: {path: out.ome.zarr}\n"
    )
    for command in (
        ["info", str(tmp_path / "a.zarr")],
        ["plan", str(config)],
        ["plan", str(config), "--json"],
    ):
        assert main(command) == 0
        assert text in capsys.readouterr().out
    assert main(["run", str(config)]) == 0
    shown = capsys.readouterr()
    assert f"note: of the input {text}" in shown.err
    assert f"of the input {text}" in shown.out
    assert provenance_of(str(tmp_path / "out.ome.zarr"))["summary"]["missing"].startswith(text)


def test_a_lost_chunk_of_an_own_image_stops_a_run_before_it_begins(own, capsys):
    config = own.parent / "run.yaml"
    steps = "steps:\n  - white_tophat: {radius: 1}\n"
    config.write_text(f"input: {{path: {own.name}}}\n{steps}output: {{path: out.ome.zarr}}\n")
    path = chunk_files(own)[-1]
    path.unlink()
    for command in ("plan", "run"):
        assert main([command, str(config)]) == 5
        said = capsys.readouterr().err
        assert f"{config}:1: input.path: " in said
        assert f"{path.relative_to(own).as_posix()}: the file is missing" in said
    assert not list(own.parent.glob("out.ome.zarr*"))
    assert main(["info", str(own)]) == 0
    assert "the file is missing" in capsys.readouterr().out
