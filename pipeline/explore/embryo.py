"""Synthetic embryo time-lapse with exactly known background, nuclei and noise.

Every pixel is a function of frame, channel and plane, so any part of a time-lapse can be computed
without the parts before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.dtypes import SUPPORTED
from pipeline.model.axes import ORDER
from pipeline.model.errors import RequestError
from pipeline.model.image import Channel, ImageSpec, Region

PIXEL = 0.325  # µm, a 20 × objective on a 6.5 µm camera
PLANE = 1.0  # µm between planes of a stack
INTERVAL = 30.0  # s between frames

# Counts of a 16-bit camera.
OFFSET = 100.0
MEDIUM = 200.0
GLOW = 450.0
DIMMEST, BRIGHTEST = 250.0, 700.0
READ_NOISE = 4.0
EIGHT_BIT = 10.0  # counts of 8 bits are divided by this

# Rows computed at once, which bounds the memory. Noise is drawn band by band: another number, other pixels.
BAND_ROWS = 1024

_CHANNELS = (
    Channel("GFP", "00FF00"),
    Channel("mCherry", "FF0000"),
    Channel("DAPI", "0000FF"),
    Channel("Cy5", "FF00FF"),
)
_BACKGROUND_OF_CHANNEL = (1.0, 0.6, 1.4, 0.8)
# Over the time-lapse the background varies by the first share, and its maximum moves by the second.
_DRIFT, _WANDER = 0.15, 0.08
_EDGE = 0.7  # px, softness of a nucleus' rim


@dataclass(frozen=True)
class Sample:
    """Ground truth of a synthetic time-lapse; its fields are the arguments of `sample_truth`."""

    frames: int = 12
    size: tuple[int, int] = (512, 512)
    channels: int = 1
    z: int = 1
    seed: int = 0
    dtype: str = "uint16"
    object_radius: float = 8.0  # px along y and x; along z the same length in µm

    def __post_init__(self) -> None:
        for name in ("frames", "channels", "z"):
            if getattr(self, name) < 1:
                raise RequestError(f"{getattr(self, name)} is below 1", "give 1 or more", name)
        if self.seed < 0:
            raise RequestError(f"{self.seed} is negative", "give a seed of 0 or more", "seed")
        if not 1 <= self.object_radius <= min(self.size) / 4:
            size = f"{self.size[0]} × {self.size[1]} px"
            message = f"a nucleus of radius {self.object_radius:g} px does not fit into {size}"
            hint = "give a radius from 1 px to a quarter of the shorter side"
            raise RequestError(message, hint, "object_radius")
        names = [dtype.name for dtype in SUPPORTED if dtype.name not in ("int8", "int64", "uint64")]
        if self.dtype not in names:
            raise RequestError(f"a sample of {self.dtype} cannot be made", f"use {', '.join(names)}", "dtype")

    @property
    def spec(self) -> ImageSpec:
        """Metadata of the time-lapse."""
        sizes = dict(zip(ORDER, (self.frames, self.channels, self.z, *self.size), strict=True))
        axes = "".join(axis for axis in ORDER if axis in "tyx" or sizes[axis] > 1)
        scale = {"t": INTERVAL, "z": PLANE, "y": PIXEL, "x": PIXEL}
        channels = (*_CHANNELS, *(Channel(f"channel {number}") for number in range(5, self.channels + 1)))
        return ImageSpec(
            axes,
            tuple(sizes[axis] for axis in axes),
            np.dtype(self.dtype),
            chunks=tuple(min(sizes[axis], BAND_ROWS) if axis in "yx" else 1 for axis in axes),
            scale={axis: scale[axis] for axis in axes if axis in scale},
            units={axis: "second" if axis == "t" else "micrometer" for axis in axes if axis in scale},
            channels=channels[: self.channels] if self.channels > 1 else (),
            name="synthetic embryo",
        )

    def background(self, t: int, c: int = 0, z: int = 0, rows: slice = slice(None)) -> NDArray[np.float32]:
        """Return the expected background of (some rows of) a plane, in counts of the dtype."""
        y = np.arange(self.size[0], dtype=np.float32)[rows, None]
        x = np.arange(self.size[1], dtype=np.float32)[None]
        height, width = self.size
        phase = 2 * math.pi * t / self.frames
        diagonal = math.hypot(height, width) / 2
        dy = (y - height * (0.45 + _WANDER * math.sin(phase))) / diagonal
        dx = (x - width * (0.40 + _WANDER * math.cos(phase))) / diagonal
        vignetting = 1 - 0.45 * dy**2 - 0.45 * dx**2 + 0.15 * (x / width - 0.5)
        out_of_plane = 1 - 0.4 * ((z - (self.z - 1) / 2) / self.z) ** 2
        # The embryo glows out of focus, with a soft outline.
        inside = 1 / (1 + np.exp((np.sqrt(self._ellipse(y, x)) - 1) / 0.12))
        level = _BACKGROUND_OF_CHANNEL[c % 4] * (1 + _DRIFT * math.sin(phase))
        light = level * vignetting * (MEDIUM + GLOW * out_of_plane * inside)
        return ((OFFSET + light) * self._unit).astype(np.float32)

    def positions(self, t: int, c: int = 0) -> NDArray[np.float64]:
        """Return the centres of the nuclei as (n, 3) of z, y, x in px; row i is one nucleus over time."""
        home, orbit, phase, _ = self._nuclei[c % self.channels]
        turn = phase + 2 * math.pi * t / max(self.frames, 60)
        return home + orbit * np.sin(turn)

    def signal(self, t: int, c: int = 0, z: int = 0, rows: slice = slice(None)) -> NDArray[np.float32]:
        """Return the expected signal of the nuclei in (some rows of) a plane."""
        first, last, _ = rows.indices(self.size[0])
        out = np.zeros((last - first, self.size[1]), np.float32)
        brightness = self._nuclei[c % self.channels][3]
        reach = math.ceil(self.object_radius + 8 * _EDGE)
        for (cz, cy, cx), counts in zip(self.positions(t, c), brightness, strict=True):
            dz = (z - cz) * PLANE / PIXEL
            top, bottom = max(first, math.floor(cy) - reach), min(last, math.ceil(cy) + reach + 1)
            left, right = max(0, math.floor(cx) - reach), min(self.size[1], math.ceil(cx) + reach + 1)
            if abs(dz) > reach or top >= bottom or left >= right:
                continue
            y, x = np.ogrid[top:bottom, left:right]
            distance = np.sqrt((y - cy) ** 2 + (x - cx) ** 2 + dz**2)
            rim = np.clip((distance - self.object_radius) / _EDGE, -30, 30)
            out[top - first : bottom - first, left:right] += counts * self._unit / (1 + np.exp(rim))
        return out

    def image(self, t: int, c: int = 0, z: int = 0) -> NDArray:
        """Return the pixels of a plane as in the file: noisy, rounded and clipped."""
        return np.concatenate([self._noisy(t, c, z, rows) for rows in self._bands()])

    @property
    def _unit(self) -> float:
        return 1 / EIGHT_BIT if self.dtype == "uint8" else 1.0

    def _ellipse(self, y: NDArray, x: NDArray) -> NDArray:
        """Return the squared distance from the embryo's centre, 1 at its outline."""
        height, width = self.size
        return ((y - height / 2) / (0.34 * height)) ** 2 + ((x - width / 2) / (0.42 * width)) ** 2

    @cached_property
    def _nuclei(self) -> tuple[tuple[NDArray, NDArray, NDArray, NDArray], ...]:
        """For each channel: homes, orbits and phases of the nuclei, and their brightness."""
        # A triangular grid, wide enough that moving nuclei never touch: a top-hat a little wider than a
        # nucleus then gives it back whole.
        radius = self.object_radius
        space = 3.6 * radius
        slack = (space - 2 * radius - 2) / 4
        layers = max(1, int(self.z * PLANE / (space * PIXEL)))
        channels = []
        for channel in range(self.channels):
            rng = np.random.default_rng((self.seed, 1, channel))
            lines = np.arange(radius, self.size[0] - radius, space * math.sqrt(0.75))
            sites = [
                ((layer + 0.5) * self.z / layers - 0.5, y, x)
                for layer in range(layers)
                for line, y in enumerate(lines)
                for x in np.arange(radius + (line % 2) * space / 2, self.size[1] - radius, space)
            ]
            home = np.array(sites)
            outline = self._ellipse(home[:, 1], home[:, 2])
            # Random gaps look natural; at least one nucleus remains in the smallest image.
            chosen = (outline <= 0.85**2) & (rng.random(len(home)) > 0.12)
            home = home[chosen | (outline == outline.min())]
            shape = (len(home), 2)
            home[:, 1:] += rng.uniform(-slack, slack, shape) / math.sqrt(2)
            orbit = np.zeros_like(home)
            orbit[:, 1:] = rng.uniform(-slack, slack, shape) / math.sqrt(2)
            phase = rng.uniform(0, 2 * math.pi, (len(home), 1))
            channels.append((home, orbit, phase, rng.uniform(DIMMEST, BRIGHTEST, len(home))))
        return tuple(channels)

    def _bands(self) -> Iterator[slice]:
        for first in range(0, self.size[0], BAND_ROWS):
            yield slice(first, min(first + BAND_ROWS, self.size[0]))

    def _noisy(self, t: int, c: int, z: int, rows: slice) -> NDArray:
        """Return the pixels of some rows with (Gaussian) shot noise and read noise."""
        expected = self.background(t, c, z, rows) + self.signal(t, c, z, rows)
        rng = np.random.Generator(np.random.SFC64((self.seed, 2, t, c, z, rows.start)))
        # One count is one photon, so the variance is the mean; the unit scales both.
        electrons = np.maximum(expected / self._unit - OFFSET, 0)
        noise = rng.standard_normal(expected.shape, np.float32) * np.sqrt(electrons + READ_NOISE**2)
        pixels = expected + noise * np.float32(self._unit)
        dtype = np.dtype(self.dtype)
        if dtype.kind == "f":
            return pixels.astype(dtype)
        info = np.iinfo(dtype)
        return np.rint(pixels).clip(max(info.min, 0), min(info.max, 2**16 - 1)).astype(dtype)

    def regions(self) -> Iterator[tuple[Region, NDArray]]:
        """Yield the time-lapse band by band in file order, each with its region."""
        axes = self.spec.axes
        for t, c, z in np.ndindex(self.frames, self.channels, self.z):
            for rows in self._bands():
                spans = dict(zip("tcz", (slice(index, index + 1) for index in (t, c, z)), strict=True))
                spans |= {"y": rows, "x": slice(0, self.size[1])}
                pixels = self._noisy(t, c, z, rows)
                yield tuple(spans[axis] for axis in axes), pixels[(None,) * (len(axes) - 2)]
