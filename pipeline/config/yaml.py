"""YAML 1.2 as plain data, with the place of everything in it and all its mistakes at once.

It is built from the parser's events rather than by its constructors: so a tag, an alias or a key given twice
is a mistake among others, with its place, instead of an exception that hides the rest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from pipeline.model.errors import Problem
from pipeline.model.text import readable
from pipeline.model.units import comma_mend

Path = tuple[str | int, ...]

DEEPEST = 20
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **{f"{sign}{word}": float(f"{sign}inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
}
# A URL has two slashes after its colon, and is a text.
_NO_SPACE = re.compile(r"\s*(?:-\s+)?(\w+):(?!//)(\S.*?)\s*")
_NO_COLON = re.compile(r"\s*(?:-\s+)?([a-z]\w*)\s*")
_CURLY = "“”„‘’«»"
# ruamel.yaml's words → ours; the first that occurs in its message holds.
_SYNTAX = (
    ("'\\t'", "a tab stands in the indentation", "indent with spaces"),
    ("unexpected end of stream", "a quoted text is not closed", "close it with the quote that opens it"),
    ("cannot start any token", "a text cannot begin with this sign", "put the text in quotes"),
    ("mapping values are not allowed", "a ': ' is not expected here",
     "check the indentation, and quote a text that holds ': '"),
    ("<block end>", "the indentation does not fit the lines above",
     "begin the keys of one mapping in one column"),
    ("could not find expected ':'", "a key has no ': ' after it", "write KEY: VALUE"),
    ("expected ',' or '", "a { or [ is not closed, or a comma is missing",
     "close it, or add the comma, or quote a text that holds such a sign"),
    ("flow node", "a { or [ is not closed", "close it"),
    ("special characters", "holds a control character", "save it as plain text"),
)  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """A place in a file, counted from 1."""

    line: int
    column: int


@dataclass
class Document:
    """What a YAML text says, and where.

    Attributes
    ----------
    data : Any
        Plain dicts, lists, texts and numbers; None where the text is not YAML.
    marks : dict of tuple to Mark
        Where each value stands, by its path; that of a key is where its name stands.
    problems : list of Problem
        What is wrong with it as YAML; their fields are dotted paths.
    spoiled : set of tuple
        Paths whose value is not known because of a problem.
    """

    data: Any = None
    marks: dict[Path, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    spoiled: set[Path] = field(default_factory=set)


def dotted(path: Path) -> str:
    """Return a path as the user writes it.

    >>> dotted(("steps", 0, "radius"))
    'steps.0.radius'
    """
    return ".".join(map(readable, path))


def parse_yaml(text: str, file: str = "") -> Document:
    """Read a YAML 1.2 text.

    Refused, each with its place: tags, anchors and aliases, keys given twice, keys that are
    not texts, a second document, and what is not YAML.

    Parameters
    ----------
    text : str
        The YAML.
    file : str
        What it is called in the problems.
    """
    document = Document()
    try:
        _Builder(YAML(typ="safe", pure=True).parse(text), document, file).build()
    except (YAMLError, ValueError) as error:
        # ValueError: ruamel.yaml's own on some malformed escapes and directives.
        document.data = None
        document.problems.append(_syntax_problem(error, text, file))
    except _TooDeepError as error:
        document.data = None
        document.problems.append(
            _problem(
                f"is nested deeper than {DEEPEST} levels", "a config has no such depth", file, error.mark
            )
        )
    return document


class _TooDeepError(Exception):
    def __init__(self, mark: Mark) -> None:
        self.mark = mark


def _syntax_problem(error: Exception, text: str, file: str) -> Problem:
    said = " ".join(str(error).split())
    mark = Mark(1, 1)
    if isinstance(error, MarkedYAMLError):
        said = f"{error.context or ''} {error.problem or ''}".strip()
        # Of what is never closed, the place where it opens is the one to look at.
        opened = "end of stream" in said or "<stream end>" in said
        place = (error.context_mark if opened else None) or error.problem_mark or error.context_mark
        if place is not None:
            mark = Mark(min(place.line + 1, max(1, len(text.splitlines()))), place.column + 1)
    slip = _slip(text, mark)
    if slip is not None:
        return _problem(f"is not YAML: {slip[1]}", slip[2], file, Mark(slip[0], 1))
    for pattern, what, mend in _SYNTAX:
        if pattern in said:
            return _problem(f"is not YAML: {what}", mend, file, mark)
    return _problem(f"is not YAML: {readable(said)}", "mend this line, or the one above it", file, mark)


def _slip(text: str, mark: Mark) -> tuple[int, str, str] | None:
    """Return line, mistake and mend where a line at the place, or the one above it, is no KEY: VALUE."""
    lines = text.splitlines()
    for number in (mark.line - 1, mark.line):
        line = lines[number - 1] if 1 <= number <= len(lines) else ""
        match = _NO_SPACE.fullmatch(line)
        if match is not None:
            mend = f"put a space after the colon: {match[1]}: {readable(match[2])}"
            return number, "a key and its value are one word", mend
        match = _NO_COLON.fullmatch(line)
        if match is not None and number < mark.line:
            return number, f"no colon follows {readable(match[1])}", f"write {readable(match[1])}:"
    return None


def _problem(what: str, mend: str, file: str, mark: Mark, path: Path = ()) -> Problem:
    return Problem(what, mend, dotted(path), file, mark.line, mark.column)


class _Builder:
    """Makes plain data of the events of one document."""

    def __init__(self, events: Iterator[Any], document: Document, file: str) -> None:
        self._events, self._document, self._file = events, document, file

    def build(self) -> None:
        for event in self._events:
            if isinstance(event, NodeEvent):
                self._document.data = self._node(event, ())
                break
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                self._refuse("a second document begins", "keep one, without ---", event, ())
                break

    def _refuse(self, what: str, mend: str, event: Any, path: Path) -> None:
        named = tuple(part for part in path if part != "")
        self._document.problems.append(_problem(what, mend, self._file, _mark(event), named))

    def _node(self, event: Any, path: Path) -> Any:
        self._document.marks.setdefault(path, _mark(event))
        if len(path) > DEEPEST:
            raise _TooDeepError(_mark(event))
        if isinstance(event, AliasEvent):
            self._document.spoiled.add(path)
            name = f"*{readable(event.anchor)}"
            self._refuse(
                f"{name} is an alias", "write the value out; quote a text that begins with *", event, path
            )
            return None
        if getattr(event, "anchor", None):
            name = f"&{readable(event.anchor)}"
            self._refuse(f"{name} is an anchor", "leave it out; quote a text that begins with &", event, path)
        if getattr(event, "ctag", None) is not None:
            if isinstance(event, ScalarEvent):
                self._document.spoiled.add(path)
            tag = readable(event.tag).replace("tag:yaml.org,2002:", "!!")
            self._refuse(
                f"{tag} is a tag", "write the plain value; quote a text that begins with !", event, path
            )
        if isinstance(event, MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(path)
        return self._scalar(event, path)

    def _sequence(self, path: Path) -> list[Any]:
        found: list[Any] = []
        for event in self._events:
            if isinstance(event, SequenceEndEvent):
                break
            found.append(self._node(event, (*path, len(found))))
        return found

    def _mapping(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        before: tuple[Path, Any] | None = None
        for event in self._events:
            if isinstance(event, MappingEndEvent):
                break
            if before is not None and _is_behind_comma(event, before[1]):
                self._refuse_comma(before, event)
                before = None
                continue
            key, mark = self._key(event, path), _mark(event)
            # The value of a refused key is read too, for the mistakes in it.
            inner = (*path, key)
            twice = key in found
            if twice:
                first = self._document.marks[inner].line
                self._refuse(f"is given twice, first in line {first}", "keep one of them", event, inner)
            elif key:
                self._document.marks[inner] = mark
            event = next(self._events)
            value = self._node(event, inner)
            before = (inner, event)
            if key and not twice:
                found[key] = value
        return found

    def _refuse_comma(self, before: tuple[Path, Any], event: Any) -> None:
        """Refuse what {radius: 12,5} makes: 12, and a key 5 without a value."""
        next(self._events)
        path, number = before
        self._document.spoiled.add(path)
        text = f"{number.value},{event.value}"
        self._refuse(f"{text} has a comma in its number", comma_mend(text), number, path)

    def _key(self, event: Any, path: Path) -> str:
        if not isinstance(event, ScalarEvent):
            self._refuse("a key is not a text", "write a name before the ': '", event, path)
            self._node(event, (*path, ""))
            return ""
        key = self._node(event, (*path, ""))
        self._document.marks.pop((*path, ""), None)
        if not isinstance(key, str) or not key:
            self._refuse(f"the key {readable(event.value)!r} is not a text", "write a name", event, path)
            return ""
        return key

    def _scalar(self, event: Any, path: Path) -> Any:
        text = event.value
        if event.style is None and text[:1] in tuple(_CURLY):
            self._document.spoiled.add(path)
            self._refuse(f"{text[0]} is no quote in YAML", 'type the straight one, "', event, path)
        if event.style is not None:
            value: Any = text
        elif text in _WORDS:
            value = _WORDS[text]
        elif _INT.fullmatch(text):
            value = int(text, 0) if text[:2] in ("0o", "0x") else _decimal(text)
        elif _FLOAT.fullmatch(text):
            value = float(text)
        else:
            value = text
        if isinstance(value, str) and any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value):
            self._document.spoiled.add(path)
            self._refuse("holds a character that no text can hold", "leave it out", event, path)
            value = None
        if isinstance(value, int) and abs(value) >= 2**63:
            self._document.spoiled.add(path)
            self._refuse(f"{readable(text)} is too large a number", "give a smaller one", event, path)
        return value


def _is_behind_comma(event: Any, before: Any) -> bool:
    """Return whether a key of a mapping in braces is the rest of a number with a comma in it."""
    return (
        isinstance(event, ScalarEvent)
        and isinstance(before, ScalarEvent)
        and event.style is None is before.style
        and event.start_mark.index == before.end_mark.index + 1
        and bool(comma_mend(f"{before.value},{event.value}"))
    )


def _decimal(text: str) -> int:
    # Python refuses to convert some thousands of digits; any number too large does in their place.
    return int(text) if len(text) < 40 else 2**63


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)
