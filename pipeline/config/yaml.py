"""YAML 1.2 as plain data, with the location of everything in it and all its mistakes at once."""

# Nodes are read here rather than by ruamel.yaml's constructors, whose first exception would hide all other
# mistakes: so a tag, an alias or a key given twice is a mistake among others.

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipeline.config.document import Document, Keys, Location, field_name
from pipeline.model.errors import Problem
from pipeline.model.text import readable
from pipeline.model.units import comma_hint

DEEPEST = 20
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NAMED_VALUES = {
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
# Part of ruamel.yaml's message, our message, our hint; the first part that occurs decides.
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
    ("but found another document", "a second document begins", "keep one, without ---"),
)  # fmt: skip


class _Composer(Composer):
    """Composes nodes for aliases too, and keeps the tags that are written out."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        node: Any
        event = self.parser.peek_event()
        if isinstance(event, AliasEvent):
            self.parser.get_event()
            node = ScalarNode(None, "", event.start_mark, event.end_mark, style="*", anchor=event.anchor)
        else:
            node = super().compose_node(parent, index)
            # Else ruamel.yaml would warn of an anchor given twice.
            self.anchors.clear()
        node.ctag = getattr(event, "ctag", None)
        return node


def parse_yaml(text: str, file: str = "") -> Document:
    """Read a YAML 1.2 text as plain data.

    Tags, anchors and aliases, keys given twice, keys that are not texts, a second document and what is not
    YAML become problems of the document, each with its location in `file`.
    """
    document = Document(file=file)
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer, yaml.max_depth = _Composer, DEEPEST + 1
    try:
        root = yaml.compose(text)
        document.data = None if root is None else _Reader(document).value(root, ())
    except (YAMLError, ValueError) as error:
        # ValueError: ruamel.yaml's own on some malformed escapes and directives.
        document.problems.append(_syntax_problem(error, text, file))
    return document


@dataclass(frozen=True)
class _Reader:
    """Turns nodes into plain data; their locations and mistakes go into the document."""

    document: Document

    def value(self, node: Any, keys: Keys) -> Any:
        if keys and "" not in keys:
            self.document.locations.setdefault(field_name(keys), self._location(node))
        if isinstance(node, ScalarNode) and node.style == "*":
            message = f"*{readable(node.anchor)} is an alias"
            self._refuse(message, "write the value out; quote a text that begins with *", node, keys)
            self.document.unknown.add(field_name(keys))
            return None
        if node.anchor:
            message = f"&{readable(node.anchor)} is an anchor"
            self._refuse(message, "leave it out; quote a text that begins with &", node, keys)
        if node.ctag is not None:
            message = f"{readable(node.tag).replace('tag:yaml.org,2002:', '!!')} is a tag"
            self._refuse(message, "write the plain value; quote a text that begins with !", node, keys)
        if isinstance(node, MappingNode):
            return self._mapping(node, keys)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*keys, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, keys)

    def _mapping(self, node: MappingNode, keys: Keys) -> dict[str, Any]:
        data: dict[str, Any] = {}
        lines: dict[str, int] = {}
        previous: tuple[Node, Keys] | None = None
        for key_node, value_node in node.value:
            if previous is not None and _follows_comma(key_node, previous[0]):
                self._refuse_comma(key_node, *previous)
                previous = None
                continue
            key = self._key(key_node, keys)
            inner = (*keys, key)
            if key in data:
                message = f"is given twice, first in line {lines[key]}"
                self._refuse(message, "keep one of them", key_node, inner)
            elif key:
                self.document.locations.setdefault(field_name(inner), self._location(key_node))
            # The value of a refused key is read too, for the mistakes in it.
            value = self.value(value_node, inner)
            if key and key not in data:
                data[key], lines[key] = value, key_node.start_mark.line + 1
            previous = value_node, inner
        return data

    def _refuse_comma(self, key: Node, number: Node, keys: Keys) -> None:
        """Refuse {radius: 12,5}, which is a 12 and a key 5 without a value."""
        self.document.unknown.add(field_name(keys))
        text = f"{number.value},{key.value}"
        self._refuse(f"{text} has a comma in its number", comma_hint(text), number, keys)

    def _key(self, node: Node, keys: Keys) -> str:
        key = self.value(node, (*keys, ""))
        if not isinstance(node, ScalarNode):
            self._refuse("a key is not a text", "write a name before the ': '", node, keys)
        elif not isinstance(key, str) or not key:
            self._refuse(f"the key {readable(node.value)!r} is not a text", "write a name", node, keys)
        else:
            return key
        return ""

    def _scalar(self, node: ScalarNode, keys: Keys) -> Any:
        text, plain = node.value, node.style is None
        value = _plain_value(text) if plain else text
        message = hint = ""
        if plain and text[:1] in tuple(_CURLY):
            message, hint = f"{text[0]} is no quote in YAML", 'type the straight one, "'
        elif isinstance(value, str) and any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value):
            message, hint, value = "holds a character that no text can hold", "leave it out", None
        elif isinstance(value, int) and abs(value) >= 2**63:
            message, hint = f"{readable(text)} is too large a number", "give a smaller one"
        if message:
            self._refuse(message, hint, node, keys)
        if message or node.ctag is not None:
            self.document.unknown.add(field_name(keys))
        return value

    def _location(self, node: Node) -> Location:
        return Location(self.document.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def _refuse(self, message: str, hint: str, node: Node, keys: Keys) -> None:
        field = field_name(tuple(key for key in keys if key != ""))
        at = self._location(node)
        self.document.problems.append(Problem(message, hint, field, at.file, at.line, at.column))


def _follows_comma(key: Node, previous: Node) -> bool:
    """Return whether a key of a mapping in braces is the rest of a number with a comma in it."""
    return (
        isinstance(key, ScalarNode)
        and isinstance(previous, ScalarNode)
        and key.style is None is previous.style
        and key.start_mark.index == previous.end_mark.index + 1
        and bool(comma_hint(f"{previous.value},{key.value}"))
    )


def _plain_value(text: str) -> Any:
    if text in _NAMED_VALUES:
        return _NAMED_VALUES[text]
    if _INT.fullmatch(text):
        # int() refuses thousands of digits; any number that is too large does in their place.
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text) if len(text) < 40 else 2**63
    return float(text) if _FLOAT.fullmatch(text) else text


def _syntax_problem(error: Exception, text: str, file: str) -> Problem:
    reason = " ".join(str(error).split())
    line = column = 1
    if isinstance(error, MarkedYAMLError):
        reason = f"{error.context or ''} {error.problem or ''}".strip()
        # For what is never closed, the place where it opens is the one to look at.
        unclosed = "end of stream" in reason or "<stream end>" in reason
        mark = (error.context_mark if unclosed else None) or error.problem_mark or error.context_mark
        if mark is not None:
            line, column = min(mark.line + 1, max(1, len(text.splitlines()))), mark.column + 1
    if isinstance(error, MaxDepthExceededError):
        message = f"is nested deeper than {DEEPEST} levels"
        return Problem(message, "a config has no such depth", "", file, line, column)
    slip = _slip(text, line)
    if slip is not None:
        return Problem(f"is not YAML: {slip[1]}", slip[2], "", file, slip[0], 1)
    known = ((message, hint) for pattern, message, hint in _SYNTAX if pattern in reason)
    message, hint = next(known, (readable(reason), "mend this line, or the one above it"))
    return Problem(f"is not YAML: {message}", hint, "", file, line, column)


def _slip(text: str, last: int) -> tuple[int, str, str] | None:
    """Return line, mistake and hint if the last line read, or the one above it, is not KEY: VALUE."""
    lines = text.splitlines()
    for number in (last - 1, last):
        line = lines[number - 1] if 1 <= number <= len(lines) else ""
        match = _NO_SPACE.fullmatch(line)
        if match is not None:
            hint = f"put a space after the colon: {match[1]}: {readable(match[2])}"
            return number, "a key and its value are one word", hint
        match = _NO_COLON.fullmatch(line)
        if match is not None and number < last:
            return number, f"no colon follows {readable(match[1])}", f"write {readable(match[1])}:"
    return None
