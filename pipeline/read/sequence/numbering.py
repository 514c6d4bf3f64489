"""Series of files by their names: whether they are one series, and whole; their order, and their axis."""

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
    glob_patterns,
    globs,
    meaning,
    parse_name,
    place_letters,
    put_together,
    with_moments,
)

# Numbers further apart than this, on average, are times of day or the like: they count nothing.
_SPARSE = 3


@dataclass(frozen=True)
class Numbering:
    """What the names of a series of files say.

    Parameters
    ----------
    files : tuple of str
        In the order of what they count.
    axis : str
        What they count: t where the names say nothing else.
    word : str
        The word in the names that says so, or an empty text.
    ordered_by : str
        What the order goes by, in words.
    interval : float
        Seconds from one to the next where the names tell times, evenly spaced; else 0.
    uneven : str
        Where the names tell times that are not evenly spaced: which, in words.
    positions : bool
        Whether what they count are places, such as stage positions.
    """

    files: tuple[str, ...]
    axis: str = "t"
    word: str = ""
    ordered_by: str = "in the order of their names"
    interval: float = 0.0
    uneven: str = ""
    positions: bool = False


@dataclass(frozen=True)
class _Counted:
    """What a name counts: columns of numbers that change together, to `count` values.

    `meanings` are what the words before them say (t, z, c, place; times of day and numbers far apart left
    out), `word` is the first of those words, or else the word before the first number.
    """

    columns: tuple[int, ...]
    count: int
    meanings: frozenset[str]
    word: str
    timed: bool

    def __str__(self) -> str:
        return f"{'a time' if self.timed else self.word or 'a number'} ({self.count})"


@dataclass(frozen=True)
class _Table:
    """The numbers of names of one kind."""

    folder: str
    paths: tuple[str, ...]
    names: tuple[Name, ...]

    def __len__(self) -> int:
        return len(self.names)

    def values(self, column: int) -> list[int]:
        return [name.numbers[column].value for name in self.names]

    def relative(self, index: int) -> str:
        return os.path.relpath(self.paths[index], self.folder)

    def span(self, column: int) -> tuple[int, int]:
        """Return the step between the values of a column, and how many there are from end to end."""
        values = sorted(set(self.values(column)))
        step = math.gcd(*(after - before for before, after in pairwise(values)))
        return step, (values[-1] - values[0]) // (step or 1) + 1

    @cached_property
    def things(self) -> list[_Counted]:
        """What changes from name to name."""
        kind = self.names[0].kind
        groups: dict[tuple[int, ...], list[int]] = {}
        for column in range(len(self.names[0].numbers)):
            firsts: dict[int, int] = {}
            pattern = tuple(firsts.setdefault(value, len(firsts)) for value in self.values(column))
            if len(firsts) > 1:
                groups.setdefault(pattern, []).append(column)
        return [self._thing(pattern, columns, kind) for pattern, columns in groups.items()]

    def _thing(self, pattern: tuple[int, ...], columns: list[int], kind: str) -> _Counted:
        words: dict[str, str] = {}
        for column in columns:
            number = self.names[0].numbers[column]
            means = meaning(number.word, kind)
            counts = number.kind == "count" and self.span(column)[1] <= _SPARSE * len(set(pattern))
            # Wavelengths are far apart, and places are places.
            if means and (counts or means in ("place", "c")):
                words.setdefault(means, number.word)
        word = next(iter(words.values()), "") or self.names[0].numbers[columns[0]].word
        timed = any(self.names[0].numbers[column].kind == "duration" for column in columns)
        return _Counted(tuple(columns), len(set(pattern)), frozenset(words), word, timed)


