"""Names, files and limits that are unusual: read, or refused in one line by name; never waited for."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from read_samples import check_pixels, coded, refusal, write_frames

import pipeline
from pipeline.cli import main
from pipeline.model.errors import RequestError, StoppedError
from pipeline.read import files, open_source
from pipeline.read.formats import KNOWN_FORMATS, format_of
from pipeline.read.tiff import handles as tiff_files
from pipeline.storage import durable

FRAMES = coded((4, 6, 8))
CONFIG = """
input: {{path: '{path}'}}
steps: [{{white_tophat: {{radius: 2}}}}]
output: {{path: out.ome.zarr}}
"""


def latin(path):
    """Return a path whose name is Latin-1, not UTF-8; skip where a disk has no such names."""
    given = os.fsdecode(os.fsencode(path).replace("ä".encode(), b"\xe4"))
    try:
        with open(given, "wb"):
            pass
        os.unlink(given)
    except OSError:
        pytest.skip("this file system has UTF-8 names alone")
    return given


def make_odd(kind, path):
    """Put something in a file's place."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        here = os.getcwd()
        os.chdir(os.path.dirname(path))  # the name of a socket may have some 100 bytes
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.basename(path))
        os.chdir(here)
    elif kind == "device":
        os.symlink("/dev/zero", path)
    elif kind == "link":
        os.symlink("not-there.tif", path)
    elif kind == "empty":
        open(path, "wb").close()
    else:
        os.mkdir(path)


WORDS = {
    "pipe": "is a pipe, not a file", "socket": "is a socket, not a file", "device": "is a device, not a file",
    "link": "is a link to a file that is not there", "empty": "is empty (0 bytes)",
    "folder": "is a folder, not a file",
}  # fmt: skip


@pytest.mark.parametrize("kind", WORDS)
@pytest.mark.parametrize("pattern", [".", "*.tif"])
def test_an_odd_member_is_refused_by_name(tmp_path, kind, pattern):
    if kind == "folder" and pattern == "*.tif":
        pytest.skip("a glob takes files alone")
    folder = write_frames(tmp_path / "in", FRAMES)
    (folder / "f_002.tif").unlink()
    make_odd(kind, f"{folder}/f_002.tif")
    text = refusal(folder / pattern)
    assert f"f_002.tif' {WORDS[kind]}" in text


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.companion.ome"])
def test_what_never_ends_is_not_read(tmp_path, kind, name):
    make_odd(kind, f"{tmp_path}/{name}")
    assert WORDS[kind] in refusal(tmp_path / name)


def test_the_last_frame_may_not_be_lost_behind_a_link(tmp_path):
    """A glob that left links to nothing out would give three frames, with no word."""
    folder = write_frames(tmp_path / "in", FRAMES)
    (folder / "f_003.tif").unlink()
    (folder / "f_003.tif").symlink_to("gone.tif")
    assert "f_003.tif' is a link to a file that is not there" in refusal(folder / "f_*")


def test_a_file_that_vanishes_meanwhile_is_named(tmp_path, monkeypatch):
    folder = write_frames(tmp_path / "in", FRAMES)
    monkeypatch.setattr(files.os, "listdir", lambda path, real=os.listdir: [*real(path), "f_004.tif"])
    assert "f_004.tif' is gone" in refusal(folder)


def test_what_other_systems_leave_behind_is_left_out(tmp_path):
    folder = write_frames(tmp_path / "in", FRAMES)
    for name in ("._f_000.tif", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    check_pixels(open_source(folder), FRAMES)
    check_pixels(open_source(folder / "*"), FRAMES)


def test_a_folder_of_a_glob_that_may_not_be_looked_into_is_no_fewer_frames(tmp_path, monkeypatch):
    for name in ("a", "b"):
        write_frames(tmp_path / name, FRAMES[:1])

    def guarded(path, real=os.listdir):
        if os.path.basename(path) == "b":
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(files.os, "listdir", guarded)
    assert "b' may not be read: permission denied" in refusal(tmp_path / "*" / "f_*.tif")


def test_a_glob_of_folders_says_so(tmp_path):
    write_frames(tmp_path / "a.zarr", FRAMES)
    assert "matches no file, but folders" in refusal(tmp_path / "*.zarr")


@pytest.mark.parametrize("where", ["file", "member", "glob", "folder"])
def test_input_names_that_are_no_text_are_refused(tmp_path, where):
    named = latin(tmp_path / "Zelle_ä.tif")
    if where == "folder":
        write_frames(tmp_path / "in", FRAMES)
        os.rename(tmp_path / "in", named)
        path = named
    else:
        tifffile.imwrite(tmp_path / "a.tif", FRAMES[0])
        os.rename(tmp_path / "a.tif", named)
        path = {"file": named, "member": tmp_path, "glob": tmp_path / "Z*"}[where]
    text = refusal(path)
    assert "Zelle_\\udce4.tif' is no UTF-8 text; rename it" in text


def test_a_path_that_no_file_has_is_refused():
    assert "has a NUL in it" in refusal("a\0b.tif")


def test_outputs_whose_names_are_no_text_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_frames(tmp_path / "in", FRAMES)
    (tmp_path / "c.yaml").write_text(CONFIG.format(path="in"))
    named = os.path.basename(latin(tmp_path / "ä.zarr"))
    assert main(["plan", "c.yaml", "--output", named]) == 2
    assert "is no UTF-8 text; rename it" in capsys.readouterr().err
    with pytest.raises(RequestError, match="is no UTF-8 text"):
        pipeline.run("c.yaml", sets=[f"output.work={named}"])
    assert not [name for name in os.listdir(tmp_path) if "zarr" in name]


def test_names_that_are_no_text_are_printed(tmp_path):
    """Where a name need not be carried on, as a config's, it is written as it is."""
    write_frames(tmp_path / "in", FRAMES)
    named = latin(tmp_path / "ä.yaml")
    command = [sys.executable, "-m", "pipeline", "init", "in", "-o", os.path.basename(named)]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "wrote \\udce4.yaml\n", "")
    assert os.path.exists(named)


