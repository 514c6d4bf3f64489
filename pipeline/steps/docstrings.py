"""Parameters of numpydoc docstrings: read them, and inherit those of base classes."""

from __future__ import annotations

import inspect
import re

_PARAMETERS = re.compile(r"^Parameters\n-{3,}\n(.*?)\n*(?=^\S[^\n]*\n-{3,}$|\Z)", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^\S[^\n]*\n-{3,}$", re.MULTILINE)


def described_parameters(doc: str) -> list[tuple[tuple[str, ...], str]]:
    r"""Split the Parameters section of a docstring into paragraphs, each with the names that it describes.

    >>> described_parameters("What it does.\n\nParameters\n----------\ny, x : int\n    In px.\n")
    [(('y', 'x'), 'y, x : int\n    In px.')]
    """
    section = _PARAMETERS.search(doc)
    paragraphs = re.split(r"\n+(?=\S)", section[1].rstrip()) if section and section[1].strip() else []
    return [
        (tuple(name.strip() for name in paragraph.partition(" : ")[0].split(",")), paragraph)
        for paragraph in paragraphs
    ]


def with_inherited_parameters(doc: str, bases: tuple[type, ...]) -> str:
    """Add the parameters that base classes describe to a class's docstring, after its own."""
    doc = inspect.cleandoc(doc)
    own = described_parameters(doc)
    own_names = {name for names, _ in own for name in names}
    inherited = [
        paragraph
        for base in bases
        for names, paragraph in described_parameters(inspect.getdoc(base) or "")
        if not own_names.intersection(names)
    ]
    if not inherited:
        return doc
    paragraphs = [*(paragraph for _, paragraph in own), *inherited]
    section = "\n".join(["Parameters", "----------", *paragraphs])
    if own:
        return _PARAMETERS.sub(lambda _: f"{section}\n\n", doc).strip()
    heading = _HEADING.search(doc)
    end = heading.start() if heading else len(doc)
    return f"{doc[:end].rstrip()}\n\n{section}\n\n{doc[end:]}".strip()
