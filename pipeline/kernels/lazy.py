"""numba and llvmlite, imported when the first kernel is compiled or loaded: a plan does without them."""

import importlib
from typing import Any


class LazyModule:
    """A module that is imported when something of it is first used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)


numba: Any = LazyModule("numba")
cgutils: Any = LazyModule("numba.core.cgutils")
types: Any = LazyModule("numba.core.types")
extending: Any = LazyModule("numba.extending")
registry: Any = LazyModule("numba.core.registry")
ir: Any = LazyModule("llvmlite.ir")
