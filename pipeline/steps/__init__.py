"""The operators, one a file, and the contract that they keep; importing this package registers all of them.

Here belongs what computes pixels of an image from pixels. A new operator is one file here and one test file.
"""

import importlib
import pkgutil

from pipeline.steps.step import REGISTRY

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

CLASSES = {step.__name__: step for step in REGISTRY.values()}
"""Step class by its own name, for `pipeline.WhiteTophat` and its kin."""

__all__ = ["CLASSES"]
