"""Flat footprints of morphological filters."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Shape = Literal["disk", "box"]

# Σ(dᵢ/rᵢ)² comes out a rounding error above 1 for offsets on the rim, at radius 13 for instance.
RIM = 1e-9


@dataclass(frozen=True)
class Footprint:
    """A symmetric set of offsets, given by a radius for each axis of an array.

    Parameters
    ----------
    shape : {"disk", "box"}
        "disk" holds every offset with Σ(dᵢ/rᵢ)² ≤ 1 + 1e-9: a disk, a ball or an
        ellipsoid. "box" holds every offset with |dᵢ| ≤ ⌊rᵢ⌋.
    radii : tuple of float
        Radius in px for each axis, 0 for an axis that is not filtered.

    Examples
    --------
    >>> Footprint("disk", (2, 2)).mask().astype(int)
    array([[0, 0, 1, 0, 0],
           [0, 1, 1, 1, 0],
           [1, 1, 1, 1, 1],
           [0, 1, 1, 1, 0],
           [0, 0, 1, 0, 0]])
    >>> Footprint("box", (0, 1)).mask().astype(int)
    array([[1, 1, 1]])
    """

    shape: Shape
    radii: tuple[float, ...]

    @cached_property
    def reach(self) -> tuple[int, ...]:
        """Whole pixels to each side along each axis: the halo of one pass."""
        return tuple(int(np.floor(radius + RIM)) for radius in self.radii)

    def mask(self) -> NDArray[np.bool_]:
        """Return a boolean array of shape 2 × reach + 1, centred."""
        last = self.reach[-1]
        return np.abs(np.arange(-last, last + 1)) <= self.half_widths(self.reach)[..., None]

    def half_widths(self, reach: tuple[int, ...]) -> NDArray[np.int64]:
        """Return the reach along the last axis at each offset along the others.

        Parameters
        ----------
        reach : tuple of int
            Offsets beyond these are cut off, along the last axis too.

        Returns
        -------
        ndarray of int, shape 2 × reach + 1 without the last axis
            −1 where there is no pixel.

        Examples
        --------
        >>> Footprint("disk", (3, 3)).half_widths((3, 3))
        array([0, 2, 2, 3, 2, 2, 0])
        >>> Footprint("disk", (3, 3)).half_widths((1, 2))
        array([2, 2, 2])
        """
        *others, last = reach
        shape = tuple(2 * n + 1 for n in others)
        if self.shape == "box":
            return np.full(shape, last)
        total = np.zeros(shape)
        offsets = np.ogrid[tuple(slice(-n, n + 1) for n in others)]
        for offset, radius in zip(offsets, self.radii[:-1], strict=True):
            if radius > 0:
                total = total + (offset / radius) ** 2
        half = np.full(shape, -1)
        for along in range(last + 1):
            half += total + ((along / self.radii[-1]) ** 2 if along else 0) <= 1 + RIM
        return half
