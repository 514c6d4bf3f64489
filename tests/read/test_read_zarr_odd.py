"""Zarrs that cannot be, or are no files at all: a line in words, at once, and no Python warning."""

import json
import os
import subprocess
import sys

import numcodecs
import numpy as np
import pytest
import zarr
from read_samples import check_pixels, coded, refusal, whole, write_ngff

from pipeline.cli import main
from pipeline.model.errors import DataError, PipelineError
from pipeline.read import open_source

STACK = coded((3, 16, 24))


def array(path, pixels=STACK, zarr_format=3, **options):
    names = {"dimension_names": ["t", "y", "x"]} if zarr_format == 3 else {}
    options = {"compressors": None, "chunks": (1, 8, 12), "fill_value": 0} | names | options
    zarr.create_array(path, data=pixels, zarr_format=zarr_format, **options)
    return path


def edited(path, **changes):
    file = path / ("zarr.json" if (path / "zarr.json").exists() else ".zarray")
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return path


def grid(*lengths):
    return {"name": "regular", "configuration": {"chunk_shape": lengths}}


V3 = {
    "a length of 2**63": ({"shape": [1 << 63, 16, 24]}, "its shape, 9223372036854775808 × 16"),
    "a length of 10**30": ({"shape": [10**30, 16, 24]}, "cannot be: no computer holds so many pixels"),
    "lengths that make 2**63 together": ({"shape": [1 << 40, 1 << 20, 1 << 10]}, "cannot be: no computer"),
    "far more chunks than anybody has": ({"shape": [10**12, 16, 24]}, "has 4e+12 chunks, and bgone keeps"),
    "a negative length": ({"shape": [-3, 16, 24]}, "cannot be opened as Zarr"),
    "a length of 0": ({"shape": [0, 16, 24]}, "holds no pixels: its t is 0 long"),
    "lengths that are texts": ({"shape": ["3", 16, 24]}, "cannot be opened as Zarr"),
    "no shape": ({"shape": None}, "cannot be opened as Zarr"),
    "chunks of 0": ({"chunk_grid": grid(0, 8, 12)}, "cannot be opened as Zarr"),
    "chunks below 0": ({"chunk_grid": grid(-1, 8, 12)}, "cannot be opened as Zarr"),
    "chunks of 2**63": ({"chunk_grid": grid(1, 1 << 63, 12)}, "its chunks, 1 × 9223372036854775808"),
    "a grid that nobody knows": ({"chunk_grid": {"name": "spiral"}}, "cannot be opened as Zarr"),
    "100 axes": (
        {"shape": [1] * 100, "chunk_grid": grid(*[1] * 100), "dimension_names": None}, "it has 100 axes"
    ),
    "no axes": ({"shape": [], "chunk_grid": grid(), "dimension_names": None}, "it has 0 axes"),
    "a fill value beyond the dtype": ({"fill_value": 70000}, "cannot be opened as Zarr"),
    "a fill value that is a list": ({"fill_value": [1]}, "cannot be opened as Zarr"),
    "no fill value": ({"fill_value": None}, "cannot be opened as Zarr"),
    "complex pixels": ({"data_type": "complex64", "fill_value": [0, 0]}, "has complex64 pixels"),
    "a dtype that nobody knows": ({"data_type": "float999"}, "cannot be opened as Zarr"),
    "a codec that nobody knows": (
        {"codecs": [{"name": "bytes"}, {"name": "magic"}]}, "write it again with blosc, zstd, gzip"
    ),
    "no codecs": ({"codecs": []}, "cannot be opened as Zarr"),
    "shards of chunks of 0": (
        {"codecs": [{"name": "sharding_indexed", "configuration": {
            "chunk_shape": [0, 1, 1], "codecs": [{"name": "bytes"}], "index_codecs": [{"name": "bytes"}]}}]},
        "cannot be opened as Zarr",
    ),
    "attributes that are a text": ({"attributes": "x"}, "cannot be opened as Zarr"),
    "attributes far too deep": ({"attributes": {"a": json.loads("[" * 200 + "]" * 200)}}, "than 100 levels"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), V3.values(), ids=V3)
def test_metadata_that_cannot_be_is_refused_when_opened(tmp_path, changes, words):
    assert words in refusal(edited(array(tmp_path / "a.zarr"), **changes))


