"""Where in the journal the line of each window begins, in some bytes a window."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

MOST = 1 << 26
"""Numbers from here on are kept as text: an array up to them would be mostly empty."""

NOWHERE = -1


class Places:
    """Names of windows → positions; names are LEVEL/NUMBER, any other text is kept as it is.

    A dict of a hundred thousand would take 30 MB, and the sorted list of its names as much.

    Examples
    --------
    >>> places = Places()
    >>> places["0/10"], places["0/9"] = 70, 90
    >>> list(places), places["0/9"], "0/8" in places
    (['0/9', '0/10'], 90, False)
    """

    def __init__(self) -> None:
        self._numbered: dict[str, array[int]] = {}
        self._others: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return self._get(name) != NOWHERE

    def __getitem__(self, name: str) -> int:
        found = self._get(name)
        if found == NOWHERE:
            raise KeyError(name)
        return found

    def __setitem__(self, name: str, place: int) -> None:
        level, number = _split(name)
        if number is None:
            self._others[name] = place
            return
        known = self._numbered.setdefault(level, array("q"))
        if number >= len(known):
            known.extend([NOWHERE] * (number + 1 - len(known)))
        known[number] = place

    def discard(self, name: str) -> None:
        """Forget a name, if it is there."""
        level, number = _split(name)
        if number is None:
            self._others.pop(name, None)
        elif name in self:
            self._numbered[level][number] = NOWHERE

    def __iter__(self) -> Iterator[str]:
        """Yield all names, numbers by their value: 0/9 comes before 0/10."""
        for level in sorted(self._numbered, key=int):
            known = self._numbered[level]
            yield from (f"{level}/{number}" for number in range(len(known)) if known[number] != NOWHERE)
        yield from sorted(self._others)

    def last(self) -> str | None:
        """Return the name that lies furthest on."""
        return max(self, key=self._get, default=None)

    def _get(self, name: str) -> int:
        level, number = _split(name)
        if number is None:
            return self._others.get(name, NOWHERE)
        known = self._numbered.get(level, ())
        return known[number] if number < len(known) else NOWHERE


def _split(name: str) -> tuple[str, int | None]:
    """Return level and number of a name; no number where it is not written as one."""
    level, _, digits = name.partition("/")
    if level.isdecimal() and digits.isdecimal() and len(digits) < 9:
        number = int(digits)
        if name == f"{int(level)}/{number}" and number < MOST:
            return level, number
    return name, None
