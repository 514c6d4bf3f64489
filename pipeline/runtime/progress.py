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

LINE_SECONDS = 10.0
"""Between two lines of a log at first; a longer run tells less often, and at most so many times less."""

_LONG_SECONDS, _MOST_TIMES = 200.0, 60.0

REDRAWN_SECONDS = 0.1
"""Between two looks of the bar."""

_BAR, _LEAST_BAR = 30, 8


def now() -> float:
    """Return the seconds of a clock that never goes back."""
    return time.monotonic()


@contextmanager
def told_after(seconds: float, say: Callable[[str], None], text: str) -> Iterator[None]:
    """Tell something where what is done inside takes longer than so many seconds."""
    notice = threading.Timer(seconds, say, [text])
    notice.daemon = True
    notice.start()
    try:
        yield
    finally:
        notice.cancel()


class Progress:
    """What a run tells of itself; of this one nobody hears."""

    def say(self, text: str) -> None:
        """Tell something once."""

    def start(self, windows: int, done: int, nbytes: int) -> None:
        """Begin: how many windows there are, how many are done, and the bytes of all pixels read."""

    def advance(self, nbytes: int) -> None:
        """Count one window, of so many bytes."""

    def within(self, windows: float) -> None:
        """Note how much of the windows under way is computed, as a number of windows."""

    def stop(self) -> None:
        """End."""


@dataclass
class Rate:
    """Counts windows and bytes, and works out speed and time left."""

    windows: int
    done: int
    """Windows of earlier starts included."""
    nbytes: int
    """Of all pixels that this start is for."""
    began: float = field(default_factory=now)
    counted: int = 0
    """Bytes that this start has done."""
    own: int = 0
    """Windows that this start has done."""
    begun: float = 0.0
    """Of the windows under way, how much is computed, as a number of windows."""

    def advance(self, nbytes: int) -> None:
        """Count one window."""
        self.done += 1
        self.own += 1
        self.counted += nbytes
        self.begun = max(0.0, self.begun - 1)

    @property
    def elapsed(self) -> float:
        """Seconds since this start."""
        return max(now() - self.began, 1e-6)

    @property
    def share(self) -> float:
        """Of all windows what is done, from 0 to 1."""
        return min(1.0, (self.done + self.begun) / max(self.windows, 1))

    @property
    def speed(self) -> float:
        """Bytes of input a second, since this start."""
        begun = self.begun * self.nbytes / max(self.windows - self.done + self.own, 1)
        return (self.counted + begun) / self.elapsed

    @property
    def left(self) -> float | None:
        """Seconds to go, where that can be told: by what this start did, not the ones before it."""
        did = self.own + self.begun
        if did <= 0:
            return None
        return max(0.0, self.windows - self.done - self.begun) * self.elapsed / did

    def text(self) -> str:
        """Return it as a line."""
        return f"window {self.done} of {self.windows} ({100 * self.share:.0f} %){self._speed()}{self._left()}"

    def texts(self) -> tuple[str, ...]:
        """Return it as lines, each shorter than the one before."""
        share = f"{100 * self.share:.0f} %"
        brief = f"{self.done}/{self.windows} ({share})"
        return self.text(), f"{brief}{self._speed()}{self._left()}", f"{brief}{self._left()}", brief, share

    def _speed(self) -> str:
        # Nothing is read yet, or nothing is told of it yet.
        return f", {self.speed / MB:.0f} MB/s" if self.own + self.begun > 0 else ""

    def _left(self) -> str:
        return "" if self.left is None else f", {duration(self.left)} left"


class Lines(Progress):
    """A plain line now and then: for log files and batch jobs."""

    def __init__(self, stream: TextIO, every: float = LINE_SECONDS) -> None:
        self._stream = stream
        self._every = every
        self._rate = Rate(0, 0, 0)
        self._last = 0.0

    def say(self, text: str) -> None:
        """Print a line."""
        # A log that nobody reads any more, or that has no space, is no reason to stop.
        with contextlib.suppress(OSError):
            print(text, file=self._stream, flush=True)

    def start(self, windows: int, done: int, nbytes: int) -> None:
        """Begin."""
        self._rate = Rate(windows, done, nbytes)
        self._last = now()

    def advance(self, nbytes: int) -> None:
        """Count one window; tell it when the last line is old, and at the end."""
        self._rate.advance(nbytes)
        self._tell(self._rate.done == self._rate.windows)

    def within(self, windows: float) -> None:
        """Note what is computed; tell it when the last line is old."""
        self._rate.begun = windows
        if windows > 0:
            self._tell()

    def _tell(self, ended: bool = False) -> None:
        at = now()
        rarer = min(max(1.0, self._rate.elapsed / _LONG_SECONDS), _MOST_TIMES)
        if at - self._last >= self._every * rarer or ended:
            self._last = at
            self.say(self._rate.text())


class Bar(Progress):
    """A bar that moves: for terminals, of any width, which may change on the way."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=stream)
        self._rate: Rate | None = None
        self._stands = 0
        self._last = 0.0

    def say(self, text: str) -> None:
        """Tell something once, above the bar."""
        with contextlib.suppress(OSError):  # the terminal has gone; the run goes on
            self._erase()
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)
            self._draw()

    def start(self, windows: int, done: int, nbytes: int) -> None:
        """Show the bar."""
        self._rate = Rate(windows, done, nbytes)
        self._redraw()

    def advance(self, nbytes: int) -> None:
        """Move the bar by one window."""
        if self._rate is not None:
            self._rate.advance(nbytes)
            self._redraw()

    def within(self, windows: float) -> None:
        """Move the bar by a part of a window."""
        if self._rate is not None:
            self._rate.begun = windows
            if now() - self._last >= REDRAWN_SECONDS:
                self._redraw()

    def stop(self) -> None:
        """Leave the bar where it is."""
        if self._rate is not None:
            self._redraw()
            self._rate, self._stands = None, 0
            with contextlib.suppress(OSError):
                self._console.print()

    def _redraw(self) -> None:
        with contextlib.suppress(OSError):
            self._erase()
            self._draw()

    def _erase(self) -> None:
        """Take the bar off: where the terminal was made narrower, it has wrapped it into several lines."""
        from rich.control import Control, ControlType

        if self._stands:
            rows = (self._stands - 1) // self._console.size.width
            up = [(ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)] * rows
            self._console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), *up))
            self._stands = 0

    def _draw(self) -> None:
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        if self._rate is None:
            return
        # The last column stays free: what fills it wraps on some terminals.
        width = self._console.size.width - 1
        texts = self._rate.texts()
        text = next((text for text in texts if len(text) <= width), texts[-1][: max(width, 0)])
        bar = min(_BAR, width - len(text) - 1)
        if bar >= _LEAST_BAR:
            drawn = ProgressBar(total=1.0, completed=self._rate.share, width=bar)
            self._console.print(drawn, end="")
            text = f" {text}"
        else:
            bar = 0
        self._console.print(Text(text, no_wrap=True, end=""), end="", soft_wrap=True)
        self._stands, self._last = bar + len(text), now()


def progress_for(stream: TextIO = sys.stderr) -> Progress:
    """Return a bar where `stream` is a terminal, and lines where it is not, or one that cannot go back."""
    plain = os.environ.get("TERM", "") in ("dumb", "unknown") or not stream.isatty()
    return Lines(stream) if plain else Bar(stream)
