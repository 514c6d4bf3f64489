"""The pixels of a run: its windows, then its coarser levels, each journalled once it is on the disk."""

from __future__ import annotations

import math
import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import dask.array as da
import numpy as np

from pipeline.model.errors import StoppedError
from pipeline.model.tiling import Cut
from pipeline.model.timing import collect_seconds, spending, sum_seconds
from pipeline.planning.job import Job
from pipeline.planning.resume_tiling import Windows, resume_tiling
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
from pipeline.runtime.summary import Totals
from pipeline.runtime.windows import Reader, store_tasks, window_tasks
from pipeline.steps.chain import ApplyChain
from pipeline.write import ChunkRecord, DamagedChunksError, Layout, check_files, sync
from pipeline.write.journal import Journal
from pipeline.write.offsets import WindowKey

USUAL_SPEED = 200e6  # input bytes a second of one thread, until it has been measured
REPAIRS = 3  # how often one start recomputes files that were damaged on the disk


def compute(
    job: Job, layout: Layout, journal: Journal, executor: Executor, progress: Progress, stop: Stop
) -> Totals:
    """Compute the windows and levels of a run that are not journalled.

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
    computed = Totals(
        where=executor.where,
        began=time.monotonic(),
        resumed=sum(key.level == 0 for key in before),
        predicted=windows.memory.predicted,
        workers=0 if plan.resources.cluster == "remote" else plan.resources.workers,
    )
    guard = None if elsewhere is None else elsewhere.guard
    computation = _Computation(job, layout, journal, executor, progress, stop, windows, guard, computed)
    stop.working = True
    for _ in range(REPAIRS):
        try:
            computation.run()
            computed.seconds = time.monotonic() - computed.began
            computation.read_again(unread_since(before, journal.levels, len(layout.levels)))
        except DamagedChunksError as error:
            lost = journal.forget_files(error.keys)
            progress.say(f"{error}: {len(lost)} windows are computed again")
        else:
            return computed
    raise StoppedError(
        f"something else keeps changing files in {layout.work}",
        "look after the disk, then run the same command again",
    )


class _Part(NamedTuple):
    """One of the parts that a window is computed in, where the memory is too small for all of it."""

    window: WindowKey
    number: int

    def __str__(self) -> str:
        return str(self.window)


@dataclass(frozen=True)
class _Computation:
    job: Job
    layout: Layout
    journal: Journal
    executor: Executor
    progress: Progress
    stop: Stop
    windows: Windows
    guard: Guard | None  # for workers that do not share this machine's disk
    computed: Totals  # added up here

    def run(self) -> None:
        """Compute windows, and groups of the coarser levels once all that they are built from is there."""
        tiling, plan = self.windows.tiling, self.job.plan
        # Eight bytes a window where a list takes 36: there may be millions.
        todo = array("q", (n for n in range(tiling.windows) if WindowKey(0, n) not in self.journal))
        with_windows = self._levels_with_windows(todo)
        store = StoreRegion(self.layout, plan.offset, plan.overflow, plan.backgrounds, with_windows)
        store_block = self._guarded(store)
        levels = Levels(self.layout, tiling, self.journal, with_windows)
        groups = levels.groups()
        parts = (_Part(WindowKey(0, n), number) for n in todo for number in range(len(self.windows.parts(n))))
        parts_of_window = len(self.windows.parts(todo[0])) if todo else 1
        results: dict[WindowKey, dict[int, np.ndarray]] = defaultdict(dict)  # of windows with parts to come

        def following() -> _Part | WindowKey | None:
            return next(groups) or next(parts, None)

        def tasks(key: _Part | WindowKey) -> da.Array:
            if isinstance(key, WindowKey):
                return levels.tasks(key, self._guarded)
            return self._tasks(self.windows.parts(key.window.number)[key.number], store_block)

        def finished(key: _Part | WindowKey, result: np.ndarray) -> None:
            if isinstance(key, WindowKey):
                self._record(key, result)
                return
            window, number = key
            results[window][number] = result.reshape(-1)
            if len(results[window]) < len(self.windows.parts(window.number)):
                return
            done = results.pop(window)
            self._record(window, np.concatenate([done[number] for number in sorted(done)]), with_windows)
            nbytes = self._bytes(window.number)
            self.computed.bytes_in += nbytes
            self.progress.advance(nbytes)

        # Added later than the other methods: a caller's own `Progress` may lack it.
        within = getattr(self.progress, "within", lambda windows: None)

        def moved(shares: Mapping[Hashable, float]) -> None:
            begun = sum(share for key, share in shares.items() if isinstance(key, _Part))
            within((begun + sum(map(len, results.values()))) / parts_of_window)

        self.progress.say(
            f"computing on {self.executor.where}: {len(todo)} of {tiling.windows} windows to do"
        )
        self.progress.start(tiling.windows, tiling.windows - len(todo), sum(map(self._bytes, todo)))
        self.executor.expect(tiling.blocks * len(todo) // tiling.windows)
        try:
            compute_windows(self.executor, following, tasks, finished, self.stop, moved)
        finally:
            self.progress.stop()

    def _levels_with_windows(self, todo: Sequence[int]) -> int:
        """Count the coarser levels that are made of each block, so that they need not be read back."""
        tiling = self.windows.tiling
        # Blocks begin at multiples of these.
        sizes = (tiling.window, self.windows.part, tiling.block) if todo else ()
        return min([self.journal.levels, *map(self.layout.whole_levels, sizes)])

    def _bytes(self, window: int) -> int:
        """Return the input bytes of a window without its halo."""
        pixels = math.prod(cut.edges[-1] - cut.edges[0] for cut in self.windows.tiling.cuts(window))
        return self.job.plan.image.dtype.itemsize * pixels

    def _tasks(self, cuts: tuple[Cut, ...], store: Callable[..., Any]) -> da.Array:
        source, refuse_nan = self.job.source, self.job.config.input.nan == "refuse"
        if isinstance(source, LazySource):
            return store_tasks(source.window(cuts), cuts, store)
        chain = ApplyChain(self.job.plan.steps, source.spec.axes, cuts, refuse_nan)
        reader: Reader = source if self.guard is None else RemoteRead(self.guard, source)
        return window_tasks(reader, chain, store, self.executor.batch(self._seconds_a_block()))

    def _seconds_a_block(self) -> float:
        """Estimate the time that one thread takes for a block."""
        nbytes = math.prod(self.windows.tiling.block.values()) * self.job.plan.image.dtype.itemsize
        if not self.computed.bytes_in:
            return nbytes / USUAL_SPEED
        return sum(self.computed.spent.values()) * nbytes / self.computed.bytes_in

    def _guarded(self, write: Callable[..., Any]) -> Callable[..., Any]:
        return write if self.guard is None else RemoteWrite(self.guard, self.layout, write)

    def _record(self, window: WindowKey, result: np.ndarray, levels: int = 0) -> None:
        """Bring the files of a window or group to the disk, and journal it."""
        blocks: list[BlockResult] = list(result.reshape(-1))
        records = [record for block in blocks for record in block.records]
        background = [record for block in blocks for record in block.background]
        self.computed.spent = sum_seconds([self.computed.spent, *(block.seconds for block in blocks)])
        with spending("sync"):
            for output, files in zip(self.layout.outputs, (records, background), strict=False):
                (sync if self.guard is None else sync_shared)(output, files)
            self.journal.append(
                window,
                records,
                background,
                levels,
                clipped=sum(block.clipped for block in blocks),
                planes=merge(sums for block in blocks for sums in block.planes),
            )
        self.computed.driver = sum_seconds([self.computed.driver, collect_seconds()])

    def read_again(self, windows: list[WindowKey]) -> None:
        """Check the files of windows of an earlier start: the disk may have changed them since."""
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
