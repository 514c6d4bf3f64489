"""Progress of a run: a bar in a terminal, a plain line now and then in a log file."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from pipeline.model.text import MB, duration

LINE_SECONDS = 10.0  # between two lines of a log, at first
# A run that is n times as long as this has lines n times as rare, down to one in ten minutes.
LONG_SECONDS, RAREST = 200.0, 60.0
REDRAW_SECONDS = 0.1  # between two drawings of the bar within a window
BAR_WIDTH, LEAST_BAR_WIDTH = 30, 8


def _now() -> float:
    return time.monotonic()


@contextmanager
def say_after(seconds: float, say: Callable[[str], None], text: str) -> Iterator[None]:
    """Call `say` with a text if the block takes longer than `seconds`."""
    timer = threading.Timer(seconds, say, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Progress:
    """Receiver of what a run reports; this base class shows nothing."""

    def say(self, text: str) -> None:
        """Show a message."""

    def start(self, windows: int, done: int, nbytes: int) -> None:
        """Begin: all windows, how many earlier starts have done, and the input bytes of the others."""

    def advance(self, nbytes: int) -> None:
        """Count a finished window of `nbytes` input bytes."""

    def within(self, windows: float) -> None:
        """Note how much of the windows under way is computed, as a number of windows."""

    def stop(self) -> None:
        """End."""


@dataclass
class Rate:
    """Counter of windows and bytes that gives the speed and the time left."""

    windows: int
    done: int  # windows, those of earlier starts included
    nbytes: int  # input bytes of all windows that this start computes
    began: float = field(default_factory=_now)
    counted: int = 0  # bytes that this start has done
    own: int = 0  # windows that this start has done
    begun: float = 0.0  # computed part of the windows under way, as a number of windows

    def advance(self, nbytes: int) -> None:
        """Count a finished window."""
        self.done += 1
        self.own += 1
        self.counted += nbytes
        self.begun = max(0.0, self.begun - 1)

    @property
    def elapsed(self) -> float:
        """Seconds since this start."""
        return max(_now() - self.began, 1e-6)

    @property
    def share(self) -> float:
        """Finished share of all windows, 0 to 1."""
        return min(1.0, (self.done + self.begun) / max(self.windows, 1))

    @property
    def speed(self) -> float:
        """Input bytes a second since this start."""
        begun = self.begun * self.nbytes / max(self.windows - self.done + self.own, 1)
        return (self.counted + begun) / self.elapsed

    @property
    def left(self) -> float | None:
        """Estimated seconds to the end, or None before anything is computed."""
        # By the windows of this start: those of earlier ones took no time of this one.
        computed = self.own + self.begun
        if computed <= 0:
            return None
        return max(0.0, self.windows - self.done - self.begun) * self.elapsed / computed

    def text(self) -> str:
        """Return the whole progress as one line."""
        return self.texts()[0]

    def texts(self) -> tuple[str, ...]:
        """Return the progress as alternative lines, each shorter than the one before."""
        share = f"{100 * self.share:.0f} %"
        brief = f"{self.done}/{self.windows} ({share})"
        speed = f", {self.speed / MB:.0f} MB/s" if self.own + self.begun > 0 else ""
        left = "" if self.left is None else f", {duration(self.left)} left"
        long = f"window {self.done} of {self.windows} ({share})"
        return f"{long}{speed}{left}", f"{brief}{speed}{left}", f"{brief}{left}", brief, share


class _Measured(Progress):
    """Base of what shows the rate: `_show` is called after each change."""

    _rate: Rate | None = None
    _last = 0.0  # time when the rate was last shown

    def start(self, windows: int, done: int, nbytes: int) -> None:
        """Begin."""
        self._rate = Rate(windows, done, nbytes)
        self._last = _now()

    def advance(self, nbytes: int) -> None:
        """Count a finished window, and show it."""
        if self._rate is not None:
            self._rate.advance(nbytes)
            self._show(self._rate, window_ended=True)

    def within(self, windows: float) -> None:
        """Note what is computed of the windows under way, and show it if the last look is old."""
        if self._rate is not None:
            self._rate.begun = windows
            self._show(self._rate, window_ended=False)

    def _show(self, rate: Rate, *, window_ended: bool) -> None:
        raise NotImplementedError


class Lines(_Measured):
    """Plain lines for log files and batch jobs, rarer in long runs."""

    def __init__(self, stream: TextIO, every: float = LINE_SECONDS) -> None:
        self._stream = stream
        self._every = every

    def say(self, text: str) -> None:
        """Print a line."""
        # A closed pipe or a full disk under the log is no reason to stop the run.
        with contextlib.suppress(OSError):
            print(text, file=self._stream, flush=True)

    def _show(self, rate: Rate, *, window_ended: bool) -> None:
        seconds = self._every * min(max(1.0, rate.elapsed / LONG_SECONDS), RAREST)
        due = (window_ended or rate.begun > 0) and _now() - self._last >= seconds
        if due or (window_ended and rate.done == rate.windows):
            self._last = _now()
            self.say(rate.text())


class Bar(_Measured):
    """A bar for terminals of any width, which may change on the way."""

    # Not rich's own display, which leaves pieces of the bar behind when the terminal is made narrower.

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=stream)
        self._drawn = 0  # columns of the bar that is on the screen

    def say(self, text: str) -> None:
        """Print a message above the bar."""
        with contextlib.suppress(OSError):  # the terminal has gone; the run goes on
            self._erase()
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)
            self._draw()

    def start(self, windows: int, done: int, nbytes: int) -> None:
        """Show the bar."""
        super().start(windows, done, nbytes)
        self._redraw()

    def _show(self, rate: Rate, *, window_ended: bool) -> None:
        if window_ended or _now() - self._last >= REDRAW_SECONDS:
            self._redraw()

    def stop(self) -> None:
        """Leave the bar as it is and go on below it."""
        if self._rate is not None:
            self._redraw()
            self._rate, self._drawn = None, 0
            with contextlib.suppress(OSError):
                self._console.print()

    def _redraw(self) -> None:
        with contextlib.suppress(OSError):
            self._erase()
            self._draw()

    def _erase(self) -> None:
        from rich.control import Control, ControlType

        if self._drawn:
            # A terminal that was made narrower has wrapped the bar into several rows.
            rows = (self._drawn - 1) // self._console.size.width
            up = [(ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)] * rows
            self._console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), *up))
            self._drawn = 0

    def _draw(self) -> None:
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        if self._rate is None:
            return
        # The last column stays free: some terminals wrap a line that fills it.
        width = self._console.size.width - 1
        texts = self._rate.texts()
        text = next((text for text in texts if len(text) <= width), texts[-1][: max(width, 0)])
        bar_width = min(BAR_WIDTH, width - len(text) - 1)
        if bar_width >= LEAST_BAR_WIDTH:
            bar = ProgressBar(total=1.0, completed=self._rate.share, width=bar_width)
            self._console.print(bar, end="")
            text = f" {text}"
        else:
            bar_width = 0
        self._console.print(Text(text, no_wrap=True, end=""), end="", soft_wrap=True)
        self._drawn, self._last = bar_width + len(text), _now()


def progress_for(stream: TextIO = sys.stderr) -> Progress:
    """Return a bar for a terminal whose cursor can move, and plain lines for anything else."""
    plain = os.environ.get("TERM", "") in ("dumb", "unknown") or not stream.isatty()
    return Lines(stream) if plain else Bar(stream)
