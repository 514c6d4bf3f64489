"""Plans and inputs as text and as JSON, for `bgone plan` and `bgone info`."""

from __future__ import annotations

import math
import os
from typing import Any

from pipeline.model.image import ImageSpec
from pipeline.model.text import axes_text, number_of, shape_text, size_text
from pipeline.model.units import short_unit
from pipeline.planning.memory import memory_of_blocks
from pipeline.planning.plan import Plan
from pipeline.read import Missing
from pipeline.steps.step import Step

# Nanoseconds of a core to decode a byte of pixels, and for all else of a run with a top-hat of 25 px.
# Measured on frames of 16 bits with shot noise, in strips and tiles (Zen 4, imagecodecs 2026.3).
_DECODING = {"LZW": 4.6, "deflate": 1.8, "ZSTD": 1.5}
_ALL_ELSE = 3.7
# From this share of all else on, decoding bounds a run more than its filter does.
_BOUNDS = 0.8


def compression_text(compression: str) -> str:
    """Explain how much longer a run takes because of its input's compression; empty if it is not known.

    >>> compression_text("LZW")
    'LZW: decoding takes 1.2 × the rest of a run with a top-hat of 25 px; Zarr is read faster'
    >>> compression_text("ZSTD"), compression_text("")
    ('ZSTD: decoding takes 0.4 × the rest of a run with a top-hat of 25 px', '')
    """
    if compression not in _DECODING:
        return ""
    ratio = _DECODING[compression] / _ALL_ELSE
    text = f"{compression}: decoding takes {ratio:.1f} × the rest of a run with a top-hat of 25 px"
    return f"{text}; Zarr is read faster" if ratio >= _BOUNDS else text


def plan_dict(plan: Plan, source: str) -> dict[str, Any]:
    """Return a plan and the path of its input as plain data with fixed keys."""
    return {
        "input": source,
        "output": plan.layout.path,
        "work": plan.layout.work,
        "background": None if plan.layout.background is None else plan.layout.background.path,
        "axes": plan.image.axes,
        "input_shape": list(plan.image.shape),
        "input_dtype": plan.image.dtype.name,
        "output_shape": list(plan.output.shape),
        "output_dtype": plan.output.dtype.name,
        "output_axes": plan.layout.spec.axes,
        "output_chunks": dict(zip(plan.layout.spec.axes, plan.layout.chunks, strict=True)),
        "levels": [list(level.shape) for level in plan.layout.levels],
        "steps": [_step_dict(step) for step in plan.steps],
        "halo": dict(plan.halo),
        "block": dict(plan.tiling.block),
        "window": dict(plan.tiling.window),
        "windows": plan.tiling.windows,
        "tasks": plan.tiling.blocks,
        "halo_overhead": plan.tiling.overhead,
        "chunk_reads": _chunk_reads(plan),
        "cluster": plan.resources.cluster,
        "workers": plan.resources.workers,
        "memory_predicted_bytes": plan.memory.predicted,
        "memory_budget_bytes": plan.resources.memory,
        "output_bytes_uncompressed": plan.output.nbytes,
        "bytes_out_over_bytes_in": plan.output.nbytes / plan.image.nbytes if plan.image.nbytes else 1.0,
        "disk_needed_bytes": _disk_needed(plan),
        "overflow": plan.overflow,
    }


def _step_dict(step: Step) -> dict[str, Any]:
    """Return a resolved step as plain data, with its lengths and its halo in px."""
    lengths = {
        name: dict(zip(step.along, step.pixels(name, step.along), strict=True)) for name in step.lengths
    }
    return {"name": step.name, "along": step.along, "lengths_px": lengths, "halo": step.halo()}


def _disk_needed(plan: Plan) -> int:
    """Return the uncompressed bytes of all levels of all outputs."""
    pixels = sum(math.prod(level.shape) for level in plan.layout.levels)
    return pixels * sum(output.spec.dtype.itemsize for output in plan.layout.outputs)


