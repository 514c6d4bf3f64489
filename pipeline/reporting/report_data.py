"""What a report is made of: a run that is about to be sealed, or an output that is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.config.load import load_config
from pipeline.model.errors import PipelineError, Problem, RequestError
from pipeline.model.image import ImageSpec
from pipeline.planning.job import Job
from pipeline.read import Source, open_source
from pipeline.reporting.frames import Frames, from_csv
from pipeline.reporting.pixels import FinishedPixels, InputPixels, Pixels, Result, UnfinishedPixels
from pipeline.steps.background import chain_background
from pipeline.steps.contract import Background
from pipeline.steps.step import Step
from pipeline.write import Layout, provenance_of
from pipeline.write.metadata import BGONE
from pipeline.write.region import read_file
from pipeline.write.work import changes, touched

PAGE, TABLE = "report.html", "frames.csv"
"""Names of a report's files, beside the manifest."""


@dataclass(frozen=True)
class Material:
    """All that a report says, before it is said.

    Parameters
    ----------
    provenance : mapping
        As the output keeps it.
    image : ImageSpec
        What was filtered.
    dtype : numpy.dtype
        Of the output.
    steps : tuple of Step
        Resolved.
    frames : Frames or None
        Figures of each plane, where there are any.
    result : Result
        The output.
    before : Pixels or None
        The input, where it can be shown.
    without : str
        Why it cannot.
    """

    provenance: Mapping[str, Any]
    image: ImageSpec
    dtype: np.dtype
    steps: tuple[Step, ...]
    frames: Frames | None
    result: Result
    before: Pixels | None
    without: str = ""

    @property
    def offset(self) -> float:
        """What was added before the cast."""
        return float(self.provenance["config"]["output"].get("offset") or 0)

    def part(self, name: str) -> dict[str, Any]:
        """Return a mapping of the provenance; an empty one where it keeps none."""
        found = self.provenance.get(name)
        return dict(found) if isinstance(found, Mapping) else {}

    def background(self, channel: int) -> Background | None:
        """Return what of a channel's input and result is its background."""
        return chain_background(self.steps, channel)

    def channel_name(self, channel: int) -> str:
        """Return a channel's name for a reader; empty where there is no axis c."""
        if "c" not in self.image.axes:
            return ""
        names = self.image.channel_names
        return names[channel] if channel < len(names) and names[channel] else f"channel {channel}"

    def untouched(self, channel: int) -> bool:
        """Return whether no step is for a channel."""
        return not any(step.channels is None or channel in step.channels for step in self.steps)


def of_run(job: Job, layout: Layout, frames: Frames | None, provenance: Mapping[str, Any]) -> Material:
    """Return what is known of a run that is about to be sealed."""
    lazy = not isinstance(job.source, Source)
    return Material(
        provenance={**provenance, "fingerprint": layout.fingerprint},
        image=job.plan.image,
        dtype=job.plan.output.dtype,
        steps=tuple(job.plan.steps),
        frames=frames,
        result=UnfinishedPixels(layout),
        before=InputPixels(job.source) if isinstance(job.source, Source) else None,
        without="The input was an array in memory, which cannot be shown again." if lazy else "",
    )


def of_output(path: str) -> Material:
    """Return what is known of a finished output.

    Raises
    ------
    RequestError
        It is not an output of bgone, or one of another version that this one cannot read.
    """
    found = provenance_of(path)
    if found is None:
        raise _no_output(path)
    if isinstance(found.get("background"), Mapping):
        where = found["background"].get("of", "")
        what = f"it is the background that was taken off {where}"
        raise RequestError([Problem(what, "make the report of that", file=path)])
    output = open_source(path)
    try:
        plan, config = found["plan"], found["config"]
        image = ImageSpec(
            plan["axes"], tuple(plan["input_shape"]), np.dtype(plan["input_dtype"]),
            scale=output.spec.scale, units=output.spec.units, translation=output.spec.translation,
            channels=output.spec.channels, name=output.spec.name,
        )  # fmt: skip
        steps, before, without = _asked(config, found, image)
        last = len(plan["levels"]) - 1
        coarsest = open_source(path, level=last) if last else None
    except (KeyError, TypeError, ValueError, PipelineError) as error:
        wrote = (found.get("versions") or {}).get("bgone")
        if wrote is None:
            raise _no_output(path) from None
        raise RequestError(
            [Problem(f"bgone {wrote} wrote it, and this one cannot read what it kept ({error})",
                     "make the report with that version", file=path)]
        ) from error  # fmt: skip
    return Material(
        provenance=found,
        image=image,
        dtype=output.spec.dtype,
        steps=steps,
        frames=_table(path),
        result=FinishedPixels(output, image.axes, coarsest),
        before=before,
        without=without,
    )


def _no_output(path: str) -> RequestError:
    what = "it is no output of a run"
    return RequestError([Problem(what, "give an OME-Zarr that bgone run wrote", file=path)])


def _asked(
    config: Mapping[str, Any], found: Mapping[str, Any], image: ImageSpec
) -> tuple[tuple[Step, ...], Pixels | None, str]:
    """Return the resolved steps, and the input if it is what it was, or else why it is not shown."""
    if not config["steps"]:
        return (), None, "The input was an array in memory, which cannot be shown again."
    given = load_config(
        {
            name: {key: value for key, value in part.items() if value is not None}
            if isinstance(part, Mapping)
            else part
            for name, part in config.items()
        }
    )
    steps = tuple(step.resolve(image) for step in given.steps)
    try:
        source = given.input.open()
        now = json.loads(json.dumps(source.identity(), default=str))
    except (PipelineError, OSError):
        return steps, None, "The input is no longer where it was, so only the result is shown."
    kept = {"input": found["input"]}
    if changes(kept, {"input": now}) or (not now.get("whole") and touched(kept, {"input": now})):
        return steps, None, "The input does not match what the run noted of it, so only the result is shown."
    return steps, InputPixels(source), ""


def _table(path: str) -> Frames | None:
    data = read_file(f"{path}/{BGONE}/{TABLE}")
    try:
        return None if data is None else from_csv(data)
    except (ValueError, IndexError):
        return None
