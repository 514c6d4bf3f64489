"""Cut the indices wanted along an axis into spans that are read at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """Indices read as one span.

    Parameters
    ----------
    span : slice
        What is read of the stored axis.
    target : slice
        Where it goes along the result.
    take : tuple of int
        Which indices of the span are wanted.
    """

    span: slice
    target: slice
    take: Sequence[int]

    @property
    def thinned(self) -> bool:
        """Whether the span holds more than is wanted."""
        return len(self.take) < self.span.stop - self.span.start


def longest_span(wanted: range | tuple[int, ...], count: int, chunk: int) -> int:
    """Return the longest span that is read at once for `count` neighbours of the indices.

    Parameters
    ----------
    wanted : range or tuple of int
        Indices along the stored axis.
    count : int
        How many of them, one after the other, are read.
    chunk : int
        Length of a stored chunk along the axis.

    Examples
    --------
    >>> longest_span(range(3, 90), 6, 4), longest_span(range(0, 100, 3), 2, 10)
    (6, 4)
    >>> longest_span((0, 2, 9, 40), 3, 4)
    3
    """
    if isinstance(wanted, range):
        return count if wanted.step == 1 else min((count - 1) * wanted.step + 1, chunk)
    longest = 1
    for run in runs(wanted, chunk):
        if not run.thinned:
            longest = max(longest, min(count, run.span.stop - run.span.start))
            continue
        first = run.take[: max(1, len(run.take) - count + 1)]
        last = run.take[min(count, len(run.take)) - 1 :]
        longest = max(longest, *(end - begin + 1 for begin, end in zip(first, last, strict=True)))
    return longest


def runs(wanted: range | tuple[int, ...], chunk: int) -> list[Run]:
    """Cut indices into spans: neighbours together, and what lies in one stored chunk together.

    Parameters
    ----------
    wanted : range or tuple of int
        Indices along the stored axis.
    chunk : int
        Length of a stored chunk along it.

    Examples
    --------
    >>> [run.span for run in runs(range(3, 9), 4)]
    [slice(3, 9, None)]
    >>> [(run.span, run.take) for run in runs((0, 2, 9), 4)]
    [(slice(0, 3, None), (0, 2)), (slice(9, 10, None), (0,))]
    """
    if isinstance(wanted, range) and (wanted.step == 1 or not wanted):
        span = slice(wanted.start, wanted.start + len(wanted))
        return [Run(span, slice(0, len(wanted)), range(len(wanted)))]
    groups: list[list[int]] = []
    for index in wanted:
        last = groups[-1][-1] if groups else None
        near = last is not None and index > last and (index == last + 1 or index // chunk == last // chunk)
        if near:
            groups[-1].append(index)
        else:
            groups.append([index])
    found, done = [], 0
    for group in groups:
        span = slice(group[0], group[-1] + 1)
        take = tuple(index - group[0] for index in group)
        found.append(Run(span, slice(done, done + len(group)), take))
        done += len(group)
    return found