def plan_text(
    plan: Plan,
    source: str,
    left_out: tuple[str, ...] = (),
    missing: Missing | None = None,
    notes: tuple[str, ...] = (),
    compression: str = "",
) -> str:
    """Format a plan for the terminal, with what the input lacks and what the output will not have of it."""
    tiling, second = plan.tiling, plan.layout.background
    rows = [
        ("input", source),
        ("", image_text(plan.image)),
        *([("", text)] if (text := compression_text(compression)) else []),
        *([("", str(missing))] if missing else []),
        *(("note", text) for text in notes),
        ("output", plan.layout.path),
        ("", f"{plan.output.dtype}, chunks {_by_axis(plan.layout.spec.axes, plan.layout.chunks)}"),
        ("", f"levels {', '.join(' × '.join(map(str, level.shape)) for level in plan.layout.levels)}"),
        *([("background", f"{second.path}, {second.spec.dtype}")] if second else []),
        ("unfinished in", f"{plan.layout.work}…"),
    ]
    for number, step in enumerate(plan.steps):
        rows.append((f"step {number}", f"{step.name}, {_lengths_text(step)}, halo {shape_text(step.halo())}"))
    rows += [
        ("halo, summed", shape_text(plan.halo)),
        ("block", f"{shape_text(tiling.block)} px: {_block_reason(plan)}"),
        ("window", f"{shape_text(tiling.window)} px: {_window_reason(plan)}"),
        ("", f"{number_of(tiling.windows, 'window')}, {number_of(tiling.blocks, 'block')} in all"),
        ("chunks read", _reads_text(plan)),
        ("halo overhead", f"{tiling.overhead:.2f} × the pixels kept are processed"),
        ("runs on", f"{plan.resources.cluster}, {plan.resources.workers} at a time"),
        ("memory", _memory_text(plan)),
        ("size", f"{size_text(plan.image.nbytes)} in, {size_text(plan.output.nbytes)} out, uncompressed"),
        ("disk needed", f"{size_text(_disk_needed(plan))} at the most, pyramid included"),
        ("values", _values_text(plan)),
    ]
    rows += [("not carried over", text) for text in left_out]
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"{label:<{width}}  {text}".rstrip() for label, text in rows)


def _lengths_text(step: Step) -> str:
    """Format a resolved step's lengths, as in "radius 25 px along yx"."""
    parts = []
    for name in step.lengths:
        px = dict(zip(step.along, step.pixels(name, step.along), strict=True))
        parts.append(f"{name} {axes_text({axis: f'{value:g}' for axis, value in px.items()})} px")
    on = "" if step.channels is None else f", channels {', '.join(map(str, step.channels))}"
    return f"{', '.join(parts)} along {step.along}{on}"


