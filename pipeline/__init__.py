"""Background subtraction for time-lapse microscopy larger than memory.

It has `open_image`, `save` and `run`, and every step under the name of its class
(`pipeline.WhiteTophat`, …).
"""

import importlib
from typing import Any

from pipeline.model.errors import PipelineError
from pipeline.model.image import Channel, Image, ImageSpec

_EAGER = (Channel, Image, ImageSpec, PipelineError)
# Imported on first use, so that a worker or `bgone --help` starts quickly.
_LAZY = {"open_image": "pipeline.read", "run": "pipeline.runtime.run", "save": "pipeline.runtime.run"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name == "__all__":
        return [*(kind.__name__ for kind in _EAGER), *_LAZY, *_steps()]
    if name[:1].isupper() and name in (steps := _steps()):
        return steps[name]
    from pipeline.config.synonyms import advice_for

    advice = None if name.startswith("_") else advice_for(name)
    hint = "" if advice is None else f"; {advice.in_python()}"
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}{hint}", name=name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_steps()})


def _steps() -> dict[str, Any]:
    from pipeline.steps import REGISTRY

    return {step.__name__: step for step in REGISTRY.values()}
