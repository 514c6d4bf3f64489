"""Granulometry: the size of the features of a plane, from openings of growing radius.

An opening with a disk removes the bright features into which the disk does not fit. What one
radius more removes is therefore made of features of that radius: the pattern spectrum.
Here it is measured as energy, the mean square of what is removed: sharp features weigh more than an
uneven background, of which a little is removed everywhere.

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

from pipeline.kernels.gaussian import gaussian
from pipeline.kernels.morphology import Footprint, dilation, erosion

Features = Literal["bright", "dark"]

SOURCE = "pattern spectrum of openings with disks (Matheron 1975; Maragos 1989), as energy"

FINE = 16  # up to this radius every integer is tried, at full resolution; larger ones on halved images

# The largest radius as a share of the shorter side: an image holds too few larger features.
_LARGEST = 1 / 6
_RATIO = 1.12  # of successive radii above FINE

_SIGMA = 1.4826  # standard deviation of a normal distribution ÷ its median absolute deviation

_PEAK_FLOOR = 0.25  # a peak reaches down to this share of its top
# Octaves of the moving average: a few large features of one size alone would stand far out.
_AVERAGED = 1 / 3
_SECONDARY = 0.1  # other peaks are reported from this share of the strongest one's energy

# A peak with two fifths of the energy of noise is clear (10 × 0.4 = CLEAR); slopes alone reach one fifth.
_OF_NOISE = 10.0
_BOTH = 0.25  # bright and dark are both reported from this ratio of their energies

_TAIL = 3.0  # standard deviations from which pixels count as features
_MORE_THAN_NOISE = 0.1  # energy of the tails, in variances, that noise alone does not have

CLEAR = 4.0  # a clear peak stands so far above the median of the spectrum and above that of noise


@dataclass(frozen=True)
class Spectrum:
    """Energy of a plane's features by their radius."""

    radii: NDArray[np.float64]  # of the disks, in px, rising
    energy: NDArray[np.float64]  # removed per octave up to each radius: mean square, in squared pixel units
    noise: NDArray[np.float64]  # the same of pure noise, as strong as the image's

    @property
    def below(self) -> NDArray[np.float64]:
        """Lower end of each radius' interval."""
        return np.concatenate([[0.5], self.radii[:-1]])


@dataclass(frozen=True)
class FeatureSize:
    """Range of the radius of features, in px."""

    low: float
    high: float
    clearness: float  # ratio of the peak to the rest of the spectrum, and to noise
    others: tuple[tuple[float, float], ...] = ()  # ranges of other clear peaks

    @property
    def clear(self) -> bool:
        """Whether the image shows a size at all."""
        return self.clearness >= CLEAR


def choose_radii(side: int) -> list[float]:
    """Return the radii to try for a plane with a shorter side of `side` px.

    >>> choose_radii(64)
    [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    """
    largest = max(3.0, side * _LARGEST)
    radii = [float(radius) for radius in range(1, FINE + 1) if radius <= largest]
    while radii[-1] >= FINE and radii[-1] * _RATIO <= largest:
        # Whole pixels of the halved image.
        grid = 2 ** _level(radii[-1] * _RATIO)
        radii.append(float(round(radii[-1] * _RATIO / grid) * grid))
    return radii


def _level(radius: float) -> int:
    """Return how often the image is halved before openings of a radius."""
    return max(0, int(np.ceil(np.log2(radius / FINE))))


def pattern_spectrum(plane: NDArray, features: Features = "bright") -> Spectrum:
    """Compute the pattern spectrum of a plane of at least 8 × 8 px, up to a sixth of its shorter side."""
    image = finite_floats(plane)
    radii = choose_radii(min(plane.shape))
    sigma = noise_of(image)
    # Noise of variance 1, always the same, so that a suggestion can be repeated.
    unit = np.random.default_rng(0).standard_normal((256, 256), np.float32)
    within = [radius for radius in radii if radius <= unit.shape[0] / 4]
    noise = np.zeros(len(radii))
    noise[: len(within)] = sigma**2 * _energies(unit, within)
    return Spectrum(np.array(radii), _energies(image if features == "bright" else -image, radii), noise)


def _energies(image: NDArray, radii: list[float]) -> NDArray[np.float64]:
    # Without smoothing, the smallest disks would remove mostly noise.
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
    """Estimate the standard deviation of a plane's noise from differences of neighbours."""
    differences = image[:, 1:].astype(np.float64) - image[:, :-1]
    # A difference of two has twice the variance of one.
    return _SIGMA * float(np.median(np.abs(differences))) / 2**0.5


def finite_floats(plane: NDArray) -> NDArray[np.float32]:
    """Convert a plane to float32, with 0 for NaN and infinities."""
    return np.nan_to_num(plane.astype(np.float32), posinf=0, neginf=0)


def middle_and_spread(values: NDArray) -> tuple[float, float]:
    """Return the median, and a standard deviation robust against tails."""
    middle = float(np.median(values))
    return middle, _SIGMA * float(np.median(np.abs(values - middle)))


@dataclass(frozen=True)
class Polarity:
    """Whether the features of a plane are bright or dark."""

    features: Features  # the stronger ones, or those asked for
    other: float  # energy of the opposite ones, as a share
    flat: NDArray  # the plane with the opposite ones cut off

    @property
    def both(self) -> bool:
        """Whether there are bright and dark features."""
        return self.other >= _BOTH


