"""The loop over windows: enough of them under way, each recorded once it is computed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import dask.array as da
import numpy as np

from pipeline.model.errors import PipelineError, StoppedError
from pipeline.runtime.executors.executor import Executor, run_error
from pipeline.runtime.signals import Stop
from pipeline.write import DamagedChunksError

OUTCOME_SECONDS = 0.2  # after which a wait for a window looks whether the run was asked to stop


def compute_windows(
    executor: Executor,
    following: Callable[[], Hashable | None],  # gives the next window that can begin; None: none can now
    tasks: Callable[[Any], da.Array],  # called when a window begins, so that its graph is held no longer
    finished: Callable[[Any, np.ndarray], None],  # called in this thread with a window's results
    stop: Stop,
    # Called with the computed share of each window under way.
    moved: Callable[[Mapping[Hashable, float]], None] = lambda shares: None,
) -> None:
    """Compute windows, a few at a time, until all are done; after a signal none begins any more.

    Raises
    ------
    PipelineError
        A window failed, or the run was asked to stop. What was under way beside it has ended
        and is recorded, so that the executor is free for more.
    DamagedChunksError
        A window read files of the output that are not what was written.
    """
    under_way = 0
    failure: tuple[Hashable, BaseException] | None = None
    trouble = ""

    def begin() -> None:
        nonlocal under_way
        while failure is None and stop.signal is None and under_way < executor.in_flight:
            window = following()
            if window is None:
                return
            executor.submit(window, tasks(window))
            under_way += 1

    while True:
        begin()
        if not under_way:
            break
        outcome = executor.next(timeout=OUTCOME_SECONDS)
        stop.tell()
        if outcome is not None:
            under_way -= 1
            window, result = outcome
            if isinstance(result, BaseException):
                failure = failure or (window, result)
                continue
            # The next one begins before this one is brought to the disk, so that no worker waits for that.
            begin()
            finished(window, result)
        elif executor.trouble != trouble:
            trouble = executor.trouble
            stop.say(trouble or "going on")
        moved(executor.begun())
    if failure is not None:
        raise _as_error(*failure) from failure[1]
    stop.check()


def _as_error(window: Hashable, error: BaseException) -> BaseException:
    explained = run_error(error)
    if isinstance(explained, PipelineError | DamagedChunksError) or not isinstance(error, Exception):
        return explained
    return StoppedError(
        f"{window} failed: {type(error).__name__}: {error}",
        "see it whole with --debug; the same command goes on with what is done",
    )
