"""How large the features of a plane are: what openings of growing radius take away.

An opening with a disk removes the bright features into which the disk does not fit. What one
radius more removes is therefore what features of that radius are made of: the pattern spectrum.
Here it is measured as energy, the mean square of what goes: sharp features weigh more than an
uneven background, which goes a little everywhere.

References
----------
G. Matheron, "Random Sets and Integral Geometry", Wiley, 1975.
P. Maragos, "Pattern spectrum and multiscale shape representation", IEEE Transactions on Pattern
Analysis and Machine Intelligence 11, 1989.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.kernels.footprint import Footprint
from pipeline.kernels.gaussian import gaussian
from pipeline.kernels.morphology import dilation, erosion

Features = Literal["bright", "dark"]

SOURCE = "pattern spectrum of openings with disks (Matheron 1975; Maragos 1989), as energy"

FINE = 16
"""Radii up to here are tried one by one, on every pixel; larger ones on the image halved, and again."""

# The largest radius is this share of the shorter side: of larger features the image holds too few.
_LARGEST = 1 / 6
_RATIO = 1.12

# Of the peak: what is above belongs to it.
_BELONGS = 0.25

# How far a peak stands above the middle of the spectrum, and above that of noise, to be clear.
CLEAR = 4.0


@dataclass(frozen=True)
class Spectrum:
    """How much features of each radius are made of.

    Parameters
    ----------
    radii : numpy.ndarray
        Of the disks, in px, rising: features between one and the next go with the next.
    energy : numpy.ndarray
        What goes with each, per octave: its mean square, in squared units of the pixels.
    noise : numpy.ndarray
        What would go of noise alone, as strong as the image's.
    """

    radii: NDArray[np.float64]
    energy: NDArray[np.float64]
    noise: NDArray[np.float64]

    @property
    def below(self) -> NDArray[np.float64]:
        """The radius before each."""
        return np.concatenate([[0.5], self.radii[:-1]])


@dataclass(frozen=True)
class Size:
    """The radius of features, as a range.

    Parameters
    ----------
    low, high : float
        In px: nearly all that stands out lies between them.
    clearness : float
        How far the peak stands above what lies beside it and above noise: 4 and more is clear.
    """

    low: float
    high: float
    clearness: float

    @property
    def clear(self) -> bool:
        """Whether there is a size at all."""
        return self.clearness >= CLEAR


def choose_radii(side: int) -> list[float]:
    """Return the radii that a plane of a shorter side is tried with.

    >>> choose_radii(64)
    [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    """
    largest = max(3.0, side * _LARGEST)
    radii = [float(radius) for radius in range(1, FINE + 1) if radius <= largest]
    while radii[-1] >= FINE and radii[-1] * _RATIO <= largest:
        # Each on the grid of the halved image that it is tried on.
        grid = 2 ** _level(radii[-1] * _RATIO)
        radii.append(float(round(radii[-1] * _RATIO / grid) * grid))
    return radii


def _level(radius: float) -> int:
    """Return how often the image is halved for a radius."""
    return max(0, int(np.ceil(np.log2(radius / FINE))))


def pattern_spectrum(plane: NDArray, features: Features = "bright") -> Spectrum:
    """Return how much features of each radius a plane is made of.

    Parameters
    ----------
    plane : numpy.ndarray
        Rows and columns, at least 8 of each.
    features : {"bright", "dark"}
        What is looked for.

    Returns
    -------
    Spectrum
        Of radii up to a sixth of the shorter side.
    """
    image = np.nan_to_num(plane.astype(np.float32), posinf=0, neginf=0)
    radii = choose_radii(min(plane.shape))
    sigma = noise_of(image)
    unit = np.random.default_rng(0).standard_normal((256, 256), np.float32)
    within = [radius for radius in radii if radius <= unit.shape[0] / 4]
    noise = np.zeros(len(radii))
    noise[: len(within)] = sigma**2 * _energies(unit, within)
    return Spectrum(np.array(radii), _energies(image if features == "bright" else -image, radii), noise)


def _energies(image: NDArray, radii: list[float]) -> NDArray[np.float64]:
    # Smoothed by 1 px, or noise would go with the smallest disks.
    level, smooth = 0, gaussian(image, (1.0, 1.0))
    before, last = smooth, 0.5
    energies = []
    for radius in radii:
        while level < _level(radius):
            level, smooth = level + 1, _halved(smooth)
            before = _opening(smooth, last / 2**level)
        after = _opening(smooth, radius / 2**level)
        energies.append(float(np.mean(np.square(before - after, dtype=np.float64))) / np.log2(radius / last))
        before, last = after, radius
    return np.array(energies)


def _opening(image: NDArray, radius: float) -> NDArray:
    disk = Footprint("disk", (radius, radius))
    return dilation(erosion(image, disk), disk)


def _halved(image: NDArray) -> NDArray:
    rows, columns = (size // 2 * 2 for size in image.shape)
    even = image[:rows, :columns]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / np.float32(4)


def noise_of(image: NDArray) -> float:
    """Return the standard deviation of a plane's noise, out of neighbours' differences."""
    differences = image[:, 1:].astype(np.float64) - image[:, :-1]
    return 1.4826 * float(np.median(np.abs(differences))) / 2**0.5


def kind_of_features(plane: NDArray) -> Features:
    """Return whether what stands out of a plane is bright or dark: what is rare is a feature."""
    image = np.nan_to_num(plane.astype(np.float32), posinf=0, neginf=0)
    wide = max(2.0, min(plane.shape) / 20)
    local = gaussian(image, (1.0, 1.0)) - gaussian(image, (wide, wide))
    middle = local - np.mean(local, dtype=np.float64)
    return "bright" if float(np.mean(middle**3)) >= 0 else "dark"


def mean_spectrum(spectra: list[Spectrum]) -> Spectrum:
    """Return the mean of the spectra of planes of one shape."""
    return Spectrum(
        spectra[0].radii,
        np.mean([each.energy for each in spectra], axis=0),
        np.mean([each.noise for each in spectra], axis=0),
    )


def find_size(spectrum: Spectrum) -> Size:
    """Return the radius of the features that stand out most.

    The highest peak that ends inside the spectrum: at its end the energy of an uneven
    background rises. Where there is none, the size is not clear.
    """
    energy = np.maximum(spectrum.energy - spectrum.noise, 0)
    peaks = (ndimage.maximum_filter1d(energy, 3, mode="nearest") == energy) & (energy > 0)
    best = sorted(np.flatnonzero(peaks), key=lambda peak: -energy[peak])
    if not best:
        return Size(float(spectrum.radii[0]), float(min(spectrum.radii[-1], FINE)), 0.0)
    spans = [_span(energy, int(peak)) for peak in best]
    inside = [number for number, (_, last) in enumerate(spans) if last < len(energy) - 1]
    chosen = inside[0] if inside else 0
    (first, last), peak = spans[chosen], best[chosen]
    middle = float(np.median(energy))
    beside = energy[peak] / middle if middle > 0 else np.inf
    over_noise = spectrum.energy[peak] / max(float(spectrum.noise[peak]), 1e-12)
    clearness = float(min(beside, over_noise, 1e6)) if inside else 0.0
    return Size(float(spectrum.below[first]), float(spectrum.radii[last]), clearness)


def _span(energy: NDArray[np.float64], peak: int) -> tuple[int, int]:
    """Return the first and the last index of a peak."""
    belongs = energy >= _BELONGS * energy[peak]
    first = last = peak
    while first > 0 and belongs[first - 1]:
        first -= 1
    while last < len(energy) - 1 and belongs[last + 1]:
        last += 1
    return first, last
