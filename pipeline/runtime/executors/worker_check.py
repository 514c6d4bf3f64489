"""The check of a worker elsewhere: it must have the driver's input, output and code before it computes."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from pipeline.model.errors import PipelineError, StoppedError
from pipeline.model.image import Region
from pipeline.model.machine import share_heap
from pipeline.planning.warmup import WarmUp
from pipeline.read import Source
from pipeline.read.lazy import LazySource
from pipeline.storage import durable
from pipeline.write import Layout
from pipeline.write.work import read_checked, write_checked

PROBE = "probe"
"""The file of the work folder that holds the token."""

FILES_COMPARED = 3
"""Files of the input whose sizes are compared: the first ones, and the last."""

_passed: set[str] = set()
"""Tokens of the runs whose check this process has passed."""


class Finding(NamedTuple):
    """What a worker lacks, and how to mend it."""

    what: str
    mend: str


@dataclass(frozen=True)
class WorkerCheck:
    """What a worker must find as the driver does; made by `make_check`, picklable.

    Parameters
    ----------
    work : str
        The work folder.
    token : str
        What its file `probe` says, so that no folder is taken for another of the same name.
    warm_up : WarmUp or None
        Loads the kernels, once all else is as it should be.
    source : Source or None
        The input, where it is one that is read.
    sizes : mapping of str to int
        Bytes of some of its files.
    pixels : tuple of number
        Its first and its last pixel.
    """

    work: str
    token: str
    warm_up: WarmUp | None = None
    source: Source | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    pixels: tuple[float, ...] = ()

    def __call__(self) -> dict[str, str]:
        """Check this process; see `CheckPlugin` for what is returned."""
        share_heap()
        finding = self.finding()
        if finding is not None:
            return finding._asdict()
        if self.warm_up is not None:
            with contextlib.suppress(PipelineError):  # it comes again with the first block, and is told then
                self.warm_up()
        _passed.add(self.token)
        return {"mark": self._mark()}

    def finding(self) -> Finding | None:
        """Return what this process lacks: nothing, if it may compute."""
        return self._output() or self._input()

    def _mark(self) -> str:
        """Leave an empty file in the work folder, and return its path."""
        drafts = f"{self.work}/drafts"
        path = f"{drafts}/{secrets.token_hex(8)}.probe"
        durable.write_file(path, b"", drafts)
        return path

    def _output(self) -> Finding | None:
        mend = "put the output (or output.work) where every worker has it under the same path"
        token = read_checked(f"{self.work}/{PROBE}")
        if token is None:
            return Finding(f"does not see the output's work folder {self.work}", mend)
        if token != self.token:
            return Finding(f"has another folder under the name {self.work}", mend)
        try:
            durable.remove_file(self._mark())
        except StoppedError as error:
            who = f"user {os.getuid()}" if hasattr(os, "getuid") else "this user"
            return Finding(
                f"may not write into {self.work}, as {who}: {error.problems[0].what}",
                "give it permission, or start the workers as the user that runs bgone",
            )
        return None

    def _input(self) -> Finding | None:
        mend = "put the input where every worker has it under the same path"
        if self.source is None:
            return None
        for path, size in self.sizes.items():
            try:
                theirs = _size(path)
            except OSError as error:
                return Finding(f"does not see the input {path} ({error.strerror})", mend)
            if theirs != size:
                return Finding(f"has another input under the name {path} ({theirs} bytes, not {size})", mend)
        try:
            pixels = sample(self.source)
        except PipelineError as error:
            return Finding(f"cannot read the input: {error.problems[0].what}", mend)
        if not np.array_equal(pixels, self.pixels, equal_nan=True):
            return Finding(f"reads other pixels from the input {self.source.path}", mend)
        return None


def make_check(layout: Layout, source: Source | LazySource, warm_up: WarmUp | None = None) -> WorkerCheck:
    """Return what a worker must find, and leave its token in the work folder.

    Parameters
    ----------
    layout : Layout
        The output; its work folder is there.
    source : Source or LazySource
        The input.
    warm_up : WarmUp, optional
        Loads the kernels.

    Raises
    ------
    StoppedError
        The input cannot be read, or the work folder not be written.
    """
    token = secrets.token_hex(8)
    write_checked(layout, PROBE, token)
    if isinstance(source, LazySource):
        return WorkerCheck(layout.work, token, warm_up)
    files = [path for path in source.files() if "://" not in path]
    compared = dict.fromkeys([*files[: FILES_COMPARED - 1], *files[-1:]])
    sizes = {path: _size(path) for path in compared}
    return WorkerCheck(layout.work, token, warm_up, source, sizes, sample(source))


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


@dataclass(frozen=True)
class Guard:
    """Keeps a worker that has not passed its check from computing; picklable and small.

    Parameters
    ----------
    token : str
        As in `WorkerCheck`.
    """

    token: str

    def __call__(self) -> None:
        """Return where this process may compute.

        Raises
        ------
        StoppedError
            It may not.
        """
        if self.token not in _passed:
            host = socket.gethostname()
            raise StoppedError(f"a worker on {host} may not take part", "see what was said of it")
