"""Where the lines of windows begin in the journal, in eight bytes a window."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NamedTuple

_NOWHERE = -1


class WindowKey(NamedTuple):
    """A window of level 0, or a group of regions of a coarser level: what is journalled together."""

    level: int
    number: int

    def __str__(self) -> str:
        return f"group {self.number} of level {self.level}" if self.level else f"window {self.number}"


class Offsets:
    """A compact mapping of windows to byte offsets.

    >>> offsets = Offsets()
    >>> offsets[WindowKey(0, 10)], offsets[WindowKey(0, 9)] = 70, 90
    >>> [key.number for key in offsets], offsets[WindowKey(0, 9)], WindowKey(0, 8) in offsets
    ([9, 10], 90, False)
    """

    def __init__(self) -> None:
        # An array for each level: a dict of 100,000 windows would take 30 MB.
        self._levels: dict[int, array[int]] = {}

    def __contains__(self, key: WindowKey) -> bool:
        return self._get(key) != _NOWHERE

    def __getitem__(self, key: WindowKey) -> int:
        if (offset := self._get(key)) == _NOWHERE:
            raise KeyError(key)
        return offset

    def __setitem__(self, key: WindowKey, offset: int) -> None:
        offsets = self._levels.setdefault(key.level, array("q"))
        offsets.extend([_NOWHERE] * (key.number + 1 - len(offsets)))
        offsets[key.number] = offset

    def discard(self, key: WindowKey) -> None:
        """Remove a window if it is there."""
        if key in self:
            self._levels[key.level][key.number] = _NOWHERE

    def __iter__(self) -> Iterator[WindowKey]:
        for level, offsets in sorted(self._levels.items()):
            yield from (WindowKey(level, i) for i, offset in enumerate(offsets) if offset != _NOWHERE)

    def last(self) -> WindowKey | None:
        """Return the window with the largest offset: the one journalled last."""
        return max(self, key=self._get, default=None)

    def _get(self, key: WindowKey) -> int:
        offsets = self._levels.get(key.level, ())
        return offsets[key.number] if key.number < len(offsets) else _NOWHERE
