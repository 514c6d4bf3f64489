"""Seconds that a task spends on each kind of work, noted in the thread that does it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

# Kinds of work in a task, in their order, and in words.
KINDS = {
    "read": "reading files",
    "decode": "decoding",
    "filter": "filters",
    "cast": "casting and counting",
    "encode": "encoding",
    "write": "writing files",
    "pyramid": "pyramid",
    "wait": "waiting",
}

Seconds = Mapping[str, float]  # kind of work → seconds


# A thread reads, filters and writes one task after the other, beside other threads with other tasks.
class _Account(threading.local):
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.busy = False


_account = _Account()


@contextmanager
def spending(kind: str) -> Iterator[None]:
    """Add the time of the `with` block to a kind of work; nested blocks count for the outermost."""
    if _account.busy:
        yield
        return
    _account.busy, start = True, time.perf_counter()
    try:
        yield
    finally:
        _account.busy = False
        _account.seconds[kind] = _account.seconds.get(kind, 0.0) + time.perf_counter() - start


def collect_seconds() -> Seconds:
    """Return the seconds of this thread since the last call, and begin at 0 again."""
    seconds, _account.seconds = _account.seconds, {}
    return seconds


def sum_seconds(accounts: Iterable[Seconds]) -> dict[str, float]:
    """Sum accounts by kind of work.

    >>> sum_seconds([{"read": 1.0}, {"read": 0.5, "filter": 2.0}])
    {'read': 1.5, 'filter': 2.0}
    """
    total: dict[str, float] = {}
    for account in accounts:
        for kind, seconds in account.items():
            total[kind] = total.get(kind, 0.0) + seconds
    return total
