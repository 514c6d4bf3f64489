"""What --overwrite replaces and what a run removes: OME-Zarrs and bgone's own files, nothing of others."""

import importlib
import json
import os
import shutil
import types
from pathlib import Path

import numpy as np
import pytest
import zarr
from neighbours import array, everything, folder_of_files, other_writers, plain_file, put
from processes import config, movie
from small_run import layout_of, small_run

from pipeline.cli import main
from pipeline.model.errors import RequestError
from pipeline.storage import durable
from pipeline.write import check_target, state, verify
from pipeline.write.own import foreign_files, overwrite_refusal, remove_work


def fifo(path):
    os.mkfifo(path)


def link_to_an_image(path):
    other_writers(path.with_name("real.zarr"))
    path.symlink_to("real.zarr")


def dangling_link(path):
    path.symlink_to("nowhere")


def group(path, version=3):
    zarr.open_group(path, mode="w", zarr_format=version).create_array("0", data=np.ones((2, 3), "u1"))


def folder_with_an_array_in_it(path):
    array(path / "data.zarr")


def with_labels(path):
    other_writers(path)
    labels = zarr.open_group(path).create_group("labels").create_group("nuclei")
    labels.create_array("0", data=np.ones((4, 4), "u1"))


def plate(path):
    zarr.open_group(path, mode="w", zarr_format=2).attrs["plate"] = {"wells": []}


def own(path, **keywords):
    small_run(path, **keywords)


def and_then(make, change):
    """Return what makes something and then changes it."""

    def both(path):
        make(path)
        change(path)

    return both


def drop(name):
    return lambda path: (path / name).unlink()


KEPT = {
    "a file": (plain_file, "is a file"),
    "a pipe": (fifo, "is neither a file nor a folder"),
    "a link to an OME-Zarr": (link_to_an_image, "is a link to real.zarr"),
    "a link to nothing": (dangling_link, "is a link to nowhere"),
    "a folder of files": (folder_of_files, "is a folder that holds no OME-Zarr"),
    "a folder that holds a Zarr": (folder_with_an_array_in_it, "is a folder that holds no OME-Zarr"),
    "an array": (array, "is a Zarr that no OME-Zarr writer made"),
    "an array of Zarr 2": (lambda path: array(path, 2), "is a Zarr that no OME-Zarr writer made"),
    "a group": (group, "is a Zarr that no OME-Zarr writer made"),
    "a group of Zarr 2": (lambda path: group(path, 2), "is a Zarr that no OME-Zarr writer made"),
    "a zarr.json that is none": (lambda path: put("zarr.json")(path), "is a Zarr that no"),
    "a plate": (plate, "is an OME-Zarr of many images"),
    "another's with a file in it": (and_then(other_writers, put("notes.txt")), "holds notes.txt, which is"),
    "another's with a file in an array": (and_then(other_writers, put("0/n.txt")), "holds 0/n.txt, which"),
    "another's with a folder in it": (and_then(other_writers, put("raw/a.tif")), "holds raw, which is"),
    "another's with a file in its labels": (
        and_then(with_labels, put("labels/nuclei/cells.csv")), "holds labels/nuclei/cells.csv",
    ),
    "bgone's with a file in it": (and_then(own, put("notes.txt")), "notes.txt, which bgone did not"),
    "bgone's with two": (and_then(own, and_then(put("a"), put("b/c"))), "holds a and 1 more, which bgone"),
    "bgone's with labels": (and_then(own, lambda path: group(path / "labels")), "holds labels, which bgone"),
}  # fmt: skip

REPLACED = {
    "an empty folder": lambda path: path.mkdir(),
    "another's 0.5": other_writers,
    "another's 0.4": lambda path: other_writers(path, "0.4"),
    "another's with flat names of chunks": lambda path: other_writers(path, "0.4", "."),
    "another's with labels": with_labels,
    "another's that bioformats2raw made": and_then(
        and_then(other_writers, put("OME/zarr.json", b'{"node_type": "group"}')),
        put("OME/METADATA.ome.xml"),
    ),
    "another's that a Mac has looked into": and_then(other_writers, put(".DS_Store")),
    "bgone's": own,
    "bgone's in 0.4": lambda path: own(path, version="0.4"),
    "bgone's without its metadata": and_then(own, drop("zarr.json")),
    "bgone's without its manifest": and_then(own, drop("bgone/manifest.txt")),
    "bgone's with damaged notes": and_then(own, put("bgone/zarr.json")),
    "bgone's with a damaged array": and_then(own, put("0/zarr.json")),
    "bgone's without an array's metadata": and_then(own, drop("1/zarr.json")),
}


