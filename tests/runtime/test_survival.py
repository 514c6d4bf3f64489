"""Whatever stops a run, the same command finishes it, and the result is that of one that nothing stopped."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import tifffile
import zarr
from cuts import TALL_CONFIG, cut, first_file, flip, set_up
from processes import assert_same, config, files_of, go, wait_until


@pytest.fixture(scope="session")
def expected(kept_folder, zygote):
    """The output of a run that nothing stopped."""
    made = set_up(kept_folder, "expected")
    ended = zygote.run("run", made)
    assert ended.code == 0, ended.err
    return made.parent / "out.ome.zarr"


def assert_finished(made, expected, before=("movie.tif", "run.yaml")):
    """Require that an output is as expected, that nothing else is left, and that the input is untouched."""
    assert_same(made.parent / "out.ome.zarr", expected)
    assert sorted(os.listdir(made.parent)) == sorted([*before, "out.ome.zarr"])
    assert (made.parent / "movie.tif").read_bytes() == (expected.parent / "movie.tif").read_bytes()


def todo(ended):
    """Return how many windows a start said it had to compute."""
    line = next(line for line in ended.err.splitlines() if " windows to do" in line)
    return int(line.split(": ")[1].split(" of ")[0])


# Killed at every point at which a disk changes


def killed_in_turn(zygote, folder, expected, first, stride, old=None):
    """Kill a run at every `stride`-th point, resume it, and collect what is wrong; return the points too."""
    arguments = ["--overwrite"] if old is not None else []
    problems, point = [], first
    while True:
        made = set_up(folder, f"at-{point}")
        output = made.parent / "out.ome.zarr"
        if old is not None:
            shutil.copytree(old, output)
        where = folder / "point"
        ended = zygote.run("run", made, *arguments, harm=[{"nth": point, "then": "kill"}], points=str(where))
        if ended.code == 0:
            return problems, point
        try:
            assert ended.code == -signal.SIGKILL, ended.err
            if output.exists():
                assert_same(output, expected if old is None or provenance(output) != provenance(old) else old)
            else:
                assert old is None, "the old output had gone before the new one was there"
            again = zygote.run("run", made, *arguments)
            assert again.code == 0, again.err
            assert_finished(made, expected)
        except AssertionError as error:
            problems.append(f"{where.read_text()}: {error}")
        shutil.rmtree(made.parent)
        point += stride


def provenance(output):
    return (output / "bgone" / "zarr.json").read_bytes()


def older(zygote, folder):
    """Return an older output of the same name with other pixels."""
    made = set_up(folder, "older", TALL_CONFIG.replace("radius: 3", "radius: 2"))
    assert zygote.run("run", made).code == 0
    return made.parent / "out.ome.zarr"


def test_killed_at_a_point_of_five_in_turn(zygote, folder, expected):
    problems, points = killed_in_turn(zygote, folder, expected, 0, 5)
    assert problems == []
    assert points > 100


def test_killed_at_a_point_of_nine_in_turn_while_an_older_output_is_replaced(zygote, folder, expected):
    problems, points = killed_in_turn(zygote, folder, expected, 1, 9, older(zygote, folder))
    assert problems == []
    assert points > 100


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("replaced", [False, True], ids=["first", "overwrite"])
def test_killed_at_every_point(zygote, folder, expected, replaced):
    old = older(zygote, folder) if replaced else None
    problems, points = killed_in_turn(zygote, folder, expected, 0, 1, old)
    assert problems == []
    assert points > 100


# Stopped in other ways

STOPPED = {
    "killed while data is written": ("before write", "/0/c/2", "kill", -9, ""),
    "killed while a level is written": ("before write", "/1/c/2", "kill", -9, ""),
    "a segfault": ("before write", "/0/c/2", "segfault", -11, ""),
    "SIGTERM": ("before write", "/0/c/0", "term", 3, "stopped by SIGTERM; the same command goes on"),
    "SIGTERM before the first window": ("mkdir", "", "term", 3, "stopped by SIGTERM"),
    "Ctrl-C": ("before write", "/0/c/0", "int", 130, "interrupted; the same command goes on"),
    "Ctrl-C before the first window": ("mkdir", "", "int", 130, "interrupted"),
    "Ctrl-C in the pyramid": ("before write", "/1/c/0", "int", 130, "interrupted"),
    "out of memory": ("before write", "/0/c/2", "memory", 3, "ran out of memory; set compute.memory"),
    "out of memory in the driver": ("before append", "journal", "memory", 3, "ran out of memory"),
    "disk full on data": ("before write", "/0/c/2", "full", 3, "no space left on the disk for"),
    "disk full on the journal": ("before append", "journal", "full", 3, "no space left on the disk for"),
    "disk full on a level": ("before write", "/1/c/2", "full", 3, "no space left on the disk for"),
    "disk full on the manifest": ("before write", "manifest", "full", 3, "no space left on the disk for"),
    "disk full on the metadata": ("before write", "image/zarr.json", "full", 3, "no space left"),
    "disk full on the commit": ("before rename", "out.ome.zarr", "full", 3, "no space left on the disk for"),
}


@pytest.mark.parametrize(("point", "path", "then", "code", "words"), STOPPED.values(), ids=STOPPED)
def test_the_same_command_finishes(zygote, folder, expected, point, path, then, code, words):
    made = set_up(folder)
    harm = [{"point": point, "path": path, "nth": int(point == "before append"), "then": then}]
    stopped = zygote.run("run", made, harm=harm)
    assert stopped.code == code, stopped.err
    assert words in stopped.err
    assert "Traceback" not in stopped.err
    again = zygote.run("run", made)
    assert again.code == 0, again.err
    assert_finished(made, expected)
    once_more = zygote.run("run", made)
    assert (once_more.code, "nothing to do" in once_more.out) == (0, True)


def test_what_is_lost_is_what_was_under_way(zygote, folder):
    made = set_up(folder)
    zygote.run("run", made, harm=[{"point": "after append", "path": "journal", "nth": 2, "then": "kill"}])
    assert todo(zygote.run("run", made)) == 1


def test_what_is_under_way_at_a_signal_is_kept(zygote, folder):
    made = set_up(folder)
    ended = zygote.run("run", made, harm=[{"point": "before write", "path": "/0/c/0", "then": "term"}])
    assert ended.code == 3
    assert "what is under way is finished and kept" in ended.err
    assert todo(zygote.run("run", made)) <= 2


def test_a_second_ctrl_c_waits_for_nothing(zygote, folder, expected):
    made = set_up(folder)
    pid = zygote.start("run", made, harm=[{"point": "before write", "path": "/0/c/0", "then": "hold"}])
    notes = zygote.notes[pid]
    zygote.reached(pid)
    os.kill(pid, signal.SIGINT)
    wait_until(lambda: "once more stops at once" in (notes / "stderr").read_text())
    os.kill(pid, signal.SIGINT)
    stopped = zygote.wait(pid)  # though the block under way never ends
    assert stopped.code == 130, stopped.err
    assert "Traceback" not in stopped.err
    assert zygote.run("run", made).code == 0
    assert_finished(made, expected)


# Two runs at once, and who holds the lock


def test_a_second_run_is_refused_and_harms_nothing(zygote, folder, expected):
    made = set_up(folder)
    first = zygote.start("run", made, harm=[{"point": "before write", "path": "/0/c/2", "then": "hold"}])
    notes = zygote.notes[first]
    zygote.reached(first)
    for arguments in ([], ["--overwrite"], ["--set", "white_tophat.radius=2", "--overwrite"]):
        second = zygote.run("run", made, *arguments)
        assert second.code == 2
        assert f"process {first} on" in second.err
        assert "is writing this output" in second.err
    go(notes)
    assert zygote.wait(first).code == 0
    assert_finished(made, expected)


def test_a_lock_of_a_dead_process_is_taken_over_and_one_of_another_host_is_named(zygote, folder, expected):
    made = set_up(folder)
    zygote.run("run", made, harm=[{"point": "before write", "path": "/0/c/2", "then": "kill"}])
    (lock,) = made.parent.glob("*.work-*/lock")
    holder = json.loads(lock.read_text())
    lock.write_text(json.dumps({**holder, "host": "elsewhere"}))
    refused = zygote.run("run", made)
    assert refused.code == 2
    assert f"if it is no longer running, remove {lock}" in refused.err
    lock.write_text(json.dumps(holder))
    assert zygote.run("run", made).code == 0
    assert_finished(made, expected)


# What changed in between


def half_done(zygote, made, nth=2):
    """Run a config until its n-th window is journalled, and return its work folder."""
    ended = zygote.run(
        "run", made, harm=[{"point": "after append", "path": "journal", "nth": nth, "then": "kill"}]
    )
    assert ended.code == -9, ended.err
    (work,) = made.parent.glob("*.work-*")
    return work


def all_files(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--set", "white_tophat.radius=4"], "config.steps.0.white_tophat.radius was 3, is now 4"),
        (["--set", "output.compressor=zstd"], 'config.output.compressor was "blosc-lz4", is now "zstd"'),
        (["--set", 'input.select={t: "0:2"}'], "config.input.select"),
    ],
    ids=["step", "output", "input"],
)
def test_another_config_is_refused_listing_what_changed(zygote, folder, expected, change, words):
    made = set_up(folder)
    work = half_done(zygote, made)
    before = all_files(made.parent)
    refused = zygote.run("run", made, *change)
    assert refused.code == 2
    assert words in refused.err
    assert str(work) in refused.err
    assert "--overwrite" in refused.err
    assert all_files(made.parent) == before
    assert zygote.run("run", made).code == 0
    assert_finished(made, expected)


def test_another_version_of_what_computes_is_refused(zygote, folder):
    made = set_up(folder)
    half_done(zygote, made)
    refused = zygote.run("run", made, versions={"scipy": "99.0"})
    assert refused.code == 2
    assert 'is now "99.0"' in refused.err
    assert "versions.scipy" in refused.err


def test_another_input_is_refused_and_a_touched_one_is_not(zygote, folder, expected):
    made = set_up(folder)
    half_done(zygote, made)
    path = made.parent / "movie.tif"
    same = path.read_bytes()
    pixels = tifffile.memmap(path)
    pixels[1, 5, 5] += 1
    pixels.flush()
    del pixels
    refused = zygote.run("run", made)
    assert refused.code == 2
    assert "input.content was" in refused.err
    path.write_bytes(same)
    again = zygote.run("run", made)
    assert again.code == 0, again.err
    assert "another time, and hold what they held" in again.err
    assert todo(again) == 1
    assert_finished(made, expected)


def test_a_touched_input_that_is_too_large_to_compare_is_computed_again(zygote, folder, expected):
    made = set_up(folder)
    large = {"pipeline.read.content.WHOLE_BYTES": 1000, "pipeline.read.content.PIECE_BYTES": 16}
    harm = [{"point": "after append", "nth": 2, "then": "kill"}]
    assert zygote.run("run", made, patch=large, harm=harm).code == -9
    os.utime(made.parent / "movie.tif", ns=(1, 1))
    again = zygote.run("run", made, patch=large)
    assert again.code == 0, again.err
    assert todo(again) == 3
    assert_finished(made, expected)


def test_an_input_that_changes_during_the_run_is_not_committed(zygote, folder):
    made = set_up(folder)
    pid = zygote.start("run", made, harm=[{"point": "before write", "path": "/0/c/2", "then": "hold"}])
    notes = zygote.notes[pid]
    zygote.reached(pid)
    pixels = tifffile.memmap(made.parent / "movie.tif")
    pixels[0] += 1
    pixels.flush()
    go(notes)
    stopped = zygote.wait(pid)
    assert stopped.code == 3
    assert "the input changed during the run" in stopped.err
    assert not (made.parent / "out.ome.zarr").exists()
    assert zygote.run("run", made).code == 2
    assert zygote.run("run", made, "--overwrite").code == 0


def test_a_chunk_that_vanishes_during_the_run_is_not_taken_for_zeros(zygote, folder):
    made = set_up(folder)
    path = made.parent / "movie.zarr"
    pixels = tifffile.imread(made.parent / "movie.tif")
    names = {"dimension_names": ["t", "y", "x"], "chunks": (1, 260, 40), "shape": pixels.shape}
    zarr.create_array(path, dtype=pixels.dtype, **names)[...] = pixels
    options = ["--input", path]
    held = [{"point": "before write", "path": "/0/c/0", "then": "hold"}]
    pid = zygote.start("run", made, *options, harm=held)
    notes = zygote.notes[pid]
    zygote.reached(pid)
    chunk = path / "c" / "2" / "1" / "0"
    kept = chunk.read_bytes()
    chunk.unlink()
    go(notes)
    stopped = zygote.wait(pid)
    assert stopped.code == 3, stopped.err
    assert "the input changed during the run (input.files was 7, is now 6" in stopped.err
    assert not (made.parent / "out.ome.zarr").exists()
    refused = zygote.run("run", made, *options)
    assert refused.code == 2, refused.err
    assert "input.files was 7, is now 6" in refused.err
    chunk.write_bytes(kept)
    assert zygote.run("run", made, *options, "--overwrite").code == 0


# Data that is refused on the way


@pytest.mark.parametrize("all_frames", [True, False], ids=["nothing was done", "some was done"])
def test_after_data_was_refused_only_what_was_done_is_kept(zygote, folder, all_frames):
    made = set_up(folder)
    pixels = tifffile.imread(made.parent / "movie.tif").astype("float32")
    pixels[0 if all_frames else 2 :, 5, 7] = float("nan")
    tifffile.imwrite(made.parent / "movie.tif", pixels, imagej=True, metadata={"axes": "TYX"})
    text = TALL_CONFIG.replace("workers: 1", "workers: 1\n  block: {y: 520, x: 40}")
    refused = zygote.run("run", config(made.parent, text))
    assert refused.code == 5, refused.err
    assert "y 5, x 7" in refused.err
    assert "--overwrite" in refused.err
    done = list(made.parent.glob("*.work-*"))
    assert len(done) == (not all_frames)
    other = zygote.run("run", made, "--set", "input.nan=propagate")
    if done:
        assert other.code == 2, other.err
        assert "config.input.nan was" in other.err
        other = zygote.run("run", made, "--set", "input.nan=propagate", "--overwrite")
    assert other.code == 0, other.err
    assert sorted(os.listdir(made.parent)) == ["movie.tif", "out.ome.zarr", "run.yaml"]


@pytest.mark.parametrize("there", [False, True], ids=["made for it", "there before"])
def test_a_work_folder_leaves_no_folder_that_was_made_for_it(zygote, folder, expected, there):
    made = set_up(folder)
    if there:
        (made.parent / "scratch").mkdir()
    options = ["--set", f"output.work={made.parent}/scratch/deep"]
    killed = zygote.run(
        "run", made, *options, harm=[{"point": "before write", "path": "/0/c/2", "then": "kill"}]
    )
    assert killed.code == -9
    assert len(list((made.parent / "scratch" / "deep").iterdir())) == 1
    assert zygote.run("run", made, *options).code == 0
    assert_finished(made, expected, ["movie.tif", "run.yaml", *["scratch"] * there])
    if there:
        assert os.listdir(made.parent / "scratch") == []


COMPUTE = "workers: 1\n  window: {t: 1}"
CUT = TALL_CONFIG.replace("{t: 1, y: 260, x: 40}", "{t: 1, y: 20, x: 20}")


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("window: {t: 3}", "window: {t: 1}"),
        ("window: {t: 1}", "window: {t: 3}"),
        ("block: {y: 20, x: 20}", "block: {y: 40, x: 40}"),
        ("block: {y: 40, x: 40}\n  window: {y: 80}", "block: {y: 60}\n  window: {y: 120}"),
        ("block: {y: 100, x: 20}", "memory: 400 MiB"),
        ("workers: 2", "workers: 1\n  memory: 400 MiB"),
    ],
    ids=lambda text: text.replace("\n", ""),
)
@pytest.mark.parametrize("most", [512, 4])
def test_a_run_goes_on_whatever_compute_says_now(zygote, folder, first, then, most):
    whole = set_up(folder, "whole", CUT.replace(COMPUTE, "workers: 1"))
    assert zygote.run("run", whole).code == 0
    made = set_up(folder, text=CUT.replace(COMPUTE, first))
    harm = [{"point": "after append", "path": "journal", "nth": 1, "then": "kill"}]
    assert zygote.run("run", made, harm=harm).code == -9
    config(made.parent, CUT.replace(COMPUTE, then))
    again = zygote.run("run", made, patch={"pipeline.planning.blocks.WINDOW_BLOCKS": most})
    assert again.code == 0, again.err
    assert "done before" in again.out
    left, right = files_of(made.parent / "out.ome.zarr"), files_of(whole.parent / "out.ome.zarr")
    del left["bgone/manifest.txt"], right["bgone/manifest.txt"]  # in the order of other windows
    assert left == right


# What a disk may do to an unfinished run


def torn_journal(work):
    cut(work / "journal")


def flipped_journal(work):
    lines = (work / "journal").read_bytes().splitlines(keepends=True)
    flip(work / "journal", len(lines[0]) // 2)


def garbage(work):
    for name in ("journal", "lock", "windows.json", "inputs.json"):
        (work / name).write_bytes(os.urandom(300))


HARMED = {
    "journal torn": torn_journal,
    "journal flipped": flipped_journal,
    "journal deleted": lambda work: (work / "journal").unlink(),
    "journal empty": lambda work: (work / "journal").write_bytes(b""),
    "windows lost": lambda work: (work / "windows.json").unlink(),
    "inputs lost": lambda work: (work / "inputs.json").unlink(),
    "all notes overwritten": garbage,
    "chunk deleted": lambda work: first_file(work / "image", 0).unlink(),
    "chunk cut": lambda work: cut(first_file(work / "image", 0)),
    "chunk flipped": lambda work: flip(first_file(work / "image", 0)),
    "array metadata flipped": lambda work: flip(work / "image" / "0" / "zarr.json"),
    "image deleted": lambda work: shutil.rmtree(work / "image"),
    "drafts deleted": lambda work: shutil.rmtree(work / "drafts"),
}


@pytest.mark.parametrize("levels_done", [False, True], ids=["halfway", "pyramid done"])
@pytest.mark.parametrize("harm", HARMED.values(), ids=HARMED)
def test_what_is_damaged_before_the_commit_is_computed_again(zygote, folder, expected, harm, levels_done):
    made = set_up(folder)
    if levels_done:
        harm_at = [{"point": "before write", "path": "manifest", "then": "kill"}]
        assert zygote.run("run", made, harm=harm_at).code == -9
        (work,) = made.parent.glob("*.work-*")
    else:
        work = half_done(zygote, made)
    harm(work)
    again = zygote.run("run", made)
    assert again.code == 0, again.err
    assert_finished(made, expected)


def test_a_flipped_chunk_without_a_pyramid_is_computed_again(zygote, folder):
    made = set_up(folder, text=TALL_CONFIG.replace("chunks:", "pyramid: false\n  chunks:"))
    whole = set_up(folder, "whole", made.read_text())
    assert zygote.run("run", whole).code == 0
    flip(first_file(half_done(zygote, made) / "image", 0))
    again = zygote.run("run", made)
    assert again.code == 0, again.err
    # Which window was journalled last, and so is read at once, is the workers' affair.
    assert "1 damaged files" in again.err or "1 windows are damaged" in again.err
    assert_finished(made, whole.parent / "out.ome.zarr")


# What a disk may do to a finished output


@pytest.mark.parametrize("harm", [cut, flip, Path.unlink], ids=["cut", "flipped", "deleted"])
@pytest.mark.parametrize("level", [0, 1])
def test_verify_names_what_is_damaged(zygote, folder, expected, harm, level):
    output = folder / "out.ome.zarr"
    shutil.copytree(expected, output)
    path = first_file(output, level)
    harm(path)
    named = zygote.run("verify", output)
    assert named.code == 4
    assert path.relative_to(output).as_posix() in named.err


def test_overwrite_mends_a_damaged_output_and_leaves_a_whole_one_alone(zygote, folder, expected):
    made = set_up(folder)
    output = made.parent / "out.ome.zarr"
    assert zygote.run("run", made).code == 0
    written = provenance(output)
    assert zygote.run("run", made, "--overwrite").code == 0
    assert provenance(output) == written
    first_file(output, 0).unlink()
    plain = zygote.run("run", made)
    assert plain.code == 4
    assert "is damaged now" in plain.err
    assert zygote.run("run", made, "--overwrite").code == 0
    assert_finished(made, expected)
    assert provenance(output) != written


# Where nothing can be written


def as_nobody():
    if os.getuid() != 0:
        pytest.skip("only root can become an ordinary user")
    return {"user": 65534, "environ": {"HOME": "/nonexistent", "NUMBA_CACHE_DIR": "/nonexistent"}}


def test_a_read_only_output_is_refused_before_the_start(zygote, folder):
    nobody = as_nobody()
    made = set_up(folder)
    refused = zygote.run("run", made, **nobody)
    assert refused.code == 2
    assert "no permission to write" in refused.err
    assert sorted(os.listdir(made.parent)) == ["movie.tif", "run.yaml"]


def test_an_output_that_becomes_read_only_stops_the_run(zygote, folder, expected):
    nobody = as_nobody()
    made = set_up(folder)
    made.parent.chmod(0o777)
    pid = zygote.start(
        "run", made, harm=[{"point": "before write", "path": "/0/c/2", "then": "hold"}], **nobody
    )
    notes = zygote.notes[pid]
    zygote.reached(pid)
    (drafts,) = made.parent.glob("*.work-*/drafts")
    drafts.chmod(0o555)
    go(notes)
    stopped = zygote.wait(pid)
    assert stopped.code == 3, stopped.err
    assert "no permission to write" in stopped.err
    drafts.chmod(0o755)
    again = zygote.run("run", made, **nobody)
    assert again.code == 0, again.err
    assert_finished(made, expected)


def test_a_file_may_not_be_as_large_as_needed(zygote, folder, expected):
    made = set_up(folder)
    stopped = zygote.run("run", made, limits={"RLIMIT_FSIZE": 16000})
    assert stopped.code == 3, stopped.err
    assert "File too large" in stopped.err
    assert zygote.run("run", made).code == 0
    assert_finished(made, expected)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own with 96 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=96k none {disk} 2>/dev/null") != 0:
        pytest.skip("only root can mount a small disk")
    yield disk
    os.system(f"umount {disk}")


def test_a_disk_that_is_really_full_and_then_is_not(zygote, folder, expected, small_disk):
    made = set_up(folder)
    output = small_disk / "out.ome.zarr"
    stopped = zygote.run("run", made, "--output", output)
    assert stopped.code == 3, stopped.err
    assert "no space left on the disk for" in stopped.err
    assert "free some space, then run the same command again" in stopped.err
    assert os.system(f"mount -o remount,size=1m {small_disk}") == 0
    again = zygote.run("run", made, "--output", output)
    assert again.code == 0, again.err
    assert_same(output, expected)
    assert os.listdir(small_disk) == ["out.ome.zarr"]
