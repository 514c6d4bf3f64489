"""The journal of a run: one checksummed line for each finished window, in a work folder of its own.

The work folder `<output>.work-<fingerprint>` holds `inputs.json` (what the fingerprint was made
of), `windows.json` (how the run is cut, fixed at its first start), `journal` (this file's
business), `lock`, `drafts/` and `image/`, the future output. Not journalled means not done.
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
from pipeline.write.own import clear_drafts
from pipeline.write.publish import ABOVE, State, discard_work, state
from pipeline.write.region import ChunkRecord
from pipeline.write.work import canonical, read_checked, refuse_others, touched, write_checked

_KEY = re.compile(r"(\d{1,2})/(\d{1,9})", re.ASCII)
"""How a line names its window: LEVEL/NUMBER."""

_OWN = ("window", "chunks", "background", "of")
"""What the journal itself keeps of a window."""


@contextlib.contextmanager
def begin(
    layout: Layout, inputs: Mapping[str, Any], windows: Callable[[], Any], *, overwrite: bool = False
) -> Iterator[Journal]:
    """Start a run or go on with it: work folder, lock, empty arrays, journal.

    Parameters
    ----------
    layout : Layout
        The output; its fingerprint is that of `inputs`.
    inputs : mapping
        What decides pixels, as JSON.
    windows : callable
        Gives, as JSON, how the run is cut; asked only where no earlier start has fixed it.
    overwrite : bool
        Whether an unfinished run with other inputs is dropped.

    Yields
    ------
    Journal
        Where its `state` is "sealed" or "published", only `publish` is left to do.

    Raises
    ------
    RequestError
        Another process is writing, another run is unfinished, or the folder cannot be made.
    """
    refuse_others(layout, inputs, overwrite=overwrite)
    with durable.before_start():
        made = durable.make_folder(layout.work)
    lock = Lock(layout.work)
    with ExitStack() as stack:
        with _leaving_nothing(lock, made):
            stack.enter_context(lock)
            # Once more, for the run that started at the very same moment.
            refuse_others(layout, inputs, overwrite=overwrite)
            with durable.before_start():
                journal = Journal.open(layout, inputs, windows)
                if above := made[:-1]:
                    path = f"{layout.work}/{ABOVE}"
                    durable.write_file(path, "\n".join(above).encode(), f"{layout.work}/drafts")
                    durable.sync_all([path], layout.work)
        yield journal


@contextlib.contextmanager
def _leaving_nothing(lock: Lock, made: list[str]) -> Iterator[None]:
    """Remove the work folder that a refused start has made, with the folders above it that it made.

    One that another start holds by now, or that was there before, stays.
    """
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
    """The finished windows of a run, one checksummed line each; made by `begin`.

    Attributes
    ----------
    windows : Any
        How the run is cut, as JSON, fixed at its first start.
    touched : list of str
        Input files whose time alone changed since then.
    state : str
        What `pipeline.write.state` said at the start.
    """

    def __init__(self, layout: Layout, windows: Any, touched: list[str], state: State) -> None:
        self.layout = layout
        self.windows = windows
        self.touched = touched
        self.state = state
        self._path = f"{layout.work}/journal"
        self._cut = f"{crc32c(canonical(windows)):08x}"
        self._offsets = Offsets()
        self._whole = True
        self._load()

    @classmethod
    def open(cls, layout: Layout, inputs: Mapping[str, Any], windows: Callable[[], Any]) -> Journal:
        """Read what there is in the work folder, and write what there is not."""
        now = state(layout)
        if now == "unfinished":
            clear_drafts(f"{layout.work}/drafts")
            create(layout)
        known = read_checked(f"{layout.work}/inputs.json")
        if known is None:
            write_checked(layout, "inputs.json", inputs)
        cut = read_checked(f"{layout.work}/windows.json")
        if cut is None:
            cut = json.loads(canonical(windows()))
            write_checked(layout, "windows.json", cut)
        journal = cls(layout, cut, touched(known or inputs, inputs), now)
        durable.append(journal._path, b"")
        durable.sync_path(layout.work)
        return journal

    @property
    def done(self) -> frozenset[WindowKey]:
        """The windows that are on disk."""
        return frozenset(self._offsets)

    def __contains__(self, window: WindowKey) -> bool:
        return window in self._offsets

    def append(
        self,
        window: WindowKey,
        records: Iterable[ChunkRecord],
        background: Iterable[ChunkRecord] = (),
        **facts: Any,
    ) -> None:
        """Note a window as done; `sync` has been called for its records.

        Parameters
        ----------
        window : WindowKey
            Which one.
        records : iterable of ChunkRecord
            Its files.
        background : iterable of ChunkRecord
            Its files of the background, where there is one.
        **facts
            What else to keep of it, as JSON: how many pixels were clipped.
        """
        kept: dict[str, Any] = {"chunks": [list(record) for record in records], **facts}
        if second := [list(record) for record in background]:
            kept["background"] = second
        self._write(window, kept)

    def forget(self, windows: Iterable[WindowKey]) -> None:
        """Note windows as not done: their files turned out to be damaged."""
        for window in windows:
            self._write(window, {"dropped": True})

    def keep(self, inputs: Mapping[str, Any]) -> None:
        """Keep these inputs for the next start to compare its own with."""
        write_checked(self.layout, "inputs.json", inputs)

    def facts(self) -> Iterator[tuple[WindowKey, dict[str, Any]]]:
        """Yield each finished window and what `append` kept of it, read from the disk."""
        for window, entry in self._entries(self._offsets):
            yield window, {name: value for name, value in entry.items() if name not in _OWN}

    def records(
        self, windows: Iterable[WindowKey] | None = None, *, background: bool = False
    ) -> Iterator[ChunkRecord]:
        """Yield the files of finished windows (default: all), read from the disk in the order of their keys.

        So the same run lists them in the same order, whatever befell it on the way. With `background`
        those of the background, whose files have the same keys.
        """
        kept_as = "background" if background else "chunks"
        for _, entry in self._entries(self._offsets if windows is None else sorted(set(windows))):
            yield from (ChunkRecord(*record) for record in entry.get(kept_as, ()))

    def check(self, *, content: bool = False) -> list[WindowKey]:
        """Compare the files of finished windows with what was journalled, and forget damaged windows.

        Parameters
        ----------
        content : bool
            Read and checksum every file, rather than look at its size; those of the window
            journalled last are read in any case.

        Returns
        -------
        list of WindowKey
            The windows to be computed again for that, which are `done` no longer.
        """
        last = self._offsets.last()
        damaged = set()
        for windows, read in ((None, content), ([] if last is None else [last], True)):
            for output in self.layout.outputs:
                records = self.records(windows, background=output is not self.layout)
                damaged |= {damage.key for damage in check_files(output.image, records, content=read)}
        return self.forget_files(damaged)

    def forget_files(self, files: Iterable[str]) -> list[WindowKey]:
        """Forget the windows that hold any of some files, of the output or its background; return them."""
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
        # What a crash or a full disk left at the end becomes a line of its own, which nobody can
        # read and nobody needs.
        start = b"" if self._whole else b"\n"
        self._whole = False
        end = durable.append(self._path, start + line)
        self._whole = True
        self._note(window, entry, end - len(line))

    def _note(self, window: WindowKey, entry: Mapping[str, Any], begin: int) -> None:
        if entry.get("dropped"):
            self._offsets.discard(window)
        else:
            self._offsets[window] = begin

    def _load(self) -> None:
        begin = 0
        with contextlib.suppress(FileNotFoundError), open(self._path, "rb") as file:
            for line in file:
                window, entry = _parse(line)
                if window is not None and entry.get("of") == self._cut:
                    self._note(window, entry, begin)
                begin += len(line)
                self._whole = line.endswith(b"\n")

    def _entries(self, windows: Iterable[WindowKey]) -> Iterator[tuple[WindowKey, dict[str, Any]]]:
        with open(self._path, "rb") as file:
            for window in windows:
                file.seek(self._offsets[window])
                known, entry = _parse(file.readline())
                if known != window:
                    raise StoppedError(
                        f"{self._path} was changed during the run", "run the same command again"
                    )
                yield window, entry


def _parse(line: bytes) -> tuple[WindowKey | None, dict[str, Any]]:
    """Return a line's window and what it says of it; no window where the line is torn or changed."""
    digest, _, text = line.rstrip(b"\n").partition(b" ")
    if digest != b"%08x" % crc32c(text):
        return None, {}
    try:
        entry = json.loads(text)
        numbers = _KEY.fullmatch(entry["window"])
    except (ValueError, TypeError, KeyError):
        return None, {}
    return (WindowKey(*map(int, numbers.groups())), entry) if numbers else (None, {})
