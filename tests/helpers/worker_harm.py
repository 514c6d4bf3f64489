"""A preload of Dask workers that injects the faults of a test."""

import json
import os

from harm import hook_of

from pipeline.runtime.store import StoreRegion
from pipeline.storage import durable


def dask_setup(worker):
    """Install the faults in this worker, and count its tasks."""
    request = json.loads(os.environ["BGONE_TEST_WORKERS"])
    durable.hook = hook_of(request["harm"], request["notes"])
    store = StoreRegion.__call__

    def counted(self, region, before, block):
        try:
            return store(self, region, before, block)
        finally:
            with open(f"{request['notes']}/tasks", "a") as file:
                file.write(f"{os.getpid()}\n")

    StoreRegion.__call__ = counted
