"""The lock of a work folder: a file that names the one run which may write there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Literal, Self

import psutil

from pipeline.model.errors import PipelineError, RequestError
from pipeline.storage import durable
from pipeline.write.region import read_file

NAME = "lock"


@dataclass(frozen=True)
class Holder:
    """A run that holds a lock."""

    host: str
    pid: int
    start: str  # of the process: another process may get the same number later
    boot: str  # id of the machine's boot, for the same reason
    space: str  # namespace of the process number: numbers in another container mean nothing here
    token: str  # tells runs of one process apart

    @classmethod
    def me(cls) -> Holder:
        """Return the holder of a new run of this process."""
        pid = os.getpid()
        return cls(socket.gethostname(), pid, _start_of(pid) or "", _boot(), _space(), uuid.uuid4().hex)

    @property
    def state(self) -> Literal["alive", "dead", "unknown"]:
        """Whether the process lives; unknown if it cannot be seen from here."""
        if self.host != socket.gethostname():
            return "unknown"
        if self.boot != _boot():
            return "dead"
        if self.space != _space():
            return "unknown"
        return "alive" if _start_of(self.pid) == self.start else "dead"


def _start_of(pid: int) -> str | None:
    """Return when a process started, or None if there is none."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        # In ticks since boot: psutil's time of day shifts when the clock is set.
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in parentheses, may hold spaces; the start is the 22nd field in all.
            return file.read().rpartition(b")")[2].split()[19].decode()
    except FileNotFoundError:  # macOS has no /proc
        return f"{process.create_time():.0f}"
    except (psutil.Error, OSError, IndexError):
        return None


def _boot() -> str:
    return (read_file("/proc/sys/kernel/random/boot_id") or b"").decode().strip()


def _space() -> str:
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def holder_of(work: str) -> Holder | None:
    """Return who holds the lock of a work folder, or None."""
    data = read_file(f"{work}/{NAME}")
    try:
        return Holder(**json.loads(data)) if data else None
    except (ValueError, TypeError):
        # Torn: its writer died in that moment, before it wrote anything else.
        return None


class Lock:
    """The right to write in an existing work folder, held in a `with` statement.

    Entering raises RequestError if another process, or another run of this one, holds it. The
    lock of a dead process is taken over.
    """

    def __init__(self, work: str) -> None:
        self.work = work
        self._path = f"{work}/{NAME}"
        self._me = Holder.me()

    def __enter__(self) -> Self:
        with durable.before_start(), _exclusive(self._path) as descriptor:
            check_lock(self.work)
            durable.rewrite(descriptor, self._path, json.dumps(asdict(self._me)).encode())
        return self

    def is_anothers(self) -> bool:
        """Check whether another run holds the lock."""
        return holder_of(self.work) not in (None, self._me)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The work folder may be gone with its lock, or the disk be full; a lock that stays is
        # taken over once this process is dead.
        with contextlib.suppress(PipelineError):
            if holder_of(self.work) == self._me:
                with _exclusive(self._path) as descriptor:
                    durable.rewrite(descriptor, self._path, b"")


def check_lock(work: str) -> None:
    """Raise RequestError if a process holds the lock of a work folder, or may hold it."""
    holder = holder_of(work)
    if holder is None or holder.state == "dead":
        return
    who = f"process {holder.pid} on {holder.host}"
    if holder.state == "alive":
        raise RequestError(
            f"{who} is writing this output", "wait for it, or stop it and run again", "output.path"
        )
    raise RequestError(
        f"{who} is writing this output, or was when it died, which cannot be seen from here",
        f"if it is no longer running, remove {work}/{NAME}",
        "output.path",
    )


@contextlib.contextmanager
def _exclusive(path: str) -> Iterator[int]:
    """Open a file while no other process has it open in this way.

    It is held while a lock is read and rewritten: of two runs that find the lock of a dead
    process only one takes it over.
    """
    try:
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                # Some network file systems have no flock; there, this moment is unguarded.
                with contextlib.suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                # The file may have been removed with its folder while this one waited.
                if os.fstat(descriptor).st_ino == os.stat(path).st_ino:
                    yield descriptor
                    return
            finally:
                os.close(descriptor)
    except OSError as error:
        raise durable.disk_error(error, path) from error
