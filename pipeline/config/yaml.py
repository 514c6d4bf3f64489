"""YAML 1.2 as plain data, with the location of everything in it and all its mistakes at once.

It is read from the tree of nodes rather than by constructors: so a tag, an alias or a key given twice
is a mistake among others, with its location, instead of an exception that hides the rest.
"""

from __future__ import annotations

import math
import re
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
    ("but found another document", "a second document begins", "keep one, without ---"),
)  # fmt: skip


class _Composer(Composer):
    """Composes a tree in which an alias is a node too, and a tag stands only where it was written."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        node: Any
        event = self.parser.peek_event()
        if isinstance(event, AliasEvent):
            self.parser.get_event()
            node = ScalarNode(None, "", event.start_mark, event.end_mark, style="*", anchor=event.anchor)
        else:
            node = super().compose_node(parent, index)
            # An anchor given twice would be a warning.
            self.anchors.clear()
        node.ctag = getattr(event, "ctag", None)
        return node


def parse_yaml(text: str, file: str = "") -> Document:
    """Read a YAML 1.2 text.

    Refused, each with its location: tags, anchors and aliases, keys given twice, keys that are
    not texts, a second document, and what is not YAML.

    Parameters
    ----------
    text : str
        The YAML.
    file : str
        What it is called in the problems.
    """
    document = Document(file=file)
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer, yaml.max_depth = _Composer, DEEPEST + 1
    try:
        root = yaml.compose(text)
        document.data = None if root is None else _value(root, (), document)
    except (YAMLError, ValueError) as error:
        # ValueError: ruamel.yaml's own on some malformed escapes and directives.
        document.problems.append(_syntax_problem(error, text, file))
    return document


def _value(node: Any, keys: Keys, document: Document) -> Any:
    """Return a node as plain data; its location and its mistakes go into the document."""
    if keys and "" not in keys:
        document.locations.setdefault(field_name(keys), _location(node, document))
    if isinstance(node, ScalarNode) and node.style == "*":
        what = f"*{readable(node.anchor)} is an alias"
        _refuse(what, "write the value out; quote a text that begins with *", node, keys, document)
        document.unknown.add(field_name(keys))
        return None
    if node.anchor:
        what = f"&{readable(node.anchor)} is an anchor"
        _refuse(what, "leave it out; quote a text that begins with &", node, keys, document)
    if node.ctag is not None:
        what = f"{readable(node.tag).replace('tag:yaml.org,2002:', '!!')} is a tag"
        _refuse(what, "write the plain value; quote a text that begins with !", node, keys, document)
    if isinstance(node, MappingNode):
        return _mapping(node, keys, document)
    if isinstance(node, SequenceNode):
        return [_value(item, (*keys, index), document) for index, item in enumerate(node.value)]
    return _scalar(node, keys, document)


def _mapping(node: MappingNode, keys: Keys, document: Document) -> dict[str, Any]:
    data: dict[str, Any] = {}
    lines: dict[str, int] = {}
    before: tuple[Node, Keys] | None = None
    for key_node, value_node in node.value:
        if before is not None and _is_behind_comma(key_node, before[0]):
            _refuse_comma(key_node, *before, document)
            before = None
            continue
        key = _key(key_node, keys, document)
        inner = (*keys, key)
        if key in data:
            what = f"is given twice, first in line {lines[key]}"
            _refuse(what, "keep one of them", key_node, inner, document)
        elif key:
            document.locations.setdefault(field_name(inner), _location(key_node, document))
        # The value of a refused key is read too, for the mistakes in it.
        value = _value(value_node, inner, document)
        if key and key not in data:
            data[key], lines[key] = value, key_node.start_mark.line + 1
        before = value_node, inner
    return data


def _is_behind_comma(key: Node, before: Node) -> bool:
    """Return whether a key of a mapping in braces is the rest of a number with a comma in it."""
    return (
        isinstance(key, ScalarNode)
        and isinstance(before, ScalarNode)
        and key.style is None is before.style
        and key.start_mark.index == before.end_mark.index + 1
        and bool(comma_hint(f"{before.value},{key.value}"))
    )


def _refuse_comma(key: Node, number: Node, keys: Keys, document: Document) -> None:
    """Refuse what {radius: 12,5} makes: 12, and a key 5 without a value."""
    document.unknown.add(field_name(keys))
    text = f"{number.value},{key.value}"
    _refuse(f"{text} has a comma in its number", comma_hint(text), number, keys, document)


def _key(node: Node, keys: Keys, document: Document) -> str:
    key = _value(node, (*keys, ""), document)
    if not isinstance(node, ScalarNode):
        _refuse("a key is not a text", "write a name before the ': '", node, keys, document)
    elif not isinstance(key, str) or not key:
        _refuse(f"the key {readable(node.value)!r} is not a text", "write a name", node, keys, document)
    else:
        return key
    return ""


def _scalar(node: ScalarNode, keys: Keys, document: Document) -> Any:
    text, plain = node.value, node.style is None
    value = _plain_value(text) if plain else text
    what = hint = ""
    if plain and text[:1] in tuple(_CURLY):
        what, hint = f"{text[0]} is no quote in YAML", 'type the straight one, "'
    elif isinstance(value, str) and any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value):
        what, hint, value = "holds a character that no text can hold", "leave it out", None
    elif isinstance(value, int) and abs(value) >= 2**63:
        what, hint = f"{readable(text)} is too large a number", "give a smaller one"
    if what:
        _refuse(what, hint, node, keys, document)
    if what or node.ctag is not None:
        document.unknown.add(field_name(keys))
    return value


def _plain_value(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        # Python refuses to convert some thousands of digits; any number too large does in their place.
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text) if len(text) < 40 else 2**63
    return float(text) if _FLOAT.fullmatch(text) else text


def _location(node: Node, document: Document) -> Location:
    return Location(document.file, node.start_mark.line + 1, node.start_mark.column + 1)


def _refuse(what: str, hint: str, node: Node, keys: Keys, document: Document) -> None:
    name = field_name(tuple(key for key in keys if key != ""))
    location = _location(node, document)
    document.problems.append(Problem(what, hint, name, location.file, location.line, location.column))


def _syntax_problem(error: Exception, text: str, file: str) -> Problem:
    said = " ".join(str(error).split())
    line = column = 1
    if isinstance(error, MarkedYAMLError):
        said = f"{error.context or ''} {error.problem or ''}".strip()
        # Of what is never closed, the place where it opens is the one to look at.
        opened = "end of stream" in said or "<stream end>" in said
        place = (error.context_mark if opened else None) or error.problem_mark or error.context_mark
        if place is not None:
            line, column = min(place.line + 1, max(1, len(text.splitlines()))), place.column + 1
    if isinstance(error, MaxDepthExceededError):
        what = f"is nested deeper than {DEEPEST} levels"
        return Problem(what, "a config has no such depth", "", file, line, column)
    slip = _slip(text, line)
    if slip is not None:
        return Problem(f"is not YAML: {slip[1]}", slip[2], "", file, slip[0], 1)
    known = ((what, hint) for pattern, what, hint in _SYNTAX if pattern in said)
    what, hint = next(known, (readable(said), "mend this line, or the one above it"))
    return Problem(f"is not YAML: {what}", hint, "", file, line, column)


def _slip(text: str, last: int) -> tuple[int, str, str] | None:
    """Return line, mistake and hint where a line, or the one above it, is no KEY: VALUE."""
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
