"""What a worker of a cluster must see before it computes: the input, the output, and the code of this run.

A `Probe` lies as a file in the work folder. The driver asks every worker with it before the
first window; a worker that joins later asks itself before it writes its first file.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pickle
import secrets
import socket
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.model.errors import PipelineError, StoppedError
from pipeline.model.image import Region
from pipeline.model.machine import share_heap
from pipeline.planning.warmup import WarmUp
from pipeline.read import Source
from pipeline.storage import durable
from pipeline.write import Layout
from pipeline.write.journal import versions
from pipeline.write.work import read_checked, write_checked

FILE = "probe"
LOOKED_AT = 3
"""Files of the input whose sizes are compared: the first ones, and the last."""

_fit: set[str] = set()
_asking = threading.Lock()


def python_version() -> str:
    """Return the Python that pickles of code depend on.

    >>> python_version().count(".")
    1
    """
    return f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class Finding:
    """What a worker lacks, and how to mend it."""

    what: str
    mend: str


@dataclass(frozen=True)
class Probe:
    """What a worker must find as the driver does; made by `make_probe`.

    Parameters
    ----------
    work : str
        The work folder.
    token : str
        What its file `probe` says, so that no folder is taken for another of the same name.
    versions : mapping
        Of the code that decides pixels, and of Python.
    source : Source or None
        The input, where it is one that is read.
    sizes : mapping of str to int
        Bytes of some of its files.
    pixels : tuple of number
        Its first and its last pixel.
    """

    work: str
    token: str
    versions: Mapping[str, str]
    source: Source | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    pixels: tuple[float, ...] = ()

    def findings(self) -> list[Finding]:
        """Return what this process lacks: nothing, if it may compute."""
        return [*self._code(), *self._output(), *self._input()]

    def mark(self) -> str:
        """Leave an empty file in the work folder, and return its path."""
        drafts = f"{self.work}/drafts"
        path = f"{drafts}/{secrets.token_hex(8)}.probe"
        durable.write_file(path, b"", drafts)
        return path

    def _code(self) -> list[Finding]:
        return compare_versions(self.versions, {**versions(), "python": python_version()})

    def _output(self) -> list[Finding]:
        mend = "put the output (or output.work) where every worker has it under the same path"
        known = read_checked(f"{self.work}/{FILE}")
        if known is None:
            return [Finding(f"does not see the output's work folder {self.work}", mend)]
        if known.get("token") != self.token:
            return [Finding(f"has another folder under the name {self.work}", mend)]
        try:
            durable.remove_file(self.mark())
        except StoppedError as error:
            who = f"user {os.getuid()}" if hasattr(os, "getuid") else "this user"
            return [
                Finding(
                    f"may not write into {self.work}, as {who}: {error.problems[0].what}",
                    "give it permission, or start the workers as the user that runs bgone",
                )
            ]
        return []

    def _input(self) -> list[Finding]:
        mend = "put the input where every worker has it under the same path"
        if self.source is None:
            return []
        for path, size in self.sizes.items():
            try:
                found = _size(path)
            except OSError as error:
                return [Finding(f"does not see the input {path} ({error.strerror})", mend)]
            if found != size:
                return [Finding(f"has another input under the name {path} ({found} bytes, not {size})", mend)]
        try:
            pixels = sample(self.source)
        except PipelineError as error:
            return [Finding(f"cannot read the input: {error.problems[0].what}", mend)]
        if not np.array_equal(pixels, self.pixels, equal_nan=True):
            return [Finding(f"reads other pixels from the input {self.source.path}", mend)]
        return []


def make_probe(layout: Layout, source: Any) -> Probe:
    """Return what a worker must find, and leave it in the work folder.

    Parameters
    ----------
    layout : Layout
        The output; its work folder is there.
    source : Source or LazySource
        The input.

    Raises
    ------
    StoppedError
        The input cannot be read, or the work folder not be written.
    """
    read = source if isinstance(source, Source) else None
    files = [] if read is None else [path for path in read.files() if "://" not in path]
    chosen = dict.fromkeys([*files[: LOOKED_AT - 1], *files[-1:]])
    probe = Probe(
        layout.work,
        secrets.token_hex(8),
        {**versions(), "python": python_version()},
        read,
        {path: _size(path) for path in chosen},
        () if read is None else sample(read),
    )
    text = base64.b64encode(pickle.dumps(probe)).decode()
    write_checked(layout, FILE, {"token": probe.token, "probe": text})
    return probe


def _size(path: str) -> int:
    """Return a file's bytes; folders have none that mean anything."""
    return 0 if os.path.isdir(path) else os.stat(path).st_size


