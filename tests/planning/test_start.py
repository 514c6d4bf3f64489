"""What `run` refuses, `plan` refuses in the same words, and neither leaves anything behind."""

import os
import signal
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from neighbours import everything, other_writers, put
from plan_and_run import both
from processes import CONFIG, config, movie

import pipeline
from pipeline.cli import main
from pipeline.model.errors import RequestError, StoppedError
from pipeline.model.image import ImageSpec
from pipeline.storage import durable
from pipeline.write import journal, make_layout
from pipeline.write import work as work_folders
from pipeline.write.create import check_layout
from pipeline.write.lock import Lock

TEXT = CONFIG.replace("movie.tif", "in.zarr, axes: tyx")


@pytest.fixture
def made(folder):
    """A config whose input is a Zarr, and other things beside it."""
    pixels = np.random.default_rng(1).integers(0, 60000, (3, 40, 48), np.uint16)
    zarr.create_array(folder / "in.zarr", data=pixels, chunks=(1, 40, 48))
    (folder / "tifs").mkdir()
    for number in range(3):
        tifffile.imwrite(folder / "tifs" / f"{number}.tif", pixels[number], photometric="minisblack")
    other_writers(folder / "other.zarr")
    (folder / "link.zarr").symlink_to("in.zarr")
    (folder / "here").symlink_to(".")
    (folder / "linked").symlink_to("other.zarr")
    (folder / "thesis.doc").write_text("my thesis")
    return config(folder, TEXT)


def out(path):
    return ["--set", f"output.path={path}"]


def work(path):
    return ["--set", f"output.work={path}"]


def back(path):
    return ["--set", f"output.background={path}"]


FOLDER = ["--set", "input={path: tifs, axes: tyx}"]
REFUSED = {
    "a TIFF": (out("x.tif"), "an output is always an OME-Zarr; call it x.ome.zarr"),
    "an OME-TIFF in capitals": (out("x.OME.TIF".lower().replace("tif", "TIFF")), "call it x.ome.zarr"),
    "a picture": (out("x.png"), "an output is always an OME-Zarr; call it x.ome.zarr"),
    "HDF5": (out("x.h5"), "an output is always an OME-Zarr; call it x.ome.zarr"),
    "a zipped Zarr": (out("x.ome.zarr.zip"), "an output is always an OME-Zarr; call it x.ome.zarr"),
    "a background that is a TIFF": (back("b.tif"), "output.background: b.tif is the name of a tif"),
    "a URL": (out("s3://bucket/x.zarr"), "output.path: s3://bucket/x.zarr is"),
    "a background that is a URL": (back("s3://bucket/x.zarr"), "background: s3://bucket/x.zarr is a URL"),
    "a work folder that is a URL": (work("s3://bucket/x"), "output.work: s3://bucket/x is a URL"),
    "a file": (out("thesis.doc"), "an output is always an OME-Zarr"),
    "the input": (out("in.zarr"), "is the same as input.path"),
    "the input by a link": (out("link.zarr"), "is the same as input.path"),
    "the input by another way": (out("here/in.zarr"), "is the same as input.path"),
    "in the input": (out("in.zarr/x.zarr"), "lies inside the input"),
    "in the input by a link": (out("link.zarr/x/y.zarr"), "lies inside the input"),
    "a folder that holds the input": (out("."), "holds the input"),
    "in another Zarr": (out("other.zarr/x.zarr"), "lies inside a Zarr"),
    "in an array of another Zarr": (out("other.zarr/0/x/y.zarr"), "lies inside a Zarr"),
    "a background in the input": (back("in.zarr/b.zarr"), "output.background: lies inside the input"),
    "a background in another Zarr": (back("other.zarr/b.zarr"), "lies inside a Zarr"),
    "a background in the output": (back("out.ome.zarr/b.zarr"), "lies inside the output"),
    "a background that differs in capitals": (back("OUT.ome.zarr"), "in capitals alone"),
    "work in the input": (work("in.zarr"), "output.work: lies inside the input"),
    "work deep in the input": (work("link.zarr/a/b"), "output.work: lies inside the input"),
    "work in the folder that is the input": ([*FOLDER, *work("tifs/w")], "lies inside the input"),
    "work in the output": (work("out.ome.zarr/work"), "output.work: lies inside the output"),
    "work that is the output": (work("out.ome.zarr"), "output.work: lies inside the output"),
    "work in the background": (
        [*back("b.ome.zarr"), *work("b.ome.zarr/work")], "output.work: lies inside the output"
    ),
    "work in another Zarr": (work("other.zarr"), "lies inside a Zarr"),
    "an input in a work folder": (
        ["--set", "input={path: out.ome.zarr.work-0123456789abcdef/in.zarr, axes: tyx}"],
        "lies in the folder of an unfinished run of this output",
    ),
    "below a file": (out("thesis.doc/x.zarr"), "thesis.doc is no folder"),
    "work below a file": (work("thesis.doc/x"), "output.work: {folder}/thesis.doc is no folder"),
    "work that is a file": (work("thesis.doc"), "output.work: {folder}/thesis.doc is no folder"),
    "a name of 256 bytes": (out(256 * "o"), "has 256 bytes, and the disk takes 255"),
    "a folder's name of 256 bytes": (out(f"{128 * 'µ'}/x.zarr"), "has 256 bytes, and the disk takes 255"),
    "a work folder's name of 256 bytes": (work(256 * "o"), "has 256 bytes, and the disk takes 255"),
    "a path of 4,100 bytes": (out(f"{20 * (200 * 'o' + '/')}x.zarr"), "bytes, and the disk takes 4095"),
    "an image of another writer": (out("other.zarr"), "exists already; choose another output, or replace it"),
    "a folder": (out("tifs"), "exists already and is a folder that holds no OME-Zarr"),
    "a link": (out("linked"), "exists already and is a link to other.zarr"),
    "a folder, to be replaced": ([*out("tifs"), "--overwrite"], "so --overwrite does not replace it"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "words"), REFUSED.values(), ids=REFUSED)
