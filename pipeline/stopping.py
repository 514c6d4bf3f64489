"""Ctrl-C and SIGTERM: what is under way ends and is kept, nothing new begins."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from pipeline.errors import InterruptedRunError, PipelineError, StoppedError


@dataclass
class Stop:
    """Whether the run was asked to stop, and by what."""

    signal: int | None = None

    def error(self) -> PipelineError:
        """Return what to raise once the windows under way are kept."""
        if self.signal == signal.SIGINT:
            return InterruptedRunError("interrupted", "the same command goes on from here")
        return StoppedError("stopped by SIGTERM", "the same command goes on from here")


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Note the first signal; a second Ctrl-C raises KeyboardInterrupt at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may set handlers; whoever runs it there handles them
        return

    def note(number: int, frame: FrameType | None) -> None:
        if stop.signal is not None:
            raise KeyboardInterrupt
        stop.signal = number

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
