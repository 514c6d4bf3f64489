"""`run` and `save`: from a config or a lazy image to an OME-Zarr that appears once it is whole."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pipeline.config.load import RunConfig
from pipeline.model.errors import DataError, RequestError, StoppedError, VerificationError
from pipeline.model.image import Image
from pipeline.planning.describe import plan_dict
from pipeline.planning.job import Job, prepare, prepare_save
from pipeline.planning.start import check_start, check_targets
from pipeline.runtime.peak import PeakMemory
from pipeline.runtime.progress import Progress, say_after
from pipeline.runtime.signals import Stop, stoppable
from pipeline.runtime.summary import Summary, Totals, performance
from pipeline.write import (
    Contents,
    DamagedChunksError,
    Layout,
    check_files,
    contrast_limits,
    discard,
    provenance_of,
    publish,
    read_manifest,
    seal,
)
from pipeline.write.journal import Journal, begin
from pipeline.write.work import changes, remove_other_runs, touched


def run(
    config: RunConfig | str | os.PathLike[str] | Mapping[str, Any],
    *,
    overwrite: bool = False,
    sets: Iterable[str] = (),
    input: str | None = None,
    output: str | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Run a config, or resume it where an earlier run of it stopped.

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
        Receives messages and how far the run is; default: nothing is shown.

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
    progress = progress or Progress()
    with stoppable(progress.say) as stop:
        job = prepare(config, sets=sets, input=input, output=output)
        try:
            with job.config.locating():
                return _Run(job, overwrite, progress, stop, began).go()
        except MemoryError as error:
            from pipeline.runtime.executors.executor import run_error

            raise run_error(error) from error


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
        Receives messages and how far the run is.
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
    progress = progress or Progress()
    with stoppable(progress.say) as stop:
        job = prepare_save(image, os.fspath(path), output)
        return _Run(job, overwrite, progress, stop, began).go()


@dataclass
class _Run:
    """One start of a run."""

    job: Job
    overwrite: bool
    progress: Progress
    stop: Stop
    began: float
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def go(self) -> Summary:
        start = check_start(self.job, overwrite=self.overwrite)
        inputs, layout = start.inputs, start.layout
        if start.state == "published":
            if not self._must_replace(layout):
                discard(layout)
                if self.overwrite:
                    remove_other_runs(layout, inputs, overwrite=True)
                return self._summary_of_before(layout)
            check_targets(layout, overwrite=True)
        if self.job.missing is not None:
            self.progress.say(f"note: of the input {self.job.missing}")
        for note in self.job.source.notes:
            self.progress.say(f"note: {note}")
        windows = {"window": dict(self.job.plan.tiling.window)}
        with (
            PeakMemory() as peak,
            begin(layout, inputs, lambda: windows, overwrite=self.overwrite) as journal,
        ):
            computed = Totals()
            if journal.state == "unfinished":
                try:
                    self._check_windows_of_before(journal, inputs)
                    computed = self._compute(layout, journal)
                    self._refuse_changed_input(inputs)
                except (RequestError, DataError):
                    if not journal.done:
                        discard(layout)  # a run that is refused before its first window leaves nothing
                    raise
            self.stop.working = True  # the commit is short, and better ends
            summary = self._summary(layout, journal, computed, peak)
            if journal.state == "unfinished":
                self._refuse_clipped(summary)
                self._seal(layout, journal, summary, inputs)
            publish(layout, overwrite=self.overwrite)
            return replace(
                summary,
                seconds=time.monotonic() - self.began - summary.startup_seconds,
                memory_peak_bytes=peak.look(),
            )

    def _must_replace(self, layout: Layout) -> bool:
        """Return whether a complete output of this very config is written again: only if it is damaged."""
        # Where its work folder is still there, an earlier start published it and died before it tidied up.
        if not self.overwrite or os.path.isdir(layout.work):
            return False
        self.progress.say(f"checking {layout.path}, which is complete already")
        try:
            return any(any(check_files(output.path, read_manifest(output.path))) for output in layout.outputs)
        except VerificationError:
            return True

    def _summary_of_before(self, layout: Layout) -> Summary:
        summary = (provenance_of(layout.path) or {}).get("summary", {})
        # Another version may have written it, with other fields.
        fields = {key: value for key, value in summary.items() if key in Summary.__dataclass_fields__}
        return replace(Summary(**{**fields, "output": layout.path}), already_complete=True)

    def _check_windows_of_before(self, journal: Journal, inputs: Mapping[str, Any]) -> None:
        damaged = journal.check()
        if damaged:
            self.progress.say(f"{len(damaged)} windows are damaged on disk and are computed again")
        if not journal.touched:
            return
        if inputs["input"].get("whole"):  # its identity is a checksum of all bytes
            self.progress.say("note: the input's files have another time, and hold what they held")
        else:
            self.progress.say("the input's files have another time: what was done is computed again")
            journal.forget(sorted(journal.done))
        journal.keep(inputs)

    def _compute(self, layout: Layout, journal: Journal) -> Totals:
        # Dask, numba and the kernels are imported here, which a run that is complete already does not need.
        from pipeline.runtime.compute import compute
        from pipeline.runtime.executors.cluster import open_executor

        resources = self.job.plan.resources
        if resources.cluster != "remote":
            # Before the clock starts, and before workers look for the kernels in the cache. From the second
            # run on the cache has them, and there is nothing to say.
            with say_after(1.0, self.progress.say, "compiling the kernels, once on this machine"):
                self.job.plan.warm_up()
        with open_executor(resources, self.job.config.compute.cluster, self.progress.say) as executor:
            return compute(self.job, layout, journal, executor, self.progress, self.stop)

    def _refuse_changed_input(self, inputs: Mapping[str, Any]) -> None:
        before, after = {"input": inputs["input"]}, {"input": self.job.source.identity()}
        differences = changes(before, after)
        if not differences and not after["input"].get("whole"):
            differences = touched(before, after)
        if differences:
            raise StoppedError(
                f"the input changed during the run ({'; '.join(differences[:3])})",
                "let nothing write to it, then run again: what has changed is compared once more",
            )

    def _summary(self, layout: Layout, journal: Journal, computed: Totals, peak: PeakMemory) -> Summary:
        plan = self.job.plan
        pixels_in = computed.bytes_in // plan.image.dtype.itemsize
        startup = max(0.0, computed.began - self.began)
        return Summary(
            output=layout.path,
            windows=sum(key.level == 0 for key in journal.done),
            windows_resumed=computed.resumed,
            seconds=time.monotonic() - self.began - startup,
            startup_seconds=startup,
            bytes_in=computed.bytes_in,
            bytes_out=pixels_in * sum(output.spec.dtype.itemsize for output in layout.outputs),
            bytes_stored=sum(
                record.nbytes for second in (False, True) for record in journal.records(background=second)
            ),
            pixels=plan.output.nbytes // plan.output.dtype.itemsize,
            clipped=sum(int(facts.get("clipped", 0)) for _, facts in journal.facts()),
            memory_peak_bytes=peak.look(),
            memory_predicted_bytes=computed.predicted or plan.memory.predicted,
            memory_budget_bytes=plan.resources.memory,
            where=computed.where,
            missing=str(self.job.missing or ""),
            notes=self.job.source.notes,
            background="" if layout.background is None else layout.background.path,
            performance=performance(computed.spent, computed.driver, computed.workers, computed.seconds),
        )

    def _refuse_clipped(self, summary: Summary) -> None:
        most, share = self.job.config.output.max_clipped, summary.clipped_share
        if most is not None and share > most:
            raise DataError(
                f"{100 * share:.3g} % of the pixels were clipped and {100 * most:.3g} % are allowed",
                "add an offset, take a wider dtype, or raise max_clipped; then begin anew with --overwrite",
                "output.max_clipped",
            )

    def _seal(self, layout: Layout, journal: Journal, summary: Summary, inputs: Mapping[str, Any]) -> None:
        from pipeline.reporting import run_files

        try:
            limits = [contrast_limits(output) for output in layout.outputs]
        except DamagedChunksError as error:
            raise StoppedError(f"{error} on the disk", "the same command computes them again") from error
        provenance = {
            "config": self.job.config.resolved(),
            "input": {"path": self.job.source.path, **inputs["input"]},
            "files": inputs["files"],
            "versions": inputs["versions"],
            "plan": plan_dict(self.job.plan, self.job.source.path),
            "started": self.started,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "summary": summary.as_dict(),
        }
        files = run_files(self.job, layout, journal.facts(), provenance, self.progress.say)
        second = None
        if layout.background is not None:
            of = {"of": layout.path, "is": list(self.job.plan.backgrounds)}
            second = Contents(journal.records(background=True), {**provenance, "background": of}, limits[1])
        seal(layout, journal.records(), provenance, limits=limits[0], files=files, background=second)
