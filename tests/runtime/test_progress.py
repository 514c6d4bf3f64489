"""How far a run is: figures of a resumed run too, moves within a window, a bar at any width, few lines."""

import io
import itertools
import re

import numpy as np
import pytest
import tifffile
from rich.console import Console, ConsoleDimensions

import pipeline
from pipeline.runtime import progress
from pipeline.runtime.progress import Bar, Lines, Progress, Rate, progress_for


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that goes when it is told to."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_the_time_left_of_a_resumed_run_is_that_of_its_own_windows(clock):
    rate = Rate(windows=100, done=90, nbytes=10 * 10**9)
    clock[0] += 10
    rate.advance(10**9)
    assert rate.left == pytest.approx(9 * 10)
    assert rate.speed == pytest.approx(1e8)
    assert rate.text() == "window 91 of 100 (91 %), 100 MB/s, 1 min 30 s left"


def test_what_is_computed_of_windows_under_way_counts(clock):
    rate = Rate(windows=4, done=0, nbytes=4 * 10**9)
    assert rate.text() == "window 0 of 4 (0 %)"
    clock[0] += 10
    rate.begun = 0.5
    assert rate.text() == "window 0 of 4 (12 %), 50 MB/s, 1 min 10 s left"
    rate.advance(10**9)
    assert (rate.begun, rate.share) == (0, 0.25)
    rate.begun = 5
    assert rate.share == 1
    assert rate.left == 0


def test_of_a_long_run_a_log_has_few_lines_and_the_last_one(clock):
    log = io.StringIO()
    lines = Lines(log)
    lines.start(40_000, 0, 40_000)
    for _ in range(40_000):
        clock[0] += 1
        lines.within(0.5)
        lines.advance(1)
    told = log.getvalue().splitlines()
    assert told[0].startswith("window 10 of 40000") or told[0].startswith("window 9 of 40000")
    assert told[-1].startswith("window 40000 of 40000 (100 %)")
    assert 20 < len(told) < 200


def test_a_log_moves_within_a_long_window_too(clock):
    log = io.StringIO()
    lines = Lines(log)
    lines.start(1, 0, 10**9)
    for share in (0.0, 0.25, 0.5, 0.75):
        clock[0] += 10
        lines.within(share)
    assert [re.search(r"\((\d+) %\)", line)[1] for line in log.getvalue().splitlines()] == ["25", "50", "75"]


# -- the bar -------------------------------------------------------------------------------


class Screen(io.StringIO):
    """A terminal that wraps what is too long, and wraps it anew when its width changes."""

    def __init__(self, width):
        super().__init__()
        self.width, self.lines, self.row = width, [""], 0

    def isatty(self):
        return True

    def rows(self):
        """Return the rows that are seen."""
        wrapped = (
            [line[at : at + self.width] for at in range(0, len(line), self.width)] for line in self.lines
        )
        return [row for rows in wrapped for row in rows or [""]]

    def write(self, text):
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
            if part == "\n":
                self.lines.append("")
            elif part.endswith("m") and part[0] == "\x1b":
                continue
            elif part == "\r":
                self.start = (len(self.lines[-1]) - 1) // self.width * self.width
            elif part == "\x1b[1A":
                self.start -= self.width
                assert self.start >= 0, "the bar takes a line off that is not its own"
            elif part == "\x1b[2K":
                self.lines[-1] = self.lines[-1][: max(self.start, 0)]
            else:
                assert part[0] != "\x1b", f"{part!r} is not known here"
                self.lines[-1] += part
        return len(text)


@pytest.fixture
def screen(monkeypatch):
    made = Screen(100)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(Console, "size", property(lambda _: ConsoleDimensions(made.width, 25)))
    return made


@pytest.mark.parametrize("width", [1, 2, 5, 12, 20, 30, 45, 60, 80, 100, 250])
def test_the_bar_is_one_line_at_any_width(screen, clock, width):
    screen.width = width
    bar = Bar(screen)
    bar.start(300, 100, 10**9)
    for count in range(200):
        clock[0] += 1
        bar.within(0.5)
        bar.advance(10**6)
        assert len(screen.rows()) == 1
        assert len(screen.rows()[0]) <= max(width - 1, 0)
        assert width < 30 or f"{101 + count}" in screen.rows()[0]
    bar.stop()
    assert len(screen.rows()) == 2


def test_no_piece_of_the_bar_is_left_when_the_width_changes(screen, clock):
    bar = Bar(screen)
    bar.say("computing")
    bar.start(50, 0, 10**9)
    for count, width in enumerate([100, 40, 13, 90, 25, 100, 60, 59, 8, 120] * 4):
        screen.width = width
        clock[0] += 1
        bar.advance(10**6)
        assert screen.rows()[0] == "computing"[:width]
        assert screen.lines[0] == "computing"
        assert len(screen.lines) == 2, f"a piece is left after change {count}"
    screen.width = 30
    bar.say("a note")
    bar.stop()
    assert screen.lines[:2] == ["computing", "a note"]
    assert "40/50 (80 %)" in screen.lines[2]


def test_the_bar_is_drawn_only_now_and_then_within_a_window(screen, clock):
    bar, written = Bar(screen), []
    bar.start(1, 0, 1)
    screen.write = lambda text: written.append(text) or len(text)
    for count in range(1000):
        clock[0] += 0.001
        bar.within(count / 1000)
    assert 5 <= sum("window" in text for text in written) <= 12


def test_a_terminal_that_has_gone_is_no_reason_to_stop(screen):
    bar = Bar(screen)
    bar.start(2, 0, 1)

    def gone(text):
        raise OSError(5, "Input/output error")

    screen.write = gone
    bar.say("a note")
    bar.advance(1)
    bar.within(0.5)
    bar.stop()


def test_a_bar_is_for_terminals_that_can_go_back(screen, monkeypatch):
    assert isinstance(progress_for(screen), Bar)
    assert isinstance(progress_for(io.StringIO()), Lines)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress_for(screen), Lines)


# -- a run ---------------------------------------------------------------------------------


class Told(Progress):
    def __init__(self):
        self.shares = []

    def within(self, windows):
        self.shares.append(windows)


@pytest.mark.parametrize("cluster", ["threads", pytest.param("local", marks=pytest.mark.slow)])
def test_a_run_of_one_window_tells_how_much_of_it_is_done(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr("pipeline.runtime.loop.OUTCOME_SECONDS", 0.01)
    # At each look: all of the window takes a worker some 0.2 s.
    monkeypatch.setattr("pipeline.runtime.executors.cluster.ASKED_SECONDS", 0)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((40, 256, 256), np.uint16))
    told = Told()
    pipeline.run(
        {
            "input": {"path": tmp_path / "a.tif", "axes": "tyx"},
            "steps": [{"white_tophat": {"radius": 100}}, {"white_tophat": {"radius": 90}}],
            "output": {"path": tmp_path / "b.zarr", "chunks": {"t": 1, "y": 256, "x": 256}},
            "compute": {"cluster": cluster, "workers": 1, "window": {"t": 40}, "block": {"t": 1}},
        },
        progress=told,
    )
    moved = [share for share in told.shares if 0 < share < 1]
    assert len(set(moved)) > 3
    assert all(one <= other for one, other in itertools.pairwise(moved))
    assert told.shares[-1] == 0
