"""The time of a task by kind of work, noted in the thread that does it.

A task is read, filtered and written in one thread, and others run beside it in threads of their
own, so each thread keeps its own account until the end of a task takes it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

Seconds = Mapping[str, float]
"""Kind of work → seconds."""


class _Account(threading.local):
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.busy = False


_account = _Account()


@contextmanager
def spending(kind: str) -> Iterator[None]:
    """Note the time inside under a kind of work; nested ones count for the outermost."""
    if _account.busy:
        yield
        return
    _account.busy, began = True, time.perf_counter()
    try:
        yield
    finally:
        _account.busy = False
        _account.seconds[kind] = _account.seconds.get(kind, 0.0) + time.perf_counter() - began


def collect_seconds() -> Seconds:
    """Return what this thread has noted since it was last asked."""
    spent, _account.seconds = _account.seconds, {}
    return spent


def add_up(accounts: Iterable[Seconds]) -> dict[str, float]:
    """Return the sum of several accounts.

    >>> add_up([{"read": 1.0}, {"read": 0.5, "filter": 2.0}])
    {'read': 1.5, 'filter': 2.0}
    """
    total: dict[str, float] = {}
    for account in accounts:
        for kind, seconds in account.items():
            total[kind] = total.get(kind, 0.0) + seconds
    return total


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
"""Kinds of work in a task, in the order in which they come, and in words."""
