"""The journal of a run: one checksummed line for each finished window, in a work folder of its own.

The work folder `<output>.work-<fingerprint>` holds `inputs.json` (what the fingerprint was made
of), `windows.json` (how the run is cut, fixed at its first start), `journal`, `lock`, `drafts/`
and `image/`, the future output. A window without a line is not done.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from pipeline.model.errors import PipelineError, RequestError, StoppedError
from pipeline.storage import durable
from pipeline.storage.codec import crc32c
from pipeline.write.create import create
from pipeline.write.layout import Layout
from pipeline.write.lock import Lock
from pipeline.write.manifest import check_files
from pipeline.write.offsets import Offsets, WindowKey
from pipeline.write.own import ABOVE, clear_drafts, discard_work, write_note
from pipeline.write.publish import State, state
from pipeline.write.region import ChunkRecord
from pipeline.write.work import canonical, read_checked, remove_other_runs, touched, write_checked

_KEY = re.compile(r"(\d{1,2})/(\d{1,9})", re.ASCII)  # a line's window: LEVEL/NUMBER
_RESERVED = ("window", "chunks", "background", "of", "levels")  # keys of a line that are no facts


@contextlib.contextmanager
def begin(
    layout: Layout, inputs: Mapping[str, Any], windows: Callable[[], Any], *, overwrite: bool = False
) -> Iterator[Journal]:
    """Start or resume a run: work folder, lock, empty arrays, journal.

    If the journal's `state` is "sealed" or "published", only `publish` is left to do.

    Parameters
    ----------
    layout : Layout
        The output, with the fingerprint of `inputs`.
    inputs : mapping
        What decides pixels, as JSON.
    windows : callable
        Returns how the run is cut, as JSON; called only if no earlier start has fixed it.
    overwrite : bool
        Remove unfinished runs with other inputs, which are refused otherwise.

    Raises
    ------
    RequestError
        Another process is writing, another run is unfinished, or the folder cannot be made.
    """
    remove_other_runs(layout, inputs, overwrite=overwrite)
    with durable.before_start():
        made = durable.make_folder(layout.work)
    lock = Lock(layout.work)
    with ExitStack() as stack:
        with _undo_if_refused(lock, made):
            stack.enter_context(lock)
            # Again, now under the lock: two runs with different inputs may start together.
            remove_other_runs(layout, inputs, overwrite=overwrite)
            with durable.before_start():
                journal = Journal.open(layout, inputs, windows)
                if above := made[:-1]:
                    write_note(layout, ABOVE, "\n".join(above).encode())
        yield journal


@contextlib.contextmanager
def _undo_if_refused(lock: Lock, made: list[str]) -> Iterator[None]:
    """Remove the folders that a refused start made, unless another start uses them by now."""
    try:
        yield
    except RequestError:
        if made and not lock.is_anothers():
            with contextlib.suppress(PipelineError):
                discard_work(lock.work)
                for folder in reversed(made[:-1]):
                    durable.remove_empty(folder)
        raise


class Journal:
    """The finished windows of a run; made by `begin`.

    Attributes
    ----------
    windows : Any
        How the run is cut, as JSON, fixed at its first start.
    touched : list of str
        Input files of which only the time has changed since then.
    state : str
        What `pipeline.write.state` returned at the start.
    levels : int
        Coarser levels whose files are recorded with the windows; those of the others are recorded in groups.
    """

    def __init__(self, layout: Layout, windows: Any, touched: list[str], state: State) -> None:
        self.layout = layout
        self.windows = windows
        self.touched = touched
        self.state = state
        # All windows must agree on it, so it is that of the window with the fewest, in any start.
        self.levels = len(layout.levels) - 1
        self._path = f"{layout.work}/journal"
        # Lines of a run that was cut in another way do not count.
        self._cut = f"{crc32c(canonical(windows)):08x}"
        self._offsets = Offsets()
        self._ends_in_newline = True
        self._load()

    @classmethod
    def open(cls, layout: Layout, inputs: Mapping[str, Any], windows: Callable[[], Any]) -> Journal:
        """Read the notes in the work folder, and write those that are missing."""
        now = state(layout)
        if now == "unfinished":
            clear_drafts(layout.drafts)
            create(layout)
        known = read_checked(f"{layout.work}/inputs.json")
        if known is None:
            write_checked(layout, "inputs.json", inputs)
        cut = read_checked(f"{layout.work}/windows.json")
        if cut is None:
            # As a resumed run will read them: tuples are lists.
            cut = json.loads(canonical(windows()))
            write_checked(layout, "windows.json", cut)
        journal = cls(layout, cut, touched(known or inputs, inputs), now)
        durable.append(journal._path, b"")
        durable.sync_path(layout.work)
        return journal

    @property
    def done(self) -> frozenset[WindowKey]:
        """The finished windows."""
        return frozenset(self._offsets)

    def __contains__(self, window: WindowKey) -> bool:
        return window in self._offsets

    def append(
        self,
        window: WindowKey,
        records: Iterable[ChunkRecord],
        background: Iterable[ChunkRecord] = (),
        levels: int = 0,
        **facts: Any,
    ) -> None:
        """Record a window as done, with its files in the output and in the background.

        The files must be on the disk before (`sync`); those of the first `levels` coarser levels are among
        them. `facts` are further results to keep, as JSON: how many pixels were clipped.
        """
        entry: dict[str, Any] = {"chunks": [list(record) for record in records], "levels": levels, **facts}
        if second := [list(record) for record in background]:
            entry["background"] = second
        self._write(window, entry)

    def forget(self, windows: Iterable[WindowKey]) -> None:
        """Record windows as not done, since their files are damaged."""
        for window in windows:
            self._write(window, {"dropped": True})

    def keep(self, inputs: Mapping[str, Any]) -> None:
        """Store new inputs for the next start to compare its own with."""
        write_checked(self.layout, "inputs.json", inputs)

    def facts(self) -> Iterator[tuple[WindowKey, dict[str, Any]]]:
        """Yield each finished window with its facts, read from the disk."""
        for window, entry in self._entries(self._offsets):
            yield window, {name: value for name, value in entry.items() if name not in _RESERVED}

    def records(
        self, windows: Iterable[WindowKey] | None = None, *, background: bool = False
    ) -> Iterator[ChunkRecord]:
        """Yield the files of finished windows (default: all), read from the disk.

        With `background` those of the background, which have the same keys.
        """
        name = "background" if background else "chunks"
        # In the order of their keys, so that the manifest does not tell of kills and restarts.
        for _, entry in self._entries(self._offsets if windows is None else sorted(set(windows))):
            records = (ChunkRecord(*record) for record in entry.get(name, ()))
            if entry.get("levels", 0) > self.levels:
                # Its other levels are built in groups, as those of the windows that have fewer.
                records = (record for record in records if record.level <= self.levels)
            yield from records

    def check(self, *, content: bool = False) -> list[WindowKey]:
        """Compare the files of finished windows with their records; forget and return damaged ones.

        Sizes are compared, and checksums of the window journalled last; with `content`, of all.
        """
        # What a disk loses in a power cut, against its word, is what it was given last.
        last = self._offsets.last()
        damaged = set()
        for windows, read in ((None, content), ([] if last is None else [last], True)):
            for output in self.layout.outputs:
                records = self.records(windows, background=output is not self.layout)
                damaged |= {damage.key for damage in check_files(output.image, records, content=read)}
        return self.forget_files(damaged)

    def forget_files(self, files: Iterable[str]) -> list[WindowKey]:
        """Forget the windows that hold any of some files, given by their keys; return them."""
        files = set(files)
        lost = [
            window
            for window, entry in self._entries(self._offsets if files else ())
            if any(record[0] in files for record in entry["chunks"])
        ]
        self.forget(lost)
        return lost

    def _write(self, window: WindowKey, entry: dict[str, Any]) -> None:
        text = canonical({**entry, "window": f"{window.level}/{window.number}", "of": self._cut})
        line = b"%08x " % crc32c(text) + text + b"\n"
        # A line that a crash or a full disk cut off gets its end, so that it spoils no other.
        start = b"" if self._ends_in_newline else b"\n"
        self._ends_in_newline = False
        end = durable.append(self._path, start + line)
        self._ends_in_newline = True
        self._note(window, entry, end - len(line))

    def _note(self, window: WindowKey, entry: Mapping[str, Any], offset: int) -> None:
        if entry.get("dropped"):
            self._offsets.discard(window)
        else:
            self._offsets[window] = offset
            self.levels = min(self.levels, window.level - 1 if window.level else entry.get("levels", 0))

    def _load(self) -> None:
        offset = 0
        with contextlib.suppress(FileNotFoundError), open(self._path, "rb") as file:
            for line in file:
                window, entry = _parse(line)
                if window is not None and entry.get("of") == self._cut:
                    self._note(window, entry, offset)
                offset += len(line)
                self._ends_in_newline = line.endswith(b"\n")

    def _entries(self, windows: Iterable[WindowKey]) -> Iterator[tuple[WindowKey, dict[str, Any]]]:
        with open(self._path, "rb") as file:
            for window in windows:
                file.seek(self._offsets[window])
                parsed, entry = _parse(file.readline())
                if parsed != window:
                    raise StoppedError(
                        f"{self._path} was changed during the run", "run the same command again"
                    )
                yield window, entry


def _parse(line: bytes) -> tuple[WindowKey | None, dict[str, Any]]:
    """Return a line's window and entry; no window if the line is torn or changed."""
    digest, _, text = line.rstrip(b"\n").partition(b" ")
    if digest != b"%08x" % crc32c(text):
        return None, {}
    try:
        entry = json.loads(text)
        key = _KEY.fullmatch(entry["window"])
    except (ValueError, TypeError, KeyError):
        return None, {}
    return (WindowKey(*map(int, key.groups())), entry) if key else (None, {})
