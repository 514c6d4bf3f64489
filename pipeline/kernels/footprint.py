"""Flat footprints: which neighbours a morphological filter looks at."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Shape = Literal["disk", "box"]

# Σ(dᵢ/rᵢ)² lands a rounding error above 1 for offsets on the rim, at radius 13 for instance.
RIM = 1e-9


@dataclass(frozen=True)
class Footprint:
    """A symmetric set of offsets, described by its radius on each axis of an array.

    Parameters
    ----------
    shape : {"disk", "box"}
        "disk" holds every offset with Σ(dᵢ/rᵢ)² ≤ 1 + 1e-9: a disk, a ball or an
        ellipsoid. "box" holds every offset with |dᵢ| ≤ ⌊rᵢ⌋.
    radii : tuple of float
        Radius in px for each axis of the array, 0 for an axis it is flat along.

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

    @property
    def reach(self) -> tuple[int, ...]:
        """How far it extends along each axis, in whole px: the halo of one pass."""
        return tuple(int(np.floor(radius + RIM)) for radius in self.radii)

    def mask(self) -> NDArray[np.bool_]:
        """Return it as a boolean array of shape 2 × reach + 1, centred."""
        full = tuple(2 * reach + 1 for reach in self.reach)
        if self.shape == "box":
            return np.ones(full, bool)
        total = np.zeros(full)
        offsets = np.ogrid[tuple(slice(-reach, reach + 1) for reach in self.reach)]
        for offset, radius in zip(offsets, self.radii, strict=True):
            if radius > 0:
                total = total + (offset / radius) ** 2
        return total <= 1 + RIM
