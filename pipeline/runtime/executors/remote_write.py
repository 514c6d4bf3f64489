"""Reading and writing by workers elsewhere: only once they have passed their check, and synced by them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from pipeline.model.image import ImageSpec, Region
from pipeline.read import Source
from pipeline.runtime.executors.worker_check import Guard
from pipeline.storage import durable
from pipeline.write import ChunkRecord, Layout


@dataclass(frozen=True)
class RemoteRead:
    """Source that only workers can read which have passed their check; picklable."""

    guard: Guard
    source: Source

    @property
    def spec(self) -> ImageSpec:
        """The image."""
        return self.source.spec

    def read(self, region: Region) -> NDArray:
        """Return the pixels of a region."""
        self.guard()
        return self.source.read(region)


@dataclass(frozen=True)
class RemoteWrite:
    """Writer that checks the worker before and brings its files to the disk after; picklable.

    `call` writes files of the output and returns a `BlockResult`.
    """

    guard: Guard
    layout: Layout
    call: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        """Return the result of `call`, once its files are on the disk."""
        self.guard()
        result = self.call(*arguments)
        for output, records in zip(self.layout.outputs, (result.records, result.background), strict=False):
            # Here, as they may wait in the memory of this host, where no other host's fsync reaches them.
            sync_own(output, records)
        return result


def sync_own(layout: Layout, records: Iterable[ChunkRecord]) -> None:
    """Bring files to the disk, and the folders that hold them, on the host that wrote them."""
    for folder, files in _files_by_array(layout, records).items():
        # With the slash longer than the array's own folder, which all workers share: the driver syncs that.
        durable.sync_all(files, f"{folder}/")


def sync_shared(layout: Layout, records: Iterable[ChunkRecord]) -> None:
    """Bring the folders to the disk that all workers write into; `sync_own` has done the rest."""
    folders = set(_files_by_array(layout, records))
    if not folders:
        return
    folders |= {os.path.dirname(folder) for folder in folders} | {layout.image}
    for folder in sorted(folders, key=len, reverse=True):
        durable.sync_path(folder)


def _files_by_array(layout: Layout, records: Iterable[ChunkRecord]) -> dict[str, list[str]]:
    """Return the paths of files, by the folder in which an array's chunks begin."""
    depth = 2 if layout.version == "0.5" else 1  # Zarr 3 has a folder `c` between
    files: dict[str, list[str]] = {}
    for record in records:
        if not record.empty:
            folder = "/".join([layout.image, *record.key.split("/")[:depth]])
            files.setdefault(folder, []).append(f"{layout.image}/{record.key}")
    return files