def test_plan_refuses_what_run_refuses_and_nothing_is_left(made, capsys, monkeypatch, options, words):
    (made.parent / "out.ome.zarr.work-0123456789abcdef").mkdir()
    (made.parent / "out.ome.zarr.work-0123456789abcdef" / "in.zarr").symlink_to("../in.zarr")
    if "work-0123" in str(options):
        os.rename(made.parent / "in.zarr", made.parent / "out.ome.zarr.work-0123456789abcdef" / "kept")
        os.unlink(made.parent / "out.ome.zarr.work-0123456789abcdef" / "in.zarr")
        os.rename(
            made.parent / "out.ome.zarr.work-0123456789abcdef" / "kept",
            made.parent / "out.ome.zarr.work-0123456789abcdef" / "in.zarr",
        )
    monkeypatch.chdir(made.parent)
    code, errors = both(made, capsys, *options)
    assert code == 2
    assert len(errors) == 1
    assert words.replace("{folder}", str(made.parent)) in errors[0]


NAMES = {
    "231 bytes": 226 * "o" + ".zarr",
    "255 bytes": 250 * "o" + ".zarr",
    "255 bytes of two each": 125 * "µ" + ".zarr",
    "101 bytes": 96 * "o" + ".zarr",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_that_the_disk_takes_works(folder, name, monkeypatch):
    movie(folder)
    made = config(folder)
    assert main(["run", str(made), "--quiet", "--output", str(folder / name)]) == 0
    assert sorted(os.listdir(folder)) == sorted(["movie.tif", "run.yaml", name])
    assert main(["run", str(made), "--quiet", "--output", str(folder / name)]) == 0
    assert main(["verify", str(folder / name)]) == 0


def test_two_long_names_that_begin_alike_do_not_share_a_work_folder():
    one, other = (make_layout(SPEC, f"/data/{200 * 'o'}{end}", fingerprint="f" * 16).work for end in "ab")
    assert one != other
    assert max(len(one), len(other)) < 143


def test_after_a_complete_run_plan_says_that_there_is_nothing_to_do(made, capsys):
    assert main(["run", str(made), "--quiet"]) == 0
    assert "nothing to do" not in capsys.readouterr().out
    for options in ([], ["--overwrite"]):
        assert main(["plan", str(made), *options]) == 0
        assert "the output is complete already: a run has nothing to do" in capsys.readouterr().out
    assert main(["run", str(made), "--quiet"]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_another_config_is_planned_where_the_output_is_to_be_replaced(made, capsys):
    assert main(["run", str(made), "--quiet"]) == 0
    other = ["--set", "white_tophat.radius=2"]
    code, (error,) = both(made, capsys, *other)
    assert code == 2
    assert "exists already" in error
    assert main(["plan", str(made), *other, "--overwrite"]) == 0
    assert main(["run", str(made), *other, "--overwrite", "--quiet"]) == 0


def test_a_damaged_output_is_refused_by_both(made, capsys):
    assert main(["run", str(made), "--quiet"]) == 0
    capsys.readouterr()
    with open(made.parent / "out.ome.zarr" / "0" / "c" / "0" / "0" / "0", "ab") as file:
        file.write(b"more")
    code, (error,) = both(made, capsys)
    assert code == 4
    assert "is damaged now (0/c/0/0/0" in error


def stopped_at(monkeypatch, made, where, *options):
    """Stop a run where a file is written."""

    def hook(message, path):
        if message == "before write" and path.endswith(where):
            raise StoppedError("stopped here", "go on")

    monkeypatch.setattr(durable, "hook", hook)
    assert main(["run", str(made), "--quiet", *options]) == 3
    monkeypatch.setattr(durable, "hook", None)


def test_an_unfinished_run_of_something_else_is_refused_by_both(made, capsys, monkeypatch):
    stopped_at(monkeypatch, made, "/0/c/2/0/0")
    capsys.readouterr()
    code, (error,) = both(made, capsys, "--set", "white_tophat.radius=2")
    assert code == 2
    assert "was started with something else (config.steps.0.white_tophat.radius was 3, is now 2)" in error
    assert main(["plan", str(made), "--set", "white_tophat.radius=2", "--overwrite"]) == 0
    assert main(["plan", str(made)]) == 0
    assert "a run goes on from there" in capsys.readouterr().out


DECIDES = ["bgone", "numpy", "scipy", "numba", "llvmlite", "tifffile", "imagecodecs", "zarr", "numcodecs"]


def test_a_run_that_began_with_another_version_of_what_decides_pixels_is_refused(made, capsys, monkeypatch):
    stopped_at(monkeypatch, made, "/0/c/2/0/0")
    for name in DECIDES:
        capsys.readouterr()
        monkeypatch.setattr(
            work_folders, "version", lambda asked, name=name: "99" if asked == name else version(asked)
        )
        assert main(["run", str(made)]) == 2
        assert f"versions.{name} was" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(["run", str(made), "--quiet"]) == 0


def test_windows_of_the_first_start_that_do_not_fit_now_are_refused_by_both(made, capsys, monkeypatch):
    stopped_at(monkeypatch, made, "/0/c/2/0/0")
    capsys.readouterr()

    def refuse(*arguments):
        assert arguments[-1] == {"t": 1, "y": 40, "x": 48}
        raise RequestError("the run needs more", "raise it", "compute.memory")

    for module in ("planning.start", "runtime.compute"):
        monkeypatch.setattr(f"pipeline.{module}.resume_tiling", refuse)
    code, (error,) = both(made, capsys)
    assert code == 2
    assert "compute.memory: the run needs more" in error


def test_a_run_under_way_is_refused_by_both(made, capsys, monkeypatch):
    stopped_at(monkeypatch, made, "/0/c/2/0/0")
    capsys.readouterr()
    (folder,) = made.parent.glob("*.work-*")
    with Lock(str(folder)):
        code, (error,) = both(made, capsys)
    assert code == 2
    assert f"process {os.getpid()} on" in error


def test_a_result_that_waits_for_its_place_is_refused_by_both(made, capsys, monkeypatch):
    output = made.parent / "out.ome.zarr"

    def come(message, path):
        if message == "after write" and path.endswith("/sealed"):
            put("notes.txt")(output)

    monkeypatch.setattr(durable, "hook", come)
    assert main(["run", str(made), "--quiet"]) == 2
    monkeypatch.setattr(durable, "hook", None)
    capsys.readouterr()
    for options in ([], ["--overwrite"]):
        code, (error,) = both(made, capsys, *options)
        assert code == 2
        assert "has come to exist during the run" in error
    os.unlink(output / "notes.txt")
    output.rmdir()
    assert main(["plan", str(made)]) == 0
    assert "a run brings it under its name" in capsys.readouterr().out
    assert main(["run", str(made), "--quiet"]) == 0


# Ctrl-C before anything has begun


WHERE = {
    "while the progress is set up": ("run", "pipeline.runtime.progress.progress_for"),
    "while the config is read": ("run", "pipeline.planning.job.load_config"),
    "while the input is opened": ("run", "pipeline.config.sections.open_source"),
    "while the plan is made": ("plan", "pipeline.config.sections.open_source"),
    "while the plan is printed": ("plan", "pipeline.planning.describe.plan_text"),
}


@pytest.fixture
def in_the_foreground():
    """Python leaves Ctrl-C ignored where it was started in the background, as tests may be."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("in_the_foreground")
@pytest.mark.parametrize(("command", "where"), WHERE.values(), ids=WHERE)
def test_ctrl_c_before_the_run_begins_is_an_interrupt(made, capsys, monkeypatch, command, where):
    monkeypatch.setattr(where, lambda *_, **__: signal.raise_signal(signal.SIGINT))
    assert main([command, str(made)]) == 130
    assert "error: interrupted" in capsys.readouterr().err


# Refusals late in the start

SPEC = ImageSpec("tyx", (2, 8, 8), np.dtype("uint8"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"scale": {"y": float("nan")}}, "is no size"), ({"scale": {"t": 0.0}}, "is no size"),
     ({"translation": {"x": float("inf")}}, "is no place")],
    ids=str,
)  # fmt: skip
def test_metadata_that_cannot_be_written_is_known_before_the_start(tmp_path, changes, words):
    with pytest.raises(RequestError, match=words):
        check_layout(make_layout(SPEC.with_(**changes), f"{tmp_path}/out.zarr"))


def test_a_name_that_is_no_text_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"x\\udcff.zarr' is no UTF-8 text"):
        check_layout(make_layout(SPEC, f"{tmp_path}/x\udcff.zarr"))


LATE = {
    "the arrays": ("create", RequestError("no", "mend it", "output.path")),
    "the arrays, by the disk": ("create", StoppedError("no space left", "free some")),
    "the notes": ("write_checked", StoppedError("no space left", "free some")),
}


@pytest.mark.parametrize(("name", "error"), LATE.values(), ids=LATE)
@pytest.mark.parametrize("root", ["", "scratch/deep/er"])
def test_a_start_that_is_refused_late_leaves_no_folder(made, monkeypatch, capsys, name, error, root):
    def fail(*_):
        raise error

    options = work(made.parent / root) if root else []
    before = everything(made.parent)
    monkeypatch.setattr(journal, name, fail)
    assert main(["run", str(made), "--quiet", *options]) == 2
    assert everything(made.parent) == before
    monkeypatch.undo()
    assert main(["run", str(made), "--quiet", "--set", "white_tophat.radius=2", *options]) == 0


def test_folders_that_could_be_made_only_in_part_are_not_left(folder, monkeypatch):
    def hook(message, path):
        if message == "before mkdir" and path.endswith("/c"):
            raise StoppedError("no space left", "free some")

    monkeypatch.setattr(durable, "hook", hook)
    with pytest.raises(StoppedError):
        durable.make_folder(f"{folder}/a/b/c/d")
    assert os.listdir(folder) == []


def test_a_start_that_is_refused_keeps_what_an_earlier_one_has_done(made, monkeypatch, capsys):
    stopped_at(monkeypatch, made, "/0/c/2/0/0")
    (folder,) = made.parent.glob("*.work-*")
    before = everything(folder / "image")

    def fail(*_):
        raise StoppedError("no space left", "free some")

    monkeypatch.setattr(journal, "create", fail)
    assert main(["run", str(made), "--quiet"]) == 2
    monkeypatch.undo()
    assert everything(folder / "image") == before
    assert main(["run", str(made), "--quiet"]) == 0
    assert "done before" in capsys.readouterr().out


def test_a_cluster_that_does_not_answer_leaves_no_folder(made, capsys):
    before = everything(made.parent)
    options = ["--set", "compute.cluster=tcp://127.0.0.1:9", *work(made.parent / "scratch" / "deep")]
    assert main(["run", str(made), *options]) == 2
    assert "no scheduler answers" in capsys.readouterr().err
    assert everything(made.parent) == before


def test_an_image_that_is_saved_is_refused_alike(made):
    image = pipeline.open_image(made.parent / "in.zarr", axes="tyx")
    for path, words in (
        ("x.tif", "call it x.ome.zarr"), ("s3://bucket/x.zarr", "is a URL"),
        (made.parent / "other.zarr" / "x.zarr", "lies inside a Zarr"),
        (made.parent / ("o" * 256), "has 256 bytes"),
    ):  # fmt: skip
        before = everything(made.parent)
        with pytest.raises(RequestError, match=words):
            pipeline.save(image, path)
        assert everything(made.parent) == before
        assert not Path("x.tif").exists()