V2 = {
    "a codec that nobody knows": ({"compressor": {"id": "magic"}}, "write it again with blosc, zstd, gzip"),
    "a filter that nobody knows": ({"filters": [{"id": "magic"}]}, "cannot be opened as Zarr"),
    "an order that nobody knows": ({"order": "K"}, "cannot be opened as Zarr"),
    "texts": ({"dtype": "|S2", "fill_value": None}, "has bytes16 pixels"),
    "dates": ({"dtype": "<M8[s]", "fill_value": None}, "has datetime64[s] pixels"),
    "objects": ({"dtype": "|O", "fill_value": None}, "cannot be opened as Zarr"),
    "structures": ({"dtype": [["a", "|u1"], ["b", "|u1"]], "fill_value": None}, "has structured pixels"),
    "a dtype that is a number": ({"dtype": 5}, "cannot be opened as Zarr"),
    "chunks of 0": ({"chunks": [0, 8, 12]}, "cannot be opened as Zarr"),
}


@pytest.mark.parametrize(("changes", "words"), V2.values(), ids=V2)
def test_metadata_of_v2_that_cannot_be_is_refused_when_opened(tmp_path, changes, words):
    assert words in refusal(edited(array(tmp_path / "a.zarr", zarr_format=2), **changes))


TEXTS = {
    "deeper than Python goes": (b'{"a": ' + b"[" * 99999 + b"]" * 99999 + b"}", "too many levels"),
    "not UTF-8": (b'{"zarr_format": 3, "a": "\xff\xfe"}', "its metadata are no UTF-8 text"),
    "empty": (b"", "its metadata are no JSON"),
    "a list": (b"[]", "cannot be opened as Zarr"),
    "a number without end": (b'{"zarr_format": ' + b"9" * 9999 + b"}", "cannot be opened as Zarr"),
}


@pytest.mark.parametrize(("text", "words"), TEXTS.values(), ids=TEXTS)
def test_what_is_no_metadata_is_refused(tmp_path, text, words):
    path = array(tmp_path / "a.zarr")
    (path / "zarr.json").write_bytes(text)
    assert words in refusal(path)


@pytest.mark.parametrize("name", ["zarr.json", ".zarray", ".zattrs"])
def test_metadata_of_80_mb_are_not_read(tmp_path, name):
    path = array(tmp_path / "a.zarr", zarr_format=3 if name == "zarr.json" else 2)
    os.truncate(path / name, 80 << 20) if (path / name).exists() else (path / name).write_bytes(
        b" " * (80 << 20)
    )
    assert f"{name}' has 80 MiB, and metadata has at most 16" in refusal(path)


NO_FILES = {
    "a FIFO": os.mkfifo,
    "a device": lambda path: os.symlink("/dev/zero", path),
    "a folder": os.mkdir,
}


@pytest.mark.parametrize(("kind", "make"), NO_FILES.items(), ids=NO_FILES)
def test_metadata_that_are_no_file_are_refused_and_not_waited_for(tmp_path, kind, make):
    path = array(tmp_path / "a.zarr")
    (path / "zarr.json").unlink()
    make(path / "zarr.json")
    assert f"zarr.json' is {kind}, no file" in refusal(path)


WAYS = {"directly": {}, "by zarr-python": {"zarr_format": 2, "order": "F"}}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("kind", "make"), NO_FILES.items(), ids=NO_FILES)
def test_chunks_that_are_no_files_are_refused_and_not_waited_for(tmp_path, kind, make, way, capsys):
    path = array(tmp_path / "a.zarr", **WAYS[way])
    chunk = path / ("1.0.0" if "order" in WAYS[way] else "c/1/0/0")
    chunk.unlink()
    make(chunk)
    source = open_source(path, axes="tyx")
    with pytest.raises(DataError, match=f"at .*1.0.0.* is {kind}, no file"):
        whole(source)
    config = tmp_path / "c.yaml"
    config.write_text(
        "input: {path: a.zarr, axes: tyx}\nsteps: [white_tophat: {radius: 2}]\noutput: {path: out.zarr}\n"
        "compute: {cluster: threads, workers: 1}\n"
    )
    assert main(["run", str(config), "--quiet"]) == 5
    assert f"is {kind}, no file" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "c.yaml"]


