"""OME-Zarr metadata, versions 0.1 to 0.5, as far as it bears on pixels, scale and channels.

Versions are told apart by what is there, since the number is often left out or wrong. Writers differ in what
they add, leave out and spell in their own way: what bears on neither pixels nor scale is passed over,
and the rest is understood or refused with the whole reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.model.axes import ORDER, SPACE, kind
from pipeline.model.errors import RequestError
from pipeline.model.image import Channel
from pipeline.model.units import convertible, unit_name
from pipeline.read.opened import UNKNOWN

NEWEST = (0, 5)
"""From here on axes and transformations are said in another way."""

TRANSFORMS = "coordinateTransformations"

_VERSION = re.compile(r"\s*(\d{1,9})\.(\d{1,9})")
_COLOR = re.compile(r"[0-9A-F]{6}")
_WORDS = {"time": "t", "channel": "c", "channels": "c"}
_NO_UNIT = {"", "px", "pixel", "pixels", "none", "null", "unknown", "arbitrary", "arbitrary unit"}
_SHOWN = 60

Stored = Callable[[str], object]
"""Path of a stored list of numbers → the numbers."""


class MetadataError(ValueError):
    """Metadata that cannot be understood.

    Parameters
    ----------
    place : str
        Where, as a dotted path.
    reason : str
        What is wrong there.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")


@dataclass(frozen=True)
class Axes:
    """The axes of an image.

    Parameters
    ----------
    letters : str
        One for each stored axis: t c z y x, or ? where nothing says it.
    units : mapping
        Of those that have one.
    notes : tuple of str
        What was assumed or passed over.
    """

    letters: str
    units: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def too_new(version: object) -> bool:
    """Return whether a version is one whose axes and scales are said in another way.

    >>> [too_new(version) for version in ("0.4", "0.5-dev1", "0.6.dev3", None, "newest")]
    [False, False, True, False, False]
    """
    match = _VERSION.match(str(version))
    return match is not None and (int(match[1]), int(match[2])) > NEWEST


def letter_of(name: object) -> str:
    """Return the axis that a name stands for, or ? for another.

    >>> [letter_of(name) for name in ("T", "time", " y", "phase")]
    ['t', 't', 'y', '?']
    """
    text = name.strip().lower() if isinstance(name, str) else ""
    text = _WORDS.get(text, text)
    return text if text in tuple(ORDER) else UNKNOWN


