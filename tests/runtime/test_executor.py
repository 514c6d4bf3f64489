"""Windows on threads: one after the other, so that two never hold what their blocks share."""

import threading

import dask.array as da
import numpy as np
import pytest

from pipeline.runtime.executors.executor import Threads


class Noted:
    """Tasks that say that they run, and end when they are told to."""

    def __init__(self):
        self.changed = threading.Condition()
        self.begun, self.ended, self.told = [], 0, 0

    def task(self, window):
        with self.changed:
            self.begun.append(window)
            self.changed.notify_all()
            number = len(self.begun)
            assert self.changed.wait_for(lambda: self.told >= number, 30)

    def window(self, name, count):
        """Return a window of so many tasks."""

        def call(block):
            self.task(name)
            receipt = np.empty(1, object)
            receipt[0] = name
            return receipt

        return da.zeros(count, chunks=1).map_blocks(call, dtype=object, meta=np.empty(0, object))

    def wait(self, count):
        """Wait until so many have begun, and return the windows they are of."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.begun) >= count, 30)
            return list(self.begun)

    def end(self, count):
        """Let the first so many end."""
        with self.changed:
            self.told = count
            self.changed.notify_all()


def test_a_window_begins_when_the_one_before_leaves_a_thread_idle():
    noted, threads = Noted(), Threads(2)
    threads.submit("first", noted.window("first", 4))
    threads.submit("second", noted.window("second", 2))
    for ended in range(3):
        noted.end(ended)
        assert noted.wait(2 + ended) == ["first"] * (2 + ended)
    noted.end(3)
    assert noted.wait(5)[4] == "second"  # while the last of the first window still runs
    noted.end(6)
    assert {threads.next(60)[0] for _ in range(2)} == {"first", "second"}
    threads.cancel()


@pytest.mark.parametrize("tasks", [1, 3])
def test_a_window_that_fails_lets_the_next_one_begin(tasks):
    def fail(block):
        raise ValueError("damaged")

    noted, threads = Noted(), Threads(2)
    failing = da.zeros(tasks, chunks=1).map_blocks(fail, dtype=object, meta=np.empty(0, object))
    threads.submit("first", failing)
    threads.submit("second", noted.window("second", 1))
    noted.end(1)
    outcomes = dict(threads.next(60) for _ in range(2))
    assert isinstance(outcomes["first"], ValueError)
    assert list(outcomes["second"]) == ["second"]
    threads.cancel()


def test_what_is_computed_of_a_window_is_counted_until_it_has_ended():
    noted, threads = Noted(), Threads(2)
    assert threads.begun() == {}
    threads.submit("first", noted.window("first", 4))
    noted.end(2)
    noted.wait(4)  # the third and fourth begin once the first two have been counted
    assert threads.begun() == {"first": 0.5}
    threads.submit("second", noted.window("second", 1))
    noted.end(5)
    ended = [threads.next(60)[0] for _ in range(2)]
    assert (sorted(ended), threads.begun()) == (["first", "second"], {})
    threads.cancel()


def test_a_window_that_waits_never_begins_once_all_is_cancelled():
    noted, threads = Noted(), Threads(2)
    threads.submit("first", noted.window("first", 4))
    threads.submit("second", noted.window("second", 4))
    noted.wait(2)
    threads.cancel(wait=False)
    noted.end(8)
    outcomes = dict(threads.next(60) for _ in range(2))
    assert all(isinstance(outcome, Exception) for outcome in outcomes.values())
    assert set(noted.begun) == {"first"}


def test_a_window_that_cannot_begin_is_an_outcome_and_the_next_one_begins():
    noted, threads = Noted(), Threads(2)
    broken = noted.window("first", 1)
    broken.__dask_optimize__ = None
    threads.submit("first", broken)
    threads.submit("second", noted.window("second", 1))
    noted.end(1)
    outcomes = dict(threads.next(60) for _ in range(2))
    assert isinstance(outcomes["first"], TypeError)
    assert list(outcomes["second"]) == ["second"]
    threads.cancel()
