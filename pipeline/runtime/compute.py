"""All pixels of a run: its windows, then its coarser levels, each journalled once it is on the disk."""

from __future__ import annotations

import math
import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import dask.array as da
import numpy as np

from pipeline.model.errors import StoppedError
from pipeline.model.tiling import Cut
from pipeline.model.timing import Seconds, add_up, collect_seconds, spending
from pipeline.planning.job import Job
from pipeline.planning.resume_tiling import Windows, resume_tiling
from pipeline.read import Source
from pipeline.read.lazy import LazySource
from pipeline.runtime.executors.executor import Executor
from pipeline.runtime.executors.remote_write import RemoteRead, RemoteWrite, sync_shared
from pipeline.runtime.executors.worker_check import Guard, make_check
from pipeline.runtime.executors.workers import tiling_for_worker
from pipeline.runtime.levels import Levels, unread_since
from pipeline.runtime.loop import compute_windows
from pipeline.runtime.planes import merge
from pipeline.runtime.progress import Progress
from pipeline.runtime.signals import Stop
from pipeline.runtime.store import BlockResult, StoreRegion
from pipeline.runtime.windows import store_tasks, window_tasks
from pipeline.steps.chain import ApplyChain
from pipeline.write import ChunkRecord, DamagedChunksError, Layout, check_files, sync
from pipeline.write.journal import Journal
from pipeline.write.offsets import WindowKey

USUAL_SPEED = 200e6
"""Bytes of input a second that one thread filters, where nothing has been measured yet."""

REPAIRS = 3
"""How often one start computes files again that were damaged on the disk."""


@dataclass(frozen=True)
class Computed:
    """What computing took.

    Parameters
    ----------
    where : str
        What computed it.
    began : float
        When the first window began, by `time.monotonic`.
    seconds : float
        From then to the last group of the pyramid.
    resumed : int
        Windows that an earlier start had done.
    bytes_in : int
        Pixels of the input that this start was for, uncompressed.
    predicted : int
        Bytes of memory that it takes.
    workers : int
        Tasks at a time; 0 where the workers are not this run's own.
    spent, driver : mapping of str to float
        Seconds by kind of work: of all tasks together, and of this process between them.
    """

    where: str = ""
    began: float = 0.0
    seconds: float = 0.0
    resumed: int = 0
    bytes_in: int = 0
    predicted: int = 0
    workers: int = 0
    spent: Seconds = field(default_factory=dict)
    driver: Seconds = field(default_factory=dict)


def compute(
    job: Job, layout: Layout, journal: Journal, executor: Executor, progress: Progress, stop: Stop
) -> Computed:
    """Compute what of a run is not journalled.

    Raises
    ------
    PipelineError
        A window failed, files keep being damaged, or the run was asked to stop.
    """
    plan, before, first = job.plan, journal.done, journal.windows["window"]
    windows = resume_tiling(plan.workload, plan.resources, plan.tiling, first)
    elsewhere = executor.prepare(lambda: make_check(layout, job.source, plan.warm_up))
    if elsewhere is not None:
        memory = plan.resources.memory
        windows = tiling_for_worker(plan.workload, plan.tiling, first, elsewhere.smallest, memory)
    guard = None if elsewhere is None else elsewhere.guard
    computation = _Computation(job, layout, journal, executor, progress, stop, windows, guard)
    began = time.monotonic()
    stop.working = True
    for _ in range(REPAIRS):
        try:
            computation.run()
            seconds = time.monotonic() - began
            computation.read_again(unread_since(before, len(layout.levels)))
            break
        except DamagedChunksError as error:
            lost = journal.forget_files(error.keys)
            progress.say(f"{error}: {len(lost)} windows are computed again")
    else:
        raise StoppedError(
            f"something else keeps changing files in {layout.work}",
            "look after the disk, then run the same command again",
        )
    return Computed(
        where=executor.where,
        began=began,
        seconds=seconds,
        resumed=sum(key.level == 0 for key in before),
        predicted=windows.memory.predicted,
        workers=0 if plan.resources.cluster == "remote" else plan.resources.workers,
        **vars(computation.sums),
    )


class _Part(NamedTuple):
    """One of the parts that a window is computed in."""

    window: WindowKey
    number: int

    def __str__(self) -> str:
        return str(self.window)


@dataclass
class _Sums:
    """What has been computed so far; see `Computed`."""

    bytes_in: int = 0
    spent: Seconds = field(default_factory=dict)
    driver: Seconds = field(default_factory=dict)


