"""Background subtraction for time-lapse microscopy larger than memory.

Every step stands here under its class's name (`pipeline.WhiteTophat`, …), beside
`open_image`, `save` and `run`.
"""

import importlib
from typing import Any

from pipeline.model.errors import PipelineError
from pipeline.model.image import Channel, Image, ImageSpec

_HERE = (Channel, Image, ImageSpec, PipelineError)
_LATE = {"open_image": "pipeline.read", "run": "pipeline.runtime.run", "save": "pipeline.runtime.run"}


def __getattr__(name: str) -> Any:
    # Imported when first asked for, so that a worker or `bgone --help` starts quickly.
    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    if name == "__all__":
        return [*(kind.__name__ for kind in _HERE), *_LATE, *_steps()]
    if name[:1].isupper() and name in (steps := _steps()):
        return steps[name]
    from pipeline.config.synonyms import advice_for

    advice = None if name.startswith("_") else advice_for(name)
    mend = "" if advice is None else f"; {advice.in_python()}"
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}{mend}", name=name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE, *_steps()})


def _steps() -> dict[str, Any]:
    from pipeline.steps import REGISTRY

    return {step.__name__: step for step in REGISTRY.values()}
