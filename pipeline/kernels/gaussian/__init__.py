"""Gaussian filters of any sigma, along any axes."""

from pipeline.kernels.gaussian.filters import (
    difference_of_gaussians,
    gaussian,
    gaussian_bytes,
    subtract_gaussian,
)
from pipeline.kernels.gaussian.taps import reach

__all__ = ["difference_of_gaussians", "gaussian", "gaussian_bytes", "reach", "subtract_gaussian"]
