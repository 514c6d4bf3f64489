"""Where a run would write: a disk that is full or does not say, a folder that takes nothing."""

import os

import pytest
from plan_and_run import both
from processes import config, movie

from pipeline.cli import main


def test_a_folder_that_nobody_may_write_into_is_refused_by_both(zygote, folder):
    if os.getuid() != 0:
        pytest.skip("only root can become an ordinary user")
    movie(folder)
    made = config(folder)
    nobody = {"user": 65534, "environ": {"HOME": "/nonexistent", "NUMBA_CACHE_DIR": "/nonexistent"}}
    said = [zygote.run(command, made, **nobody) for command in ("plan", "run")]
    assert [ended.code for ended in said] == [2, 2]
    assert said[0].err == said[1].err
    assert f"no permission to write {folder}" in said[0].err
    assert sorted(os.listdir(folder)) == ["movie.tif", "run.yaml"]


def on_a_disk(monkeypatch, folder, **numbers):
    """Let the disk say other numbers of itself."""
    room = os.statvfs(folder)
    names = ["bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail", "flag", "namemax"]
    told = [numbers.get(name, getattr(room, f"f_{name}")) for name in names]
    monkeypatch.setattr(
        "pipeline.planning.start.os.statvfs", lambda path: os.statvfs_result([*told, room.f_fsid])
    )


@pytest.mark.parametrize(
    "numbers",
    [{"blocks": 9, "bfree": 0, "bavail": 0}, {"files": 9, "ffree": 0, "favail": 0}],
    ids=["no bytes", "no files"],
)
def test_a_full_disk_is_refused_by_both(folder, capsys, monkeypatch, numbers):
    movie(folder)
    made = config(folder)
    on_a_disk(monkeypatch, folder, **numbers)
    code, (error,) = both(made, capsys)
    assert code == 2
    assert f"no space left on the disk for {folder}" in error


@pytest.mark.parametrize("message", ["blocks bfree bavail", "files ffree favail"], ids=["bytes", "files"])
def test_a_disk_that_does_not_say_its_room_is_taken(folder, monkeypatch, message):
    movie(folder)
    made = config(folder)
    on_a_disk(monkeypatch, folder, **dict.fromkeys(message.split(), 0))
    assert [main([command, str(made)]) for command in ("plan", "run")] == [0, 0]


@pytest.mark.parametrize("field", ["output.path", "output.background", "output.work"])
def test_each_place_that_is_written_to_is_looked_at(folder, capsys, field):
    movie(folder)
    made = config(folder)
    (folder / "thesis").write_text("no folder")
    code, (error,) = both(made, capsys, "--set", f"{field}={folder}/thesis/out.zarr")
    assert code == 2
    assert field in error
    assert f"{folder}/thesis is no folder" in error
