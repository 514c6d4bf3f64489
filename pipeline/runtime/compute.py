"""All pixels of a run: its windows, then its coarser levels, each journalled once it is on the disk."""

from __future__ import annotations

import math
import threading
import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import dask.array as da
import numpy as np

from pipeline.model.errors import StoppedError
from pipeline.model.tiling import Cut
from pipeline.model.timing import Seconds, add_up, spending, take
from pipeline.planning.job import Job
from pipeline.planning.resume_tiling import Windows, refit
from pipeline.planning.warmup import WarmUp
from pipeline.read.from_dask import LazySource
from pipeline.runtime.executors.cluster import open_executor
from pipeline.runtime.executors.executor import Executor
from pipeline.runtime.executors.remote_write import Elsewhere, fit, sync_shared
from pipeline.runtime.executors.worker_check import Guard, make_probe
from pipeline.runtime.executors.workers import Worker
from pipeline.runtime.levels import Levels, unread_since
from pipeline.runtime.loop import compute_windows
from pipeline.runtime.planes import merge
from pipeline.runtime.progress import Progress
from pipeline.runtime.signals import Stop
from pipeline.runtime.store import Receipt, StoreRegion
from pipeline.runtime.windows import store_tasks, window_tasks
from pipeline.steps.chain import ApplyChain
from pipeline.write import ChunkRecord, DamagedChunksError, Layout, check_files, sync
from pipeline.write.journal import Journal

USUAL_SPEED = 200e6
"""Bytes of input a second that one thread filters, where nothing has been measured yet."""

REPAIRS = 3
"""How often one start computes files again that were damaged on the disk."""


class Part(NamedTuple):
    """A window's number, and which of its parts."""

    window: int
    number: int

    def __str__(self) -> str:
        return f"window {self.window}"


class Group(NamedTuple):
    """A level's number, and which of its groups of regions."""

    level: int
    number: int

    def __str__(self) -> str:
        return f"group {self.number} of level {self.level}"


