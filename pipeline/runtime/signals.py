"""Ctrl-C and SIGTERM: the first lets what is under way end and be kept, the second stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from pipeline.model.errors import InterruptedRunError, PipelineError, StoppedError


class Terminated(BaseException):
    """SIGTERM that stops the run at once; a BaseException, as libraries catch any Exception."""


@dataclass
class Stop:
    """Whether the run was asked to stop, and by which signal."""

    say: Callable[[str], None] = lambda text: None  # shows the user a message
    signal: int | None = None  # the one that was noted
    working: bool = False  # whether something is under way that should end first
    _announced: bool = False

    def note(self, number: int, frame: FrameType | None = None) -> None:
        """Handle a signal: note it, or raise at once if nothing is under way or it is the second."""
        second, self.signal = self.signal is not None, number
        if second or not self.working:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    def tell(self) -> None:
        """Tell the user once that the signal was noted."""
        # Not from the handler, which may interrupt a print and must not print itself.
        if self.signal is not None and not self._announced:
            self._announced = True
            self.say("stopping: what is under way is finished and kept; once more stops at once")

    def check(self) -> None:
        """Raise a PipelineError if the run was asked to stop."""
        if self.signal is not None:
            raise self.error()

    def error(self) -> PipelineError:
        """Return the error that ends a run after its signal."""
        if self.signal == signal.SIGINT:
            return InterruptedRunError("interrupted", "the same command goes on from here")
        return StoppedError("stopped by SIGTERM", "the same command goes on from here")


@contextmanager
def stoppable(say: Callable[[str], None] = lambda text: None) -> Iterator[Stop]:
    """Note SIGINT and SIGTERM in the `Stop` that is yielded; set its `working` while they should wait.

    Raises
    ------
    PipelineError
        A signal came while nothing was under way, or a second one.
    """
    stop = Stop(say)
    if threading.current_thread() is not threading.main_thread():
        yield stop  # Python lets only the main thread set handlers
        return
    # Signals that are ignored (`nohup`, a shell's `&`) stay so.
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, stop.note) for number in numbers}
    try:
        yield stop
    except (KeyboardInterrupt, Terminated):
        raise stop.error() from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