@pytest.mark.parametrize(("make", "words"), KEPT.values(), ids=KEPT)
def test_what_is_kept(folder, make, words):
    path = folder / "out.zarr"
    make(path)
    before = everything(folder)
    for overwrite in (False, True):
        with pytest.raises(RequestError) as caught:
            check_target(str(path), overwrite=overwrite)
        assert words in str(caught.value)
        assert "replace it with --overwrite" not in str(caught.value)
        with pytest.raises(RequestError):
            small_run(str(path), fill=3, overwrite=overwrite)
    assert everything(folder) == before


@pytest.mark.parametrize("make", REPLACED.values(), ids=REPLACED)
def test_what_is_replaced_if_told(folder, make):
    path = folder / "out.zarr"
    make(path)
    with pytest.raises(RequestError, match=r"exists already; .* replace it with --overwrite"):
        check_target(str(path))
    small_run(str(path), fill=3, overwrite=True)
    assert os.listdir(folder) == ["out.zarr"]
    assert list(verify(str(path))) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_that_comes_during_the_run_is_kept_and_the_result_waits(folder, monkeypatch, overwrite):
    path = folder / "out.zarr"
    if overwrite:
        small_run(str(path), fill=3)

    def come(message, where):
        if message == "after write" and where.endswith("/sealed"):
            shutil.rmtree(path, ignore_errors=True)
            path.write_text("my thesis")

    monkeypatch.setattr(durable, "hook", come)
    with pytest.raises(RequestError, match="has come to exist during the run"):
        small_run(str(path), overwrite=overwrite)
    assert path.read_text() == "my thesis"
    monkeypatch.setattr(durable, "hook", None)
    with pytest.raises(RequestError, match="has come to exist during the run"):
        small_run(str(path), overwrite=overwrite)
    path.unlink()
    assert small_run(str(path), overwrite=overwrite) == []
    assert os.listdir(folder) == ["out.zarr"]


# Folders that are called like work folders

LIKE = {
    "another word": ("out.ome.zarr.work-mine", "f"),
    "sixteen digits": ("out.ome.zarr.work-0123456789abcdef", "f"),
    "sixteen digits and more": ("out.ome.zarr.work-0123456789abcdef.gone", "f"),
    "a folder in it": ("out.ome.zarr.work-0123456789abcdef", "image/cat.jpg"),
    "another output's": ("out.ome.zarr.work-0123456789abcdef.old", "lock"),
}


@pytest.mark.parametrize(("name", "file"), LIKE.values(), ids=LIKE)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_users_folder_that_is_called_like_a_work_folder_stays(folder, name, file, overwrite):
    made = config(folder)
    movie(folder)
    put(file)(folder / name)
    before = everything(folder / name)
    assert main(["run", str(made), "--quiet", *["--overwrite"] * overwrite]) == 0
    assert everything(folder / name) == before
    assert sorted(os.listdir(folder)) == sorted(["movie.tif", "out.ome.zarr", name, "run.yaml"])


class Killed(BaseException):
    """The process is gone."""


def killed_at(monkeypatch, path, **keywords):
    """Kill a small run where its last window is written, and return its work folder."""

    def hook(message, where):
        if where.endswith("/0/c/2/0/0"):
            raise Killed

    monkeypatch.setattr(durable, "hook", hook)
    with pytest.raises(Killed):
        small_run(str(path), **keywords)
    monkeypatch.setattr(durable, "hook", None)
    work = Path(
        layout_of(path, **{key: keywords[key] for key in ("fill", "work_root") if key in keywords}).work
    )
    (work / "lock").write_bytes(b"")
    return work


