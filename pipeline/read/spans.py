"""Spans of indices along an axis that are read at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Pick = range | tuple[int, ...]
"""Which indices of an axis are kept: a range, or a list."""


@dataclass(frozen=True)
class IndexSpan:
    """Indices of a stored axis that are read at once.

    Parameters
    ----------
    read : slice
        What is read of the stored axis.
    target : slice
        Where it goes along the result.
    take : sequence of int
        Which indices of what is read are kept.
    """

    read: slice
    target: slice
    take: Sequence[int]

    @property
    def thinned(self) -> bool:
        """Whether more is read than is kept."""
        return len(self.take) < self.read.stop - self.read.start


def longest_span(pick: Pick, count: int, chunk: int) -> int:
    """Return the most px that are read at once for `count` neighbours of the indices.

    `chunk` is the length of a stored chunk along the axis.

    Examples
    --------
    >>> longest_span(range(3, 90), 6, 4), longest_span(range(0, 100, 3), 2, 10)
    (6, 4)
    >>> longest_span((0, 2, 9, 40), 3, 4)
    3
    """
    if isinstance(pick, range):
        return count if pick.step == 1 else min((count - 1) * pick.step + 1, chunk)
    longest = 1
    for span in index_spans(pick, chunk):
        lasts = span.take[max(1, min(count, len(span.take))) - 1 :]
        # The firsts are more where some have no last.
        longest = max(longest, *(last - first + 1 for first, last in zip(span.take, lasts, strict=False)))
    return longest


def index_spans(pick: Pick, chunk: int) -> list[IndexSpan]:
    """Cut indices into spans: neighbours together, and what lies in one stored chunk together.

    `chunk` is the length of a stored chunk along the axis.

    Examples
    --------
    >>> [span.read for span in index_spans(range(3, 9), 4)]
    [slice(3, 9, None)]
    >>> [(span.read, span.take) for span in index_spans((0, 2, 9), 4)]
    [(slice(0, 3, None), (0, 2)), (slice(9, 10, None), (0,))]
    """
    if isinstance(pick, range) and (pick.step == 1 or not pick):
        return [IndexSpan(slice(pick.start, pick.start + len(pick)), slice(0, len(pick)), range(len(pick)))]
    groups: list[list[int]] = []
    for index in pick:
        last = groups[-1][-1] if groups else index
        if index == last + 1 or (index > last and index // chunk == last // chunk):
            groups[-1].append(index)
        else:
            groups.append([index])
    spans, done = [], 0
    for group in groups:
        take = tuple(index - group[0] for index in group)
        spans.append(IndexSpan(slice(group[0], group[-1] + 1), slice(done, done + len(group)), take))
        done += len(group)
    return spans
