"""Digests of input files: of every byte where that is quick, of a sample otherwise."""

from __future__ import annotations

import hashlib
import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

# Inputs up to this size are read whole: less than 0.1 s from a local disk.
WHOLE_BYTES = 64 << 20
# Of larger ones, so many evenly spaced pieces. An image computed anew differs in every one of them.
PIECES = 256
PIECE_BYTES = 64 << 10
# Read buffer, small because no memory plan counts it.
_BUFFER_BYTES = 1 << 20
# No list is kept of more files than this: 10 TB in chunks of 2 MB would take 2 GB.
MANY = 10_000


class Listing(NamedTuple):
    """Summary of a set of files that does not depend on their order."""

    files: int
    nbytes: int
    sizes: str  # digest of names and sizes
    times: str  # digest of names and modification times
    some: tuple[tuple[str, int], ...]  # sorted names and sizes: all files, or a sample of PIECES

    @property
    def complete(self) -> bool:
        """Whether `some` holds every file."""
        return len(self.some) == self.files


def listing_of(files: Iterable[tuple[str, int, int]]) -> Listing:
    """Summarize files, given as (name, size in bytes, mtime), in memory that does not grow with their number.

    Of more than `MANY` files, `some` holds the `PIECES` whose names have the smallest digests.
    """
    all_files: list[tuple[str, int]] | None = []
    sample: list[tuple[int, str, int]] = []
    count = nbytes = sizes = times = 0
    for name, size, time in files:
        count += 1
        nbytes += size
        # Sums of digests need no order, and two different sets are as unlikely to agree as two digests.
        sizes += text_digest(f"{name}\0{size}")
        times += text_digest(f"{name}\0{time}")
        if all_files is not None:
            all_files.append((name, size))
            all_files = all_files if count <= MANY else None
        entry = (-text_digest(name), name, size)  # heapq drops the smallest
        (heapq.heappush if len(sample) < PIECES else heapq.heappushpop)(sample, entry)
    some = [(name, size) for _, name, size in sample] if all_files is None else all_files
    return Listing(count, nbytes, digest_sum(sizes), digest_sum(times), tuple(sorted(some)))


def text_digest(text: str) -> int:
    """Return a digest of a text as a number; sums of them do not depend on the order of the texts."""
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).digest())


def digest_sum(total: int) -> str:
    """Return a sum of digests as 32 hexadecimal digits."""
    return f"{total % (1 << 128):032x}"


def content_of(files: Sequence[tuple[str, int]], *, complete: bool = True) -> dict[str, Any]:
    """Return a digest of what files, given as (path, size in bytes), hold.

    `complete` tells whether they are all files of the input. In the result, "content" is the
    digest, and "whole" whether every byte of the input went into it.
    """
    small = sum(size for _, size in files) <= WHOLE_BYTES
    digest = hashlib.blake2b(digest_size=16)
    for path, start, count in ((path, 0, size) for path, size in files) if small else _sample(files):
        with open(path, "rb", buffering=0) as file:
            file.seek(start)
            while count > 0 and (data := file.read(min(count, _BUFFER_BYTES))):
                digest.update(data)
                count -= len(data)
    return {"content": digest.hexdigest(), "whole": small and complete}


def _sample(files: Sequence[tuple[str, int]]) -> Iterator[tuple[str, int, int]]:
    """Yield path, offset and length of pieces spread evenly over all files."""
    ends = list(accumulate(size for _, size in files))
    for piece in range(PIECES):
        start = (ends[-1] - PIECE_BYTES) * piece // (PIECES - 1)
        stop = start + PIECE_BYTES
        number = bisect_right(ends, start)
        # A piece longer than its file goes on in the next ones.
        while start < stop and number < len(files):
            path, size = files[number]
            count = min(stop, ends[number]) - start
            yield path, start - (ends[number] - size), count
            start += count
            number += 1
