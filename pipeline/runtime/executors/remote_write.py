"""What differs where workers are elsewhere: each is looked at, syncs its own files, and has its own limit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.model.errors import RequestError
from pipeline.model.tiling import Tiling
from pipeline.planning.blocks import Resources, Work, choose_block, choose_window, memory_of
from pipeline.planning.resume_tiling import Windows, refit
from pipeline.runtime.executors.worker_check import Guard
from pipeline.runtime.executors.workers import Worker, room_of, too_small
from pipeline.storage import durable
from pipeline.write import ChunkRecord, Layout


@dataclass(frozen=True)
class Elsewhere:
    """A call that writes files of the output, as a worker of a cluster makes it; picklable.

    The worker is looked at first, and brings its files to the disk itself: what it has written may
    wait in the memory of its host, where no other host's fsync reaches it.

    Parameters
    ----------
    guard : Guard
        Looks at the worker.
    layout : Layout
        The output on disk.
    call : callable
        Writes, and returns a `Receipt`.
    """

    guard: Guard
    layout: Layout
    call: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        """Return the receipt, once all is on the disk."""
        self.guard()
        receipt = self.call(*arguments)
        for output, records in zip(self.layout.outputs, (receipt.records, receipt.background), strict=False):
            sync_own(output, records)
        return receipt


def sync_own(layout: Layout, records: Iterable[ChunkRecord]) -> None:
    """Bring files to the disk, and the folders below the array's that name them; where they were written.

    Raises
    ------
    StoppedError
        The disk could not take them.
    """
    for folder, files in _by_array(layout, records).items():
        # Longer than the array's own folder, which all workers share: it is the driver's.
        durable.sync_all(files, f"{folder}/")


def sync_shared(layout: Layout, records: Iterable[ChunkRecord]) -> None:
    """Bring the folders to the disk that all workers write into; `sync_own` has seen to the rest.

    Raises
    ------
    StoppedError
        The disk could not take them.
    """
    folders = set(_by_array(layout, records))
    if not folders:
        return
    folders |= {os.path.dirname(folder) for folder in folders} | {layout.image}
    for folder in sorted(folders, key=len, reverse=True):
        durable.sync_path(folder)


def _by_array(layout: Layout, records: Iterable[ChunkRecord]) -> dict[str, list[str]]:
    """Return the paths of files, by the folder in which an array's chunks begin."""
    depth = 2 if layout.version == "0.5" else 1
    found: dict[str, list[str]] = {}
    for record in records:
        if not record.empty:
            parts = record.key.split("/")
            folder = "/".join([layout.image, *parts[:depth]])
            found.setdefault(folder, []).append(f"{layout.image}/{record.key}")
    return found


def fit(work: Work, planned: Tiling, window: Mapping[str, int], worker: Worker, memory: int) -> Windows:
    """Return the windows of a run, in blocks that the smallest worker of a cluster can hold.

    Parameters
    ----------
    work : Work
        What is cut.
    planned : Tiling
        How it would be cut on this machine.
    window : mapping of str to int
        Axis → px of the windows of the first start.
    worker : Worker
        The one with the least memory a thread.
    memory : int
        Bytes that a worker may take that has no limit of its own.

    Raises
    ------
    RequestError
        Not even the smallest blocks fit.
    """
    room = room_of(worker) or memory
    resources = Resources(worker.threads, room, "remote")
    if memory_of(work, planned.block, planned.window, resources).predicted <= room:
        return refit(work, resources, planned, window)
    try:
        block, fewer = choose_block(work, resources)
        if fewer.workers == worker.threads:
            fitting = Tiling(planned.sizes, block, choose_window(work, block, resources), planned.halo)
            return refit(work, resources, fitting, window)
    except RequestError:
        pass
    least = {axis: work.least(axis) for axis in work.image.axes}
    raise too_small(worker, work.memory(least, resources).predicted, room)
