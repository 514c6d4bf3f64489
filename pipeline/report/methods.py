"""A paragraph for a paper: what was done to which data, in lengths that a reader can use."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence

from pipeline.describe import scale_text
from pipeline.errors import RequestError
from pipeline.figure import parameters
from pipeline.image import ImageSpec
from pipeline.report.material import Material
from pipeline.step import Step, chain_dtype
from pipeline.steps._flat import FlatStep
from pipeline.units import ratio, short_unit

_COUNTED = {"t": "time point", "c": "channel", "z": "plane in depth"}


def methods(material: Material) -> str:
    """Return the paragraph, as plain text.

    Parameters
    ----------
    material : Material
        Of the run.
    """
    if not material.steps:
        return f"The image was written with {_software(material)} out of an array computed in Python."
    sentences = [
        f"Background was removed with {_software(material)} from {_data(material)}.",
        *_steps(material),
        _stored(material),
        _exactness(material),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def references(steps: Sequence[Step]) -> list[str]:
    """Return the sources that the steps' own docstrings name, each once."""
    found: dict[str, None] = {}
    for step in steps:
        text = inspect.cleandoc(type(step).__doc__ or "")
        match = re.search(r"^References\n-+\n(.*?)(?=\n\n\w+\n-+\n|\Z)", text, re.MULTILINE | re.DOTALL)
        if match:
            words = " ".join(match[1].replace("`", "").split())
            found[f"{step.name.replace('_', ' ')}: {words}"] = None
    return list(found)


def _software(material: Material) -> str:
    versions = material.part("versions")
    others = ", ".join(f"{name} {versions[name]}" for name in ("numpy", "scipy", "numba") if name in versions)
    return f"bgone {versions.get('bgone', '')}".rstrip() + (f" ({others})" if others else "")


def _data(material: Material) -> str:
    spec = material.image
    sizes = spec.sizes
    counts = [
        f"{sizes[axis]} {word}{'' if sizes[axis] == 1 else 's'}".replace("planes in depth", "z planes")
        for axis, word in _COUNTED.items()
        if axis in sizes
    ]
    shape = f"{sizes['x']} × {sizes['y']} px"
    words = f"{', '.join(counts)} of {shape}" if counts else f"an image of {shape}"
    scale = scale_text(spec)
    named = [name for name in spec.channel_names if name]
    return (
        f"{words} ({spec.dtype.name}{'; channels ' + ', '.join(named) if named else ''}"
        f"{'; one pixel or interval is ' + scale if scale else ''})"
    )


def _steps(material: Material) -> list[str]:
    spec, steps = material.image, material.steps
    words = [_step(step, spec) for step in steps]
    if len(words) == 1:
        return [f"The filter was a {words[0]}."]
    listed = "; ".join(f"({number}) {text}" for number, text in enumerate(words, 1))
    return [f"The filters were, one after the other, {listed}."]


def _step(step: Step, spec: ImageSpec) -> str:
    name = step.name.replace("_", " ")
    how = lengths_of(step, spec)
    where = "on each x-y plane" if step.along == "yx" else f"along {', '.join(step.along)}"
    names = spec.channel_names
    which = [
        str(names[channel])
        if isinstance(channel, int) and channel < len(names) and names[channel]
        else str(channel)
        for channel in step.channels or ()
    ]
    on = f" for channel{'s' if len(which) > 1 else ''} {', '.join(which)}" if which else ""
    return f"{name} ({how}) {where}{on}".replace("()", "").replace("  ", " ")


def lengths_of(step: Step, spec: ImageSpec) -> str:
    """Return a resolved step's parameters, in px and physical units; its axes are said apart."""
    return parameters(step, spec).replace(f", along {step.along}", "")


def _stored(material: Material) -> str:
    chain = chain_dtype(material.steps, material.image.dtype)
    words = f"The result was stored as {material.dtype.name}"
    if material.offset:
        words += f" after {material.offset:g} was added"
    if chain != material.dtype:
        words += f", from {chain.name}, rounded to the nearest integer" if material.dtype.kind in "iu" else ""
    summary = material.part("summary")
    clipped, pixels = summary.get("clipped", 0), summary.get("pixels", 0)
    if clipped and pixels:
        words += f"; {clipped} pixels ({100 * clipped / pixels:.2g} %) were outside its range and clipped"
    return f"{words}."


def _exactness(material: Material) -> str:
    flat = [isinstance(step, FlatStep) for step in material.steps]
    if all(flat):
        how = "equals, bit for bit, that of the same filters on whole planes or stacks"
    elif not any(flat):
        how = "equals that of the same filters on whole planes or stacks within 1e-6 of the largest value"
    else:
        how = (
            "equals that of the same filters on whole planes or stacks: bit for bit for the morphology, "
            "within 1e-6 of the largest value for the Gaussians"
        )
    halo: Mapping[str, int] = material.part("plan").get("halo", {})
    reach = ", ".join(f"{axis} {px} px" for axis, px in halo.items() if px)
    return f"It was computed in blocks with a halo ({reach}), so that it {how}." if reach else ""


def interval_unit(spec: ImageSpec, longest: float) -> tuple[str, float]:
    """Return in which unit times up to so many seconds are best shown, and how many seconds it has.

    >>> import numpy as np
    >>> interval_unit(ImageSpec("yx", (2, 2), np.dtype("u1")), 5400)
    ('min', 60.0)
    """
    for unit in ("day", "hour", "minute"):
        try:
            size = ratio(unit, "second")
        except RequestError:
            continue
        if longest >= 3 * size and (unit != "day" or longest >= 5 * size):
            if unit == "hour" and longest < 4 * size:
                continue
            return short_unit(unit), size
    return "s", 1.0
