"""Background and signal over time, or over the depth of a single stack: a curve for each channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.reporting.curves import change_text, curve
from pipeline.reporting.frames import seconds_of
from pipeline.reporting.report_data import Material


def over_time(material: Material) -> dict[str, Any] | None:
    """Return the curves of each channel; None where there is one plane, or no figures are kept.

    Where a channel's steps leave no background, the level of the input stands in its place.
    """
    frames = material.frames
    if frames is None or not frames.along:
        return None
    axis = frames.along
    label = _axis_label(material, axis)
    channels = []
    for channel in range(material.image.sizes.get("c", 1)):
        charts = []
        level = frames.curve("mean_background", channel)
        if np.isfinite(level).any():
            charts.append(("background", "background, mean of each frame", level))
        else:
            charts.append(("input", "input, mean of each frame", frames.curve("mean_input", channel)))
        # What lies around 0 has a mean of 0, whatever there is to see.
        least = frames.curve("min_result", channel)
        figure, words = ("std", "standard deviation") if np.nanmin(least) < 0 else ("mean", "mean")
        charts.append(("signal", f"signal, {words} of the result", frames.curve(f"{figure}_result", channel)))
        clipped = frames.counts(channel)
        if np.nansum(clipped) > 0:
            charts.append(("clipped", "pixels clipped", clipped))
        drawn = [
            {"kind": kind, "name": name, "drawn": curve(values, label, name, kind),
             "words": change_text(values, "frame" if axis == "t" else "plane")}
            for kind, name, values in charts
        ]  # fmt: skip
        channels.append({
            "name": material.channel_name(channel),
            "charts": [chart for chart in drawn if chart["drawn"]],
        })  # fmt: skip
    over = "time" if axis == "t" else "depth"
    return {"over": over, "channels": channels, "stack": "z" in frames.axes and axis == "t"}


def _axis_label(material: Material, axis: str) -> str:
    spec = material.image
    if axis == "t" and (seconds := seconds_of(spec)) is not None and len(seconds) > 1:
        return f"frame (one every {_precise(float(seconds[1] - seconds[0]))})"
    return "frame" if axis == "t" else "plane"


def _precise(seconds: float) -> str:
    whole = next((part for part in (3600, 60) if seconds >= part and seconds % part == 0), 1)
    return f"{seconds / whole:.4g} {({3600: 'h', 60: 'min', 1: 's'})[whole]}"
