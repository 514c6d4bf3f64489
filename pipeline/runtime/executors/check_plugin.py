"""Dask plugin by which each worker of a cluster reports whether it may compute.

It is pickled by value, and imports nothing of bgone until it knows that the worker has the driver's
version: a plugin that cannot be unpickled ends a worker while it starts, and others use the worker too.
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
    """Check of each worker, present or joining, before its first task; logs the outcome as an event.

    The event, under the plugin's name, is a dict: `worker` (address), `host`, and either `what` is wrong
    with its remedy `hint`, or `mark`, the path of a file that the driver should see.
    """

    def __init__(self, name: str, versions: Mapping[str, str], check: bytes) -> None:
        self.name = name
        self.versions = dict(versions)  # of packages, and of "python"
        self.check = check  # a pickled `WorkerCheck`

    async def setup(self, worker: Any) -> None:
        """Check the worker."""
        message = different_versions(self.versions, _installed(self.versions))
        event = {"message": message, "hint": SAME_ENVIRONMENT}
        if not message:
            try:
                # In a thread: the worker's heartbeats must go on while it loads kernels and reads files.
                event = await asyncio.to_thread(lambda: pickle.loads(self.check)())
            # Distributed would log any exception and let the worker compute.
            except Exception as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                event["message"] = f"cannot take part ({type(error).__name__}: {reason})"
        address = worker.contact_address or worker.address
        worker.log_event(self.name, {**event, "worker": address, "host": socket.gethostname()})


def _installed(names: Mapping[str, str]) -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            versions.setdefault(name, version(name))
    return versions


def different_versions(ours: Mapping[str, str], theirs: Mapping[str, str | None]) -> str:
    """Describe the versions that differ from the driver's, or return an empty string.

    Of Python the first two numbers count.

    >>> different_versions({"bgone": "0.2", "numpy": "2.1"}, {"bgone": "0.1", "numpy": "2.1"})
    'has bgone 0.1, and the run is started with 0.2'
    """
    differences = []
    for name, needed in ours.items():
        installed = theirs.get(name)
        if name == "python" and installed:
            name, needed, installed = "Python", _minor(needed), _minor(installed)
        if installed != needed:
            package = f"{name} {installed}" if installed else f"no {name}"
            differences.append(f"{package}, and the run is started with {needed}")
    return f"has {'; '.join(differences)}" if differences else ""


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def register(client: Any, plugin: CheckPlugin) -> None:
    """Have all workers, present and later ones, check themselves; return when the present ones have."""
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    try:
        client.register_plugin(plugin, plugin.name)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
