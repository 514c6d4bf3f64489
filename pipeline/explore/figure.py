"""What pictures share: panels, scale bars, histograms, and words for a step. Headless matplotlib."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.explore.scales import aspect_of, bar_length, count_bins, finite
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.units import short_unit
from pipeline.steps.step import Step
from pipeline.storage.durable import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
INK, SOFT, FAINT = "#1c2330", "#667085", "#d7dce4"
BLUE, ORANGE = "#2f6db5", "#c65d12"
PICTURES = (".png", ".pdf", ".svg", ".jpg")

_BINS = 120


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, facecolor="white")


def check_picture(path: str) -> str:
    """Return where a picture goes, if one can be written there.

    Raises
    ------
    RequestError
        Its name says no format of pictures, or its folder cannot be made.
    """
    if Path(path).suffix.lower() not in PICTURES:
        raise RequestError(f"{path!r} is no picture's name", f"let it end in {', '.join(PICTURES)}", "-o")
    if os.path.isdir(path):
        raise RequestError(f"{path!r} is a folder", "name a file", "-o")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"{path!r} cannot be written: {error.strerror}", "name another", "-o") from None
    return path


def save_figure(figure: Figure, path: str) -> None:
    """Write a figure; it appears when it is whole.

    Raises
    ------
    RequestError
        It cannot be written there.
    """
    with whole_file(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:], facecolor="white")


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


def scale_bar(ax: Axes, shape: tuple[int, int], spec: ImageSpec) -> None:
    """Draw a scale bar into an image: in its unit, in px where the data does not say one."""
    from matplotlib import patheffects

    px, words = bar_length(shape[1], spec)
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


def draw_histogram(
    ax: Axes, values: NDArray, bounds: tuple[float, float], span: tuple[float, float], color: str
) -> None:
    """Draw how often each value in a span occurs, on a logarithmic scale; grey is beyond black and white."""
    numbers = finite(values)
    ax.set_yscale("log")
    if numbers.size:
        edges, (counts,) = count_bins([numbers], span, _BINS)
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
