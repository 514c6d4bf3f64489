"""Performance section of the report: time, bytes and memory of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from pipeline.model.text import MB, duration, size_text
from pipeline.model.timing import KINDS

_SIZES = {
    "bytes": {"bytes_in": "read", "bytes_out": "written", "bytes_stored": "stored"},
    "memory": {
        "memory_peak_bytes": "at its peak",
        "memory_predicted_bytes": "predicted",
        "memory_budget_bytes": "allowed",
    },
}
_COLORS = 8  # CSS classes part0, part1, … of the template


def performance_section(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `parts` of the time, drawn as a bar, and `rows` of text."""
    # `performance` has seconds and shares by kind of work; anything else becomes a row.
    details = dict(summary.get("performance") or {})
    parts = _parts(details.pop("seconds", {}), details.pop("shares", {}))
    others = [(str(key).replace("_", " "), _plain(value)) for key, value in details.items()]
    return {"parts": parts, "rows": [*_rows(summary), *others]}


def _parts(seconds: Mapping[str, float], shares: Mapping[str, float]) -> list[dict[str, Any]]:
    total = sum(seconds.values())
    parts = []
    for number, name in enumerate(dict.fromkeys([*seconds, *shares])):
        share = shares.get(name, seconds.get(name, 0.0) / total if total else 0.0)
        part = {
            "name": KINDS.get(name, name.replace("_", " ")),
            "kind": f"part{number % _COLORS}",
            "share": max(share, 0.0),
            "percent": f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else "<1 %",
            "seconds": seconds_text(seconds[name]) if name in seconds else "",
        }
        parts.append(part)
    return parts


def seconds_text(value: float) -> str:
    """Format a duration, below a minute with fractions of a second.

    >>> seconds_text(2.5), seconds_text(75)
    ('2.5 s', '1 min 15 s')
    """
    return duration(value) if value >= 60 else f"{value:.3g} s"


def _rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    figures = defaultdict(int, summary)
    seconds, resumed = figures["seconds"], figures["windows_resumed"]
    speed = f", {figures['bytes_in'] / MB / seconds:.0f} MB/s of the input" if seconds else ""
    start = f"; {seconds_text(figures['startup_seconds'])} of start-up before it"
    earlier = f", {resumed} of them done by an earlier start" if resumed else ""
    rows = [
        ("time", f"{seconds_text(seconds)}{speed}{start}"),
        ("where", str(summary.get("where", ""))),
        ("windows", f"{figures['windows']}{earlier}"),
    ]
    for kind, words in _SIZES.items():
        rows.append((kind, ", ".join(f"{size_text(figures[name])} {word}" for name, word in words.items())))
    return rows


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
