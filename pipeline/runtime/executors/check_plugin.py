"""The plugin by which each worker of a cluster says whether it may compute.

It is pickled by value and imports nothing of bgone until it knows that the worker has the driver's: one
that cannot be unpickled would end a worker of another environment while it starts, and others use it too.
"""

import asyncio
import contextlib
import pickle
import platform
import socket
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import cloudpickle
from distributed import WorkerPlugin

SAME_ENVIRONMENT = "start the workers in the environment that bgone runs in"


class CheckPlugin(WorkerPlugin):
    """Checks a worker when it is there or joins, before its first task, and logs the outcome as an event.

    The event, under the plugin's name, is a dict: `worker` (address), `host`, and either `what` is wrong with
    `mend`, or the path of a file that the driver should see, `mark`.

    Parameters
    ----------
    name : str
        Of the plugin, and of the topic of its events.
    versions : mapping of str to str
        Package, or "python" → version.
    check : bytes
        A pickled `WorkerCheck`.
    """

    def __init__(self, name: str, versions: Mapping[str, str], check: bytes) -> None:
        self.name = name
        self.versions = dict(versions)
        self.check = check

    async def setup(self, worker: Any) -> None:
        """Check, without holding up what the worker has to say to its scheduler."""
        event = {
            "what": different_versions(self.versions, installed(self.versions)),
            "mend": SAME_ENVIRONMENT,
        }
        if not event["what"]:
            try:
                event = await asyncio.to_thread(lambda: pickle.loads(self.check)())
            # Whatever it is, the driver is to hear of it.
            except Exception as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                event["what"] = f"cannot take part ({type(error).__name__}: {reason})"
        address = worker.contact_address or worker.address
        worker.log_event(self.name, {**event, "worker": address, "host": socket.gethostname()})


def installed(names: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of packages that are there in this process."""
    versions = {"python": platform.python_version()}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            versions.setdefault(name, version(name))
    return versions


def different_versions(ours: Mapping[str, str], theirs: Mapping[str, str | None]) -> str:
    """Return which versions are others than the driver's, or nothing; of Python the first two numbers count.

    >>> different_versions({"bgone": "0.2", "numpy": "2.1"}, {"bgone": "0.1", "numpy": "2.1"})
    'has bgone 0.1, and the run is started with 0.2'
    """
    differences = []
    for name, needed in ours.items():
        there = theirs.get(name)
        if name == "python" and there:
            name, needed, there = ("Python", *(".".join(text.split(".")[:2]) for text in (needed, there)))
        if there != needed:
            there = f"{name} {there}" if there else f"no {name}"
            differences.append(f"{there}, and the run is started with {needed}")
    return f"has {'; '.join(differences)}" if differences else ""


def register(client: Any, plugin: CheckPlugin) -> None:
    """Have all workers, present and later ones, check themselves; return when the present ones have."""
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    try:
        client.register_plugin(plugin, plugin.name)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
