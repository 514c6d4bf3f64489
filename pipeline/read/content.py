"""A digest of what input files hold: of all their bytes where that is quick, else of a sample."""

from __future__ import annotations

import hashlib
import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

WHOLE_BYTES = 64 << 20
"""Inputs up to here are read whole, which takes less than a tenth of a second from a local disk."""

PIECES = 256
PIECE_BYTES = 64 << 10
"""Of larger ones so many pieces, evenly spread: an image that was made anew differs in any of them."""

# Bytes held while a file is read: no plan counts them.
_HELD_BYTES = 1 << 20

MANY = 10_000
"""Of so many files no list is kept: of 10 TB in chunks of 2 MB it would take 2 GB."""


class Listing(NamedTuple):
    """Files in a few numbers, which do not depend on the order in which they were found."""

    files: int
    nbytes: int
    sizes: str
    times: str
    some: tuple[tuple[str, int], ...]

    @property
    def complete(self) -> bool:
        """Whether `some` are all of them."""
        return len(self.some) == self.files


def listing_of(files: Iterable[tuple[str, int, int]]) -> Listing:
    """Return a listing of files, in memory that does not grow with their number.

    Parameters
    ----------
    files : iterable of (str, int, int)
        Name, size in bytes and time of change, in any order, each once.

    Returns
    -------
    Listing
        `sizes` and `times` are hexadecimal digits of names with sizes, and with times. `some` are
        names and sizes, sorted: all files, or of more than `MANY` those `PIECES` whose names happen to
        have the least digests.
    """
    all_files: list[tuple[str, int]] | None = []
    few: list[tuple[int, str, int]] = []
    count = nbytes = sizes = times = 0
    for name, size, time in files:
        count += 1
        nbytes += size
        # Sums of digests: no order is needed, and no other set of files is likely to have the same.
        sizes += _number(f"{name}\0{size}")
        times += _number(f"{name}\0{time}")
        if all_files is not None:
            all_files.append((name, size))
            all_files = all_files if count <= MANY else None
        entry = (-_number(name), name, size)
        (heapq.heappush if len(few) < PIECES else heapq.heappushpop)(few, entry)
    some = [(name, size) for _, name, size in few] if all_files is None else all_files
    digits = [f"{total % (1 << 128):032x}" for total in (sizes, times)]
    return Listing(count, nbytes, digits[0], digits[1], tuple(sorted(some)))


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).digest())


def content_of(files: Sequence[tuple[str, int]], *, complete: bool = True) -> dict[str, Any]:
    """Return a digest of what files hold.

    Parameters
    ----------
    files : sequence of (str, int)
        Paths and sizes in bytes, in an order that stays the same.
    complete : bool
        Whether they are all files, or some of many.

    Returns
    -------
    dict
        "content": hexadecimal digits; "whole": whether every byte went into them.
    """
    small = sum(size for _, size in files) <= WHOLE_BYTES
    digest = hashlib.blake2b(digest_size=16)
    for path, start, count in ((path, 0, size) for path, size in files) if small else _sample(files):
        with open(path, "rb", buffering=0) as file:
            file.seek(start)
            while count > 0 and (data := file.read(min(count, _HELD_BYTES))):
                digest.update(data)
                count -= len(data)
    return {"content": digest.hexdigest(), "whole": small and complete}


def _sample(files: Sequence[tuple[str, int]]) -> Iterator[tuple[str, int, int]]:
    """Yield path, first byte and number of bytes of pieces that are evenly spread over all files."""
    ends = list(accumulate(size for _, size in files))
    for piece in range(PIECES):
        start = (ends[-1] - PIECE_BYTES) * piece // (PIECES - 1)
        stop = start + PIECE_BYTES
        number = bisect_right(ends, start)
        # Files may be shorter than a piece: it goes on in the next ones.
        while start < stop and number < len(files):
            path, size = files[number]
            count = min(stop, ends[number]) - start
            yield path, start - (ends[number] - size), count
            start += count
            number += 1
