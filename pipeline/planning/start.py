"""Checks before a run starts, the same for `plan` and `run`; they leave nothing behind."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline.model.errors import Problem, RequestError, VerificationError
from pipeline.planning.job import Job
from pipeline.planning.resume_tiling import resume_tiling
from pipeline.steps.registry import REGISTRY
from pipeline.write import (
    Layout,
    check_files,
    check_layout,
    check_lock,
    check_publish,
    check_target,
    read_manifest,
    state,
)
from pipeline.write.publish import State
from pipeline.write.work import check_other_runs, find_work_folders, fingerprint, read_checked, versions


@dataclass(frozen=True)
class Start:
    """A job, its work folder and the state of an earlier start."""

    job: Job

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """All that determines the pixels and their files, as plain data."""
        plain = self.job.config.resolved()
        config = {key: value for key, value in plain.items() if key != "compute"}
        levels = self.job.plan.layout.levels
        files = [[list(level.shape), list(level.chunks), list(level.shards or ())] for level in levels]
        code = versions(REGISTRY.packages(self.job.plan.steps))
        return {"config": config, "input": self.job.source.identity(), "files": files, "versions": code}

    @cached_property
    def layout(self) -> Layout:
        """The output in the work folder of this run."""
        return self.job.plan.layout.at(fingerprint(self.inputs))

    @property
    def state(self) -> State:
        """How far an earlier start has come."""
        layout = self.job.plan.layout
        # The fingerprint of the input's files takes time, so it is made only for something to resume.
        exists = any(os.path.lexists(output.path) for output in layout.outputs)
        return state(self.layout) if exists or find_work_folders(layout.path, layout.work_root) else "new"

    @property
    def notes(self) -> tuple[str, ...]:
        """What the run has left to do after an earlier start."""
        notes = {
            "published": "the output is complete already: a run has nothing to do",
            "sealed": "an earlier start computed all of it: a run brings it under its name",
            "unfinished": "an earlier start has begun it: a run goes on from there",
        }
        return tuple(note for state, note in notes.items() if state == self.state)


def check_start(job: Job, *, overwrite: bool = False) -> Start:
    """Check that a run can start; `overwrite` allows it to replace an existing output.

    Raises
    ------
    RequestError
        The output cannot be written, or something is in its way.
    VerificationError
        The output is complete and damaged.
    DataError
        The input lacks files that it once had.
    """
    start = Start(job)
    layout = job.plan.layout
    with job.config.locating():
        for output in layout.outputs:
            check_layout(output)
        current = start.state
        if current == "published":
            if not overwrite:
                refuse_damaged(start.layout)
            return start
        if current == "sealed":
            check_publish(start.layout, overwrite=overwrite)
        else:
            check_targets(layout, overwrite=overwrite)
        _check_runs(start, current, overwrite)
        for output in layout.outputs:
            _check_folder(os.path.dirname(output.path), field_of(output))
        if layout.work_root:
            _check_folder(layout.work_root, "output.work")
        _ = job.missing  # raises for files that the input lacks
    return start


def check_targets(layout: Layout, *, overwrite: bool) -> None:
    """Raise RequestError where an output's path holds something that must not be replaced."""
    for output in layout.outputs:
        check_target(output.path, overwrite=overwrite, field=field_of(output))


def refuse_damaged(layout: Layout) -> None:
    """Raise VerificationError where files of a complete output are missing or of another size."""
    if os.path.isdir(layout.work):
        return  # an earlier start published it and died before it removed the work folder
    for output in layout.outputs:
        damage = next(check_files(output.path, read_manifest(output.path), content=False), None)
        if damage is not None:
            message = f"the output was complete, and is damaged now ({damage})"
            raise VerificationError([Problem(message, "write it again with --overwrite", file=output.path)])


def field_of(output: Layout) -> str:
    """Return the field of the config that names an output."""
    return "output.background" if output.holder else "output.path"


def _check_runs(start: Start, current: State, overwrite: bool) -> None:
    """Refuse to start while this run or another of this output is under way, or another is unfinished."""
    layout = start.job.plan.layout
    if not find_work_folders(layout.path, layout.work_root):
        return
    check_other_runs(start.layout, start.inputs, overwrite=overwrite)
    if current == "new":
        return
    check_lock(start.layout.work)
    cut = read_checked(f"{start.layout.work}/windows.json")
    plan = start.job.plan
    if current == "unfinished" and isinstance(cut, Mapping) and plan.resources.cluster != "remote":
        resume_tiling(plan.workload, plan.resources, plan.tiling, cut["window"])


def _check_folder(folder: str, field: str) -> None:
    """Refuse a folder that cannot be written to: no folder, no permission, a full disk."""
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
