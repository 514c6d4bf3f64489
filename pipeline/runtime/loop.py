"""The loop over windows: enough of them in flight, each recorded once it is done."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar, cast

import dask.array as da
import numpy as np

from pipeline.model.errors import PipelineError, StoppedError
from pipeline.runtime.executors.executor import Executor, run_error
from pipeline.runtime.signals import Stop
from pipeline.write import DamagedChunksError

Key = TypeVar("Key", bound=Hashable)
"""A window's key."""

OUTCOME_SECONDS = 0.2
"""Seconds between looks at whether the run was asked to stop."""


def compute_windows(
    executor: Executor,
    windows: Iterable[Key],
    tasks: Callable[[Key], da.Array],
    finished: Callable[[Key, np.ndarray], None],
    stop: Stop,
    moved: Callable[[float], None] | None = None,
) -> None:
    """Compute windows, a few at a time, until all are done.

    Parameters
    ----------
    executor : Executor
        What computes them.
    windows : iterable of hashable
        Their keys.
    tasks : callable
        Makes a window's graph; called when the window begins, so that no two of them are
        kept longer than they run.
    finished : callable
        Called in this thread with a window's key and its results.
    stop : Stop
        Noted signals: what is under way is finished and recorded, nothing new begins.
    moved : callable, optional
        Told now and then how much of what is under way is computed, as a number of windows.

    Raises
    ------
    PipelineError
        A window failed, or the run was asked to stop. What was under way beside it has ended
        and is recorded, so that the executor is free for more.
    DamagedChunksError
        A window read files of the output that are not what was written.
    """
    waiting = iter(windows)
    under_way: set[Key] = set()
    failed: tuple[Key, BaseException] | None = None
    trouble = ""
    while True:
        if failed is None:
            _begin(waiting, under_way, executor, tasks, stop)
        if not under_way:
            break
        outcome = executor.next(timeout=OUTCOME_SECONDS)
        stop.tell()
        if outcome is None:
            if moved is not None:
                moved(executor.begun())
            if executor.trouble != trouble:
                trouble = executor.trouble
                stop.say(trouble or "going on")
            continue
        window, result = cast(tuple[Key, np.ndarray | BaseException], outcome)
        under_way.discard(window)
        if isinstance(result, BaseException):
            failed = failed or (window, result)
            continue
        if failed is None:
            # The next one begins before this one is brought to the disk, so that no worker waits for that.
            _begin(waiting, under_way, executor, tasks, stop)
        finished(window, result)
        if moved is not None:
            moved(executor.begun())
    if failed is not None:
        raise _as_error(*failed) from failed[1]
    stop.check()


def _begin(
    waiting: Iterator[Key],
    under_way: set[Key],
    executor: Executor,
    tasks: Callable[[Key], da.Array],
    stop: Stop,
) -> None:
    while len(under_way) < executor.in_flight and stop.signal is None:
        window = next(waiting, None)
        if window is None:
            return
        executor.submit(window, tasks(window))
        under_way.add(window)


def _as_error(window: Hashable, error: BaseException) -> BaseException:
    known = run_error(error)
    if isinstance(known, PipelineError | DamagedChunksError) or not isinstance(error, Exception):
        return known
    return StoppedError(
        f"{window} failed: {type(error).__name__}: {error}",
        "see it whole with --debug; the same command goes on with what is done",
    )