STRANGERS = [
    "notes.txt",
    "mine/a.txt",
    "image/notes.txt",
    "image/0/notes.txt",
    "image/raw/a.tif",
    "drafts/n.txt",
]


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("then", ["finished", "dropped"])
def test_a_users_file_in_a_work_folder_outlives_it(folder, monkeypatch, stranger, then):
    path = folder / "out.zarr"
    work = killed_at(monkeypatch, path)
    assert foreign_files(str(work)) == []
    put(stranger, b"mine")(work)
    small_run(str(path), fill=5 * (then == "dropped"), overwrite=then == "dropped")
    assert list(verify(str(path))) == [] if stranger != "image/0/notes.txt" else True
    left = {name: data for name, data in everything(folder).items() if data == b"mine"}
    kept = (
        f"{work.name}/{stranger}"
        if then == "dropped" or "image" not in stranger
        else f"out.zarr{stranger[5:]}"
    )
    assert list(left) == [kept]
    assert set(everything(work)) <= {stranger, *map(str, Path(stranger).parents)}
    # What is left is no unfinished run to anybody.
    assert small_run(str(path), fill=5 * (then == "dropped")) == []
    assert [name for name, data in everything(folder).items() if data == b"mine"] == [kept]


def test_a_stranger_beside_an_output_that_is_worked_on_elsewhere_stays(folder, monkeypatch):
    """A result from another disk is first copied beside the output, into a folder that may be there."""
    elsewhere = folder / "elsewhere"
    layout = layout_of(folder / "out.zarr")
    put("notes.txt", b"mine")(Path(layout.work))
    other_disk = types.ModuleType("os")
    other_disk.__getattr__ = lambda name: getattr(os, name)
    other_disk.stat = lambda path: os.stat("/proc" if path.startswith(str(elsewhere)) else path)
    monkeypatch.setattr(importlib.import_module("pipeline.write.publish"), "os", other_disk)
    small_run(str(folder / "out.zarr"), work_root=str(elsewhere))
    assert (Path(layout.work) / "notes.txt").read_bytes() == b"mine"
    assert os.listdir(layout.work) == ["notes.txt"]
    assert list(verify(str(folder / "out.zarr"))) == []


def test_a_dead_run_of_a_sealed_output_is_still_finished_beside_a_stranger(folder, monkeypatch):
    path = folder / "out.zarr"
    work = killed_at(monkeypatch, path)

    def hook(message, where):
        if message == "before rename" and where == str(path):
            raise Killed

    monkeypatch.setattr(durable, "hook", hook)
    with pytest.raises(Killed):
        small_run(str(path))
    monkeypatch.setattr(durable, "hook", None)
    (work / "lock").write_bytes(b"")
    put("notes.txt", b"mine")(work)
    assert state(layout_of(path)) == "sealed"
    assert small_run(str(path)) == []
    assert everything(work) == {"notes.txt": b"mine"}


def test_an_output_is_known_by_what_it_says_not_by_its_name(folder):
    (folder / "old.ome.zarr").mkdir()
    put("note.txt")(folder / "old.ome.zarr")
    assert "holds no OME-Zarr" in overwrite_refusal(str(folder / "old.ome.zarr"))
    other_writers(folder / "called_otherwise")
    assert overwrite_refusal(str(folder / "called_otherwise")) == ""


def test_an_attribute_of_any_kind_is_no_reason_for_a_traceback(folder):
    for number, attributes in enumerate(
        ["x", [], None, 7, {"ome": 3}, {"ome": []}, {"ome": None}, {"bgone": 1}]
    ):
        path = folder / f"{number}.zarr"
        text = json.dumps({"node_type": "group", "attributes": attributes})
        and_then(lambda path: None, put("zarr.json", text.encode()))(path)
        assert overwrite_refusal(str(path)) == "is a Zarr that no OME-Zarr writer made"


def test_a_link_in_the_place_of_a_work_folder_leads_nowhere(folder):
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    put("lock", b"")(elsewhere)
    (folder / "work").symlink_to(elsewhere)
    before = everything(folder)
    remove_work(str(folder / "work"))
    assert everything(folder) == before


def test_what_tells_that_a_run_was_whole_goes_last(folder, monkeypatch):
    """Killed in between, the next start knows that the output is finished."""
    work = folder / "work"
    for name in ("lock", "sealed", "windows.json", "inputs.json"):
        put(name, b"x")(work)
    put("notes.txt", b"mine")(work)
    removed = []
    monkeypatch.setattr(
        durable, "hook", lambda event, path: removed.append(path) if event == "before remove" else None
    )
    remove_work(str(work))
    assert [os.path.basename(path) for path in removed][-1] == "sealed"
    assert everything(work) == {"notes.txt": b"mine"}


def test_a_folder_called_like_metadata_is_somebody_elses(folder):
    work = folder / "work"
    put("lock", b"")(work)
    put("image/zarr.json/mine.txt", b"mine")(work)
    assert foreign_files(str(work)) == ["image/zarr.json"]