@dataclass
class Computation:
    """One start's way through what is still to do.

    Parameters
    ----------
    job : Job
        What is computed.
    layout : Layout
        The output on disk.
    journal : Journal
        What is done.
    progress : Progress
        Told how far it is.
    stop : Stop
        Noted signals.

    Attributes
    ----------
    where : str
        What computes it.
    ready : float
        When the first window began, by `time.monotonic`.
    resumed : int
        Windows that an earlier start had done.
    bytes_in : int
        Pixels of the input that this start was for, uncompressed.
    predicted : int
        Bytes of memory that it takes.
    spent, driver : mapping of str to float
        Seconds by kind of work: of all tasks together, and of this process between them.
    workers : int
        Tasks at a time; 0 where the workers are not this run's own.
    seconds : float
        From the first window to the last group of the pyramid.
    """

    job: Job
    layout: Layout
    journal: Journal
    progress: Progress
    stop: Stop
    where: str = ""
    ready: float = 0.0
    resumed: int = 0
    bytes_in: int = 0
    predicted: int = 0
    spent: Seconds = field(default_factory=dict)
    driver: Seconds = field(default_factory=dict)
    workers: int = 0
    seconds: float = 0.0
    _guard: Guard | None = field(default=None, init=False)

    def run(self) -> None:
        """Compute what is not journalled.

        Raises
        ------
        PipelineError
            A window failed, files keep being damaged, or the run was asked to stop.
        """
        plan, before = self.job.plan, self.journal.done
        windows = refit(plan.work, plan.resources, plan.tiling, self.journal.windows["window"])
        self.resumed = sum(name.startswith("0/") for name in before)
        warm = plan.warm_up
        if plan.resources.cluster != "remote":
            self._warm_up(warm)
        cluster = self.job.config.compute.cluster
        with open_executor(plan.resources, cluster, self.progress.say) as executor:
            self._guard = executor.prepare(
                lambda: make_probe(self.layout, self.job.source), warm, self.progress.say
            )
            if executor.smallest is not None:
                windows = self._fit(executor.smallest)
            self.predicted = windows.memory.predicted
            self.where, self.ready = executor.where, time.monotonic()
            self.workers = 0 if plan.resources.cluster == "remote" else plan.resources.workers
            self.stop.working = True
            for _ in range(REPAIRS):
                try:
                    return self._all(executor, windows, before)
                except DamagedChunksError as error:
                    lost = self.journal.forget_files(error.keys)
                    self.progress.say(f"{error}: {len(lost)} windows are computed again")
        raise StoppedError(
            f"something else keeps changing files in {self.layout.work}",
            "look after the disk, then run the same command again",
        )

    def _warm_up(self, warm: WarmUp) -> None:
        """Compile the kernels before the clock starts, so that workers find them in the cache."""
        # Told only where it takes long: from the second run on the cache has them.
        notice = threading.Timer(1.0, self.progress.say, ["compiling the kernels, once on this machine"])
        notice.start()
        try:
            warm()
        finally:
            notice.cancel()

    def _fit(self, worker: Worker) -> Windows:
        plan = self.job.plan
        window = self.journal.windows["window"]
        return fit(plan.work, plan.tiling, window, worker, plan.resources.memory)

    def _seconds_a_block(self, windows: Windows) -> float:
        """Return how long a block takes on one thread: as measured, and at first as is usual."""
        nbytes = math.prod(windows.tiling.block.values()) * self.job.plan.image.dtype.itemsize
        if not self.bytes_in:
            return nbytes / USUAL_SPEED
        return sum(self.spent.values()) * nbytes / self.bytes_in

    def _guarded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return what a task calls to write: on a cluster, with a look at the worker."""
        return call if self._guard is None else Elsewhere(self._guard, self.layout, call)

    def _all(self, executor: Executor, windows: Windows, before: Iterable[str]) -> None:
        self._windows(executor, windows)
        levels = Levels(self.layout, windows.tiling)
        for level in range(1, len(self.layout.levels)):
            self._level(executor, levels, level)
        self.seconds = time.monotonic() - self.ready
        self._read_again(unread_since(before, len(self.layout.levels)))

    def _windows(self, executor: Executor, windows: Windows) -> None:
        tiling = windows.tiling
        store = self._guarded(
            StoreRegion(self.layout, self.job.plan.offset, self.job.plan.overflow, self.job.plan.backgrounds)
        )
        item = self.job.plan.image.dtype.itemsize
        # Not a list: at a hundred thousand windows and more every byte of each counts.
        todo = array("q", (number for number in range(tiling.windows) if f"0/{number}" not in self.journal))
        collected: dict[int, dict[int, np.ndarray]] = defaultdict(dict)
        self.progress.say(f"computing on {self.where}: {len(todo)} of {tiling.windows} windows to do")
        self.progress.start(
            tiling.windows,
            tiling.windows - len(todo),
            sum(item * window_pixels(tiling.cuts(window)) for window in todo),
        )

        def tasks(part: Part) -> da.Array:
            cuts = windows.parts(part.window)[part.number]
            return self._tasks(cuts, store, executor.batch(self._seconds_a_block(windows)))

        def finished(part: Part, result: np.ndarray) -> None:
            window, number = part
            collected[window][number] = result.reshape(-1)
            if len(collected[window]) < len(windows.parts(window)):
                return
            parts = collected.pop(window)
            self._record(f"0/{window}", np.concatenate([parts[number] for number in sorted(parts)]))
            nbytes = item * window_pixels(tiling.cuts(window))
            self.bytes_in += nbytes
            self.progress.advance(nbytes)

        # A caller's own `Progress` need not know of it.
        within = getattr(self.progress, "within", lambda begun: None)
        in_parts = len(windows.parts(todo[0])) if todo else 1

        def moved(begun: float) -> None:
            within((begun + sum(map(len, collected.values()))) / in_parts)

        executor.expect(tiling.blocks * len(todo) // tiling.windows)
        every = (Part(window, number) for window in todo for number in range(len(windows.parts(window))))
        try:
            compute_windows(executor, every, tasks, finished, self.stop, moved)
        finally:
            self.progress.stop()

    def _tasks(self, cuts: tuple[Cut, ...], store: Callable[..., Any], batch: int) -> da.Array:
        source, config = self.job.source, self.job.config
        if isinstance(source, LazySource):
            return store_tasks(source.window(cuts), cuts, store)
        chain = ApplyChain(self.job.plan.steps, source.spec.axes, cuts, config.input.nan == "refuse")
        return window_tasks(source, chain, store, batch)

    def _level(self, executor: Executor, levels: Levels, level: int) -> None:
        groups = (Group(level, number) for number in range(levels.groups(level)))
        todo = (group for group in groups if f"{level}/{group.number}" not in self.journal)

        def tasks(group: Group) -> da.Array:
            return levels.tasks(self.journal, level, group.number, self._guarded)

        def finished(group: Group, result: np.ndarray) -> None:
            self._record(f"{level}/{group.number}", result)

        compute_windows(executor, todo, tasks, finished, self.stop)

    def _record(self, name: str, result: np.ndarray) -> None:
        receipts: list[Receipt] = list(result.reshape(-1))
        records = [record for receipt in receipts for record in receipt.records]
        others = [record for receipt in receipts for record in receipt.background]
        planes = merge(part for receipt in receipts for part in receipt.planes)
        self.spent = add_up([self.spent, *(receipt.seconds for receipt in receipts)])
        with spending("sync"):
            for output, files in zip(self.layout.outputs, (records, others), strict=False):
                (sync if self._guard is None else sync_shared)(output, files)
            self.journal.append(
                name, records, others, clipped=sum(receipt.clipped for receipt in receipts), planes=planes
            )
        self.driver = add_up([self.driver, take()])

    def _read_again(self, windows: list[str]) -> None:
        """Read what an earlier start wrote and this one has not read: a disk may have changed it since."""
        if windows:
            self.progress.say(f"checking what an earlier start wrote: the files of {len(windows)} windows")
        keys = []
        for output in self.layout.outputs:
            records = self.journal.records(windows, background=output is not self.layout)
            keys += [damaged.key for damaged in check_files(output.image, self._until_stopped(records))]
        if keys:
            raise DamagedChunksError(keys)

    def _until_stopped(self, records: Iterable[ChunkRecord]) -> Iterator[ChunkRecord]:
        for record in records:
            self.stop.tell()
            self.stop.check()
            yield record


def window_pixels(cuts: tuple[Cut, ...]) -> int:
    """Return the pixels that a window keeps."""
    return int(np.prod([cut.edges[-1] - cut.edges[0] for cut in cuts], dtype=np.int64))
