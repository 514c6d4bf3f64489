"""The loop over windows: enough of them in flight, each recorded once it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import dask.array as da
import numpy as np

from pipeline.cluster import Executor, explain
from pipeline.errors import PipelineError, StoppedError
from pipeline.stopping import Stop

PATIENCE = 0.2
"""Seconds between looks at whether the run was asked to stop."""


def compute_windows(
    executor: Executor,
    windows: Iterable[int],
    tasks: Callable[[int], da.Array],
    finished: Callable[[int, np.ndarray], None],
    stop: Stop,
) -> None:
    """Compute windows, a few at a time, until all are done.

    Parameters
    ----------
    executor : Executor
        What computes them.
    windows : iterable of int
        Their numbers.
    tasks : callable
        Makes a window's graph; called when the window begins, so that no two of them are
        kept longer than they run.
    finished : callable
        Called in this thread with a window's number and its receipts.
    stop : Stop
        Noted signals: what is under way is finished and recorded, nothing new begins.

    Raises
    ------
    PipelineError
        A window failed, or the run was asked to stop.
    """
    waiting = iter(windows)
    under_way: set[int] = set()
    while True:
        for window in _next(waiting, under_way, executor.in_flight, stop):
            executor.submit(window, tasks(window))
            under_way.add(window)
        if not under_way:
            break
        outcome = executor.next(timeout=PATIENCE)
        if outcome is None:
            continue
        window, result = outcome
        under_way.discard(window)
        if isinstance(result, BaseException):
            raise _as_error(result, window) from result
        finished(window, result)
    if stop.signal is not None:
        raise stop.error()


def _next(waiting: Iterator[int], under_way: set[int], most: int, stop: Stop) -> Iterator[int]:
    while len(under_way) < most and stop.signal is None:
        window = next(waiting, None)
        if window is None:
            return
        yield window


def _as_error(error: BaseException, window: int) -> BaseException:
    known = explain(error)
    if isinstance(known, PipelineError) or not isinstance(error, Exception):
        return known
    return StoppedError(
        f"window {window} failed: {type(error).__name__}: {error}",
        "see it whole with --debug; the same command goes on with what is done",
    )
