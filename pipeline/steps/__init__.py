"""Operators on pixels: the contract that each keeps, the registry of them, and what applies them to images.

Here belongs what computes an image from an image. An operator is one file in `operators`. Another package
subclasses `Step` (its lengths are fields of the types in `lengths`, `flat` and `linear`), names the class, or
the module that defines it, in its pyproject.toml, and tries it with `pipeline.testing`:

    [project.entry-points."bgone.steps"]
    my_step = "my_package.steps:MyStep"

Reading, planning and writing do not belong here.
"""

from pipeline.steps.registry import REGISTRY
from pipeline.steps.step import Step

__all__ = ["REGISTRY", "Step"]
