"""Methods paragraph of the report, to be copied into a paper."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence

from pipeline.explore.figure import parameters
from pipeline.model.image import ImageSpec
from pipeline.model.text import number_of
from pipeline.planning.describe import scale_text
from pipeline.reporting.report_data import ReportData
from pipeline.steps.chain import chain_dtype
from pipeline.steps.flat import TophatStep
from pipeline.steps.step import Step

_COUNTED = {"t": "time point", "c": "channel", "z": "z plane"}
_SHAPES = {1: "line", 2: "disk", 3: "ball"}


def methods(data: ReportData) -> str:
    """Write the paragraph as plain text."""
    if not data.steps:
        return f"The image was written with {_software(data)} out of an array computed in Python."
    sentences = (
        f"Background was removed with {_software(data)} from {_image(data.image)}.",
        _steps(data),
        _stored(data),
        _exactness(data),
        _input(data),
    )
    return " ".join(sentence for sentence in sentences if sentence)


def references(steps: Sequence[Step]) -> list[str]:
    """Collect the References sections of the steps' docstrings, each step once."""
    sources: dict[str, None] = {}
    for step in steps:
        text = inspect.cleandoc(type(step).__doc__ or "")
        match = re.search(r"^References\n-+\n(.*?)(?=\n\n\w+\n-+\n|\Z)", text, re.MULTILINE | re.DOTALL)
        if match:
            words = " ".join(match[1].replace("`", "").split())
            sources[f"{_name(step)}: {words}"] = None
    return list(sources)


def _software(data: ReportData) -> str:
    versions = data.section("versions")
    others = ", ".join(f"{name} {versions[name]}" for name in ("numpy", "scipy", "numba") if name in versions)
    return f"bgone {versions.get('bgone', '')}".rstrip() + (f" ({others})" if others else "")


def _image(spec: ImageSpec) -> str:
    sizes = spec.sizes
    counts = ", ".join(number_of(sizes[axis], word) for axis, word in _COUNTED.items() if axis in sizes)
    scale, names = scale_text(spec), ", ".join(name for name in spec.channel_names if name)
    channels = f"; channels {names}" if names else ""
    sampling = f"; sampled at {scale}" if scale else ""
    return f"{counts or 'an image'} of {sizes['x']} × {sizes['y']} px ({spec.dtype.name}{channels}{sampling})"


def _steps(data: ReportData) -> str:
    words = [_step(step, data.image) for step in data.steps]
    if len(words) == 1:
        return f"The following filter was applied: {words[0]}."
    listed = "; ".join(f"({number}) {text}" for number, text in enumerate(words, 1))
    return f"The following filters were applied, one after the other: {listed}."


def _name(step: Step) -> str:
    return step.name.replace("_", " ").replace("tophat", "top-hat")


def _step(step: Step, spec: ImageSpec) -> str:
    how = ", ".join([lengths_of(step, spec), *_defaults(step)]).replace("_", " ")
    where = "on each x-y plane" if step.along == "yx" else f"along {', '.join(step.along)}"
    names: dict[str | int, str] = dict(enumerate(spec.channel_names))
    channels = [str(names.get(channel) or channel) for channel in step.channels or ()]
    on = f" for channel{'s' if len(channels) > 1 else ''} {', '.join(channels)}" if channels else ""
    return f"{_name(step)} ({how}) {where}{on}"


def _defaults(step: Step) -> list[str]:
    """Return the parameters left at their default, which a paper must name all the same."""
    words = []
    if isinstance(step, TophatStep) and step.radius is not None and step.footprint is None:
        words.append(f"footprint {_SHAPES[len(step.along)]}")
    for name, field in type(step).model_fields.items():
        value = getattr(step, name)
        if name not in ("along", "channels", *step.lengths) and value == field.default and value is not None:
            words.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
    return words


def lengths_of(step: Step, spec: ImageSpec) -> str:
    """Return a resolved step's parameters in px and physical units, without its axes."""
    return parameters(step, spec).replace(f", along {step.along}", "")


def _stored(data: ReportData) -> str:
    words = f"The result was stored as {data.dtype.name}"
    if data.offset:
        words += f" after {data.offset:g} was added"
    chain = chain_dtype(data.steps, data.image.dtype)
    if chain != data.dtype:
        rounded = chain.kind == "f" and data.dtype.kind in "iu"
        words += f", cast from {chain.name}" + (" by rounding to the nearest integer" if rounded else "")
    summary = data.section("summary")
    clipped, pixels = summary.get("clipped", 0), summary.get("pixels", 0)
    if clipped and pixels:
        words += f"; {clipped} pixels ({100 * clipped / pixels:.2g} %) were outside its range and clipped"
    return f"{words}."


def _exactness(data: ReportData) -> str:
    reach = ", ".join(f"{axis} {px} px" for axis, px in data.section("plan").get("halo", {}).items() if px)
    exact = [step.exact for step in data.steps]
    if all(exact):
        how = "equals, bit for bit, that of the same filters on the undivided image"
    elif not any(exact):
        how = "equals that of the same filters on the undivided image within 1e-6 of the largest value"
    else:
        how = (
            "equals that of the same filters on the undivided image: bit for bit for the morphology, "
            "within 1e-6 of the largest value for the Gaussians"
        )
    return f"It was computed in blocks with a halo ({reach}), so that the result {how}." if reach else ""


def _input(data: ReportData) -> str:
    name = str(data.section("input").get("path", "")).rstrip("/").rpartition("/")[2]
    fingerprint = str(data.provenance.get("fingerprint", ""))
    if not name or not fingerprint:
        return ""
    return f"The input was {name} (fingerprint of data, settings and code: {fingerprint})."
