"""File names taken apart: their numbers, the word before each, times of day and durations."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Literal

from pipeline.read.formats import TIFF_SUFFIXES

NumberKind = Literal["count", "duration", "moment"]

_MILLISECONDS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_SHORT = r"(?:days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)"
# A single m or s behind a number may be anything; an h, or a unit written out, is a time.
_ALONE = r"(?:days?|hours?|hrs?|h|minutes?|mins?|seconds?|secs?|ms)"
_NUMBER = re.compile(
    rf"(?P<several>[0-9]+{_SHORT}(?:[-_ ]?[0-9]+{_SHORT})+(?![A-Za-z0-9]))"
    rf"|(?P<alone>[0-9]+{_ALONE}(?![A-Za-z0-9]))|[0-9]+",
    re.IGNORECASE,
)
_PIECE = re.compile(r"([0-9]+)([A-Za-z]+)")
_WORD = re.compile(r"(?:[A-Z]?[a-z]+|[A-Z]+)$")

AXIS_WORDS = {
    "t": {"t", "tp", "time", "timepoint", "frame", "frames"},
    "z": {"z", "zs", "zslice", "zplane", "zstack", "slice", "plane", "depth"},
    "c": {"c", "ch", "chan", "channel", "w", "wv", "wavelength"},
}
PLACE_WORDS = {"position", "pos", "xy", "site", "field", "fov", "well", "tile"}
"""Words of places, which are no axis: stage positions, sites, fields, wells."""

# Where a whole scheme is known, its letters mean what they mean there: Opera and Harmony count row, column,
# field, plane, channel and time so.
_SCHEMES = {
    re.compile(r"(?:^|/)r#c#f#p#-ch#"): {
        "r": "place", "c": "place", "f": "place", "p": "z", "ch": "c", "sk": "t",
    },
}  # fmt: skip
_T = ("T", "t")
_BETWEEN = (*_T, "-", "_", ":", ".", " ")
_PLACE_LETTER = re.compile(
    rf"(?:^|[^A-Za-z])(?:{'|'.join(PLACE_WORDS)})[-_ ]?([A-Za-z])(?![A-Za-z0-9])", re.IGNORECASE
)


@dataclass(frozen=True)
class Number:
    """One number in a name.

    Parameters
    ----------
    text : str
        As it is written.
    value : int
        What it counts; ms of a duration, s of a moment.
    word : str
        The word before it, as it is written.
    kind : {"count", "duration", "moment"}
        Whether it counts, or tells a time.
    """

    text: str
    value: int
    word: str
    kind: NumberKind = "count"


@dataclass(frozen=True)
class Name:
    """A file name taken apart.

    Parameters
    ----------
    texts : tuple of str
        What stands before, between and after the numbers.
    numbers : tuple of Number
        One fewer than the texts.
    """

    texts: tuple[str, ...]
    numbers: tuple[Number, ...]

    @property
    def kind(self) -> str:
        """The name with # for each number; how its suffix is written makes no difference."""
        text = "#".join(self.texts)
        stem, suffix = os.path.splitext(text)
        return stem + suffix.lower() if suffix.lower() in TIFF_SUFFIXES else text


def parse_name(name: str) -> Name:
    """Take a name apart.

    >>> [number.value for number in parse_name("G_C2_2_00d06h30m.tif").numbers]
    [2, 2, 23400000]
    >>> [number.word for number in parse_name("Pos0/img_channel001_z03.tif").numbers]
    ['Pos', 'channel', 'z']
    """
    texts: list[str] = []
    numbers: list[Number] = []
    begin = 0
    for match in _NUMBER.finditer(name):
        for start, end, value, kind in _pieces(match):
            texts.append(name[begin:start])
            numbers.append(Number(name[start:end], value, _word(texts[-1]), kind))
            begin = end
    return Name((*texts, name[begin:]), tuple(numbers))


def _pieces(match: re.Match[str]) -> list[tuple[int, int, int, NumberKind]]:
    """Return start, end, value and kind of the numbers of a match."""
    duration = _duration(match[0]) if match.lastgroup else None
    if duration is not None:
        return [(*match.span(), duration, "duration")]
    begin, numbers = match.start(), re.finditer("[0-9]+", match[0])
    return [(begin + digits.start(), begin + digits.end(), int(digits[0]), "count") for digits in numbers]


def _duration(text: str) -> int | None:
    """Return milliseconds, or None where the units do not go from the longer to the shorter."""
    pieces = [(int(digits), unit.lower()) for digits, unit in _PIECE.findall(text)]
    sizes = [_MILLISECONDS[unit if unit == "ms" else unit[0]] for _, unit in pieces]
    if sizes != sorted(set(sizes), reverse=True):
        return None
    return sum(count * size for (count, _), size in zip(pieces, sizes, strict=True))