def polarity(plane: NDArray, features: Features | None = None) -> Polarity:
    """Tell bright from dark features: the longer tail around the local background is that of the features.

    `features` overrides the choice.
    """
    image = finite_floats(plane)
    smooth, wide = gaussian(image, (1.0, 1.0)), max(2.0, min(plane.shape) / 20)
    background = gaussian(smooth, (wide, wide))
    for _ in range(4):
        # Clipping keeps wide features out of the estimate, which would rise below them.
        middle, spread = middle_and_spread(smooth - background)
        low, high = (background + np.float32(middle + tail * spread) for tail in (-_TAIL, _TAIL))
        background = gaussian(np.clip(smooth, low, high), (wide, wide))
    local = smooth - background
    # Near the border the Gaussian does not follow a slope of the background.
    border = tuple(slice(int(2 * wide), size - int(2 * wide)) for size in plane.shape)
    inner = local[border] if min(local[border].shape) >= 8 else local
    inner = inner.astype(np.float64)
    middle, spread = middle_and_spread(inner)
    inner -= middle
    above, below = (float(np.mean(np.where(side > _TAIL * spread, side, 0) ** 2)) for side in (inner, -inner))
    least, most = sorted((above, below))
    noise = _MORE_THAN_NOISE * spread**2
    # Tails no longer than those of noise have no sign; the third moment decides then.
    skew = above - below if most > noise else float(np.mean((inner - np.mean(inner)) ** 3))
    stronger: Features = "bright" if skew >= 0 else "dark"
    features = features or stronger
    other = 0.0 if least <= noise else least / most if features == stronger else most / least
    limit = background + np.float32(middle)
    flat = np.maximum(image, limit) if features == "bright" else np.minimum(image, limit)
    return Polarity(features, other, flat)


def mean_spectrum(spectra: list[Spectrum]) -> Spectrum:
    """Average the spectra of planes of one shape."""
    return Spectrum(
        spectra[0].radii,
        np.mean([spectrum.energy for spectrum in spectra], axis=0),
        np.mean([spectrum.noise for spectrum in spectra], axis=0),
    )


def find_size(spectrum: Spectrum) -> FeatureSize:
    """Find the peak of most energy that ends inside the spectrum; without one the size is not clear."""
    energy = np.maximum(_averaged(spectrum, spectrum.energy - spectrum.noise), 0)
    peaks = _find_peaks(energy)
    if not peaks:
        return FeatureSize(float(spectrum.radii[0]), float(min(spectrum.radii[-1], FINE)), 0.0)
    octaves = np.log2(spectrum.radii / spectrum.below)
    mass = {span: float(np.sum((energy * octaves)[span[0] : span[1] + 1])) for span in peaks}
    best = max(peaks, key=lambda span: mass[span])
    middle = float(np.median(energy))

    def clearness(span: tuple[int, int], rest: float) -> float:
        peak = peaks[span]
        over_noise = spectrum.energy[peak] / max(float(spectrum.noise[peak]), 1e-12)
        all_noise = max(float(np.sum(spectrum.noise * octaves)), 1e-12)
        over_rest = energy[peak] / rest if rest > 0 else np.inf
        return float(min(over_rest, over_noise, _OF_NOISE * mass[span] / all_noise, 1e6))

    def valley(span: tuple[int, int]) -> float:
        """Return the minimum of the energy between a peak and the best one."""
        return float(np.min(energy[min(span[1], best[1]) : max(span[0], best[0]) + 1]))

    def radii(span: tuple[int, int]) -> tuple[float, float]:
        return float(spectrum.below[span[0]]), float(spectrum.radii[span[1]])

    others = [
        span
        for span in sorted(peaks)
        if span != best and mass[span] >= _SECONDARY * mass[best] and clearness(span, valley(span)) >= CLEAR
    ]
    return FeatureSize(*radii(best), clearness(best, middle), tuple(radii(span) for span in others))


def _find_peaks(energy: NDArray[np.float64]) -> dict[tuple[int, int], int]:
    """Return the peaks that end inside: (first, last) index → index of the top."""
    tops = np.flatnonzero((ndimage.maximum_filter1d(energy, 3, mode="nearest") == energy) & (energy > 0))
    peaks: dict[tuple[int, int], int] = {}
    for top in sorted(tops, key=lambda top: -energy[top]):
        first = last = int(top)
        above = energy >= _PEAK_FLOOR * energy[top]
        while first > 0 and above[first - 1]:
            first -= 1
        while last < len(energy) - 1 and above[last + 1]:
            last += 1
        # Towards the largest radius the energy of an uneven background rises: that is no peak. Nor is a
        # local maximum on the slope of a higher one.
        if last < len(energy) - 1 and all(last < low or first > high for low, high in peaks):
            peaks[first, last] = int(top)
    return peaks


def _averaged(spectrum: Spectrum, energy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average energy per octave over `_AVERAGED` octaves around each radius."""
    edges = np.log2(np.concatenate([spectrum.below[:1], spectrum.radii]))
    total = np.concatenate([[0.0], np.cumsum(energy * np.diff(edges))])
    middle, half = (edges[1:] + edges[:-1]) / 2, np.maximum(np.diff(edges), _AVERAGED) / 2
    low, high = np.maximum(middle - half, edges[0]), np.minimum(middle + half, edges[-1])
    return np.asarray((np.interp(high, edges, total) - np.interp(low, edges, total)) / (high - low))
