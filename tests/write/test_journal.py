"""What is done stays done, what is not journalled is not done, and another run is refused by what changed."""

import json
import os
import shutil
import tempfile

import numpy as np
import pytest
import zarr
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from small_run import digest, inputs_of, layout_of, pixels_of, small_run

from pipeline.model.errors import RequestError, StoppedError
from pipeline.storage import durable
from pipeline.write import ChunkRecord, verify
from pipeline.write.journal import begin
from pipeline.write.lock import Holder
from pipeline.write.offsets import WindowKey
from pipeline.write.work import changes, find_work_folders, fingerprint, touched, versions

ALL = [WindowKey(level, number) for level in range(2) for number in range(3)]
A, B, C = ALL[:3]


class Killed(BaseException):
    """The end of a process, in so far as one process can play it: nothing on the disk changes after it."""


def kill_when(monkeypatch, condition):
    """Let a run die at the first point that meets a condition."""
    dead = []

    def hook(message, path):
        if dead or condition(message, path):
            dead.append(1)
            raise Killed

    monkeypatch.setattr(durable, "hook", hook)


def bury(output):
    """Make the process that holds a lock a dead one."""
    for work in find_work_folders(str(output)):
        path = f"{work}/lock"
        if os.path.exists(path) and os.path.getsize(path):
            with open(path, "w") as file:
                json.dump({**vars(Holder.me()), "start": "1"}, file)


@pytest.fixture
def output(tmp_path):
    return f"{tmp_path}/out.zarr"


@pytest.fixture
def stopped(output, monkeypatch):
    """Return the output of a run that died when two windows were journalled."""
    done = []

    def third(message, path):
        done.append(1) if message == "after append" else None
        return len(done) == 3

    kill_when(monkeypatch, third)
    with pytest.raises(Killed):
        small_run(output)
    monkeypatch.setattr(durable, "hook", None)
    bury(output)
    return output


def journal_of(output):
    (work,) = find_work_folders(output)
    return f"{work}/journal"


def test_a_run_goes_on_where_it_stopped(stopped, tmp_path):
    assert small_run(stopped) == ALL[2:]
    small_run(f"{tmp_path}/other/out.zarr")
    assert digest(stopped) == digest(f"{tmp_path}/other/out.zarr")
    np.testing.assert_array_equal(zarr.open_array(f"{stopped}/0", mode="r")[...], pixels_of())


def test_the_same_command_after_the_end_does_nothing(output):
    assert small_run(output) == ALL
    before = os.stat(output).st_mtime_ns
    assert small_run(output) == []
    assert os.stat(output).st_mtime_ns == before


def test_the_cut_of_the_first_start_holds(stopped):
    assert small_run(stopped, step=2) == ALL[2:]


def test_windows_of_another_cut_are_not_taken_for_those_of_this_one(output):
    layout = layout_of(output)
    for step, known in ((1, set()), (2, set()), (1, {A})):
        with begin(layout, inputs_of(), lambda step=step: {"step": step}) as journal:
            assert journal.done == known
            if step == 1:
                journal.append(A, [])
        os.unlink(f"{layout.work}/windows.json")


def test_a_torn_last_line_is_computed_again(stopped):
    path = journal_of(stopped)
    os.truncate(path, os.path.getsize(path) - 5)
    assert small_run(stopped) == ALL[1:]
    assert list(verify(stopped)) == []