@lru_cache(maxsize=256)
def _word(text: str) -> str:
    match = _WORD.search(text.rstrip(" _-=.([{#"))
    return match[0] if match else ""


def meaning(word: str, kind: str) -> str:
    """Return what a word before a number says that it counts: t, z, c, place, or nothing.

    `kind` is the whole name's, with # for each number.

    >>> meaning("Pos", "Pos#.tif"), meaning("c", "t#_c#.tif"), meaning("c", "r#c#f#p#-ch#.tif")
    ('place', 'c', 'place')
    """
    lower = word.lower()
    for scheme, words in _SCHEMES.items():
        if scheme.search(kind):
            return words.get(lower, "")
    if lower in PLACE_WORDS:
        return "place"
    return next((axis for axis, words in AXIS_WORDS.items() if lower in words), "")


def place_letters(names: Sequence[str]) -> bool:
    """Return whether names differ by the letter of a place: siteA, siteB."""
    matches = [_PLACE_LETTER.search(name) for name in names]
    return all(matches) and len({match[1] for match in matches if match}) > 1


def with_moments(names: Sequence[Name]) -> list[Name]:
    """Put date and time of day in names of one kind together, as one number."""
    first = names[0]
    for begin in range(len(first.numbers)):
        for length in (6, 5, 4, 2):
            run = slice(begin, begin + length)
            if len(first.numbers[run]) < length or not _separated(first, begin, length):
                continue
            columns = zip(*(name.numbers[run] for name in names), strict=True)
            # Where only one of the numbers changes, it may as well be a frame's.
            if sum(len({number.value for number in column}) > 1 for column in columns) < 2:
                continue
            moments = [_moment(name.numbers[run]) for name in names]
            if None not in moments:
                pairs = zip(names, moments, strict=True)
                return [_merged(name, begin, length, moment or 0) for name, moment in pairs]
    return list(names)


def _separated(name: Name, begin: int, length: int) -> bool:
    """Return whether what stands between numbers may stand within a date and time."""
    between = name.texts[begin + 1 : begin + length]
    # Four digits behind a date are a time of day after a T, and else more likely a frame's number.
    short = length == 2 and len(name.numbers[begin + 1].text) == 4
    return all(text in _T if short else text in _BETWEEN for text in between)


def _moment(numbers: Sequence[Number]) -> int | None:
    """Return a moment in seconds out of its parts, or None where they are none."""
    texts = [number.text for number in numbers]
    if any(number.kind != "count" for number in numbers):
        return None
    if len(texts[0]) == 8:
        texts[:1] = [texts[0][:4], texts[0][4:6], texts[0][6:]]
    if len(texts) == 4 and len(texts[3]) in (4, 6):
        texts[3:] = [texts[3][at : at + 2] for at in range(0, len(texts[3]), 2)]
    lengths = [len(text) for text in texts]
    if len(texts) not in (5, 6) or lengths[0] != 4 or any(length > 2 for length in lengths[1:]):
        return None
    try:
        moment = datetime(*map(int, texts))  # type: ignore[arg-type]  # five or six numbers
    except ValueError:
        return None
    return int((moment - datetime(1900, 1, 1)).total_seconds()) if 1900 < moment.year < 2200 else None


def _merged(name: Name, begin: int, length: int, value: int) -> Name:
    after = (*name.texts[begin + 1 : begin + length], "")
    parts = zip(name.numbers[begin : begin + length], after, strict=True)
    text = "".join(number.text + between for number, between in parts)
    number = Number(text, value, name.numbers[begin].word, "moment")
    return Name(
        name.texts[: begin + 1] + name.texts[begin + length :],
        (*name.numbers[:begin], number, *name.numbers[begin + length :]),
    )


def glob_patterns(name: Name, free: set[int]) -> Iterator[str]:
    """Yield globs for names like one, of which some numbers are free, from the plain to the exact."""
    texts = [glob.escape(text) for text in name.texts]
    stem, dot, suffix = texts[-1].rpartition(".")
    any_case = "".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else c for c in suffix)
    for last in (texts[-1], stem + dot + any_case):
        for wild in ("*", ""):
            numbers = [
                (wild or "[0-9]" * len(number.text)) if column in free else number.text
                for column, number in enumerate(name.numbers)
            ]
            yield put_together([*texts[:-1], last], numbers)


def put_together(texts: Sequence[str], numbers: Sequence[str]) -> str:
    """Return a name of its texts and numbers."""
    return "".join(text + number for text, number in zip(texts, [*numbers, ""], strict=True))


def globs(pattern: str, name: str) -> bool:
    """Return whether a glob gives a name, in which * stays within a folder."""
    names, patterns = name.split(os.sep), pattern.split(os.sep)
    return len(names) == len(patterns) and all(map(fnmatch.fnmatchcase, names, patterns))
