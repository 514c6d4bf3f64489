"""The most memory that a run held, measured on its own process tree."""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType
from typing import Self

from pipeline.model.machine import forget_peak, process_peak, tree_memory

LOOK_SECONDS = 0.2


class PeakMemory:
    """Measures in a thread while it is open.

    Attributes
    ----------
    nbytes : int
        The largest sum over this process and its descendants so far.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self._before = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="bgone-memory", daemon=True)

    def look(self) -> int:
        """Look now, and return the largest sum so far."""
        with contextlib.suppress(OSError):  # too many open files: it is looked at again
            self.nbytes = max(self.nbytes, tree_memory())
        # The kernel itself notes the peak of one process: then nothing is missed between two looks.
        # Where it cannot forget, an older peak says nothing of the run.
        noted = process_peak()
        if noted > self._before:
            self.nbytes = max(self.nbytes, noted)
        return self.nbytes

    def _watch(self) -> None:
        while not self._end.wait(LOOK_SECONDS):
            self.look()

    def __enter__(self) -> Self:
        if not forget_peak():
            self._before = process_peak()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