def test_every_flipped_bit_of_the_journal_costs_a_window_and_no_pixel(stopped):
    path = journal_of(stopped)
    with open(path, "rb") as file:
        data = file.read()
    layout = layout_of(stopped)
    for at in range(0, len(data), 3):
        with open(path, "wb") as file:
            file.write(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with begin(layout, inputs_of(), dict) as journal:
            assert journal.done < {A, B}
    with open(path, "wb") as file:
        file.write(b"\xff" + data[1:])
    assert small_run(stopped) == [A, *ALL[2:]]
    assert list(verify(stopped)) == []


@pytest.mark.parametrize("name", ["journal", "windows.json", "inputs.json", "image", "drafts"])
@pytest.mark.parametrize("harm", ["remove", "empty", "flip"])
def test_whatever_is_lost_of_the_work_folder_the_run_ends_right(stopped, tmp_path, name, harm):
    path = os.path.join(os.path.dirname(journal_of(stopped)), name)
    if os.path.isdir(path):
        shutil.rmtree(path)
        if harm == "empty":
            os.mkdir(path)
    elif harm == "remove":
        os.unlink(path)
    elif harm == "empty":
        os.truncate(path, 0)
    else:
        with open(path, "r+b") as file:
            file.seek(12)
            file.write(b"\x00")
    # Another cut, as after a change of compute.memory: where the first one is lost, so is what it named.
    small_run(stopped, step=2)
    small_run(f"{tmp_path}/other/out.zarr")
    assert digest(stopped) == digest(f"{tmp_path}/other/out.zarr")


@pytest.mark.parametrize(
    ("window", "harm"),
    [(window, harm) for window in (0, 2) for harm in ("remove", "cut", "flip", "add")] + [(1, "create")],
)
def test_a_file_harmed_before_the_end_is_computed_again(output, monkeypatch, window, harm):
    """Sizes, the last window and what the pyramid reads are looked at without being asked."""
    kill_when(monkeypatch, lambda event, path: event == "before write" and "/1/c/" in path)
    with pytest.raises(Killed):
        small_run(output)
    monkeypatch.setattr(durable, "hook", None)
    bury(output)
    (work,) = find_work_folders(output)
    path = f"{work}/image/0/c/{window}/0/0"
    if harm == "create":
        os.makedirs(os.path.dirname(path))
        with open(path, "wb") as file:
            file.write(b"x")
    elif harm == "remove":
        os.unlink(path)
    elif harm in ("cut", "add"):
        os.truncate(path, os.path.getsize(path) + (1 if harm == "add" else -1))
    else:
        with open(path, "r+b") as file:
            file.seek(40)
            byte = file.read(1)[0]
            file.seek(40)
            file.write(bytes([byte ^ 1]))
    assert ALL[window] in small_run(output)
    assert list(verify(output)) == []
    np.testing.assert_array_equal(zarr.open_array(f"{output}/0", mode="r")[...], pixels_of())


def test_check_reads_everything_when_asked(stopped):
    layout = layout_of(stopped)
    path = f"{layout.image}/0/c/0/1/0"
    with open(path, "r+b") as file:
        file.seek(40)
        file.write(b"\x01\x02\x03")
    with begin(layout, inputs_of(), dict) as journal:
        assert journal.check() == []
        assert journal.check(content=True) == [A]
        assert journal.done == {B}
    with begin(layout, inputs_of(), dict) as journal:
        assert journal.done == {B}


def test_facts_and_records_are_kept_by_window(output):
    layout = layout_of(output)
    records = (ChunkRecord("0/c/0/0/0", 7, 255), ChunkRecord("0/c/0/1/0", 0, None))
    with begin(layout, inputs_of(), dict) as journal:
        journal.append(A, records, clipped=3, low=-1.5)
        journal.append(B, records[:1], clipped=0)
        assert dict(journal.facts()) == {A: {"clipped": 3, "low": -1.5}, B: {"clipped": 0}}
        journal.append(A, records[1:], clipped=4)
        assert dict(journal.facts()) == {A: {"clipped": 4}, B: {"clipped": 0}}
        assert list(journal.records([A])) == [records[1]]
        journal.forget([B])
    with begin(layout, inputs_of(), dict) as journal:
        assert journal.done == {A}
        assert list(journal.records()) == [records[1]]


def test_a_full_disk_in_the_journal_loses_one_line(output, monkeypatch):
    layout = layout_of(output)
    write = os.write

    def half(descriptor, data):
        write(descriptor, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    with begin(layout, inputs_of(), dict) as journal:
        journal.append(A, [])
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(StoppedError, match="no space left"):
            journal.append(B, [])
        monkeypatch.setattr(os, "write", write)
        journal.append(C, [])
        assert journal.done == {A, C}
        assert dict(journal.facts()) == {A: {}, C: {}}
    with begin(layout, inputs_of(), dict) as journal:
        assert journal.done == {A, C}


def test_a_window_is_journalled_after_its_files_and_folders_are_on_disk(output, monkeypatch):
    events = []
    monkeypatch.setattr(durable, "hook", lambda event, path: events.append((event, path)))
    small_run(output)
    appended = [at for at, (message, _) in enumerate(events) if message == "before append"]
    written = [
        (at, path) for at, (message, path) in enumerate(events) if message == "after write" and "/c/" in path
    ]
    assert len(written) == 6
    for at, path in written:
        journalled = next(mark for mark in appended if mark > at)
        synced = {event[1] for event in events[at:journalled] if event[0] == "after fsync"}
        while not path.endswith("/image"):
            assert path in synced
            path = os.path.dirname(path)
        assert path in synced


def test_the_name_appears_after_everything_else_is_on_disk(output, monkeypatch):
    events = []
    monkeypatch.setattr(durable, "hook", lambda event, path: events.append((event, path)))
    small_run(output)
    renamed = events.index(("before rename", output))
    written = {path for event, path in events[:renamed] if event == "after write"}
    synced = {path for event, path in events[:renamed] if event == "after fsync"}
    assert written <= synced
    assert not any(event.endswith("write") for event, _ in events[renamed:])


def test_another_config_is_refused_by_what_changed_and_overwrite_drops_the_old_run(stopped):
    with pytest.raises(RequestError, match=r"config\.steps\.0\.add was 0, is now 5.*--overwrite"):
        small_run(stopped, fill=5)
    assert small_run(stopped, fill=5, overwrite=True) == ALL
    assert os.listdir(os.path.dirname(stopped)) == ["out.zarr"]
    np.testing.assert_array_equal(zarr.open_array(f"{stopped}/0", mode="r")[...], pixels_of(5))


def test_overwrite_does_not_drop_a_run_that_is_alive(output):
    with begin(layout_of(output), inputs_of(), dict):
        for keywords in ({"fill": 5, "overwrite": True}, {"fill": 5}, {}):
            with pytest.raises(RequestError, match="is writing this output"):
                small_run(output, **keywords)


def test_a_run_stopped_while_it_overwrites_goes_on_and_the_old_output_stays(output, monkeypatch):
    small_run(output, fill=5)
    kill_when(monkeypatch, lambda event, path: event == "before write" and "/1/c/" in path)
    with pytest.raises(Killed):
        small_run(output, overwrite=True)
    monkeypatch.setattr(durable, "hook", None)
    bury(output)
    assert list(verify(output)) == []
    np.testing.assert_array_equal(zarr.open_array(f"{output}/0", mode="r")[...], pixels_of(5))
    assert small_run(output, overwrite=True) == ALL[3:]
    np.testing.assert_array_equal(zarr.open_array(f"{output}/0", mode="r")[...], pixels_of())


def test_changes_are_told_in_words():
    old = {"config": {"a": [1, 2], "b": {"c": "x"}}, "input": {"t.tif": {"size": 5, "mtime_ns": 1}}}
    new = {"config": {"a": [1], "d": {}}, "input": {"t.tif": {"size": 6, "mtime_ns": 2}}}
    assert changes(old, new) == [
        "config.a.1 was 2, is gone",
        'config.b.c was "x", is gone',
        "config.d is new: {}",
        "input.t.tif.size was 5, is now 6",
    ]
    assert touched(old, new) == ["input.t.tif.mtime_ns was 1, is now 2"]
    assert changes(old, old) == touched(old, old) == []


def test_a_fingerprint_is_that_of_values_and_not_of_their_order_or_of_times():
    one = {"a": 1, "b": {"x": [1, 2], "mtime_ns": 5}}
    assert fingerprint(one) == fingerprint({"b": {"mtime_ns": 6, "x": [1, 2]}, "a": 1})
    assert fingerprint(one) != fingerprint({"a": 1, "b": {"x": [2, 1]}})
    assert fingerprint(one) != fingerprint({"a": "1", "b": {"x": [1, 2]}})
    assert {"bgone", "numpy"} <= set(versions())


def test_an_input_that_was_only_touched_is_the_same_run_and_told(stopped):
    inputs = {**inputs_of(), "input": {"size": 7, "mtime_ns": 2}}
    with begin(layout_of(stopped), inputs, dict) as journal:
        assert journal.done == {A, B}
        assert journal.touched == ["input.mtime_ns was 1, is now 2"]


def test_a_folder_that_may_not_be_written_is_told_before_the_start(output, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(RequestError, match="no permission to write"):
        small_run(output)
    assert os.listdir(os.path.dirname(output)) == []


class Runs(RuleBasedStateMachine):
    """Run, kill, harm, edit, resume, in any order: a name holds a whole output or nothing."""

    def __init__(self):
        super().__init__()
        self.folder = None

    @initialize()
    def start(self):

        self.folder = tempfile.mkdtemp()
        self.output = f"{self.folder}/out.zarr"
        self.fill = 0
        self.shown = None

    def teardown(self):
        durable.hook = None
        if self.folder:
            shutil.rmtree(self.folder)

    def run(self, hook=None, overwrite=False):
        durable.hook = hook
        try:
            small_run(self.output, self.fill, overwrite=overwrite, content=True)
            self.shown = self.fill
        finally:
            durable.hook = None
            bury(self.output)

    @rule(point=st.integers(0, 180), overwrite=st.booleans())
    def run_and_die(self, point, overwrite):
        left = [point]

        def hook(message, path):
            left[0] -= 1
            if left[0] < 0:
                raise Killed

        before = self.shown
        try:
            self.run(hook, overwrite)
        except Killed:
            found = (
                zarr.open_array(f"{self.output}/0", mode="r")[0, 0, 1]
                if os.path.exists(self.output)
                else None
            )
            self.shown = None if found is None else int(found) - 1
            assert self.shown in (before, self.fill)
        except RequestError as error:
            self.refused_rightly(error, overwrite)

    @rule(overwrite=st.booleans())
    def run_to_the_end(self, overwrite):
        try:
            self.run(None, overwrite)
        except RequestError as error:
            self.refused_rightly(error, overwrite)

    def refused_rightly(self, error, overwrite):
        assert not overwrite
        other = [
            work for work in find_work_folders(self.output) if work != layout_of(self.output, self.fill).work
        ]
        assert other or self.shown is not None, error

    @rule(fill=st.integers(0, 2))
    def edit_the_config(self, fill):
        self.fill = fill

    @precondition(lambda self: self.folder and find_work_folders(self.output))
    @rule(data=st.data())
    def harm_the_work_folder(self, data):
        files = [
            os.path.join(folder, name)
            for work in find_work_folders(self.output)
            for folder, _, names in os.walk(work)
            for name in names
            if name not in ("lock", "sealed", "manifest.txt") and "replaced" not in folder
            and not os.path.exists(f"{work}/sealed")
        ]  # fmt: skip
        if not files:
            return
        path = data.draw(st.sampled_from(sorted(files)))
        how = data.draw(st.sampled_from(["remove", "cut", "flip"]))
        size = os.path.getsize(path)
        if how == "remove" or size == 0:
            os.unlink(path)
        elif how == "cut":
            os.truncate(path, size - 1)
        else:
            with open(path, "r+b") as file:
                at = data.draw(st.integers(0, size - 1))
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 16]))

    @invariant()
    def what_is_shown_is_whole(self):
        if self.folder is None or self.shown is None:
            return
        assert list(verify(self.output)) == []
        np.testing.assert_array_equal(
            zarr.open_array(f"{self.output}/0", mode="r")[...], pixels_of(self.shown)
        )


TestRuns = Runs.TestCase
TestRuns.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