def test_a_link_to_nothing_is_a_chunk_that_is_not_there(tmp_path):
    path = array(tmp_path / "a.zarr")
    (path / "c/1/0/0").unlink()
    (path / "c/1/0/0").symlink_to("nowhere")
    source = open_source(path)
    assert source.missing().first == "1, 0, 0"
    assert (whole(source)[1, :8, :12] == 0).all()
    assert source.identity()["files"] == 12


def test_links_that_lead_in_circles_are_followed_once(tmp_path):
    path = array(tmp_path / "a.zarr")
    for name in "abcdefgh":
        (path / "c" / name).symlink_to(path / "c")
    source = open_source(path)
    assert source.missing() is None
    assert source.identity()["files"] < 60


def test_a_folder_that_may_not_be_listed_is_refused_in_words(tmp_path, monkeypatch):
    path = array(tmp_path / "a.zarr")
    source = open_source(path)

    def denied(folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(PipelineError, match="may not be read: permission denied"):
        source.missing()


def test_a_chunk_that_is_larger_than_memory_is_told_by_what_it_should_be(tmp_path):
    path = edited(array(tmp_path / "a.zarr"), chunk_grid=grid(1, 10**6, 10**6))
    with pytest.raises(
        DataError, match=r"chunk c/0/0/0: it decodes to 192 bytes where there should be 2000000000000"
    ):
        whole(open_source(path))


FILTERS = {
    "delta": ([numcodecs.Delta("<u2")], "<u2"),
    "fixed scale": ([numcodecs.FixedScaleOffset(offset=0, scale=1, dtype="<f4", astype="<u2")], "<f4"),
    "another type": ([numcodecs.AsType(encode_dtype="<f8", decode_dtype="<u2")], "<u2"),
    "shuffle": ([numcodecs.Shuffle(2)], "<u2"),
}  # fmt: skip


@pytest.mark.parametrize(
    "compressor", [None, numcodecs.Zstd(), numcodecs.GZip()], ids=["none", "zstd", "gzip"]
)
@pytest.mark.parametrize(("filters", "dtype"), FILTERS.values(), ids=FILTERS)
def test_filters_of_v2(tmp_path, filters, dtype, compressor):
    pixels = STACK.astype(dtype)
    path = array(tmp_path / "a.zarr", pixels, 2, filters=filters, compressors=compressor)
    check_pixels(open_source(path, axes="tyx"), pixels)


def test_no_python_warning_reaches_the_terminal(tmp_path):
    """Of the library neither: whoever opens an image is not told of lines in zarr's source."""
    listed = edited(array(tmp_path / "a.zarr", zarr_format=2), filters=[])
    both = array(tmp_path / "b.zarr")
    (both / ".zarray").write_bytes((listed / ".zarray").read_bytes())
    image = write_ngff(tmp_path / "c.zarr", [STACK], "tyx", [[{"type": "scale", "scale": [1.0, 0.5, 0.5]}]])
    group = zarr.open_group(image, mode="a")
    ome = group.attrs["ome"]
    ome["multiscales"][0]["axes"][2]["unit"] = "pixel"
    group.attrs["ome"] = ome
    (image / "stray").mkdir()
    program = (
        "import sys, pipeline\nfrom pipeline.read import open_source\n"
        "for path in sys.argv[1:]:\n"
        "    source = open_source(path, axes='tyx')\n"
        "    source.read(((slice(0, 1),) * 3)), source.missing(), source.identity(), source.not_carried\n"
    )
    paths = [str(path) for path in (listed, both, image)]
    for command in (
        ["-W", "default", "-c", program, *paths],
        ["-m", "pipeline", "info", str(listed), "--axes", "tyx"],
    ):
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
        ours = [line for line in done.stderr.splitlines() if "zarr" in line or "pydantic" in line]
        assert not ours, done.stderr
    assert not done.stderr


def test_nan_in_attributes_changes_nothing(tmp_path):
    path = edited(array(tmp_path / "a.zarr"), attributes={"gain": float("nan")})
    source = open_source(path)
    np.testing.assert_array_equal(whole(source), STACK)
    assert source.identity() == open_source(path).identity()
