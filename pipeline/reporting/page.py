"""The report of a run: one HTML file that needs no network and no script."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined, Template
from numpy.typing import NDArray

from pipeline.config.load import config_yaml
from pipeline.explore.crop import View
from pipeline.explore.scales import finite, histogram_span, limits
from pipeline.model.image import ImageSpec
from pipeline.model.text import duration, shape_text, size_text, value_text
from pipeline.planning.describe import channels_text, image_text
from pipeline.reporting.charts import change_text, curve, histogram_chart, minus
from pipeline.reporting.cutting import cutting
from pipeline.reporting.frames import seconds_of
from pipeline.reporting.methods import lengths_of, methods, references
from pipeline.reporting.performance import performance_section, seconds_text
from pipeline.reporting.pictures import Shown, bounds_of, gather_planes, picture
from pipeline.reporting.report_data import ReportData
from pipeline.steps.step import Step
from pipeline.write.metadata import BGONE

# Provenance rows: items of a list, and letters, that are shown.
_FILES = 5
_LONGEST = 300


def render(data: ReportData) -> bytes:
    """Render the report as HTML."""
    shown, note = gather_planes(data)
    plan, summary = data.section("plan"), data.section("summary")
    path = str(plan.get("output") or summary.get("output") or "")
    page = _template().render(
        title=path.rstrip("/").rpartition("/")[2] or BGONE,
        data=data,
        plan=plan,
        summary=summary,
        image=image_text(data.image),
        finished=str(data.provenance.get("finished", "")).replace("T", " ").replace("+00:00", " UTC"),
        channels=[_channel(data, planes) for planes in shown],
        note=note,
        curves=_over_time(data),
        clipped=_share(summary),
        clipping=_clipping(data),
        steps=[_step(step, data.image) for step in data.steps],
        cut=cutting(plan),
        performance=performance_section(summary),
        methods=methods(data),
        references=references(data.steps),
        config=config_yaml(data.section("config")),
        identity=identity_rows(data.provenance, data.section("input")),
        versions=data.section("versions"),
    )
    return page.encode()


@cache
def _template() -> Template:
    source = files("pipeline.reporting").joinpath("template.html").read_text(encoding="utf-8")
    # Names of files and channels come from outside: everything is escaped.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"shape": shape_text, "seconds": seconds_text}
    return environment.from_string(source)


def _share(summary: Mapping[str, Any]) -> str:
    """Return the number and share of clipped pixels; empty for none."""
    clipped, pixels = summary.get("clipped", 0), summary.get("pixels", 0)
    if not clipped:
        return ""
    words = f"{clipped:,} pixels".replace(",", "\u202f")
    return f"{words}, {100 * clipped / pixels:.2g} % of all" if pixels else words


def _channel(data: ReportData, planes: list[Shown]) -> dict[str, Any]:
    """Return the pictures, overview and histograms of one channel."""
    channel = planes[0].view.channel
    kind = data.background(channel)
    removed, sign = "background" if kind else "taken off", "+" if kind == "input plus result" else "−"
    added = f" (with {data.offset:g} added)" if data.offset else ""
    names = ("before", f"{removed} = before {sign} after", f"after{added}")
    # Before and background share black and white, so their brightness can be compared.
    shared = bounds_of([pixels for plane in planes for pixels in (plane.before, plane.removed)])
    bounds = (shared, shared, bounds_of([plane.after for plane in planes]))
    rows = []
    for plane in planes:
        columns = zip((plane.before, plane.removed, plane.after), bounds, names, strict=True)
        pictures = [
            picture(pixels, ends, plane.view, f"{name}, {plane.view.where()}")
            for pixels, ends, name in columns
            if pixels is not None
        ]
        rows.append({"where": _where(data.image, plane.view), "pictures": pictures})
    heads = [
        {"name": name, "bounds": minus(f"{value_text(low)} … {value_text(high)}")}
        for name, (low, high) in zip(names, bounds, strict=True)
    ]
    return {
        "name": data.channel_name(channel),
        "untouched": data.untouched(channel),
        "alone": planes[0].before is None,
        "heads": heads,
        "rows": rows,
        "overview": _overview(planes, bounds[2]),
        "histograms": _histograms(planes, removed),
    }


def _overview(planes: list[Shown], bounds: tuple[float, float]) -> dict[str, Any] | None:
    """Draw the first whole plane kept of a channel whose pictures show a crop."""
    for plane in planes:
        if plane.overview is not None:
            spec, region, where = plane.view.spec, plane.view.region, plane.view.where()
            whole = View((*region[:-2], *(slice(0, size) for size in spec.shape[-2:])), spec)
            drawn = picture(plane.overview, bounds, whole, f"The whole plane after, {where}", region)
            return {"where": where, "drawn": drawn}
    return None


def _where(spec: ImageSpec, view: View) -> str:
    words = [f"{axis} {index}" for axis, index in view.at.items() if axis != "c"]
    seconds = seconds_of(spec)
    if seconds is not None:
        words.insert(1, duration(float(seconds[view.at["t"]])))
    return " · ".join(words)


def _histograms(planes: list[Shown], removed: str) -> list[dict[str, Any]]:
    def pooled(name: str) -> NDArray:
        return finite(np.concatenate([plane.samples[name] for plane in planes]))

    def chart(title: str, *series: tuple[str, str, NDArray]) -> dict[str, Any]:
        values = np.concatenate([pixels for _, _, pixels in series])
        drawn = histogram_chart(
            [(kind, pixels) for kind, _, pixels in series], histogram_span(values, limits(values)), title
        )
        return {"keys": [(kind, name) for kind, name, _ in series], "drawn": drawn}

    charts = [chart("Histogram of after", ("signal", "after", pooled("after")))]
    if planes[0].before is not None:
        both = ("input", "before", pooled("before")), ("background", removed, pooled("removed"))
        charts.insert(0, chart(f"Histogram of before and {removed}", *both))
    return charts


def _over_time(data: ReportData) -> dict[str, Any] | None:
    """Draw the curves of each channel over time, or over the depth of a single stack; None for one plane."""
    frames = data.frames
    if frames is None or not frames.along:
        return None
    axis, unit = frames.along, "frame" if frames.along == "t" else "plane"
    label, seconds = unit, seconds_of(data.image)
    if axis == "t" and seconds is not None and len(seconds) > 1:
        label = f"frame (one every {_interval(float(seconds[1] - seconds[0]))})"
    channels = []
    for channel in range(data.image.sizes.get("c", 1)):
        level = frames.curve("mean_background", channel)
        charts = [("background", "background, mean of each frame", level)]
        if not np.isfinite(level).any():
            # Chains with a smoothing have no background: show the level of the input instead.
            charts = [("input", "input, mean of each frame", frames.curve("mean_input", channel))]
        # The mean of a result around 0 is 0 whatever the signal; its spread is not.
        around_zero = np.nanmin(frames.curve("min_result", channel)) < 0
        figure, words = ("std", "standard deviation") if around_zero else ("mean", "mean")
        charts.append(("signal", f"signal, {words} of the result", frames.curve(f"{figure}_result", channel)))
        clipped = frames.counts(channel)
        if np.nansum(clipped) > 0:
            charts.append(("clipped", "pixels clipped", clipped))
        drawn = [
            {"name": name, "drawn": curve(values, label, name, kind), "words": change_text(values, unit)}
            for kind, name, values in charts
        ]
        charts_drawn = [chart for chart in drawn if chart["drawn"]]
        channels.append({"name": data.channel_name(channel), "charts": charts_drawn})
    over = "time" if axis == "t" else "depth"
    return {"over": over, "channels": channels, "stack": "z" in frames.axes and axis == "t"}


def _interval(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.4g} {unit}"
    return f"{seconds:.4g} s"


def _clipping(data: ReportData) -> list[str]:
    frames, dtype, share = data.frames, data.dtype.name, _share(data.section("summary"))
    if data.section("plan").get("overflow") == "fits":
        return [f"Nothing can overflow: {dtype} holds every value that these steps can give."]
    if not share:
        return [f"No pixel was clipped: all values are within {dtype}."]
    words = [f"{share}, were outside {dtype} and clipped to its ends."]
    if frames is not None and frames.axes and np.isfinite(frames.clipped).any():
        most = np.unravel_index(int(np.nanargmax(frames.clipped)), frames.shape)
        where = ", ".join(f"{axis} {index}" for axis, index in zip(frames.axes, most, strict=True))
        words.append(f"The most in one plane: {frames.clipped[most]:.0f}, at {where}.")
    return words


def _step(step: Step, spec: ImageSpec) -> dict[str, str]:
    channels = "all"
    if step.channels is not None:
        channels = ", ".join(map(str, step.channels))
        if step.channels and spec.channels:
            chosen = tuple(spec.channels[int(index)] for index in step.channels)
            channels = channels_text(spec.with_(channels=chosen))
    background = (step.background or "none").replace("minus", "−").replace("plus", "+")
    return {
        "name": step.name,
        "lengths": lengths_of(step, spec),
        "along": step.along,
        "channels": channels,
        "halo": shape_text(step.halo()),
        "background": background,
    }


def identity_rows(provenance: Mapping[str, Any], source: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the times of the run and the identity of its input, as (name, text) rows."""
    rows = [(name, str(provenance.get(name, ""))) for name in ("fingerprint", "started", "finished")]
    for key, value in source.items():
        text, more = _short(value, key), ""
        if isinstance(value, Mapping):
            text = text[1:-1]
        elif isinstance(value, list | tuple):
            text = ", ".join(_short(item) for item in value[:_FILES])
            more = f", … {len(value)} in all" if len(value) > _FILES else ""
        text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
        rows.append((f"input {str(key).replace('_', ' ')}", text + more))
    return [(name, text) for name, text in rows if text]


def _short(value: Any, key: str = "") -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} {_short(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        more = ", …" if len(value) > _FILES else ""
        return f"[{', '.join(_short(inner) for inner in value[:_FILES])}{more}]"
    if key in ("size", "bytes", "nbytes") and isinstance(value, int):
        return f"{value} ({size_text(value)})"
    return "" if value is None else str(value)
