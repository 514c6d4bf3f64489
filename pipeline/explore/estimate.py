"""Feature sizes of each channel of an image, and the filter parameters that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.explore.crop import CROP, View, find_views, plane
from pipeline.explore.granulometry import (
    CLEAR,
    Features,
    FeatureSize,
    Spectrum,
    find_size,
    mean_spectrum,
    pattern_spectrum,
    polarity,
)
from pipeline.explore.init import RADIUS
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.units import short_unit
from pipeline.read import Source

FRAMES = 3  # read of the time-lapse
LEAST = 16  # px of the shorter side that an estimate needs
SMALL = 64  # px of the shorter side below which only a few radii can be tried


@dataclass(frozen=True)
class Range:
    """Range of a parameter in px, and a value to begin with."""

    low: float
    begin: float
    high: float

    def text(self) -> str:
        """Describe the range."""
        return f"{self.low:g} to {self.high:g} px, begin with {self.begin:g}"


@dataclass(frozen=True)
class Suggestion:
    """Estimate for one channel."""

    channel: int
    name: str  # or its index as text
    features: Features
    size: FeatureSize  # of the mean spectrum of the frames
    frames: tuple[FeatureSize, ...]  # of each frame
    spectrum: Spectrum  # mean of the frames
    example: NDArray  # the plane of the middle frame
    view: View  # of the example
    other: float = 0.0  # energy of features of the opposite sign as a share; 0 where it is small

    @property
    def clear(self) -> bool:
        """Whether the image shows a size at all."""
        return self.size.clear

    @property
    def largest(self) -> float:
        """Radius of the largest features in any frame, in px."""
        return max([self.size.high, *(size.high for size in self.frames if size.clear)])

    @property
    def smallest(self) -> float:
        """Radius of the smallest features in any frame, in px."""
        return max(1.0, min([self.size.low, *(size.low for size in self.frames if size.clear)]))

    @property
    def step(self) -> str:
        """Name of the top-hat for such features."""
        return "white_tophat" if self.features == "bright" else "black_tophat"

    @property
    def radius(self) -> Range:
        """Radius of the top-hat, larger than the largest features; a guess where the size is not clear."""
        longest = max(self.view.spec.shape[-2:])
        guess = max(1, min(RADIUS, longest // 8))
        values: tuple[int, ...] = (max(1, guess // 4), guess, 2 * guess)
        if self.clear:
            values = tuple(math.ceil(self.largest * share) for share in (1.05, 1.3, 2.5))
        return Range(*(float(min(value, longest - 1)) for value in values))

    @property
    def low_sigma(self) -> Range:
        """Sigma that smooths noise only: far below the radius of the smallest features."""
        most = max(1.0, self.smallest / 2)
        return Range(0.5, round(min(most, max(1.0, self.smallest / 4)), 1), round(most, 1))

    @property
    def high_sigma(self) -> Range:
        """Sigma of the background: several times the radius of the largest features."""
        longest = max(self.view.spec.shape[-2:])
        values = (math.ceil(self.largest * share) for share in (1.5, 2.5, 5))
        return Range(*(float(min(value, longest)) for value in values))

    def words(self, spec: ImageSpec) -> str:
        """Describe the features."""
        if not self.clear:
            return f"no size can be told: {self._reason()}"
        text = f"{self.features} features of {self.smallest:g} to {self.largest:g} px radius"
        pixel, unit = spec.scale.get("x"), spec.units.get("x")
        if pixel is None or unit is None or not pixel > 0:
            return text
        return f"{text} ({self.smallest * pixel:.3g} to {self.largest * pixel:.3g} {short_unit(unit)})"

    def _reason(self) -> str:
        shape, largest = self.example.shape, self.spectrum.radii[-1]
        if np.ptp(self.example) == 0:
            return f"all pixels are {self.example.flat[0]:g}"
        if min(shape) < SMALL:
            few = f"{shape[0]} × {shape[1]} px are too few"
            return f"{few} (only up to {largest:g} px radius can be looked for)"
        if self.size.clearness == 0:
            return f"nothing of up to {largest:g} px radius, a sixth of the plane, stands out"
        return f"none stands out (the strongest reaches {self.size.clearness:.1f}, and {CLEAR:g} is clear)"

    def doubts(self) -> list[str]:
        """Return reasons to distrust the estimate, and alternatives to it."""
        doubts = []
        if self.other:
            other = "dark" if self.features == "bright" else "bright"
            than = "about as much" if self.other > 0.8 else f"{100 * self.other:.0f} % as much"
            doubts.append(f"{other} features stand out too, {than}: --features {other} takes those")
        if not self.clear:
            return doubts
        for low, high in self.size.others:
            purpose = "to keep those too" if low >= self.largest else "for those alone"
            doubts.append(
                f"features of {low:g} to {high:g} px radius stand out too: {purpose} take a radius of "
                f"{math.ceil(1.3 * high)} px"
            )
        middles = [math.sqrt(size.low * size.high) for size in self.frames if size.clear]
        if middles and max(middles) > 1.5 * min(middles):
            doubts.append("the size changes over the time-lapse")
        if self.size.low <= 1:
            doubts.append("the features are hardly larger than a pixel")
        clipped = saturated(self.example)
        if clipped >= 0.001:
            doubts.append(f"{100 * clipped:.2g} % of the pixels are saturated")
        return doubts


def saturated(plane: NDArray) -> float:
    """Return the share of pixels at the maximum of their dtype; 0 for floats.

    >>> saturated(np.array([[255, 3], [2, 1]], np.uint8))
    0.25
    """
    if plane.dtype.kind not in "iu":
        return 0.0
    return float(np.mean(plane == np.iinfo(plane.dtype).max))


def suggest_for(source: Source, features: Features | None = None) -> list[Suggestion]:
    """Estimate feature sizes of each channel from the middle plane, at most 1024², of a few frames.

    `features` overrides whether bright or dark ones are measured.

    Raises
    ------
    RequestError
        The image is too small.
    """
    rows, columns = source.spec.shape[-2:]
    if min(rows, columns) < LEAST:
        raise RequestError(
            f"{rows} × {columns} px are too few to tell a size", f"give at least {LEAST} × {LEAST}"
        )
    return [_estimate(source, channel, features) for channel in range(source.spec.sizes.get("c", 1))]


def _estimate(source: Source, channel: int, features: Features | None) -> Suggestion:
    spec = source.spec
    count = spec.sizes.get("t", 1)
    frames = sorted({int((index + 0.5) / FRAMES * count) for index in range(FRAMES)})
    views = [_view(spec, channel, frame) for frame in frames]
    planes = [plane(source.read(view.region)) for view in views]
    middle = len(planes) // 2
    chosen = polarity(planes[middle], features)
    spectra = []
    for image in planes:
        measured = polarity(image, chosen.features)
        # Strong features of the opposite sign would show in the spectrum: cut them off.
        spectra.append(pattern_spectrum(measured.flat if measured.both else image, chosen.features))
    mean = mean_spectrum(spectra)
    return Suggestion(
        channel,
        (spec.channel_names[channel] if spec.channels else "") or str(channel),
        chosen.features,
        find_size(mean),
        tuple(find_size(spectrum) for spectrum in spectra),
        mean,
        planes[middle],
        views[middle],
        chosen.other if chosen.both else 0.0,
    )


def _view(spec: ImageSpec, channel: int, frame: int) -> View:
    """Return the centre of the middle plane."""
    starts = {axis: max(0, spec.sizes[axis] - CROP) // 2 for axis in "yx"}
    crop = ",".join(f"{axis}={start}:{start + min(spec.sizes[axis], CROP)}" for axis, start in starts.items())
    (view,) = find_views(spec, t=str(frame), c=str(channel), crop=crop)
    return view
