"""The run: from a config to an OME-Zarr that appears under its name when it is whole."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import dask.array as da
import numpy as np

from pipeline.blocks import retile
from pipeline.cluster import Executor, open_executor
from pipeline.config import RunConfig
from pipeline.describe import plan_dict
from pipeline.errors import DataError, PipelineError, RequestError, StoppedError
from pipeline.graph import LazySource, call_tasks, window_result, window_tasks
from pipeline.image import Image
from pipeline.job import Job, prepare, prepare_save
from pipeline.journal import Journal, begin, fingerprint, versions
from pipeline.loop import compute_windows
from pipeline.paths import is_url
from pipeline.peak import PeakMemory
from pipeline.progress import Progress, Silent
from pipeline.step import apply_step
from pipeline.stopping import Stop, stoppable
from pipeline.store import BuildLevel, Receipt, StoreRegion
from pipeline.summary import Summary
from pipeline.tiling import Cut, Tiling
from pipeline.write import Layout, check_target, contrast, discard, level_windows, publish, seal, state, sync
from pipeline.write.publish import provenance_of

LEVEL_BYTES = 64 << 20
"""Bytes of the finer level that one task of the pyramid reads at the most, where a file allows."""

LEVEL_TASKS = 8
"""Tasks of the pyramid that are journalled together."""


def run(
    config: RunConfig | str | os.PathLike[str] | Mapping[str, Any],
    *,
    overwrite: bool = False,
    sets: Iterable[str] = (),
    input: str | None = None,
    output: str | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Run a config, or go on where a run of it stopped.

    Parameters
    ----------
    config : path or mapping
        A YAML file, or the same as plain data.
    overwrite : bool
        Replace an existing output, once the new one is whole.
    sets : iterable of str
        Changes to the config, each PATH=VALUE.
    input, output : str, optional
        Paths instead of the config's.
    progress : Progress, optional
        Told how far it is; default: nothing is shown.

    Returns
    -------
    Summary
        Where it wrote, and what it took.

    Raises
    ------
    RequestError
        The request is wrong; nothing was started.
    StoppedError
        The run stopped on the way; the same call resumes it.
    DataError
        The data holds a NaN, or a value that the output cannot hold.
    """
    began = time.monotonic()
    job = prepare(config, sets=sets, input=input, output=output)
    try:
        return _Run(job, overwrite, progress or Silent(), began).go()
    except PipelineError as error:
        raise job.config.locate(error) from error.__cause__


def save(
    image: Image,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    **output: Any,
) -> Summary:
    """Compute a lazy image into an OME-Zarr, with the same windows, journal and metadata as a run.

    Parameters
    ----------
    image : Image
        From `open_image`, and steps called on it.
    path : path
        Where the OME-Zarr appears.
    overwrite : bool
        Replace an existing output, once the new one is whole.
    progress : Progress, optional
        Told how far it is.
    **output
        Further keys of a config's `output`: chunks, compressor, dtype, overflow, pyramid, …

    Returns
    -------
    Summary
        Where it wrote, and what it took.

    Raises
    ------
    RequestError
        The request is wrong; nothing was started.
    """
    began = time.monotonic()
    job = prepare_save(image, os.fspath(path), output)
    return _Run(job, overwrite, progress or Silent(), began).go()


