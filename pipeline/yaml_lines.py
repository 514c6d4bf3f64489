"""YAML as plain data, with the line and column of everything in it, and all its mistakes at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.tokens import AliasToken, AnchorToken, TagToken

from pipeline.errors import Problem

Path = tuple[str | int, ...]


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
        Plain dicts, lists, texts and numbers.
    marks : dict of tuple to Mark
        Where each value stands, by its path; a key of a mapping stands where its name does.
    problems : list of Problem
        What is wrong with it as YAML.
    """

    data: Any = None
    marks: dict[Path, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def dotted(path: Path) -> str:
    """Return a path as the user writes it.

    >>> dotted(("steps", 0, "radius"))
    'steps.0.radius'
    """
    return ".".join(map(str, path))


def parse_yaml(text: str, file: str = "") -> Document:
    """Read a YAML 1.2 text.

    Refused, each with its place: tags, anchors and aliases, keys given twice, keys that are
    not texts, and what is not YAML.
    """
    document = Document()
    yaml = YAML(typ="rt", pure=True)
    try:
        for token in yaml.scan(text):
            _refuse_token(token, document, file)
        root = YAML(typ="rt", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)
        said = str(error.problem or error.context or "not YAML").replace("\n", " ")
        document.problems.append(
            _problem(f"is not YAML: {said}", "mend the line, or the one above it", file, place)
        )
        return document
    except YAMLError as error:
        said = " ".join(str(error).split())
        document.problems.append(
            _problem(f"is not YAML: {said}", "save it as plain UTF-8 text", file, Mark(1, 1))
        )
        return document
    if root is not None:
        document.data = _build(root, (), document, file)
    return document


def _problem(what: str, mend: str, file: str, mark: Mark, path: Path = ()) -> Problem:
    return Problem(what, mend, dotted(path), file, mark.line, mark.column)


def _refuse_token(token: Any, document: Document, file: str) -> None:
    reasons = {
        TagToken: ("a tag (!) is not taken", "write the plain value"),
        AnchorToken: ("an anchor (&) is not taken", "write the value where it is used"),
        AliasToken: ("an alias (*) is not taken", "write the value out; quote a text that begins with *"),
    }
    for kind, (what, mend) in reasons.items():
        if isinstance(token, kind):
            mark = Mark(token.start_mark.line + 1, token.start_mark.column + 1)
            document.problems.append(_problem(what, mend, file, mark))


def _mark(node: Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)


def _build(node: Node, path: Path, document: Document, file: str) -> Any:
    document.marks.setdefault(path, _mark(node))
    if isinstance(node, MappingNode):
        return _mapping(node, path, document, file)
    if isinstance(node, SequenceNode):
        return [_build(item, (*path, index), document, file) for index, item in enumerate(node.value)]
    return _scalar(node)


def _mapping(node: MappingNode, path: Path, document: Document, file: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        mark = _mark(key_node)
        if not isinstance(key_node, ScalarNode):
            document.problems.append(_problem("a key must be a name", "write a name", file, mark, path))
            continue
        key = str(key_node.value)
        if key in found:
            first = document.marks[(*path, key)].line
            what = f"{key!r} is given twice, first in line {first}"
            document.problems.append(_problem(what, "keep one of them", file, mark, (*path, key)))
            continue
        document.marks[(*path, key)] = mark
        found[key] = _build(value_node, (*path, key), document, file)
    return found


def _scalar(node: ScalarNode) -> Any:
    tag, text = str(node.tag).rpartition(":")[2], node.value
    if tag == "null":
        return None
    if tag == "bool":
        return text.lower() == "true"
    if tag == "int":
        return _int(text)
    if tag == "float":
        return _float(text)
    return text


def _int(text: str) -> int:
    plain = text.replace("_", "").lower()
    sign = -1 if plain.startswith("-") else 1
    digits = plain.lstrip("+-")
    for prefix, base in (("0x", 16), ("0o", 8), ("0b", 2)):
        if digits.startswith(prefix):
            return sign * int(digits[2:], base)
    return sign * int(digits)


def _float(text: str) -> float:
    plain = text.replace("_", "").lower()
    if plain.lstrip("+-") == ".inf":
        return -math.inf if plain.startswith("-") else math.inf
    return math.nan if plain == ".nan" else float(plain)
