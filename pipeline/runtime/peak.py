"""The peak memory of a run, measured over its process tree."""

from __future__ import annotations

import contextlib
import threading
from typing import Self

from pipeline.model.machine import forget_peak, process_peak, tree_memory

LOOK_SECONDS = 0.2


class PeakMemory:
    """Context manager whose thread samples the memory of this process and its descendants.

    Attributes
    ----------
    nbytes : int
        The largest sum so far.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self._older_peak = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="bgone-memory", daemon=True)

    def look(self) -> int:
        """Measure now, and return the largest sum so far in bytes."""
        with contextlib.suppress(OSError):  # too many open files: the next look may succeed
            self.nbytes = max(self.nbytes, tree_memory())
        # The kernel's own peak of this process misses nothing between two looks. Where it could not be
        # reset, it may be older than the run and only counts once it has grown.
        peak = process_peak()
        if peak > self._older_peak:
            self.nbytes = max(self.nbytes, peak)
        return self.nbytes

    def _watch(self) -> None:
        while not self._end.wait(LOOK_SECONDS):
            self.look()

    def __enter__(self) -> Self:
        if not forget_peak():
            self._older_peak = process_peak()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()
