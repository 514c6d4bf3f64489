"""The report of a run: one HTML file that needs no network and no script."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined, Template
from numpy.typing import NDArray
from ruamel.yaml import YAML

from pipeline.explore.crop import View
from pipeline.explore.scales import finite, histogram_span, limits
from pipeline.model.text import MB, duration, shape_text, value_text
from pipeline.planning.describe import channels_text, image_text
from pipeline.reporting.curves import histogram, minus
from pipeline.reporting.drawing import cutting
from pipeline.reporting.frames import seconds_of
from pipeline.reporting.methods import lengths_of, methods, references
from pipeline.reporting.over_time import over_time
from pipeline.reporting.performance import performance, seconds_text
from pipeline.reporting.pictures import Shown, bounds_of, gather_planes, picture
from pipeline.reporting.provenance import identity_rows, version_rows
from pipeline.reporting.report_data import Material
from pipeline.write.metadata import BGONE


def render(material: Material) -> bytes:
    """Return the report as HTML.

    Parameters
    ----------
    material : Material
        Of the run.
    """
    shown, note = gather_planes(material)
    return (
        _template()
        .render(
            title=_title(material),
            facts=_facts(material),
            sentence=_sentence(material),
            channels=[_channel(material, planes) for planes in shown],
            note=note,
            curves=over_time(material),
            clipping=_clipping(material),
            steps=_steps(material),
            cut=cutting(material.part("plan")),
            performance=performance(material.part("summary")),
            methods=methods(material),
            references=references(material.steps),
            config=_yaml(material.part("config")),
            identity=identity_rows(material),
            versions=version_rows(material),
        )
        .encode()
    )


@cache
def _template() -> Template:
    source = files("pipeline.reporting").joinpath("template.html").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source)


def _title(material: Material) -> str:
    path = str(material.part("plan").get("output") or material.part("summary").get("output") or "")
    return path.rstrip("/").rpartition("/")[2] or BGONE


def _sentence(material: Material) -> str:
    finished = str(material.provenance.get("finished", "")).replace("T", " ").replace("+00:00", " UTC")
    version = material.part("versions").get("bgone", "")
    return f"Written by bgone {version}, finished {finished}"


def _facts(material: Material) -> list[tuple[str, str]]:
    summary, plan = material.part("summary"), material.part("plan")
    clipped, pixels = summary.get("clipped", 0), summary.get("pixels", 0)
    facts = [
        ("input", str(material.part("input").get("path", ""))),
        ("", image_text(material.image)),
        ("output", str(plan.get("output", ""))),
        ("", f"{material.dtype.name}, chunks {shape_text(plan.get('output_chunks', {}))}, {_levels(plan)}"),
        ("background", str(material.part("config").get("output", {}).get("background") or "")),
        ("missing", str(summary.get("missing") or "")),
        ("steps", " → ".join(step.name for step in material.steps) or "computed in Python"),
        ("clipped", _share(clipped, pixels) if clipped else "no pixel"),
    ]
    if summary.get("seconds"):
        speed = summary.get("bytes_in", 0) / MB / summary["seconds"]
        facts.append(
            ("took", f"{seconds_text(summary['seconds'])}, {speed:.0f} MB/s on {summary.get('where', '')}")
        )
    if summary.get("windows_resumed"):
        facts.append(
            (
                "resumed",
                f"{summary['windows_resumed']} of {summary['windows']} windows were done by an earlier start",
            )
        )
    return facts


def _levels(plan: Mapping[str, Any]) -> str:
    count = len(plan.get("levels", ()))
    return f"{count} levels" if count != 1 else "one level"


def _share(count: int, of: int) -> str:
    words = f"{count:,} pixels".replace(",", "\u202f")
    return f"{words}, {100 * count / of:.2g} % of all" if of else words


def _channel(material: Material, planes: list[Shown]) -> dict[str, Any]:
    channel = planes[0].view.channel
    kind = material.background(channel)
    names = _columns(material, channel)
    # Before and background share black and white, so that what was taken is seen to be gone.
    shared = bounds_of([image for plane in planes for image in (plane.before, plane.taken)])
    result = bounds_of([plane.after for plane in planes])
    rows = []
    for plane in planes:
        cells = [(plane.before, shared), (plane.taken, shared), (plane.after, result)]
        drawn = [
            picture(pixels, bounds, plane.view, f"{name}, {plane.view.where()}")
            for (pixels, bounds), name in zip(cells, names, strict=True)
            if pixels is not None
        ]
        rows.append({"where": _where(material, plane), "pictures": drawn})
    heads = [
        {"name": name, "bounds": minus(f"{value_text(low)} … {value_text(high)}")}
        for name, (low, high) in zip(names, (shared, shared, result), strict=True)
    ]
    return {
        "name": material.channel_name(channel),
        "untouched": material.untouched(channel) and bool(material.steps),
        "alone": planes[0].before is None,
        "heads": heads,
        "rows": rows,
        "overview": _overview(planes, result),
        "histograms": _histograms(planes, shared, result, "background" if kind else "taken off"),
    }


def _overview(planes: list[Shown], bounds: tuple[float, float]) -> dict[str, Any] | None:
    """Return the whole plane of which the pictures show the middle, where there is a level small enough."""
    found = next((plane for plane in planes if plane.overview is not None), None)
    if found is None or found.overview is None:
        return None
    spec, region = found.view.spec, found.view.region
    whole = View((*region[:-2], *(slice(0, size) for size in spec.shape[-2:])), spec)
    drawn = picture(found.overview, bounds, whole, f"The whole plane after, {found.view.where()}", region)
    return {"where": found.view.where(), "drawn": drawn}


def _columns(material: Material, channel: int) -> tuple[str, str, str]:
    kind = material.background(channel)
    sign = "+" if kind == "input plus result" else "−"
    added = f" (with {material.offset:g} added)" if material.offset else ""
    return "before", f"{'background' if kind else 'taken off'} = before {sign} after", f"after{added}"


def _where(material: Material, shown: Shown) -> str:
    words = [f"{axis} {index}" for axis, index in shown.view.at.items() if axis != "c"]
    seconds = seconds_of(material.image)
    if seconds is not None:
        words.insert(1, duration(float(seconds[shown.view.at["t"]])))
    return " · ".join(words)


def _histograms(
    planes: list[Shown], shared: tuple[float, float], result: tuple[float, float], taken: str
) -> list[dict[str, Any]]:
    def pooled(name: str) -> NDArray:
        return finite(np.concatenate([plane.samples[name] for plane in planes]))

    found = []
    if planes[0].before is not None:
        before, off = pooled("before"), pooled("taken")
        both = np.concatenate([before, off])
        drawn = histogram(
            [("input", before), ("background", off)],
            histogram_span(both, limits(both)),
            f"Histogram of before and {taken}",
        )
        found.append({"keys": [("input", "before"), ("background", taken)], "drawn": drawn})
    after = pooled("after")
    drawn = histogram([("signal", after)], histogram_span(after, limits(after)), "Histogram of after")
    found.append({"keys": [("signal", "after")], "drawn": drawn})
    return found


def _clipping(material: Material) -> list[str]:
    summary, plan, frames = material.part("summary"), material.part("plan"), material.frames
    if plan.get("overflow") == "fits":
        return [f"Nothing can overflow: {material.dtype.name} holds every value that these steps can give."]
    clipped, pixels = summary.get("clipped", 0), summary.get("pixels", 0)
    if not clipped:
        return [f"No pixel was clipped: all values are within {material.dtype.name}."]
    words = [f"{_share(clipped, pixels)}, were outside {material.dtype.name} and clipped to its ends."]
    if frames is not None and np.isfinite(frames.clipped).any():
        at = np.unravel_index(int(np.nanargmax(frames.clipped)), frames.shape)
        where = ", ".join(f"{axis} {index}" for axis, index in zip(frames.axes, at, strict=True))
        if where:
            words.append(f"The most in one plane: {frames.clipped[at]:.0f}, at {where}.")
    return words


def _steps(material: Material) -> list[dict[str, str]]:
    spec = material.image
    rows = []
    for step in material.steps:
        kind = {
            "input minus result": "input − result", "input plus result": "input + result", None: "none",
        }[step.background]  # fmt: skip
        chosen = (
            spec.with_(channels=tuple(spec.channels[int(index)] for index in step.channels))
            if (step.channels and spec.channels)
            else None
        )
        on = (
            "all"
            if step.channels is None
            else (channels_text(chosen) if chosen else ", ".join(map(str, step.channels)))
        )
        rows.append({
            "name": step.name, "lengths": lengths_of(step, spec), "along": step.along, "channels": on,
            "halo": shape_text(step.halo()), "background": kind,
        })  # fmt: skip
    return rows


def _yaml(config: Mapping[str, Any]) -> str:
    """Return the config as it can be run again: what was not said is left out."""
    plain = {
        name: {key: value for key, value in part.items() if value is not None}
        if isinstance(part, Mapping)
        else part
        for name, part in config.items()
    }
    stream = io.StringIO()
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.dump(plain, stream)
    return stream.getvalue()
