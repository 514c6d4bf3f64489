"""A file that a user named appears when it is whole, or not at all."""

import pytest

from pipeline.model.errors import RequestError
from pipeline.storage.whole_file import whole_file


def test_it_is_not_there_before_it_is_whole_and_nothing_else_is_after(tmp_path):
    path = tmp_path / "new" / "table.csv"
    with whole_file(path) as file:
        file.write(b"some")
        assert not path.exists()
        file.write(b" more")
    assert path.read_bytes() == b"some more"
    assert [entry.name for entry in path.parent.iterdir()] == ["table.csv"]


def interrupted(path):
    with whole_file(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt


def test_what_fails_half_way_leaves_what_was_there(tmp_path):
    path = tmp_path / "page.html"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [b"old"]


def overtaken(path, replace):
    """Write a file under a name under which another appears meanwhile."""
    with whole_file(path, replace=replace, field="path") as file:
        file.write(b"new")
        path.write_bytes(b"mine")


def test_what_has_come_to_stand_there_is_replaced_only_where_that_is_said(tmp_path):
    path = tmp_path / "sample.tif"
    with pytest.raises(RequestError, match=r"path: .*sample.tif is in the way; choose another name"):
        overtaken(path, replace=False)
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [b"mine"]
    overtaken(path, replace=True)
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [b"new"]


def test_where_it_cannot_be_written_the_option_and_the_reason_are_said(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RequestError, match=r"path: .* cannot be written: Not a directory"):
        overtaken(tmp_path / "file" / "new" / "a.csv", replace=True)
