"""What a run spent its time and memory on, for the report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from pipeline.model.text import MB, duration, size_text
from pipeline.model.timing import KINDS
from pipeline.reporting import svg

_WIDTH, _HEIGHT = 940.0, 26.0
_SIZES = {
    "bytes": {"in": "read", "out": "written", "stored": "stored"},
    "memory": {"peak_bytes": "at its peak", "predicted_bytes": "predicted", "budget_bytes": "allowed"},
}
_COLORS = 8
"""Classes of the page's style for the parts of a bar."""


def performance(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page says of a run's speed and memory.

    Parameters
    ----------
    summary : mapping
        Of `Summary.as_dict`. Its `performance`, where there is one, has `seconds` and `shares`,
        each by kind of work, and whatever else there is to say.
    """
    details = summary.get("performance")
    details = dict(details) if isinstance(details, Mapping) else {}
    seconds, shares = _numbers(details.pop("seconds", {})), _numbers(details.pop("shares", {}))
    parts = _parts(seconds, shares)
    return {"bar": _bar(parts), "parts": parts, "rows": [*_rows(summary), *_others(details)]}


def _numbers(found: Any) -> dict[str, float]:
    if not isinstance(found, Mapping):
        return {}
    return {
        str(key): float(value)
        for key, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _parts(seconds: Mapping[str, float], shares: Mapping[str, float]) -> list[dict[str, Any]]:
    total = sum(seconds.values())
    found = []
    for place, name in enumerate(dict.fromkeys([*seconds, *shares])):
        share = shares.get(name, seconds.get(name, 0.0) / total if total else 0.0)
        found.append({
            "name": KINDS.get(name, name.replace("_", " ")), "kind": f"part{place % _COLORS}",
            "share": max(share, 0.0),
            "percent": f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else "<1 %",
            "seconds": seconds_text(seconds[name]) if name in seconds else "",
        })  # fmt: skip
    return found


def seconds_text(value: float) -> str:
    """Return a duration for a reader: short ones with a fraction."""
    return duration(value) if value >= 60 else f"{value:.3g} s"


def _bar(parts: list[dict[str, Any]]) -> Markup:
    whole = sum(part["share"] for part in parts)
    if not whole:
        return Markup("")
    drawn, at = [], 0.0
    for part in parts:
        width = part["share"] / whole * _WIDTH
        drawn.append(svg.rect(part["kind"], at, 0, width, _HEIGHT, f"{part['name']} {part['percent']}"))
        at += width
    return svg.image("bars", _WIDTH, _HEIGHT, "What the time was spent on", drawn, stretched=True)


def _rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = defaultdict(int, summary)
    seconds, windows, resumed = found["seconds"], found["windows"], found["windows_resumed"]
    speed = f", {found['bytes_in'] / MB / seconds:.0f} MB/s of the input" if seconds else ""
    sizes = {
        kind: [f"{size_text(found[f'{kind}_{name}'])} {word}" for name, word in names.items()]
        for kind, names in _SIZES.items()
    }
    rows = [
        (
            "time",
            f"{seconds_text(seconds)}{speed}; {seconds_text(found['startup_seconds'])} of start-up before it",
        ),
        ("where", str(summary.get("where", ""))),
        ("windows", f"{windows}{f', {resumed} of them done by an earlier start' if resumed else ''}"),
        ("bytes", ", ".join(sizes["bytes"])),
        ("memory", ", ".join(sizes["memory"])),
    ]
    return [(name, text) for name, text in rows if text]


def _others(details: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return whatever else a run says of its speed, a row each."""
    rows = []
    for key, value in details.items():
        if isinstance(value, Mapping):
            text = ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items())
        elif isinstance(value, list | tuple):
            text = ", ".join(map(_plain, value))
        else:
            text = _plain(value)
        rows.append((str(key).replace("_", " "), text))
    return rows


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
