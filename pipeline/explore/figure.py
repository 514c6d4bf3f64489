"""What pictures share: panels, scale bars, histograms, and words for a step. Headless matplotlib."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.explore.crop import finite
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.units import ratio, short_unit
from pipeline.steps.step import Step

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
INK, SOFT, FAINT = "#1c2330", "#667085", "#d7dce4"
BLUE, ORANGE = "#2f6db5", "#c65d12"
FORMATS = (".png", ".pdf", ".svg", ".jpg")

# Of the width of a panel.
_BAR = 0.25
_BINS = 120


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, facecolor="white")


def check_target(path: str) -> str:
    """Return where a picture goes, if one can be written there.

    Raises
    ------
    RequestError
        Its name says no format of pictures, or its folder cannot be made.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise RequestError(f"{path!r} is no picture's name", f"let it end in {', '.join(FORMATS)}", "-o")
    if os.path.isdir(path):
        raise RequestError(f"{path!r} is a folder", "name a file", "-o")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"{path!r} cannot be written: {error.strerror}", "name another", "-o") from None
    return path


def save(figure: Figure, path: str) -> None:
    """Write a figure; it appears when it is whole.

    Raises
    ------
    RequestError
        It cannot be written there.
    """
    target = Path(path)
    # The suffix says the format, so it stays at the end.
    part = target.with_name(f".{target.stem}.part{os.getpid()}{target.suffix}")
    try:
        figure.savefig(part, facecolor="white")
        os.replace(part, target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise RequestError(f"{path!r} cannot be written: {error.strerror}", "name another", "-o") from None


class Page:
    """A figure whose parts are placed in inches from its top left corner.

    Parameters
    ----------
    width, height : float
        In inches.
    """

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = new_figure(width, height)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return axes that fill a box."""
        box = (
            left / self.width,
            1 - (top + height) / self.height,
            width / self.width,
            height / self.height,
        )
        return self.figure.add_axes(box)

    def text(self, left: float, top: float, words: str, size: float = 9, **more: Any) -> None:
        """Write words, their top left corner at a place."""
        more = {"color": INK, "va": "top", "ha": "left", **more}
        # A name may hold a $, which would begin a formula.
        self.figure.text(
            left / self.width, 1 - top / self.height, words, fontsize=size, parse_math=False, **more
        )


def aspect_of(spec: ImageSpec) -> float:
    """Return the height of a pixel over its width."""
    if "y" not in spec.scale or "x" not in spec.scale:
        return 1.0
    try:
        same = ratio(spec.units["y"], spec.units["x"]) if "y" in spec.units and "x" in spec.units else 1.0
    except RequestError:
        return 1.0
    found = spec.scale["y"] * same / spec.scale["x"]
    return found if 0.1 < found < 10 else 1.0


def panel_size(shape: tuple[int, int], spec: ImageSpec, width: float, tallest: float) -> tuple[float, float]:
    """Return width and height in inches of a panel for rows × columns of an image."""
    height = width * shape[0] * aspect_of(spec) / shape[1]
    if height > tallest:
        return max(width * tallest / height, 0.45 * width), tallest
    return width, max(height, 0.25 * width)


def show(ax: Axes, pixels: NDArray, bounds: tuple[float, float], spec: ImageSpec) -> None:
    """Draw an image in grey between black and white."""
    shown = pixels.astype(np.float32) if pixels.dtype != np.float32 else pixels
    ax.imshow(shown, cmap="gray", vmin=bounds[0], vmax=bounds[1], aspect=aspect_of(spec))
    bare(ax)


def bare(ax: Axes) -> None:
    """Take ticks and frame off axes."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)


def frame(ax: Axes) -> None:
    """Draw a faint frame, without which a white panel has no border."""
    for spine in ax.spines.values():
        spine.set_visible(True)
        spine.set_color(FAINT)


def round_length(most: float) -> float:
    """Return the largest of 1, 2, 5, 10, 20, 50, … that is not above a length.

    >>> round_length(74), round_length(0.31), round_length(3)
    (50.0, 0.2, 2.0)
    """
    power = math.floor(math.log10(most))
    # A product with a negative power of ten would end in …0004.
    steps = (float(f"{digit}e{power}") for digit in (5, 2, 1))
    return next(step for step in steps if step <= most * (1 + 1e-9))


def scale_bar(ax: Axes, shape: tuple[int, int], spec: ImageSpec) -> None:
    """Draw a scale bar into an image: in its unit, in px where the data does not say one."""
    from matplotlib import patheffects

    unit = spec.units.get("x")
    pixel = spec.scale.get("x") if unit else None
    length = round_length(max(1.0, shape[1] * _BAR) * (pixel or 1))
    px = length / (pixel or 1)
    words = f"{length:g} {short_unit(unit) if unit and pixel else 'px'}"
    right, bottom = shape[1] * 0.96 - 0.5, shape[0] * 0.95 - 0.5
    edge = [patheffects.withStroke(linewidth=2.2, foreground="black")]
    ax.plot(
        [right - px, right], [bottom, bottom], color="white", linewidth=2.5, solid_capstyle="butt",
        path_effects=[patheffects.withStroke(linewidth=4.2, foreground="black")],
    )  # fmt: skip
    ax.annotate(
        words, (right, bottom), (0, 4), textcoords="offset points", ha="right", va="bottom",
        color="white", fontsize=8, fontweight="bold", path_effects=edge,
    )  # fmt: skip
    ax.set_xlim(-0.5, shape[1] - 0.5)
    ax.set_ylim(shape[0] - 0.5, -0.5)


def histogram(
    ax: Axes, values: NDArray, bounds: tuple[float, float], span: tuple[float, float], color: str
) -> None:
    """Draw how often each value in a span occurs, on a logarithmic scale; grey is beyond black and white."""
    numbers = finite(values)
    ax.set_yscale("log")
    if numbers.size:
        low, high = span
        width = (high - low) / _BINS
        if numbers.dtype.kind in "iu":
            # Bins of whole numbers, or some would hold one value more than their neighbours.
            width = max(1.0, float(math.ceil(width)))
            low = math.floor(low) - 0.5
        width = max(width, 4 * math.ulp(max(abs(low), abs(high))))  # or edges of large values would be one
        edges = low + width * np.arange(math.ceil((high - low) / width) + 1)
        counts, _ = np.histogram(numbers, edges)
        ax.fill_between(edges[:-1], 0.5, np.maximum(counts, 0.5), step="post", color=color, linewidth=0)
        ax.set_xlim(edges[0], edges[-1])
        ax.set_ylim(0.5, max(counts.max() * 2, 2))
        for shaded in ((edges[0], bounds[0]), (bounds[1], edges[-1])):
            if shaded[0] < shaded[1]:
                ax.axvspan(*shaded, color=FAINT, alpha=0.55, linewidth=0)
    ax.yaxis.set_visible(False)
    ax.locator_params(axis="x", nbins=5)
    ax.tick_params(axis="x", labelsize=7, colors=SOFT, length=2.5, pad=2)
    for name, spine in ax.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(FAINT)


def span_of(values: NDArray, bounds: tuple[float, float]) -> tuple[float, float]:
    """Return what a histogram shows: beyond black and white too, but not all the way to a hot pixel."""
    numbers = finite(values)
    if not numbers.size:
        return bounds
    room = bounds[1] - bounds[0]
    low, high = max(float(numbers.min()), bounds[0] - room), min(float(numbers.max()), bounds[1] + room)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def number(value: float) -> str:
    """Return a pixel value for a reader.

    >>> number(1234.5), number(0.01234), number(-3.46), number(1234567)
    ('1234', '0.0123', '-3.46', '1.23e+06')
    """
    whole = value == round(value) or abs(value) >= 100
    return f"{value:.0f}" if whole and abs(value) < 1e6 else f"{value:.3g}"


def share(part: float) -> str:
    """Return a share in percent for a reader.

    >>> share(0.5), share(0.00004), share(0), share(0.031)
    ('50 %', '<0.1 %', '0 %', '3.1 %')
    """
    if 0 < part < 0.001:
        return "<0.1 %"
    return f"{100 * part:.0f} %" if part >= 0.1 or part == 0 else f"{100 * part:.1f} %"


def parameters(step: Step, spec: ImageSpec) -> str:
    """Return a resolved step's parameters for a reader: radius 25 px = 8.13 µm, footprint box."""
    words = []
    for name in step.lengths:
        px = dict(zip(step.along, step.pixels(name, step.along), strict=True))
        real = {
            axis: f"{value * spec.scale[axis]:.3g} {short_unit(spec.units[axis])}"
            for axis, value in px.items()
            if axis in spec.scale and axis in spec.units
        }
        text = f"{name} {_each({axis: f'{value:g}' for axis, value in px.items()})} px"
        words.append(f"{text} = {_each(real)}" if len(real) == len(px) else text)
    for name, field in type(step).model_fields.items():
        value = getattr(step, name)
        if name not in ("channels", *step.lengths) and value != field.default and value is not None:
            words.append(f"{name} {value}")
    return ", ".join(words)


def _each(values: Mapping[str, str]) -> str:
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return " ".join(f"{axis} {value}" for axis, value in values.items())


def fitted(text: str, width: float, size: float, lines: int = 2, bold: bool = False) -> str:
    """Return text broken into lines that fit a width in inches at a size in points; the middle may go."""
    # The mean width of a letter of DejaVu Sans, as a share of its size.
    letter = 0.7 if bold else 0.58
    letters = max(8, int(width * 72 / (letter * size)))
    if len(text) > letters * lines:
        half = (letters * lines - 3) // 2
        text = f"{text[:half].rstrip()} … {text[-half:].lstrip()}"
    return "\n".join(textwrap.wrap(text, letters, break_on_hyphens=False)[: lines + 1])
