"""A preload of Dask workers: what may befall them at a point where they change a disk. For tests only."""

import json
import os

from harm import hook_of

from pipeline.runtime.store import StoreRegion
from pipeline.storage import durable


def dask_setup(worker):
    """Do what the test asked for in this worker."""
    asked = json.loads(os.environ["BGONE_TEST_WORKERS"])
    durable.hook = hook_of(asked["harm"], asked["notes"])
    store = StoreRegion.__call__

    def noted(self, region, before, block):
        try:
            return store(self, region, before, block)
        finally:
            with open(f"{asked['notes']}/tasks", "a") as file:
                file.write(f"{os.getpid()}\n")

    StoreRegion.__call__ = noted
