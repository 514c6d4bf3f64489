"""A run made ready: the config read, the input opened, the work planned; nothing written yet."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pipeline.config.load import RunConfig, load_config
from pipeline.config.sections import ComputeConfig, InputConfig, OutputConfig
from pipeline.config.types import check_output_path
from pipeline.model.errors import RequestError
from pipeline.model.image import Image
from pipeline.model.machine import cores, default_budget, tree_memory
from pipeline.model.messages import validate
from pipeline.planning.memory import DRIVER, PER_FILE, PER_PLANE
from pipeline.planning.path_conflicts import refuse_path_conflicts
from pipeline.planning.plan import Plan, make_plan
from pipeline.read import Missing, Source
from pipeline.read.lazy import LazySource


@dataclass(frozen=True)
class Job:
    """A run before its start: its config, its input and its plan."""

    config: RunConfig
    source: Source | LazySource
    plan: Plan

    @cached_property
    def missing(self) -> Missing | None:
        """What no file of the input holds, so that a fill value is read instead.

        Raises
        ------
        DataError
            The input once had it, or does not say its fill value.
        """
        if isinstance(self.source, LazySource):
            return None
        with self.config.locating():
            return self.source.missing()


def prepare(
    config: RunConfig | str | os.PathLike[str] | Mapping[str, Any],
    *,
    sets: Iterable[str] = (),
    input: str | None = None,
    output: str | None = None,
) -> Job:
    """Load a config, open its input and plan the run.

    Parameters
    ----------
    config : RunConfig, path or mapping
        Of the run; a RunConfig is taken as it is.
    sets : iterable of str
        Changes, each PATH=VALUE.
    input, output : str, optional
        Paths instead of the config's.

    Raises
    ------
    RequestError
        Anything that can be found wrong before the first pixel, with its file and line.
    """
    if not isinstance(config, RunConfig):
        config = load_config(config, sets=sets, input=input, output=output)
    with config.locating():
        source = config.input.open()
        refuse_path_conflicts(config.output, source)
        return Job(config, source, plan_here(config, source))


def prepare_save(image: Image, path: str, output: Mapping[str, Any]) -> Job:
    """Plan the run that writes a lazy image; `output` holds the keys of that section beside its path."""
    if not isinstance(image, Image):
        raise RequestError(
            f"save takes an Image, not {type(image).__name__}",
            "make one: pipeline.Image(dask.array.from_array(array), "
            "pipeline.ImageSpec('tyx', array.shape, array.dtype))",
        )
    source = LazySource(image)
    section, problems = validate(OutputConfig, {**output, "path": path}, "output", lambda _: Path.cwd())
    if section is None:
        raise RequestError(problems)
    if section.background is not None:
        hint = "leave it out, or use a config"
        raise RequestError("a lazy image has no input to take its result from", hint, "output.background")
    try:
        check_output_path(section.path)
    except RequestError as error:
        raise error.under("output.path") from None
    refuse_path_conflicts(section, source)
    config = RunConfig(InputConfig(path=source.path), (), section, ComputeConfig())
    return Job(config, source, plan_here(config, source))


def plan_here(config: RunConfig, source: Source | LazySource) -> Plan:
    """Plan a run on this machine, by its cores and its free memory."""
    planes = math.prod(size for axis, size in source.spec.sizes.items() if axis not in "yx")
    held = tree_memory() + PER_FILE * len(source.files()) + PER_PLANE * planes
    # What this process holds beyond a fresh one (a notebook's arrays) is not the run's to pay for.
    memory = default_budget() + max(0, held - DRIVER)
    return make_plan(config, source.spec, cores(), memory, held=held, reading=cache(source.bytes_beside))
