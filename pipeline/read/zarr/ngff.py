"""OME-Zarr metadata, versions 0.1 to 0.5: levels, axes, units and channels.

The version is not asked: it is often missing or wrong. Writers add, omit and misspell entries. What decides
neither pixels nor scale is ignored if it is not valid, and the rest refused with its place and the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.model.axes import ORDER, SPACE, kind
from pipeline.model.errors import RequestError
from pipeline.model.image import Channel
from pipeline.model.units import convertible, unit_name
from pipeline.read.opened import UNKNOWN

NEWEST = (0, 5)  # later versions describe axes and transformations in another way

_VERSION = re.compile(r"\s*(\d{1,9})\.(\d{1,9})")
_COLOR = re.compile(r"[0-9A-F]{6}")
_WORDS = {"time": "t", "channel": "c", "channels": "c"}
_NO_UNIT = {"", "px", "pixel", "pixels", "none", "null", "unknown", "arbitrary", "arbitrary unit"}
_SHOWN = 60


class MetadataError(ValueError):
    """Invalid metadata, with its place as a dotted path."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")


@dataclass(frozen=True)
class Axes:
    """The axes of an image."""

    letters: str  # one of t c z y x for each stored axis, or ? if unknown
    units: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what was assumed or ignored


def too_new(version: object) -> bool:
    """Check whether a version is too new to be read.

    >>> [too_new(version) for version in ("0.4", "0.5-dev1", "0.6.dev3", None, "newest")]
    [False, False, True, False, False]
    """
    match = _VERSION.match(str(version))
    return match is not None and (int(match[1]), int(match[2])) > NEWEST


def letter_of(name: object) -> str:
    """Return the letter of the axis that a name stands for, or ?.

    >>> [letter_of(name) for name in ("T", "time", " y", "phase")]
    ['t', 't', 'y', '?']
    """
    text = name.strip().lower() if isinstance(name, str) else ""
    text = _WORDS.get(text, text)
    return text if text in tuple(ORDER) else UNKNOWN


def quoted(value: object) -> str:
    """Return a short repr of any JSON value."""
    text = repr(value) if not isinstance(value, list | Mapping) else f"a {kind_of(value)} of {len(value)}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def kind_of(value: object) -> str:
    """Return the JSON type of a value."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    for kinds, word in (((int, float), "number"), (str, "text"), (Mapping, "mapping"), (list, "list")):
        if isinstance(value, kinds):
            return word
    return type(value).__name__


def dataset_paths(multiscale: Mapping[str, object], place: str) -> list[str | None]:
    """Return the paths of an image's levels, None for those without; raise MetadataError without a list."""
    datasets = multiscale.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        reason = "missing" if datasets is None else f"{quoted(datasets)} and no list of levels"
        raise MetadataError(f"{place}.datasets", reason)
    return [_path(dataset) for dataset in datasets]


def _path(dataset: object) -> str | None:
    # Some early writers list bare paths.
    path = dataset.get("path") if isinstance(dataset, Mapping) else dataset
    return path.strip("/") if isinstance(path, str) and path.strip("/") else None


def axes_of(multiscale: Mapping[str, object], ndim: int, place: str) -> Axes:
    """Return the axes of an entry of `multiscales`, whose arrays have `ndim` of them.

    Raises
    ------
    MetadataError
        They are no list, not `ndim`, or one occurs twice; `place` is that of the entry.
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
    names, types = [entry.get("name") for entry in named], [word_of(entry.get("type")) for entry in named]
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
    """Return the axes of an image without metadata of them: up to 0.2 all had the same five."""
    if ndim != len(ORDER):
        return Axes(UNKNOWN * ndim)
    old = str(multiscale.get("version")) in ("0.1", "0.2")
    note = "its metadata names no axes: they are taken as t, c, z, y and x, as in OME-Zarr 0.1 and 0.2"
    return Axes(ORDER, notes=() if old else (note,))


def word_of(value: object) -> str:
    """Return a string in lower case, or an empty one for other values."""
    return value.strip().lower() if isinstance(value, str) else ""


def _letters(names: Sequence[object], types: Sequence[str]) -> str:
    """Return the letters of axes from their names, or if those are unknown from their types."""
    by_name = [letter_of(name) for name in names]
    if UNKNOWN not in by_name:
        return "".join(by_name)
    space = iter(SPACE[-types.count("space") :] if types.count("space") <= len(SPACE) else "")
    plain = {"time": "t", "channel": "c"}
    by_type = [next(space, UNKNOWN) if type_ == "space" else plain.get(type_, UNKNOWN) for type_ in types]
    agree = all(name in (UNKNOWN, type_) for name, type_ in zip(by_name, by_type, strict=True))
    # If names and types contradict each other, the user decides.
    return "".join(by_type) if agree else UNKNOWN * len(names)


def _unit(letter: str, value: object) -> tuple[str, str]:
    """Return the unit of an axis, and a note; either may be empty."""
    text = word_of(value)
    if letter in ("c", UNKNOWN) or text in _NO_UNIT:
        return "", ""
    try:
        unit = unit_name(text)
    except RequestError:
        return "", f"the unit of {letter}, {quoted(value)}, is not known and left out"
    if not convertible(unit, "second" if letter == "t" else "meter"):
        measure = "time" if letter == "t" else "length"
        return "", f"the unit of {letter}, {quoted(value)}, is none of {measure} and left out"
    return unit, ""


def channels_of(omero: object, count: int) -> tuple[Channel, ...]:
    """Return names and colours of channels. What is invalid is ignored: it does not concern pixels."""
    entries = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(entries, list) or len(entries) != count:
        return ()
    return tuple(_channel(entry if isinstance(entry, Mapping) else {}) for entry in entries)


def _channel(entry: Mapping[str, object]) -> Channel:
    label, color = entry.get("label"), entry.get("color")
    name = str(label) if isinstance(label, str | int) and not isinstance(label, bool) else ""
    rgb = color.lstrip("#").upper() if isinstance(color, str) else ""
    return Channel(name, rgb if _COLOR.fullmatch(rgb) else "")