def _block_reason(plan: Plan) -> str:
    """Explain the size of the blocks."""
    block, sizes = plan.tiling.block, plan.image.sizes
    cut = [axis for axis, px in plan.halo.items() if px and block[axis] < sizes[axis]]
    if not cut:
        return "whole along every axis with a halo, so no pixel is filtered twice"
    whole = {axis: sizes[axis] if axis in cut else px for axis, px in block.items()}
    needed = memory_of_blocks(plan.workload, whole, plan.resources).predicted
    if needed > plan.resources.memory:
        reason = f"whole would take {size_text(needed)} of memory"
    elif math.prod(-(-size // whole[axis]) for axis, size in sizes.items()) < plan.resources.workers:
        reason = f"so that each of {plan.resources.workers} workers has some"
    else:
        reason = "as told"
    return f"cut along {', '.join(cut)}: {reason}"


def _window_reason(plan: Plan) -> str:
    """Explain the size of a window."""
    if plan.tiling.windows == 1:
        return "all of it"
    nbytes = math.prod(plan.tiling.window.values()) * plan.image.dtype.itemsize
    return f"{size_text(nbytes)} of input, which a kill may cost at the most"


def _chunk_reads(plan: Plan) -> float:
    """Return how often a stored chunk of the input is read, on average."""
    return plan.tiling.chunk_reads(dict(zip(plan.image.axes, plan.image.chunks, strict=True)))


def _reads_text(plan: Plan) -> str:
    """Explain how often a stored chunk is read."""
    often = _chunk_reads(plan)
    stored = _by_axis(plan.image.axes, plan.image.chunks)
    if often < 1.005:
        return f"each once ({stored} px as stored)"
    return f"each {often:.2f} times: chunks of {stored} px lie across blocks, or in the halo of two windows"


def _memory_text(plan: Plan) -> str:
    """Format the predicted memory and its parts."""
    memory = plan.memory
    total = f"{size_text(memory.predicted)} predicted, {size_text(plan.resources.memory)} allowed"
    shared = f" + {size_text(memory.shared)} for blocks that wait for neighbours" if memory.shared else ""
    if memory.level > memory.task or memory.level_tasks > memory.tasks:
        work = f"{size_text(memory.working)} for blocks and coarser levels{shared}"
    else:
        work = f"{memory.tasks} × {size_text(memory.task)} a block{shared}"
    return f"{total}: {size_text(memory.base)} of processes + {work}"


def _values_text(plan: Plan) -> str:
    """Explain the offset, the cast and the overflow of pixel values."""
    offset = f", {plan.offset:g} added first" if plan.offset else ""
    cast = (
        "as the chain gives them"
        if plan.workload.chain.dtype == plan.output.dtype
        else f"{plan.workload.chain.dtype} cast to {plan.output.dtype}"
    )
    overflow = {"fits": "nothing can overflow", "clip": "clipped and counted where out of range"}
    return f"{cast}{offset}; {overflow.get(plan.overflow, 'a value out of range stops the run')}"


def _by_axis(axes: str, shape: tuple[int, ...]) -> str:
    """Format a shape with its axes."""
    return shape_text(dict(zip(axes, shape, strict=True)))


def scale_text(spec: ImageSpec) -> str:
    """Format the size of a pixel along each axis."""
    return ", ".join(
        f"{axis} {value:.6g} {short_unit(spec.units.get(axis, ''))}".strip()
        for axis, value in spec.scale.items()
    )


def channels_text(spec: ImageSpec) -> str:
    """Format the names of the channels; a channel without one has its number."""
    return ", ".join(channel.name or str(index) for index, channel in enumerate(spec.channels))


def image_text(spec: ImageSpec) -> str:
    """Format an image's shape, dtype, scale and channels."""
    parts = [shape_text(spec.sizes), str(spec.dtype), f"a pixel is {scale_text(spec)}" if spec.scale else ""]
    if any(spec.channel_names):
        parts.append(f"channels {channels_text(spec)}")
    return ", ".join(part for part in parts if part)


def info_text(
    path: str,
    spec: ImageSpec,
    left_out: tuple[str, ...] = (),
    missing: str = "",
    notes: tuple[str, ...] = (),
) -> str:
    """Format an input for `bgone info`."""
    rows = [
        ("path", path),
        ("name", spec.name),
        ("axes", spec.axes),
        ("shape", shape_text(spec.sizes)),
        ("dtype", spec.dtype.name),
        ("stored in", f"{_by_axis(spec.axes, spec.chunks)} px"),
        ("size", size_text(spec.nbytes)),
        ("scale", scale_text(spec) or "not said"),
        ("channels", channels_text(spec) or "not named"),
        *(("note", text) for text in (missing, *notes)),
        *(("not carried over", text) for text in left_out),
    ]
    return "\n".join(f"{label:<10}  {text}" for label, text in rows if text)


def info_dict(path: str, spec: ImageSpec) -> dict[str, Any]:
    """Return an input as plain data for `bgone info --json`."""
    return {
        "path": os.path.abspath(path) if "://" not in path else path,
        "name": spec.name,
        "axes": spec.axes,
        "shape": list(spec.shape),
        "dtype": spec.dtype.name,
        "chunks": list(spec.chunks),
        "scale": dict(spec.scale),
        "units": dict(spec.units),
        "translation": dict(spec.translation),
        "channels": [{"name": channel.name, "color": channel.color} for channel in spec.channels],
        "bytes": spec.nbytes,
    }
