"""The workers of a cluster elsewhere: which there are, which may compute, which blocks they can hold."""

from __future__ import annotations

import contextlib
import os
import platform
import queue
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cloudpickle

from pipeline.model.errors import Problem, RequestError
from pipeline.model.text import number_of, size_text
from pipeline.model.tiling import Tiling
from pipeline.planning.blocks import choose_block, choose_window
from pipeline.planning.memory import memory_of, memory_of_blocks
from pipeline.planning.resume_tiling import Windows, resume_tiling
from pipeline.planning.workload import Resources, Workload
from pipeline.runtime.executors.executor import Say
from pipeline.runtime.executors.worker_check import SAME_OUTPUT, WorkerCheck
from pipeline.runtime.progress import say_after
from pipeline.steps.registry import REGISTRY
from pipeline.storage import durable
from pipeline.write.work import versions

ASK_SECONDS = 5  # between two questions to the scheduler which workers it has
PAUSES = 0.8  # share of its memory limit from which on a Dask worker takes no more tasks
SEEN_SECONDS = 10  # in which a file that one host wrote shows on another, over a network file system
REGISTRATIONS = 5  # tries to send the check to all workers while some of them die
DISMISS_SECONDS = 5  # for the cluster to forget the check, at a run's end
CLUSTER = "compute.cluster"  # the field of the config


@dataclass(frozen=True)
class Worker:
    """A worker process."""

    address: str
    name: str
    threads: int
    memory: int  # bytes, 0 where it has no limit


class Workers:
    """The workers of a cluster, and which of them may compute."""

    def __init__(self, client: Any, waiting: Callable[[], str], say: Say) -> None:
        self._client = client
        self._waiting = waiting  # names what is waited for while there is no worker
        self._say = say
        self._asked = float("-inf")
        self._events: queue.SimpleQueue[Mapping[str, str]] = queue.SimpleQueue()
        self._plugin = ""
        self._heard: set[str] = set()
        self._marks: dict[str, tuple[str, str, float]] = {}  # address → host, path of its file, deadline
        self.known: list[Worker] = []  # when the scheduler was last asked
        self.unfit: dict[str, tuple[str, Problem]] = {}  # address → host, and what is wrong

    def fit(self, *, afresh: bool = False) -> list[Worker]:
        """Return the workers that may compute, asked for anew every few seconds or `afresh`.

        One that has joined and not reported yet is among them: it gets no task before its check.

        Raises
        ------
        ConnectionError
            They were to be asked for afresh, and no scheduler answers.
        """
        now = time.monotonic()
        if afresh or now - self._asked > ASK_SECONDS:
            # Without a scheduler distributed returns what it remembers, perhaps without workers.
            workers = self._client.scheduler_info(n_workers=-1).get("workers", {})
            if afresh and self._client.status != "running":
                raise ConnectionError("no scheduler")
            self.known = [
                Worker(address, str(info["name"]), int(info["nthreads"]), int(info["memory_limit"] or 0))
                for address, info in workers.items()
            ]
            self._asked = now
        return [worker for worker in self.known if worker.address not in self.unfit]

    def admit(self, check: WorkerCheck) -> None:
        """Wait for a worker, let all check themselves, and from then on each that joins.

        Raises
        ------
        RequestError
            No worker may compute, or the scheduler, which unpickles tasks too, is of another version.
        OSError, TimeoutError
            No scheduler answers.
        """
        # Imported late: distributed takes a second.
        from pipeline.runtime.executors.check_plugin import CheckPlugin

        self.dismiss()  # the check of another image of this executor
        for state in (self._heard, self._marks, self.unfit):
            state.clear()
        self._wait_for_one()
        packages = () if check.warm_up is None else REGISTRY.packages(check.warm_up.steps)
        needed = {**versions(packages), "python": platform.python_version()}
        self._refuse_versions(needed)
        plugin = CheckPlugin(f"bgone-{check.token}", needed, cloudpickle.dumps(check))
        with say_after(2.0, self._say, "asking the workers what they see; they load bgone and its kernels"):
            self._client.subscribe_topic(plugin.name, lambda event: self._events.put(event[1]))
            self._plugin = plugin.name
            self._register(plugin)
            end = time.monotonic() + SEEN_SECONDS
            while self._some_are_unheard() and time.monotonic() < end:
                time.sleep(0.05)
        problems = _problems(self.unfit)
        if problems and not self.fit():
            raise RequestError(problems)
        self._tell(problems)
        self._wait_for_one()  # should the last one have gone meanwhile

    def _register(self, plugin: Any) -> None:
        from pipeline.runtime.executors.check_plugin import SAME_ENVIRONMENT, register

        for tries_left in reversed(range(REGISTRATIONS)):
            try:
                register(self._client, plugin)
                return
            except (OSError, TimeoutError) as error:
                # A worker that dies while the scheduler sends it the plugin fails the call for all. Where
                # it is the scheduler that is gone, looking for workers says so.
                self._wait_for_one()
                if not tries_left:
                    message = f"the scheduler does not reach all of its workers ({type(error).__name__})"
                    raise RequestError(message, "see that they run, and that it can", CLUSTER) from error
            except Exception as error:  # of any kind: what a worker raised while it unpickled the plugin
                message = f"the workers cannot be checked ({type(error).__name__}: {error})"
                raise RequestError(message, SAME_ENVIRONMENT, CLUSTER) from error

    def _wait_for_one(self) -> None:
        text = f"the cluster has no worker yet: waiting for {self._waiting()} (Ctrl-C stops)"
        while not self.fit(afresh=True):
            if text:
                self._say(text)
                text = ""
            time.sleep(0.2)

    def _refuse_versions(self, needed: Mapping[str, str]) -> None:
        from pipeline.runtime.executors.check_plugin import SAME_ENVIRONMENT, different_versions

        answers = self._client.get_versions(packages=[name for name in needed if name != "python"])
        compared = [
            ("scheduler", answers["scheduler"], needed, "start it in the environment that bgone runs in")
        ]
        # The plugin cannot compare Python's version: it is pickled code, which another Python cannot run.
        python = {"python": needed["python"]}
        for address, answer in answers["workers"].items():
            compared.append((f"worker {address}", answer, python, SAME_ENVIRONMENT))
        problems = []
        for name, answer, ours, hint in compared:
            packages = (answer or {}).get("packages")  # none of a worker that has gone since
            if packages and (message := different_versions(ours, dict(packages))):
                problems.append(Problem(f"the {name} {message}", hint, CLUSTER))
        if problems:
            raise RequestError(problems)

    def _some_are_unheard(self) -> bool:
        # A quick worker may have answered before the scheduler knew of the subscription.
        for _, event in self._client.get_events(self._plugin):
            self._events.put(event)
        self.unfit.update(self._news())
        addresses = {worker.address for worker in self.fit(afresh=True)}
        return bool(addresses - self._heard or addresses & self._marks.keys())

    def hear(self) -> None:
        """Leave out workers that have reported to be unfit, and tell the user."""
        if news := self._news():
            self.unfit.update(news)
            self._tell(_problems(news))

    def _news(self) -> dict[str, tuple[str, Problem]]:
        """Return the workers that are newly known to be unfit."""
        unfit = {}
        while not self._events.empty():
            event = self._events.get()
            address, host = event["worker"], event["host"]
            if address in self._heard:
                continue
            self._heard.add(address)
            if "mark" in event:
                self._marks[address] = host, event["mark"], time.monotonic() + SEEN_SECONDS
            else:
                unfit[address] = host, Problem(event["message"], event["hint"])
        # A worker may see the work folder and write elsewhere, as in a container with an overlay.
        for address, (host, mark, end) in list(self._marks.items()):
            drafts, name = os.path.split(mark)
            # By the listing: network file systems remember for a while that a name was not there.
            if name in os.listdir(drafts):
                durable.remove_file(mark)
            elif time.monotonic() > end:
                message = f"writes into another folder than {os.path.dirname(drafts)}"
                unfit[address] = host, Problem(message, SAME_OUTPUT)
            else:
                continue
            del self._marks[address]
        return unfit

    def _tell(self, problems: list[Problem]) -> None:
        for problem in problems:
            self._say(f"left out: {problem.message}; {problem.hint}")

    def dismiss(self) -> None:
        """Take the check off a cluster that others may use too."""
        if self._plugin:
            with contextlib.suppress(OSError, TimeoutError, ValueError):
                unregister = self._client.scheduler.unregister_worker_plugin
                self._client.sync(unregister, name=self._plugin, callback_timeout=DISMISS_SECONDS)

    def smallest(self) -> Worker:
        """Return the known worker with the least memory for each of its threads."""

        def share(worker: Worker) -> tuple[float, int]:
            return (worker.memory or float("inf")) / worker.threads, -worker.threads

        return min((worker for worker in self.known if worker.address not in self.unfit), key=share)


