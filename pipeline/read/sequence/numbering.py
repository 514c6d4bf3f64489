"""Series of files by their names: whether a series is complete, its order, and the axis that it makes."""

from __future__ import annotations

import glob
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NoReturn

import numpy as np

from pipeline.model.errors import RequestError
from pipeline.read.files import input_error, listed
from pipeline.read.sequence.names import (
    Name,
    Number,
    differ_by_position_letter,
    duration_text,
    glob_patterns,
    globs,
    join_name,
    meaning,
    merge_datetimes,
    parse_name,
)

# Numbers further apart than this, on average, are times of day or the like: they do not count.
_SPARSE = 3


@dataclass(frozen=True)
class Numbering:
    """What the names of a series of files say."""

    files: tuple[str, ...]  # in the order of their numbers
    axis: str = "t"
    word: str = ""  # in the names, for that axis
    ordered_by: str = "in the order of their names"
    interval: float = 0.0  # s, if the names tell evenly spaced times
    uneven: str = ""  # a text, if the times are not evenly spaced
    positions: bool = False  # whether the files are of several stage positions, sites, wells …


@dataclass(frozen=True)
class _Dimension:
    """Columns of numbers that change together from name to name."""

    columns: tuple[int, ...]
    count: int  # of different values
    meanings: frozenset[str]
    word: str  # the first with a meaning, or else the word before the first number
    timed: bool

    def __str__(self) -> str:
        return f"{'a time' if self.timed else self.word or 'a number'} ({self.count})"


@dataclass(frozen=True)
class _Series:
    """Files and their names, taken apart."""

    folder: str
    paths: tuple[str, ...]
    names: tuple[Name, ...]

    def __len__(self) -> int:
        return len(self.names)

    def column(self, column: int) -> list[Number]:
        return [name.numbers[column] for name in self.names]

    def span(self, column: int) -> tuple[int, int]:
        """Return the step between the values of a column, and how many there are from end to end."""
        values = sorted({number.value for number in self.column(column)})
        step = math.gcd(*(after - before for before, after in pairwise(values)))
        return step, (values[-1] - values[0]) // (step or 1) + 1

    @cached_property
    def dimensions(self) -> list[_Dimension]:
        groups: dict[tuple[int, ...], list[int]] = {}
        for column in range(len(self.names[0].numbers)):
            ranks: dict[int, int] = {}
            pattern = tuple(ranks.setdefault(number.value, len(ranks)) for number in self.column(column))
            if len(ranks) > 1:
                groups.setdefault(pattern, []).append(column)
        return [self._dimension(columns, len(set(pattern))) for pattern, columns in groups.items()]

    def _dimension(self, columns: Sequence[int], count: int) -> _Dimension:
        first, words = self.names[0], dict[str, str]()
        for column in columns:
            number = first.numbers[column]
            means = meaning(number.word, first.kind)
            dense = number.kind == "count" and self.span(column)[1] <= _SPARSE * count
            # Wavelengths are far apart, and positions may be any.
            if means and (dense or means in ("position", "c")):
                words.setdefault(means, number.word)
        word = next(iter(words.values()), "") or first.numbers[columns[0]].word
        timed = any(first.numbers[column].kind == "duration" for column in columns)
        return _Dimension(tuple(columns), count, frozenset(words), word, timed)


def read_numbering(paths: Sequence[str], axes: str | None = None) -> Numbering:
    """Return the order and axis of a series of files, and refuse files that are not one complete series.

    Names without numbers, or with numbers that do not count, stay in natural order.

    Parameters
    ----------
    paths : sequence of str
        In natural order.
    axes : str, optional
        The user's letters for the axes; if given, a series of positions is accepted as an axis.

    Raises
    ------
    RequestError
        A frame is missing, files of several series are mixed, or the names count two things, or positions.

    Examples
    --------
    >>> read_numbering(["t_08.tif", "t_09.tif", "t_10.tif"]).axis
    't'
    >>> read_numbering(["z_08.tif", "z_10.tif", "z_11.tif"])
    Traceback (most recent call last):
        ...
    pipeline.model.errors.RequestError: input.path: 1 file is missing: z_09.tif; bring it back, or renumber
    """
    if len(paths) == 1:
        return Numbering(tuple(paths))
    folder = os.path.commonpath(paths)
    relative = [os.path.relpath(path, folder) for path in paths]
    names = list(map(parse_name, relative))
    if not any(name.numbers for name in names):
        positions = differ_by_position_letter(relative)
        if positions and axes is None:
            raise _positions_error(paths, f"{relative[0]} to {relative[-1]}")
        order = "in the order of their names, which have no numbers"
        return Numbering(tuple(paths), ordered_by=order, positions=positions)
    _check_one_series(_Series(folder, tuple(paths), tuple(names)))
    series = _Series(folder, tuple(paths), tuple(merge_datetimes(names)))
    _check_unique(series)
    _check_one_dimension(series)
    return _ordered(series, axes)


