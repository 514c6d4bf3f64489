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
from pipeline.model.errors import PipelineError, RequestError
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
    """What a run needs: what was asked for, what it is about, and how it will go."""

    config: RunConfig
    source: Source | LazySource
    plan: Plan

    @cached_property
    def missing(self) -> Missing | None:
        """What of the input no file holds, so that a fill value is read instead; looked up once.

        Raises
        ------
        DataError
            The data says that it was there once, or does not say what it would be.
        """
        if isinstance(self.source, LazySource):
            return None
        try:
            return self.source.missing()
        except PipelineError as error:
            raise self.config.locate(error) from None


def prepare(
    config: RunConfig | str | os.PathLike[str] | Mapping[str, Any],
    *,
    sets: Iterable[str] = (),
    input: str | None = None,
    output: str | None = None,
) -> Job:
    """Return a run made ready.

    Parameters
    ----------
    config : RunConfig, path or mapping
        What is asked for.
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
    try:
        source = config.input.open()
        refuse_path_conflicts(config.output, source)
        return Job(config, source, plan_here(config, source))
    except PipelineError as error:
        raise config.locate(error) from None


def prepare_save(image: Image, path: str, output: Mapping[str, Any]) -> Job:
    """Return the run that writes a lazy image.

    Raises
    ------
    RequestError
        Something about the output cannot work.
    """
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
        raise RequestError(
            "a lazy image has no input to take its result from", "leave it out, or use a config",
            "output.background",
        )  # fmt: skip
    try:
        check_output_path(section.path)
    except RequestError as error:
        raise error.under("output.path") from None
    refuse_path_conflicts(section, source)
    config = RunConfig(InputConfig(path=source.path), (), section, ComputeConfig())
    return Job(config, source, plan_here(config, source))


def plan_here(config: RunConfig, source: Source | LazySource) -> Plan:
    """Return the plan of a run on this machine, by what this process holds and has compiled.

    What it holds beyond a fresh process (a notebook's arrays) is the caller's: the run is allowed it in
    addition, where the config says nothing of memory.
    """
    planes = math.prod(size for axis, size in source.spec.sizes.items() if axis not in "yx")
    held = tree_memory() + PER_FILE * len(source.files()) + PER_PLANE * planes
    memory = default_budget() + max(0, held - DRIVER)
    return make_plan(
        config,
        source.spec,
        cores(),
        memory,
        held=held,
        reading=cache(source.beside),
    )
