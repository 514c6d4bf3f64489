"""Whether an output is complete: what must be so for it to appear, and to be left as it is later."""

import os
from pathlib import Path

import pytest
from processes import files_of, go
from test_survival import cut, first_file, flip, set_up


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