def sample(source: Source) -> tuple[float, ...]:
    """Return the first and the last pixel of an input."""
    corners: list[Region] = [
        tuple(slice(0, 1) for _ in source.spec.shape),
        tuple(slice(size - 1, size) for size in source.spec.shape),
    ]
    return tuple(source.read(corner).item() for corner in corners)


def compare_versions(wanted: Mapping[str, str], found: Mapping[str, str | None]) -> list[Finding]:
    """Return which versions are others than the driver's.

    >>> print(compare_versions({"bgone": "0.2", "numpy": "2.1"}, {"bgone": "0.1", "numpy": "2.1"})[0].what)
    has bgone 0.1, and the run is started with 0.2
    """
    parts = []
    for name, version in wanted.items():
        theirs = found.get(name)
        label = "Python" if name == "python" else name
        if theirs is None:
            parts.append(f"no {label}, and the run is started with {version}")
        elif theirs != version:
            parts.append(f"{label} {theirs}, and the run is started with {version}")
    if not parts:
        return []
    return [Finding(f"has {'; '.join(parts)}", "start the workers in the environment that bgone runs in")]


def look(probe: Probe) -> list[Finding]:
    """Return what this process lacks, and note if it lacks nothing; runs in workers."""
    share_heap()
    found = probe.findings()
    if not found:
        _fit.add(probe.token)
    return found


async def look_aside(probe: Probe) -> tuple[list[Finding], str]:
    """Do so without holding up what the worker has to say to its scheduler, and leave a file for the driver.

    Returns
    -------
    list of Finding, str
        What it lacks; where that is nothing, the path of a file that the driver should see.
    """
    import asyncio

    found = await asyncio.to_thread(look, probe)
    return (found, "") if found else ([], await asyncio.to_thread(probe.mark))


@dataclass(frozen=True)
class Guard:
    """Keeps a worker that joined later from writing before it has been looked at; picklable and small.

    Parameters
    ----------
    work, token : str
        As in `Probe`.
    """

    work: str
    token: str

    def __call__(self) -> None:
        """Return where this process may compute; it is looked at once.

        Raises
        ------
        StoppedError
            It may not, and why.
        """
        if self.token in _fit:
            return
        with _asking:
            found = [] if self.token in _fit else self._findings()
        if found:
            raise StoppedError(f"a worker on {socket.gethostname()} {found[0].what}", found[0].mend)

    def _findings(self) -> list[Finding]:
        known = read_checked(f"{self.work}/{FILE}")
        if known is None or known.get("token") != self.token:
            return look(Probe(self.work, self.token, {}))
        try:
            probe = pickle.loads(base64.b64decode(known["probe"]))
        # Of another bgone: what unpickling makes of that is not for it to say.
        except Exception:
            return [Finding("cannot read what this run is", "start it in the environment that bgone runs in")]
        return look(probe)


async def warm_aside(warm: WarmUp) -> None:
    """Warm up a worker without holding up what it has to say to its scheduler."""
    import asyncio

    with contextlib.suppress(PipelineError):  # it comes again with the first block, and is told then
        await asyncio.to_thread(warm)
