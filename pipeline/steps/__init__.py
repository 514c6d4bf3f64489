"""Operators on pixels: the contract that each keeps, the registry of them, and what applies them to images.

Here belongs what computes an image from an image. An operator is one file in `operators`; another
package brings its own by subclassing `Step` and naming the class in the entry-point group `bgone.steps`.
Reading, planning and writing do not belong here.
"""

from pipeline.steps.registry import REGISTRY
from pipeline.steps.step import Step

__all__ = ["REGISTRY", "Step"]
