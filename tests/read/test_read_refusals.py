"""What cannot be read gets one line, before anything is made."""

import os
import shutil
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from read_samples import coded, refusal, write_frames, write_tiff

from pipeline.model.errors import DataError, RequestError, StoppedError
from pipeline.read import open_source

PLANE = coded((9, 12))


def cut(path, keep, **options):
    write_tiff(path, coded((6, 40, 50)), photometric="minisblack", **options)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: int(size * keep)])


def flipped(path):
    """Break the chain of pages of a small file in the middle."""
    write_tiff(path, coded((6, 8, 8)), photometric="minisblack", metadata=None, contiguous=False)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[3].offset
    data = bytearray(path.read_bytes())
    data[offset : offset + 2] = b"\xff\xff"
    path.write_bytes(data)


def folder_of(path, name, content=b"x"):
    path.mkdir()
    (path / name).write_bytes(content)


CASES = {
    "missing": ("a.tif", lambda path: None, "does not exist; give the path of an existing file or folder"),
    "missing, one alike": (
        "embryo.tif",
        lambda path: write_tiff(path.with_name("embryo1.tif"), PLANE),
        "did you mean 'embryo1.tif'?",
    ),
    "missing folder": ("none/at/all.tif", lambda path: None, "all.tif' does not exist; the folder"),
    "below a file": ("a.tif/0", lambda path: write_tiff(path.parent, PLANE), "does not exist"),
    "glob of nothing": (
        "a_*.tif",
        lambda path: write_tiff(path.with_name("b_0.tif"), PLANE),
        "inside are b_0.tif",
    ),
    "glob in no folder": ("none/a_*.tif", lambda path: None, "none' does not exist"),
    "empty file": ("a.tif", lambda path: path.touch(), "is empty (0 bytes)"),
    "text": ("a.tif", lambda path: path.write_text("hello, world"), "is neither a TIFF nor a Zarr"),
    "four bytes": ("a.tif", lambda path: path.write_bytes(b"II*\0"), "is truncated or damaged"),
    "header alone": ("a.tif", lambda path: path.write_bytes(b"II*\0\x08\0\0\0"), "is truncated or damaged"),
    "no pages": (
        "a.tif",
        lambda path: path.write_bytes(b"II*\0\0\0\0\0" + bytes(64)),
        "is truncated or damaged",
    ),
    "cut at 90 %": ("a.tif", lambda path: cut(path, 0.9), "is truncated or damaged"),
    "cut at 50 %, BigTIFF": ("a.tif", lambda path: cut(path, 0.5, bigtiff=True), "is truncated or damaged"),
    "cut at 50 %, packed": (
        "a.tif",
        lambda path: cut(path, 0.5, compression="zlib"),
        "is truncated or damaged",
    ),
    "cut at 50 %, ImageJ": ("a.tif", lambda path: cut(path, 0.5, imagej=True), "is truncated or damaged"),
    "cut at 50 %, OME": ("a.ome.tif", lambda path: cut(path, 0.5, ome=True), "is truncated or damaged"),
    "cut at 99 %, OME": (
        "a.ome.tif",
        lambda path: cut(path, 0.99, ome=True),
        "its description cannot be read",
    ),
    "cut, one header": (
        "a.tif",
        lambda path: cut(path, 0.6, imagej=True, truncate=True),
        "is truncated or damaged",
    ),
    "chain broken": ("a.tif", flipped, "is truncated or damaged"),
    "RGB": (
        "a.tif",
        lambda path: write_tiff(path, np.zeros((8, 9, 3), "u1"), photometric="rgb"),
        "is a colour picture (RGB) with 3 samples a pixel; split its colours into channels",
    ),
    "RGBA": (
        "a.tif",
        lambda path: write_tiff(
            path, np.zeros((8, 9, 4), "u1"), photometric="rgb", extrasamples=["unassalpha"]
        ),
        "is a colour picture (RGBA) with 4 samples a pixel",
    ),
    "RGB in planes": (
        "a.tif",
        lambda path: write_tiff(path, np.zeros((3, 8, 9), "u1"), photometric="rgb", planarconfig="separate"),
        "is a colour picture (RGB)",
    ),
    "RGB, ImageJ": (
        "a.tif",
        lambda path: write_tiff(path, np.zeros((4, 8, 9, 3), "u1"), imagej=True),
        "is a colour picture (RGB)",
    ),
    "RGB, OME": (
        "a.ome.tif",
        lambda path: write_tiff(path, np.zeros((8, 9, 3), "u1"), photometric="rgb"),
        "is a colour picture",
    ),
    "HDF5": (
        "a.dat",
        lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(9)),
        "is HDF5, which bgone does not",
    ),
    "HDF5 by its name": (
        "a.h5",
        lambda path: path.write_bytes(bytes(99)),
        "is HDF5, which bgone does not read",
    ),
    "Imaris": ("a.ims", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"), "is Imaris, which"),
    "Nikon": ("a.nd2", lambda path: path.write_bytes(b"\xda\xce\xbe\n" + bytes(9)), "is Nikon ND2"),
    "PNG": ("a.png", lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "is PNG"),
    "zipped Zarr": ("a.zarr.zip", lambda path: path.write_bytes(b"PK\x03\x04abc"), "is ZIP archive"),
    "empty folder": ("in", lambda path: path.mkdir(), "holds no TIFF file and is no Zarr"),
    "folder of others": (
        "in",
        lambda path: folder_of(path, "a.png"),
        "holds PNG files, which bgone does not read; convert it",
    ),
    "folder of hidden": ("in", lambda path: folder_of(path, "._a.tif"), "holds no TIFF file"),
    "folder called zarr": (
        "a.zarr",
        lambda path: folder_of(path, "b.tif"),
        "is no Zarr: it has no zarr.json",
    ),
    "folder of folders": ("*", lambda path: path.with_name("b").mkdir(), "matches no file, but folders"),
    "dangling link": ("a.tif", lambda path: path.symlink_to("gone.tif"), "does not exist"),
    "no pixels": (
        "a.zarr",
        lambda path: zarr.create_array(path, shape=(0, 5), dtype="u2"),
        "its y is 0 long",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_nothing_made(tmp_path, case, capfd):
    name, make, expected = CASES[case]
    path = tmp_path / name
    make(path)
    before = sorted(map(str, tmp_path.rglob("*")))
    text = refusal(path)
    assert expected in text
    assert len(text.splitlines()) == 1
    assert sorted(map(str, tmp_path.rglob("*"))) == before
    assert capfd.readouterr() == ("", "")


def test_a_url_is_refused_where_the_extra_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    assert "needs the extra 'remote'; run: pip install 'bgone[remote]'" in refusal("s3://bucket/a.zarr")


@pytest.mark.parametrize("option", [{"series": 1}, {"level": 1}])
@pytest.mark.parametrize("kind", ["zarr", "tiff", "ome", "folder"])
def test_series_and_levels_that_are_not_there(tmp_path, kind, option):
    if kind == "zarr":
        zarr.create_array(tmp_path / "a", shape=(5, 5), dtype="u2")
    elif kind == "folder":
        write_frames(tmp_path / "a", PLANE[None])
    else:
        write_tiff(tmp_path / "a", PLANE, ome=kind == "ome")
    assert f"input.{next(iter(option))}: " in refusal(tmp_path / "a", **option)


@contextmanager
def ordinary_user():
    """Drop root's rights, which may read anything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def open_folder():
    """A folder that an ordinary user may look into, unlike pytest's own when root runs it."""
    folder = Path(tempfile.mkdtemp(prefix="bgone-test-"))
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("kind", ["file", "folder", "file in folder", "zarr"])
def test_no_permission(open_folder, kind):
    path = open_folder / "a.tif"
    if kind == "file":
        locked = write_tiff(path, PLANE)
    elif kind == "folder":
        locked = write_frames(path, PLANE[None])
    elif kind == "file in folder":
        locked = write_frames(path, np.stack([PLANE] * 3)) / "f_001.tif"
    else:
        zarr.create_array(path, shape=(5, 5), dtype="u2")
        locked = path / "zarr.json"
    locked.chmod(0)
    with ordinary_user(), pytest.raises(RequestError) as caught:
        open_source(path)
    assert "permission denied" in str(caught.value)


def test_damage_that_no_header_shows_is_no_traceback_of_a_library(tmp_path):
    """Flip bytes anywhere: a refusal, or pixels, and nothing else."""
    path = tmp_path / "a.tif"
    write_tiff(
        path, coded((4, 16, 16)), compression="zlib", photometric="minisblack", metadata={"axes": "TYX"}
    )
    whole = path.read_bytes()
    generator = np.random.default_rng(3)
    refused = 0
    for _ in range(400):
        data = bytearray(whole)
        for place in generator.integers(0, len(data), 3):
            data[place] ^= int(generator.integers(1, 256))
        path.write_bytes(data)
        try:
            source = open_source(path)
        except RequestError:
            refused += 1
            continue
        with suppress(DataError, StoppedError):
            if source.spec.nbytes < 1 << 20:
                source.read(tuple(slice(0, size) for size in source.spec.shape))
    assert refused > 20
