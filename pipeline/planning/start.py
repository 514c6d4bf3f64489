"""The checks before a run starts. `plan` makes the same ones, and neither leaves anything behind."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline.model.errors import PipelineError, Problem, RequestError, VerificationError
from pipeline.planning.job import Job
from pipeline.planning.resume_tiling import resume_tiling
from pipeline.steps.registry import REGISTRY
from pipeline.write import (
    Layout,
    check_files,
    check_layout,
    check_publish,
    check_target,
    read_manifest,
    refuse_held,
    state,
)
from pipeline.write.publish import State
from pipeline.write.work import check_others, find_work, fingerprint, read_checked, versions


@dataclass(frozen=True)
class Start:
    """A run that may start: what decides its pixels, where its files go, what is there of it.

    Parameters
    ----------
    job : Job
        What was asked for.
    """

    job: Job

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """What decides pixels, and how they lie in files."""
        plain = self.job.config.resolved()
        config = {key: value for key, value in plain.items() if key != "compute"}
        levels = self.job.plan.layout.levels
        files = [[list(level.shape), list(level.chunks), list(level.shards or ())] for level in levels]
        code = versions(REGISTRY.packages(self.job.plan.steps))
        return {"config": config, "input": self.job.source.identity(), "files": files, "versions": code}

    @cached_property
    def layout(self) -> Layout:
        """The output, in the work folder of this run."""
        return self.job.plan.layout.at(fingerprint(self.inputs))

    @property
    def state(self) -> State:
        """How far an earlier start has come.

        The input's files are looked into only where there is something to go on from.
        """
        layout = self.job.plan.layout
        there = any(os.path.lexists(output.path) for output in layout.outputs)
        return state(self.layout) if there or find_work(layout.path, layout.work_root) else "new"

    @property
    def notes(self) -> tuple[str, ...]:
        """What an earlier start has left to do, in words."""
        said = {
            "published": "the output is complete already: a run has nothing to do",
            "sealed": "an earlier start computed all of it: a run brings it under its name",
            "unfinished": "an earlier start has begun it: a run goes on from there",
        }
        return tuple(words for state, words in said.items() if state == self.state)


def check_start(job: Job, *, overwrite: bool = False) -> Start:
    """Return what a run starts from, unless it is to be refused.

    Parameters
    ----------
    job : Job
        What was asked for.
    overwrite : bool
        Whether an existing output is to be replaced.

    Raises
    ------
    RequestError
        The output cannot be written, or something is in its way.
    VerificationError
        It is complete, and damaged.
    DataError
        The input lacks files that it had.
    """
    start = Start(job)
    layout = job.plan.layout
    try:
        for output in layout.outputs:
            check_layout(output)
        now = start.state
        if now == "published":
            if not overwrite:
                refuse_damaged(start.layout)
            return start
        if now == "sealed":
            check_publish(start.layout, overwrite=overwrite)
        else:
            check_targets(layout, overwrite=overwrite)
        _check_runs(start, now, overwrite)
        for field, path in _written(job):
            _check_place(path, field)
        _ = job.missing
    except PipelineError as error:
        raise job.config.locate(error) from error.__cause__
    return start


def check_targets(layout: Layout, *, overwrite: bool) -> None:
    """Refuse outputs at which something lies that must not be replaced.

    Raises
    ------
    RequestError
        Something does.
    """
    for output in layout.outputs:
        check_target(output.path, overwrite=overwrite, field=field_of(output))


def refuse_damaged(layout: Layout) -> None:
    """Refuse to call a complete output complete where files of it are missing, or of another size.

    Raises
    ------
    VerificationError
        They are.
    """
    if os.path.isdir(layout.work):
        return  # an earlier start published it and died before it had tidied up
    for output in layout.outputs:
        damage = next(check_files(output.path, read_manifest(output.path), content=False), None)
        if damage is not None:
            what = f"the output was complete, and is damaged now ({damage})"
            raise VerificationError([Problem(what, "write it again with --overwrite", file=output.path)])


def field_of(output: Layout) -> str:
    """Return the field of the config that names an output."""
    return "output.background" if output.holder else "output.path"


def _check_runs(start: Start, now: State, overwrite: bool) -> None:
    """Refuse where another run of this output is unfinished or under way, or this one is."""
    layout = start.job.plan.layout
    if not find_work(layout.path, layout.work_root):
        return
    check_others(start.layout, start.inputs, overwrite=overwrite)
    if now == "new":
        return
    refuse_held(start.layout.work)
    cut = read_checked(f"{start.layout.work}/windows.json")
    plan = start.job.plan
    if now == "unfinished" and isinstance(cut, Mapping) and plan.resources.cluster != "remote":
        resume_tiling(plan.workload, plan.resources, plan.tiling, cut["window"])


def _written(job: Job) -> Iterator[tuple[str, str]]:
    """Yield the field and the folder of each place that is written to."""
    layout = job.plan.layout
    for output in layout.outputs:
        yield field_of(output), os.path.dirname(output.path)
    if layout.work_root:
        yield "output.work", layout.work_root


def _check_place(folder: str, field: str) -> None:
    """Refuse a folder in which nothing can be made, as far as that shows."""
    folder = os.path.abspath(folder)
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    another = "choose another " + ("folder" if field == "output.work" else "output")
    if not os.path.isdir(folder):
        raise RequestError(f"{folder} is no folder, so nothing can be made in it", another, field)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RequestError(f"no permission to write {folder}", f"give it, or {another}", field)
    room = os.statvfs(folder)
    # Some network disks say 0 of 0.
    if (room.f_blocks and not room.f_bavail) or (room.f_files and not room.f_favail):
        raise RequestError(f"no space left on the disk for {folder}", f"free some, or {another}", field)
