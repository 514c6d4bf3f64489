"""Which data, which code, when: the rows of the report's last section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.model.text import size_text
from pipeline.reporting.report_data import Material

_FILES = 5
_LONGEST = 300


def identity_rows(material: Material) -> list[tuple[str, str]]:
    """Return where the pixels came from and when they were made."""
    rows = [
        ("fingerprint", str(material.provenance.get("fingerprint", ""))),
        ("started", str(material.provenance.get("started", ""))),
        ("finished", str(material.provenance.get("finished", ""))),
    ]
    for key, value in material.part("input").items():
        rows += [("input " + str(key).replace("_", " "), text) for text in _texts(key, value)]
    return [(name, text) for name, text in rows if text]


def _texts(key: str, value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [_cut(", ".join(f"{name} {_short(inner)}" for name, inner in value.items()))]
    if isinstance(value, list | tuple):
        few = ", ".join(_short(inner) for inner in value[:_FILES])
        more = f", … {len(value)} in all" if len(value) > _FILES else ""
        return [_cut(few) + more]
    return [_cut(_short(value, key))]


def _short(value: Any, key: str = "") -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} {_short(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return (
            "["
            + ", ".join(_short(inner) for inner in value[:_FILES])
            + (", …" if len(value) > _FILES else "")
            + "]"
        )
    if key in ("size", "bytes", "nbytes") and isinstance(value, int):
        return f"{value} ({size_text(value)})"
    return "" if value is None else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def version_rows(material: Material) -> list[tuple[str, str]]:
    """Return the versions of the code that decides pixels."""
    return [(str(name), str(version)) for name, version in material.part("versions").items()]