def _check_one_series(series: _Series) -> None:
    kinds = Counter(name.kind for name in series.names).most_common()
    if len(kinds) == 1:
        return
    shown = listed(f"{kind} ({count} file{'s' if count > 1 else ''})" for kind, count in kinds)
    members = [index for index, name in enumerate(series.names) if name.kind == kinds[0][0]]
    hint = _glob_hint(series, members, range(len(series.names[members[0]].numbers)))
    raise input_error(f"the files are of several series: {shown}", hint)


def _glob_hint(series: _Series, members: Sequence[int], free: Iterable[int]) -> str:
    """Suggest a glob that matches exactly the members; `free` are the columns that differ between them."""
    texts = [name.text for name in series.names]
    expected = {texts[index] for index in members}
    for pattern in glob_patterns(series.names[members[0]], set(free)):
        if {text for text in texts if globs(pattern, text)} == expected:
            path = os.path.join(glob.escape(series.folder), pattern)
            return f"give a glob of one series, such as {path!r}"
    return "move the files of one series into a folder of their own, and give that"


def _check_unique(series: _Series) -> None:
    seen: dict[tuple[int, ...], int] = {}
    for index, name in enumerate(series.names):
        other = seen.setdefault(tuple(number.value for number in name.numbers), index)
        if other != index:
            message = f"{series.names[other].text!r} and {name.text!r} have the same number"
            raise input_error(message, "take one away")


def _check_one_dimension(series: _Series) -> None:
    """Refuse names that count, say, frames and channels: as one series they would be mixed up."""
    dimensions, total = series.dimensions, len(series)
    meanings = frozenset[str]().union(*(dimension.meanings for dimension in dimensions))
    partial = [dimension for dimension in dimensions if dimension.count < total]
    by_word = len(meanings) > 1 or (
        len(dimensions) > 1 and ("position" in meanings or any(dimension.meanings for dimension in partial))
    )
    combinations = math.prod(dimension.count for dimension in partial)
    by_number = len(partial) == len(dimensions) > 1 and combinations < 2 * total
    # A running number or a time beside two dimensions that make a grid does not make them one series.
    by_grid = len(partial) > 1 and combinations == total
    if by_word or by_number or by_grid:
        _refuse_two_dimensions(series)


def _refuse_two_dimensions(series: _Series) -> NoReturn:
    dimensions, first = series.dimensions, series.names[0].numbers
    keep = min(dimensions, key=_rank)
    fixed = [column for dimension in dimensions if dimension is not keep for column in dimension.columns]
    members = [
        index
        for index, name in enumerate(series.names)
        if all(name.numbers[column].value == first[column].value for column in fixed)
    ]
    words = list(map(str, dimensions))
    if len(dimensions) == 1:
        # Numbers that change together have two words with a meaning.
        unique = dict.fromkeys(first[column].word for column in keep.columns)
        words = [f"{word} ({keep.count})" for word in unique]
    hint = _glob_hint(series, members, keep.columns)
    if len(members) in (1, len(series)):
        hint = f"rename them so that one number counts them, or give one of them, such as {series.paths[0]!r}"
    message = f"the names of the {len(series)} files count {len(words)} things, {' and '.join(words)}"
    raise input_error(f"{message}, such as {series.names[0].text!r}", hint)


def _rank(dimension: _Dimension) -> tuple[bool, bool, bool, int]:
    """Return a sort key: first the dimension that is most likely of the frames of a movie."""
    frames = dimension.timed or "t" in dimension.meanings
    other = bool(dimension.meanings) and not frames
    return "position" in dimension.meanings, other, not frames, -dimension.count


