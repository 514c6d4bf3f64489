"""Spans: stored indices of an axis that are read together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# The indices of a stored axis that an image has.
Pick = range | tuple[int, ...]


@dataclass(frozen=True)
class IndexSpan:
    """Stored indices of an axis that are read together."""

    read: slice  # along the stored axis
    target: slice  # along the result
    take: Sequence[int]  # which of the indices read are kept

    @property
    def thinned(self) -> bool:
        """Whether more is read than kept."""
        return len(self.take) < self.read.stop - self.read.start


def longest_span(pick: Pick, count: int, chunk: int) -> int:
    """Return the most px read together for any `count` successive indices of `pick`.

    `chunk` is the length of a stored chunk along the axis.

    >>> longest_span(range(3, 90), 6, 4), longest_span(range(0, 100, 3), 2, 10)
    (6, 4)
    >>> longest_span((0, 2, 9, 40), 3, 4)
    3
    """
    if isinstance(pick, range):
        return count if pick.step == 1 else min((count - 1) * pick.step + 1, chunk)
    longest = 1
    for span in index_spans(pick, chunk):
        last_indices = span.take[max(1, min(count, len(span.take))) - 1 :]
        # `count` successive indices from each first one to its last; near the end there is no last.
        pairs = zip(span.take, last_indices, strict=False)
        longest = max(longest, *(last - first + 1 for first, last in pairs))
    return longest


def index_spans(pick: Pick, chunk: int) -> list[IndexSpan]:
    """Cut indices into spans: neighbours together, and those of one stored chunk together.

    `chunk` is the length of a stored chunk along the axis.

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
