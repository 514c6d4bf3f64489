"""How far a run is: a bar in a terminal, a plain line now and then in a log file."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass, field
from typing import Protocol, TextIO

MB = 1e6
EVERY_SECONDS = 10.0


class Progress(Protocol):
    """What a run tells of itself."""

    def say(self, text: str) -> None:
        """Tell something once."""

    def start(self, windows: int, done: int, nbytes: int) -> None:
        """Begin: how many windows there are, how many are done, and the bytes of all pixels read."""

    def advance(self, nbytes: int) -> None:
        """Count one window, of so many bytes."""

    def stop(self) -> None:
        """End."""


@dataclass
class Rate:
    """Counts windows and bytes, and works out speed and time left."""

    windows: int
    done: int
    nbytes: int
    began: float = field(default_factory=time.monotonic)
    counted: int = 0
    own: int = 0

    def advance(self, nbytes: int) -> None:
        """Count one window."""
        self.done += 1
        self.own += 1
        self.counted += nbytes

    @property
    def speed(self) -> float:
        """Bytes of input a second, since this start."""
        return self.counted / max(time.monotonic() - self.began, 1e-6)

    @property
    def left(self) -> float | None:
        """Seconds to go, where that can be told."""
        if self.own == 0:
            return None
        return (self.windows - self.done) * (time.monotonic() - self.began) / self.own

    def text(self) -> str:
        """Return it as a line."""
        left = "" if self.left is None else f", {duration(self.left)} left"
        share = 100 * self.done / max(self.windows, 1)
        return f"window {self.done} of {self.windows} ({share:.0f} %), {self.speed / MB:.0f} MB/s{left}"


def duration(seconds: float) -> str:
    """Return seconds for a reader.

    >>> duration(5), duration(125), duration(7260)
    ('5 s', '2 min 05 s', '2 h 01 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole // 60 % 60:02d} min"


class Silent:
    """Tells nothing: for calls from Python."""

    def say(self, text: str) -> None:
        """Tell nothing."""

    def start(self, windows: int, done: int, nbytes: int) -> None:
        """Tell nothing."""

    def advance(self, nbytes: int) -> None:
        """Tell nothing."""

    def stop(self) -> None:
        """Tell nothing."""


class Lines:
    """A plain line every few seconds: for log files and batch jobs."""

    def __init__(self, stream: TextIO, every: float = EVERY_SECONDS) -> None:
        self._stream = stream
        self._every = every
        self._rate = Rate(0, 0, 0)
        self._last = 0.0

    def say(self, text: str) -> None:
        """Tell something once."""
        # A log that nobody reads any more, or that has no space, is no reason to stop.
        with contextlib.suppress(OSError):
            print(text, file=self._stream, flush=True)

    def start(self, windows: int, done: int, nbytes: int) -> None:
        """Begin."""
        self._rate = Rate(windows, done, nbytes)
        self._last = time.monotonic()

    def advance(self, nbytes: int) -> None:
        """Count one window; tell it when the last line is old, and at the end."""
        self._rate.advance(nbytes)
        now = time.monotonic()
        if now - self._last >= self._every or self._rate.done == self._rate.windows:
            self._last = now
            self.say(self._rate.text())

    def stop(self) -> None:
        """End."""


class Bar:
    """A bar that moves: for terminals."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._console = Console(file=stream)
        columns = TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[line]}")
        self._bar = RichProgress(*columns, console=self._console, transient=False)
        self._rate = Rate(0, 0, 0)

    def say(self, text: str) -> None:
        """Tell something once, above the bar."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def start(self, windows: int, done: int, nbytes: int) -> None:
        """Show the bar."""
        self._rate = Rate(windows, done, nbytes)
        self._bar.start()
        self._task = self._bar.add_task("run", total=windows, completed=done, line=self._rate.text())

    def advance(self, nbytes: int) -> None:
        """Move the bar by one window."""
        self._rate.advance(nbytes)
        self._bar.update(self._task, advance=1, line=self._rate.text())

    def stop(self) -> None:
        """Leave the bar where it is."""
        self._bar.stop()


def progress_for(stream: TextIO = sys.stderr) -> Progress:
    """Return a bar where `stream` is a terminal, and lines where it is not."""
    return Bar(stream) if stream.isatty() else Lines(stream)
