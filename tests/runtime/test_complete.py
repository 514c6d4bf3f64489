"""Whether an output is complete: what must be so for it to appear, and to be left as it is later."""

import os
from pathlib import Path

import pytest
from cuts import cut, first_file, flip, set_up
from neighbours import array, folder_of_files, other_writers, plain_file, put
from processes import files_of, go
from small_run import small_run

from pipeline.cli import main


def test_a_large_input_that_is_touched_during_the_run_is_not_committed(zygote, folder):
    """Of one too large to compare all of it, another time may mean other pixels."""
    made = set_up(folder)
    large = {"pipeline.read.content.WHOLE_BYTES": 1000, "pipeline.read.content.PIECE_BYTES": 16}
    held = [{"point": "before write", "path": "/0/c/2", "then": "hold"}]
    pid = zygote.start("run", made, patch=large, harm=held)
    notes = zygote.notes[pid]
    zygote.reached(pid)
    os.utime(made.parent / "movie.tif", ns=(1, 1))
    go(notes)
    stopped = zygote.wait(pid)
    assert stopped.code == 3, stopped.err
    assert "the input changed during the run" in stopped.err
    assert not (made.parent / "out.ome.zarr").exists()


def grow(path):
    with open(path, "ab") as file:
        file.write(b"x")


@pytest.mark.parametrize(
    ("harm", "code"),
    [(flip, 0), (cut, 4), (grow, 4), (Path.unlink, 4)],
    ids=["flip", "cut", "grow", "unlink"],
)
def test_overwrite_mends_whatever_was_damaged(zygote, folder, harm, code):
    made = set_up(folder)
    output = made.parent / "out.ome.zarr"
    assert zygote.run("run", made).code == 0
    written = files_of(output)
    harm(first_file(output, 1))
    # Without being told to, a run looks at sizes alone.
    assert zygote.run("run", made).code == code
    ended = zygote.run("run", made, "--overwrite")
    assert ended.code == 0, ended.err
    assert "nothing to do" not in ended.out
    assert files_of(output) == written
    assert sorted(os.listdir(made.parent)) == ["movie.tif", "out.ome.zarr", "run.yaml"]


# What is no output at all

NO_OUTPUTS = {
    "nothing": (lambda path: None, "is not there"),
    "a URL": ("s3://bucket/x.zarr", "is a URL"),
    "a file": (plain_file, "is a file, and an output of bgone is a folder"),
    "an empty folder": (Path.mkdir, "is not an output of bgone: it is a folder that holds no OME-Zarr"),
    "a folder of files": (
        folder_of_files,
        "is not an output of bgone: it is a folder that holds no OME-Zarr",
    ),
    "a folder that holds one called bgone": (
        lambda path: put("bgone/a.py")(path),
        "is a folder that holds no",
    ),
    "an array": (array, "is not an output of bgone: it is a Zarr that no OME-Zarr writer made"),
    "another's": (other_writers, "is not an output of bgone: another program wrote this OME-Zarr"),
    "another's in 0.4": (lambda path: other_writers(path, "0.4"), "another program wrote this OME-Zarr"),
    "an unfinished run": (
        lambda path: put("lock")(path),
        "an unfinished run lives in it; run its command again",
    ),
}


@pytest.mark.parametrize(("make", "words"), NO_OUTPUTS.values(), ids=NO_OUTPUTS)
def test_what_is_no_output_is_not_called_damaged(folder, capsys, make, words):
    path = make if isinstance(make, str) else folder / "out.zarr"
    if not isinstance(make, str):
        make(path)
    assert main(["verify", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: ")
    assert words in line
    assert "--overwrite" not in line


LOST = {
    "0.5": ["bgone/manifest.txt", "bgone/zarr.json", "zarr.json", "0/zarr.json"],
    "0.4": ["bgone/manifest.txt", "bgone/.zattrs", ".zattrs", "1/.zarray"],
}


@pytest.mark.parametrize(("version", "lost"), [(version, name) for version in LOST for name in LOST[version]])
@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"{}")], ids=["gone", "emptied"])
def test_an_output_that_has_lost_its_metadata_is_damaged(folder, capsys, version, lost, harm):
    path = folder / "out.zarr"
    small_run(str(path), version=version)
    assert main(["verify", str(path)]) == 0
    harm(path / lost)
    assert main(["verify", str(path)]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert lost in line


def test_a_channel_may_be_renamed_later(folder):
    path = folder / "out.zarr"
    small_run(str(path))
    said = (path / "zarr.json").read_text()
    (path / "zarr.json").write_text(said.replace('"out"', '"embryo 7"'))
    assert main(["verify", str(path)]) == 0