@dataclass
class _Run:
    """One start of a run: what it is about, and what it has counted so far."""

    job: Job
    overwrite: bool
    progress: Progress
    began: float
    where: str = ""
    startup: float = 0.0
    resumed: int = 0
    bytes_in: int = 0
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def go(self) -> Summary:
        """Run it."""
        self._refuse_what_is_not_there_yet()
        inputs = self._inputs()
        layout = self.job.plan.layout.at(fingerprint(inputs))
        if state(layout) == "published":
            discard(layout)
            return self._already(layout)
        check_target(layout.path, overwrite=self.overwrite or state(layout) == "sealed")
        with ExitStack() as stack:
            stop = stack.enter_context(stoppable())
            peak = stack.enter_context(PeakMemory())
            cut = {"window": dict(self.job.plan.tiling.window)}
            journal = stack.enter_context(begin(layout, inputs, lambda: cut, overwrite=self.overwrite))
            if journal.state == "unfinished":
                self._compute(layout, journal, stop, inputs)
            facts = self._facts(journal)
            summary = self._summary(layout, journal, facts, peak)
            if journal.state == "unfinished":
                self._refuse_clipped(facts)
                kept = self._provenance(layout, summary, inputs)
                seal(layout, journal.records(), kept, windows=contrast(layout))
            publish(layout, overwrite=self.overwrite)
            return replace(
                summary,
                seconds=time.monotonic() - self.began - summary.startup_seconds,
                memory_peak_bytes=peak.nbytes,
            )

    def _refuse_what_is_not_there_yet(self) -> None:
        output = self.job.config.output
        if output.background is not None:
            raise RequestError("a second output is not written yet", "leave it out", "output.background")
        if is_url(output.path):
            raise RequestError(
                f"{output.path} is a URL, and outputs are written to folders", "name a folder", "output.path"
            )

    def _inputs(self) -> dict[str, Any]:
        """Return what decides pixels, and how they lie in files."""
        plain = self.job.config.resolved()
        config = {key: value for key, value in plain.items() if key != "compute"}
        layout = self.job.plan.layout
        files = [[list(level.shape), list(level.chunks), list(level.shards or ())] for level in layout.levels]
        return {"config": config, "input": self.job.source.identity(), "files": files, "versions": versions()}

    def _already(self, layout: Layout) -> Summary:
        kept = (provenance_of(layout.path) or {}).get("summary", {})
        known = {key: value for key, value in kept.items() if key in Summary.__dataclass_fields__}
        return replace(Summary(**{**known, "output": layout.path}), already_complete=True)

    def _compute(self, layout: Layout, journal: Journal, stop: Stop, inputs: Mapping[str, Any]) -> None:
        plan = self.job.plan
        self._say_resumed(journal)
        tiling, resources = retile(plan.work, plan.resources, plan.tiling, journal.windows["window"])
        self._warm_up()
        with open_executor(resources, self.job.config.compute.cluster) as executor:
            self.where = executor.where
            self.startup = time.monotonic() - self.began
            self._windows(executor, layout, journal, tiling, stop)
            for level in range(1, len(layout.levels)):
                self._level(executor, layout, journal, level, stop)
        if self.job.source.identity() != inputs["input"]:
            raise StoppedError("the input changed during the run", "run again with --overwrite")

    def _say_resumed(self, journal: Journal) -> None:
        damaged = journal.check()
        if damaged:
            self.progress.say(f"{len(damaged)} windows are damaged on disk and are computed again")
        for words in journal.touched:
            self.progress.say(f"note: {words}")

    def _warm_up(self) -> None:
        """Compile the kernels before the clock starts, so that workers find them in the cache."""
        spec = self.job.plan.image
        shape = tuple(min(size, 8) for size in spec.shape)
        block = np.zeros(shape, spec.dtype)
        for step in self.job.plan.steps:
            block = apply_step(step, block, spec.axes, (0,) * block.ndim)

    def _windows(
        self, executor: Executor, layout: Layout, journal: Journal, tiling: Tiling, stop: Stop
    ) -> None:
        plan, source = self.job.plan, self.job.source
        store = StoreRegion(layout, plan.offset, plan.overflow)
        refuse_nan = self.job.config.input.nan == "refuse"
        todo = [window for window in range(tiling.windows) if f"0/{window}" not in journal.done]
        item = plan.image.dtype.itemsize
        sizes = {window: item * window_pixels(tiling.cuts(window)) for window in todo}
        self.resumed = tiling.windows - len(todo)
        self.progress.say(f"computing on {executor.where}: {len(todo)} of {tiling.windows} windows to do")
        self.progress.start(tiling.windows, self.resumed, sum(sizes.values()))

        def tasks(window: int) -> da.Array:
            cuts = tiling.cuts(window)
            if isinstance(source, LazySource):
                pixels = source.window(cuts)
            else:
                pixels = window_result(source, plan.steps, cuts, refuse_nan)
            return window_tasks(pixels, store, cuts)

        def finished(window: int, result: np.ndarray) -> None:
            self._record(layout, journal, f"0/{window}", result)
            self.bytes_in += sizes[window]
            self.progress.advance(sizes[window])

        try:
            compute_windows(executor, todo, tasks, finished, stop)
        finally:
            self.progress.stop()

    def _level(self, executor: Executor, layout: Layout, journal: Journal, level: int, stop: Stop) -> None:
        regions = list(level_windows(layout, level, LEVEL_BYTES))
        groups = [regions[start : start + LEVEL_TASKS] for start in range(0, len(regions), LEVEL_TASKS)]
        todo = [number for number in range(len(groups)) if f"{level}/{number}" not in journal.done]

        def tasks(number: int) -> da.Array:
            return call_tasks(BuildLevel(layout, level), groups[number])

        def finished(number: int, result: np.ndarray) -> None:
            self._record(layout, journal, f"{level}/{number}", result)

        compute_windows(executor, todo, tasks, finished, stop)

    def _record(self, layout: Layout, journal: Journal, name: str, result: np.ndarray) -> None:
        receipts: list[Receipt] = list(result.reshape(-1))
        records = [record for receipt in receipts for record in receipt.records]
        sync(layout, records)
        journal.append(name, records, clipped=sum(receipt.clipped for receipt in receipts))

    def _facts(self, journal: Journal) -> dict[str, int]:
        clipped = sum(int(kept.get("clipped", 0)) for _, kept in journal.facts())
        return {"clipped": clipped, "stored": sum(record.nbytes for record in journal.records())}

    def _summary(
        self, layout: Layout, journal: Journal, facts: Mapping[str, int], peak: PeakMemory
    ) -> Summary:
        plan = self.job.plan
        done = self.bytes_in // plan.image.dtype.itemsize
        return Summary(
            output=layout.path,
            windows=sum(name.startswith("0/") for name in journal.done),
            windows_resumed=self.resumed,
            seconds=time.monotonic() - self.began - self.startup,
            startup_seconds=self.startup,
            bytes_in=self.bytes_in,
            bytes_out=done * plan.output.dtype.itemsize,
            bytes_stored=facts["stored"],
            pixels=plan.output.nbytes // plan.output.dtype.itemsize,
            clipped=facts["clipped"],
            memory_peak_bytes=peak.nbytes,
            memory_predicted_bytes=plan.memory.predicted,
            memory_budget_bytes=plan.resources.memory,
            where=self.where,
        )

    def _refuse_clipped(self, facts: Mapping[str, int]) -> None:
        most, plan = self.job.config.output.max_clipped, self.job.plan
        share = facts["clipped"] / max(1, plan.output.nbytes // plan.output.dtype.itemsize)
        if most is not None and share > most:
            raise DataError(
                f"{100 * share:.3g} % of the pixels were clipped and {100 * most:.3g} % are allowed",
                "add an offset, take a wider dtype, or raise max_clipped", "output.max_clipped",
            )  # fmt: skip

    def _provenance(self, layout: Layout, summary: Summary, inputs: Mapping[str, Any]) -> dict[str, Any]:
        plan = plan_dict(self.job.plan, self.job.source.path)
        return {
            "config": self.job.config.resolved(),
            "input": {"path": self.job.source.path, **inputs["input"]},
            "versions": inputs["versions"],
            "plan": plan,
            "started": self.started,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "summary": summary.as_dict(),
            "inputs": inputs,
        }


def window_pixels(cuts: tuple[Cut, ...]) -> int:
    """Return the pixels that a window keeps."""
    return int(np.prod([cut.edges[-1] - cut.edges[0] for cut in cuts], dtype=np.int64))
