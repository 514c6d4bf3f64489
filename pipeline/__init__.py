"""Background subtraction for time-lapse microscopy larger than memory.

Every step stands here under its class's name (`pipeline.WhiteTophat`, …), beside
`open_image`, `save` and `run`.
"""

import importlib
from typing import Any

from pipeline.model.errors import PipelineError
from pipeline.model.image import Channel, Image, ImageSpec
from pipeline.steps import CLASSES as _CLASSES

# Steps work on Dask arrays once this is imported: it registers how.
importlib.import_module("pipeline.steps.lazy")

_LATE = {"open_image": "pipeline.read", "run": "pipeline.runtime.run", "save": "pipeline.runtime.run"}

__all__ = ["Channel", "Image", "ImageSpec", "PipelineError", *_LATE, *_CLASSES]

globals().update(_CLASSES)


def __getattr__(name: str) -> Any:
    # Imported when first asked for, so that a worker or `bgone --help` starts quickly.
    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    from pipeline.config.other_words import advice_for

    advice = None if name.startswith("_") else advice_for(name)
    mend = "" if advice is None else f"; {advice.in_python()}"
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}{mend}", name=name)