def read_numbering(paths: Sequence[str], axes: str | None = None) -> Numbering:
    """Return what a series of files counts, and refuse files that are not one whole series.

    Names without numbers, and names with numbers that do not count (dates, times), are taken
    in their natural order.

    Parameters
    ----------
    paths : sequence of str
        In natural order.
    axes : str, optional
        What the user says they are: then a series of places may be an axis.

    Raises
    ------
    RequestError
        A frame is missing, files of several series are mixed, or the names count two things, or
        places.

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
    table = _Table(folder, tuple(paths), tuple(map(parse_name, relative)))
    if not any(name.numbers for name in table.names):
        places = place_letters(relative)
        if places and axes is None:
            raise _refuse_places(paths, f"{relative[0]} to {relative[-1]}")
        order = "in the order of their names, which have no numbers"
        return Numbering(tuple(paths), ordered_by=order, positions=places)
    _check_one_series(table)
    table = _Table(folder, tuple(paths), tuple(with_moments(table.names)))
    _check_doubled(table)
    _check_one_count(table)
    return _ordered(table, axes)


def _check_one_series(table: _Table) -> None:
    kinds = Counter(name.kind for name in table.names)
    if len(kinds) == 1:
        return
    shown = listed(f"{kind} ({count} file{'s' if count > 1 else ''})" for kind, count in kinds.most_common())
    most = kinds.most_common(1)[0][0]
    members = [index for index, name in enumerate(table.names) if name.kind == most]
    hint = _glob_hint(table, members, range(len(table.names[members[0]].numbers)))
    raise input_error(f"the files are of several series: {shown}", hint)


def _glob_hint(table: _Table, members: Sequence[int], free: Iterable[int]) -> str:
    """Say which glob gives some of the files: tried out here, so that it does."""
    relative = [table.relative(index) for index in range(len(table))]
    series = {relative[index] for index in members}
    for pattern in glob_patterns(table.names[members[0]], set(free)):
        if {name for name in relative if globs(pattern, name)} == series:
            path = os.path.join(glob.escape(table.folder), pattern)
            return f"give a glob of one series, such as {path!r}"
    return "move the files of one series into a folder of their own, and give that"


def _check_doubled(table: _Table) -> None:
    seen: dict[tuple[int, ...], int] = {}
    for index, name in enumerate(table.names):
        other = seen.setdefault(tuple(number.value for number in name.numbers), index)
        if other != index:
            both = f"{table.relative(other)!r} and {table.relative(index)!r}"
            raise input_error(f"{both} have the same number", "take one away")


def _check_one_count(table: _Table) -> None:
    """Refuse names that count, say, frames and channels: read as one series they would be mixed up."""
    things = table.things
    counting = [thing for thing in things if thing.meanings]
    meanings = frozenset().union(*(thing.meanings for thing in things))
    full = [thing for thing in things if thing.count == len(table)]
    by_word = (
        len(meanings) > 1
        or ("place" in meanings and len(things) > 1)
        or (len(things) > 1 and any(thing not in full for thing in counting))
    )
    by_number = not full and len(things) > 1 and math.prod(thing.count for thing in things) < 2 * len(table)
    # A running number, or a time, beside two that make a grid of all files does not make them one series.
    beside = [thing for thing in things if thing not in full]
    by_grid = len(beside) > 1 and math.prod(thing.count for thing in beside) == len(table)
    if by_word or by_number or by_grid:
        _refuse_two(table)


def _refuse_two(table: _Table) -> NoReturn:
    things, first = table.things, table.names[0].numbers
    keep = min(things, key=_rank)
    fixed = [column for thing in things if thing is not keep for column in thing.columns]
    members = [
        index
        for index, name in enumerate(table.names)
        if all(name.numbers[column].value == first[column].value for column in fixed)
    ]
    words = list(map(str, things))
    if len(things) == 1:
        # Two words stand before numbers that change together.
        words = [f"{word} ({keep.count})" for word in dict.fromkeys(first[at].word for at in keep.columns)]
    hint = _glob_hint(table, members, keep.columns)
    if len(members) in (1, len(table)):
        hint = f"rename them so that one number counts them, or give one of them, such as {table.paths[0]!r}"
    what = f"the names of the {len(table)} files count {len(words)} things, {' and '.join(words)}"
    raise input_error(f"{what}, such as {table.relative(0)!r}", hint)


def _rank(thing: _Counted) -> tuple[bool, bool, bool, int]:
    """Return what sorts things by how likely they are the frames of a series."""
    frames = thing.timed or "t" in thing.meanings
    return "place" in thing.meanings, bool(thing.meanings) and not frames, not frames, -thing.count


def _ordered(table: _Table, axes: str | None) -> Numbering:
    full = next((thing for thing in table.things if thing.count == len(table)), None)
    if full is not None and "place" in full.meanings and axes is None:
        first, last = (table.names[index].numbers[full.columns[0]].text for index in (0, -1))
        raise _refuse_places(table.paths, f"{full.word} {first} to {last}")
    column = None if full is None else _whole_column(table, full)
    if full is None or column is None:
        return Numbering(table.paths, ordered_by="in the order of the times or numbers in their names")
    order = np.argsort(np.array(table.values(column), dtype=object), kind="stable")
    kind = table.names[0].numbers[column].kind
    interval, uneven = 0.0, ""
    if kind == "duration" and len(table.things) == 1:
        interval, uneven = _interval([table.names[index].numbers[column] for index in order])
    return Numbering(
        tuple(table.paths[index] for index in order),
        next((meant for meant in full.meanings if meant in "tzc"), "t"),
        full.word if full.meanings else "",
        f"in the order of the {'number' if kind == 'count' else 'time'}s in their names",
        interval,
        uneven,
        "place" in full.meanings,
    )


def _whole_column(table: _Table, thing: _Counted) -> int | None:
    """Return the number that counts the files from end to end, or a time.

    Raises
    ------
    RequestError
        The count has gaps.
    """
    spans = {column: table.span(column) for column in reversed(thing.columns)}
    numbers, kind = table.names[0].numbers, table.names[0].kind
    meanings = {column: meaning(numbers[column].word, kind) for column in spans}
    if "c" in thing.meanings:  # some channels of many, or wavelengths
        return next(column for column in spans if meanings[column] == "c")
    # Those first that have a word or tell a time.
    columns = sorted(spans, key=lambda column: not meanings[column] and numbers[column].kind == "count")
    for column in columns:
        if numbers[column].kind == "duration" or spans[column][1] == len(table):
            return column
    for column in columns:
        step, count = spans[column]
        if numbers[column].kind == "count" and count <= _SPARSE * len(table):
            raise _missing(table, column, step)
    return next((column for column in columns if numbers[column].kind == "moment"), None)


def _missing(table: _Table, column: int, step: int) -> RequestError:
    numbers, first = [name.numbers[column] for name in table.names], table.names[0]
    values = {number.value for number in numbers}
    lost = sorted(set(range(min(values), max(values) + 1, step)) - values)
    texts = [number.text for number in numbers]
    padded = len(set(map(len, texts))) == 1 or any(text[0] == "0" != text for text in texts)
    width = max(map(len, texts)) if padded else 0
    if len(table.things) == 1 and len(table.things[0].columns) == 1:
        parts = [number.text for number in first.numbers]
        before, after = parts[:column], parts[column + 1 :]
        names = [put_together(first.texts, [*before, f"{value:0{width}d}", *after]) for value in lost]
    else:
        # Other numbers that change along make the names of the missing ones anybody's guess.
        names = [f"number {value}" for value in lost]
    what = "1 file is missing" if len(lost) == 1 else f"{len(lost)} files are missing"
    mend = "bring it back, or renumber" if len(lost) == 1 else "bring them back, or renumber"
    return input_error(f"{what}: {listed(names)}", mend)


def _refuse_places(paths: Sequence[str], which: str) -> RequestError:
    return input_error(
        f"the {len(paths)} files are of several places ({which}), which are no axis",
        f"give one of them, such as {paths[0]!r}, or say input.axes: tyx to take them as frames",
    )


def _interval(numbers: Sequence[Number]) -> tuple[float, str]:
    """Return the seconds between durations in order, or, where they are not even, the first odd one."""
    steps = [after.value - before.value for before, after in pairwise(numbers)]
    most = Counter(steps).most_common(1)[0][0]
    odd = next((index for index, step in enumerate(steps) if step != most), None)
    if odd is None:
        return most / 1000, ""
    return 0.0, f"mostly {duration_text(most / 1000)}, but {numbers[odd].text} to {numbers[odd + 1].text}"


def duration_text(seconds: float) -> str:
    """Return a duration in the largest unit that it is a round number of.

    >>> duration_text(7200), duration_text(90), duration_text(0.25)
    ('2 h', '90 s', '250 ms')
    """
    for unit, size in (("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds * 1000:g} ms"