@pytest.mark.parametrize("limit", [16, 40])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_few_descriptors_are_enough(tmp_path, limit, compression):
    """In a process of its own, since a limit holds for all of it."""
    resource = pytest.importorskip("resource")
    frames = coded((60, 6, 8))
    write_frames(tmp_path / "in", frames, compression=compression)
    script = (
        "import sys, numpy as np, resource; from pipeline.read import open_source\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))\n"
        "s = open_source(sys.argv[1]); a = s.read(tuple(slice(0, n) for n in s.spec.shape))\n"
        "assert (a.ravel() == np.arange(a.size)).all()"
    )
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > limit
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "in"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_no_descriptor_left_says_how_to_get_more(tmp_path, monkeypatch):
    folder = write_frames(tmp_path / "in", FRAMES)
    source = open_source(folder)

    def full(*_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(tiff_files.os, "open", full)
    with pytest.raises(
        StoppedError, match=r"too many files are open; raise the limit, which is \d+: ulimit -n"
    ):
        source.read(tuple(slice(0, size) for size in source.spec.shape))
    monkeypatch.setattr(files, "open", full, raising=False)
    assert "too many files are open; raise the limit" in refusal(folder)


def test_an_output_that_cannot_be_opened_says_so_too():
    said = str(durable.disk_error(OSError(24, "Too many open files"), "/data/out.zarr/0/c/0"))
    assert "cannot write /data/out.zarr/0/c/0: too many files are open; raise the limit" in said
    assert "run the same command again" in said


def test_files_kept_open_are_closed_for_others(tmp_path, monkeypatch):
    source = open_source(write_frames(tmp_path / "in", FRAMES, compression="zlib"))
    real, kept = os.open, tiff_files._open_files
    kept.clear()

    def two(path, flags):
        if len(kept) > 2:
            raise OSError(24, "Too many open files")
        return real(path, flags)

    monkeypatch.setattr(tiff_files.os, "open", two)
    check_pixels(source, FRAMES)


FOREIGN = [each for each in KNOWN_FORMATS if not each.opener]


@pytest.mark.parametrize("suffix", sorted({suffix for each in FOREIGN for suffix in each.suffixes}))
def test_a_foreign_format_names_what_converts_it(tmp_path, suffix):
    path = tmp_path / f"my movie{suffix}"
    path.write_bytes(b"something")
    text = refusal(path)
    assert "which bgone does not read; " in text
    tools = ("bioformats2raw 'my movie", "Fiji", "ffmpeg", "tifffile", "MATLAB", "unpack", "give one")
    assert any(tool in text for tool in tools)


@pytest.mark.parametrize("each", [each for each in FOREIGN if each.signatures], ids=lambda each: each.name)
def test_a_foreign_format_is_known_by_its_first_bytes(tmp_path, each):
    path = tmp_path / "a.dat"
    path.write_bytes(bytes(each.at) + each.signatures[0] + bytes(9))
    assert f"is {each.name}, which" in refusal(path)


@pytest.mark.parametrize(("make", "words"), [
    (lambda path: (path / "a.nd2").write_bytes(b"x"), "holds Nikon ND2 files, which bgone does not"),
    (lambda path: [(path / f"f{i}.png").write_bytes(b"x") for i in range(3)], "holds PNG files"),
    (lambda path: (path / "b").mkdir(), "give one of the folders inside, such as '"),
], ids=["nd2", "png", "folders"])  # fmt: skip
def test_a_folder_of_others_says_what_they_are(tmp_path, make, words):
    make(tmp_path)
    assert words in refusal(tmp_path)


def test_n5_and_configs_are_known(tmp_path):
    (tmp_path / "a.n5").mkdir()
    assert "a.n5' is N5, which bgone does not read" in refusal(tmp_path / "a.n5")
    (tmp_path / "c.yaml").write_text(CONFIG.format(path="in"))
    assert "is a config, not an image" in refusal(tmp_path / "c.yaml")


def test_the_suffix_knows_more_than_what_it_is_packed_in():
    assert format_of("a.ims", b"\x89HDF\r\n\x1a\n").name == "Imaris"
    assert format_of("a.nii.gz", b"\x1f\x8b").name == "NIfTI"
    assert format_of("a.tif").name == format_of("a.dat", b"II*\0").name == "TIFF"
    assert format_of("a.tif", b"\x89PNG").name == "PNG"
    assert np.all([each.conversion for each in FOREIGN])
