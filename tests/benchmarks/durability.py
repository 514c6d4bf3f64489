"""Measure the cost of what lets runs survive: fsync, checksums and the journal.

    pip install '.[bench]'
    python tests/benchmarks/durability.py /dev/shm/bench --frames 200
    python tests/benchmarks/durability.py . --frames 200           # on a disk

Prints for each filter the ratio of a run with everything on to one with some or all of it off: clock
(ratio of the minima) and processor time, which depends less on other load. The modes take turns in one
process; start-up is not counted. The clock includes a `syncfs` after the run, so that no mode gains by
leaving work to the disk. The input is in memory if possible.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

from runs import make_input

import pipeline
from pipeline.model.machine import cores
from pipeline.storage import durable
from pipeline.write import region
from pipeline.write.journal import Journal
from pipeline.write.offsets import WindowKey

STEPS = {
    "hardly more than a copy": {"subtract_minimum": {"size": 3}},
    "white_tophat 25": {"white_tophat": {"radius": 25}},
}


@contextmanager
def no_fsync() -> Iterator[None]:
    """Leave writing to the disk to the system."""
    without = SimpleNamespace(**{**vars(os), "fsync": lambda descriptor: None})
    with (
        patch.object(durable, "os", without),
        patch.object(durable, "sync_path", lambda path: None),
        patch.object(durable, "sync_all", lambda files, root: None),
    ):
        yield


@contextmanager
def no_checksums() -> Iterator[None]:
    """Turn off checksums, of written and of read files."""
    with (
        patch.object(region, "crc32c", lambda data: 0),
        patch.object(region, "matches", lambda record, data: record is not None),
    ):
        yield


@contextmanager
def no_journal() -> Iterator[None]:
    """Keep the journal in memory."""
    entries_by_window: dict[WindowKey, dict[str, Any]] = {}

    def write(journal: Journal, window: WindowKey, entry: dict[str, Any]) -> None:
        entries_by_window[window] = entry
        journal._offsets[window] = 0

    def entries(journal: Journal, windows: Iterable[WindowKey]) -> Iterator[tuple[WindowKey, dict[str, Any]]]:
        yield from ((window, entries_by_window[window]) for window in windows)

    with patch.object(Journal, "_write", write), patch.object(Journal, "_entries", entries):
        yield


@contextmanager
def nothing() -> Iterator[None]:
    """Turn off all three."""
    with ExitStack() as stack:
        for mode in (no_fsync, no_checksums, no_journal):
            stack.enter_context(mode())
        yield


@contextmanager
def everything() -> Iterator[None]:
    """Turn off nothing."""
    yield


MODES = {
    "everything": everything,
    "without fsync": no_fsync,
    "without checksums": no_checksums,
    "without the journal": no_journal,
    "nothing": nothing,
}


class Seconds(NamedTuple):
    """Clock and processor time of a run."""

    clock: float
    processors: float


def sync_disk(folder: Path) -> None:
    """Write all cached data of the file system of a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    ctypes.CDLL(None).syncfs(descriptor)
    os.close(descriptor)


def timed_run(source: Path, target: Path, step: dict[str, Any], workers: int, window: int | None) -> Seconds:
    """Run a config, remove its output, and return its time."""
    compute: dict[str, Any] = {"cluster": "threads", "workers": workers}
    if window is not None:
        compute["window"] = {"t": window}
    before = time.process_time()
    summary = pipeline.run(
        {
            "input": {"path": str(source), "axes": "tyx"},
            "steps": [step],
            "output": {"path": str(target)},
            "compute": compute,
        }
    )
    processors, ended = time.process_time() - before, time.perf_counter()
    sync_disk(target.parent)
    clock = summary.seconds + time.perf_counter() - ended
    shutil.rmtree(target)
    sync_disk(target.parent)
    return Seconds(clock, processors)


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--window", type=int, help="Frames in a window, instead of what the plan chooses.")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=["everything", "nothing"])
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else options.folder
    with (
        tempfile.TemporaryDirectory(dir=memory, prefix="bgone-") as source_folder,
        tempfile.TemporaryDirectory(dir=options.folder, prefix="bgone-") as target_folder,
    ):
        source, target = Path(source_folder) / "in.zarr", Path(target_folder) / "out.zarr"
        make_input(source, options.frames)
        for name, step in STEPS.items():
            timed_run(source, target, step, cores(), options.window)
            times_by_mode: dict[str, list[Seconds]] = {mode: [] for mode in options.modes}
            for turn in range(options.rounds):
                # In alternating order, so that no mode always follows the same one.
                for mode in options.modes[:: -1 if turn % 2 else 1]:
                    with MODES[mode]():
                        times_by_mode[mode].append(timed_run(source, target, step, cores(), options.window))
            print(f"{name}, {options.frames} frames, {cores()} threads:")
            for mode, times in times_by_mode.items():
                print(f"  {mode:20} {ratios(times, times_by_mode[options.modes[-1]])}", flush=True)


def ratios(times: list[Seconds], base: list[Seconds]) -> str:
    """Format minimum and median of a mode, and their ratio to those of another."""
    words = []
    for kind in Seconds._fields:
        own, other = ([getattr(seconds, kind) for seconds in group] for group in (times, base))
        least, median = min(own) / min(other), statistics.median(own) / statistics.median(other)
        words.append(f"{kind} {min(own):6.2f} s, ÷ {least:.3f} (median {median:.3f})")
    return "; ".join(words)


if __name__ == "__main__":
    main()
