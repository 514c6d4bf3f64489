"""The most memory that a run held, measured on its own process tree."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from pipeline.machine import tree_memory

EVERY_SECONDS = 0.25


class PeakMemory:
    """Measures in a thread while it is open.

    Attributes
    ----------
    nbytes : int
        The largest sum over this process and its descendants so far.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="bgone-memory", daemon=True)

    def _watch(self) -> None:
        while True:
            self.nbytes = max(self.nbytes, tree_memory())
            if self._end.wait(EVERY_SECONDS):
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