@dataclass(frozen=True)
class _Computation:
    job: Job
    layout: Layout
    journal: Journal
    executor: Executor
    progress: Progress
    stop: Stop
    windows: Windows
    guard: Guard | None
    sums: _Sums = field(default_factory=_Sums)

    def run(self) -> None:
        """Compute windows and levels."""
        self._windows()
        levels = Levels(self.layout, self.windows.tiling, self.journal)
        for level in range(1, len(self.layout.levels)):
            compute_windows(
                self.executor,
                (group for group in levels.groups(level) if group not in self.journal),
                lambda group: levels.tasks(group, self._guarded),
                self._record,
                self.stop,
            )

    def _windows(self) -> None:
        tiling = self.windows.tiling
        plan = self.job.plan
        store = self._guarded(StoreRegion(self.layout, plan.offset, plan.overflow, plan.backgrounds))
        # Not a list: at a hundred thousand windows and more every byte of each counts.
        todo = array("q", (at for at in range(tiling.windows) if WindowKey(0, at) not in self.journal))
        results: dict[WindowKey, dict[int, np.ndarray]] = defaultdict(dict)
        self.progress.say(
            f"computing on {self.executor.where}: {len(todo)} of {tiling.windows} windows to do"
        )
        self.progress.start(tiling.windows, tiling.windows - len(todo), sum(map(self._bytes, todo)))

        def tasks(part: _Part) -> da.Array:
            return self._tasks(self.windows.parts(part.window.number)[part.number], store)

        def finished(part: _Part, result: np.ndarray) -> None:
            window, number = part
            results[window][number] = result.reshape(-1)
            if len(results[window]) < len(self.windows.parts(window.number)):
                return
            parts = results.pop(window)
            self._record(window, np.concatenate([parts[number] for number in sorted(parts)]))
            nbytes = self._bytes(window.number)
            self.sums.bytes_in += nbytes
            self.progress.advance(nbytes)

        # A caller's own `Progress` need not know of it.
        within = getattr(self.progress, "within", lambda begun: None)
        in_parts = len(self.windows.parts(todo[0])) if todo else 1

        def moved(begun: float) -> None:
            within((begun + sum(map(len, results.values()))) / in_parts)

        self.executor.expect(tiling.blocks * len(todo) // tiling.windows)
        parts = (_Part(WindowKey(0, at), part) for at in todo for part in range(len(self.windows.parts(at))))
        try:
            compute_windows(self.executor, parts, tasks, finished, self.stop, moved)
        finally:
            self.progress.stop()

    def _bytes(self, window: int) -> int:
        """Return the bytes of the pixels that a window keeps, of the input."""
        pixels = math.prod(cut.edges[-1] - cut.edges[0] for cut in self.windows.tiling.cuts(window))
        return self.job.plan.image.dtype.itemsize * pixels

    def _tasks(self, cuts: tuple[Cut, ...], store: Callable[..., Any]) -> da.Array:
        source, config = self.job.source, self.job.config
        if isinstance(source, LazySource):
            return store_tasks(source.window(cuts), cuts, store)
        chain = ApplyChain(self.job.plan.steps, source.spec.axes, cuts, config.input.nan == "refuse")
        if self.guard is not None:
            source = cast(Source, RemoteRead(self.guard, source))
        return window_tasks(source, chain, store, self.executor.batch(self._seconds_a_block()))

    def _seconds_a_block(self) -> float:
        """Return how long a block takes on one thread: as measured, and at first as is usual."""
        nbytes = math.prod(self.windows.tiling.block.values()) * self.job.plan.image.dtype.itemsize
        if not self.sums.bytes_in:
            return nbytes / USUAL_SPEED
        return sum(self.sums.spent.values()) * nbytes / self.sums.bytes_in

    def _guarded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return what a task calls to write."""
        return call if self.guard is None else RemoteWrite(self.guard, self.layout, call)

    def _record(self, window: WindowKey, result: np.ndarray) -> None:
        blocks: list[BlockResult] = list(result.reshape(-1))
        records = [record for block in blocks for record in block.records]
        others = [record for block in blocks for record in block.background]
        self.sums.spent = add_up([self.sums.spent, *(block.seconds for block in blocks)])
        with spending("sync"):
            for output, files in zip(self.layout.outputs, (records, others), strict=False):
                (sync if self.guard is None else sync_shared)(output, files)
            self.journal.append(
                window,
                records,
                others,
                clipped=sum(block.clipped for block in blocks),
                planes=merge(figures for block in blocks for figures in block.planes),
            )
        self.sums.driver = add_up([self.sums.driver, collect_seconds()])

    def read_again(self, windows: list[WindowKey]) -> None:
        """Read what an earlier start wrote and this one has not read: a disk may have changed it since."""
        if windows:
            self.progress.say(f"checking what an earlier start wrote: the files of {len(windows)} windows")
        damaged = []
        for output in self.layout.outputs:
            records = self.journal.records(windows, background=output is not self.layout)
            damaged += [file.key for file in check_files(output.image, self._until_stopped(records))]
        if damaged:
            raise DamagedChunksError(damaged)

    def _until_stopped(self, records: Iterable[ChunkRecord]) -> Iterator[ChunkRecord]:
        for record in records:
            self.stop.tell()
            self.stop.check()
            yield record
