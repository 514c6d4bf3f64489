"""Ctrl-C and SIGTERM: what is under way ends and is kept; a second one stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from pipeline.model.errors import InterruptedRunError, PipelineError, StoppedError


class Terminated(BaseException):
    """SIGTERM, where nothing is under way that should end first; no library's `except Exception` stops it."""


@dataclass
class Stop:
    """Whether the run was asked to stop, and by what.

    Parameters
    ----------
    say : callable
        Tells the user something.

    Attributes
    ----------
    signal : int or None
        What was noted.
    working : bool
        Whether something is under way that a signal should let end.
    """

    say: Callable[[str], None] = lambda text: None
    signal: int | None = None
    working: bool = False
    _told: bool = False

    def note(self, number: int, frame: FrameType | None = None) -> None:
        """Note a signal, or raise at once where nothing is under way, or where it is the second."""
        second, self.signal = self.signal is not None, number
        if second or not self.working:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    def tell(self) -> None:
        """Tell the user once that the signal was noted: not from its handler, which may not print."""
        if self.signal is not None and not self._told:
            self._told = True
            self.say("stopping: what is under way is finished and kept; once more stops at once")

    def check(self) -> None:
        """Raise if the run was asked to stop.

        Raises
        ------
        PipelineError
            It was.
        """
        if self.signal is not None:
            raise self.error()

    def error(self) -> PipelineError:
        """Return what to raise once the windows under way are kept."""
        if self.signal == signal.SIGINT:
            return InterruptedRunError("interrupted", "the same command goes on from here")
        return StoppedError("stopped by SIGTERM", "the same command goes on from here")


@contextmanager
def stoppable(say: Callable[[str], None] = lambda text: None) -> Iterator[Stop]:
    """Note signals while this is open; one that is ignored (`nohup`, a shell's `&`) stays so.

    Yields
    ------
    Stop
        Set its `working` while a signal should wait.

    Raises
    ------
    PipelineError
        A signal came where nothing was under way, or a second one.
    """
    stop = Stop(say)
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may set handlers; whoever runs it there handles them
        return
    asked = [at for at in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(at) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop.note) for number in asked}
    try:
        yield stop
    except (KeyboardInterrupt, Terminated):
        raise stop.error() from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