def _problems(unfit: Mapping[str, tuple[str, Problem]]) -> list[Problem]:
    """Return one problem for each kind of finding, naming the first worker that has it, and its host."""
    names: dict[Problem, list[str]] = defaultdict(list)
    for address, (host, finding) in sorted(unfit.items()):
        names[finding].append(f"the worker {address} on {host}")
    problems = []
    for finding, (first, *others) in names.items():
        more = f" (and {number_of(len(others), 'other')})" if others else ""
        problems.append(Problem(f"{first}{more} {finding.message}", finding.hint, CLUSTER))
    return problems


def room_of(worker: Worker) -> int:
    """Return the bytes that a worker may hold before it takes no more tasks; 0 where it has no limit."""
    return int(PAUSES * worker.memory)


def tiling_for_worker(
    workload: Workload, planned: Tiling, window: Mapping[str, int], worker: Worker, memory: int
) -> Windows:
    """Return the windows of a run as `resume_tiling` does, in blocks that a worker of a cluster can hold.

    A worker without a limit of its own may take `memory` bytes.

    Raises
    ------
    RequestError
        Not even the smallest blocks fit.
    """
    room = room_of(worker) or memory
    resources = Resources(worker.threads, room, "remote")
    if memory_of(workload, planned.block, planned.window, resources).predicted <= room:
        return resume_tiling(workload, resources, planned, window)
    with contextlib.suppress(RequestError):
        block, possible = choose_block(workload, resources)
        if possible.workers == worker.threads:
            smaller = Tiling(planned.sizes, block, choose_window(workload, block, resources), planned.halo)
            return resume_tiling(workload, resources, smaller, window)
    least = {axis: workload.least(axis) for axis in workload.image.axes}
    needed = memory_of_blocks(workload, least, resources).predicted
    threads = number_of(worker.threads, "thread")
    if not worker.memory:
        raise RequestError(
            f"the worker {worker.address} may hold {size_text(room)} for {threads},"
            f" and the smallest blocks need {size_text(needed)}",
            "raise compute.memory, start workers with fewer threads, or lower output.chunks",
            "compute.memory",
        )
    raise RequestError(
        f"the worker {worker.address} has {size_text(worker.memory)} for {threads},"
        f" and the smallest blocks need {size_text(needed / PAUSES)}",
        "start workers with more memory or fewer threads, or lower output.chunks or the radii and sigmas",
        CLUSTER,
    )
