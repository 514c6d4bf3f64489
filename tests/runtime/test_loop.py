"""The loop over windows: which begin, which are recorded, and what is told of a failure or a signal."""

import signal
from functools import partial

import pytest

from pipeline.model.errors import DataError, PipelineError, StoppedError
from pipeline.runtime.loop import compute_windows
from pipeline.runtime.signals import Stop


class InOrder:
    """Computes two windows at a time, of which the first ends first; those that are said to fail do."""

    in_flight, trouble = 2, ""

    def __init__(self, failing=()):
        self.failing = dict(failing)
        self.submitted, self.under_way = [], []

    def submit(self, window, tasks):
        assert tasks == f"tasks of {window}"
        self.submitted.append(window)
        self.under_way.append(window)

    def next(self, timeout=None):
        window = self.under_way.pop(0)
        return window, self.failing.get(window, f"receipts of {window}")

    def begun(self):
        return dict.fromkeys(self.under_way, 0.5)


def compute(executor, stop=None, note=lambda window: None, moved=lambda shares: None):
    """Compute four windows, and return those that were recorded and what it ended with."""
    recorded, ended = {}, None

    def finished(window, result):
        recorded[window] = result
        note(window)

    try:
        tasks = "tasks of {}".format
        following = partial(next, iter("abcd"), None)
        compute_windows(executor, following, tasks, finished, stop or Stop(working=True), moved)
    except PipelineError as error:
        ended = error
    assert recorded == {window: f"receipts of {window}" for window in recorded}
    return "".join(recorded), ended


def test_each_window_is_computed_once_and_recorded_with_its_own_receipts():
    executor = InOrder()
    assert compute(executor) == ("abcd", None)
    assert executor.submitted == list("abcd")


def test_while_a_window_is_recorded_the_next_ones_are_under_way():
    executor, under_way = InOrder(), []
    compute(executor, note=lambda window: under_way.append("".join(executor.under_way)))
    assert under_way == ["bc", "cd", "d", ""]


def test_a_window_that_cannot_begin_yet_begins_once_others_are_recorded():
    executor, recorded = InOrder(), []
    waiting = ["a", "b", "c"]

    def following():
        # The last one needs both others.
        return waiting.pop(0) if len(waiting) > 1 or (len(recorded) == 2 and waiting) else None

    def finished(window, result):
        recorded.append(window)

    compute_windows(executor, following, "tasks of {}".format, finished, Stop(working=True))
    assert (executor.submitted, recorded) == (list("abc"), list("abc"))


def test_how_far_windows_are_is_told_after_each():
    told = []
    compute(InOrder(), moved=told.append)
    assert told == [{"b": 0.5, "c": 0.5}, {"c": 0.5, "d": 0.5}, {"d": 0.5}, {}]


def test_after_a_failure_none_begins_and_what_was_under_way_is_recorded():
    executor = InOrder({"a": ValueError("damaged")})
    recorded, ended = compute(executor)
    assert (recorded, executor.submitted) == ("b", ["a", "b"])
    assert isinstance(ended, StoppedError)
    assert "a failed: ValueError: damaged" in str(ended)


def test_of_two_failures_the_first_is_told():
    first, second = DataError("not finite", "say nan"), ValueError("in its wake")
    recorded, ended = compute(InOrder({"a": first, "b": second}))
    assert (recorded, ended) == ("", first)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_after_a_signal_none_begins_and_what_was_under_way_is_recorded(number):
    said = []
    stop, executor = Stop(said.append, working=True), InOrder()
    recorded, ended = compute(executor, stop, lambda window: window == "a" and stop.note(number))
    assert (recorded, executor.submitted) == ("abc", ["a", "b", "c"])
    assert type(ended) is type(stop.error())
    assert len(said) == 1
