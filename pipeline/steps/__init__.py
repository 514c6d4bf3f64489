"""Image filters: the contract of a step, the registry of steps, and how steps are applied to images.

What computes an image from an image belongs here, each operator in a file of its own in `operators`; reading,
planning and writing do not. A step of another package subclasses `Step`, or `FlatStep` or `LinearStep`,
takes its lengths as fields of the types in `flat`, `linear` and `lengths`, and is tested with
`pipeline.testing`. An entry point names the class, or the module that defines it, in pyproject.toml:

    [project.entry-points."bgone.steps"]
    my_step = "my_package.steps:MyStep"
"""

from pipeline.steps.registry import REGISTRY
from pipeline.steps.step import Step

__all__ = ["REGISTRY", "Step"]
