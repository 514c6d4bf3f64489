"""Checks that a worker elsewhere must pass before it computes: the driver's output, input and code."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pipeline.model.errors import PipelineError, Problem, StoppedError
from pipeline.model.image import Region
from pipeline.model.machine import share_heap
from pipeline.planning.warmup import WarmUp
from pipeline.read import Source
from pipeline.read.lazy import LazySource
from pipeline.storage import durable
from pipeline.write import Layout
from pipeline.write.work import read_checked, write_checked

TOKEN_FILE = "probe"  # of the work folder
SAME_OUTPUT = "put the output (or output.work) where every worker has it under the same path"
SAME_INPUT = "put the input where every worker has it under the same path"

_passed: set[str] = set()  # tokens of the runs whose check this process has passed


@dataclass(frozen=True)
class WorkerCheck:
    """What a worker must find as the driver does; made by `make_check`, picklable."""

    work: str  # the work folder
    token: str  # of this run, in the work folder: another folder of that name has another
    warm_up: WarmUp | None = None
    source: Source | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)  # bytes of some files of the source
    pixels: tuple[float, ...] = ()  # its first and last one

    def __call__(self) -> dict[str, str]:
        """Check this process, and return the event of `CheckPlugin`."""
        share_heap()
        finding = self.finding()
        if finding is not None:
            return {"message": finding.message, "hint": finding.hint}
        if self.warm_up is not None:
            with contextlib.suppress(PipelineError):  # it comes again with the first block, which reports it
                self.warm_up()
        _passed.add(self.token)
        return {"mark": self._mark()}

    def finding(self) -> Problem | None:
        """Return what this process lacks, or None if it may compute."""
        return self._output() or self._input()

    def _mark(self) -> str:
        """Leave an empty file in the work folder, and return its path."""
        drafts = f"{self.work}/drafts"
        path = f"{drafts}/{secrets.token_hex(8)}.probe"
        durable.write_file(path, b"", drafts)
        return path

    def _output(self) -> Problem | None:
        token = read_checked(f"{self.work}/{TOKEN_FILE}")
        if token is None:
            return Problem(f"does not see the output's work folder {self.work}", SAME_OUTPUT)
        if token != self.token:
            return Problem(f"has another folder under the name {self.work}", SAME_OUTPUT)
        try:
            durable.remove_file(self._mark())
        except StoppedError as error:
            return Problem(
                f"may not write into {self.work}, as user {os.getuid()}: {error.problems[0].message}",
                "give it permission, or start the workers as the user that runs bgone",
            )
        return None

    def _input(self) -> Problem | None:
        if self.source is None:
            return None
        for path, size in self.sizes.items():
            try:
                nbytes = _size(path)
            except OSError as error:
                return Problem(f"does not see the input {path} ({error.strerror})", SAME_INPUT)
            if nbytes != size:
                message = f"has another input under the name {path} ({nbytes} bytes, not {size})"
                return Problem(message, SAME_INPUT)
        try:
            pixels = _sample(self.source)
        except PipelineError as error:
            return Problem(f"cannot read the input: {error.problems[0].message}", SAME_INPUT)
        if not np.array_equal(pixels, self.pixels, equal_nan=True):
            return Problem(f"reads other pixels from the input {self.source.path}", SAME_INPUT)
        return None


def make_check(layout: Layout, source: Source | LazySource, warm_up: WarmUp | None = None) -> WorkerCheck:
    """Make the check of a run's workers, and leave its token in the work folder.

    Raises
    ------
    StoppedError
        The input cannot be read, or the work folder not be written.
    """
    token = secrets.token_hex(8)
    write_checked(layout, TOKEN_FILE, token)
    if isinstance(source, LazySource):
        return WorkerCheck(layout.work, token, warm_up)
    files = [path for path in source.files() if "://" not in path]
    # A few only: each costs every worker a question to the file server.
    sizes = {path: _size(path) for path in [*files[:2], *files[-1:]]}
    return WorkerCheck(layout.work, token, warm_up, source, sizes, _sample(source))


def _size(path: str) -> int:
    # Bytes of a folder mean nothing.
    return 0 if os.path.isdir(path) else os.stat(path).st_size


def _sample(source: Source) -> tuple[float, ...]:
    """Return the first and the last pixel of an input."""
    corners: list[Region] = [
        tuple(slice(0, 1) for _ in source.spec.shape),
        tuple(slice(size - 1, size) for size in source.spec.shape),
    ]
    return tuple(source.read(corner).item() for corner in corners)


@dataclass(frozen=True)
class Guard:
    """Lets only workers compute that have passed the check of this token; picklable and small."""

    token: str

    def __call__(self) -> None:
        """Raise StoppedError where this process has not passed."""
        if self.token not in _passed:
            host = socket.gethostname()
            raise StoppedError(f"a worker on {host} may not take part", "see what was said of it")