def quoted(value: object) -> str:
    """Return a value in few letters, whatever it is."""
    text = repr(value) if not isinstance(value, list | Mapping) else f"a {kind_of(value)} of {len(value)}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def kind_of(value: object) -> str:
    """Return in JSON's words what a value is."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    for kinds, word in (((int, float), "number"), (str, "text"), (Mapping, "mapping"), (list, "list")):
        if isinstance(value, kinds):
            return word
    return type(value).__name__


def dataset_paths(multiscale: Mapping[str, object], place: str) -> list[str | None]:
    """Return the paths of an image's levels, None for one that does not say it.

    Raises
    ------
    MetadataError
        There is no list of them.
    """
    datasets = multiscale.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        found = "missing" if datasets is None else f"{quoted(datasets)} and no list of levels"
        raise MetadataError(f"{place}.datasets", found)
    return [_path(dataset) for dataset in datasets]


def _path(dataset: object) -> str | None:
    # A bare path is what some of the first writers put there.
    path = dataset.get("path") if isinstance(dataset, Mapping) else dataset
    return path.strip("/") if isinstance(path, str) and path.strip("/") else None


def axes_of(multiscale: Mapping[str, object], ndim: int, place: str) -> Axes:
    """Return the axes of an image.

    Parameters
    ----------
    multiscale : mapping
        One entry of `multiscales`.
    ndim : int
        Axes of its arrays.
    place : str
        Where the entry is, for messages.

    Raises
    ------
    MetadataError
        They are no list, name one twice, or are not as many as the array has.
    """
    entries = multiscale.get("axes")
    if entries is None:
        return _default_axes(multiscale, ndim)
    if not isinstance(entries, list):
        raise MetadataError(f"{place}.axes", f"{quoted(entries)} and no list of axes")
    if len(entries) != ndim:
        raise MetadataError(
            f"{place}.axes", f"has {len(entries)} axes in its metadata and {ndim} in its array"
        )
    named = [entry if isinstance(entry, Mapping) else {"name": entry} for entry in entries]
    names, types = [entry.get("name") for entry in named], [_word(entry.get("type")) for entry in named]
    letters = _letters(names, types)
    twice = [letter for letter in ORDER if letters.count(letter) > 1]
    if twice:
        raise MetadataError(f"{place}.axes", f"{letters.count(twice[0])} axes are called {twice[0]}")
    notes = [
        f"axis {letter} is taken as {kind(letter)} by its name, though its type is {type_!r}"
        for letter, type_ in zip(letters, types, strict=True)
        if letter != UNKNOWN and type_ in ("time", "channel", "space") and type_ != kind(letter)
    ]
    units: dict[str, str] = {}
    for letter, entry in zip(letters, named, strict=True):
        unit, note = _unit(letter, entry.get("unit"))
        units |= {letter: unit} if unit else {}
        notes += [note] if note else []
    return Axes(letters, units, tuple(notes))


def _default_axes(multiscale: Mapping[str, object], ndim: int) -> Axes:
    """Return the axes where none are said: up to 0.2 every image had five, in one order."""
    if ndim != len(ORDER):
        return Axes(UNKNOWN * ndim)
    said = str(multiscale.get("version")) in ("0.1", "0.2")
    note = "its metadata names no axes: they are taken as t, c, z, y and x, as in OME-Zarr 0.1 and 0.2"
    return Axes(ORDER, notes=() if said else (note,))


def _word(value: object) -> str:
    return value.strip().lower() if isinstance(value, str) else ""


def _letters(names: Sequence[object], types: Sequence[str]) -> str:
    """Return a letter for each axis: by its name, or by its type where names are free."""
    by_name = [letter_of(name) for name in names]
    if UNKNOWN not in by_name:
        return "".join(by_name)
    space = iter(SPACE[-types.count("space") :] if types.count("space") <= len(SPACE) else "")
    plain = {"time": "t", "channel": "c"}
    by_type = [next(space, UNKNOWN) if type_ == "space" else plain.get(type_, UNKNOWN) for type_ in types]
    agree = all(name in (UNKNOWN, type_) for name, type_ in zip(by_name, by_type, strict=True))
    # Names and types that contradict each other leave it to the user.
    return "".join(by_type) if agree else UNKNOWN * len(names)


def _unit(letter: str, said: object) -> tuple[str, str]:
    """Return the unit of an axis, and what is to be told about it; either may be empty."""
    text = _word(said)
    if letter in ("c", UNKNOWN) or text in _NO_UNIT:
        return "", ""
    try:
        unit = unit_name(text)
    except RequestError:
        return "", f"the unit of {letter}, {quoted(said)}, is not known and left out"
    if not convertible(unit, "second" if letter == "t" else "meter"):
        measure = "time" if letter == "t" else "length"
        return "", f"the unit of {letter}, {quoted(said)}, is none of {measure} and left out"
    return unit, ""


def transforms_of(
    multiscale: Mapping[str, object], level: int, axes: Axes, place: str, stored: Stored
) -> tuple[list[float], list[float]]:
    """Return scale and translation of each axis: the level's own transformations, then the pyramid's.

    Parameters
    ----------
    multiscale : mapping
        One entry of `multiscales`.
    level : int
        One that is there.
    axes : Axes
        Of its array.
    place : str
        Where the entry is, for messages.
    stored : callable
        What reads numbers that stand in an array of their own.

    Raises
    ------
    MetadataError
        One is of another kind or not of the right form.
    """
    datasets = multiscale["datasets"]
    own = datasets[level] if isinstance(datasets, list) else None
    lists = [
        (f"{place}.datasets.{level}.{TRANSFORMS}", own.get(TRANSFORMS) if isinstance(own, Mapping) else None),
        (f"{place}.{TRANSFORMS}", multiscale.get(TRANSFORMS)),
    ]
    scale, translation = [1.0] * len(axes.letters), [0.0] * len(axes.letters)
    for where, entries in lists:
        for number, transform in enumerate(_transform_list(entries, where)):
            name, numbers = _transform(transform, f"{where}.{number}", axes.letters, stored)
            if name == "scale":
                scale = [old * new for old, new in zip(scale, numbers, strict=True)]
                translation = [old * new for old, new in zip(translation, numbers, strict=True)]
            elif name == "translation":
                translation = [old + new for old, new in zip(translation, numbers, strict=True)]
    return scale, translation


def _transform_list(entries: object, place: str) -> list[object]:
    if entries is None:
        return []
    if isinstance(entries, Mapping):
        return [entries]
    if not isinstance(entries, list):
        raise MetadataError(place, f"{quoted(entries)} and no list of transformations")
    return entries


def _transform(transform: object, place: str, letters: str, stored: Stored) -> tuple[str, list[float]]:
    name = _word(transform.get("type")) if isinstance(transform, Mapping) else ""
    if not isinstance(transform, Mapping) or name not in ("identity", "scale", "translation"):
        message = quoted(transform.get("type") if isinstance(transform, Mapping) else transform)
        raise MetadataError(place, f"{message} is no transformation that bgone knows (scale, translation)")
    if name == "identity":
        return name, []
    numbers = transform.get(name)
    path = transform.get("path")
    if numbers is None and isinstance(path, str):
        numbers = stored(path)
    if not isinstance(numbers, list):
        found = "missing" if numbers is None else f"{quoted(numbers)} and no list of numbers"
        raise MetadataError(f"{place}.{name}", found)
    if len(numbers) != len(letters):
        count = f"{len(numbers)} {'number' if len(numbers) == 1 else 'numbers'} for {len(letters)} axes"
        raise MetadataError(f"{place}.{name}", f"{count} ({', '.join(letters)})")
    neutral = 1.0 if name == "scale" else 0.0
    return name, [
        # What stands for channels means nothing, so nothing is wrong with it.
        neutral if letter == "c" else _number(number, f"{place}.{name}.{at}")
        for at, (number, letter) in enumerate(zip(numbers, letters, strict=True))
    ]


def _number(value: object, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MetadataError(place, f"{quoted(value)} is no number")
    try:
        return float(value)
    except OverflowError:  # whole numbers have no end in JSON
        return float("inf") if value > 0 else float("-inf")


def channels_of(omero: object, count: int) -> tuple[Channel, ...]:
    """Return names and colours; what is not of the right form is no reason to refuse the pixels."""
    entries = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(entries, list) or len(entries) != count:
        return ()
    return tuple(_channel(entry if isinstance(entry, Mapping) else {}) for entry in entries)


def _channel(entry: Mapping[str, object]) -> Channel:
    label, color = entry.get("label"), entry.get("color")
    name = str(label) if isinstance(label, str | int) and not isinstance(label, bool) else ""
    rgb = color.lstrip("#").upper() if isinstance(color, str) else ""
    return Channel(name, rgb if _COLOR.fullmatch(rgb) else "")
