"""File names taken apart: their numbers, the word before each, durations, dates and times of day."""

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

NumberKind = Literal["count", "duration", "datetime"]

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
# Stage positions and the like are no axis.
POSITION_WORDS = {"position", "pos", "xy", "site", "field", "fov", "well", "tile"}
# Opera and Harmony name row, column, field, plane, channel and time so.
_HARMONY = re.compile(r"(?:^|/)r#c#f#p#-ch#")
_HARMONY_WORDS = {**dict.fromkeys("rcf", "position"), "p": "z", "ch": "c", "sk": "t"}
_T = ("T", "t")
_BETWEEN = (*_T, "-", "_", ":", ".", " ")
_POSITION_LETTER = re.compile(
    rf"(?:^|[^A-Za-z])(?:{'|'.join(POSITION_WORDS)})[-_ ]?([A-Za-z])(?![A-Za-z0-9])", re.IGNORECASE
)


@dataclass(frozen=True)
class Number:
    """One number in a name."""

    text: str  # as written
    value: int  # a count, ms of a duration, or s of a date and time
    word: str  # before it, as written
    kind: NumberKind = "count"


@dataclass(frozen=True)
class Name:
    """A file name taken apart."""

    texts: tuple[str, ...]  # before, between and after the numbers: one more than those
    numbers: tuple[Number, ...]

    @property
    def text(self) -> str:
        """The name."""
        return join_name(self.texts, [number.text for number in self.numbers])

    @property
    def kind(self) -> str:
        """The name with # for each number, and its suffix in lower case."""
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
    duration = _milliseconds(match[0]) if match.lastgroup else None
    if duration is not None:
        return [(*match.span(), duration, "duration")]
    begin, numbers = match.start(), re.finditer("[0-9]+", match[0])
    return [(begin + digits.start(), begin + digits.end(), int(digits[0]), "count") for digits in numbers]


def _milliseconds(text: str) -> int | None:
    """Return the length of a duration, or None unless its units go from the longer to the shorter."""
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
    """Return "t", "z", "c", "position" or "" by the word before a number, in a name of some kind.

    >>> meaning("Pos", "Pos#.tif"), meaning("c", "t#_c#.tif"), meaning("c", "r#c#f#p#-ch#.tif")
    ('position', 'c', 'position')
    """
    lower = word.lower()
    if _HARMONY.search(kind):
        return _HARMONY_WORDS.get(lower, "")
    if lower in POSITION_WORDS:
        return "position"
    return next((axis for axis, words in AXIS_WORDS.items() if lower in words), "")


def differ_by_position_letter(names: Sequence[str]) -> bool:
    """Return whether names differ by the letter of a position, as siteA and siteB do."""
    matches = [_POSITION_LETTER.search(name) for name in names]
    return all(matches) and len({match[1] for match in matches if match}) > 1


def merge_datetimes(names: Sequence[Name]) -> list[Name]:
    """Merge the numbers of a date and time of day into one, in names of one kind."""
    first = names[0]
    for begin in range(len(first.numbers)):
        for length in (6, 5, 4, 2):
            run = slice(begin, begin + length)
            if len(first.numbers[run]) < length or not _separated(first, begin, length):
                continue
            columns = zip(*(name.numbers[run] for name in names), strict=True)
            # If only one of the numbers changes, it may as well be a frame's.
            if sum(len({number.value for number in column}) > 1 for column in columns) < 2:
                continue
            seconds = [_seconds(name.numbers[run]) for name in names]
            if None not in seconds:
                pairs = zip(names, seconds, strict=True)
                return [_merged(name, begin, length, value or 0) for name, value in pairs]
    return list(names)


def _separated(name: Name, begin: int, length: int) -> bool:
    """Return whether the texts between numbers are separators of a date and time."""
    between = name.texts[begin + 1 : begin + length]
    # Four digits behind a date are a time of day only after a T, and more likely a frame's number otherwise.
    short = length == 2 and len(name.numbers[begin + 1].text) == 4
    return all(text in _T if short else text in _BETWEEN for text in between)


def _seconds(numbers: Sequence[Number]) -> int | None:
    """Return the seconds since 1900 of a date and time, or None if the numbers are none."""
    texts = [number.text for number in numbers]
    if any(number.kind != "count" for number in numbers):
        return None
    if len(texts[0]) == 8:
        texts[:1] = [texts[0][:4], texts[0][4:6], texts[0][6:]]
    if len(texts) == 4 and len(texts[3]) in (4, 6):
        texts[3:] = [texts[3][start : start + 2] for start in range(0, len(texts[3]), 2)]
    lengths = [len(text) for text in texts]
    if len(texts) not in (5, 6) or lengths[0] != 4 or any(length > 2 for length in lengths[1:]):
        return None
    try:
        time = datetime(*map(int, texts))  # type: ignore[arg-type]  # five or six numbers
    except ValueError:
        return None
    return int((time - datetime(1900, 1, 1)).total_seconds()) if 1900 < time.year < 2200 else None


def _merged(name: Name, begin: int, length: int, value: int) -> Name:
    after = (*name.texts[begin + 1 : begin + length], "")
    parts = zip(name.numbers[begin : begin + length], after, strict=True)
    text = "".join(number.text + between for number, between in parts)
    number = Number(text, value, name.numbers[begin].word, "datetime")
    return Name(
        name.texts[: begin + 1] + name.texts[begin + length :],
        (*name.numbers[:begin], number, *name.numbers[begin + length :]),
    )


def glob_patterns(name: Name, free: set[int]) -> Iterator[str]:
    """Yield globs for names like the given one, with the columns `free` as wildcards, the loosest first."""
    texts = [glob.escape(text) for text in name.texts]
    stem, dot, suffix = texts[-1].rpartition(".")
    any_case = "".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else c for c in suffix)
    for last in (texts[-1], stem + dot + any_case):
        for wild in ("*", ""):
            numbers = [
                (wild or "[0-9]" * len(number.text)) if column in free else number.text
                for column, number in enumerate(name.numbers)
            ]
            yield join_name([*texts[:-1], last], numbers)


def join_name(texts: Sequence[str], numbers: Sequence[str]) -> str:
    """Return a name from its texts and numbers."""
    return "".join(text + number for text, number in zip(texts, [*numbers, ""], strict=True))


def globs(pattern: str, name: str) -> bool:
    """Return whether a glob matches a name; its * does not cross folders."""
    names, patterns = name.split(os.sep), pattern.split(os.sep)
    return len(names) == len(patterns) and all(map(fnmatch.fnmatchcase, names, patterns))


def duration_text(seconds: float) -> str:
    """Return a duration in the largest unit that gives a round number.

    >>> duration_text(7200), duration_text(90), duration_text(0.25)
    ('2 h', '90 s', '250 ms')
    """
    for unit, size in (("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds * 1000:g} ms"
