"""A paragraph for a paper: what was done to which data, in lengths that a reader can use."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence

from pipeline.explore.figure import parameters
from pipeline.model.image import ImageSpec
from pipeline.planning.describe import scale_text
from pipeline.reporting.report_data import Material
from pipeline.steps.chain import chain_dtype
from pipeline.steps.flat import TophatStep
from pipeline.steps.step import Step

_COUNTED = {"t": "time point", "c": "channel", "z": "z plane"}


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
        _input(material),
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
            found[f"{_name(step)}: {words}"] = None
    return list(found)


def _software(material: Material) -> str:
    versions = material.part("versions")
    others = ", ".join(f"{name} {versions[name]}" for name in ("numpy", "scipy", "numba") if name in versions)
    return f"bgone {versions.get('bgone', '')}".rstrip() + (f" ({others})" if others else "")


def _data(material: Material) -> str:
    spec = material.image
    sizes = spec.sizes
    counts = [
        f"{sizes[axis]} {word}{'' if sizes[axis] == 1 else 's'}"
        for axis, word in _COUNTED.items()
        if axis in sizes
    ]
    shape = f"{sizes['x']} × {sizes['y']} px"
    words = f"{', '.join(counts)} of {shape}" if counts else f"an image of {shape}"
    scale = scale_text(spec)
    named = [name for name in spec.channel_names if name]
    return (
        f"{words} ({spec.dtype.name}{'; channels ' + ', '.join(named) if named else ''}"
        f"{'; sampled at ' + scale if scale else ''})"
    )


def _steps(material: Material) -> list[str]:
    spec, steps = material.image, material.steps
    words = [_step(step, spec) for step in steps]
    if len(words) == 1:
        return [f"The following filter was applied: {words[0]}."]
    listed = "; ".join(f"({number}) {text}" for number, text in enumerate(words, 1))
    return [f"The following filters were applied, one after the other: {listed}."]


def _name(step: Step) -> str:
    return step.name.replace("_", " ").replace("tophat", "top-hat")


def _step(step: Step, spec: ImageSpec) -> str:
    how = ", ".join([lengths_of(step, spec), *_defaults(step)])
    where = "on each x-y plane" if step.along == "yx" else f"along {', '.join(step.along)}"
    names = spec.channel_names
    which = [
        str(names[channel])
        if isinstance(channel, int) and channel < len(names) and names[channel]
        else str(channel)
        for channel in step.channels or ()
    ]
    on = f" for channel{'s' if len(which) > 1 else ''} {', '.join(which)}" if which else ""
    return f"{_name(step)} ({how.replace('_', ' ')}) {where}{on}"


def _defaults(step: Step) -> list[str]:
    """Return what a paper must say though the config does not have to."""
    words = []
    if isinstance(step, TophatStep) and step.radius is not None and step.footprint is None:
        words.append(
            f"footprint {'disk' if len(step.along) == 2 else 'ball' if len(step.along) == 3 else 'line'}"
        )
    for name, field in type(step).model_fields.items():
        value = getattr(step, name)
        if name not in ("along", "channels", *step.lengths) and value == field.default and value is not None:
            words.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
    return words


def lengths_of(step: Step, spec: ImageSpec) -> str:
    """Return a resolved step's parameters, in px and physical units; its axes are said apart."""
    return parameters(step, spec).replace(f", along {step.along}", "")


def _stored(material: Material) -> str:
    chain = chain_dtype(material.steps, material.image.dtype)
    words = f"The result was stored as {material.dtype.name}"
    if material.offset:
        words += f" after {material.offset:g} was added"
    if chain != material.dtype:
        rounded = chain.kind == "f" and material.dtype.kind in "iu"
        words += f", cast from {chain.name}" + (" by rounding to the nearest integer" if rounded else "")
    summary = material.part("summary")
    clipped, pixels = summary.get("clipped", 0), summary.get("pixels", 0)
    if clipped and pixels:
        words += f"; {clipped} pixels ({100 * clipped / pixels:.2g} %) were outside its range and clipped"
    return f"{words}."


def _input(material: Material) -> str:
    name = str(material.part("input").get("path", "")).rstrip("/").rpartition("/")[2]
    known = str(material.provenance.get("fingerprint", ""))
    return (
        f"The input was {name} (fingerprint of data, settings and code: {known})." if name and known else ""
    )


def _exactness(material: Material) -> str:
    exact = [step.exact for step in material.steps]
    if all(exact):
        how = "equals, bit for bit, that of the same filters on the undivided image"
    elif not any(exact):
        how = "equals that of the same filters on the undivided image within 1e-6 of the largest value"
    else:
        how = (
            "equals that of the same filters on the undivided image: bit for bit for the morphology, "
            "within 1e-6 of the largest value for the Gaussians"
        )
    halo: Mapping[str, int] = material.part("plan").get("halo", {})
    reach = ", ".join(f"{axis} {px} px" for axis, px in halo.items() if px)
    return f"It was computed in blocks with a halo ({reach}), so that the result {how}." if reach else ""
