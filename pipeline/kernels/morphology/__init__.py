"""Grey erosions, dilations, openings and top-hats with flat symmetric footprints."""

from pipeline.kernels.morphology.filters import (
    black_tophat,
    dilation,
    erosion,
    morphology_bytes,
    subtract_erosion,
    subtract_opening,
    white_tophat,
)
from pipeline.kernels.morphology.footprint import Footprint

__all__ = [
    "Footprint",
    "black_tophat",
    "dilation",
    "erosion",
    "morphology_bytes",
    "subtract_erosion",
    "subtract_opening",
    "white_tophat",
]