def _ordered(series: _Series, axes: str | None) -> Numbering:
    full = next((dimension for dimension in series.dimensions if dimension.count == len(series)), None)
    if full is not None and "position" in full.meanings and axes is None:
        first, last = (series.names[index].numbers[full.columns[0]].text for index in (0, -1))
        raise _positions_error(series.paths, f"{full.word} {first} to {last}")
    column = None if full is None else _order_column(series, full)
    if full is None or column is None:
        return Numbering(series.paths, ordered_by="in the order of the times or numbers in their names")
    numbers = series.column(column)
    # Objects, since a number may be longer than an int64.
    order = np.argsort(np.array([number.value for number in numbers], object), kind="stable")
    timed = numbers[0].kind == "duration" and len(series.dimensions) == 1
    interval, uneven = _interval([numbers[index] for index in order]) if timed else (0.0, "")
    return Numbering(
        tuple(series.paths[index] for index in order),
        next((axis for axis in full.meanings if axis in "tzc"), "t"),
        full.word if full.meanings else "",
        f"in the order of the {'number' if numbers[0].kind == 'count' else 'time'}s in their names",
        interval,
        uneven,
        "position" in full.meanings,
    )


def _order_column(series: _Series, dimension: _Dimension) -> int | None:
    """Return the column to sort by: of numbers without a gap, or of times; raise RequestError for a gap."""
    spans = {column: series.span(column) for column in reversed(dimension.columns)}
    numbers, kind = series.names[0].numbers, series.names[0].kind
    meanings = {column: meaning(numbers[column].word, kind) for column in spans}
    if "c" in dimension.meanings:  # wavelengths, or some of the channels: gaps are usual
        return next(column for column in spans if meanings[column] == "c")
    # Columns with a word or a time decide before mere numbers.
    columns = sorted(spans, key=lambda column: not meanings[column] and numbers[column].kind == "count")
    for column in columns:
        if numbers[column].kind == "duration" or spans[column][1] == len(series):
            return column
    for column in columns:
        step, count = spans[column]
        if numbers[column].kind == "count" and count <= _SPARSE * len(series):
            raise _missing_error(series, column, step)
    return next((column for column in columns if numbers[column].kind == "datetime"), None)


def _missing_error(series: _Series, column: int, step: int) -> RequestError:
    values = {number.value for number in series.column(column)}
    missing = sorted(set(range(min(values), max(values) + 1, step)) - values)
    texts = [number.text for number in series.column(column)]
    padded = len(set(map(len, texts))) == 1 or any(text[0] == "0" != text for text in texts)
    width = max(map(len, texts)) if padded else 0
    if len(series.dimensions) == 1 and len(series.dimensions[0].columns) == 1:
        first = series.names[0]
        parts = [number.text for number in first.numbers]
        before, after = parts[:column], parts[column + 1 :]
        names = [join_name(first.texts, [*before, f"{value:0{width}d}", *after]) for value in missing]
    else:
        # The names have other numbers too, and those of the missing files are unknown.
        names = [f"number {value}" for value in missing]
    files, them = ("1 file is", "it") if len(missing) == 1 else (f"{len(missing)} files are", "them")
    return input_error(f"{files} missing: {listed(names)}", f"bring {them} back, or renumber")


def _positions_error(paths: Sequence[str], which: str) -> RequestError:
    return input_error(
        f"the {len(paths)} files are of several places ({which}), which are no axis",
        f"give one of them, such as {paths[0]!r}, or say input.axes: tyx to take them as frames",
    )


def _interval(durations: Sequence[Number]) -> tuple[float, str]:
    """Return the seconds between sorted durations and "", or 0 and a text if they are not evenly spaced."""
    steps = [after.value - before.value for before, after in pairwise(durations)]
    most = Counter(steps).most_common(1)[0][0]
    odd = next((index for index, step in enumerate(steps) if step != most), None)
    if odd is None:
        return most / 1000, ""
    return 0.0, f"mostly {duration_text(most / 1000)}, but {durations[odd].text} to {durations[odd + 1].text}"
