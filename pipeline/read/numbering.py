"""Whether a series of numbered files is one series, and whole."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from pipeline.errors import RequestError
from pipeline.read.files import FIELD, listed

# Numbers further apart than this, on average, are times of day or the like: they count nothing.
_SPARSE = 3


def check_numbering(paths: Sequence[str]) -> None:
    """Refuse files that are not one whole numbered series.

    Names without numbers, and names with numbers that do not count (dates, times), are taken
    in their natural order.

    Parameters
    ----------
    paths : sequence of str
        In natural order.

    Raises
    ------
    RequestError
        A frame is missing, files of several series are mixed, or the names count two things.

    Examples
    --------
    >>> check_numbering(["t_08.tif", "t_09.tif", "t_10.tif"])
    >>> check_numbering(["t_08.tif", "t_10.tif", "t_11.tif"])
    Traceback (most recent call last):
        ...
    pipeline.errors.RequestError: input.path: 1 frame is missing: t_09.tif; bring it back, or renumber
    """
    folder = os.path.commonpath(paths) if len(paths) > 1 else os.path.dirname(paths[0])
    names = [os.path.relpath(path, folder) for path in paths]
    parts = [re.split(r"(\d+)", name) for name in names]
    if not any(len(part) > 1 for part in parts):
        return
    _check_one_series(names, parts)
    table = np.array([[int(number) for number in part[1::2]] for part in parts], dtype=object).T
    varying = [column for column in range(len(table)) if len(set(table[column])) > 1]
    if len(set(zip(*table, strict=True))) < len(names):
        raise _doubled(names, parts)
    unique = [column for column in varying if len(set(table[column])) == len(names)]
    for column in reversed(unique):
        step = math.gcd(*(int(value) for value in np.diff(np.sort(table[column]))))
        count = (max(table[column]) - min(table[column])) // step + 1
        if count == len(names):
            return
        if count <= _SPARSE * len(names):
            raise _missing(names, parts, column, step, len(varying) == 1)
    if not unique:
        _check_one_count(names, [len(set(table[column])) for column in varying])


def _check_one_series(names: Sequence[str], parts: Sequence[list[str]]) -> None:
    kinds = Counter("#".join(part[::2]) for part in parts)
    if len(kinds) == 1:
        return
    shown = listed(f"{kind} ({count} file{'s' if count > 1 else ''})" for kind, count in kinds.most_common())
    most = kinds.most_common(1)[0][0]
    raise RequestError(
        f"the files are of several series: {shown}",
        f"give a glob of one, such as {most.replace('#', '*')}",
        FIELD,
    )


def _doubled(names: Sequence[str], parts: Sequence[list[str]]) -> RequestError:
    seen: dict[tuple[int, ...], str] = {}
    for name, part in zip(names, parts, strict=True):
        key = tuple(int(number) for number in part[1::2])
        if key in seen:
            return RequestError(f"{seen[key]!r} and {name!r} have the same number", "take one away", FIELD)
        seen[key] = name
    raise AssertionError("no two names have the same numbers")


def _missing(
    names: Sequence[str], parts: Sequence[list[str]], column: int, step: int, exact: bool
) -> RequestError:
    at = 2 * column + 1
    there = {int(part[at]): index for index, part in enumerate(parts)}
    numbers = sorted(there)
    lost = sorted(set(range(numbers[0], numbers[-1] + 1, step)) - set(numbers))
    padded = len({len(part[at]) for part in parts}) == 1 or any(part[at][0] == "0" for part in parts)
    width = max(len(part[at]) for part in parts) if padded else 0
    template = parts[0]
    shown = (
        "".join([*template[:at], f"{number:0{width}d}", *template[at + 1 :]]) if exact else f"number {number}"
        for number in lost
    )
    what = "1 frame is missing" if len(lost) == 1 else f"{len(lost)} frames are missing"
    mend = "bring it back, or renumber" if len(lost) == 1 else "bring them back, or renumber"
    return RequestError(f"{what}: {listed(shown)}", mend, FIELD)


def _check_one_count(names: Sequence[str], counts: Sequence[int]) -> None:
    """Refuse names that count, say, frames and channels: read as one series they would be mixed up."""
    if len(counts) > 1 and math.prod(counts) < 2 * len(names):
        sizes = " × ".join(map(str, counts))
        raise RequestError(
            f"the names of the {len(names)} files count {len(counts)} things ({sizes}), such as {names[0]!r}",
            "give a glob of one series, with one of the numbers fixed",
            FIELD,
        )
