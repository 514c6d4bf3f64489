"""Data of a report, from a run that is about to be sealed or from a finished output."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.load import RunConfig, load_config
from pipeline.model.errors import PipelineError, Problem, RequestError
from pipeline.model.image import ImageSpec, Region, region_shape
from pipeline.planning.job import Job
from pipeline.read import Source, open_source
from pipeline.reporting.frames import Frames, from_csv
from pipeline.steps.background import chain_background
from pipeline.steps.contract import Background
from pipeline.steps.step import Step
from pipeline.write import Layout, provenance_of
from pipeline.write.metadata import BGONE
from pipeline.write.region import read_file
from pipeline.write.work import changes, touched

PAGE, TABLE = "report.html", "frames.csv"  # beside the manifest

_NO_INPUT = "The input was an array in memory, which cannot be shown again."


@dataclass(frozen=True)
class StoredPixels:
    """Pixels of the input or the output, along the axes of the image that was filtered."""

    source: Source  # may have more axes than `axes`, of length 1
    axes: str

    def read(self, region: Region) -> NDArray:
        """Read a region given along `axes`."""
        return self.source.read(self.padded(region)).reshape(region_shape(region))

    def padded(self, region: Region) -> Region:
        """Return a region along the axes of the stored array."""
        spans = dict(zip(self.axes, region, strict=True))
        return tuple(spans.get(axis, slice(0, 1)) for axis in self.source.spec.axes)

    def bytes_met(self, region: Region) -> int:
        """Return the decoded size of the chunks that reading a region touches."""
        spec = self.source.spec
        spans = zip(self.padded(region), spec.chunks, strict=True)
        lengths = [(-(-span.stop // px) - span.start // px) * px for span, px in spans]
        return math.prod(lengths) * spec.dtype.itemsize


@dataclass(frozen=True)
class ReportData:
    """Everything that a report is made from."""

    provenance: Mapping[str, Any]
    image: ImageSpec  # that was filtered
    steps: tuple[Step, ...]  # resolved
    frames: Frames | None
    after: StoredPixels
    coarsest: StoredPixels | None  # None where the output has one level
    before: StoredPixels | None  # None where the input cannot be shown
    why_no_input: str = ""

    @property
    def dtype(self) -> np.dtype:
        """Data type of the output."""
        return self.after.source.spec.dtype

    @property
    def offset(self) -> float:
        """Offset added before the cast."""
        return float(self.section("config")["output"].get("offset") or 0)

    def section(self, name: str) -> dict[str, Any]:
        """Return a mapping of the provenance, or an empty one."""
        return section_of(self.provenance, name)

    def background(self, channel: int) -> Background | None:
        """Return how a channel's background follows from its input and result, or None."""
        return chain_background(self.steps, channel)

    def channel_name(self, channel: int) -> str:
        """Return a channel's name for the page; empty without a c axis."""
        if "c" not in self.image.axes:
            return ""
        names = self.image.channel_names
        return names[channel] if channel < len(names) and names[channel] else f"channel {channel}"

    def untouched(self, channel: int) -> bool:
        """Return whether there are steps but none applies to a channel."""
        return bool(self.steps) and not any(
            step.channels is None or channel in step.channels for step in self.steps
        )


def section_of(provenance: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a mapping of a provenance, or an empty one."""
    # Some versions wrote them inside `inputs`.
    section = provenance.get(name) or dict(provenance.get("inputs") or {}).get(name)
    return dict(section) if isinstance(section, Mapping) else {}


def recorded_config(provenance: Mapping[str, Any], input: str | None = None) -> RunConfig:
    """Return the config of a finished run, without its compute section."""
    settings = section_of(provenance, "config")
    # Another machine might refuse its memory or workers.
    settings.pop("compute", None)
    return load_config(settings, input=input)


def of_run(job: Job, layout: Layout, frames: Frames | None, provenance: Mapping[str, Any]) -> ReportData:
    """Collect the data of a run whose pixels are all written, before it is sealed."""
    image = job.plan.image
    stored = [
        StoredPixels(open_source(layout.array_path(level), axes=layout.spec.axes), image.axes)
        for level in sorted({0, len(layout.levels) - 1})
    ]
    before = StoredPixels(job.source, image.axes) if isinstance(job.source, Source) else None
    return ReportData(
        provenance={**provenance, "fingerprint": layout.fingerprint},
        image=image,
        steps=tuple(job.plan.steps),
        frames=frames,
        after=stored[0],
        coarsest=stored[1] if len(stored) > 1 else None,
        before=before,
        why_no_input=_NO_INPUT if before is None else "",
    )


def of_output(path: str) -> ReportData:
    """Collect the data of a finished output.

    Raises
    ------
    RequestError
        It is not an output of bgone, or one of another version that this one cannot read.
    """
    provenance = provenance_of(path)
    if provenance is None:
        raise _no_output(path)
    if isinstance(provenance.get("background"), Mapping):
        message = f"it is the background that was taken off {provenance['background'].get('of', '')}"
        raise RequestError([Problem(message, "make the report of that", file=path)])
    output = open_source(path)
    try:
        plan = provenance["plan"]
        image = output.spec.with_(
            axes=plan["axes"],
            shape=tuple(plan["input_shape"]),
            dtype=np.dtype(plan["input_dtype"]),
            chunks=(),
        )
        steps, before, why_no_input = _steps_and_input(provenance, image)
        last = len(plan["levels"]) - 1
        coarsest = StoredPixels(open_source(path, level=last), image.axes) if last else None
    except (KeyError, TypeError, ValueError, PipelineError) as error:
        version = section_of(provenance, "versions").get("bgone")
        if version is None:
            raise _no_output(path) from None
        message = f"bgone {version} wrote it, and this one cannot read what it kept ({error})"
        raise RequestError([Problem(message, "make the report with that version", file=path)]) from error
    return ReportData(
        provenance=provenance,
        image=image,
        steps=steps,
        frames=_table(path),
        after=StoredPixels(output, image.axes),
        coarsest=coarsest,
        before=before,
        why_no_input=why_no_input,
    )


def _no_output(path: str) -> RequestError:
    message = "it is no output of a run"
    return RequestError([Problem(message, "give an OME-Zarr that bgone run wrote", file=path)])


def _steps_and_input(
    provenance: Mapping[str, Any], image: ImageSpec
) -> tuple[tuple[Step, ...], StoredPixels | None, str]:
    """Return the resolved steps, and the input if it is unchanged or else why it is not shown."""
    if not section_of(provenance, "config")["steps"]:
        return (), None, _NO_INPUT
    config = recorded_config(provenance)
    steps = tuple(step.resolve(image) for step in config.steps)
    try:
        source = config.input.open()
        current = {"input": json.loads(json.dumps(source.identity(), default=str))}
    except (PipelineError, OSError):
        return steps, None, "The input is no longer where it was, so only the result is shown."
    recorded = {"input": section_of(provenance, "input")}
    # The content of a large input is not compared as a whole; there the files' times count too.
    if changes(recorded, current) or (not current["input"].get("whole") and touched(recorded, current)):
        return steps, None, "The input does not match what the run noted of it, so only the result is shown."
    return steps, StoredPixels(source, image.axes), ""


def _table(path: str) -> Frames | None:
    data = read_file(f"{path}/{BGONE}/{TABLE}")
    try:
        return None if data is None else from_csv(data)
    except (ValueError, IndexError):
        return None
