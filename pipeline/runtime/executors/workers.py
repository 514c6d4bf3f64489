"""The workers of a cluster elsewhere: who is there, who may compute, what each can hold."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.model.errors import Problem, RequestError
from pipeline.model.text import number_of, size_text
from pipeline.planning.warmup import WarmUp
from pipeline.runtime.executors.worker_check import Finding, Probe, compare_versions, look_aside, warm_aside
from pipeline.storage import durable

Say = Callable[[str], None]

ASK_SECONDS = 5
"""A scheduler is not asked more often which workers it has."""

PAUSES = 0.8
"""Of its memory limit, the part from which on a Dask worker takes no more tasks."""

SEEN_SECONDS = 10
"""How long what one host wrote may take to show on another, over a network file system."""

FIELD = "compute.cluster"
SCHEDULER = "scheduler"


@dataclass(frozen=True)
class Worker:
    """A worker process: where it is, and what it offers."""

    address: str
    name: str
    host: str
    threads: int
    memory: int
    """Bytes, 0 where it has no limit."""


class Fleet:
    """The workers of a cluster.

    Parameters
    ----------
    client : distributed.Client
        Connected.
    waiting : callable
        Tells what is waited for where there are none.

    Attributes
    ----------
    unfit : dict
        Address → what is wrong with it.
    known : list of Worker
        Those that there were when last asked.
    """

    def __init__(self, client: Any, waiting: Callable[[], str]) -> None:
        self._client = client
        self._waiting = waiting
        self.known: list[Worker] = []
        self._asked = float("-inf")
        self.unfit: dict[str, Finding] = {}

    def workers(self, *, afresh: bool = False) -> list[Worker]:
        """Return the workers that there are, asked for anew every few seconds.

        Raises
        ------
        ConnectionError
            They were to be asked for afresh, and no scheduler answers.
        """
        now = time.monotonic()
        if afresh or now - self._asked > ASK_SECONDS:
            # Without a scheduler that is what distributed remembers of it: not even workers, maybe.
            found = self._client.scheduler_info(n_workers=-1).get("workers", {})
            if afresh and self._client.status != "running":
                raise ConnectionError("no scheduler")
            self.known = [
                Worker(
                    address,
                    str(worker["name"]),
                    str(worker["host"]),
                    int(worker["nthreads"]),
                    int(worker["memory_limit"] or 0),
                )
                for address, worker in found.items()
            ]
            self._asked = now
        return [worker for worker in self.known if worker.address not in self.unfit]

    def wait_for_first(self, say: Say) -> None:
        """Wait until there is a worker."""
        told = False
        while not self.workers(afresh=True):
            if not told:
                say(f"the cluster has no worker yet: waiting for {self._waiting()} (Ctrl-C stops)")
                told = True
            time.sleep(0.2)

    def examine(self, probe: Probe) -> dict[str, Finding]:
        """Ask every worker whether it sees what the run is about, and return who does not, and what.

        The versions are asked for through distributed's own question, which any version of
        bgone, and none, can answer; only then is code of this one sent.

        Returns
        -------
        dict
            Address → what is wrong; "scheduler" is one too.
        """
        workers = {worker.address: worker for worker in self.workers(afresh=True)}
        asked = self._client.get_versions(packages=[name for name in probe.versions if name != "python"])
        found = {
            address: finding
            for address in workers
            if (finding := _another_version(probe, asked["workers"].get(address)))
        }
        if finding := _another_version(probe, asked["scheduler"]):
            found[SCHEDULER] = Finding(finding.what, "start it in the environment that bgone runs in")
        alike = [address for address in workers if address not in found]
        if alike:
            answers = self._client.run(look_aside, probe, workers=alike, on_error="return")
            left = {}
            for address, answer in answers.items():
                if isinstance(answer, BaseException):
                    found[address] = _could_not(answer)
                elif answer[0]:
                    found[address] = answer[0][0]
                else:
                    left[address] = answer[1]
            found.update(_unseen(left, probe.work))
        # One that was lost while it was asked is looked at by its first task, should it come again.
        there = {SCHEDULER, *(worker.address for worker in self.workers(afresh=True))} if found else ()
        return {address: finding for address, finding in found.items() if address in there}

    def admit(self, probe: Probe, say: Say) -> None:
        """Refuse the cluster where a worker is not fit, or the scheduler, which unpickles tasks too.

        Raises
        ------
        RequestError
            One problem for each kind, with the workers that have it.
        """
        notice = threading.Timer(2.0, say, ["asking the workers what they see; they load bgone for it"])
        notice.start()
        try:
            found = self.examine(probe)
        finally:
            notice.cancel()
        if found:
            raise RequestError(self._problems(found))

    def exclude(self, probe: Probe, say: Say) -> bool:
        """Look at all workers once more, leave out those that are not fit; return whether there are any."""
        found = self.examine(probe)
        for problem in self._problems(found):
            say(f"left out: {problem.what}; {problem.mend}")
        self.unfit.update(found)
        return bool(found)

    def _problems(self, found: Mapping[str, Finding]) -> list[Problem]:
        """Return one problem for each kind of finding, naming the first worker that has it."""
        asked = [address for address in found if address != SCHEDULER]
        hosts = self._client.run(socket.gethostname, workers=asked, on_error="ignore") if asked else {}
        kinds: dict[Finding, list[str]] = defaultdict(list)
        for address, finding in sorted(found.items()):
            kinds[finding].append(address)
        return [
            Problem(f"{_name(addresses, hosts)} {finding.what}", finding.mend, FIELD)
            for finding, addresses in kinds.items()
        ]

    def warm_up(self, warm: WarmUp, say: Say) -> None:
        """Compile the kernels on each host once, then load them in every worker."""
        hosts: dict[str, str] = {}
        for worker in self.workers():
            hosts.setdefault(worker.host, worker.address)
        count = number_of(len(hosts), "host")
        # Told only where it takes long: from the second run on each has them in its cache.
        notice = threading.Timer(1.0, say, [f"compiling the kernels on {count}, once on each"])
        notice.start()
        try:
            first = list(hosts.values())
            rest = [worker.address for worker in self.workers() if worker.address not in first]
            for group in filter(None, (first, rest)):
                self._client.run(warm_aside, warm, workers=group, on_error="ignore")
        finally:
            notice.cancel()

    def smallest(self) -> Worker | None:
        """Return the worker with the least memory for each of its threads, or None where there is none."""

        def share(worker: Worker) -> tuple[float, int]:
            return (worker.memory or float("inf")) / worker.threads, -worker.threads

        return min(self.workers(), key=share, default=None)


def room_of(worker: Worker) -> int:
    """Return the bytes that a worker may hold before it takes no more tasks; 0 where it has no limit."""
    return int(PAUSES * worker.memory)


def _could_not(error: BaseException) -> Finding:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return Finding(
        f"cannot take part ({type(error).__name__}: {reason})",
        "start the workers in the environment that bgone runs in",
    )


def _unseen(left: Mapping[str, str], work: str) -> dict[str, Finding]:
    """Return the workers whose files do not show here, and remove those that do."""
    end = time.monotonic() + SEEN_SECONDS
    missing = dict(left)
    while missing:
        shown = set(os.listdir(f"{work}/drafts"))
        for address, path in list(missing.items()):
            if os.path.basename(path) in shown:
                durable.remove_file(path)
                del missing[address]
        if time.monotonic() > end:
            break
        time.sleep(0.05 * bool(missing))
    mend = "put the output (or output.work) where every worker has it under the same path"
    return {address: Finding(f"writes into another folder than {work}", mend) for address in missing}


def _name(addresses: list[str], hosts: Mapping[str, str]) -> str:
    """Return the first of them, where it is, and how many more there are."""
    first = addresses[0]
    where = first if first == SCHEDULER else f"worker {first} on {hosts.get(first, 'a lost host')}"
    return f"the {where}{_and_others(len(addresses) - 1)}"


def _another_version(probe: Probe, answer: Mapping[str, Any] | None) -> Finding | None:
    """Return what is other in an answer of distributed's to its question for versions."""
    packages = dict((answer or {}).get("packages") or {})
    if not packages:
        return None  # it has gone since
    packages["python"] = ".".join(str(packages["python"]).split(".")[:2])
    different = compare_versions(probe.versions, packages)
    return different[0] if different else None


def _and_others(count: int) -> str:
    """Return how many more there are, or nothing.

    >>> _and_others(0), _and_others(1), _and_others(7)
    ('', ' (and 1 other)', ' (and 7 others)')
    """
    return f" (and {number_of(count, 'other')})" if count else ""


def too_small(worker: Worker, needed: int, allowed: int) -> RequestError:
    """Return the error that says that a worker cannot hold what its threads need."""
    threads = number_of(worker.threads, "thread")
    if not worker.memory:
        return RequestError(
            f"the worker {worker.address} may hold {size_text(allowed)} for {threads},"
            f" and the smallest blocks need {size_text(needed)}",
            "raise compute.memory, start workers with fewer threads, or lower output.chunks",
            "compute.memory",
        )
    return RequestError(
        f"the worker {worker.address} has {size_text(worker.memory)} for {threads},"
        f" and the smallest blocks need {size_text(needed / PAUSES)}",
        "start workers with more memory or fewer threads, or lower output.chunks or the radii and sigmas",
        FIELD,
    )
